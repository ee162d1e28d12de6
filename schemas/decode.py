"""Bytes to columns, and bytes to events. A record is a row or a `DeadLetter`, never an exception.

Theory of operation
-------------------
`MeasurementDecoder` turns a `RawBatch` into a `MicroBatch` in three passes:
1. the schema of every id in the batch is looked up, before anything else: `RegistryUnavailable` passes through, nothing has
   been changed, and the caller may decode the same batch again;
2. record by record, in offset order (schemas/reading.py): read with the writer's schema, fitted to ours, fifteen fields kept;
3. column by column: numbers to arrays, series keys to codes, subgroups to hashes.

What is a property of the record makes a dead letter, with one of the reasons of `schemas.batch.Reason`. Neighbours of a bad
record are not touched, and a bad record opens no series. The result does not depend on how the log is cut into batches.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import cache
from itertools import compress
from typing import Any, cast

import numpy as np

from schemas.batch import SERIES_KEY_PARTS, DeadLetter, MicroBatch, RawBatch, Reason, SeriesDictionary, series_key
from schemas.reading import (
    PLANS_MAX,
    Picked,
    RecordReader,
    SchemaOf,
    event_codes,
    plan_of,
    read_only,
    reject,
    schema_id_of,
    subgroup_code,
    texts,
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

_NUMBERS = ("value", "lsl", "usl", "target", "sample_size")
_FIELDS = (*_NUMBERS, "timestamp", "lot", "wafer", "subgroup", "event_id", *SERIES_KEY_PARTS)
_REST = slice(len(_NUMBERS), -len(SERIES_KEY_PARTS) - 1)
_KEY = slice(-len(SERIES_KEY_PARTS), None)
_EVENT_ID = _FIELDS.index("event_id")


class MeasurementDecoder:
    """Decodes records of `fab.measurements`, whichever version of the schema wrote them.

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
        self._reader = RecordReader(schema_of, "measurement", _FIELDS)

    def decode(self, raw: RawBatch, series: SeriesDictionary, *, event_ids: bool = False) -> MicroBatch:
        """Return columns; new series get their codes in `series`. Only RegistryUnavailable is raised, before anything changed.

        `columns` has lsl, usl, target, sample_size (float64, NaN = none) and lot, wafer (str objects, "" = not
        known); with `event_ids` also event_id (int64, see `event_codes`). All arrays are read-only.
        """
        rejects: list[DeadLetter] = []
        rows, picked = self._reader.read(raw, rejects)
        rows, picked, numbers = _finite(raw, rows, picked, rejects)
        codes = _codes(picked, series)
        if -1 in codes:
            full = (
                Reason.TOO_MANY_SERIES,
                f"the partition has {series.series_max} series, and this record would open one more",
            )
            rejects += [reject(raw, row, *full) for row, code in zip(rows, codes, strict=True) if code < 0]
            fits = [code >= 0 for code in codes]
            rows, picked, codes = list(compress(rows, fits)), list(compress(picked, fits)), list(compress(codes, fits))
            numbers = numbers[:, fits]
        rejects.sort(key=lambda letter: letter.offset)
        batch = _micro_batch(raw, np.array(rows, np.intp), picked, codes, numbers, tuple(rejects))
        if not event_ids:
            return batch
        return replace(batch, columns={**batch.columns, "event_id": event_codes([row[_EVENT_ID] for row in picked])})


def _finite(
    raw: RawBatch, rows: list[int], picked: list[Picked], rejects: list[DeadLetter]
) -> tuple[list[int], list[Picked], np.ndarray]:
    """Drop rows with an infinite number; return the others, and their numbers: (5, n) float64, NaN for null."""
    numbers = np.array([row[: len(_NUMBERS)] for row in picked], np.float64).reshape(-1, len(_NUMBERS)).T
    infinite = np.isinf(numbers)
    if not infinite.any():
        return rows, picked, numbers
    bad = np.any(infinite, axis=0)
    for at in np.flatnonzero(bad).tolist():
        names = ", ".join(name for name, is_bad in zip(_NUMBERS, infinite[:, at], strict=True) if is_bad)
        rejects.append(reject(raw, rows[at], Reason.NOT_FINITE, f"infinite: {names}"))
    fits = ~bad
    chosen: list[bool] = fits.tolist()
    return list(compress(rows, chosen)), list(compress(picked, chosen)), numbers[:, fits]


def _codes(picked: list[Picked], series: SeriesDictionary) -> list[int]:
    """Return the series codes of rows, in order; -1 where the dictionary is full."""
    known: dict[tuple[str, ...], int] = {}
    codes = []
    for row in picked:
        parts = row[_KEY]
        code = known.get(parts)
        if code is None:
            code = known[parts] = series.code(series_key(*parts))
        codes.append(code)
    return codes


def _micro_batch(
    raw: RawBatch,
    rows: np.ndarray,  # (n,) rows of the raw batch
    picked: list[Picked],
    codes: list[int],
    numbers: np.ndarray,  # (5, n)
    rejects: tuple[DeadLetter, ...],
) -> MicroBatch:
    times, lots, wafers, subgroups = zip(*(row[_REST] for row in picked), strict=True) if picked else ((), (), (), ())
    named = {name: read_only(np.ascontiguousarray(column)) for name, column in zip(_NUMBERS, numbers, strict=True)}
    return MicroBatch(
        topic=raw.topic,
        partition=raw.partition,
        offset=read_only(raw.offset[rows]),
        next_offset=raw.next_offset,
        event_time_ms=read_only(np.array(times, np.int64)),
        published_ms=read_only(raw.timestamp_ms[rows]),
        series=read_only(np.array(codes, np.int32)),
        value=named.pop("value"),
        subgroup=read_only(np.fromiter(map(subgroup_code, subgroups), np.int64, len(subgroups))),
        columns={**named, "lot": texts(lots), "wafer": texts(wafers)},
        rejects=rejects,
    )


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
