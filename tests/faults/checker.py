"""Outputs against the oracle: nothing lost, nothing twice, every row the same to the last bit.

Theory of operation
-------------------
A chart record is unpacked to rows; a row's place is (partition, family, detector, offset). Rows of a place are compared as bytes:
a NaN equals a NaN of the same bits, and 0.0 is not -0.0. How the log was cut into steps is not compared: it depends on timing,
and the detectors' answers do not. Records carry no time of processing, so nothing has to be left out.

Beside that: the chain of steps has no gap (`first_offset` is the `next_offset` before it); every alert and every dead letter is
there once and equals the oracle's; every acknowledged record is in the log, unchanged, and has come out: a row or a dead letter.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from schemas.charts import ChartBlock
from tests.faults.oracle import Truth
from tests.faults.producer import Sent
from tests.faults.reading import Entry

EXAMPLES_MAX = 20  # of what is wrong, in the report
_ROW = ("event_time_ms", "published_ms", "value", "lsl", "usl", "target")
_SAID = ("statistic", "centre", "lcl", "ucl", "signal", "valid")

Place = tuple[int, str, str]  # partition, family, detector; "" = the columns of the row itself


@dataclass
class Counts:
    """What the checker found. The gate: lost, duplicates, mismatches and gaps are 0, and the sum is right."""

    records: int = 0  # in the log
    acknowledged: int = 0
    judged: int = 0
    missing: int = 0
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
        """Whether produced = judged + missing + dead-lettered + set aside."""
        return self.records == self.judged + self.missing + self.dead_lettered + self.aside

    @property
    def clean(self) -> bool:
        """Whether the gate is passed."""
        return self.adds_up and not (self.lost or self.duplicates or self.mismatches or self.gaps)

    def note(self, what: str) -> None:
        """Keep an example."""
        if len(self.examples) < EXAMPLES_MAX:
            self.examples.append(what)


def check_log(counts: Counts, sent: Sent, log: Mapping[int, list[Entry]], partition: int) -> None:
    """Every record acknowledged at this partition is in the log at its place, with its hash; none is there twice."""
    values = {entry.offset: entry.value for entry in log[partition]}
    counts.records += len(values)
    for number, _, offset in sent.places(partition):
        counts.acknowledged += 1
        if not sent.is_record(number, values.get(offset)):
            counts.lost += 1
            counts.note(f"record {number}, acknowledged at {partition}:{offset}, is not there")
    sent_copies = sent.copies(partition)
    for value, times in Counter(values.values()).items():
        copies = sent_copies.get(value or b"", 0)
        if not copies:
            counts.mismatches += times
            counts.note(f"a record in the log that nobody sent: {value!r:.60}")
        elif times > copies:
            counts.duplicates += times - copies
            counts.note(f"a record sent {copies} times is {times} times in the log: {value!r:.60}")


def check_outputs(
    counts: Counts,
    log: Mapping[int, list[Entry]],
    truth: Truth,
    blocks: Sequence[ChartBlock],
    alerts: Sequence[dict[str, Any]],
    dead_letters: Sequence[dict[str, Any]],
    aside: Sequence[dict[str, Any]] = (),
) -> None:
    """Compare all that came out of these partitions, in the order of its topic, with what was to come out; add to the counts."""
    _check_chain(counts, blocks, {partition: entries[-1].offset + 1 for partition, entries in log.items() if entries})
    names: dict[str, int] = {}
    found, wanted = _tables(blocks, names), _tables(truth.blocks, names)
    for table in sorted(found.keys() | wanted.keys()):
        _compare(counts, table, found.get(table, _NONE), wanted.get(table, _NONE))
    counts.alerts += len(alerts)
    _once(counts, "alert", alerts, truth.alerts, ("alert_id", "state"))
    place = ("topic", "partition", "offset")
    _once(counts, "dead letter", _told(dead_letters), _told(truth.dead_letters), place)
    _once(counts, "row set aside", aside, truth.aside, place)
    judged, missing = _rows(found)
    counts.judged += judged
    counts.missing += missing
    counts.dead_lettered += len({(letter["partition"], letter["offset"]) for letter in dead_letters})
    counts.aside += len({(row["partition"], row["offset"]) for row in aside})


def _told(letters: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return dead letters as they can be compared: what the registry says of an id that it does not know is its own wording."""
    own_words = {"unknown_schema": {"detail": ""}}
    return [letter | own_words.get(letter["reason"], {}) for letter in letters]


def _rows(found: Mapping[Place, _Table]) -> tuple[int, int]:
    """Return the rows with and without a value of the family that has the fewest."""
    rows: Counter[str] = Counter()
    missing: Counter[str] = Counter()
    for (_, family, detector), table in found.items():
        if not detector:
            value = table.columns[_ROW.index("value")].view(np.float64)
            rows[family] += len(value)
            missing[family] += int(np.isnan(value).sum())
    fewest = min(rows, key=lambda family: rows[family], default="")
    return rows[fewest] - missing[fewest], missing[fewest]


def _check_chain(counts: Counts, blocks: Iterable[ChartBlock], ends: Mapping[int, int]) -> None:
    at: dict[tuple[int, str], int] = {}
    for block in blocks:
        chain = (block.partition, block.family)
        if block.first_offset != at.get(chain, 0):
            counts.gaps += 1
            counts.note(f"{chain}: a step from {block.first_offset} follows one to {at.get(chain, 0)}")
        at[chain] = block.next_offset
    for partition, end in ends.items():
        for (of, family), reached in at.items():
            if of == partition and reached != end:
                counts.gaps += 1
                counts.note(f"{(partition, family)}: steps end at {reached}, the log at {end}")


@dataclass
class _Table:
    offset: np.ndarray  # (n,) int64
    columns: tuple[np.ndarray, ...]  # (n,) or (n, q), integers: the bits of what was said


_NONE = _Table(np.zeros(0, np.int64), ())


def _tables(blocks: Iterable[ChartBlock], names: dict[str, int]) -> dict[Place, _Table]:
    """Return the rows of every place. `names` numbers texts, the same way for both sides."""
    parts: dict[Place, list[tuple[np.ndarray, ...]]] = {}
    for block in blocks:
        series = _numbers(names, block.series_keys)[block.series]
        row = (
            block.offset,
            *(_bits(getattr(block, name)) for name in _ROW),
            series,
            _numbers(names, block.lot),
            _numbers(names, block.wafer),
        )
        parts.setdefault((block.partition, block.family, ""), []).append(row)
        for name, said in block.detectors.items():
            identity = f"{said.detector} {said.statistics} {said.rules}"
            of = np.full(len(block), names.setdefault(identity, len(names)))
            columns = (block.offset, *(_bits(getattr(said, column)) for column in _SAID), of)
            parts.setdefault((block.partition, block.family, name), []).append(columns)
    joined = {place: [np.concatenate(column) for column in zip(*rows, strict=True)] for place, rows in parts.items()}
    return {place: _Table(offset, tuple(columns)) for place, (offset, *columns) in joined.items()}


def _numbers(names: dict[str, int], texts: Sequence[str]) -> np.ndarray:
    return np.fromiter((names.setdefault(text, len(names)) for text in texts), np.int64, len(texts))


def _bits(column: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(column).view(np.int64) if column.dtype == np.float64 else column


def _compare(counts: Counts, place: Place, found: _Table, wanted: _Table) -> None:
    offsets, first, times = np.unique(found.offset, return_index=True, return_counts=True)
    twice = int((times - 1).sum())
    if twice:
        counts.duplicates += twice
        counts.note(f"{place}: offsets {offsets[times > 1][:5].tolist()} … stand more than once")
    absent = np.setdiff1d(wanted.offset, offsets)
    if len(absent):
        counts.lost += len(absent)
        counts.note(f"{place}: {len(absent)} rows are not there, {absent[:5].tolist()} …")
    extra = np.setdiff1d(offsets, wanted.offset)
    if len(extra):
        counts.mismatches += len(extra)
        counts.note(f"{place}: {len(extra)} rows that the oracle does not have, {extra[:5].tolist()} …")
    both, at, wanted_at = np.intersect1d(offsets, wanted.offset, assume_unique=True, return_indices=True)
    if not len(both):
        return
    differs = np.zeros(len(both), bool)
    for column, wanted_column in zip(found.columns, wanted.columns, strict=True):
        unequal = column[first[at]] != wanted_column[wanted_at]
        differs |= unequal.reshape(len(both), -1).any(axis=1)
    if differs.any():
        counts.mismatches += int(differs.sum())
        counts.note(f"{place}: {int(differs.sum())} rows differ, {both[differs][:5].tolist()} …")


def _once(
    counts: Counts, what: str, found: Sequence[dict[str, Any]], wanted: Sequence[dict[str, Any]], key: tuple[str, ...]
) -> None:
    def keyed(events: Sequence[dict[str, Any]]) -> dict[tuple[Any, ...], dict[str, Any]]:
        return {tuple(event[name] for name in key): event for event in events}

    by_key, expected = keyed(found), keyed(wanted)
    if len(by_key) < len(found):
        counts.duplicates += len(found) - len(by_key)
        counts.note(f"{len(found) - len(by_key)} records of a {what} more than once")
    for absent in expected.keys() - by_key.keys():
        counts.lost += 1
        counts.note(f"{what} {absent} is not there")
    for extra in by_key.keys() - expected.keys():
        counts.mismatches += 1
        counts.note(f"{what} {extra} is one too many")
    for same in by_key.keys() & expected.keys():
        if by_key[same] != expected[same]:
            counts.mismatches += 1
            here, there = by_key[same], expected[same]
            differ = [name for name in here.keys() | there.keys() if here.get(name) != there.get(name)]
            said = "; ".join(f"{name} {here.get(name)!r:.80} instead of {there.get(name)!r:.80}" for name in differ)
            counts.note(f"{what} {same}: {said}")
