"""One detector on one partition: the series it judges, its state, its book of alerts.

Theory of operation
-------------------
An `Assignment` says which detector judges which series. A `Judge` is an assignment on a partition. It picks the rows of its
series out of a step, lets the detector advance, and puts the verdicts back beside all rows of the step, so that a chart record
stays one table; rows of other series are not valid there. A detector for all series is handed the step as it is.

Whether a series is one of the judge's depends on its key alone, so a replay picks the same rows.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from fnmatch import fnmatchcase
from typing import NamedTuple

import numpy as np

from actors.engine import alerts
from actors.engine.migration import take_over, take_over_book
from actors.engine.share import EVERY_SERIES, Share
from actors.engine.state import Page, StateTable, series_bytes
from actors.errors import ConfigError
from models.detector import Detector, SeriesBatch, Verdicts, dimension, identity, read_only

EVERY = ("*",)
BOOK = "alerts/"  # and the identity of the detector: whose pages a book's are


class Assignment(NamedTuple):
    """A detector, and the series it judges: those whose key matches one of the patterns, with `*` and `?` for any text."""

    detector: Detector
    series: tuple[str, ...] = EVERY
    label: str = ""  # what charts call it; its name unless said otherwise
    share: Share = (
        EVERY_SERIES  # of these series, whose verdicts go where the pipeline writes; the others' go to its `rest`
    )

    @property
    def name(self) -> str:
        """Return what charts call it."""
        return self.label or self.detector.name


def matches(key: str, patterns: Iterable[str]) -> bool:
    """Say whether a series' key is one of those that patterns name.

    >>> matches("E1|A|R|10|cd", ["E1|*"]), matches("E1|A|R|10|cd", ["cd", "E2|*"])
    (True, False)
    """
    return any(fnmatchcase(key, pattern) for pattern in patterns)


def assigned(detectors: Iterable[Detector | Assignment]) -> tuple[Assignment, ...]:
    """Return assignments; a detector alone judges every series. Raises ConfigError for what a family cannot hold."""
    found = tuple(each if isinstance(each, Assignment) else Assignment(each) for each in detectors)
    for what, names in (
        ("detector", [identity(each.detector) for each in found]),
        ("label", [each.name for each in found]),
    ):
        twice = {name for name in names if names.count(name) > 1}
        if twice:
            raise ConfigError(
                f"{what} {', '.join(sorted(twice))} stands twice in a family: join the series, or give labels"
            )
    sizes = {dimension(each.detector) for each in found}
    if len(sizes) > 1:
        raise ConfigError(
            f"detectors of a family judge the same values; these judge vectors of {sizes} (None: single values)"
        )
    if len({each.share for each in found}) > 1:
        raise ConfigError("detectors of a family speak of the same share of the series")
    for each in found:
        try:
            alerts.check_rules(each.detector)
        except ValueError as error:
            raise ConfigError(str(error)) from error
        whose = identity(each.detector)
        series_bytes(whose, each.detector.state)
        series_bytes(BOOK + whose, alerts.alert_columns(len(each.detector.rules)))
    return found


class Judged(NamedTuple):
    """What a detector says of one step."""

    verdicts: Verdicts | None  # of every row of the step; None: no row is of its series
    changes: alerts.Transitions
    details: list[str]  # of each, what the detector says of the row that opened it; "" = nothing


class Judge:
    """A detector on one partition."""

    def __init__(self, family: str, assignment: Assignment) -> None:
        self.detector = assignment.detector
        self.name = assignment.name
        self.identity = identity(self.detector)
        self.table = StateTable(family, self.identity, self.detector.state)
        columns = alerts.alert_columns(len(self.detector.rules))
        self.book = StateTable(family, BOOK + self.identity, columns, eager=False)
        self._patterns = assignment.series
        self._ours = np.zeros(0, np.bool_)  # (≥ series,) unused where all series are judged
        self._series = 0

    def grow(self, new_series: Sequence[str], rows: int) -> None:
        """Have state for every series."""
        self.table.reserve(rows)
        self.book.reserve(rows)
        if self._patterns == EVERY:
            return
        if rows > len(self._ours):
            wider = np.zeros(max(rows, 2 * len(self._ours)), np.bool_)
            wider[: self._series] = self._ours[: self._series]
            self._ours = wider
        self._ours[self._series : rows] = [self.judges(key) for key in new_series]
        self._series = rows

    def restore(self, pages: Sequence[Page]) -> str:
        """Put state and book back from the family's pages; return "" if there is state, else the identity and why there is none.

        A book is taken over from the same version only: the rules of another are others. Raises StateError.
        """
        if not _put_back(self.book, pages):
            take_over_book(self.book, [page for page in pages if page.detector == self.book.detector])
        return "" if _put_back(self.table, pages) else take_over(self.table, self.detector, pages)

    def judges(self, key: str) -> bool:
        """Say whether a series is one of this detector's."""
        return matches(key, self._patterns)

    def step(self, seen: SeriesBatch, clean_rows: int, sample: np.ndarray | None = None) -> Judged:
        """Advance state and book by one batch; sample: which of its record each row is, if not all are the first.

        Raises whatever the detector raises, and ValueError for a wrong form.
        """
        at = None if self._patterns == EVERY else np.flatnonzero(self._ours[seen.row])
        if at is not None and len(at) == len(seen):
            at = None
        ours = seen if at is None else _rows(seen, at)
        if not len(ours) and len(seen):
            return Judged(None, alerts.NONE, [])
        verdicts = checked(self.detector, self.detector.update(self.table.arrays, ours), len(ours))
        self.table.touch(ours.row)
        single = ours if ours.value.ndim == 1 else replace(ours, value=measured(ours.value))
        self.book.touch(ours.row[(verdicts.signal != 0) | (self.book.arrays["open"][ours.row] != 0)])
        which = sample if sample is None or at is None else sample[at]
        changes = alerts.advance(self.book.arrays, self.detector.rules, single, verdicts, clean_rows, which)
        details = self._explained(changes, ours)
        if at is None:
            return Judged(verdicts, changes, details)
        return Judged(_beside(verdicts, at, len(seen)), replace(changes, at=at[changes.at]), details)

    def _explained(self, changes: alerts.Transitions, ours: SeriesBatch) -> list[str]:
        explain = getattr(self.detector, "explain", None)
        if explain is None:
            return [""] * len(changes)
        rows = zip(changes.opened.tolist(), changes.at.tolist(), strict=True)
        return [str(explain(self.table.arrays, ours, row)) if opened else "" for opened, row in rows]


def measured(value: np.ndarray) -> np.ndarray:
    """Return how many entries of each vector are there, (n,) float64, NaN where none is: it stands for a vector as a number."""
    found: np.ndarray = np.isfinite(value).sum(axis=1).astype(np.float64)
    found[found == 0] = np.nan
    read_only(found)
    return found


def checked(detector: Detector, said: Verdicts, n: int) -> Verdicts:
    """Return the verdicts as the engine reads them; raise if they are not what the contract says, before anything reads them."""
    q = len(detector.statistics)
    if said.statistic.shape != (n, q) or said.signal.shape != (n,) or said.valid.shape != (n,):
        shapes = [np.shape(part) for part in said]
        raise ValueError(f"{detector.name} returned shapes {shapes} for {n} rows and {q} statistics")
    if said.signal.dtype != np.uint32 or said.valid.dtype != np.bool_:
        raise ValueError(f"{detector.name}: signal must be uint32 and valid bool")
    wide = [np.ascontiguousarray(np.broadcast_to(np.asarray(part, np.float64), (n, q))) for part in said[:4]]
    return Verdicts(wide[0], wide[1], wide[2], wide[3], said.signal, said.valid)


def _put_back(table: StateTable, pages: Sequence[Page]) -> bool:
    """Restore the pages that the table wrote, in its own layout; say whether there are any."""
    ours = [page for page in pages if (page.detector, page.layout) == (table.detector, table.layout)]
    for page in ours:
        table.restore(page)
    return bool(ours)


def _rows(seen: SeriesBatch, at: np.ndarray) -> SeriesBatch:
    """Return some rows of a batch, in order, read-only as the whole."""
    part = {name: getattr(seen, name)[at] for name in ("row", "offset", "event_time_ms", "value", "subgroup")}
    columns = {name: column[at] for name, column in seen.columns.items()}
    read_only(*part.values(), *columns.values())
    return SeriesBatch(**part, params=seen.params, columns=columns)


def _beside(verdicts: Verdicts, at: np.ndarray, n: int) -> Verdicts:
    """Spread verdicts of the rows `at` over n rows; the others are not valid."""
    wide = []
    for part in verdicts[:4]:
        spread = np.full((n, part.shape[1]), np.nan)
        spread[at] = part
        wide.append(spread)
    signal, valid = np.zeros(n, np.uint32), np.zeros(n, np.bool_)
    signal[at], valid[at] = verdicts.signal, verdicts.valid
    return Verdicts(wide[0], wide[1], wide[2], wide[3], signal, valid)
