"""Outputs against the oracle: nothing lost, nothing twice, every row the same to the last bit.

Theory of operation
-------------------
A partition is checked from its first record to its last, some records at a time: the records that are read next are folded by the
oracle, and all that came out of them is compared and forgotten. So memory holds some thousand rows of charts, and, of the whole
partition, its events and 12 bytes a record.

The chain of steps has no gap (`first_offset` is the `next_offset` before it); every row of a chart (tests/faults/rows.py), every
alert and every dead letter is there once and equals the oracle's; every acknowledged record is in the log, unchanged, and has
come out: a row or a dead letter.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

import numpy as np

from actors.view.chains import SAMPLE_BITS
from schemas.charts import ChartBlock
from tests.faults.oracle import Oracle, Truth
from tests.faults.producer import Sent
from tests.faults.reading import Entry
from tests.faults.rows import NONE, Names, Place, Table, joined, split, tables

EXAMPLES_MAX = 20  # of what is wrong, in the report
_FOREIGN = -1  # instead of the number of a value that was sent

Event = dict[str, Any]


@dataclass
class Counts:
    """What the checker found. The gate: lost, duplicates, mismatches and gaps are 0, and the sum is right."""

    records: int = 0  # in the log
    acknowledged: int = 0
    judged: int = 0
    missing: int = 0
    folded: int = 0  # records that those rows are of: a record may have many samples
    dead_lettered: int = 0
    aside: int = 0  # came twice, too late or from a wrong clock (docs/arrivals.md)
    alerts: int = 0
    lost: int = 0  # acknowledged and not in the log, or in the log and not put out
    duplicates: int = 0  # in the log although the producer is idempotent, or put out twice
    mismatches: int = 0  # rows, alerts, dead letters that differ from the oracle's, or that it does not have
    gaps: int = 0  # in the chain of steps
    examples: list[str] = field(default_factory=list)

    @property
    def adds_up(self) -> bool:
        """Whether produced = judged or missing + dead-lettered + set aside, in records."""
        return self.records == self.folded + self.dead_lettered + self.aside

    @property
    def clean(self) -> bool:
        """Whether the gate is passed."""
        return self.adds_up and not (self.lost or self.duplicates or self.mismatches or self.gaps)

    def note(self, what: str) -> None:
        """Keep an example."""
        if len(self.examples) < EXAMPLES_MAX:
            self.examples.append(what)


@dataclass
class Outputs:
    """All that came out of one partition."""

    blocks: Iterable[ChartBlock] = ()  # in the order of its topic
    alerts: Iterable[Event] = ()
    dead_letters: Iterable[Event] = ()
    aside: Iterable[Event] = ()


def check_partition(
    counts: Counts, sent: Sent, log: Iterable[Sequence[Entry]], oracle: Oracle, outputs: Outputs
) -> None:
    """Compare the log of a partition with what was sent, and what came out of it with what was to come; add to the counts."""
    written = LogCheck(counts, sent, oracle.partition)
    came = OutputsCheck(counts, oracle.partition, oracle.families, outputs)
    end = 0
    for entries in log:
        end = entries[-1].offset + 1
        written.take(entries)
        came.compare(oracle.fold(entries), end)
    written.close()
    came.close(end)


class LogCheck:
    """Every record acknowledged at a partition is in the log at its place, unchanged; none is there twice."""

    def __init__(self, counts: Counts, sent: Sent, partition: int) -> None:
        self._counts, self._sent, self._partition = counts, sent, partition
        self._offsets = [np.zeros(0, np.int64)]
        self._values = [np.zeros(0, np.int32)]  # numbers of what stands there; _FOREIGN: nobody sent it

    def take(self, entries: Sequence[Entry]) -> None:
        """Take the next records of the log."""
        known, n = self._sent.known, len(entries)
        self._offsets.append(np.fromiter((entry.offset for entry in entries), np.int64, n))
        self._values.append(np.fromiter((known.get(entry.value or b"", _FOREIGN) for entry in entries), np.int32, n))
        for row in np.flatnonzero(self._values[-1] == _FOREIGN).tolist():
            self._counts.mismatches += 1
            self._counts.note(f"a record in the log that nobody sent: {entries[row].value!r:.60}")

    def close(self) -> None:
        """The log is at its end."""
        counts, sent = self._counts, self._sent
        offsets, values = np.concatenate(self._offsets), np.concatenate(self._values)
        counts.records += len(offsets)
        numbers = np.flatnonzero((sent.offset >= 0) & (sent.partition == self._partition))
        counts.acknowledged += len(numbers)
        at = np.searchsorted(offsets, sent.offset[numbers])
        there = at < len(offsets)
        there[there] = offsets[at[there]] == sent.offset[numbers[there]]
        there[there] = values[at[there]] == sent.value[numbers[there]]
        counts.lost += int((~there).sum())
        for number in numbers[~there][:EXAMPLES_MAX].tolist():
            counts.note(
                f"record {number}, acknowledged at {self._partition}:{sent.offset[number]}, is not there as it was sent"
            )
        self._count_copies(values[values != _FOREIGN])

    def _count_copies(self, values: np.ndarray) -> None:
        """A duplicate that is sent on purpose are two copies."""
        counts, sent, n = self._counts, self._sent, len(self._sent.known)
        handed_over = ~np.isnan(sent.sent_at) & (sent.partition == self._partition)
        copies, times = np.bincount(sent.value[handed_over], minlength=n), np.bincount(values, minlength=n)
        counts.mismatches += int(times[copies == 0].sum())
        again = np.where(copies > 0, np.maximum(times - copies, 0), 0)
        counts.duplicates += int(again.sum())
        for value in np.flatnonzero((copies == 0) & (times > 0))[:EXAMPLES_MAX].tolist():
            counts.note(f"value {value} is in the log of a partition that it was not sent to")
        for value in np.flatnonzero(again)[:EXAMPLES_MAX].tolist():
            counts.note(f"value {value}, sent {copies[value]} times, is {times[value]} times in the log")


class OutputsCheck:
    """Chart rows, alerts, dead letters and rows set aside of one partition against the oracle's."""

    def __init__(self, counts: Counts, partition: int, families: Iterable[str], outputs: Outputs) -> None:
        self._counts = counts
        self._rows = RowsCheck(counts, partition, families, outputs.blocks)
        place = ("topic", "partition", "offset")
        self._alerts = EventsCheck(counts, "alert", ("alert_id", "state"), outputs.alerts)
        self._dead_letters = EventsCheck(counts, "dead letter", place, _told(outputs.dead_letters))
        self._aside = EventsCheck(counts, "row set aside", place, outputs.aside)
        counts.alerts += self._alerts.count
        counts.dead_lettered += self._dead_letters.distinct
        counts.aside += self._aside.distinct

    def compare(self, truth: Truth, end: int) -> None:
        """Compare what came of the records before `end` that were not compared yet."""
        self._rows.compare(truth.blocks, end)
        self._alerts.expect(truth.alerts)
        self._dead_letters.expect(_told(truth.dead_letters))
        self._aside.expect(truth.aside)

    def close(self, end: int) -> None:
        """The log is at its end."""
        self._rows.close(end)
        for events in (self._alerts, self._dead_letters, self._aside):
            events.close()


def _told(letters: Iterable[Event]) -> Iterator[Event]:
    """Give dead letters as they can be compared: what the registry says of an id that it does not know is its own wording."""
    own_words = {"unknown_schema": {"detail": ""}}
    return (letter | own_words.get(letter["reason"], {}) for letter in letters)


class RowsCheck:
    """Every row of a partition's charts, and the chain of its steps."""

    def __init__(self, counts: Counts, partition: int, families: Iterable[str], blocks: Iterable[ChartBlock]) -> None:
        self._counts, self._partition = counts, partition
        self._blocks = iter(blocks)
        self._names = Names()
        self._reached = dict.fromkeys(families, 0)  # input offsets, in what was read
        self._ahead: dict[Place, Table] = {}  # read, and not compared yet
        self._compared = 0  # up to this input offset
        self._judged = dict.fromkeys(self._reached, 0)
        self._missing = dict.fromkeys(self._reached, 0)
        self._folded = dict.fromkeys(self._reached, 0)

    def compare(self, wanted: Iterable[ChartBlock], end: int) -> None:
        """Compare the rows before `end`."""
        self._compare(tables(self._read_to(end), self._names), wanted, end)
        self._compared = end

    def close(self, end: int) -> None:
        """Nothing more is to come."""
        left = list(self._blocks)
        self._check_chain(left)
        self._compare(tables(left, self._names), (), np.iinfo(np.int64).max)
        for family, reached in self._reached.items():
            if reached != end:
                self._counts.gaps += 1
                self._counts.note(f"{(self._partition, family)}: steps end at {reached}, the log at {end}")
        fewest = min(self._judged, key=lambda family: self._judged[family] + self._missing[family])
        self._counts.judged += self._judged[fewest]
        self._counts.missing += self._missing[fewest]
        self._counts.folded += self._folded[fewest]

    def _read_to(self, end: int) -> list[ChartBlock]:
        read: list[ChartBlock] = []
        while min(self._reached.values()) < end and (more := list(islice(self._blocks, len(self._reached)))):
            self._check_chain(more)
            read += more
        return read

    def _check_chain(self, blocks: Iterable[ChartBlock]) -> None:
        for block in blocks:
            reached = self._reached.get(block.family, 0)
            if block.first_offset != reached:
                self._counts.gaps += 1
                chain = (block.partition, block.family)
                self._counts.note(f"{chain}: a step from {block.first_offset} follows one to {reached}")
            self._reached[block.family] = block.next_offset

    def _compare(self, read: dict[Place, Table], wanted_blocks: Iterable[ChartBlock], end: int) -> None:
        found, self._ahead = split(joined(self._ahead, read), end)
        wanted = tables(wanted_blocks, self._names)
        for place in sorted(found.keys() | wanted.keys()):
            _compare(self._counts, place, found.get(place, NONE), wanted.get(place, NONE), self._compared)
        for (_, family, detector), table in found.items():
            if not detector:
                missing = int(np.isnan(table.values).sum())
                self._missing[family] = self._missing.get(family, 0) + missing
                self._judged[family] = self._judged.get(family, 0) + len(table) - missing
                records = len(np.unique(table.place >> SAMPLE_BITS))
                self._folded[family] = self._folded.get(family, 0) + records


def _compare(counts: Counts, place: Place, found: Table, wanted: Table, compared: int) -> None:
    """Compare the rows of a place. Those before `compared` were there already."""
    places, first, times = np.unique(found.place, return_index=True, return_counts=True)
    early = places >> SAMPLE_BITS < compared
    again = int((times - 1).sum()) + int(early.sum())
    if again:
        counts.duplicates += again
        counts.note(f"{place}: offsets {_offsets(places[(times > 1) | early])} … stand more than once")
    absent = np.setdiff1d(wanted.place, places, assume_unique=True)
    if len(absent):
        counts.lost += len(absent)
        counts.note(f"{place}: {len(absent)} rows are not there, {_offsets(absent)} …")
    extra = np.setdiff1d(places[~early], wanted.place, assume_unique=True)
    if len(extra):
        counts.mismatches += len(extra)
        counts.note(f"{place}: {len(extra)} rows that the oracle does not have, {_offsets(extra)} …")
    both, at, wanted_at = np.intersect1d(places, wanted.place, assume_unique=True, return_indices=True)
    if not len(both):
        return
    differs = np.zeros(len(both), bool)
    for column, wanted_column in zip(found.columns, wanted.columns, strict=True):
        unequal = column[first[at]] != wanted_column[wanted_at]
        differs |= unequal.reshape(len(both), -1).any(axis=1)
    if differs.any():
        counts.mismatches += int(differs.sum())
        counts.note(f"{place}: {int(differs.sum())} rows differ, {_offsets(both[differs])} …")


def _offsets(places: np.ndarray) -> list[int]:
    """Return the offsets of the first few places, to be told."""
    offsets: list[int] = (places[:5] >> SAMPLE_BITS).tolist()
    return offsets


class EventsCheck:
    """Events of one kind: each is there once, as the oracle has it."""

    def __init__(self, counts: Counts, what: str, key: tuple[str, ...], found: Iterable[Event]) -> None:
        self._counts, self._what, self._key = counts, what, key
        self._found: dict[tuple[Any, ...], Event] = {}  # those that were not expected yet
        self.count = 0
        for event in found:
            self.count += 1
            self._found[self._key_of(event)] = event
        self.distinct = len(self._found)
        if self.distinct < self.count:
            counts.duplicates += self.count - self.distinct
            counts.note(f"{self.count - self.distinct} records of a {what} more than once")

    def expect(self, wanted: Iterable[Event]) -> None:
        """Compare these with what was found."""
        counts, what = self._counts, self._what
        for event in wanted:
            key = self._key_of(event)
            found = self._found.pop(key, None)
            if found is None:
                counts.lost += 1
                counts.note(f"{what} {key} is not there")
            elif found != event:
                counts.mismatches += 1
                differ = [name for name in found.keys() | event.keys() if found.get(name) != event.get(name)]
                said = "; ".join(f"{n} {found.get(n)!r:.80} instead of {event.get(n)!r:.80}" for n in differ)
                counts.note(f"{what} {key}: {said}")

    def close(self) -> None:
        """Nothing more is expected."""
        self._counts.mismatches += len(self._found)
        for key in islice(self._found, EXAMPLES_MAX):
            self._counts.note(f"{self._what} {key} is one too many")

    def _key_of(self, event: Event) -> tuple[Any, ...]:
        return tuple(event[name] for name in self._key)
