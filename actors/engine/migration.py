"""State that was written in another layout or version: taken over by a declared function, or refused, never misread.

Theory of operation
-------------------
A page is keyed by the identity of its detector, "name@version-hash", and by its layout. When a partition is opened and a
detector has no page of its own, the pages of the same detector in another version are looked for: the same name, the same hash
of parameters, or an identity that the detector lists in `formerly`. The highest version comes first. Then:

| the detector | what happens |
|---|---|
| has `migrate` and it returns columns | they are its state from now on, and go out whole with the next snapshot |
| has `migrate` and it returns None | the next lower version is tried; after the last one: Phase I, reported |
| has no `migrate` | Phase I, reported |
| wrote the pages itself, in another layout, and cannot migrate them | StateError: the version should have been raised |
| has a `migrate` that raises, or returns what does not fit | StateError: nothing is lost, a corrected one finds the pages |

The pages that were not taken as they are, are deleted from the log by the snapshot that replaces them
(actors/engine/snapshot.py). Parameters that people gave (actors/engine/params.py) migrate by field name.

A book of alerts goes with the identity of its detector: the rules of another version are others. Its columns are ours and go by
name too, but bits and entries stand for rules by number. So a book of another number of rules in which alerts are open is refused
(StateError): nobody can say which rules they are of. One in which none is open is passed over: it holds nothing.

Rules of this file: a migration sees rows of a page, in any cut, and only those that are not as new; so it must treat each row by
itself, and new rows get the new fill.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from itertools import groupby
from typing import NamedTuple

import numpy as np

from actors.engine.state import Page, StateTable, array_of, rows_of
from actors.errors import StateError
from models.detector import Detector, Identity, identity


class Source(NamedTuple):
    """Pages that one version of a detector wrote in one layout."""

    detector: str
    layout: str
    pages: tuple[Page, ...]

    @property
    def version(self) -> int:
        """Return the version of the detector that wrote them."""
        return Identity.of(self.detector).version


def sources(detector: Detector, pages: Iterable[Page]) -> list[Source]:
    """Return pages that other versions of a detector wrote, the highest version first, of one version the newest first."""
    ours = Identity.of(identity(detector))
    formerly: tuple[str, ...] = getattr(detector, "formerly", ())

    def key(page: Page) -> tuple[str, str]:
        return page.detector, page.layout

    found = [page for page in pages if _akin(page.detector, ours, formerly)]
    grouped = [Source(*who, tuple(those)) for who, those in groupby(sorted(found, key=key), key)]
    return sorted(grouped, key=lambda s: (-s.version, -max(page.seq for page in s.pages), s.layout))


def _akin(other: str, ours: Identity, formerly: tuple[str, ...]) -> bool:
    if "/" in other:
        return False  # a book of alerts, or parameters
    found = Identity.of(other)
    return other in formerly or (found.name, found.parameters) == (ours.name, ours.parameters)


def take_over(table: StateTable, detector: Detector, pages: Iterable[Page]) -> str:
    """Fill a table from what another version wrote; return "" if that was done, else why there is no state.

    `pages`: all of the family. Raises StateError where going on would lose state by mistake.
    """
    found = sources(detector, pages)
    migrate = getattr(detector, "migrate", None)
    for source in found:
        if migrate is not None and _migrated(table, detector, source):
            return ""
        if source.detector == table.detector:
            raise StateError(
                f"{table.detector}: the state was written in layout {source.layout}, the detector has layout {table.layout} "
                "in the same version: raise its version, or declare how to `migrate` it"
            )
    if not found:
        return table.detector
    others = ", ".join(source.detector for source in found)
    why = "it has no `migrate`" if migrate is None else "its `migrate` refused"
    return f"{table.detector} (the state of {others} was not taken over: {why})"


def _migrated(table: StateTable, detector: Detector, source: Source) -> bool:
    """Let the detector migrate all pages of a source; False if it refuses the first."""
    what = f"{table.detector}: migrating the state of {source.detector}, layout {source.layout}"
    taken: list[tuple[np.ndarray, Mapping[str, np.ndarray]]] = []
    for page in source.pages:
        rows, old = rows_of(page), described(page)
        try:
            answer = detector.migrate(source.version, old)  # type: ignore[attr-defined]
        except Exception as error:
            raise StateError(f"{what}: page {page.page}: migrate raised {error!r}") from error
        if answer is None and not taken:
            return False
        if answer is None:
            raise StateError(f"{what}: migrate took some pages and refused page {page.page}")
        taken.append((rows, {name: _fitting(table, name, values, len(rows), what) for name, values in answer.items()}))
    for rows, columns in taken:
        table.put(rows, columns)
    return True


def described(page: Page) -> dict[str, np.ndarray]:
    """Return the columns of a page by its own description, (rows present, *shape) each, copies. Raises StateError without one."""
    rows = len(rows_of(page))
    found = {}
    for column in page.columns:
        if not column.dtype:
            raise StateError(
                f"page {page.page} of {page.detector} was written before pages said their layout: only its own layout, "
                f"{page.layout}, can be read"
            )
        found[column.name] = array_of(page, column, np.dtype(column.dtype), tuple(column.shape), rows).copy()
    return found


def _fitting(table: StateTable, name: str, values: np.ndarray, rows: int, what: str) -> np.ndarray:
    column = table.columns.get(name)
    if column is None:
        raise StateError(f"{what}: no column {name!r}; there are {', '.join(sorted(table.columns))}")
    values = np.asarray(values)
    if values.shape != (rows, *column.shape) or not np.can_cast(values.dtype, column.dtype, "same_kind"):
        raise StateError(
            f"{what}: {name} is {values.shape} {values.dtype}; it must be {(rows, *column.shape)} {column.dtype}"
        )
    return values.astype(column.dtype)


def by_name(table: StateTable, pages: Iterable[Page]) -> None:
    """Fill a table from pages of another layout by column name; a column that they lack keeps its fill.

    Raises StateError for a column that the table has not: a newer version wrote it.
    """
    for page in pages:
        what = f"{page.detector}: layout {page.layout}, not {table.layout}"
        rows, columns = rows_of(page), described(page)
        unknown = sorted(set(columns) - set(table.columns))
        if unknown:
            raise StateError(f"{what}: it has {', '.join(unknown)}: written by a newer version")
        table.put(rows, {name: _fitting(table, name, values, len(rows), what) for name, values in columns.items()})


def take_over_book(book: StateTable, pages: Iterable[Page]) -> None:
    """Fill a book of alerts from its pages of another layout. Raises StateError if alerts are open in them that do not fit it."""
    written = [page for page in pages if len(rows_of(page))]
    (rules,) = book.columns["clean"].shape
    for page in written:
        for column in page.columns:
            if column.name == "clean" and column.dtype and column.shape != (rules,):
                series = sum(len(rows_of(each)) for each in written)
                raise StateError(
                    f"{book.detector}: alerts of {series} series are open, and were written for {column.shape[0]} rules; the "
                    f"detector has {rules} in the same version: put its rules back as they were, or raise its version, in "
                    "which open alerts are not carried over"
                )
    by_name(book, written)
