"""What the model of the log keeps: partitions with transactions, producers with epochs, committed offsets.

Theory of operation
-------------------
A transaction's records stand in the log at once, as in Kafka. Where the transaction ended, a marker takes an offset in each
partition that it wrote to. A read_committed reader sees nothing at or above the *last stable offset*: the first record of the
first transaction that has no marker yet. Below it, records of aborted transactions are passed over.

The end of a transaction is decided (and answered) before its markers are written; how much later, `random` says. The next
transaction of the same producer, and whoever opens with its id, waits for them. Opening an id bumps its epoch and aborts what
is open; whatever an older epoch still does is refused. So is a record for a partition that is not part of the producer's open
transaction (Kafka verifies that since 3.6); a second end of a transaction that was just ended so is answered "done" (it does
not have KIP-890's epoch per transaction, because librdkafka has not). That is the hole: an end that arrives late, of the same
epoch, ends the *next* transaction at whatever it has reached. `torn` says where that happened.
"""

from __future__ import annotations

import zlib
from bisect import bisect_left
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from operator import attrgetter
from random import Random
from typing import NamedTuple

from actors.errors import FencedError, ReopenError
from actors.log import Clock

TRANSACTION_TIMEOUT_S = 10.0
OFFSETS_TOPIC = "__consumer_offsets"

Place = tuple[str, int]  # topic, partition


@dataclass(eq=False, slots=True)
class Transaction:
    """One transaction, from its first record on."""

    producer: str
    started: float
    committed: bool | None = None  # None: open
    participants: set[Place] = field(default_factory=set)
    offsets: dict[tuple[str, Place], int] = field(default_factory=dict)  # (group, place) → offset, pending
    unmarked: set[Place] = field(default_factory=set)  # ended, and these have no marker yet


class Entry(NamedTuple):
    """What stands at an offset: a record, or a transaction's marker."""

    offset: int
    timestamp_ms: int
    key: bytes | None
    value: bytes | None
    transaction: Transaction | None
    marker: bool = False


class Late(NamedTuple):
    """An end of a transaction that is still on its way to the broker."""

    producer: str
    epoch: int
    committed: bool
    transaction: Transaction | None = None  # that it was sent for; the request does not say so


class Torn(NamedTuple):
    """A transaction that a late end has cut in two."""

    producer: str
    transaction: Transaction


@dataclass(slots=True)
class ProducerState:
    """What the coordinator knows of a transactional id."""

    epoch: int = -1
    open: Transaction | None = None
    ending: Transaction | None = None  # markers to come
    last: bool | None = None  # how the last transaction of this epoch ended
    timeout_s: float = TRANSACTION_TIMEOUT_S


class Partition:
    """The log of one partition."""

    def __init__(self) -> None:
        self.first = 0
        self.end = 0  # the high watermark
        self.entries: list[Entry] = []  # by offset; gaps where compaction took something
        self.unstable: dict[Transaction, int] = {}  # transactions without marker here → their first offset

    @property
    def stable(self) -> int:
        """Return the last stable offset."""
        return min(self.unstable.values(), default=self.end)

    def append(
        self, timestamp_ms: int, key: bytes | None, value: bytes | None, transaction: Transaction | None, marker: bool
    ) -> int:
        offset = self.end
        self.entries.append(Entry(offset, timestamp_ms, key, value, transaction, marker))
        self.end += 1
        if transaction is not None and not marker:
            self.unstable.setdefault(transaction, offset)
        return offset

    def index(self, offset: int) -> int:
        """Return the index of the first entry at or above an offset."""
        return bisect_left(self.entries, offset, key=attrgetter("offset"))

    def fetch(self, offset: int, rows_max: int) -> tuple[list[Entry], int]:
        """Return committed records from an offset on, and the position after them."""
        stable = self.stable
        if offset >= stable:
            return [], offset
        found: list[Entry] = []
        for entry in self.entries[self.index(offset) :]:
            if entry.offset >= stable:
                break
            if _visible(entry):
                if len(found) == rows_max:
                    return found, found[-1].offset + 1 if found else offset
                found.append(entry)
        return found, max(offset, stable)

    def delete_before(self, offset: int) -> None:
        """Move the first retained offset up, as retention does."""
        self.first = max(self.first, offset)
        self.entries = self.entries[self.index(self.first) :]

    def compact(self, active: int) -> int:
        """Keep the newest committed record of each key; leave the last `active` offsets and all that is unstable alone.

        Returns how many committed records were taken.
        """
        before = min(self.stable, self.end - active)
        cleaned = [entry for entry in self.entries if entry.offset < before and _visible(entry)]
        newest = {entry.key: entry.offset for entry in cleaned}
        kept = [entry for entry in cleaned if newest[entry.key] == entry.offset]
        self.entries = kept + [entry for entry in self.entries if entry.offset >= before]
        return len(cleaned) - len(kept)


def _visible(entry: Entry) -> bool:
    return not entry.marker and (entry.transaction is None or entry.transaction.committed is True)


class Broker:
    """A cluster in memory. Raises ReopenError and FencedError where a client of Kafka would get such errors."""

    def __init__(
        self, clock: Clock, random: Random, slow_markers: float = 0.0, met: Counter[str] | None = None
    ) -> None:
        self.clock = clock
        self.random = random
        self.slow_markers = slow_markers  # chance of a marker not to be written at once
        self.topics: dict[str, list[Partition]] = {}
        self.producers: dict[str, ProducerState] = {}
        self.offsets: dict[tuple[str, Place], int] = {}  # (group, place) → committed
        self.met = Counter[str]() if met is None else met  # what happened to transactions → how often
        self.late: list[Late] = []
        self.torn: list[Torn] = []

    # ---- topics

    def create(self, topic: str, partitions: int) -> None:
        """Make a topic."""
        self.topics[topic] = [Partition() for _ in range(partitions)]

    def partition(self, place: Place) -> Partition:
        """Return a partition's log. Raises ReopenError if there is none."""
        topic, number = place
        if topic not in self.topics or not 0 <= number < len(self.topics[topic]):
            raise ReopenError(f"{topic}:{number}: unknown topic or partition")
        return self.topics[topic][number]

    def place(self, topic: str, partition: int, key: bytes | None) -> Place:
        """Return where a record goes; partition -1: by key."""
        return topic, zlib.crc32(key or b"") % len(self.topics[topic]) if partition == -1 else partition

    def append(self, place: Place, value: bytes | None, key: bytes | None = None, timestamp_ms: int = 0) -> int:
        """Write a record outside of any transaction; return its offset."""
        return self.partition(place).append(timestamp_ms, key, value, None, False)

    # ---- the coordinator

    def open(self, producer: str, timeout_s: float = TRANSACTION_TIMEOUT_S) -> int:
        """Fence older epochs, abort what is open; return the new epoch. `timeout_s`: of its transactions."""
        self.expire()
        state = self.producers.setdefault(producer, ProducerState())
        if state.open is not None:
            self.met["aborted: by the next owner"] += 1
            self._end(producer, state, False)
        self._mark(state, everything=True)
        state.epoch += 1
        state.last = None
        state.timeout_s = timeout_s
        return state.epoch

    def join(self, producer: str, epoch: int, place: Place) -> None:
        """Add a partition to the producer's transaction, opening one if there is none."""
        self.partition(place)
        self._transaction(producer, epoch).participants.add(place)

    def produce(self, producer: str, epoch: int, place: Place, key: bytes, value: bytes, timestamp_ms: int = 0) -> int:
        """Write a record of the open transaction."""
        state = self._state(producer, epoch)
        if state.open is None or place not in state.open.participants:
            raise ReopenError(f"{producer}: {place} is not in an open transaction")
        return self.partition(place).append(timestamp_ms, key, value, state.open, False)

    def send_offsets(self, producer: str, epoch: int, group: str, offsets: Mapping[Place, int]) -> None:
        """Make committed offsets part of the transaction."""
        transaction = self._transaction(producer, epoch)
        transaction.participants.add((OFFSETS_TOPIC, 0))
        transaction.offsets.update({(group, place): offset for place, offset in offsets.items()})

    def end(self, producer: str, epoch: int, committed: bool) -> None:
        """End the open transaction."""
        state = self._state(producer, epoch)
        if state.open is not None:
            self._end(producer, state, committed)
        elif state.last is not committed:
            raise ReopenError(f"{producer}: no open transaction to end")

    def committed(self, group: str, place: Place) -> int | None:
        """Return a committed offset. Raises ReopenError while a transaction that holds a newer one has no marker yet."""
        self.tick()
        for state in self.producers.values():
            for transaction in (state.open, state.ending):
                pending = transaction is not None and (group, place) in transaction.offsets
                if pending and (transaction is state.open or (OFFSETS_TOPIC, 0) in transaction.unmarked):
                    raise ReopenError(f"{group}: offset of {place} is part of a transaction that has not ended")
        return self.offsets.get((group, place))

    # ---- what happens by itself

    def tick(self) -> None:
        """Let time do its work: timeouts, markers."""
        self.expire()
        for state in self.producers.values():
            if state.ending is not None:
                self._mark(state, everything=False)

    def expire(self) -> None:
        """Abort transactions that are open for too long; their producers are fenced."""
        now = self.clock.now()
        for producer, state in self.producers.items():
            if state.open is not None and state.open.started < now - state.timeout_s:
                self.met["aborted: by its timeout"] += 1
                self._end(producer, state, False)
                state.epoch += 1

    def arrive(self, late: Late) -> None:
        """Let a late end arrive; it is dropped if the epoch has moved on."""
        self.late.remove(late)
        state = self.producers[late.producer]
        if late.epoch != state.epoch or state.open is None:
            self.met["late end: dropped"] += 1
            return
        own = state.open is late.transaction
        self.met["late end: in time" if own else "late end: of the transaction before"] += 1
        if not own:
            self.torn.append(Torn(late.producer, state.open))
        self._end(late.producer, state, late.committed)

    # ---- inside

    def _state(self, producer: str, epoch: int) -> ProducerState:
        self.expire()
        state = self.producers[producer]
        if epoch != state.epoch:
            raise FencedError(f"{producer}: epoch {epoch} is fenced by {state.epoch}")
        return state

    def _transaction(self, producer: str, epoch: int) -> Transaction:
        state = self._state(producer, epoch)
        self._mark(state, everything=True)
        if state.open is None:
            state.open = Transaction(producer, self.clock.now())
        return state.open

    def _end(self, producer: str, state: ProducerState, committed: bool) -> None:
        self._mark(state, everything=True)
        transaction = state.open
        assert transaction is not None, producer
        state.open, state.ending, state.last = None, transaction, committed
        transaction.committed = committed
        transaction.unmarked = set(transaction.participants)
        self._mark(state, everything=self.slow_markers == 0)

    def _mark(self, state: ProducerState, *, everything: bool) -> None:
        transaction = state.ending
        if transaction is None:
            return
        for place in sorted(transaction.unmarked):
            if everything or self.random.random() >= self.slow_markers:
                transaction.unmarked.remove(place)
                self._write_marker(transaction, place)
            else:
                self.met["slow_markers"] += 1
        if not transaction.unmarked:
            state.ending = None

    def _write_marker(self, transaction: Transaction, place: Place) -> None:
        if place[0] == OFFSETS_TOPIC:
            if transaction.committed:
                self.offsets.update(transaction.offsets)
        else:
            partition = self.partition(place)
            partition.append(0, None, None, transaction, True)
            partition.unstable.pop(transaction, None)


def visible(partitions: Iterable[Partition]) -> list[list[Entry]]:
    """Return all committed records of partitions, for an oracle to look at."""
    return [[entry for entry in partition.entries if _visible(entry)] for partition in partitions]
