"""State columns of one detector on one partition, and the pages they travel in.

Theory of operation
-------------------
A `StateTable` holds one array per state column, one row per series. Rows are grouped into pages of at most `PAGE_BYTES`. A step
marks the pages it touched; a snapshot copies the dirty ones out, and only those. A page names its layout (a hash of column
names, dtypes and shapes), so that bytes are never read as another layout than they were written in.

Rules of this file: arrays grow, they never shrink; a page is written whole; bytes are little-endian.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from actors.errors import ConfigError, StateError
from models.detector import Column

PAGE_BYTES = 256 * 1024  # at most; far below a broker's default of 1 MiB a record


class Page(NamedTuple):
    """Some rows of all columns of one table, as of step `seq`."""

    family: str
    detector: str  # identity of the detector; "alerts/" + identity for its alert book
    layout: str
    page: int
    first_row: int
    rows: int
    seq: int
    columns: tuple[tuple[str, bytes], ...]


def layout_hash(columns: Mapping[str, Column]) -> str:
    """Return a hash of column names, dtypes, shapes and fills: another layout is another hash."""
    canonical = json.dumps([[name, *column] for name, column in sorted(columns.items())])
    return hashlib.blake2b(canonical.encode(), digest_size=6).hexdigest()


class StateTable:
    """State columns of one detector on one partition.

    >>> table = StateTable("spc", "ewma@1-ab", {"z": Column("f8", fill=1.5)})
    >>> table.reserve(3)
    >>> table.arrays["z"][:3]
    array([1.5, 1.5, 1.5])
    >>> table.touch(np.array([1]))
    >>> [page.rows for page in table.take_dirty(seq=7)], table.take_dirty(seq=8)
    ([3], [])
    """

    def __init__(self, family: str, detector: str, columns: Mapping[str, Column]) -> None:
        self.family = family
        self.detector = detector
        self.columns = dict(columns)
        self.layout = layout_hash(columns)
        self.rows = 0
        self.arrays = {name: np.empty((0, *column.shape), column.dtype) for name, column in columns.items()}
        self.row_bytes = sum(array.itemsize * int(np.prod(array.shape[1:])) for array in self.arrays.values())
        if self.row_bytes > PAGE_BYTES:
            raise ConfigError(f"{detector}: state of {self.row_bytes} bytes per series; the limit is {PAGE_BYTES}")
        self.rows_per_page = max(1, PAGE_BYTES // max(1, self.row_bytes))
        self._dirty = np.zeros(0, np.bool_)

    def reserve(self, rows: int) -> None:
        """Have at least `rows` rows; new ones hold each column's fill."""
        if rows <= self.rows:
            return
        capacity = max((len(array) for array in self.arrays.values()), default=0)
        if rows > capacity:
            capacity = max(rows, 2 * capacity, 64)
            for name, column in self.columns.items():
                grown = np.full((capacity, *column.shape), column.fill, column.dtype)
                grown[: self.rows] = self.arrays[name][: self.rows]
                self.arrays[name] = grown
            dirty = np.zeros(-(-capacity // self.rows_per_page), np.bool_)
            dirty[: len(self._dirty)] = self._dirty
            self._dirty = dirty
        self._dirty[self.rows // self.rows_per_page : (rows - 1) // self.rows_per_page + 1] = True
        self.rows = rows

    def touch(self, rows: np.ndarray) -> None:
        """Mark the pages of these rows dirty."""
        self._dirty[rows // self.rows_per_page] = True

    def take_dirty(self, seq: int) -> list[Page]:
        """Copy the dirty pages out, as of step `seq`, and mark them clean."""
        pages = []
        for number in np.flatnonzero(self._dirty).tolist():
            first = number * self.rows_per_page
            last = min(first + self.rows_per_page, self.rows)
            columns = tuple((name, array[first:last].tobytes()) for name, array in sorted(self.arrays.items()))
            pages.append(Page(self.family, self.detector, self.layout, number, first, last - first, seq, columns))
        self._dirty[:] = False
        return pages

    def restore(self, page: Page) -> None:
        """Put a page back. Raises StateError if it is not of this table's layout or does not fit it."""
        if (page.detector, page.layout) != (self.detector, self.layout):
            raise StateError(
                f"page of {page.detector} layout {page.layout} is not of {self.detector} layout {self.layout}"
            )
        if page.first_row != page.page * self.rows_per_page:
            raise StateError(f"page {page.page} of {page.detector} starts at row {page.first_row}: another page size")
        self.reserve(page.first_row + page.rows)
        for name, data in page.columns:
            array = self.arrays[name]
            expected = page.rows * array.itemsize * int(np.prod(array.shape[1:]))
            if len(data) != expected:
                raise StateError(
                    f"page {page.page} of {page.detector}: column {name} has {len(data)} bytes, not {expected}"
                )
            target = array[page.first_row : page.first_row + page.rows]
            target[...] = np.frombuffer(data, array.dtype).reshape(target.shape)
        self._dirty[page.page] = False
