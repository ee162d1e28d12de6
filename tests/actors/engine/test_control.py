"""Limits, resets and exclusions in the fold: they hold from an input offset on, live, after a crash and in a replay."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from actors.engine.control import CHANGES_PER_STEP_MAX, AppliedChange, PartitionChange, Waiting
from actors.engine.position import DISABLED, Applied, Position, read_image
from actors.engine.replay import Replay
from actors.errors import StateError
from models.detector import Column, SeriesBatch, Verdicts
from models.limit_versions import Change, Kind, Limits, SeriesChange, State
from schemas.batch import SeriesDictionary
from schemas.charts import unpack
from tests.actors.engine.world import Above, World, decode_json, raw_of


@dataclass(frozen=True)
class Given(Above):
    """As Above; the limit is the mean that people gave, and the run starts anew with everything that they change."""

    name: str = "test.given"

    @property
    def state(self) -> Mapping[str, Column]:
        return {"run": Column("i8"), "epoch": Column("i8")}

    def update(self, state: Mapping[str, np.ndarray], batch: SeriesBatch) -> Verdicts:
        n = len(batch)
        signal, centre = np.zeros(n, np.uint32), np.zeros((n, 1))
        for i, (row, value) in enumerate(zip(batch.row.tolist(), batch.value.tolist(), strict=True)):
            mu, _, _, _, _, *counters = batch.params[row].tolist()
            centre[i] = self.limit if np.isnan(mu) else mu
            if np.isnan(value):
                continue
            epoch = sum(10**power * counter for power, counter in enumerate(counters))
            if state["epoch"][row] != epoch:
                state["run"][row], state["epoch"][row] = 0, epoch
            state["run"][row] = state["run"][row] + 1 if value > centre[i] else 0
            signal[i] = (state["run"][row] > 0) | (int(state["run"][row] > 1) << 1)
        return Verdicts(batch.value.reshape(-1, 1).copy(), centre, centre, centre, signal, ~np.isnan(batch.value))


def change(
    name: str, kind: Kind = Kind.LIMITS, mu: float | None = 5.0, *series: str, offset: int = 0
) -> PartitionChange:
    limits = Limits(mu=mu) if kind is Kind.LIMITS else Limits()
    at = offset if kind in (Kind.EXCLUDE, Kind.INCLUDE) else None
    shares = tuple(SeriesChange(key, 0, limits, int(kind is Kind.LIMITS), at) for key in series or ("a",))
    return PartitionChange(name, kind, shares)


def verdicts(world: World) -> dict[int, tuple]:
    """Unpack what was said of every row: offset → all of it. Each offset once."""
    rows: dict[int, tuple] = {}
    for record in world.log:
        if record.topic == "charts":
            block = unpack(record.value)
            said = block.detectors["test.given"]
            for i, offset in enumerate(block.offset.tolist()):
                assert offset not in rows
                numbers = (said.statistic[i], said.centre[i], said.lcl[i], said.ucl[i])
                rows[offset] = (block.series_keys[block.series[i]], *(x.tobytes() for x in numbers), said.signal[i])
    return rows


def made(world: World) -> list[tuple[str, int]]:
    return [(entry.change.change_id, entry.at_offset) for entry in world.image().changes]


def world() -> World:
    return World(detectors=(Given(),))


def crash(world: World, words: Sequence[str], at_most: int = 2) -> None:
    """Lose everything, open again from the log, replay."""
    target = world.fold.position
    world.open()
    world.replay(words, target, at_most)
    assert world.fold.position == target


# ---- where a change holds


def test_limits_hold_from_the_steps_first_offset_on() -> None:
    line = world()
    line.step(["a 7", "a 7"])
    records = line.step(["a 7", "b 7"], changes=[change("c1")])
    assert [record.topic for record in records][:2] == ["state", "state"]
    assert records[0].key == b"applied|c1"
    assert decode_json(records[0].value) == {
        "change_id": "c1", "kind": "LIMITS", "at_offset": 2, "seq": 2, "event_time_ms": 10,
        "changes": [{"series": "a", "partition": 0, "mu": 5.0, "sigma": None, "lsl": None, "usl": None, "target": None,
                     "limits_version": 1, "offset": None}],
    }  # fmt: skip
    assert [said[-1] for _, said in sorted(verdicts(line).items())] == [0, 0, 1, 0]  # b keeps the limit of 10
    assert made(line) == [("c1", 2)]


def test_a_version_is_whole_and_its_number_grows() -> None:
    line = world()
    line.step(["a 1"], changes=[change("c1"), change("c2", mu=None), change("c3", Kind.RESET)])
    line.step([], changes=[change("c4", Kind.EXCLUDE), change("c5", Kind.INCLUDE)])
    (row,) = line.family._partitions[0].params.rows[:1]
    assert np.isnan(row["mu"])
    assert (row["limits_version"], row["resets"], row["exclusions"]) == (2, 1, 2)


def test_a_reset_ends_the_run() -> None:
    line = world()
    line.step(["a 11"])
    line.step(["a 11"], changes=[change("c1", Kind.RESET)])
    line.step(["a 11"])
    assert [said[-1] for said in verdicts(line).values()] == [1, 1, 3]


def test_what_is_excluded_before_it_is_folded_is_not_judged() -> None:
    words = ["a 11"] * 6
    line = world()
    line.step(
        words[:2], changes=[change("c1", Kind.EXCLUDE, None, offset=4), change("c2", Kind.EXCLUDE, None, offset=5)]
    )
    line.step(words[2:3], changes=[change("c3", Kind.EXCLUDE, None, offset=0)])  # it was judged: that stays
    line.step([], snapshot=True, changes=[change("c4", Kind.INCLUDE, None, offset=5)])
    crash(line, words)
    records = line.step(words[3:])
    (block,) = [unpack(record.value) for record in records if record.topic == "charts"]
    assert block.detectors["test.given"].valid.tolist() == [True, False, True]
    assert np.isnan(block.value).tolist() == [False, True, False]
    assert [said[-1] for said in verdicts(line).values()] == [1, 3, 1, 1, 0, 3]  # each change ends the run
    assert line.fold._excluded == set()


def test_limits_are_there_at_the_first_row_of_a_series() -> None:
    words = ["a 1", "b 7", "new 7"]
    line = world()
    line.step(words[:1], changes=[change("c1", Kind.LIMITS, 5.0, "new")])
    assert line.fold.series.keys == ["new", "a"]
    line.step(words[1:])
    assert [said[-1] for said in verdicts(line).values()] == [0, 0, 1]
    crash(line, words)
    assert line.fold.series.keys == ["new", "a", "b"]


def test_a_change_for_a_series_that_finds_no_room_does_nothing() -> None:
    line = world()
    line.fold.series = SeriesDictionary(["a"], series_max=1)
    line.family._partitions[0].grow(["a"])
    line.fold._begun_series = 1
    line.step(["a 7"], changes=[change("c1", Kind.LIMITS, 5.0, "a", "one too many")])
    assert [said[-1] for said in verdicts(line).values()] == [1]
    assert line.fold.changes_made == {"c1"}


def test_a_change_without_records_is_made_by_an_empty_step() -> None:
    words = ["a 7", "a 7"]
    line = world()
    line.step(words[:1])
    records = line.step([], changes=[change("c1")])
    assert [record.topic for record in records] == ["state", "state"]
    crash(line, words[:1])  # the change stands at the position, after the last record
    line.step(words[1:])
    assert [said[-1] for said in verdicts(line).values()] == [0, 1]


# ---- replay


WORDS = st.lists(
    st.tuples(st.sampled_from("abc"), st.sampled_from(["1", "7", "11", "nan", "bad!"])).map(" ".join), max_size=30
)
KINDS = st.sampled_from([*Kind])
STEPS = st.lists(
    st.tuples(
        st.integers(0, 6),  # records
        st.booleans(),  # a snapshot with it
        st.lists(
            st.tuples(KINDS, st.sampled_from([None, 0.0, 5.0]), st.sampled_from("abcd"), st.integers(0, 30)), max_size=2
        ),
        st.booleans(),  # a crash after it
    ),
    max_size=12,
)


@pytest.mark.slow
@settings(max_examples=150)
@given(words=WORDS, steps=STEPS, at_most=st.integers(1, 5))
@example(
    ["a 7"] * 4, [(2, True, [(Kind.LIMITS, 5.0, "a", 0)], True), (0, False, [(Kind.RESET, None, "a", 0)], True)], 1
)
@example(["a 11"] * 6, [(1, True, [(Kind.EXCLUDE, None, "a", 4)], True), (2, False, [], True)], 2)
@example(
    ["a 11"] * 6, [(1, False, [(Kind.EXCLUDE, None, "a", 4)], True), (1, True, [(Kind.INCLUDE, None, "a", 4)], True)], 1
)
def test_crashes_and_snapshots_change_nothing(words: list[str], steps: list[tuple], at_most: int) -> None:
    """Whatever the cuts, snapshots, changes and crashes: all is as if rows were folded one by one, changes at their offsets."""
    line = world()
    at = 0
    for number, (rows, snapshot, asked, crashes) in enumerate([*steps, (30, False, [], True)]):
        changes = [
            change(f"c{number}.{i}", kind, mu, series, offset=offset)
            for i, (kind, mu, series, offset) in enumerate(asked)
        ]
        line.step(words[at : at + rows], snapshot=snapshot, changes=changes)
        at += rows
        if crashes:
            crash(line, words, at_most)
    one_by_one = world()
    log = line.image().changes
    for offset in range(len(words) + 1):
        due = [entry.change for entry in log if entry.at_offset == offset]
        one_by_one.step(words[offset : offset + 1], changes=due)
    assert line.state() == one_by_one.state()
    assert verdicts(line) == verdicts(one_by_one)
    assert line.alerts() == one_by_one.alerts()
    assert line.fold.changes_made == {entry.change.change_id for entry in log}


@pytest.mark.parametrize("crash_after", range(7))
@pytest.mark.parametrize("snapshot_after", range(7))
def test_a_crash_at_every_point(crash_after: int, snapshot_after: int) -> None:
    words = ["a 7", "b 11", "a 7", "a 11", "b 7", "a 7"]
    changes = {1: [change("c1")], 3: [change("c2", Kind.RESET, None, "a", "b")], 5: [change("c3", mu=None)]}
    worlds = [world(), world()]
    for line in worlds:
        for i in range(len(words)):
            if line is worlds[0] and i == crash_after:
                crash(line, words, at_most=1)
            line.step(words[i : i + 1], snapshot=i == snapshot_after, changes=changes.get(i, []))
        if line is worlds[0] and crash_after == len(words):
            crash(line, words)
    assert worlds[0].state() == worlds[1].state()
    assert verdicts(worlds[0]) == verdicts(worlds[1])
    assert worlds[0].alerts() == worlds[1].alerts()
    assert made(worlds[0]) == [("c1", 1), ("c2", 3), ("c3", 5)]


def test_changes_before_the_snapshot_come_from_its_pages_and_are_not_made_twice() -> None:
    line = world()
    line.step(["a 7"], changes=[change("c1")])
    line.step([], snapshot=True)
    line.open()
    assert Replay(line.fold.position, line.image().changes).rest() is None
    assert line.family._partitions[0].params.rows["limits_version"][0] == 1
    assert line.fold.changes_made == {"c1"}


def test_only_rows_that_were_changed_are_in_pages() -> None:
    line = world()
    line.step(["a 7", "b 7"], snapshot=True)
    assert not any(b"params/" in record.key for record in line.log)
    records = line.step(["a 7"], snapshot=True, changes=[change("c1", Kind.LIMITS, 5.0, "b")])
    assert [record.key.split(b"|")[1] for record in records if b"params/" in record.key] == [b"params/test"]
    assert not any(b"params/" in record.key for record in line.step(["a 7"], snapshot=True))


def test_a_change_newer_than_the_position_is_refused() -> None:
    line = world()
    line.step(["a 1"])
    late = world()
    late.step([])
    late.step([], changes=[change("c1")])
    records = [(r.key, r.value) for r in (*line.log, *late.log) if r.topic == "state"]
    torn = [record for record in records if record[0] != b"position"] + [records[0]]
    with pytest.raises(StateError, match=r"applied\|c1 is of step 2"):
        read_image(torn, decode_json)


def test_a_change_of_a_kind_that_is_newer_than_the_code_is_refused() -> None:
    line = world()
    line.step([], changes=[change("c1")])
    log = [(r.key, r.value.replace(b"LIMITS", b"UNKNOWN")) for r in line.log if r.topic == "state"]
    with pytest.raises(StateError, match="change c1: 'UNKNOWN' is not a valid Kind: written by a newer version"):
        read_image(log, decode_json)


def test_what_happened_at_the_position_itself_is_done_again_after_the_last_record() -> None:
    off = Applied(4, DISABLED, "test.given@1", "it raised")
    target = Position("fab", 0, 4, 3, 4, 2, "1", (off,))
    late, earlier = AppliedChange(change("c2"), 4, 3, 0), AppliedChange(change("c1"), 4, 2, 0)
    replay = Replay(target, [earlier, late])
    assert list(replay.pieces(raw_of(["a 1"], 4))) == []
    rest = replay.rest()
    assert rest is not None
    assert (len(rest.raw), rest.raw.next_offset, rest.disabled, rest.changes) == (
        0,
        4,
        ("test.given@1",),
        (late.change,),
    )


# ---- what waits


def in_topic(name: str, partition: int = 0, state: State = State.APPLIED, **more: object) -> Change:
    share = SeriesChange("a", partition, Limits(mu=5.0), 1)
    said = {"pipeline": "quality", "topic": "fab", "effective_from_ms": None} | more
    return Change(
        change_id=name, kind=Kind.LIMITS, state=state, author="ada", reason="r", created_ms=0, changes=(share,), **said
    )  # type: ignore[arg-type]


def ids(changes: Sequence[PartitionChange]) -> list[str]:
    return [change.change_id for change in changes]


def test_what_is_applied_waits_for_its_partition_in_the_order_of_the_topic() -> None:
    waiting = Waiting("quality", "fab", (0, 1))
    waiting.take([in_topic("c2"), in_topic("c1"), in_topic("c3", 1), in_topic("c4", state=State.PROPOSED)])
    waiting.take([in_topic("c5", pipeline="other"), in_topic("c6", topic="vectors"), in_topic("c7", 7)])
    assert ids(waiting.due(0, (), 0)) == ["c2", "c1"]
    assert ids(waiting.due(1, (), 0)) == ["c3"]
    assert (waiting.count([0, 1]), waiting.count([1])) == (3, 1)


def test_what_was_made_is_not_made_again_however_often_it_is_written() -> None:
    waiting = Waiting("quality", "fab", (0,))
    waiting.take([in_topic("c1")])
    assert ids(waiting.due(0, {"c1"}, 0)) == []
    waiting.take([in_topic("c1")])
    assert ids(waiting.due(0, {"c1"}, 0)) == []
    assert waiting.count([0]) == 0


def test_an_effective_time_is_waited_for_and_holds_up_nothing() -> None:
    waiting = Waiting("quality", "fab", (0,))
    waiting.take([in_topic("later", effective_from_ms=1000), in_topic("now")])
    assert ids(waiting.due(0, (), 999)) == ["now"]
    assert ids(waiting.due(0, {"now"}, 1000)) == ["later"]


def test_a_step_makes_a_bounded_number_of_changes() -> None:
    waiting = Waiting("quality", "fab", (0,))
    names = [f"c{i}" for i in range(CHANGES_PER_STEP_MAX + 1)]
    waiting.take(map(in_topic, names))
    assert ids(waiting.due(0, (), 0)) == names[:-1]
    assert ids(waiting.due(0, set(names[:-1]), 0)) == names[-1:]


def test_event_time_is_the_largest_one_and_survives() -> None:
    line = world()
    line.step(["a 1", "a 1", "a 1"])
    line.step([], snapshot=True)
    assert line.fold.position.event_time_ms == 20
    line.open()
    assert line.fold.position.event_time_ms == 20
