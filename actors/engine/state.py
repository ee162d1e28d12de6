"""State columns of one detector on one partition, and the pages they travel in.

Theory of operation
-------------------
A `StateTable` holds one array per state column, one row per series. Rows are grouped into pages of at most `PAGE_BYTES`. A step
marks the pages it touched; a snapshot copies the dirty ones out, and only those.

A page leaves out the rows that are as a new series has them: `present` says which rows it has. A book of alerts is such rows
nearly everywhere, and a detector of a few series has no more than theirs.

A page names its layout (a hash of column names, dtypes and shapes), so that bytes are never read as another layout than they
were written in; and it carries dtype and shape of each column, so that a newer version can read what an older one wrote and
hand it to the detector's `migrate` (actors/engine/migration.py).

Rules of this file: arrays grow, they never shrink; a page is written whole; bytes are little-endian.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping
from typing import Literal, NamedTuple

import numpy as np

from actors.errors import ConfigError, StateError
from models.detector import Column

PAGE_BYTES = 256 * 1024  # at most; far below a broker's default of 1 MiB a record
SERIES_BYTES_MAX = PAGE_BYTES  # state of one series in one detector: it has to fit a page
_BITS: Literal["little"] = "little"  # row i of a page is bit i % 8 of byte i // 8


class PageColumn(NamedTuple):
    """Rows of one state column, C order, little-endian; dtype and shape per series, "" in pages of versions before 0.3."""

    name: str
    data: bytes
    dtype: str = ""
    shape: tuple[int, ...] = ()


class Page(NamedTuple):
    """Some rows of all columns of one table, as of step `seq`."""

    family: str
    detector: str  # identity of the detector; "alerts/" + identity for its alert book; "params/" + family
    layout: str
    page: int
    first_row: int
    rows: int
    seq: int
    columns: tuple[PageColumn, ...]
    present: bytes = b""  # a bit per row: the columns hold it; rows without are as new. Empty: all rows

    @property
    def size(self) -> int:
        """Return the bytes that its columns take."""
        return len(self.present) + sum(len(column.data) for column in self.columns)


def layout_hash(columns: Mapping[str, Column]) -> str:
    """Return a hash of column names, dtypes, shapes and fills: another layout is another hash."""
    canonical = json.dumps([[name, *column] for name, column in sorted(columns.items())])
    return hashlib.blake2b(canonical.encode(), digest_size=6).hexdigest()


def series_bytes(detector: str, columns: Mapping[str, Column]) -> int:
    """Return the bytes that one series takes in these columns. Raises ConfigError if that does not fit a page.

    >>> series_bytes("ewma@1-ab", {"z": Column("f8"), "ring": Column("i4", (3,))})
    20
    """
    sizes = {name: np.dtype(c.dtype).itemsize * math.prod(c.shape) for name, c in columns.items()}
    total = sum(sizes.values())
    if total > SERIES_BYTES_MAX:
        largest = max(sizes, key=sizes.__getitem__)
        raise ConfigError(
            f"{detector}: a series takes {total:,} bytes of state, {sizes[largest]:,} of them in column {largest} "
            f"{columns[largest].shape}; the limit is {SERIES_BYTES_MAX:,} (SERIES_BYTES_MAX): choose parameters with which "
            "it keeps less of each series, such as a shorter window, or fewer characteristics in a vector"
        )
    return total


def rows_of(page: Page) -> np.ndarray:
    """Return which rows of the table a page has, (k,) int64. Raises StateError if it says so of more rows than it covers."""
    if not page.present:
        return np.arange(page.first_row, page.first_row + page.rows)
    flags = np.unpackbits(np.frombuffer(page.present, np.uint8), bitorder=_BITS)
    if len(flags) != -(-page.rows // 8) * 8 or flags[page.rows :].any():
        raise StateError(
            f"page {page.page} of {page.detector}: {len(page.present)} bytes say which of {page.rows} rows it has"
        )
    return page.first_row + np.flatnonzero(flags)


def array_of(page: Page, column: PageColumn, dtype: np.dtype, shape: tuple[int, ...], rows: int) -> np.ndarray:
    """Return `rows` rows of a column, (rows, *shape), read-only. Raises StateError if the bytes are not as many."""
    expected = rows * dtype.itemsize * int(np.prod(shape, dtype=np.int64))
    if len(column.data) != expected:
        raise StateError(
            f"page {page.page} of {page.detector}: column {column.name} has {len(column.data)} bytes, not {expected}"
        )
    return np.frombuffer(column.data, dtype).reshape(rows, *shape)


class StateTable:
    """State columns of one detector on one partition. `eager`: a page of new rows only is written too.

    >>> table = StateTable("spc", "ewma@1-ab", {"z": Column("f8", fill=1.5)})
    >>> table.reserve(3)
    >>> table.arrays["z"][:3]
    array([1.5, 1.5, 1.5])
    >>> table.arrays["z"][1] = 2.0
    >>> table.touch(np.array([1]))
    >>> [(page.rows, page.present) for page in table.take_dirty(seq=7)], table.take_dirty(seq=8)
    ([(3, b'\\x02')], [])
    """

    def __init__(self, family: str, detector: str, columns: Mapping[str, Column], *, eager: bool = True) -> None:
        self.family = family
        self.detector = detector
        self.columns = dict(columns)
        self.layout = layout_hash(columns)
        self.rows = 0
        self.arrays = {name: np.empty((0, *column.shape), column.dtype) for name, column in columns.items()}
        self.row_bytes = series_bytes(detector, columns)
        self.rows_per_page = max(1, PAGE_BYTES // max(1, self.row_bytes))
        self._eager = eager
        self._dirty = np.zeros(0, np.bool_)
        self._used = np.zeros(0, np.bool_)  # pages whose rows may be other than new

    def reserve(self, rows: int) -> None:
        """Have at least `rows` rows; new ones hold each column's fill."""
        if rows <= self.rows:
            return
        capacity = max((len(array) for array in self.arrays.values()), default=0)
        if rows > capacity:
            self._grow(max(rows, 2 * capacity, 64))
        if self._eager:
            self._dirty[self.rows // self.rows_per_page : (rows - 1) // self.rows_per_page + 1] = True
        self.rows = rows

    def _grow(self, capacity: int) -> None:
        """Make room; only pages in use are copied, so that what was never written costs no memory."""
        used = np.flatnonzero(self._used).tolist()
        for name, column in self.columns.items():
            old, grown = self.arrays[name], _filled(capacity, column)
            for page in used:
                rows = slice(page * self.rows_per_page, (page + 1) * self.rows_per_page)
                part = old[rows]
                grown[rows][: len(part)] = part
            self.arrays[name] = grown
        pages = -(-capacity // self.rows_per_page)
        self._dirty, self._used = (
            np.concatenate([f, np.zeros(pages - len(f), np.bool_)]) for f in (self._dirty, self._used)
        )

    def touch(self, rows: np.ndarray) -> None:
        """Mark the pages of these rows dirty."""
        pages = rows // self.rows_per_page
        self._dirty[pages] = True
        self._used[pages] = True

    def take_dirty(self, seq: int) -> list[Page]:
        """Copy the dirty pages out, as of step `seq`, and mark them clean."""
        pages = []
        for number in np.flatnonzero(self._dirty).tolist():
            first = number * self.rows_per_page
            last = min(first + self.rows_per_page, self.rows)
            parts = {name: array[first:last] for name, array in sorted(self.arrays.items())}
            present = b""
            changed = self._changed(parts, last - first, used=bool(self._used[number]))
            if not changed.all():
                present = np.packbits(changed, bitorder=_BITS).tobytes()
                parts = {name: part[changed] for name, part in parts.items()}
            columns = tuple(
                PageColumn(name, part.tobytes(), self.columns[name].dtype, self.columns[name].shape)
                for name, part in parts.items()
            )
            pages.append(
                Page(self.family, self.detector, self.layout, number, first, last - first, seq, columns, present)
            )
        self._dirty[:] = False
        return pages

    def _changed(self, parts: Mapping[str, np.ndarray], rows: int, *, used: bool) -> np.ndarray:
        """Return which rows differ from new ones, bit for bit, (rows,) bool."""
        changed = np.zeros(rows, np.bool_)
        for name, part in parts.items() if used else ():
            unit = np.dtype(f"u{part.itemsize}") if part.itemsize in (1, 2, 4, 8) else np.dtype("u1")
            new = np.full(1, self.columns[name].fill, part.dtype)
            if part.size:
                wide = part.reshape(rows, -1).view(unit)
                changed |= (wide != np.resize(new.view(unit), wide.shape[1])).any(axis=1)
            if changed.all():
                break
        return changed

    def restore(self, page: Page) -> None:
        """Put a page back. Raises StateError if it is not of this table's layout or does not fit it."""
        if (page.detector, page.layout) != (self.detector, self.layout):
            raise StateError(
                f"page of {page.detector} layout {page.layout} is not of {self.detector} layout {self.layout}"
            )
        if page.first_row != page.page * self.rows_per_page:
            raise StateError(f"page {page.page} of {page.detector} starts at row {page.first_row}: another page size")
        rows = rows_of(page)
        if page.rows > self.rows_per_page or {column.name for column in page.columns} != set(self.columns):
            raise StateError(f"page {page.page} of {page.detector}: its rows or columns are not those of its layout")
        self.reserve(page.first_row + page.rows)
        where = slice(page.first_row, page.first_row + page.rows) if len(rows) == page.rows else rows
        for column in page.columns:
            array = self.arrays[column.name]
            array[where] = array_of(page, column, array.dtype, array.shape[1:], len(rows))
        self._dirty[page.page] = False
        self._used[page.page] = True

    def put(self, rows: np.ndarray, columns: Mapping[str, np.ndarray]) -> None:
        """Write rows, (k,) and (k, *shape) each, that came from elsewhere: they are dirty."""
        self.reserve(int(rows.max(initial=-1)) + 1)
        for name, values in columns.items():
            self.arrays[name][rows] = values
        self.touch(rows)


def _filled(rows: int, column: Column) -> np.ndarray:
    """Return rows as new; where the fill is 0 they take no memory before they are written."""
    if not np.full(1, column.fill, column.dtype).view(np.uint8).any():
        return np.zeros((rows, *column.shape), column.dtype)
    return np.full((rows, *column.shape), column.fill, column.dtype)
