"""The last quarter of an hour: rates by name, latencies by stage, against plain counting."""

from __future__ import annotations

import numpy as np
import pytest

from actors.view.history import (
    EDGES_MS,
    FINE_MS,
    NAMES_MAX,
    OTHERS,
    POINTS_MAX,
    STEP_S,
    WINDOW_S,
    Counts,
    StageLatencies,
    quantiles,
)
from actors.view.latency import LATENCY_MS_MAX, Latencies, LatencyWindow
from tests.actors.test_view_board import board_of
from tests.actors.view_support import block

NOW_MS = 1_700_000_000_000


def test_rates_are_by_second_and_partition() -> None:
    counts = Counts()
    for second in range(10):
        counts.add("t:0", 10, NOW_MS + second * 1000 + 999)
        counts.add("t:1", 1, NOW_MS + second * 1000)
    said = counts.rates(12, NOW_MS + 10_500)
    assert said["step_s"] == 1
    assert said["at"] == [NOW_MS + 1000 * second for second in range(-2, 10)]
    assert said["per_s"] == [0.0, 0.0, *[11.0] * 10]
    assert said["by_name"] == {"t:0": [0.0, 0.0, *[10.0] * 10], "t:1": [0.0, 0.0, *[1.0] * 10]}
    assert counts.over(5, NOW_MS + 10_500) == {"t:0": 50, "t:1": 5}
    assert counts.over(5, NOW_MS + 900_000) == {}


def test_a_whole_window_is_so_many_points_and_what_is_older_is_gone() -> None:
    counts = Counts()
    for second in range(3 * WINDOW_S):
        counts.add("a", second, NOW_MS + second * 1000)
    now_ms = NOW_MS + 3 * WINDOW_S * 1000 + 400
    said = counts.rates(10 * WINDOW_S, now_ms)
    assert (said["step_s"], len(said["at"])) == (WINDOW_S // POINTS_MAX, POINTS_MAX)
    assert said["per_s"][0] == np.mean(range(2 * WINDOW_S, 2 * WINDOW_S + 5))
    assert said["per_s"][-1] == np.mean(range(3 * WINDOW_S - 5, 3 * WINDOW_S))
    assert counts.over(WINDOW_S, now_ms)["a"] == sum(range(2 * WINDOW_S, 3 * WINDOW_S))
    counts.add("a", 10**6, NOW_MS)
    assert counts.over(WINDOW_S, now_ms)["a"] == sum(range(2 * WINDOW_S, 3 * WINDOW_S)), "too old to be counted"


def test_names_are_bounded() -> None:
    counts = Counts()
    for i in range(NAMES_MAX + 5):
        counts.add(str(i), 1, NOW_MS)
    said = counts.over(5, NOW_MS + 1000)
    assert len(said) == NAMES_MAX + 1
    assert said[OTHERS] == 5


def test_bins_are_fine_and_then_2_percent() -> None:
    for ms in (0, 1, FINE_MS - 1, FINE_MS, 137, 1_999, LATENCY_MS_MAX - 1):
        window = StageLatencies()
        window.add(Latencies(ms, np.array([7])), NOW_MS, None)
        found = window.over(10, NOW_MS + 1000 * STEP_S)["stages"]["read"]
        assert found["n"] == 7
        assert ms < found["p50"] <= max(ms + 1.0, 1.021 * ms)
    assert len(EDGES_MS) < 400
    assert quantiles(np.zeros(3)) == {"p50": None, "p95": None, "p99": None, "n": 0}


def test_stages_are_those_of_every_row_counted_one_by_one() -> None:
    random = np.random.default_rng(7)
    window, plain = StageLatencies(), LatencyWindow()
    read, written, visible = [], [], []
    for i in range(200):
        now_ms = NOW_MS + 37 * i
        written_ms = now_ms - int(random.integers(1, 60))
        published_ms = written_ms - random.integers(0, 80, 50)
        latencies = plain.add_latency(published_ms, now_ms)
        assert latencies is not None
        window.add(latencies, now_ms, written_ms)
        read += (now_ms - published_ms).tolist()
        written += (written_ms - published_ms).tolist()
        visible += [now_ms - written_ms] * 50
    stages = window.over(WINDOW_S, NOW_MS + 200 * 37 + 1000 * STEP_S)["stages"]
    for name, rows in (("read", read), ("written", written), ("visible", visible)):
        assert stages[name]["n"] == len(rows)
        for q in (50, 95, 99):
            exact = np.percentile(rows, q, method="inverted_cdf") + 1  # the upper edge of a bin of 1 ms
            assert exact <= stages[name][f"p{q}"] <= 1.021 * exact


def test_series_over_time_has_gaps_where_nothing_came() -> None:
    window = StageLatencies()
    for at_s, ms in ((0, 10), (20, 30), (2 * WINDOW_S, 50)):
        window.add(Latencies(ms, np.array([1])), NOW_MS + 1000 * at_s, None)
        said = window.over(30, NOW_MS + 1000 * (at_s + STEP_S))["series"]
        assert said["p95"][-1] == ms + 1.0
    window.add(Latencies(1, np.array([1])), NOW_MS, None)  # too old
    assert [p95 for p95 in said["p95"] if p95 is not None] == [51.0]
    assert said["at"] == [NOW_MS + 1000 * (2 * WINDOW_S - 5 * i) for i in range(5, -1, -1)]
    assert window.over(30, NOW_MS + 1000 * (2 * WINDOW_S + 5))["stages"]["written"]["n"] == 0


@pytest.mark.parametrize("live", [True, False])
def test_the_board_counts_each_row_once_and_only_what_is_live(live: bool) -> None:
    board = board_of()
    for family in ("spc", "anomaly"):  # the same rows, judged twice
        rows = block(["a", "b"], [1.0, 2.0], family=family, published_ms=NOW_MS - 30)
        board.add_block(rows, 0, 0, NOW_MS, live=live, written_ms=NOW_MS - 10)
    board.add_dead_letter("malformed", NOW_MS)
    assert board.rows.over(5, NOW_MS + 1000) == ({"fab.measurements:0": 2} if live else {})
    stages = board.stages.over(10, NOW_MS + 1000 * STEP_S)["stages"]
    found = [stages[name]["p50"] for name in ("read", "written", "visible")]
    assert found == ([31.0, 21.0, 11.0] if live else [None] * 3)
    assert board.dead_letters_lately.over(5, NOW_MS + 1000) == {"malformed": 1}
