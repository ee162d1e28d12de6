"""The newest points of every series, in columns that are allocated once.

Theory of operation
-------------------
A series has a slot. Every column is one flat array of `series_max × points_max` rows; slot s owns rows s·P … s·P + P − 1 and uses
them as a ring. A block of n rows is scattered with a handful of numpy calls per column, whatever n is: rows are sorted by slot
(stable, so log order stays), a row's place is its series' count plus its rank in the block, modulo P.

The arrays are large, but the system hands out their pages as they are first written: what is used is what is paid for, one page
per column and series. `bytes_max` bounds it: when the next series would not fit, the series that were idle longest are forgotten.

Point columns (what was measured) are written by whichever family delivers an input offset first; each detector has its own ring
beside them, with its own places. A place is an offset and which sample of the record there it is (actors/view/chains.py), in one
number. A reader joins the two by place.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from actors.view.chains import place_of
from schemas.charts import ChartBlock, DetectorColumns, RuleMeta

POINTS_MAX = 500  # points kept per series and detector
SERIES_MAX = 20_000  # series kept
DETECTORS_MAX = 16  # detectors kept; the blocks of further ones are counted as refused
BYTES_MAX = 1 << 30  # memory of all rings together

TEXT_SLOTS_MIN = 256  # series that the lot and wafer columns start with

_POINT_BYTES = 4 * 8 + 4 * 8 + 2 * 8  # numbers, floats, two references
_EVICT_SHARE = 64  # when full, forget a 64th of the series at once


class Places(NamedTuple):
    """Where the rows of a block go: only the rows that will survive, sorted by slot, in log order within a slot."""

    take: np.ndarray  # (m,) int64, rows of the block
    slot: np.ndarray  # (m,) int64
    rank: np.ndarray  # (m,) int64, how many rows of the same slot come before it in the block
    slots: np.ndarray  # (k,) int64, the distinct slots
    lengths: np.ndarray  # (k,) int64, rows of each in the block


def places(slot: np.ndarray, rows: np.ndarray, size: int) -> Places:
    """Sort the block's rows (m,) by their slot (m,) and keep the newest `size` of each slot."""
    order = np.argsort(slot, kind="stable")
    by_slot = slot[order]
    starts = np.flatnonzero(np.concatenate(([True], by_slot[1:] != by_slot[:-1])))
    lengths = np.diff(np.append(starts, len(by_slot)))
    rank = np.arange(len(by_slot)) - np.repeat(starts, lengths)
    take, slots = rows[order], by_slot[starts]
    if int(lengths.max()) > size:
        keep = rank >= np.repeat(lengths, lengths) - size
        take, by_slot, rank = take[keep], by_slot[keep], rank[keep]
    return Places(take, by_slot, rank, slots, lengths)


class Ring:
    """Column groups of `slots × size` rows with one write position per slot."""

    def __init__(self, slots: int, size: int, columns: dict[str, tuple[str, int]]) -> None:
        """Allocate; `columns` says dtype and width of each group."""
        self.size = size
        self.count = np.zeros(slots, np.int64)  # rows ever written per slot
        self.columns = {
            name: np.empty((slots * size if dtype != "O" else 0, width), dtype)
            for name, (dtype, width) in columns.items()
        }

    def write(self, at: Places, values: dict[str, Sequence[np.ndarray]]) -> None:
        """Scatter: for each group its columns, (n,) each or (n, w) blocks, in the order of the group."""
        flat = at.slot * self.size + (self.count[at.slot] + at.rank) % self.size
        for name, parts in values.items():
            column, start = self._reaching(name, int(at.slots[-1])), 0
            for part in parts:
                chosen = part[at.take]
                width = 1 if chosen.ndim == 1 else chosen.shape[1]
                column[flat, start : start + width] = chosen.reshape(len(flat), width)
                start += width
        self.count[at.slots] += at.lengths

    def _reaching(self, name: str, slot: int) -> np.ndarray:
        """Return a column group that has the slot. A column of references is paid for at once, so it grows with use."""
        column = self.columns[name]
        if len(column) <= slot * self.size:
            slots = min(len(self.count), max(slot + 1, 2 * len(column) // self.size, TEXT_SLOTS_MIN))
            grown = np.empty((slots * self.size, column.shape[1]), column.dtype)
            grown[: len(column)] = column
            column = self.columns[name] = grown
        return column

    def rows(self, slot: int, newest: int | None = None) -> np.ndarray:
        """Return the flat rows of a slot, oldest first; at most the `newest` ones."""
        count = int(self.count[slot])
        held = min(count, self.size if newest is None else min(newest, self.size))
        flat: np.ndarray = slot * self.size + np.arange(count - held, count) % self.size
        return flat


@dataclass(slots=True)
class DetectorRing:
    """What one detector said of the newest points, and how to read it."""

    identity: str
    family: str
    statistics: tuple[str, ...]
    rules: tuple[RuleMeta, ...]
    ring: Ring  # wide: statistic, centre, lcl, ucl (q each) f8; where: place, chart offset i8; signal; valid
    first_valid: np.ndarray  # (slots,) int64, place of the first judged row; -1 = none yet
    signals: np.ndarray  # (slots,) int64, rows with a signal, ever


class Rings:
    """The rings of all series: points, and one ring per detector."""

    def __init__(
        self, *, series_max: int = SERIES_MAX, points_max: int = POINTS_MAX, bytes_max: int = BYTES_MAX
    ) -> None:
        self.series_max, self.points_max, self.bytes_max = series_max, points_max, bytes_max
        self.points = Ring(series_max, points_max, {"where": ("i8", 4), "number": ("f8", 4), "text": ("O", 2)})
        self.detectors: dict[str, DetectorRing] = {}
        self.partition = np.full(series_max, -1, np.int64)  # (slots,) input partition
        self.judged = np.zeros(series_max, np.int64)  # (slots,) rows with a value, since the slot was taken
        self.evicted = 0  # series forgotten to make room
        self.refused = 0  # rows not kept: more series in one block than fit, or too many detectors
        self._slot_of: dict[str, int] = {}
        self._key_of: dict[int, str] = {}
        self._free = list(range(series_max - 1, -1, -1))
        self._used = np.full(series_max, -1, np.int64)  # (slots,) tick of the last block; -1 = free
        self._tick = 0

    def __len__(self) -> int:
        """Return the number of series held."""
        return len(self._slot_of)

    @property
    def keys(self) -> list[str]:
        """Return the series held, in no order."""
        return list(self._slot_of)

    def slot(self, series: str) -> int | None:
        """Return the slot of a series; None if it is not held."""
        return self._slot_of.get(series)

    def capacity(self) -> int:
        """Return how many series fit: `series_max`, or fewer if `bytes_max` says so."""
        point = _POINT_BYTES + sum(4 * 8 * len(d.statistics) + 16 + 5 for d in self.detectors.values())
        return max(1, min(self.series_max, self.bytes_max // (point * self.points_max)))

    def add(self, block: ChartBlock, chart_offset: int, new: np.ndarray, new_points: np.ndarray) -> None:
        """Keep a block's rows: `new` (n,) bool for its detectors, `new_points` (n,) bool for what was measured."""
        rows = np.flatnonzero(new)
        if not len(rows):
            return
        self._tick += 1
        for name, said in block.detectors.items():
            self._know(name, block.family, said)
        codes = block.series[rows]
        slot = self._slots(block, codes)[codes]
        held = slot >= 0
        if not held.all():
            self.refused += int(len(held) - held.sum())
            rows, slot = rows[held], slot[held]
        if not len(rows):
            return
        at = places(slot, rows, self.points_max)
        self.partition[at.slots] = block.partition
        measured = new_points[rows]
        if measured.any():
            self._add_points(block, chart_offset, at if measured.all() else None, slot[measured], rows[measured])
        for name, said in block.detectors.items():
            self._add_verdicts(name, block, said, chart_offset, at, slot, rows)

    def _add_points(
        self, block: ChartBlock, chart_offset: int, at: Places | None, slot: np.ndarray, rows: np.ndarray
    ) -> None:
        here = np.full(len(block), chart_offset, np.int64)
        self.points.write(
            at or places(slot, rows, self.points_max),
            {
                "where": (place_of(block), here, block.event_time_ms, block.published_ms),
                "number": (block.value, block.lsl, block.usl, block.target),
                "text": (block.lot.array(), block.wafer.array()),
            },
        )
        with_value = slot[~np.isnan(block.value[rows])]
        np.add.at(self.judged, with_value, 1)

    def _add_verdicts(
        self, name: str, block: ChartBlock, said: DetectorColumns, chart_offset: int, at: Places,
        slot: np.ndarray, rows: np.ndarray,
    ) -> None:  # fmt: skip
        """Keep what a detector said; `slot` and `rows` are all new rows, `at` those that survive."""
        detector = self.detectors.get(name)
        if detector is None:
            self.refused += len(rows)
            return
        place = place_of(block)
        first = np.flatnonzero(said.valid[rows] & (detector.first_valid[slot] < 0))[::-1]  # earliest written last
        detector.first_valid[slot[first]] = place[rows[first]]
        np.add.at(detector.signals, slot[said.signal[rows] != 0], 1)
        detector.ring.write(
            at,
            {
                "wide": (said.statistic, said.centre, said.lcl, said.ucl),
                "where": (place, np.full(len(block), chart_offset, np.int64)),
                "signal": (said.signal,),
                "valid": (said.valid,),
            },
        )

    def _know(self, name: str, family: str, said: DetectorColumns) -> None:
        known = self.detectors.get(name)
        if known is not None and known.identity == said.detector:
            return
        if known is None and len(self.detectors) >= DETECTORS_MAX:
            return
        q = len(said.statistics)
        columns = {"wide": ("f8", 4 * q), "where": ("i8", 2), "signal": ("u4", 1), "valid": ("?", 1)}
        self.detectors[name] = DetectorRing(  # another identity is another detector: it starts with empty rings
            identity=said.detector,
            family=family,
            statistics=said.statistics,
            rules=said.rules,
            ring=Ring(self.series_max, self.points_max, columns),
            first_valid=np.full(self.series_max, -1, np.int64),
            signals=np.zeros(self.series_max, np.int64),
        )

    def _slots(self, block: ChartBlock, codes: np.ndarray) -> np.ndarray:
        """Return (number of keys,) int64: the slot of each series of the block that occurs in `codes`; −1 = none to be had."""
        table = np.full(len(block.series_keys), -1, np.int64)
        present = np.unique(codes).tolist()
        missing = []
        for code in present:  # per series of the block, not per row
            slot = self._slot_of.get(block.series_keys[code], -1)
            if slot < 0:
                missing.append(code)
            else:
                table[code] = slot
                self._used[slot] = self._tick
        for code in missing:
            table[code] = self._take(block.series_keys[code])
        return table

    def _take(self, series: str) -> int:
        if len(self._slot_of) >= self.capacity():
            self._evict()
        if len(self._slot_of) >= self.capacity():
            return -1
        slot = self._free.pop()
        self._slot_of[series], self._key_of[slot] = slot, series
        self._used[slot] = self._tick
        return slot

    def _evict(self) -> None:
        """Forget the series that were idle longest; never one of the block being added."""
        surplus = len(self._slot_of) - self.capacity()
        share = max(surplus + 1, self.capacity() // _EVICT_SHARE)
        idle = np.flatnonzero((self._used >= 0) & (self._used < self._tick))
        for slot in idle[np.argsort(self._used[idle], kind="stable")][:share].tolist():
            del self._slot_of[self._key_of.pop(slot)]
            self._free.append(slot)
            self._used[slot] = -1
            self.partition[slot] = -1
            self.judged[slot] = 0
            self.points.count[slot] = 0
            for detector in self.detectors.values():
                detector.ring.count[slot] = 0
                detector.first_valid[slot] = -1
                detector.signals[slot] = 0
            self.evicted += 1


def listed(array: np.ndarray) -> list[Any]:
    """Return a list for JSON: NaN, which JSON does not know, becomes None.

    >>> listed(np.array([1.0, np.nan]))
    [1.0, None]
    """
    if array.dtype.kind == "f":
        finite = np.isfinite(array)
        if not finite.all():
            array = np.where(finite, array, None)  # type: ignore[call-overload]
    said: list[Any] = array.tolist()
    return said
