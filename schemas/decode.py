"""Bytes to columns, and bytes to events. A record is a row or a `DeadLetter`, never an exception.

Theory of operation
-------------------
`MeasurementDecoder` turns a `RawBatch` into a `MicroBatch` in three passes:
1. the schema of every id in the batch is looked up, before anything else: `RegistryUnavailable` passes through, nothing has
   been changed, and the caller may decode the same batch again;
2. record by record, in offset order: read with the writer's schema, fitted to ours (schemas/resolution.py), thirteen fields kept;
3. column by column: numbers to arrays, series keys to codes, subgroups to hashes.

What is a property of the record makes a dead letter, with one of the reasons of `schemas.batch.Reason`. Neighbours of a bad
record are not touched, and a bad record opens no series. The result does not depend on how the log is cut into batches.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Mapping, Sequence
from functools import cache, lru_cache
from hashlib import blake2b
from itertools import compress
from operator import itemgetter
from typing import Any, cast

import numpy as np

from schemas.batch import SERIES_KEY_PARTS, DeadLetter, MicroBatch, RawBatch, Reason, SeriesDictionary, series_key
from schemas.encode import MAGIC
from schemas.registry import NotAvroSchema, UnknownSchema
from schemas.resolution import HEADER_BYTES, IncompatibleSchema, Plan, UnreadableRecord, plan_for
from schemas.topics import full_name, load, record_names

__all__ = [
    "IncompatibleSchema",
    "MeasurementDecoder",
    "UnreadableRecord",
    "decode_event",
    "schema_id_of",
    "subgroup_code",
]

NO_SUBGROUP = -1
PLANS_MAX = 1000  # writers' schemas kept by a decoder
SUBGROUPS_KEPT = 65_536  # hashes kept by name

SchemaOf = Callable[[int], Any]  # schema id → schema; raises UnknownSchema, RegistryUnavailable

_ID = struct.Struct(">I")
_NUMBERS = ("value", "lsl", "usl", "target")
_FIELDS = (*_NUMBERS, "timestamp", "lot", "wafer", "subgroup", *SERIES_KEY_PARTS)
_REST = slice(len(_NUMBERS), -len(SERIES_KEY_PARTS))
_KEY = slice(-len(SERIES_KEY_PARTS), None)
_Picked = tuple[Any, ...]  # values of _FIELDS of one record
_pick = itemgetter(*_FIELDS)
_MEASUREMENT = load("measurement")


@lru_cache(SUBGROUPS_KEPT)
def subgroup_code(name: str | None) -> int:
    """Return the stable 63-bit hash of a subgroup's name; -1 where none is given.

    >>> subgroup_code("W07-S1"), subgroup_code(None), subgroup_code("")
    (1463827526357097123, -1, -1)
    """
    if not name:
        return NO_SUBGROUP
    return int.from_bytes(blake2b(name.encode(), digest_size=8).digest(), "big") >> 1


def schema_id_of(value: bytes | None) -> int:
    """Return the schema id in the header of a record's value. Raises UnreadableRecord if there is no header.

    >>> schema_id_of(bytes([0, 0, 0, 1, 2, 99]))
    258
    """
    if value is None:
        raise UnreadableRecord(Reason.NO_VALUE, "the record has a null value")
    if len(value) < HEADER_BYTES:
        raise UnreadableRecord(Reason.NOT_AVRO, f"{len(value)} bytes: shorter than the header")
    if value[0] != MAGIC:
        raise UnreadableRecord(Reason.NOT_AVRO, f"first byte is 0x{value[0]:02x}, not the magic 0x00")
    number: int = _ID.unpack_from(value, 1)[0]
    return number


def _unknown(error: UnknownSchema) -> UnreadableRecord:
    reason = Reason.INCOMPATIBLE_SCHEMA if isinstance(error, NotAvroSchema) else Reason.UNKNOWN_SCHEMA
    return UnreadableRecord(reason, str(error))


def _plan(schema_id: int, schema: Any, reader: Any | None) -> Plan:
    """Return how to read records of a schema. Raises UnreadableRecord."""
    try:
        return plan_for(schema, reader)
    except IncompatibleSchema as error:
        raise UnreadableRecord(Reason.INCOMPATIBLE_SCHEMA, f"schema id {schema_id}: {error}") from error


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
        self._schema_of = schema_of
        self._plans: dict[bytes, Plan] = {}  # by header

    def decode(self, raw: RawBatch, series: SeriesDictionary) -> MicroBatch:
        """Return columns; new series get their codes in `series`. Only RegistryUnavailable is raised, before anything changed.

        `columns` has lsl, usl, target (float64, NaN = none) and lot, wafer (str objects, "" = not known). All arrays are
        read-only.
        """
        plans = self._look_up(raw.values)
        rejects: list[DeadLetter] = []
        rows, picked = _read(raw, plans, rejects)
        rows, picked, numbers = _finite(raw, rows, picked, rejects)
        codes = _codes(picked, series)
        if -1 in codes:
            full = (
                Reason.TOO_MANY_SERIES,
                f"the partition has {series.series_max} series, and this record would open one more",
            )
            rejects += [_reject(raw, row, *full) for row, code in zip(rows, codes, strict=True) if code < 0]
            fits = [code >= 0 for code in codes]
            rows, picked, codes = list(compress(rows, fits)), list(compress(picked, fits)), list(compress(codes, fits))
            numbers = numbers[:, fits]
        rejects.sort(key=lambda letter: letter.offset)
        return _micro_batch(raw, np.array(rows, np.intp), picked, codes, numbers, tuple(rejects))

    def _look_up(self, values: Sequence[bytes | None]) -> dict[bytes | None, Plan | UnreadableRecord]:
        """Return what to do with each header of the batch."""
        headers = {None if value is None else value[:HEADER_BYTES] for value in values}
        plans: dict[bytes | None, Plan | UnreadableRecord] = {}
        for header in headers:
            known = self._plans.get(header) if header is not None else None
            if known is None:
                try:
                    schema_id = schema_id_of(header)
                    known = _plan(schema_id, self._schema_of(schema_id), _MEASUREMENT)
                except UnreadableRecord as error:
                    plans[header] = error
                    continue
                except UnknownSchema as error:
                    plans[header] = _unknown(error)  # not kept: an id that is unknown today may be known tomorrow
                    continue
                while len(self._plans) >= PLANS_MAX:
                    del self._plans[next(iter(self._plans))]
                self._plans[header or b""] = known
            plans[header] = known
        return plans


def _reject(raw: RawBatch, row: int, reason: Reason, detail: str) -> DeadLetter:
    return DeadLetter(
        topic=raw.topic,
        partition=raw.partition,
        offset=int(raw.offset[row]),
        timestamp_ms=int(raw.timestamp_ms[row]),
        reason=reason,
        detail=detail,
        key=raw.keys[row],
        value=raw.values[row],
    )


def _read(
    raw: RawBatch, plans: Mapping[bytes | None, Plan | UnreadableRecord], rejects: list[DeadLetter]
) -> tuple[list[int], list[_Picked]]:
    """Return the rows of the raw batch that can be read, and their values of _FIELDS."""
    rows: list[int] = []
    picked: list[_Picked] = []
    for row, value in enumerate(raw.values):
        plan = plans[value if value is None else value[:HEADER_BYTES]]
        try:
            if value is None or isinstance(plan, UnreadableRecord):
                raise cast(UnreadableRecord, plan)
            picked.append(_pick(plan.read(value)))
        except UnreadableRecord as error:
            rejects.append(_reject(raw, row, error.reason, error.detail))
        else:
            rows.append(row)
    return rows, picked


def _finite(
    raw: RawBatch, rows: list[int], picked: list[_Picked], rejects: list[DeadLetter]
) -> tuple[list[int], list[_Picked], np.ndarray]:
    """Drop rows with an infinite number; return the others, and their numbers: (4, n) float64, NaN for null."""
    numbers = np.array([row[: len(_NUMBERS)] for row in picked], np.float64).reshape(-1, len(_NUMBERS)).T
    infinite = np.isinf(numbers)
    if not infinite.any():
        return rows, picked, numbers
    bad = np.any(infinite, axis=0)
    for at in np.flatnonzero(bad).tolist():
        names = ", ".join(name for name, is_bad in zip(_NUMBERS, infinite[:, at], strict=True) if is_bad)
        rejects.append(_reject(raw, rows[at], Reason.NOT_FINITE, f"infinite: {names}"))
    fits = ~bad
    chosen: list[bool] = fits.tolist()
    return list(compress(rows, chosen)), list(compress(picked, chosen)), numbers[:, fits]


def _codes(picked: list[_Picked], series: SeriesDictionary) -> list[int]:
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
    picked: list[_Picked],
    codes: list[int],
    numbers: np.ndarray,  # (4, n)
    rejects: tuple[DeadLetter, ...],
) -> MicroBatch:
    times, lots, wafers, subgroups = zip(*(row[_REST] for row in picked), strict=True) if picked else ((), (), (), ())
    value, lsl, usl, target = (_read_only(np.ascontiguousarray(column)) for column in numbers)
    return MicroBatch(
        topic=raw.topic,
        partition=raw.partition,
        offset=_read_only(raw.offset[rows]),
        next_offset=raw.next_offset,
        event_time_ms=_read_only(np.array(times, np.int64)),
        published_ms=_read_only(raw.timestamp_ms[rows]),
        series=_read_only(np.array(codes, np.int32)),
        value=value,
        subgroup=_read_only(np.fromiter(map(subgroup_code, subgroups), np.int64, len(subgroups))),
        columns={"lsl": lsl, "usl": usl, "target": target, "lot": _texts(lots), "wafer": _texts(wafers)},
        rejects=rejects,
    )


def _texts(column: Sequence[str | None]) -> np.ndarray:
    texts = np.empty(len(column), object)
    texts[:] = ["" if text is None else text for text in column]
    return _read_only(texts)


def _read_only(array: np.ndarray) -> np.ndarray:
    array.setflags(write=False)
    return array


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
        raise _unknown(error) from error
    known = _EVENT_PLANS.get(id(schema))
    if known is None:
        while len(_EVENT_PLANS) >= PLANS_MAX:
            del _EVENT_PLANS[next(iter(_EVENT_PLANS))]
        known = _EVENT_PLANS[id(schema)] = schema, _plan(schema_id, schema, _readers().get(_full_name(schema)))
    return known[1].read(cast(bytes, value))


def _full_name(schema: Any) -> str:
    if not isinstance(schema, dict) or not isinstance(name := schema.get("name"), str):
        return ""
    return name if "." in name else f"{schema.get('namespace', '')}.{name}"
