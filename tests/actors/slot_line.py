"""One slot on the model of the log: no Kafka, no Ray, and time that passes only where somebody waits."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace
from random import Random
from typing import Any

import pytest

from actors.deal import Deal, Dealer, Seat
from actors.engine.arrivals import Arrivals
from actors.engine.fold import PartitionFold
from actors.engine.position import POSITION_KEY, Record
from actors.log import Polled, Reader
from actors.slot import Slot
from actors.surroundings import Codec, Surroundings
from schemas.registry import RegistryUnavailable
from tests.simulation import line
from tests.simulation.broker import Broker
from tests.simulation.model import ModelLog, VirtualClock

STEPS_MAX = 500


class Hosts(line.PlainHosts):
    """Families in this process; remembers which partitions were dropped."""

    def __init__(self) -> None:
        super().__init__()
        self.dropped: list[int] = []

    def drop(self, partition: int) -> None:
        super().drop(partition)
        self.dropped.append(partition)


class ClosedEar(ModelLog):
    """A log whose readers of the input bring nothing as long as `deaf`."""

    deaf = False

    def reader(self, group: str, topic: str) -> Any:
        reader: Reader = super().reader(group, topic)
        honest = reader.poll

        def poll(rows_max: int, wait_s: float) -> Polled:
            if self.deaf and topic == line.INPUT:
                self.clock.passes(wait_s)
                return Polled([], {})
            return honest(rows_max, wait_s)

        reader.poll = poll  # type: ignore[method-assign]
        return reader


class NoRegistry:
    """A registry that does not answer as long as it is `away`: records that begin with 0 are of a schema nobody knows yet."""

    away = True

    def __init__(self, on: SlotLine, monkeypatch: pytest.MonkeyPatch) -> None:
        on.codec = replace(on.codec, look_up=self.look_up)
        honest = line.LineDecoder.decode

        def decode(decoder: Any, raw: Any, *rest: Any, **names: Any) -> Any:
            if any(value[:1] == b"\0" for value in raw.values):
                self.look_up(7)
            return honest(decoder, raw, *rest, **names)

        monkeypatch.setattr(line.LineDecoder, "decode", decode)

    def look_up(self, schema_id: int) -> None:
        if self.away:
            error = RegistryUnavailable("away")
            error.schema_id = schema_id
            raise error


class SlotLine:
    """A pipeline of some partitions and slots."""

    def __init__(self, partitions: int = 2, slots: int = 1, codec: Codec | None = None) -> None:
        self.clock = VirtualClock()
        self.broker = Broker(self.clock, Random(1))
        self.log = ClosedEar(self.broker, self.clock)
        self.codec = codec or line.codec()
        self.stopped = False
        self.pipeline = line.pipeline(partitions, slots, 50, 600_000, Arrivals())
        for topic in (
            line.INPUT,
            *(getattr(line.TOPICS, name) for name in ("charts", "alerts", "dead_letters", "late")),
        ):
            self.broker.create(topic, partitions)
        self.broker.create(line.TOPICS.state, partitions)
        self.broker.create(line.TOPICS.deals, 1)
        self.deal(lambda _: Deal.first(line.NAME, partitions, slots))

    @property
    def around(self) -> Surroundings:
        return Surroundings(self.log, self.clock, self.codec, lambda: self.stopped)

    def deal(self, change: Callable[[Deal | None], Deal | None]) -> Deal:
        dealer = Dealer(self.log, line.NAME, line.TOPICS.deals, self.codec.encoders["deal"], self.codec.read)
        after = dealer.change(change)
        assert after is not None
        return after

    def slot(self, number: int = 0, incarnation: int = 1, **settings: Any) -> Slot:
        return Slot(replace(self.pipeline, **settings), Seat(number, incarnation), Hosts(), self.around)

    def opened(self, number: int = 0, incarnation: int = 1, **settings: Any) -> Slot:
        slot = self.slot(number, incarnation, **settings)
        slot.open()
        return slot

    def write(self, partition: int, *words: str) -> None:
        for word in words:
            self.broker.append((line.INPUT, partition), word.encode(), b"key", 1_000)

    def noise(self, partition: int, count: int, first: int = 0) -> None:
        """Write so many good records."""
        self.write(partition, *(f"a 1 {first + n} {1_000 + n}" for n in range(count)))

    def write_state(self, partition: int, key: bytes, value: bytes | None) -> None:
        """Write to the state, in a transaction of nobody's."""
        writer = self.log.writer("somebody")
        writer.open()
        writer.commit([Record(line.TOPICS.state, partition, key, value)], "", {}, None).result()

    def positions(self, partition: int) -> list[dict[str, Any]]:
        """Return every position of a partition that was ever written."""
        entries = self.broker.topics[line.TOPICS.state][partition].fetch(0, 1_000_000)[0]
        return [self.codec.read(e.value or b"") for e in entries if e.key == POSITION_KEY]

    def committed(self, partition: int) -> int | None:
        return self.broker.offsets.get((line.NAME, (line.INPUT, partition)))

    def until(self, true: Callable[[], bool], *slots: Slot) -> None:
        """Step until something holds."""
        for _ in range(STEPS_MAX):
            if true():
                return
            for slot in slots:
                slot.step()
            self.clock.passes(0.01)
        raise AssertionError("it does not come")

    def fold_all(self, slot: Slot, partitions: Iterable[int]) -> None:
        """Step until all input of some partitions is committed."""
        ends = {p: self.broker.topics[line.INPUT][p].end for p in partitions}
        self.until(lambda: all(self.committed(p) == end for p, end in ends.items()), slot)


def crashed(on: SlotLine, records: int = 20) -> SlotLine:
    """Fold some records without a snapshot and crash: whoever comes next has to replay."""
    for partition in on.pipeline.partitions:
        on.noise(partition, records)
    slot = on.opened()
    on.fold_all(slot, on.pipeline.partitions)
    slot.abandon()
    return on


def before_each_advance(slot: Slot, act: Callable[[], None]) -> None:
    """Have this done each time before the slot goes on with the partitions that are on their way."""
    honest = slot._takeover.advance

    def advance(wait_s: float) -> list[PartitionFold]:
        act()
        return honest(wait_s)

    slot._takeover.advance = advance  # type: ignore[method-assign]
