"""Bytes to columns, and bytes to events. A record is a row or a `DeadLetter`, never an exception.

Theory of operation
-------------------
`MeasurementDecoder` turns a `RawBatch` into a `MicroBatch`. A record is a single measurement, which is one row, or one of many
samples, which is as many rows (schemas/columnar/samples.py); the name of its writer's schema says which:
1. the schema of every id in the batch is looked up, before anything else: `RegistryUnavailable` passes through, nothing has
   been changed, and the caller may decode the same batch again;
2. a kernel reads the records (schemas/columnar): numbers to arrays, texts to places in a buffer. What it leaves, because it is
   unusual or wrong, is read record by record by fastavro (schemas/reading.py), which says what is wrong with it;
3. series keys become codes, in offset order; lots, wafers and subgroups what was made of the same text before.

What is a property of the record makes a dead letter, with one of the reasons of `schemas.batch.Reason`. Neighbours of a bad
record are not touched, and a bad record opens no series; a bad sample makes its whole record bad. The result does not depend on
how the log is cut into batches.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Any, cast

import numpy as np

from schemas.batch import (
    SERIES_KEY_PARTS,
    DeadLetter,
    MicroBatch,
    RawBatch,
    Reason,
    SeriesDictionary,
    head,
)
from schemas.columnar.context import Context, leave_new_ones_of_a_full_dictionary
from schemas.columnar.interning import SeriesCodes
from schemas.columnar.program import Kind
from schemas.columnar.reader import ColumnReader
from schemas.columnar.rows import LEFT, READ, Columns, first_records
from schemas.columnar.samples import Samples
from schemas.reading import (
    PLANS_MAX,
    SchemaOf,
    plan_of,
    read_only,
    reject,
    schema_id_of,
    subgroup_code,
    unknown,
)
from schemas.registry import UnknownSchema
from schemas.resolution import IncompatibleSchema, Plan, UnreadableRecord
from schemas.topics import full_name, load, record_names

__all__ = [
    "IncompatibleSchema",
    "MeasurementDecoder",
    "UnreadableRecord",
    "decode_event",
    "schema_id_of",
    "subgroup_code",
]

_TIMES = ("timestamp", "period_us")
_NUMBERS = ("value", "lsl", "usl", "target", "sample_size")
_FIELDS = {
    **dict.fromkeys(_NUMBERS, Kind.NUMBER),
    **dict.fromkeys(_TIMES, Kind.INTEGER),
    "values": Kind.NUMBERS,
    **dict.fromkeys(("lot", "wafer", "subgroup"), Kind.TEXT),
    **dict.fromkeys(("event_id", *SERIES_KEY_PARTS), Kind.NEEDED_TEXT),
}


class MeasurementDecoder:
    """Decodes records of `fab.measurements`, whichever version of the schema wrote them. Not for several threads at once.

    >>> from schemas.encode import Encoder
    >>> good = Encoder("measurement", 1).encode(
    ...     {"event_id": "e1", "timestamp": 5, "equipment": "E1", "characteristic": "CD", "value": 44.9, "usl": 50.0}
    ... )
    >>> raw = RawBatch("fab.measurements", 0, np.array([7, 9]), np.array([6, 6]), [None, None], [good, good[:-3]], 10)
    >>> batch = MeasurementDecoder({1: load("measurement")}.__getitem__).decode(raw, series := SeriesDictionary())
    >>> batch.offset.tolist(), batch.value.tolist(), series.keys, [str(bad.reason) for bad in batch.rejects]
    ([7], [44.9], ['E1||||CD'], ['malformed'])
    """

    def __init__(self, schema_of: SchemaOf) -> None:
        self._reader = ColumnReader(schema_of, ["measurement", "measurement_array"], _FIELDS)
        self._times = tuple(self._reader.columns[name].number for name in _TIMES)
        self._codes = SeriesCodes(self._reader.key)
        self._context = Context(self._reader)

    def decode(
        self, raw: RawBatch, series: SeriesDictionary, *, event_ids: bool = False, rows_max: int | None = None
    ) -> MicroBatch:
        """Return columns; new series get their codes in `series`. Only RegistryUnavailable is raised, before anything changed.

        `columns` has lsl, usl, target, sample_size (float64, NaN = none) and lot, wafer (Texts, "" = not
        known); with `event_ids` also event_id (int64, see `event_codes`); where a record has several samples also sample
        (int32). All arrays are read-only.

        With `rows_max`, of the first records only, if all of them have more rows: of as many as have not, and of one at least.
        `next_offset` says how far it came.
        """
        if rows_max is not None:
            raw = head(raw, max(1, rows_max))
        rejects: list[DeadLetter] = []
        raw, buffer, columns, listed = self._reader.read(raw, rejects, rows_max)
        _leave_infinite(raw, columns, rejects)
        samples = None if listed is None else Samples(listed, *self._times)
        if samples is not None:
            _leave_wrong_samples(raw, columns, samples, rejects)
            if rows_max is not None:
                raw = head(raw, samples.fitting(columns, rows_max))
                columns = first_records(columns, len(raw))
                rejects = [letter for letter in rejects if letter.offset < raw.next_offset]
        rows = np.flatnonzero(columns.status == READ)
        codes = self._codes.column(buffer, columns, rows, series)
        rows, codes = leave_new_ones_of_a_full_dictionary(raw, rows, codes, series, rejects)
        numbers = columns.numbers if len(rows) == len(raw) else np.take(columns.numbers, rows, axis=1)
        named = {name: read_only(column) for name, column in zip(_NUMBERS, numbers, strict=True)}
        value = named.pop("value")
        batch = self._context.batch(raw, buffer, columns, rows, codes, value, named, rejects, event_ids=event_ids)
        return batch if samples is None else samples.spread(batch, columns, rows)


def _leave_wrong_samples(raw: RawBatch, columns: Columns, samples: Samples, rejects: list[DeadLetter]) -> None:
    """Leave the records of samples that are none to judge."""
    for row, reason, detail in list(samples.wrong(columns)):
        rejects.append(reject(raw, row, reason, detail))
        columns.status[row] = LEFT


def _leave_infinite(raw: RawBatch, columns: Columns, rejects: list[DeadLetter]) -> None:
    """Leave the rows with an infinite number."""
    infinite = np.isinf(columns.numbers) & (columns.status == READ)
    for row in np.flatnonzero(infinite.any(axis=0)).tolist():
        names = ", ".join(name for name, is_bad in zip(_NUMBERS, infinite[:, row], strict=True) if is_bad)
        rejects.append(reject(raw, row, Reason.NOT_FINITE, f"infinite: {names}"))
        columns.status[row] = LEFT


_EVENT_PLANS: dict[int, tuple[Any, Plan]] = {}  # id() of a schema → the schema, which keeps that id taken, and its plan


@cache
def _readers() -> Mapping[str, Any]:
    return {full_name(name): load(name) for name in record_names()}


def decode_event(value: bytes | None, schema_of: SchemaOf) -> dict[str, Any]:
    """Return the record in `value` as ours of the same full name, or as its writer's if we have none. For plain consumers.

    Times are integers (milliseconds since 1970-01-01 UTC). Raises UnreadableRecord, whose `reason` is what a dead letter would
    say, and no other error but RegistryUnavailable.

    >>> from schemas.encode import Encoder
    >>> value = Encoder("series_page", 3).encode({"page": 0, "first_code": 0, "seq": 1, "keys": []})
    >>> decode_event(value, {3: load("series_page")}.__getitem__)
    {'page': 0, 'first_code': 0, 'seq': 1, 'keys': []}
    """
    schema_id = schema_id_of(value)
    try:
        schema = schema_of(schema_id)
    except UnknownSchema as error:
        raise unknown(error) from error
    known = _EVENT_PLANS.get(id(schema))
    if known is None:
        while len(_EVENT_PLANS) >= PLANS_MAX:
            del _EVENT_PLANS[next(iter(_EVENT_PLANS))]
        known = _EVENT_PLANS[id(schema)] = schema, plan_of(schema_id, schema, _readers().get(_full_name(schema)))
    return known[1].read(cast(bytes, value))


def _full_name(schema: Any) -> str:
    if not isinstance(schema, dict) or not isinstance(name := schema.get("name"), str):
        return ""
    return name if "." in name else f"{schema.get('namespace', '')}.{name}"
