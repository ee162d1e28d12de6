"""The kernel that runs a program over records, and the buffer that they stand in.

A record is read whole or not at all: `status` says which. Nothing outside a record is read because of what stands in it: every
length and index is checked against the record's end before it is followed, and a block of an array cannot have more items than
the record has bytes left, because an item takes one at least (schemas/resolution.py refuses other schemas).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from schemas.columnar.program import (
    AGAIN,
    BOOLEAN,
    BYTES,
    DEPTH_MAX,
    DOUBLE,
    END,
    ENUM,
    FIXED,
    FLOAT,
    INTEGER,
    ITEM_REAL,
    ITEMS,
    JUMP,
    MAYBE_DOUBLE,
    MAYBE_TEXT,
    SPAN,
    SPAN_END,
    TEXT,
    UNION,
    Program,
)
from schemas.kernel import kernel, real, short_real, word

HEADER_BYTES = 5  # magic byte, schema id
NO_ID = -1
PADDING = b"\0" * 8  # a text is read by words of 8 bytes

READ, LEFT = 0, 1  # status of a record


class Buffer(NamedTuple):
    """The values of a batch, one after the other; value i stands at begin[i]:begin[i + 1], nothing where it is null."""

    bytes: np.ndarray  # uint8, read-only, and 8 more at the end
    begin: np.ndarray  # (n + 1,) int64


def joined(values: Sequence[bytes | None]) -> Buffer:
    """Put values into a buffer."""
    begin = np.zeros(len(values) + 1, np.int64)
    try:
        np.cumsum(np.fromiter(map(len, values), np.int64, len(values)), out=begin[1:])  # type: ignore[arg-type]
    except TypeError:  # rare, and to look for them first takes as long as to join
        return joined([value or b"" for value in values])
    return Buffer(np.frombuffer(b"".join((*values, PADDING)), np.uint8), begin)  # type: ignore[arg-type]


class Columns(NamedTuple):
    """What was read; column c of record i is [c, i]. Where nothing was read, it is as it was filled before."""

    status: np.ndarray  # (n,) uint8: READ, or LEFT to somebody else
    integers: np.ndarray  # (k, n) int64
    numbers: np.ndarray  # (k, n) float64
    begin: np.ndarray  # (k, n) int64: where a text stands in the buffer
    size: np.ndarray  # (k, n) int32, bytes of it; 0 where there is none
    hash: np.ndarray  # (k, n) uint64, of its bytes
    items: np.ndarray  # float64: of all lists, one after the other
    items_at: np.ndarray  # (2, n) int64: where the list of a record begins and ends in `items`
    items_filled: np.ndarray  # (1,) int64: how many of `items` are taken


def empty(n: int, integers: int, numbers: int, texts: int, items: int = 0) -> Columns:
    """Return columns of n records of which nothing has been read; items: room for the numbers of all lists."""
    return Columns(
        np.full(n, LEFT, np.uint8),
        np.zeros((integers, n), np.int64),
        np.full((numbers, n), np.nan),
        np.zeros((texts, n), np.int64),
        np.zeros((texts, n), np.int32),
        np.zeros((texts, n), np.uint64),
        np.zeros(items),
        np.zeros((2, n), np.int64),
        np.zeros(1, np.int64),
    )


def first_records(columns: Columns, records: int) -> Columns:
    """Return the columns of the first records."""
    by_record = ("status", "integers", "numbers", "begin", "size", "hash", "items_at")
    return columns._replace(**{name: np.ascontiguousarray(getattr(columns, name)[..., :records]) for name in by_record})


def read_rows(buffer: Buffer, rows: np.ndarray, program: Program, text_bytes_max: int, into: Columns) -> None:
    """Run a program over these records (int64, ascending). A wanted text of more bytes is not for us."""
    with np.errstate(over="ignore"):  # the hash is arithmetic modulo 2^64
        _read_rows(buffer, rows, program, text_bytes_max, into)


def with_texts(buffer: Buffer, columns: Columns, rows: np.ndarray, texts: Sequence[Sequence[bytes]]) -> Buffer:
    """Give these records these texts, one for each column; return the buffer that they stand in as well."""
    at = len(buffer.bytes)
    for row, of_row in zip(rows.tolist(), texts, strict=True):
        for column, text in enumerate(of_row):
            columns.begin[column, row], columns.size[column, row] = at, len(text)
            at += len(text)
    data = np.frombuffer(
        b"".join((buffer.bytes.tobytes(), *(text for of_row in texts for text in of_row), PADDING)), np.uint8
    )
    with np.errstate(over="ignore"):
        _hash_again(data, rows, columns.begin, columns.size, columns.hash)
    return Buffer(data, buffer.begin)


def schema_ids(buffer: Buffer) -> np.ndarray:
    """Return (n,) int64, the schema id in the header of each value; NO_ID where there is no header."""
    return _schema_ids(buffer.bytes, buffer.begin)


@kernel
def _schema_ids(data: np.ndarray, begin: np.ndarray) -> np.ndarray:
    ids = np.full(len(begin) - 1, NO_ID, np.int64)
    for row in range(len(ids)):
        at = begin[row]
        if begin[row + 1] - at >= HEADER_BYTES and data[at] == 0:
            number = 0
            for byte in range(1, HEADER_BYTES):
                number = number * 256 + int(data[at + byte])
            ids[row] = number
    return ids


@kernel(inline=True)
def _varint(data: np.ndarray, at: int, end: int) -> tuple[Any, int]:
    """Return the number at `at`, and where it ends; -1 if it is not whole, or has more than 64 bits."""
    value, shift = np.uint64(0), 0
    while at < end and shift < 63:
        byte = data[at]
        at += 1
        value |= np.uint64(byte & 127) << np.uint64(shift)
        if byte < 128:
            return np.int64(value >> np.uint64(1)) ^ -np.int64(value & np.uint64(1)), at
        shift += 7
    if at < end and data[at] < 2:
        value |= np.uint64(data[at]) << np.uint64(63)
        return np.int64(value >> np.uint64(1)) ^ -np.int64(value & np.uint64(1)), at + 1
    return np.int64(0), -1


@kernel(inline=True)
def _mixed(so_far: np.uint64, more: np.uint64) -> np.uint64:
    product = (so_far ^ more) * np.uint64(0x9E3779B97F4A7C15)
    return product ^ (product >> np.uint64(32))


@kernel(inline=True)
def _hashed(data: np.ndarray, at: int, size: int) -> tuple[np.uint64, bool]:
    """Return the hash of a text, and whether it is ASCII."""
    digest, seen, i = np.uint64(size), np.uint64(0), 0
    while i + 8 <= size:
        eight = word(data, at + i)
        seen |= eight
        digest = _mixed(digest, eight)
        i += 8
    if i < size:
        rest = word(data, at + i) & ((np.uint64(1) << np.uint64(8 * (size - i))) - np.uint64(1))
        seen |= rest
        digest = _mixed(digest, rest)
    return digest, seen & np.uint64(0x8080808080808080) == np.uint64(0)


@kernel
def _hash_again(data: np.ndarray, rows: np.ndarray, begin: np.ndarray, size: np.ndarray, digests: np.ndarray) -> None:
    for k in range(len(rows)):
        for column in range(len(begin)):
            digest, _ = _hashed(data, begin[column, rows[k]], size[column, rows[k]])
            digests[column, rows[k]] = digest


@kernel
def _is_utf8(data: np.ndarray, at: int, end: int) -> bool:
    """Say whether these bytes are UTF-8 as Unicode defines it (table 3-7): shortest form, no surrogates."""
    while at < end:
        first = int(data[at])
        low, high = 0x80, 0xBF  # of the second byte
        if first < 0x80:
            at += 1
            continue
        if first < 0xC2 or first > 0xF4:
            return False
        if first < 0xE0:
            more = 1
        elif first < 0xF0:
            more = 2
            low = 0xA0 if first == 0xE0 else 0x80
            high = 0x9F if first == 0xED else 0xBF
        else:
            more = 3
            low = 0x90 if first == 0xF0 else 0x80
            high = 0x8F if first == 0xF4 else 0xBF
        if at + more >= end or data[at + 1] < low or data[at + 1] > high:
            return False
        for i in range(2, more + 1):
            if data[at + i] < 0x80 or data[at + i] > 0xBF:
                return False
        at += more + 1
    return True


@kernel
def _read_rows(  # noqa: PLR0912, PLR0915 - an interpreter is one loop: instructions in functions of their own cost calls
    buffer: Buffer, rows: np.ndarray, program: Program, text_bytes_max: int, into: Columns
) -> None:
    data, code = buffer.bytes, program.code
    numbers, integers = into.numbers, into.integers
    left = np.zeros(DEPTH_MAX, np.int64)  # items of the block under way, by depth
    filled = into.items_filled[0]
    for k in range(len(rows)):
        row = rows[k]
        at, end = buffer.begin[row] + HEADER_BYTES, buffer.begin[row + 1]
        before, pc, fine = filled, 0, True
        while fine:
            op, a, b = code[pc, 0], code[pc, 1], code[pc, 2]
            pc += 1
            if op in (MAYBE_TEXT, MAYBE_DOUBLE):
                if at >= end or (data[at] != 0 and data[at] != 2):
                    fine = False
                    break
                at += 1
                if data[at - 1] == 2 * b:
                    continue
                op = TEXT if op == MAYBE_TEXT else DOUBLE
            if op == TEXT:
                size, at = _varint(data, at, end)
                fine = at >= 0 and 0 <= size <= end - at and (a < 0 or size <= text_bytes_max)
                if not fine:
                    break
                digest, ascii_only = _hashed(data, at, size)
                fine = ascii_only or _is_utf8(data, at, at + size)
                if a >= 0:
                    into.begin[a, row] = at
                    into.size[a, row] = size
                    into.hash[a, row] = digest
                at += size
            elif op == INTEGER:
                value, at = _varint(data, at, end)
                fine = at >= 0
                if a >= 0:
                    integers[a, row] = value
                if b >= 0:
                    numbers[b, row] = float(value)
            elif op == DOUBLE:
                fine = at + 8 <= end
                if fine and a >= 0:
                    numbers[a, row] = real(data, at)
                at += 8
            elif op == END:
                fine = at == end
                break
            elif op == FLOAT:
                fine = at + 4 <= end
                if fine and a >= 0:
                    numbers[a, row] = short_real(data, at)
                at += 4
            elif op == UNION:
                index, at = _varint(data, at, end)
                fine = at >= 0 and 0 <= index < a
                if fine:
                    pc = program.jumps[b + index]
            elif op == JUMP:
                pc = a
            elif op == ITEMS:
                size, at = _varint(data, at, end)
                if at >= 0 and size < 0:
                    size = -size
                    value, at = _varint(data, at, end)  # bytes of the block, of no use here
                    fine = size > 0
                fine = fine and at >= 0 and size <= end - at
                if fine and size == 0:
                    pc = a
                left[b] = size
            elif op == AGAIN:
                left[b] -= 1
                pc = a if left[b] > 0 else code[pc - 1, 3]
            elif op == ITEM_REAL:
                item = np.nan
                if a == 0:
                    fine = at + 8 <= end
                    if fine:
                        item = real(data, at)
                    at += 8
                elif a == 1:
                    fine = at + 4 <= end
                    if fine:
                        item = short_real(data, at)
                    at += 4
                elif a == 2:
                    value, at = _varint(data, at, end)
                    item = float(value)
                    fine = at >= 0
                fine = fine and filled < len(into.items)
                if fine:
                    into.items[filled] = item
                    filled += 1
            elif op == BYTES:
                size, at = _varint(data, at, end)
                fine = at >= 0 and 0 <= size <= end - at
                at += size
            elif op == BOOLEAN:
                fine = at < end and data[at] < 2
                if fine and a >= 0:
                    numbers[a, row] = float(data[at])
                at += 1
            elif op == FIXED:
                fine = a <= end - at
                at += a
            elif op == ENUM:
                index, at = _varint(data, at, end)
                fine = at >= 0 and 0 <= index < a
                if b >= 0:
                    integers[b, row] = index
            elif op == SPAN:
                into.begin[a, row] = at
            elif op == SPAN_END:
                size = at - into.begin[a, row]
                digest, ascii_only = _hashed(data, into.begin[a, row], size)
                into.size[a, row] = size
                into.hash[a, row] = digest
            else:  # OTHER
                fine = False
        into.status[row] = READ if fine else LEFT
        filled = filled if fine else before
        into.items_at[0, row], into.items_at[1, row] = before, filled
    into.items_filled[0] = filled
