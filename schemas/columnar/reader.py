"""Batches of records of some kinds, whichever version of the schema wrote them, into columns.

A kernel reads them with the programs of their schemas; what it leaves is read record by record (schemas/reading.py), and put
into the same columns, so that nobody after this has to know which way a record went.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache
from io import BytesIO
from typing import Any, NamedTuple

import fastavro
import numpy as np

from schemas import texts
from schemas.batch import SERIES_KEY_BYTES_MAX, TEXT_BYTES_MAX, DeadLetter, RawBatch, head, take
from schemas.columnar import samples, writer
from schemas.columnar.interning import Index
from schemas.columnar.program import Column, Kind, Program, Unfit, compile_program
from schemas.columnar.rows import LEFT, READ, Buffer, Columns, empty, joined, read_rows, schema_ids, with_texts
from schemas.columnar.samples import fitting
from schemas.framing import MAGIC
from schemas.reading import KEY_PARTS, PLANS_MAX, Picked, RecordReader, SchemaOf
from schemas.resolution import Fit, Plan, UnreadableRecord, shape
from schemas.topics import full_name, load

_ARRAY_OF = {Kind.INTEGER: 0, Kind.NUMBER: 1, Kind.TEXT: 2, Kind.NEEDED_TEXT: 2, Kind.SPAN: 2, Kind.NUMBERS: 3}
ROW_BYTES = (
    16  # a list is not read as long as what stands before it has so many bytes for each row that is wanted; 9 are usual
)
_KEY_BYTES_SAFE = (SERIES_KEY_BYTES_MAX - KEY_PARTS) // 3  # of the parts: percent-encoding makes three bytes of one


class Found(NamedTuple):
    """What was read of the first n records of a batch."""

    raw: RawBatch  # these records
    buffer: Buffer
    columns: Columns
    listed: np.ndarray | None  # (n,) bool, which of them have a list of numbers; None: none of them


class ColumnReader:
    """Reads these fields of our records of these kinds, in this order; the last five are the parts of the series key.

    `columns` says where each field is found. A span (Kind.SPAN) is of an array of texts.
    """

    def __init__(self, schema_of: SchemaOf, records: Sequence[str], fields: Mapping[str, Kind]) -> None:
        self.columns: dict[str, Column] = {}
        counts = [0, 0, 0, 0]
        for name, kind in fields.items():
            self.columns[name] = Column(kind, counts[_ARRAY_OF[kind]])
            counts[_ARRAY_OF[kind]] += 1
        self.key = tuple(column.number for column in list(self.columns.values())[-KEY_PARTS:])
        self._counts = counts
        self._records = RecordReader(schema_of, records, tuple(fields))
        self._programs: dict[bytes, Program | None] = {}  # by header
        lists = {name for name, kind in fields.items() if kind is Kind.NUMBERS}
        self._with_lists = {
            full_name(record) for record in records if any(field["name"] in lists for field in load(record)["fields"])
        }

    def read(self, raw: RawBatch, rejects: list[DeadLetter], rows_max: int | None = None) -> Found:
        """Return columns of all records; those that cannot be read are LEFT, and dead letters in `rejects`.

        With `rows_max` of the first ones only, where lists have more bytes than numbers for so many rows usually take.
        Raises RegistryUnavailable, before anything else.
        """
        buffer = joined(raw.values)
        ids = schema_ids(buffer)
        one = len(ids) > 0 and bool((ids == ids[0]).all())  # as a rule; to look for others takes longer than to read
        distinct = ids[:1] if one else np.unique(ids)
        headers = {number: bytes([MAGIC]) + number.to_bytes(4, "big") for number in distinct.tolist() if number >= 0}
        plans = self._records.look_up(headers.values())
        with_lists = [number for number, header in headers.items() if self._has_list(plans[header])]
        listed = np.isin(ids, with_lists) if with_lists else None
        if listed is not None and rows_max is not None:
            sizes = np.where(listed, np.diff(buffer.begin), 0)
            raw = head(raw, fitting(sizes, rows_max * ROW_BYTES))
            ids, listed = ids[: len(raw)], listed[: len(raw)]
            buffer = buffer._replace(begin=buffer.begin[: len(raw) + 1])
        integers, numbers, places, _ = self._counts
        columns = empty(len(raw), integers, numbers, places, 0 if listed is None else int(buffer.begin[-1]))
        for number, header in headers.items():
            plan = plans[header]
            program = self._program(header, plan) if isinstance(plan, Plan) else None
            if program is not None:
                rows = np.arange(len(ids)) if one else np.flatnonzero(ids == number)
                read_rows(buffer, rows, program, TEXT_BYTES_MAX, columns)
        columns.status[columns.size[self.key[0] :].sum(axis=0) > _KEY_BYTES_SAFE] = LEFT
        left = np.flatnonzero(columns.status == LEFT)
        if len(left):
            at, picked = self._records.read(take(raw, left), rejects, plans)
            buffer = self._put(buffer, columns, left[at], picked)
        return Found(raw, buffer, columns, listed)

    def _has_list(self, plan: Plan | UnreadableRecord) -> bool:
        return isinstance(plan, Plan) and plan.reader["name"] in self._with_lists

    def _program(self, header: bytes, plan: Plan) -> Program | None:
        if header not in self._programs:
            while len(self._programs) >= PLANS_MAX:
                del self._programs[next(iter(self._programs))]
            self._programs[header] = program_for(plan, self.columns)
        return self._programs[header]

    def _put(self, buffer: Buffer, columns: Columns, rows: np.ndarray, picked: Sequence[Picked]) -> Buffer:
        """Put what was read record by record where the kernel would have put it; return the buffer with their texts."""
        written: list[list[bytes]] = []
        for row, fields in zip(rows.tolist(), picked, strict=True):
            of_row = []
            for (kind, number), given in zip(self.columns.values(), fields, strict=True):
                if kind is Kind.INTEGER:
                    columns.integers[number, row] = given or 0
                elif kind is Kind.NUMBER:
                    columns.numbers[number, row] = np.nan if given is None else given
                elif kind is Kind.NUMBERS:
                    _put_list(columns, row, given or ())
                else:
                    of_row.append(_written(given) if kind is Kind.SPAN else (given or "").encode())
            written.append(of_row)
        columns.status[rows] = READ
        return with_texts(buffer, columns, rows, written)


@cache
def warm() -> None:
    """Load the kernels, or compile them: seconds, the first time on a machine. Call it before records wait."""
    nothing, buffer = np.zeros(0, np.int64), joined([])
    columns = empty(0, 1, 1, 1)
    schema_ids(buffer)
    read_rows(buffer, nothing, compile_program("null", {}), 0, columns)
    with_texts(buffer, columns, nothing, [])
    index = Index(1)
    index.add(buffer, columns, (0,), nothing, nothing)
    index.find(buffer, columns, (0,), nothing)
    index.make_room(1_000, 0)
    texts.warm()
    samples.warm()
    writer.warm()


def _put_list(columns: Columns, row: int, given: Sequence[float | None]) -> None:
    begin = int(columns.items_filled[0])
    end = begin + len(given)
    columns.items[begin:end] = [np.nan if number is None else number for number in given]
    columns.items_at[:, row] = begin, end
    columns.items_filled[0] = end


_TEXTS: Any = fastavro.parse_schema({"type": "array", "items": "string"})


def _written(given: Sequence[str]) -> bytes:
    stream = BytesIO()
    fastavro.schemaless_writer(stream, _TEXTS, given)
    return stream.getvalue()


def read_texts(span: bytes) -> list[str]:
    """Return the texts of an array, as they stand in a span.

    >>> read_texts(_written(["a", "b"]))
    ['a', 'b']
    """
    read: Any = fastavro.schemaless_reader(BytesIO(span), _TEXTS, None)
    return list(read)


def program_for(plan: Plan, wanted: Mapping[str, Column]) -> Program | None:
    """Return the program that reads records of a plan's writer as fields of its reader's record; None if there is none."""
    theirs = {field["name"]: field["type"] for field in plan.writer["fields"]}
    paths: dict[tuple[str, ...], Column] = {}
    for field in plan.reader["fields"]:
        name = field["name"]
        written = next((known for known in (name, *field.get("aliases", ())) if known in theirs), None)
        column = wanted.get(name)
        if written is None:
            if column is not None and field.get("default") not in {None, ""}:
                return None  # columns begin with nothing
        elif column is not None:
            if column.kind is Kind.SPAN and shape(theirs[written]) != shape(field["type"]):
                return None
            paths[written,] = column
        elif plan.fit is Fit.RESOLVE and shape(theirs[written]) != shape(field["type"]):
            return None  # whether it can be read as ours is fastavro's to say, record by record
    try:
        return compile_program(plan.writer, paths)
    except Unfit:
        return None
