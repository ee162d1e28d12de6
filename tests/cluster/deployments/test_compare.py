"""Two versions compared, from blocks that are cut in other places."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cluster.deployments import compare as comparing
from cluster.deployments.compare import Opened, Rows, compare, compared_lines
from cluster.deployments.comparing import Stay, _within
from schemas.charts import ChartBlock, DetectorColumns
from schemas.texts import Texts

SERIES = ["a", "b", "c"]


def block(
    first: int, end: int, statistic: np.ndarray, signal: np.ndarray, valid: np.ndarray, names=("x",)
) -> ChartBlock:
    offset = np.arange(first, end)
    n = len(offset)
    blank, zero = np.full(n, np.nan), np.zeros(n, np.int64)
    wide = np.full((n, len(names)), np.nan)
    said = DetectorColumns("d@1-0", names, (), statistic[offset], wide, wide, wide, signal[offset], valid[offset])
    return ChartBlock(
        "p", "f", "in", 0, 1, first, end, SERIES, (offset % 3).astype(np.int32), offset, zero, zero, offset * 1.0,
        blank, blank, blank, Texts.of([""] * n), Texts.of([""] * n), {"d": said},
    )  # fmt: skip


def rows(n: int, cuts: list[int], statistic: np.ndarray, signal: np.ndarray, valid: np.ndarray) -> Rows:
    held = Rows("d")
    edges = sorted({0, n, *(cut % (n + 1) for cut in cuts)})
    for first, end in pairwise(edges):
        held.add(block(first, end, statistic, signal, valid), 0, n)
    return held


def test_rows_of_series_that_one_is_not_for_are_left_out() -> None:
    n = 12
    statistic, signal, valid = np.zeros((n, 1)), np.ones(n, np.uint32), np.ones(n, bool)
    held = Rows("d", lambda key: key == "b")
    held.add(block(0, n, statistic, signal, valid), 0, n)
    found = compare(rows(n, [], statistic, signal, valid), held, [], [])
    assert (held.count, found.rows, found.signals["both"], found.signals["only_a"]) == (4, 4, 4, 0)


bits = st.lists(st.booleans(), min_size=12, max_size=12).map(np.array)


@settings(max_examples=60)
@given(st.lists(st.integers(0, 12)), st.lists(st.integers(0, 12)), bits, bits, bits, bits)
def test_it_is_what_a_loop_says(
    cuts_a: list[int],
    cuts_b: list[int],
    signal_a: np.ndarray,
    signal_b: np.ndarray,
    valid: np.ndarray,
    moved: np.ndarray,
) -> None:
    n = 12
    ours = np.arange(n, dtype=float).reshape(-1, 1)
    theirs = ours + 0.5 * moved.reshape(-1, 1)
    always = np.ones(n, bool)
    a = rows(n, cuts_a, ours, signal_a.astype(np.uint32), always)
    b = rows(n, cuts_b, theirs, signal_b.astype(np.uint32), valid)
    found = compare(a, b, [], [])
    assert found.rows == n
    assert found.judged == {"a": n, "b": valid.sum(), "both": valid.sum()}
    theirs_fired = signal_b & valid
    assert found.signals == {
        "only_a": (signal_a & ~theirs_fired).sum(),
        "only_b": (theirs_fired & ~signal_a).sum(),
        "both": (signal_a & theirs_fired).sum(),
    }
    assert [each["offset"] for each in found.signal_examples["only_a"]] == np.flatnonzero(
        signal_a & ~theirs_fired
    ).tolist()
    said = found.statistics["x"]
    assert (said["equal"], said["different"]) == ((~moved).sum(), moved.sum())
    assert said["max_abs_difference"] == (0.5 if moved.any() else 0.0)


def test_alerts_are_matched_where_both_have_judged() -> None:
    n = 9
    plain, none = np.zeros((n, 1)), np.zeros(n, np.uint32)
    a, b = (rows(n, [3], plain, none, np.ones(n, bool)) for _ in "ab")
    first = [
        Opened(0, "a", 3, "r"),
        Opened(0, "b", 4, "r"),
        Opened(0, "a", 99, "beyond"),
        Opened(1, "a", 3, "elsewhere"),
    ]
    second = [Opened(0, "a", 3, "another name"), Opened(0, "c", 5, "r")]
    found = compare(a, b, first, second)
    assert found.alerts == {"only_a": 1, "only_b": 1, "both": 1}
    assert found.alert_examples["only_a"] == [{"partition": 0, "series": "b", "offset": 4, "rule": "r"}]
    cost = {"us_per_row": 1.25, "step_ms": None}
    said = {**found.to_json(), "a": {"name": "v1", **cost}, "b": {"name": "v2", **cost}, "alerts_held_back": 2}
    lines = compared_lines(said)
    assert "         open transactions hold 2 records of alerts back: ask again" in lines
    assert "  b only: c at 0:5 (r)" in lines
    assert "v2: 1.25 µs a row, steps of – ms" in lines


def test_other_statistics_and_nothing_in_common() -> None:
    n = 4
    plain, none, judged = np.zeros((n, 1)), np.zeros(n, np.uint32), np.ones(n, bool)
    a, b = Rows("d"), Rows("d")
    a.add(block(0, n, plain, none, judged), 0, n)
    b.add(block(0, n, plain, none, judged, names=("y",)), 0, n)
    found = compare(a, b, [], [])
    assert (found.rows, found.statistics) == (n, {})
    nobody = Rows("other")
    nobody.add(block(0, n, plain, none, judged), 0, n)
    assert compare(a, nobody, [], []).rows == 0
    assert (
        "none has the same name"
        in compared_lines(
            {
                **found.to_json(),
                **{x: {"name": x, "us_per_row": None, "step_ms": None} for x in "ab"},
                "alerts_held_back": 0,
            }
        )[1]
    )


def test_only_one_identity_is_compared() -> None:
    n = 4
    plain, none, judged = np.zeros((n, 1)), np.zeros(n, np.uint32), np.ones(n, bool)
    held = Rows("d", detector="d@1-1")
    held.add(block(0, n, plain, none, judged), 0, n)
    assert (held.count, held.dropped) == (0, n), "it was written by d@1-0"


@pytest.mark.parametrize(
    ("stays", "from_"),
    [
        ([], None),
        ([Stay({}, None)], 10),
        ([Stay({0: 15}, None)], 15),
        ([Stay({0: 20}, None)], None),  # it begins where the stretch ends
        ([Stay({0: 3}, {0: 10})], None),  # it ended where the stretch begins
        ([Stay({0: 3}, {0: 5}), Stay({0: 12}, {0: 14}), Stay({0: 18}, None)], 12),
        ([Stay({0: 3}, {0: 11}), Stay({0: 18}, None)], 10),
    ],
)
def test_where_the_records_of_a_side_may_stand(stays: list[Stay], from_: int | None) -> None:
    assert _within(stays, 0, 10, 20) == from_


def test_what_is_held_is_bounded(monkeypatch) -> None:
    monkeypatch.setattr(comparing, "ROWS_MAX", 5)
    n = 12
    held = rows(n, [3, 6, 9], np.zeros((n, 1)), np.zeros(n, np.uint32), np.ones(n, bool))
    assert (held.count, held.dropped) == (3, 9)
    assert (held.of(0).place >> 14).tolist() == [9, 10, 11]
