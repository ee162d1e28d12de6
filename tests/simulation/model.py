"""A model of the log: the ports of actors/log.py over a broker in memory that fences and isolates (broker.py).

Theory of operation
-------------------
A `ModelLog` is how one process sees the broker. Whatever it does has a named *phase* and goes through its `Runtime`: there the
simulation interleaves processes, kills them, breaks a connection. Without one (`Runtime` itself) everything happens at once.

`Client` is a transactional producer as librdkafka is one: it remembers which partitions it has added to the transaction, and
sends no end for a transaction without any. What the network does to its requests is decided by `Faults`:

- `commit_unknown`: the answer to the end of a transaction is lost. The transaction was committed, or was not, or its end is still
  on its way (the broker drops it if the epoch has moved on by then). ReopenError in each case.
- `end_twice`: the end was sent twice and the second one is late: it arrives in the middle of the client's next transaction.

Records of one transaction keep their order within a partition; across partitions `shuffle` mixes them, as requests to different
brokers do.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from random import Random
from typing import TypeVar

import numpy as np

from actors.engine.position import Record
from actors.errors import ReopenError
from actors.log import Clock, Entry, Polled, compact
from schemas.batch import RawBatch
from tests.simulation import broker as brokers
from tests.simulation.broker import TRANSACTION_TIMEOUT_S, Broker, Late, Place

CALL_TIMEOUT_S = 10.0
ASK_AGAIN_S = 0.05
POLL_ROWS_MAX = 1000
LATE_PHASES_MAX = 25  # of the producer, by which the second of two ends comes late

T = TypeVar("T")


class Crash(BaseException):
    """The process is gone: nothing of it runs any more, not even what catches errors."""


class VirtualClock:
    """Time that passes only where somebody says so: a test never waits for it."""

    def __init__(self) -> None:
        self.time = 0.0

    def now(self) -> float:
        return self.time

    def passes(self, seconds: float) -> None:
        self.time += max(0.0, seconds)

    def sleep(self, seconds: float) -> None:  # as what is tested asks of a clock
        self.passes(seconds)


class Runtime:
    """Where a process runs. This one is alone in the world; the simulation's (world.py) has others beside it."""

    def at(self, phase: str) -> None:
        """Do the next thing. May run others first; may raise Crash, or ReopenError where the connection breaks."""

    def spawn(self, work: Callable[[], T]) -> Future[T]:
        """Run something beside the caller."""
        future: Future[T] = Future()
        try:
            future.set_result(work())
        except Exception as error:  # noqa: BLE001 - whoever asks for the result gets it
            future.set_exception(error)
        return future


@dataclass
class Faults:
    """What the network does to requests: chances by name, and the random that decides.

    Who asks whether something happens writes down in `met` that it did, where it does.
    """

    random: Random = field(default_factory=lambda: Random(0))
    chances: Mapping[str, float] = field(default_factory=dict)
    over: bool = False  # the network is whole again: what is on its way is lost
    met: Counter[str] = field(default_factory=Counter)

    def happens(self, what: str) -> bool:
        chance = self.chances.get(what, 0.0)
        return chance > 0 and self.random.random() < chance


class Client:
    """A transactional producer as librdkafka is one, method by method."""

    def __init__(
        self,
        broker: Broker,
        transactional_id: str,
        runtime: Runtime,
        faults: Faults,
        timeout_s: float = TRANSACTION_TIMEOUT_S,
    ) -> None:
        self.broker = broker
        self.transactional_id = transactional_id
        self.timeout_s = timeout_s
        self._runtime = runtime
        self._faults = faults
        self._epoch = -1
        self._added: set[Place] = set()
        self._again: Late | None = None  # an end that was sent twice, and how many phases until the second arrives
        self._again_in = 0

    def init(self) -> None:
        self._runtime.at("init")
        self._epoch = self.broker.open(self.transactional_id, self.timeout_s)
        self._runtime.at("init answered")

    def begin(self) -> None:
        self._phase("begin")
        self._added.clear()

    def produce(self, record: Record) -> None:
        """Write a record; partition -1: by key."""
        place = self.broker.place(record.topic, record.partition, record.key)
        self._phase(f"produce {place[0]}:{place[1]}")
        if place not in self._added:
            self.broker.join(self.transactional_id, self._epoch, place)
            self._added.add(place)
        self.broker.produce(self.transactional_id, self._epoch, place, record.key, record.value)

    def flush(self) -> None:
        self._phase("flush")

    def send_offsets(self, group: str, offsets: Mapping[Place, int]) -> None:
        if offsets:
            self._phase("send offsets")
            self.broker.send_offsets(self.transactional_id, self._epoch, group, offsets)
            self._added.add((brokers.OFFSETS_TOPIC, 0))

    def commit(self) -> None:
        self._phase("before commit")
        if self._added:
            self._end(committed=True)
        self._runtime.at("commit answered")

    def abort(self) -> None:
        self._phase("before abort")
        if self._added:
            self._end(committed=False)

    def _end(self, *, committed: bool) -> None:
        broker, producer, faults = self.broker, self.transactional_id, self._faults
        end = Late(producer, self._epoch, committed, broker.producers[producer].open)
        if faults.happens("commit_unknown"):
            how = faults.random.choice(("lost", "done", "late"))
            faults.met[f"commit_unknown: {how}"] += 1
            if how == "done":
                broker.end(producer, self._epoch, committed)
            elif how == "late":
                broker.late.append(end)
            raise ReopenError(f"{producer}: no answer to the end of the transaction ({how})")
        broker.end(producer, self._epoch, committed)
        if faults.happens("end_twice"):
            self._again = end
            self._again_in = faults.random.randint(2, LATE_PHASES_MAX)

    def _phase(self, phase: str) -> None:
        self._runtime.at(phase)
        if self._again is not None and not self._faults.over:
            self._again_in -= 1
            if self._again_in == 0:
                again, self._again = self._again, None
                self._faults.met["end_twice"] += 1
                self.broker.late.append(again)
                self.broker.arrive(again)


class ModelWriter:
    """`actors.log.Writer` on a `Client`."""

    def __init__(self, broker: Broker, transactional_id: str, runtime: Runtime, faults: Faults) -> None:
        self.last_commit_s = 0.0
        self._client = Client(broker, transactional_id, runtime, faults)
        self._runtime = runtime
        self._faults = faults

    def open(self) -> None:
        self._client.init()

    def commit(
        self, records: Sequence[Record], topic: str, offsets: Mapping[int, int], group_metadata: object
    ) -> Future[None]:
        places = {(topic, partition): offset for partition, offset in offsets.items()}
        return self._runtime.spawn(lambda: self._commit(records, str(group_metadata), places))

    def _commit(self, records: Sequence[Record], group: str, offsets: Mapping[Place, int]) -> None:
        client = self._client
        client.begin()
        for record in self._sent(records):
            client.produce(record)
        client.flush()
        client.send_offsets(group, offsets)
        client.commit()

    def _sent(self, records: Sequence[Record]) -> Sequence[Record]:
        """Return the records in the order in which the broker gets them."""
        if not self._faults.happens("shuffle"):
            return records
        self._faults.met["shuffle"] += 1
        waiting: dict[tuple[str, int, bytes], list[Record]] = {}
        for record in records:
            by_key = record.key if record.partition == -1 else b""
            waiting.setdefault((record.topic, record.partition, by_key), []).append(record)
        sent = []
        while waiting:
            queue = self._faults.random.choice(sorted(waiting))
            sent.append(waiting[queue].pop(0))
            if not waiting[queue]:
                del waiting[queue]
        return sent

    def close(self) -> None:
        self._runtime.at("close writer")

    def abandon(self) -> None:
        """Nothing to do: what it left open is the broker's to abort."""


class ModelReader:
    """`actors.log.Reader`."""

    def __init__(self, broker: Broker, clock: Clock, group: str, topic: str, runtime: Runtime) -> None:
        self.topic = topic
        self._broker = broker
        self._clock = clock
        self._group = group
        self._runtime = runtime
        self._positions: dict[int, int] = {}
        self._told: dict[int, int] = {}  # position that the caller knows of

    def assign(self, offsets: Mapping[int, int]) -> None:
        self._positions, self._told = dict(offsets), {}

    def add(self, offsets: Mapping[int, int]) -> None:
        self._positions.update(offsets)
        for partition in offsets:
            self._told.pop(partition, None)

    def remove(self, partitions: Iterable[int]) -> None:
        for partition in partitions:
            self._positions.pop(partition, None)
            self._told.pop(partition, None)

    def poll(self, rows_max: int, wait_s: float) -> Polled:
        self._runtime.at(f"poll {self.topic}")
        polled = self._fetch(rows_max)
        if not polled.batches and not polled.lost and wait_s > 0:
            self._clock.sleep(wait_s)
            polled = self._fetch(rows_max)
        return polled

    def _fetch(self, rows_max: int) -> Polled:
        self._broker.tick()
        batches: list[RawBatch] = []
        lost: dict[int, str] = {}
        for partition, position in sorted(self._positions.items()):
            log = self._broker.partition((self.topic, partition))
            if not log.first <= position <= log.end:
                lost[partition] = f"offset {position} is not in the log: {log.first} to {log.end}"
                del self._positions[partition]
                continue
            found, after = log.fetch(position, rows_max)
            if found or self._told.get(partition) != after:
                batches.append(_raw(self.topic, partition, found, after))
                self._positions[partition] = self._told[partition] = after
                rows_max -= len(found)
            if rows_max <= 0:
                break
        return Polled(batches, lost)

    def group_metadata(self) -> object:
        return self._group

    def close(self) -> None:
        """Nothing to do."""


class ModelLog:
    """`actors.log.Log`: the broker as one process sees it."""

    def __init__(
        self, broker: Broker, clock: Clock, runtime: Runtime | None = None, faults: Faults | None = None
    ) -> None:
        self.broker = broker
        self.clock = clock
        self.runtime = runtime or Runtime()
        self.faults = faults or Faults()

    def writer(self, transactional_id: str) -> ModelWriter:
        return ModelWriter(self.broker, transactional_id, self.runtime, self.faults)

    def reader(self, group: str, topic: str) -> ModelReader:
        return ModelReader(self.broker, self.clock, group, topic, self.runtime)

    def first(self, topic: str, partitions: Iterable[int]) -> dict[int, int]:
        self.runtime.at(f"first of {topic}")
        return {partition: self.broker.partition((topic, partition)).first for partition in partitions}

    def end(self, topic: str, partitions: Iterable[int]) -> dict[int, int]:
        self.runtime.at(f"end of {topic}")
        return {partition: self.broker.partition((topic, partition)).end for partition in partitions}

    def committed(self, group: str, topic: str, partitions: Iterable[int]) -> dict[int, int | None]:
        deadline = self.clock.now() + CALL_TIMEOUT_S
        asked = list(partitions)
        while True:
            self.runtime.at("committed offsets")
            try:
                return {p: self.broker.committed(group, (topic, p)) for p in asked}
            except ReopenError:
                if self.clock.now() > deadline:
                    raise
                self.clock.sleep(ASK_AGAIN_S)

    def read_to_end(
        self, group: str, topic: str, ends: Mapping[int, int], timeout_s: float, *, newest: bool = False
    ) -> dict[int, list[Entry]]:
        records: dict[int, list[Entry]] = {partition: [] for partition in ends}
        first = self.first(topic, ends)
        behind = {partition: end for partition, end in ends.items() if end > first[partition]}
        deadline = self.clock.now() + timeout_s
        reader = self.reader(group, topic)
        reader.assign({partition: first[partition] for partition in behind})
        while behind:
            for batch in reader.poll(POLL_ROWS_MAX, ASK_AGAIN_S).batches:
                records[batch.partition].extend(zip((key or b"" for key in batch.keys), batch.values, strict=True))
                if batch.next_offset >= behind.get(batch.partition, batch.next_offset + 1):
                    del behind[batch.partition]
            if behind and self.clock.now() > deadline:
                raise ReopenError(f"{topic}: offsets {behind} not reached in {timeout_s} s: a transaction is open")
        return {partition: _compacted(entries) for partition, entries in records.items()} if newest else records

    def background(self, work: Callable[[], T]) -> Future[T]:
        return self.runtime.spawn(work)

    def renew(self) -> None:
        """Nothing is connected."""

    def close(self) -> None:
        """Nothing to do."""


def _compacted(entries: Iterable[Entry]) -> list[Entry]:
    held: dict[bytes, bytes | None] = {}
    compact(held, entries)
    return list(held.items())


def _raw(topic: str, partition: int, found: Sequence[brokers.Entry], next_offset: int) -> RawBatch:
    n = len(found)
    return RawBatch(
        topic=topic,
        partition=partition,
        offset=np.fromiter((entry.offset for entry in found), np.int64, n),
        timestamp_ms=np.fromiter((entry.timestamp_ms for entry in found), np.int64, n),
        keys=[entry.key for entry in found],
        values=[entry.value for entry in found],
        next_offset=next_offset,
    )
