"""The fold by plain calls: positions, snapshots, replay, failing detectors, dead letters."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from actors.engine.position import APPLIED_MAX, Applied, Record, read_image
from actors.errors import StateError
from models.detector import SeriesBatch, Verdicts, identity
from schemas.charts import unpack
from tests.actors.engine.world import Above, Fragile, World, decode_json, raw_of

WORDS = st.lists(
    st.tuples(st.sampled_from("abc"), st.sampled_from(["1", "11", "12", "nan", "bad!"])).map(" ".join), max_size=40
)


def chart_rows(log: list[Record]) -> dict[int, tuple]:
    """Unpack every row of every chart record: offset → what was said of it. Each offset once."""
    rows: dict[int, tuple] = {}
    for record in log:
        if record.topic == "charts":
            block = unpack(record.value)
            said = block.detectors["test.above"]
            for i, offset in enumerate(block.offset.tolist()):
                assert offset not in rows
                rows[offset] = (block.series_keys[block.series[i]], block.value[i], said.signal[i], said.valid[i])
    return rows


def test_position_stands_before_the_outputs_and_after_the_state_it_speaks_of() -> None:
    world = World()
    records = world.step(["a 1", "a 2"])
    snapshot = World().step(["a 1", "a 2"], snapshot=True)
    keys = [record.key.partition(b"|")[0] for record in snapshot]
    assert keys == [b"series"] + [b"page"] * (len(keys) - 3) + [b"position", b"fab:0/test"]
    assert [record.topic for record in records] == ["state", "charts"]
    assert decode_json(records[0].value) == {
        "topic": "fab", "partition": 0, "next_offset": 2, "seq": 1, "snapshot_offset": 0, "snapshot_seq": 0,
        "code_version": "1", "applied": [], "event_time_ms": 10, "slot": 0, "deal": 0,
    }  # fmt: skip


def test_a_chart_record_holds_every_row() -> None:
    world = World()
    world.step(["a 1", "b 11", "a nan"])
    assert chart_rows(world.log) == {
        0: ("a", 1, 0, True),
        1: ("b", 11, 1, True),
        2: ("a", pytest.approx(np.nan, nan_ok=True), 0, False),
    }


def test_a_dead_letter_stands_beside_the_rest() -> None:
    world = World()
    records = world.step(["a 1", "nonsense", "a 2"])
    letter = decode_json(records[-1].value)
    assert (letter["topic"], letter["partition"], letter["offset"], letter["reason"]) == ("fab", 0, 1, "malformed")
    assert letter["value"] == b"nonsense"
    assert sorted(chart_rows(world.log)) == [0, 2]


def test_a_step_of_dead_letters_only_advances() -> None:
    world = World()
    records = world.step(["x", "y"])
    assert [record.topic for record in records] == ["state", "charts", "dead", "dead"]
    assert len(unpack(records[1].value)) == 0
    assert world.fold.position.next_offset == 2


def test_oversized_dead_letter_keeps_a_prefix_and_the_size() -> None:
    world = World()
    letter = decode_json(world.step(["z" * 100_000])[-1].value)
    assert len(letter["value"]) == 64 * 1024
    assert "of 100000 bytes" in letter["detail"]


@settings(max_examples=60)
@given(
    words=WORDS,
    cuts=st.lists(st.integers(1, 9), max_size=40),
    snapshot_every=st.integers(1, 5),
    crash_at=st.integers(0, 40),
)
def test_crash_and_replay_change_nothing(words: list[str], cuts: list[int], snapshot_every: int, crash_at: int) -> None:
    """Whatever the cuts, the snapshots and the crash: rows, alerts and state are those of one undisturbed batch."""
    whole = World()
    whole.step(words)
    world = World()
    at = step = 0
    sizes = iter([*cuts, *[3] * 40])
    while at < len(words):
        size = next(sizes)
        world.step(words[at : at + size], snapshot=step % snapshot_every == 0)
        at, step = at + size, step + 1
        if step == crash_at:
            target = world.fold.position
            world.open()
            world.replay(words, target, at_most=2)
            assert world.fold.position == target
    assert world.state() == whole.state()
    assert str(chart_rows(world.log)) == str(chart_rows(whole.log))
    assert world.alerts() == whole.alerts()


def test_snapshots_hold_only_what_changed() -> None:
    world = World()
    world.step(["a 1"], snapshot=True)
    again = world.step([], snapshot=True)
    assert [record.key for record in again] == [b"position"]


def test_a_detector_that_raises_is_switched_off_and_reported() -> None:
    world = World(detectors=(Above(), Fragile()))
    world.step(["a 1", "a 2"], snapshot=True)
    records = world.step(["a 3", "a 666"])
    off = identity(Fragile())
    assert world.fold.position.applied == (Applied(2, "detector_disabled", off, "ArithmeticError: 666 is not for me"),)
    alert = decode_json(records[-1].value)
    assert (alert["rule"], alert["severity"], alert["detector"], alert["opened_offset"]) == (
        "detector_error",
        "CRITICAL",
        off,
        2,
    )
    assert "ArithmeticError" in alert["detail"]
    block = unpack(world.step(["a 4"])[1].value)
    assert set(block.detectors) == {"test.above"}


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (lambda said: said._replace(statistic=said.statistic[:, 0]), "returned shapes"),
        (lambda said: said._replace(signal=said.signal.astype(np.int64)), "signal must be uint32"),
        (lambda said: said._replace(centre=np.zeros((7, 7))), "could not be broadcast"),
        (lambda said: said._replace(ucl=np.array([["high"]])), "could not convert"),
    ],
)
def test_verdicts_that_are_not_what_the_contract_says_switch_the_detector_off(
    wrong: Callable[[Verdicts], Verdicts], message: str
) -> None:
    @dataclass(frozen=True)
    class Wrong(Above):
        def update(self, state: Mapping[str, np.ndarray], batch: SeriesBatch) -> Verdicts:
            return wrong(super().update(state, batch))

    world = World(detectors=(Wrong(),))
    (alert,) = [decode_json(r.value) for r in world.step(["a 1", "a 2"]) if r.topic == "alerts"]
    assert alert["rule"] == "detector_error"
    assert message in alert["detail"]


def test_a_replay_switches_the_detector_off_at_the_same_offset() -> None:
    words = ["a 1", "a 2", "a 3", "a 666", "a 5"]
    world = World(detectors=(Above(), Fragile()))
    world.step(words[:2], snapshot=True)
    world.step(words[2:3])
    world.step(words[3:])
    state, target = world.state(), world.fold.position
    world.open()
    assert len(world.family._partitions[0].judges) == 2
    world.replay(words, target)
    assert (world.state(), world.fold.position) == (state, target)


def test_a_detector_off_before_the_snapshot_stays_off() -> None:
    world = World(detectors=(Above(), Fragile()))
    world.step(["a 666"])
    world.step(["a 1"], snapshot=True)
    assert world.open() == ()
    assert [judge.detector.name for judge in world.family._partitions[0].judges] == ["test.above"]


def test_a_new_detector_is_reported_as_without_state() -> None:
    world = World()
    world.step(["a 1"], snapshot=True)
    world.detectors = (Above(), Above(limit=11.0, name="test.other"))
    assert world.open() == (identity(world.detectors[1]),)


def test_the_applied_log_has_a_limit() -> None:
    world = World(detectors=(Fragile(),))
    world.fold.position = world.fold.position._replace(applied=(Applied(0, "x", "y", ""),) * APPLIED_MAX)
    with pytest.raises(StateError, match="limit is 1000"):
        world.step(["a 666"])


def test_a_page_newer_than_the_snapshot_is_refused() -> None:
    world = World()
    world.step(["a 1"], snapshot=True)
    older = [record for record in world.log if record.key != b"position"]
    world.log = older + World(detectors=()).step(["a 1"])  # a position that knows no snapshot
    with pytest.raises(StateError, match="is of step 1"):
        world.image()


def test_a_hole_in_the_series_dictionary_is_refused() -> None:
    world = World()
    world.step([f"s{i} 1" for i in range(1500)], snapshot=True)
    assert len(world.image().series) == 1500
    records = [(r.key, r.value) for r in world.log if r.topic == "state" and r.key != b"series|0"]
    with pytest.raises(StateError, match="page 1 begins after 0 series"):
        read_image(records, decode_json)


def test_a_tombstone_removes_a_record() -> None:
    world = World()
    world.step(["a 1"], snapshot=True)
    records = [(r.key, r.value) for r in world.log if r.topic == "state"]
    pages = [(key, None) for key, _ in records if key.startswith(b"page|")]
    assert read_image([*records, *pages], decode_json).pages == []


def test_only_series_that_are_new_are_sent() -> None:
    world = World()
    first = world.fold.begin(raw_of(["a 1", "b 1"]))
    assert first.work.new_series == ("a", "b")


def test_a_data_scientists_detector_runs_in_the_engine() -> None:
    from examples.my_detector import SpreadOfThree

    world = World(detectors=(SpreadOfThree(),))
    records = world.step(["a 1", "a 2", "a 3", "a 30"], snapshot=True)
    (block,) = [unpack(record.value) for record in records if record.topic == "charts"]
    assert block.detectors["mine.spread_of_three"].signal.tolist() == [0, 0, 0, 1]
    assert [alert["rule"] for alert in world.alerts()] == ["wide"]
    assert world.open() == ()  # its state came back
