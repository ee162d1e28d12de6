"""Rings against a slow, obvious oracle, and their bounds."""

from __future__ import annotations

from collections import deque

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from actors.view.chains import SAMPLE_BITS
from actors.view.rings import DETECTORS_MAX, Rings
from schemas.charts import ChartBlock
from schemas.columnar.samples import SAMPLES_MAX
from tests.actors.view_support import block


def everything(one: ChartBlock) -> np.ndarray:
    return np.ones(len(one), np.bool_)


def add(rings: Rings, one: ChartBlock, chart_offset: int = 0) -> None:
    rings.add(one, chart_offset, everything(one), everything(one))


def offsets(rings: Rings, series: str, detector: str | None = None) -> list[int]:
    slot = rings.slot(series)
    assert slot is not None
    ring = rings.points if detector is None else rings.detectors[detector].ring
    found: list[int] = (ring.columns["where"][ring.rows(slot), 0] >> SAMPLE_BITS).tolist()
    return found


class NaiveRings:
    """One deque per series, filled row by row."""

    def __init__(self, points_max: int) -> None:
        self.points_max = points_max
        self.rows: dict[str, deque[tuple[object, ...]]] = {}

    def add(self, one: ChartBlock, chart_offset: int) -> None:
        said = one.detectors["spc.individuals"]
        for i in range(len(one)):
            ring = self.rows.setdefault(one.series_keys[one.series[i]], deque(maxlen=self.points_max))
            ring.append(
                (
                    int(one.offset[i]), chart_offset, int(one.event_time_ms[i]), int(one.published_ms[i]),
                    repr(float(one.value[i])), one.lot[i], one.wafer[i],
                    repr(said.statistic[i].tolist()), repr(said.ucl[i].tolist()), int(said.signal[i]), bool(said.valid[i]),
                )
            )  # fmt: skip


def read(rings: Rings, series: str) -> list[tuple[object, ...]]:
    slot = rings.slot(series)
    assert slot is not None
    at = rings.points.rows(slot)
    where, number, text = (rings.points.columns[name][at] for name in ("where", "number", "text"))
    detector = rings.detectors["spc.individuals"].ring
    said = detector.rows(slot)
    wide = detector.columns["wide"][said]
    assert (detector.columns["where"][said] == where[:, :2]).all()
    return [
        (
            int(where[i, 0]) >> SAMPLE_BITS, *where[i, 1:].tolist(), repr(float(number[i, 0])), text[i, 0], text[i, 1],
            repr(wide[i, 0:2].tolist()), repr(wide[i, 6:8].tolist()),
            int(detector.columns["signal"][said[i], 0]), bool(detector.columns["valid"][said[i], 0]),
        )
        for i in range(len(at))
    ]  # fmt: skip


rows = st.lists(
    st.tuples(st.sampled_from("abcde"), st.one_of(st.just(float("nan")), st.floats(-9, 9)), st.integers(0, 3)),
    max_size=40,
)


@given(st.lists(rows, max_size=8))
@settings(max_examples=60)
def test_rings_hold_what_a_row_by_row_oracle_holds(blocks: list[list[tuple[str, float, int]]]) -> None:
    rings, naive, first = Rings(series_max=8, points_max=7), NaiveRings(7), 0
    for number, content in enumerate(blocks):
        one = block([r[0] for r in content], [r[1] for r in content], first, signal=[r[2] for r in content])
        first += len(one)
        add(rings, one, number)
        naive.add(one, number)
    assert sorted(rings.keys) == sorted(naive.rows)
    for series, expected in naive.rows.items():
        assert read(rings, series) == list(expected)


def test_a_row_that_was_there_before_is_not_kept_again() -> None:
    rings = Rings(series_max=4, points_max=5)
    one = block(["a", "b", "a"], [1.0, 2.0, 3.0])
    add(rings, one)
    rings.add(one, 1, np.zeros(3, np.bool_), np.zeros(3, np.bool_))
    assert offsets(rings, "a") == [0, 2]


def test_points_are_written_once_and_detectors_each_by_themselves() -> None:
    rings = Rings(series_max=4, points_max=5)
    add(rings, block(["a", "a"], [1.0, 2.0]))
    other = block(["a", "a", "a"], [1.0, 2.0, 3.0], family="anomaly")
    rings.add(other, 1, everything(other), np.array([False, False, True]))
    assert offsets(rings, "a") == [0, 1, 2]
    assert offsets(rings, "a", "spc.individuals") == [0, 1]
    assert offsets(rings, "a", "anomaly.robust_z") == [0, 1, 2]


def test_a_full_table_forgets_the_series_that_was_idle_longest() -> None:
    rings = Rings(series_max=2, points_max=3)
    add(rings, block(["a", "b"], [1.0, 2.0]))
    add(rings, block(["a"], [3.0], 2))
    add(rings, block(["c"], [4.0], 3))
    assert sorted(rings.keys) == ["a", "c"]
    assert (rings.evicted, rings.refused) == (1, 0)
    assert offsets(rings, "c") == [3], "nothing of the forgotten series shines through"
    assert offsets(rings, "c", "spc.individuals") == [3]


def test_more_series_in_one_block_than_fit_are_refused_and_counted() -> None:
    rings = Rings(series_max=2, points_max=3)
    add(rings, block(["a", "b", "c", "c"], [1.0] * 4))
    assert (len(rings), rings.refused) == (2, 2)
    other = Rings(series_max=1, points_max=3)
    add(other, block(["a"], [1.0]))
    other.add(block(["b"], [1.0]), 0, np.zeros(1, np.bool_), np.zeros(1, np.bool_))
    assert other.keys == ["a"], "a block without new rows changes nothing"


def test_the_memory_bound_limits_the_series() -> None:
    roomy = Rings(series_max=1000, points_max=10)
    add(roomy, block(["a"], [1.0]))
    per_series = roomy.bytes_max // roomy.capacity() if roomy.capacity() < 1000 else None
    assert per_series is None
    tight = Rings(series_max=1000, points_max=10, bytes_max=20_000)
    before = tight.capacity()
    add(tight, block([f"s{i:03}" for i in range(30)], [1.0] * 30))
    assert tight.capacity() < before, "a detector's ring takes its share"
    assert len(tight) <= before
    add(tight, block(["new"], [1.0], 30))
    assert len(tight) <= tight.capacity()
    assert "new" in tight.keys


def test_detectors_are_bounded() -> None:
    rings = Rings(series_max=2, points_max=3)
    one = block(["a"], [1.0])
    said = one.detectors["spc.individuals"]
    one.detectors.update({f"d{i}": said for i in range(DETECTORS_MAX)})  # type: ignore[attr-defined]
    add(rings, one)
    assert len(rings.detectors) == DETECTORS_MAX
    assert rings.refused == 1


def test_another_identity_of_a_detector_starts_with_empty_rings() -> None:
    rings = Rings(series_max=2, points_max=3)
    add(rings, block(["a"], [1.0]))
    add(rings, block(["a"], [2.0], 1, identity="2-def"))
    assert offsets(rings, "a") == [0, 1]
    assert offsets(rings, "a", "spc.individuals") == [1]


def test_first_judged_row_and_signals_are_remembered_beyond_the_ring() -> None:
    rings = Rings(series_max=2, points_max=2)
    add(rings, block(["a"] * 6, [1.0] * 6, valid=[False, False, True, True, True, True], signal=[0, 0, 1, 3, 0, 0]))
    add(rings, block(["a"] * 2, [1.0] * 2, 6, signal=[0, 1]))
    detector = rings.detectors["spc.individuals"]
    slot = rings.slot("a")
    assert (int(detector.first_valid[slot]), int(detector.signals[slot])) == (2 << SAMPLE_BITS, 3)


@pytest.mark.parametrize("newest", [1, 2, 3, 99])
def test_rows_gives_the_newest(newest: int) -> None:
    rings = Rings(series_max=1, points_max=3)
    add(rings, block(["a"] * 5, [1.0] * 5))
    ring = rings.points
    assert (ring.columns["where"][ring.rows(0, newest), 0] >> SAMPLE_BITS).tolist() == [2, 3, 4][-newest:]


def test_every_sample_of_the_longest_record_has_a_place_of_its_own() -> None:
    assert SAMPLES_MAX <= 1 << SAMPLE_BITS
