"""A stretch of the input judged again: on the model of the log, against a fold of the same records alone."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from actors import stretch as module
from actors.engine.arrivals import Arrivals
from actors.errors import ReopenError
from actors.log import Polled
from actors.slot import Slot
from actors.stretch import Stretch, StretchLog, first_since, replay_topics, replayed
from actors.surroundings import Surroundings
from schemas.batch import RawBatch
from schemas.charts import unpack
from tests.actors.slot_line import Hosts, SlotLine
from tests.simulation import line
from tests.simulation.model import VirtualClock


class Again(SlotLine):
    """A line, and a replay of its input beside it."""

    def __init__(self, records: int = 60) -> None:
        super().__init__(partitions=2)
        for partition in range(2):
            self.noise(partition, records)
        live = self.opened()
        self.fold_all(live, [0, 1])
        live.close()

    def replay(self, starts: dict[int, int], ends: dict[int, int]) -> tuple[Any, Surroundings]:
        """Return the replay's pipeline and what it stands on."""
        stretch = Stretch(line.INPUT, starts, ends, lambda _: self.log)
        pipeline = replayed(self.pipeline, "again", stretch)
        for topic in (
            pipeline.topics.charts,
            pipeline.topics.alerts,
            pipeline.topics.dead_letters,
            pipeline.topics.state,
        ):
            if topic not in self.broker.topics:
                self.broker.create(topic, 2)
        return pipeline, Surroundings(stretch(self.pipeline.cluster), self.clock, self.codec, lambda: False)

    def slot_of(self, pipeline: Any, around: Surroundings) -> Slot:
        from actors.deal import Deal, Dealer

        dealer = Dealer(around.log, pipeline.name, pipeline.topics.deals, self.codec.encoders["deal"], self.codec.read)
        deal = dealer.change(lambda before: before.renewed(0) if before else Deal.first(pipeline.name, 2, 1))
        assert deal is not None
        slot = Slot(pipeline, deal.seats()[0], Hosts(), around)
        slot.open()
        return slot

    def rows(self, topic: str) -> dict[tuple[int, int], tuple[Any, ...]]:
        """Return what was said of each (partition, offset); each once."""
        found: dict[tuple[int, int], tuple[Any, ...]] = {}
        for partition, log in enumerate(self.broker.topics[topic]):
            for entry in log.fetch(0, 1_000_000)[0]:
                block = unpack(entry.value or b"")
                for row, offset in enumerate(block.offset.tolist()):
                    said = tuple(
                        (name, verdict.statistic[row].tobytes(), int(verdict.signal[row]), bool(verdict.valid[row]))
                        for name, verdict in block.detectors.items()
                    )
                    assert (partition, offset) not in found
                    found[partition, offset] = said
        return found


def test_a_stretch_is_judged_and_nothing_beyond_it() -> None:
    on = Again()
    pipeline, around = on.replay({0: 0, 1: 20}, {0: 45, 1: 50})
    slot = on.slot_of(pipeline, around)
    on.until(lambda: on.broker.offsets.get((pipeline.name, (line.INPUT, 1))) == 50, slot)
    on.noise(0, 5, first=60)  # the line goes on
    on.until(lambda: on.broker.offsets.get((pipeline.name, (line.INPUT, 0))) == 45, slot)
    for _ in range(5):
        slot.step()
    slot.close()
    again, live = on.rows(pipeline.topics.charts), on.rows(on.pipeline.topics.charts)
    assert set(again) == {(0, n) for n in range(45)} | {(1, n) for n in range(20, 50)}
    assert {place: said for place, said in again.items() if place[0] == 0} == {
        place: said for place, said in live.items() if place[0] == 0 and place[1] < 45
    }, "from the beginning it is what the live line said"
    assert on.committed(0) == on.committed(1) == 60, "the live one's offsets are where they were"


def test_a_replay_that_is_broken_off_goes_on_where_it_was() -> None:
    on = Again()
    pipeline, around = on.replay({0: 10, 1: 10}, {0: 60, 1: 10})
    slot = on.slot_of(replace(pipeline, step_rows_max=7), around)
    slot.step()
    slot.step()
    slot.abandon()
    slot = on.slot_of(pipeline, around)
    on.until(lambda: on.broker.offsets.get((pipeline.name, (line.INPUT, 0))) == 60, slot)
    slot.close()
    assert set(on.rows(pipeline.topics.charts)) == {(0, n) for n in range(10, 60)}
    assert on.broker.offsets[pipeline.name, (line.INPUT, 1)] == 10, "a partition with nothing to judge is at its end"


def test_a_stretch_that_is_not_retained_any_more_is_not_begun_later_in_silence() -> None:
    on = Again()
    pipeline, around = on.replay({0: 10, 1: 10}, {0: 60, 1: 60})
    on.broker.topics[line.INPUT][0].delete_before(30)
    slot = on.slot_of(pipeline, around)
    on.until(lambda: bool(slot.status.quarantined), slot)
    assert "offset 10 is not in the log" in slot.status.quarantined[0]
    slot.abandon()


def test_topics_of_a_replay_are_its_own_and_nobody_changes_it() -> None:
    on = SlotLine()
    topics = replay_topics(on.pipeline, "june")
    assert (topics.charts, topics.dead_letters, topics.control, topics.late) == ("june.charts", "june.dlq", "", "")
    assert replay_topics(replace(on.pipeline, arrivals=Arrivals(dedupe_window=5)), "june").late == "june.late"


def test_all_but_the_input_is_as_it_is() -> None:
    on = Again(5)
    log = StretchLog(on.log, Stretch(line.INPUT, {0: 2, 1: 2}, {0: 3, 1: 3}))
    assert (log.first(line.INPUT, [0]), log.end(line.INPUT, [0])) == ({0: 2}, {0: 3})
    state = on.pipeline.topics.state
    assert (log.first(state, [0]), log.end(state, [0])) == (on.log.first(state, [0]), on.log.end(state, [0]))
    log.renew()
    log.close()
    reader = log.reader("g", line.INPUT)
    reader.assign({0: 2, 1: 3})
    assert [(raw.partition, raw.offset.tolist(), raw.next_offset) for raw in reader.poll(10, 0).batches] == [
        (0, [2], 3)
    ]
    assert reader.poll(10, 0).batches == []
    reader.close()


# ---- event times


class Times:
    """A decoder to which a value is its event time; a value that is none is a reject."""

    def decode(self, raw: RawBatch, *_: Any, **__: Any) -> Any:
        good = [n for n, value in enumerate(raw.values) if value != b"bad"]
        return replace(
            _EMPTY,
            offset=raw.offset[good],
            event_time_ms=np.array([int(raw.values[n] or b"0") for n in good], np.int64),
            next_offset=raw.next_offset,
        )


def _empty() -> Any:
    from schemas.batch import MicroBatch

    none = np.zeros(0, np.int64)
    return MicroBatch("in", 0, none, 0, none, none, none.astype(np.int32), none.astype(float), none)


_EMPTY = _empty()


class Source:
    """A reader of what it is given, some records at a time."""

    topic = "in"

    def __init__(self, batches: list[RawBatch], lost: dict[int, str] | None = None) -> None:
        self.batches, self.lost = batches, lost or {}
        self.closed = False

    def assign(self, offsets: Any) -> None: ...

    def remove(self, partitions: Any) -> None: ...

    def poll(self, *_: Any) -> Polled:
        return Polled([self.batches.pop(0)] if self.batches else [], self.lost)

    def close(self) -> None:
        self.closed = True


def raw(partition: int, first: int, *times: str) -> RawBatch:
    offsets = np.arange(first, first + len(times))
    return RawBatch(
        "in", partition, offsets, offsets, [None] * len(times), [t.encode() for t in times], first + len(times)
    )


def test_the_first_record_of_an_event_time_is_found_in_each_partition() -> None:
    source = Source([raw(0, 0, "5", "bad", "7"), raw(1, 4, "1", "2"), raw(0, 3, "6", "9"), raw(1, 6, "3", "99")])
    found = first_since(source, Times(), {0: (0, 5), 1: (4, 7), 2: (3, 3)}, 7, VirtualClock())  # type: ignore[arg-type]
    assert found == {0: 2, 1: None, 2: None}
    assert source.closed


def test_looking_for_an_event_time_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "SCAN_RECORDS_MAX", 2)
    with pytest.raises(ReopenError, match=r"no such event time among 3 records of partitions \[0\]: say an offset"):
        first_since(Source([raw(0, 0, "1", "1", "1")]), Times(), {0: (0, 9)}, 7, VirtualClock())  # type: ignore[arg-type]
    with pytest.raises(ReopenError, match="in:0: gone"):
        first_since(Source([], {0: "gone"}), Times(), {0: (0, 9)}, 7, VirtualClock())  # type: ignore[arg-type]
