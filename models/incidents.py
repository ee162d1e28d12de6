"""Counting incidents of many rules, and of charts whose limits are wider or narrower, in one pass over the rows.

An incident is what an alert is (actors/engine/alerts.py): opened by the first row of a series on which a rule fires, held while
it goes on, ended by `clean_rows` judged rows without it. It is *hit* if one of its firing rows lies inside of something that was
to be found; else it is a false alarm.

How far a row is *out* is the distance of its statistic from the centre line in units of its limit's: 1 is on the limit, 2
twice as far out. Of several statistics the farthest counts. So limits k times as wide fire where a row is out by more than k, and
the whole curve of alarms against the width of the limits comes from one run. Where a chart draws no centre line, 0 stands for it;
a limit that is not drawn is never passed, and with a limit of no width only what is off the centre line is out, infinitely far.
Run rules look at more than one row and are not part of that curve.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from models.detector import Verdicts
from models.kernel import frozen, kernel

_CLOSED = -1


@kernel
def _out(statistic: np.ndarray, centre: np.ndarray, lcl: np.ndarray, ucl: np.ndarray, out: np.ndarray) -> None:
    """Fill in (n,) how far each row is out; -inf where no limit says so."""
    for i in range(statistic.shape[0]):
        farthest = -np.inf
        for q in range(statistic.shape[1]):
            s = statistic[i, q]
            base = 0.0 if np.isnan(centre[i, q]) else centre[i, q]
            away, width = (s - base, ucl[i, q] - base) if s >= base else (base - s, base - lcl[i, q])
            if width > 0.0:
                farthest = max(farthest, away / width)
            elif width == 0.0 and away > 0.0:
                farthest = np.inf
        out[i] = farthest


@kernel
def _count(
    row: np.ndarray,
    valid: np.ndarray,
    signal: np.ndarray,
    inside: np.ndarray,
    out: np.ndarray,
    widths: np.ndarray,
    clean_rows: int,
    going: np.ndarray,
    clean: np.ndarray,
    hit: np.ndarray,
    opened: np.ndarray,
    false: np.ndarray,
) -> None:
    """Advance what is open of every series; columns are the rules, then the widths."""
    rules = opened.shape[0] - widths.shape[0]
    for i in range(row.shape[0]):
        if not valid[i]:
            continue
        s, fired = row[i], np.int64(signal[i])
        passed = 0
        while passed < widths.shape[0] and out[i] > widths[passed]:
            passed += 1
        if fired == 0 and passed == 0 and going[s] == 0:
            continue
        for m in range(opened.shape[0]):
            fires = (fired >> m) & 1 if m < rules else m - rules < passed
            if fires:
                if clean[s, m] == _CLOSED:
                    opened[m] += 1
                    going[s] += 1
                    hit[s, m] = 0
                clean[s, m] = 0
                if inside[i]:
                    hit[s, m] = 1
            elif clean[s, m] != _CLOSED:
                clean[s, m] += 1
                if clean[s, m] >= clean_rows:
                    clean[s, m] = _CLOSED
                    going[s] -= 1
                    if not hit[s, m]:
                        false[m] += 1


class Rows(NamedTuple):
    """Rows of some series in log order, and what a detector said of them."""

    series: np.ndarray  # (n,) int32
    verdicts: Verdicts
    inside: np.ndarray  # (n,) bool: it belongs to something that is to be found


class Incidents:
    """Counts over all rows of a partition, in log order. `widths`: (k,) float64, ascending.

    >>> import numpy as np
    >>> x = np.array([[0.0], [3.5], [0.0], [9.0]])
    >>> zero = np.zeros((4, 1))
    >>> said = Verdicts(x, zero, zero - 3, zero + 3, np.array([0, 1, 0, 1], np.uint32), np.ones(4, bool))
    >>> counted = Incidents(rules=1, widths=np.array([1.0, 2.0]), clean_rows=1)
    >>> counted.take(Rows(np.zeros(4, np.int32), said, np.array([False, False, False, True]))).round(2).tolist()
    [0.0, 1.17, 0.0, 3.0]
    >>> counted.opened.tolist(), counted.false().tolist()
    ([2, 2, 1], [1, 1, 0])
    """

    def __init__(self, rules: int, widths: np.ndarray, clean_rows: int) -> None:
        self.widths = frozen(widths, np.float64)
        self.opened = np.zeros(rules + len(widths), np.int64)  # by rule, then by width
        self._clean_rows = clean_rows
        self._false = np.zeros(rules + len(widths), np.int64)  # of those that have ended
        self._going = np.zeros(0, np.int32)  # (S,) how many are open
        self._clean = np.zeros((0, len(self.opened)), np.int32)  # (S, m) judged rows since it fired; -1: not open
        self._hit = np.zeros((0, len(self.opened)), np.uint8)

    def take(self, rows: Rows) -> np.ndarray:
        """Count further rows; return (n,) float64, how far each is out."""
        self._reserve(int(rows.series.max(initial=-1)) + 1)
        said = rows.verdicts
        out = np.empty(len(rows.series))
        wide = [frozen(np.broadcast_to(part, said.statistic.shape), np.float64) for part in said[:4]]
        _out(wide[0], wide[1], wide[2], wide[3], out)
        _count(
            frozen(rows.series, np.int32), frozen(said.valid, np.bool_), frozen(said.signal, np.uint32),
            frozen(rows.inside, np.bool_), frozen(out, np.float64), self.widths, self._clean_rows,
            self._going, self._clean, self._hit, self.opened, self._false,
        )  # fmt: skip
        return out

    def false(self) -> np.ndarray:
        """Return (m,) int64, incidents of which no firing row was inside; those that are still open, too."""
        still = ((self._clean != _CLOSED) & (self._hit == 0)).sum(axis=0)
        found: np.ndarray = self._false + still
        return found

    def _reserve(self, series: int) -> None:
        more = series - len(self._going)
        if more > 0:
            more = max(more, len(self._going))
            width = len(self.opened)
            self._going = np.concatenate([self._going, np.zeros(more, np.int32)])
            self._clean = np.concatenate([self._clean, np.full((more, width), _CLOSED, np.int32)])
            self._hit = np.concatenate([self._hit, np.zeros((more, width), np.uint8)])
