"""Records of many samples through the engine: one record is many rows and one place in the log."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from actors.engine import alerts
from actors.engine.arrivals import Arrivals
from actors.engine.chart_records import pack_bounded
from actors.engine.control import PartitionChange
from actors.engine.position import Record
from actors.engine.torn import Outputs, missing, placed
from actors.slot_status import SlotStatus
from actors.view.chains import Chains
from models.limit_versions import Kind, SeriesChange
from schemas.charts import ChartBlock, pack, step_of, unpack
from tests.actors.engine.world import TOPICS, World, decode_json

NUMBERS = st.lists(st.sampled_from(["1", "11", "12", "nan"]), min_size=1, max_size=5).map(",".join)
WORDS = st.lists(
    st.tuples(st.sampled_from("abc"), NUMBERS | st.just("bad!") | st.just("1,bad!")).map(" ".join), max_size=20
)
Place = tuple[int, int]


def blocks(log: list[Record]) -> list[ChartBlock]:
    return [unpack(record.value) for record in log if record.topic == "charts"]


def rows(log: list[Record]) -> dict[Place, tuple[Any, ...]]:
    """Return (offset, sample) → what was said of it. Each once."""
    said: dict[Place, tuple[Any, ...]] = {}
    for block in blocks(log):
        of = block.detectors["test.above"]
        samples = [0] * len(block) if block.sample is None else block.sample.tolist()
        for i, place in enumerate(zip(block.offset.tolist(), samples, strict=True)):
            assert place not in said
            said[place] = (block.series_keys[block.series[i]], block.value[i], of.signal[i], of.valid[i])
    return said


def test_a_row_for_every_sample_at_the_offset_of_its_record() -> None:
    world = World()
    world.step(["a 1,11,nan", "b 12", "a 1,bad!", "a 13"])
    assert str(list(rows(world.log).items())) == str(
        [
            ((0, 0), ("a", np.float64(1), np.uint32(0), np.True_)),
            ((0, 1), ("a", np.float64(11), np.uint32(1), np.True_)),
            ((0, 2), ("a", np.float64(np.nan), np.uint32(0), np.False_)),
            ((1, 0), ("b", np.float64(12), np.uint32(1), np.True_)),
            ((3, 0), ("a", np.float64(13), np.uint32(3), np.True_)),
        ]
    )
    assert [decode_json(record.value)["offset"] for record in world.log if record.topic == "dead"] == [2]


def test_a_block_of_single_rows_has_no_samples() -> None:
    world = World()
    world.step(["a 1", "a 2"])
    world.step(["a 1,2"])
    single, many = blocks(world.log)
    assert single.sample is None
    assert many.sample is not None
    assert many.sample.dtype == np.int32
    assert pack(replace(many, sample=None)) != pack(many)


@settings(max_examples=60)
@given(words=WORDS, cuts=st.lists(st.integers(1, 9), max_size=20), crash_at=st.integers(0, 20))
def test_cuts_and_a_crash_change_nothing(words: list[str], cuts: list[int], crash_at: int) -> None:
    arrivals = Arrivals(dedupe_window=5, allowed_lateness_ms=1_000)
    whole = World(arrivals=arrivals)
    whole.step(words)
    world = World(arrivals=arrivals)
    at = step = 0
    sizes = iter([*cuts, *[3] * 20])
    while at < len(words):
        size = next(sizes)
        world.step(words[at : at + size], snapshot=step % 2 == 0)
        at, step = at + size, step + 1
        if step == crash_at:
            target = world.fold.position
            world.open()
            world.replay(words, target, at_most=2)
    assert world.state() == whole.state()
    assert str(rows(world.log)) == str(rows(whole.log))
    assert world.alerts() == whole.alerts()
    ids = [(alert["alert_id"], alert["state"]) for alert in whole.alerts()]
    assert len(set(ids)) == len(ids)


@pytest.mark.slow
@given(words=WORDS)
def test_verdicts_are_those_of_the_same_values_one_by_one(words: list[str]) -> None:
    good = [word for word in words if "bad!" not in word]
    many, single = World(), World()
    many.step(good)
    single.step([f"{word.split()[0]} {value}" for word in good for value in word.split()[1].split(",")])
    assert str(list(rows(many.log).values())) == str(list(rows(single.log).values()))
    assert [(a["rule"], a["state"], a["rows"]) for a in many.alerts()] == [
        (a["rule"], a["state"], a["rows"]) for a in single.alerts()
    ]


# ---- alerts


def test_two_incidents_in_one_record_are_two_alerts() -> None:
    world = World()
    world.step(["b 1", "a 11,1,1,12,1,1"])
    told = [(a["state"], a["opened_offset"], a["opened_sample"], a["closed_offset"]) for a in world.alerts()]
    assert told == [("OPEN", 1, 0, None), ("CLOSED", 1, 0, 1), ("OPEN", 1, 3, None), ("CLOSED", 1, 3, 1)]
    first, _, second, closed = (alert["alert_id"] for alert in world.alerts())
    assert first != second == closed


def test_an_incident_that_begins_inside_a_record_keeps_its_id_until_it_ends() -> None:
    words = ["a 1,11,12", "a 13", "a 1,1"]
    whole, world = World(), World()
    whole.step(words)
    world.step(words[:1], snapshot=True)
    target = world.fold.position
    world.open()
    world.replay(words, target)
    world.step(words[1:])
    assert world.alerts() == whole.alerts()
    opened, _, closed, _ = world.alerts()
    assert (opened["alert_id"], opened["opened_sample"]) == (closed["alert_id"], closed["opened_sample"])
    assert (closed["opened_offset"], closed["opened_sample"], closed["last_offset"], closed["closed_offset"]) == (
        0,
        1,
        1,
        2,
    )


def test_ids_of_first_samples_are_those_of_single_measurements() -> None:
    base = ("spc.x@1-ab", "fab", 0, "a", "above", 7)
    assert alerts.alert_id(*base, 0) == alerts.alert_id(*base) == "8d585ad2bb1e5720baa3ef9d75a3ef06"
    assert len({alerts.alert_id(*base, sample) for sample in (0, 1, 10_000)}) == 3


# ---- what is set aside, what is excluded


def aside(world: World) -> list[tuple[int, str, str]]:
    letters = [decode_json(record.value) for record in world.log if record.topic == "late"]
    return [(letter["offset"], letter["reason"], letter["detail"]) for letter in letters]


def test_samples_of_a_record_are_not_duplicates_of_each_other_and_a_repeated_record_is_one() -> None:
    world = World(arrivals=Arrivals(dedupe_window=10))
    world.step(["a 1,2,3 10 x", "a 1,2,3 10 x", "a 4,5 20 y", "a 6 30 y"])
    assert list(rows(world.log)) == [(0, 0), (0, 1), (0, 2), (2, 0), (2, 1)]
    assert [(offset, reason) for offset, reason, _ in aside(world)] == [(1, "duplicate"), (3, "duplicate")]


def test_a_record_is_late_by_its_first_sample_and_moves_the_watermark_to_its_last() -> None:
    world = World(arrivals=Arrivals(allowed_lateness_ms=10))
    world.step(["a 1,1,1 100", "a 1,1,1,1,1 91", "a 1 92", "a 1 91"])
    assert aside(world) == [(1, "late", "11 ms behind the watermark; 10 are allowed"),
                            (3, "late", "11 ms behind the watermark; 10 are allowed")]  # fmt: skip
    assert world.fold.watermark_ms == 102


def test_a_record_is_ahead_by_its_last_sample() -> None:
    world = World(arrivals=Arrivals(max_ahead_ms=0))
    world.step(["a 1,1 999", "a 1,1,1 1000", "a 1,1,1 1000"])  # published at 1000, 1001 and 1002
    assert aside(world) == [(1, "ahead", "1 ms ahead of its Kafka timestamp; 0 are allowed")]
    assert list(rows(world.log)) == [(0, 0), (0, 1), (2, 0), (2, 1), (2, 2)]


def test_all_samples_of_an_excluded_record_are_missing() -> None:
    world = World()
    exclude = PartitionChange("c1", Kind.EXCLUDE, (SeriesChange("a", 0, offset=1),))
    world.step(["a 1,2", "a 3,4", "a 5"], changes=[exclude])
    said = rows(world.log)
    assert [bool(valid) for *_, valid in said.values()] == [True, True, False, False, True]


# ---- counts


def test_rows_and_records_are_counted_for_what_they_are() -> None:
    world, status = World(arrivals=Arrivals(dedupe_window=10)), SlotStatus()
    words = ["a 1,nan,3 10 x", "a 1,nan,3 10 x", "a bad!", "b 4 20 y"]
    from tests.actors.engine.world import raw_of

    step = world.fold.begin(raw_of(words))
    assert status.add(step) == 4
    assert (status.rows, status.missing, status.records) == (4, 1, 2)
    assert status.records + status.dead_lettered + status.duplicates == 4


# ---- chart records


def block_of(words: list[str]) -> ChartBlock:
    world = World()
    world.step(words)
    [block] = blocks(world.log)
    return block


def chained(pieces: list[bytes]) -> dict[str, int]:
    chains = Chains()
    for piece in pieces:
        chains.check(unpack(piece))
    [[said]] = [families.values() for families in chains.summary().values()]
    return said


@pytest.mark.parametrize("halved", [True, False])
def test_a_block_is_cut_between_records_as_long_as_it_has_two(halved: bool) -> None:
    block = block_of(["a " + ",".join(["1"] * n) for n in (40, 1, 30, 2, 35)])
    pieces = pack_bounded(block, len(pack(block)) - 1 if halved else 1)
    said = chained(pieces)
    assert (said["rows"], said["records"], said["duplicated"], said["gaps"]) == (108, 5, 0, 0)
    steps = [step_of(piece) for piece in pieces]
    assert [step.first_offset for step in steps[1:]] == [step.next_offset for step in steps[:-1]]
    assert (steps[0].first_offset, steps[-1].next_offset) == (0, 5)
    if halved:
        ends = [set(unpack(piece).offset.tolist()) for piece in pieces]
        assert len(pieces) > 1
        assert sum(map(len, ends)) == 5


def test_blocks_of_one_record_are_told_apart_when_a_step_is_completed() -> None:
    block = block_of(["a " + ",".join(["1"] * 50), "a 2"])
    pieces = pack_bounded(block, 1)
    places = placed(map(step_of, pieces))
    assert len(set(places)) == len(pieces) > 20
    records = [Record("charts", 0, b"", piece) for piece in pieces]
    seen = Outputs({}, frozenset(), frozenset(), dict(zip(places[:7], pieces[:7], strict=True)))
    assert missing(records, seen, TOPICS, decode_json) == records[7:]
