"""Tables as measurements: rows of a CSV or Parquet file, their columns mapped to fields by name.

Theory of operation
-------------------
1. A column called as a field of `measurement.avsc` is that field; `Mapping` names others, and what is the same for all rows.
   `metadata.NAME` is an entry of the metadata. Columns that nothing names are left out, and told.
2. `equipment`, `characteristic`, `value` and `timestamp` must come from somewhere: an event without a time of its own would be
   another one each time that the file is read.
3. A row is an event or a `BadRow`, which says the line and the field. The two together are all rows, in order.
4. A time is ISO 8601 with its offset, or without one in the zone that is given; a number is milliseconds since 1970 UTC.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, tzinfo
from typing import Any, NamedTuple

from actors.inputs.found import Checks, Found, with_id
from actors.inputs.opened import InputError
from schemas.framing import EncodeError

TEXTS = ("equipment", "chamber", "recipe", "operation", "characteristic", "lot", "wafer", "site", "subgroup", "unit")
NUMBERS = ("value", "lsl", "usl", "target", "sample_size")
FIELDS = (*TEXTS, *NUMBERS, "timestamp", "event_id")
REQUIRED = ("equipment", "characteristic", "value", "timestamp")
METADATA = "metadata."
COLUMNS_MAX = 2_000
SHOWN_CHARS = 60  # of what stands in a file, in an error
_NONE = frozenset({"", "na", "n/a", "nan", "null", "none", "-"})  # words for a missing number


class BadRow(NamedTuple):
    """A row that is no event."""

    row: int  # from 1
    line: int  # in the file, where lines have numbers; 0 = they have none
    field: str
    why: str

    def __str__(self) -> str:
        where = f"line {self.line}" if self.line else f"row {self.row}"
        return f"{where}: {self.field}: {self.why}" if self.field else f"{where}: {self.why}"


class Row(NamedTuple):
    """A row as it is read; `wrong` says why there is nothing in it."""

    row: int
    line: int
    cells: Mapping[str, Any]
    wrong: str = ""


@dataclass(frozen=True, slots=True)
class Mapped:
    """How columns become fields."""

    columns: Mapping[str, str] = field(default_factory=dict)  # column → field
    given: Mapping[str, str] = field(default_factory=dict)  # field → what it is in all rows
    zone: tzinfo = UTC  # of times without an offset

    def of(self, columns: list[str]) -> tuple[dict[str, str], list[str]]:
        """Return which column is which field, field → column, and the columns left out. Raises InputError.

        >>> Mapped({"tool": "equipment"}, {"characteristic": "CD"}).of(["tool", "value", "timestamp", "shift"])
        ({'equipment': 'tool', 'value': 'value', 'timestamp': 'timestamp'}, ['shift'])
        """
        self._check_names(columns)
        found: dict[str, str] = {}
        for column, name in self.columns.items():
            if name in found:
                raise InputError(f"columns {found[name]!r} and {column!r} are both mapped to {name}")
            if name in self.given:
                raise InputError(f"{name} is both given by --set and mapped from column {column!r}")
            found[name] = column
        for column in columns:
            if column in FIELDS and column not in self.columns and column not in self.given:
                found.setdefault(column, column)
        lacking = [name for name in REQUIRED if name not in found and name not in self.given]
        if lacking:
            raise InputError(f"nothing says {', '.join(lacking)}: --map COLUMN={lacking[0]}, or --set {lacking[0]}=…")
        used = set(found.values())
        return found, [column for column in columns if column not in used]

    def _check_names(self, columns: list[str]) -> None:
        if len(columns) > COLUMNS_MAX:
            raise InputError(f"{len(columns)} columns; at most {COLUMNS_MAX}")
        twice = sorted({column for column in columns if columns.count(column) > 1})
        if twice:
            raise InputError(f"column {twice[0]!r} stands there twice")
        for column in self.columns:
            if column not in columns:
                raise InputError(f"--map {column}=…: there is no such column; there are {', '.join(columns)[:300]}")
        for name in (*self.columns.values(), *self.given):
            if name not in FIELDS and not (name.startswith(METADATA) and name != METADATA):
                raise InputError(f"{name!r} is no field: one of {', '.join(FIELDS)}, or metadata.NAME")


class Events:
    """Rows as events. `check` looks at each as publishing it would."""

    def __init__(self, mapped: Mapped, columns: list[str], *, check: bool) -> None:
        self.columns, self.left_out = mapped.of(columns)
        self._mapped = mapped
        self._checks = Checks() if check else None

    def read(self, rows: Iterator[Row]) -> Iterator[Found | BadRow]:
        """Yield an event or what is wrong, for each row."""
        for row in rows:
            if row.wrong:
                yield BadRow(row.row, row.line, "", row.wrong)
                continue
            try:
                found = self._event(row)
                if self._checks is not None:
                    self._checks.check(found)
                yield found
            except _UnreadableError as error:
                yield BadRow(row.row, row.line, self._named(error.field), error.why)
            except EncodeError as error:
                yield BadRow(row.row, row.line, self._named(error.field), error.message)

    def _named(self, name: str) -> str:
        """Return how a user calls a field: with its column, if that has another name."""
        column = self.columns.get(name, name)
        return name if column == name else f"{name} (column {column!r})"

    def _event(self, row: Row) -> Found:
        event: dict[str, Any] = {}
        metadata: dict[str, str] = {}
        sources = {**{name: row.cells[column] for name, column in self.columns.items()}, **self._mapped.given}
        for name in sorted(sources):
            value = sources[name]
            if name.startswith(METADATA):
                if value not in (None, ""):
                    metadata[name.removeprefix(METADATA)] = str(value)
            elif name in NUMBERS:
                event[name] = _number(name, value)
            elif name == "timestamp":
                event[name] = time_ms(value, self._mapped.zone)
            else:
                event[name] = _text(value)
        for name in TEXTS:
            if event.get(name) is None:
                if name in ("equipment", "characteristic"):
                    raise _UnreadableError(name, "it is empty; it names the series")
                event.pop(name, None)
        event["metadata"] = metadata
        given_id = event.pop("event_id", None)
        found = with_id("measurement", f"row {row.row}", event)
        return found if given_id is None else Found(found.kind, event | {"event_id": given_id})


class _UnreadableError(ValueError):
    def __init__(self, name: str, why: str) -> None:
        super().__init__(why)
        self.field, self.why = name, why


def _shown(value: object) -> str:
    text = repr(value)
    return text if len(text) <= SHOWN_CHARS else f"{text[:SHOWN_CHARS]}…"


def _text(value: object) -> str | None:
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return None
    if isinstance(value, float) and value.is_integer():  # a column of numbers with gaps
        value = int(value)
    return str(value).strip() or None


def _number(name: str, value: object) -> float | None:
    if isinstance(value, str):
        text = value.strip()
        if text.lower() in _NONE:
            return None
        try:
            number = float(text)
        except ValueError:
            raise _UnreadableError(name, f"{_shown(value)} is no number") from None
    elif value is None:
        return None
    else:
        try:
            number = float(value)  # type: ignore[arg-type]
        except (TypeError, ValueError):
            raise _UnreadableError(name, f"{_shown(value)} is no number") from None
    if math.isinf(number):
        raise _UnreadableError(name, f"{_shown(value)} is not finite")
    return None if math.isnan(number) else number


def time_ms(value: object, zone: tzinfo) -> int:
    """Return milliseconds since 1970 UTC.

    >>> time_ms("2026-05-04T12:00:00+02:00", UTC), time_ms("2026-05-04 10:00", UTC), time_ms("1777888800000", UTC)
    (1777888800000, 1777888800000, 1777888800000)
    """
    if isinstance(value, str):
        text = value.strip()
        if text.lstrip("-").isdecimal():
            return int(text)
        try:
            value = datetime.fromisoformat(text)
        except ValueError:
            raise _UnreadableError(
                "timestamp", f"{_shown(text)} is no time: ISO 8601, or milliseconds since 1970"
            ) from None
    elif isinstance(value, int) and not isinstance(value, bool):
        return value
    elif isinstance(value, date) and not isinstance(value, datetime):
        value = datetime(value.year, value.month, value.day)  # its zone comes next
    if not isinstance(value, datetime):
        raise _UnreadableError("timestamp", f"{_shown(value)} is no time")
    whole = value if value.tzinfo else value.replace(tzinfo=zone)
    return round(whole.timestamp() * 1000)
