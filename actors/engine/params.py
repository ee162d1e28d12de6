"""What people have decided about series: limits, and how often they were changed, reset or corrected by an exclusion.

Theory of operation
-------------------
`ParamsTable` holds one PARAMS row per series (models/detector.py) for the detectors of a family. People change rows through the
control topic (actors/engine/control.py); the owner passes each change along with the step that it takes effect at. The rows are
state like a detector's: they go into the snapshot, and a replay makes the changes after it again, at the same offsets. Only
rows up to the last one that was ever changed are state; a partition that nobody touched has no page of this. Pages of an
older version are taken over by field name, and a field that they lack has its default: not given, or a count of 0.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

import numpy as np

from actors.engine.migration import by_name
from actors.engine.state import Page, StateTable
from models.detector import GIVEN, PARAMS, Column, new_params


class ParamsChange(NamedTuple):
    """One series' share of a change."""

    series: int  # code
    counter: str  # which of models.detector.COUNTERS it raises by one
    given: tuple[float, ...] | None  # the new values of GIVEN, NaN = not given; None: they stay as they are


class ParamsTable:
    """PARAMS of every series of a partition, for one family.

    >>> params = ParamsTable("spc")
    >>> params.reserve(3)
    >>> params.change([ParamsChange(1, "limits_version", (10.0, 1.0, 7.0, 13.0, 10.0)), ParamsChange(1, "resets", None)])
    >>> params.rows["mu"][:3].tolist(), params.rows["limits_version"][1], params.rows["resets"][1]
    ([nan, 10.0, nan], np.int64(1), np.int64(1))
    >>> [page.rows for page in params.table.take_dirty(seq=1)]
    [2]
    """

    def __init__(self, family: str) -> None:
        columns = {
            name: Column(PARAMS[name].str[1:], (), np.nan if name in GIVEN else 0) for name in PARAMS.names or ()
        }
        self.table = StateTable(family, f"params/{family}", columns)
        self.rows = new_params(0)  # (≥ series,) PARAMS: what detectors read

    def reserve(self, series: int) -> None:
        """Have a row for every series."""
        held = len(self.rows)
        if series > held:
            self.rows = np.concatenate([self.rows, new_params(max(series, 2 * held) - held)])

    def change(self, changes: Iterable[ParamsChange]) -> None:
        """Make changes, in order, of series that there is a row for."""
        for change in changes:
            code = change.series
            self.table.reserve(code + 1)
            row = self.rows[code]
            if change.given is not None:
                for name, value in zip(GIVEN, change.given, strict=True):
                    row[name] = value
            row[change.counter] += 1
            for name, array in self.table.arrays.items():
                array[code] = row[name]
            self.table.touch(np.array([code]))

    def restore(self, pages: Iterable[Page]) -> None:
        """Take over what the family's pages hold of this, those of another layout by field name. Raises StateError."""
        table = self.table
        mine = [page for page in pages if page.detector == table.detector]
        ours = [page for page in mine if page.layout == table.layout]
        for page in ours:
            table.restore(page)
        if not ours:
            by_name(table, mine)
        held = table.rows
        self.reserve(held)
        for name, array in table.arrays.items():
            self.rows[name][:held] = array[:held]
