"""A file to be imported, whichever kind: what it has, and its events as often as one wants to read them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from actors.inputs.found import Checks, Found
from actors.inputs.opened import InputError, opened
from actors.inputs.stdf_events import StdfEvents, StdfOptions
from actors.inputs.stdf_lot import Lot, surveyed
from actors.inputs.tables import BadRow, Events, Mapped, Row
from actors.producers.measurement import key_of_measured
from schemas.framing import EncodeError

BAD_ROWS_TOLD = 20
SERIES_COUNTED_MAX = 1_000_000
RowsOf = Callable[[Path], AbstractContextManager[tuple[list[str], Iterator[Row]]]]


class Source(Protocol):
    """A file."""

    path: Path
    name: str  # what its events are said to belong to
    marker: str  # of which kind of event the first and the last tell whether it was imported before

    def events(self, *, check: bool) -> Iterator[Found | BadRow]:
        """Read it. Raises InputError."""
        ...

    def facts(self) -> dict[str, Any]:
        """Return what there is to tell of it, when it was read once."""
        ...


@dataclass(slots=True)
class Plan:
    """What publishing a file would publish."""

    counts: dict[str, int] = field(default_factory=lambda: {"measurement": 0, "inspection": 0})
    series: set[str] = field(default_factory=set)
    bad_rows: int = 0
    bad: list[BadRow] = field(default_factory=list)  # the first of them
    first: str = ""  # event ids of the marker's kind
    last: str = ""

    @property
    def events(self) -> int:
        """How many events there are."""
        return sum(self.counts.values())


def planned(source: Source, progress: Callable[[int], None]) -> Plan:
    """Read a file and check all of it. Raises InputError."""
    before = _fingerprint(source.path)
    plan = Plan()
    for read, found in enumerate(source.events(check=True), 1):
        progress(read)
        if isinstance(found, BadRow):
            plan.bad_rows += 1
            if len(plan.bad) < BAD_ROWS_TOLD:
                plan.bad.append(found)
            continue
        plan.counts[found.kind] += 1
        if found.kind == "measurement" and len(plan.series) < SERIES_COUNTED_MAX:
            plan.series.add(key_of_measured(found.event))
        if found.kind == source.marker:
            plan.first = plan.first or found.event["event_id"]
            plan.last = found.event["event_id"]
    if _fingerprint(source.path) != before:
        raise InputError(f"{source.path}: it changes while it is read; nothing was published")
    return plan


def _fingerprint(path: Path) -> tuple[int, int]:
    try:
        found = path.stat()
    except OSError as error:
        raise InputError(f"{path}: {error.strerror}") from error
    return found.st_size, found.st_mtime_ns


class StdfSource:
    """An STDF file. With `partial` one that breaks off is read up to there; otherwise it is refused."""

    marker = "inspection"

    def __init__(self, path: Path, options: StdfOptions, *, partial: bool = False) -> None:
        self.path, self._options = path, options
        with opened(path) as stream:
            self.lot: Lot = surveyed(stream)
        self.name = self.lot.header.get("LOT_ID") or path.name
        lot = self.lot
        if lot.error is not None and not (partial and lot.parts):
            held = f"; --partial imports the {lot.parts:,} whole parts before that" if lot.parts else ""
            raise InputError(f"{path}: {lot.error}{held}")
        if not lot.parts:
            raise InputError(f"{path}: no part was tested in it: it has no PRR")

    def events(self, *, check: bool) -> Iterator[Found | BadRow]:
        """Read it again."""
        checks, checked = Checks(), set[tuple[str, ...]]()
        with opened(self.path) as stream:
            for found in StdfEvents(self.lot, self._options).read(stream):
                if check and not _texts_of(found) <= checked:
                    self._check(checks, found)
                    checked |= _texts_of(found)
                yield found

    def _check(self, checks: Checks, found: Found) -> None:
        try:
            checks.check(found)
        except EncodeError as error:
            name = found.event.get("characteristic", found.event.get("chip_id"))
            raise InputError(f"{self.path}: {str(name)[:100]}: {error}") from error

    def facts(self) -> dict[str, Any]:
        """Return counts of what the file has, and what is left out of it."""
        lot = self.lot
        return {
            "lot": lot.header.get("LOT_ID"),
            "wafers": [wafer.name for wafer in lot.wafers if wafer.name],
            "parts": lot.parts,
            "good": lot.good,
            "superseded": len(lot.superseded),
            "tests": len(lot.tests),
            "results": lot.results,
            "missing": dict(sorted(lot.missing.items())),
            "not_executed": lot.not_executed,
            "without_part": lot.without_part,
            "hard_bins": {str(number): count for number, count in sorted(lot.hard_bins.items())},
            "records": dict(lot.records.most_common()),
            "error": None if lot.error is None else str(lot.error),
        }


def _texts_of(found: Found) -> set[tuple[str, ...]]:
    """Return which texts an event of an STDF file has: they come from its test and its part. Its numbers cannot be wrong."""
    event = found.event
    if found.kind == "inspection":
        return {("part", event["event_id"])}
    return {("test", event["chamber"], event["characteristic"]), ("part", event["site"], event["metadata"]["part"])}


class TableSource:
    """A CSV or Parquet file."""

    marker = "measurement"

    def __init__(self, path: Path, rows_of: RowsOf, mapped: Mapped) -> None:
        self.path, self._rows_of, self._mapped = path, rows_of, mapped
        self.name = path.name
        self._columns: Mapping[str, str] = {}
        self._left_out: list[str] = []

    def events(self, *, check: bool) -> Iterator[Found | BadRow]:
        """Read it."""
        with self._rows_of(self.path) as (columns, rows):
            try:
                events = Events(self._mapped, columns, check=check)
            except InputError as error:
                raise InputError(f"{self.path}: {error}") from error
            self._columns, self._left_out = events.columns, events.left_out
            yield from events.read(rows)

    def facts(self) -> dict[str, Any]:
        """Return which column became which field, and which none."""
        return {"columns": {column: name for name, column in self._columns.items()}, "left_out": self._left_out}
