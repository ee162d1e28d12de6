"""Spacing of snapshots: their traffic is bounded, and so is what a recovery folds again."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from actors.engine.pacing import BURST_BYTES, SnapshotPacer

RATE = 1_000_000
PAGE = 256 * 1024


def run(
    dirty: int, seconds: float, rate: int = RATE, step_s: float = 0.05, rows: int = 100
) -> tuple[SnapshotPacer, np.ndarray]:
    """Let a slot step for some seconds with so many dirty bytes at each snapshot; return (time, bytes) of what was written."""
    pacer, waiting, written, now = SnapshotPacer(rate, 5.0, 0.0), 0, [], 0.0
    while now < seconds:
        now += step_s
        if pacer.due(now):
            pacer.begin(now)
            waiting = dirty
        room, size = pacer.allowance(now), 0
        while waiting and size < room:
            size += min(PAGE, waiting)
            waiting -= min(PAGE, waiting)
        pacer.wrote(size)
        if not waiting:
            pacer.named()
        pacer.stepped(rows, 0.01, now)
        written.append((now, size))
    return pacer, np.array(written)


@given(
    st.integers(1, 200_000_000),
    st.integers(100_000, 100_000_000),
    st.floats(0.01, 2.0),
)
@settings(max_examples=40)
def test_in_any_stretch_of_time_the_bytes_are_bounded(dirty: int, rate: int, step_s: float) -> None:
    _, written = run(dirty, 100 * step_s, rate, step_s)
    time, total = written[:, 0], np.concatenate([[0], np.cumsum(written[:, 1])])
    for first in range(0, len(time), 7):
        stretch = total[first + 1 :] - total[first]
        assert (stretch <= BURST_BYTES + PAGE + rate * (time[first:] - time[first]) + 1).all()


def test_a_small_snapshot_goes_at_once_every_interval() -> None:
    _, written = run(PAGE, 30.0)
    at = written[written[:, 1] > 0]
    assert (at[:, 1] == PAGE).all()
    assert np.diff(at[:, 0]) == pytest.approx(5.0, abs=0.06)


def test_a_large_one_takes_its_time_and_the_next_begins_after_it() -> None:
    _, written = run(100_000_000, 300.0)
    assert written[:, 1].sum() / 300.0 == pytest.approx(RATE, rel=0.15)
    assert written[-200:, 1].sum() <= 10 * RATE + PAGE


def test_what_a_recovery_folds_again_never_exceeds_what_is_shown() -> None:
    pacer, shown, now, waiting = SnapshotPacer(RATE, 5.0, 0.0), [], 0.0, 0
    for step in range(20_000):
        now += 0.05
        if pacer.due(now):
            pacer.begin(now)
            waiting = 60_000_000
        size = min(waiting, pacer.allowance(now))
        waiting -= size
        pacer.wrote(size)
        if not waiting:
            pacer.named()
        pacer.stepped(100, 0.01, now)
        if step > 4_000:
            assert pacer.rows_since / 100 * 0.01 <= pacer.replay_worst_s + 1e-9
            shown.append(pacer.replay_worst_s)
    assert max(shown) == pytest.approx(
        2 * 60 * 2000 / 100 * 0.01, rel=0.01
    )  # two minutes of 2,000 rows a second, at 10,000


def test_nothing_is_shown_before_anything_was_folded() -> None:
    pacer = SnapshotPacer(RATE, 5.0, 0.0)
    assert pacer.replay_worst_s == 0.0
    pacer.named()
    assert pacer.due(5.0)


def test_what_partitions_bring_is_counted_until_a_snapshot_that_has_it() -> None:
    pacer = SnapshotPacer(RATE, 5.0, 0.0)
    pacer.replayed(1_000, 2.0)
    pacer.came(1_000)
    assert (pacer.rows_since, pacer.replay_worst_s) == (1_000, 2.0)
    pacer.start(3_600.0)
    assert (pacer.due(3_604.0), pacer.due(3_605.0), pacer.replay_worst_s) == (False, True, 2.0)
    pacer.begin(3_605.0)
    pacer.came(500)  # while the snapshot is on its way
    pacer.named()
    assert (pacer.rows_since, pacer.replay_worst_s) == (500, 1.0)
    pacer.begin(3_610.0)
    pacer.named()
    assert pacer.replay_worst_s == 0.0


def test_rows_that_were_folded_again_are_not_of_the_present_rate() -> None:
    pacer = SnapshotPacer(RATE, 5.0, 0.0)
    pacer.replayed(1_000_000, 10.0)
    pacer.stepped(100, 0.001, 1.0)
    assert pacer.replay_worst_s == pytest.approx(5.0 * 100 * 1e-5)
    for step in range(10_000):
        pacer.stepped(0, 0.001, 1.0 + step)
    assert pacer.replay_worst_s == pytest.approx(100 * 1e-5), "a time without rows makes no row slower"


def test_a_clock_that_stands_still_gives_no_room() -> None:
    pacer = SnapshotPacer(RATE, 5.0, 10.0)
    pacer.wrote(2 * BURST_BYTES)
    assert pacer.allowance(10.0) == 0
    assert pacer.allowance(9.0) == 0
    assert pacer.allowance(10.0 + 2 * BURST_BYTES / RATE) == pytest.approx(BURST_BYTES, rel=0.01)
