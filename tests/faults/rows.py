"""Chart records as rows that can be compared: to the last bit, and however the log was cut into steps.

Theory of operation
-------------------
A row's place is (partition, family, detector, offset, sample of the record there). What was said of it are columns of integers:
floats as their bits, so a NaN equals a NaN of the same bits and 0.0 is not -0.0; texts as numbers that `Names` gives to both
sides. Records carry no time of processing, so nothing has to be left out.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from actors.view.chains import SAMPLE_BITS, place_of
from schemas.charts import ChartBlock
from schemas.texts import Texts

_ROW = ("event_time_ms", "published_ms", "value", "lsl", "usl", "target")
_SAID = ("statistic", "centre", "lcl", "ucl", "signal", "valid")

Place = tuple[int, str, str]  # partition, family, detector; "" = the columns of the row itself


@dataclass(frozen=True)
class Table:
    """The rows of a place; n of them."""

    place: np.ndarray  # (n,) int64, offset and sample in one number (actors/view/chains.py)
    columns: tuple[np.ndarray, ...]  # (n,) or (n, q), integers: the bits of what was said

    def __len__(self) -> int:
        """Return the number of rows, n."""
        return len(self.place)

    def rows(self, which: np.ndarray) -> Table:
        """Return some of the rows: (n,) bool."""
        return Table(self.place[which], tuple(column[which] for column in self.columns))

    @property
    def values(self) -> np.ndarray:
        """The values of the rows themselves, (n,) float64; only of a place without a detector."""
        return self.columns[_ROW.index("value")].view(np.float64)


NONE = Table(np.zeros(0, np.int64), ())


class Names:
    """Numbers texts: the same text has the same number, for as long as this lives."""

    def __init__(self) -> None:
        self._numbers: dict[str, int] = {}

    def of(self, texts: Sequence[str]) -> np.ndarray:
        """Return (n,) int64."""
        if isinstance(texts, Texts):
            numbers: np.ndarray = self.of(texts.words)[texts.codes]
            return numbers
        return np.fromiter((self.one(text) for text in texts), np.int64, len(texts))

    def one(self, text: str) -> int:
        """Return the number of one text."""
        return self._numbers.setdefault(text, len(self._numbers))


def tables(blocks: Iterable[ChartBlock], names: Names) -> dict[Place, Table]:
    """Return the rows of every place, in the order of the blocks."""
    parts: dict[Place, list[Table]] = {}
    for block in blocks:
        place = block.partition, block.family
        texts = names.of(block.series_keys)[block.series], names.of(block.lot), names.of(block.wafer)
        stands = place_of(block)
        row = Table(stands, (*(_bits(getattr(block, name)) for name in _ROW), *texts))
        parts.setdefault((*place, ""), []).append(row)
        for name, said in block.detectors.items():
            of = np.full(len(block), names.one(f"{said.detector} {said.statistics} {said.rules}"))
            columns = (*(_bits(getattr(said, column)) for column in _SAID), of)
            parts.setdefault((*place, name), []).append(Table(stands, columns))
    return {place: _joined(of_place) for place, of_place in parts.items()}


def joined(first: Mapping[Place, Table], then: Mapping[Place, Table]) -> dict[Place, Table]:
    """Return the rows of both."""
    return {
        place: _joined([each[place] for each in (first, then) if place in each]) for place in first.keys() | then.keys()
    }


def split(rows: Mapping[Place, Table], end: int) -> tuple[dict[Place, Table], dict[Place, Table]]:
    """Return the rows before an offset, and the others."""
    before = {place: table.rows(table.place >> SAMPLE_BITS < end) for place, table in rows.items()}
    return before, {place: table.rows(table.place >> SAMPLE_BITS >= end) for place, table in rows.items()}


def _joined(parts: Sequence[Table]) -> Table:
    if len(parts) == 1:
        return parts[0]
    columns = zip(*(part.columns for part in parts), strict=True)
    return Table(np.concatenate([part.place for part in parts]), tuple(np.concatenate(column) for column in columns))


def _bits(column: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(column).view(np.int64) if column.dtype == np.float64 else column
