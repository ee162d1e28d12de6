"""From bytes to picked fields, record by record: what the columnar decoders share.

A `RecordReader` reads records of one kind, whichever version of the schema wrote them, and picks some of their fields. It
looks the schema of every id in the batch up first: `RegistryUnavailable` passes through before anything has been changed.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import lru_cache
from hashlib import blake2b
from operator import itemgetter
from typing import Any, cast

import numpy as np

from schemas.batch import SERIES_KEY_BYTES_MAX, TEXT_BYTES_MAX, DeadLetter, RawBatch, Reason, series_key
from schemas.framing import MAGIC
from schemas.registry import NotAvroSchema, UnknownSchema
from schemas.resolution import HEADER_BYTES, IncompatibleSchema, Plan, UnreadableRecord, name_of, plan_for
from schemas.topics import full_name, load

NO_SUBGROUP = -1
NO_EVENT_ID = -1
PLANS_MAX = 1000  # writers' schemas kept by a reader
SUBGROUPS_KEPT = 65_536  # hashes kept by name
KEY_PARTS = 5  # parts of a series key
_TEXTS = frozenset({"event_id", "lot", "wafer", "subgroup"})
_CHARS_SAFE = TEXT_BYTES_MAX // 4  # so many characters never have more than TEXT_BYTES_MAX bytes

SchemaOf = Callable[[int], Any]  # schema id → schema; raises UnknownSchema, RegistryUnavailable
Picked = tuple[Any, ...]  # values of the picked fields of one record
Plans = Mapping[bytes | None, Plan | UnreadableRecord]  # by header; None: of a record without a value

_ID = struct.Struct(">I")
_NO_PLANS: Plans = {}


@lru_cache(SUBGROUPS_KEPT)
def subgroup_code(name: str | None) -> int:
    """Return the stable 63-bit hash of a subgroup's name; -1 where none is given.

    >>> subgroup_code("W07-S1"), subgroup_code(None), subgroup_code("")
    (1463827526357097123, -1, -1)
    """
    if not name:
        return NO_SUBGROUP
    return int.from_bytes(blake2b(name.encode(), digest_size=8).digest(), "big") >> 1


def event_codes(ids: Sequence[str]) -> np.ndarray:
    """Return (n,) int64, the stable 63-bit hash of each event id, read-only; -1 for an empty one, which names nothing.

    >>> event_codes(["e1", "", "e1"]).tolist()
    [985917958979553154, -1, 985917958979553154]
    """
    digests = b"".join([blake2b(name.encode(), digest_size=8).digest() for name in ids])
    codes = (np.frombuffer(digests, ">u8") >> np.uint64(1)).astype(np.int64)
    codes[[not name for name in ids]] = NO_EVENT_ID
    return read_only(codes)


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


def unknown(error: UnknownSchema) -> UnreadableRecord:
    """Return what a record of a schema that the registry does not know is: unreadable."""
    reason = Reason.INCOMPATIBLE_SCHEMA if isinstance(error, NotAvroSchema) else Reason.UNKNOWN_SCHEMA
    return UnreadableRecord(reason, str(error))


def plan_of(schema_id: int, schema: Any, reader: Any | None) -> Plan:
    """Return how to read records of a schema. Raises UnreadableRecord."""
    try:
        return plan_for(schema, reader)
    except IncompatibleSchema as error:
        raise UnreadableRecord(Reason.INCOMPATIBLE_SCHEMA, f"schema id {schema_id}: {error}") from error


class RecordReader:
    """Reads records of some kinds from raw batches and picks `fields` of them, in this order; None where a kind has none such.

    A record is of the kind whose name its writer's schema has, or of the first. The last five fields are the parts of the series
    key; a record whose texts are too long to be kept is unreadable.
    """

    def __init__(self, schema_of: SchemaOf, records: Sequence[str], fields: Sequence[str]) -> None:
        self._schema_of = schema_of
        kinds = [load(record) for record in records]
        self._kinds = {kind["name"]: kind for kind in kinds}
        self._first = kinds[0]
        self._pick = {full_name(record): _picker(load(record), fields) for record in records}
        key = range(len(fields) - KEY_PARTS, len(fields))
        self._texts = [(at, name) for at, name in enumerate(fields) if at in key or name in _TEXTS]
        self._plans: dict[bytes, Plan] = {}  # by header

    def read(
        self, raw: RawBatch, rejects: list[DeadLetter], known: Plans = _NO_PLANS
    ) -> tuple[list[int], list[Picked]]:
        """Return the rows of the raw batch that can be read, and their fields; the others go to `rejects`.

        known: of what was looked up already.
        """
        headers = [None if value is None else value[:HEADER_BYTES] for value in raw.values]
        plans = {**self.look_up([header for header in headers if header not in known]), **known}
        rows: list[int] = []
        picked: list[Picked] = []
        for row, (header, value) in enumerate(zip(headers, raw.values, strict=True)):
            plan = plans[header]
            try:
                if value is None or isinstance(plan, UnreadableRecord):
                    raise cast(UnreadableRecord, plan)
                fields = self._pick[plan.reader["name"]](plan.read(value))
                if len(value) > TEXT_BYTES_MAX:
                    self._check_texts(fields)
                picked.append(fields)
            except UnreadableRecord as error:
                rejects.append(reject(raw, row, error.reason, error.detail))
            else:
                rows.append(row)
        return rows, picked

    def _check_texts(self, fields: Picked) -> None:
        """Raise UnreadableRecord if a text is too long. A record of at most TEXT_BYTES_MAX bytes cannot have one."""
        for at, name in self._texts:
            text = fields[at]
            if text and len(text) > _CHARS_SAFE and (size := len(text.encode())) > TEXT_BYTES_MAX:
                raise UnreadableRecord(Reason.TOO_LONG, f"{name} has {size} bytes; at most {TEXT_BYTES_MAX} are kept")
        parts = fields[-KEY_PARTS:]
        if sum(map(len, parts)) > _CHARS_SAFE and (size := len(series_key(*parts).encode())) > SERIES_KEY_BYTES_MAX:
            raise UnreadableRecord(
                Reason.TOO_LONG, f"the series key has {size} bytes; at most {SERIES_KEY_BYTES_MAX} are kept"
            )

    def look_up(self, headers: Iterable[bytes | None]) -> dict[bytes | None, Plan | UnreadableRecord]:
        """Return what to do with records that begin so. Raises RegistryUnavailable."""
        plans: dict[bytes | None, Plan | UnreadableRecord] = {}
        for header in set(headers):
            known = self._plans.get(header) if header is not None else None
            if known is None:
                try:
                    schema_id = schema_id_of(header)
                    schema = self._schema_of(schema_id)
                    known = plan_of(schema_id, schema, self._kinds.get(name_of(schema), self._first))
                except UnreadableRecord as error:
                    plans[header] = error
                    continue
                except UnknownSchema as error:
                    plans[header] = unknown(error)  # not kept: an id that is unknown today may be known tomorrow
                    continue
                while len(self._plans) >= PLANS_MAX:
                    del self._plans[next(iter(self._plans))]
                self._plans[header or b""] = known
            plans[header] = known
        return plans


def _picker(kind: Any, fields: Sequence[str]) -> Callable[[Mapping[str, Any]], Picked]:
    if {field["name"] for field in kind["fields"]}.issuperset(fields):
        return itemgetter(*fields)
    return lambda record: tuple(record.get(name) for name in fields)


def reject(raw: RawBatch, row: int, reason: Reason, detail: str) -> DeadLetter:
    """Return a row of the raw batch as a dead letter."""
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


def texts(column: Sequence[str | None]) -> np.ndarray:
    """Return (n,) str objects, read-only; None becomes ""."""
    filled = np.empty(len(column), object)
    filled[:] = ["" if text is None else text for text in column]
    return read_only(filled)


def read_only(array: np.ndarray) -> np.ndarray:
    """Mark an array read-only; return it."""
    array.setflags(write=False)
    return array
