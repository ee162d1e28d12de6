"""Stable codes for texts: the same bytes, the same code, without a Python object per record.

An `Index` is a hash table over bytes in one arena (open addressing, at most half full), looked into by a kernel. What it does not
find is the caller's to name, once: `find` says -1, the caller makes of the bytes what it wants and gives it a code with `add`.
Equal hashes are never taken for equal bytes: whoever writes a record could choose bytes with equal hashes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple
from weakref import WeakKeyDictionary

import numpy as np

from schemas.batch import SeriesDictionary, series_key
from schemas.columnar.rows import Buffer, Columns
from schemas.kernel import kernel, word
from schemas.texts import Distinct, Texts, with_room

UNKNOWN = -1
_FIRST_ROOM = 256
NAMES_MAX = 65_536  # texts of a `Names`, after which it begins anew: lots come and go
NAMES_BYTES_MAX = 16 * 1024 * 1024  # of them, likewise


class Table(NamedTuple):
    """Keys by number, in the order in which they were added."""

    slots: np.ndarray  # (2^k,) int32, number of the key that stands there, UNKNOWN where none does
    hash: np.ndarray  # uint64
    begin: np.ndarray  # int64, in arena
    size: np.ndarray  # (n, parts) int32, bytes of each part
    code: np.ndarray  # int64
    arena: np.ndarray  # uint8: all keys, one after the other, and 8 bytes more


class Index:
    """Bytes of `parts` texts together → code. A key whose parts have other lengths is another key."""

    def __init__(self, parts: int) -> None:
        self._parts = parts
        self.clear()

    def clear(self) -> None:
        """Forget all."""
        self._count = 0
        self._filled = 0
        self._table = Table(
            np.full(2 * _FIRST_ROOM, UNKNOWN, np.int32),
            np.zeros(_FIRST_ROOM, np.uint64),
            np.zeros(_FIRST_ROOM, np.int64),
            np.zeros((_FIRST_ROOM, self._parts), np.int32),
            np.zeros(_FIRST_ROOM, np.int64),
            np.zeros(64 * _FIRST_ROOM, np.uint8),
        )

    def __len__(self) -> int:
        """Return how many keys it has."""
        return self._count

    @property
    def bytes_filled(self) -> int:
        """Return how many bytes its keys have."""
        return self._filled

    def find(self, buffer: Buffer, columns: Columns, parts: Sequence[int], rows: np.ndarray) -> np.ndarray:
        """Return (len(rows),) int64: the code of each of these records' key, UNKNOWN where it has none.

        parts: which of the columns of texts make up the key.
        """
        codes = np.empty(len(rows), np.int64)
        with np.errstate(over="ignore"):
            _find(buffer.bytes, columns, np.array(parts, np.int64), rows, self._table, codes)
        return codes

    def distinct(
        self, buffer: Buffer, columns: Columns, parts: Sequence[int], rows: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """Return the first of these records with each key, in their order; and (len(rows),) int64, which of them each one is."""
        seen = Index(self._parts)
        seen.add(buffer, columns, parts, rows, np.arange(len(rows)))
        first, which = np.unique(seen.find(buffer, columns, parts, rows), return_inverse=True)
        return rows[first], which

    def add(self, buffer: Buffer, columns: Columns, parts: Sequence[int], rows: np.ndarray, codes: np.ndarray) -> None:
        """Give the keys of these records these codes (int64); one that is there already keeps its own."""
        which = np.array(parts, np.int64)
        self.make_room(len(rows), int(columns.size[which][:, rows].sum()))
        with np.errstate(over="ignore"):
            counts = _add(buffer.bytes, columns, which, rows, codes, self._table, self._count, self._filled)
        self._count, self._filled = counts

    def make_room(self, keys: int, size: int) -> None:
        """Have room for so many keys more, of so many bytes together."""
        table, wanted = self._table, self._count + keys
        if wanted > len(table.hash):
            room = max(wanted, 2 * len(table.hash))
            by_key = {name: with_room(getattr(table, name), room) for name in ("hash", "begin", "size", "code")}
            slots = np.full(1 << (2 * room - 1).bit_length(), UNKNOWN, np.int32)
            _fill(slots, table.hash, self._count)
            table = table._replace(slots=slots, **by_key)
        self._table = table._replace(arena=with_room(table.arena, self._filled + size + 8))


class Names:
    """A column of texts → what is made of each text, once."""

    def __init__(self, make: Callable[[bytes], object], dtype: Any) -> None:
        self.made = np.empty(0, dtype)  # by code
        self._make = make
        self._index = Index(1)

    def column(self, buffer: Buffer, columns: Columns, part: int, rows: np.ndarray) -> np.ndarray:
        """Return (len(rows),): what was made of the text of each of these records; of b"" where it has none."""
        codes = self.codes(buffer, columns, part, rows)
        column: np.ndarray = self.made[codes]
        return column

    def codes(self, buffer: Buffer, columns: Columns, part: int, rows: np.ndarray) -> np.ndarray:
        """Return (len(rows),) int64, where in `made` it stands. Good until the next call."""
        if len(self._index) > NAMES_MAX or self._index.bytes_filled > NAMES_BYTES_MAX:
            self._index.clear()
            self.made = self.made[:0]
        codes = self._index.find(buffer, columns, (part,), rows)
        new = np.flatnonzero(codes == UNKNOWN)
        if len(new):
            first, inverse = self._index.distinct(buffer, columns, (part,), rows[new])
            made: Any = np.empty(len(first), self.made.dtype)
            made[:] = [self._make(bytes_of(buffer, columns, part, row)) for row in first.tolist()]
            codes[new] = len(self.made) + inverse
            self._index.add(buffer, columns, (part,), first, np.arange(len(first)) + len(self.made))
            self.made = np.concatenate([self.made, made])
        return codes


class TextColumn:
    """A column of texts → Texts."""

    def __init__(self) -> None:
        self._words = Names(bytes.decode, object)
        self._distinct = Distinct()

    def column(self, buffer: Buffer, columns: Columns, part: int, rows: np.ndarray) -> Texts:
        """Return the text of each of these records, "" where it has none."""
        codes = self._words.codes(buffer, columns, part, rows)
        found, which = self._distinct.of(codes, len(self._words.made))
        return Texts(which, self._words.made[found].tolist())


class SeriesCodes:
    """Series keys → codes of a partition's SeriesDictionary. `key`: which columns of texts are the parts of a key."""

    def __init__(self, key: Sequence[int]) -> None:
        self._key = key
        self._indexes: WeakKeyDictionary[SeriesDictionary, Index] = WeakKeyDictionary()

    def column(self, buffer: Buffer, columns: Columns, rows: np.ndarray, series: SeriesDictionary) -> np.ndarray:
        """Return (len(rows),) int64, the codes of these records; new ones in this order, -1 where the dictionary is full."""
        index = self._indexes.get(series)
        if index is None:
            index = self._indexes[series] = Index(len(self._key))
        codes = index.find(buffer, columns, self._key, rows)
        new = np.flatnonzero(codes == UNKNOWN)
        if len(new):
            first, inverse = index.distinct(buffer, columns, self._key, rows[new])
            parts = [[bytes_of(buffer, columns, part, row).decode() for part in self._key] for row in first.tolist()]
            given = np.array([series.code(series_key(*of_one)) for of_one in parts], np.int64)
            codes[new] = given[inverse]
            index.add(buffer, columns, self._key, first[given >= 0], given[given >= 0])
        return codes


def bytes_of(buffer: Buffer, columns: Columns, part: int, row: int) -> bytes:
    """Return a text of a record, b"" where it has none."""
    at = int(columns.begin[part, row])
    return buffer.bytes[at : at + int(columns.size[part, row])].tobytes()


@kernel(inline=True)
def _key_hash(columns: Columns, which: np.ndarray, row: int) -> np.uint64:
    digest = np.uint64(len(which))
    for part in which:
        digest = (digest ^ columns.hash[part, row]) * np.uint64(0xC2B2AE3D27D4EB4F)
        digest ^= (digest >> np.uint64(29)) ^ np.uint64(columns.size[part, row])
    return digest


@kernel(inline=True)
def _equal(data: np.ndarray, at: int, arena: np.ndarray, where: int, size: int) -> Any:
    """Say whether these bytes are the same; behind both are 8 more at least."""
    i = 0
    while i + 8 <= size:
        if word(data, at + i) != word(arena, where + i):
            return False
        i += 8
    if i < size:
        kept = (np.uint64(1) << np.uint64(8 * (size - i))) - np.uint64(1)
        return (word(data, at + i) ^ word(arena, where + i)) & kept == np.uint64(0)
    return True


@kernel(inline=True)
def _is_as(data: np.ndarray, columns: Columns, which: np.ndarray, row: int, other: int) -> Any:
    """Say whether two records have the same key."""
    for k in range(len(which) - 1, -1, -1):  # the last part of a series key differs first
        part = which[k]
        size = columns.size[part, row]
        if columns.hash[part, row] != columns.hash[part, other] or size != columns.size[part, other]:
            return False
        if not _equal(data, columns.begin[part, row], data, columns.begin[part, other], size):
            return False
    return True


@kernel
def _slot_of(data: np.ndarray, columns: Columns, which: np.ndarray, row: int, digest: np.uint64, table: Table) -> Any:
    """Return the slot of a record's key, or the free one where it belongs."""
    last = np.uint64(len(table.slots) - 1)
    slot = np.int64(digest & last)
    while True:
        key = table.slots[slot]
        if key < 0:
            return slot
        if table.hash[key] == digest:
            same, where = True, table.begin[key]
            for k in range(len(which)):
                size = columns.size[which[k], row]
                same = same and size == table.size[key, k]
                same = same and _equal(data, columns.begin[which[k], row], table.arena, where, size)
                where += size
            if same:
                return slot
        slot = (slot + 1) & np.int64(last)


@kernel
def _find(
    data: np.ndarray, columns: Columns, which: np.ndarray, rows: np.ndarray, table: Table, codes: np.ndarray
) -> None:
    for k in range(len(rows)):
        if k > 0 and _is_as(data, columns, which, rows[k], rows[k - 1]):  # lots and wafers come in runs
            codes[k] = codes[k - 1]
            continue
        digest = _key_hash(columns, which, rows[k])
        key = table.slots[_slot_of(data, columns, which, rows[k], digest, table)]
        codes[k] = table.code[key] if key >= 0 else UNKNOWN


@kernel
def _add(
    data: np.ndarray,
    columns: Columns,
    which: np.ndarray,
    rows: np.ndarray,
    codes: np.ndarray,
    table: Table,
    count: int,
    filled: int,
) -> tuple[int, int]:
    for k in range(len(rows)):
        row = rows[k]
        digest = _key_hash(columns, which, row)
        slot = _slot_of(data, columns, which, row, digest, table)
        if table.slots[slot] >= 0:
            continue
        table.slots[slot] = count
        table.hash[count], table.begin[count], table.code[count] = digest, filled, codes[k]
        for i in range(len(which)):
            at, size = columns.begin[which[i], row], columns.size[which[i], row]
            table.size[count, i] = size
            table.arena[filled : filled + size] = data[at : at + size]
            filled += size
        count += 1
    return count, filled


@kernel
def _fill(slots: np.ndarray, key_hashes: np.ndarray, count: int) -> None:
    last = np.uint64(len(slots) - 1)
    for key in range(count):
        slot = np.int64(key_hashes[key] & last)
        while slots[slot] >= 0:
            slot = (slot + 1) & np.int64(last)
        slots[slot] = key
