"""What the univariate set is measured against: one Python object per series, and numpy by rounds of ranks.

Both give the statistics and signals of `UnivariateSet` with all eight of Nelson's rules, from given mu, sigma, lsl and usl, and
skip missing values. They do less than it does: no centre lines and limits in what they return, no Phase I, no exclusions, no
change of limits, none carried by rows.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import partial

import numpy as np

from models.limits import range_constants
from models.univariate import UnivariateSet

NAN = math.nan
D2, D3 = range_constants(None)[2].tolist()
TWO_OF_THREE = tuple(h & 1 and h.bit_count() >= 2 for h in range(8))
FOUR_OF_FIVE = tuple(h & 1 and h.bit_count() >= 4 for h in range(32))


class Series:
    """One series: what it remembers, in slots, and what follows from its parameters, computed once."""

    __slots__ = (
        "a_high", "a_low", "above_1", "above_2", "alternating", "average", "b_high", "b_low", "below_1", "below_2",
        "c_high", "c_low", "cpk_min", "decision", "fading", "high", "high_reference", "last", "low", "low_reference",
        "lsl", "min_rows", "moved", "moved_rest", "mu", "origin", "range_limit", "rows", "share", "side", "start",
        "sum", "sum_rest", "tolerance", "trend", "usl", "weight", "wide", "within",
    )  # fmt: skip

    def __init__(self, one: UnivariateSet, mu: float, sigma: float, lsl: float, usl: float) -> None:
        self.mu, self.lsl, self.usl, self.tolerance = mu, lsl, usl, 0.5 * (usl - lsl)
        self.a_high, self.b_high, self.c_high = mu + 3.0 * sigma, mu + 2.0 * sigma, mu + sigma
        self.a_low, self.b_low, self.c_low = mu - 3.0 * sigma, mu - 2.0 * sigma, mu - sigma
        self.range_limit = (D2 + 3.0 * D3) * sigma
        self.weight, self.wide = one.weight, one.width * sigma
        self.share, self.fading = one.weight / (2.0 - one.weight), (1.0 - one.weight) * (1.0 - one.weight)
        self.high_reference, self.low_reference = mu + one.k * sigma, mu - one.k * sigma
        self.decision = one.h * sigma
        self.min_rows, self.cpk_min = one.min_rows, one.cpk_min
        self.side = self.trend = self.alternating = self.within = 0
        self.above_2 = self.below_2 = self.above_1 = self.below_1 = self.rows = 0
        self.average, self.start = mu, 1.0
        self.high = self.low = self.sum = self.sum_rest = self.moved = self.moved_rest = self.origin = 0.0
        self.last = NAN

    def add(self, x: float) -> tuple[float, float, float, float, float, float, float, int]:
        """Judge the next value: (x, MR, z, C+, C−, Cp, Cpk, signal)."""
        last, self.last = self.last, x
        moving_range = abs(x - last)
        signal = self._run_rules(x, last)
        if moving_range > self.range_limit:
            signal |= 256

        self.average = z = self.weight * x + (1.0 - self.weight) * self.average
        self.start *= self.fading
        half = self.wide * math.sqrt(self.share * (1.0 - self.start))
        if z > self.mu + half:
            signal |= 512
        elif z < self.mu - half:
            signal |= 1024

        high = self.high + (x - self.high_reference)
        self.high = high = high if high > 0.0 else 0.0
        low = self.low + (self.low_reference - x)
        self.low = low = low if low > 0.0 else 0.0
        if high > self.decision:
            signal |= 2048
        if low > self.decision:
            signal |= 4096

        cp, cpk = self._capability(x, moving_range)
        if cpk < self.cpk_min and self.rows >= self.min_rows:
            signal |= 8192
        return x, moving_range, z, high, low, cp, cpk, signal

    def _run_rules(self, x: float, last: float) -> int:  # noqa: PLR0912 - in one piece, because a call costs 50 ns
        """Add x to the windows of Nelson's eight rules; return their bits."""
        signal = 1 if x > self.a_high or x < self.a_low else 0
        if x > self.mu:
            self.side = side = self.side + 1 if self.side > 0 else 1
        elif x < self.mu:
            self.side = side = self.side - 1 if self.side < 0 else -1
        else:
            self.side = side = 0
        if side >= 9 or side <= -9:
            signal |= 2
        if x > last:
            self.trend = trend = self.trend + 1 if self.trend > 0 else 1
            self.alternating = alternating = 1 - self.alternating if self.alternating < 0 else 1
        elif x < last:
            self.trend = trend = self.trend - 1 if self.trend < 0 else -1
            self.alternating = alternating = -1 - self.alternating if self.alternating > 0 else -1
        else:
            self.trend = self.alternating = trend = alternating = 0
        if trend >= 5 or trend <= -5:
            signal |= 4
        if alternating >= 13 or alternating <= -13:
            signal |= 8
        self.above_2 = above_2 = (self.above_2 << 1 | (x > self.b_high)) & 7
        self.below_2 = below_2 = (self.below_2 << 1 | (x < self.b_low)) & 7
        if TWO_OF_THREE[above_2] or TWO_OF_THREE[below_2]:
            signal |= 16
        self.above_1 = above_1 = (self.above_1 << 1 | (x > self.c_high)) & 255
        self.below_1 = below_1 = (self.below_1 << 1 | (x < self.c_low)) & 255
        if FOUR_OF_FIVE[above_1 & 31] or FOUR_OF_FIVE[below_1 & 31]:
            signal |= 32
        self.within = within = 0 if (above_1 | below_1) & 1 else self.within + 1
        if within >= 15:
            signal |= 64
        if above_1 | below_1 == 255 and above_1 and below_1:
            signal |= 128
        return signal

    def _capability(self, x: float, moved: float) -> tuple[float, float]:
        """Add x to the sums; return Cp and Cpk of all values so far."""
        self.rows = rows = self.rows + 1
        if rows == 1:
            self.origin = x
            return NAN, NAN
        off = x - self.origin
        total = self.sum + off
        part = total - self.sum
        self.sum_rest += (self.sum - (total - part)) + (off - part)
        self.sum = total
        mean = self.origin + (total + self.sum_rest) / rows
        total = self.moved + moved
        part = total - self.moved
        self.moved_rest += (self.moved - (total - part)) + (moved - part)
        self.moved = total
        three_sigma = 3.0 * (total + self.moved_rest) / ((rows - 1) * D2)
        if not three_sigma > 0.0:
            return NAN, NAN
        upper, lower = self.usl - mean, mean - self.lsl
        return self.tolerance / three_sigma, (lower if lower < upper else upper) / three_sigma


class PythonObjects:
    """A list of `Series`, each asked in turn."""

    def __init__(self, one: UnivariateSet, params: np.ndarray) -> None:
        given = (params[name].tolist() for name in ("mu", "sigma", "lsl", "usl"))
        self.series = [Series(one, *each) for each in zip(*given, strict=True)]

    def update(self, row: np.ndarray, value: np.ndarray) -> Sequence[tuple[float, ...] | None]:
        """Judge rows in order; None for a missing value."""
        series = self.series
        return [series[s].add(x) if x == x else None for s, x in zip(row.tolist(), value.tolist(), strict=True)]  # noqa: PLR0124


class NumpyRounds:
    """State as columns; the first rows of all series at once, then the second rows, and so on: the order is exact."""

    def __init__(self, one: UnivariateSet, params: np.ndarray) -> None:
        self.one = one
        self.short = np.uint16 if len(params) <= 1 << 16 else np.int32  # numpy sorts 16 bits by radix
        mu, sigma = params["mu"], params["sigma"]
        self.mu, self.sigma = mu.copy(), sigma.copy()
        self.lsl, self.usl = params["lsl"].copy(), params["usl"].copy()
        zeros, counts = partial(np.zeros, len(params)), partial(np.zeros, len(params), np.int16)
        self.last, self.average, self.start = zeros() + np.nan, mu.copy(), zeros() + 1.0
        self.high, self.low = zeros(), zeros()
        self.rows, self.origin, self.sum, self.sum_rest = zeros(), zeros(), zeros(), zeros()
        self.moved, self.moved_rest = zeros(), zeros()
        self.side, self.trend, self.alternating, self.within = counts(), counts(), counts(), counts()
        self.above_2, self.below_2, self.above_1, self.below_1 = counts(), counts(), counts(), counts()
        self.two_of_three, self.four_of_five = np.array(TWO_OF_THREE, np.bool_), np.array(FOUR_OF_FIVE, np.bool_)

    def update(self, row: np.ndarray, value: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Judge rows in order: ((7, n) statistics, (n,) signal); NaN and 0 for a missing value."""
        statistic, signal = np.full((7, len(row)), np.nan), np.zeros(len(row), np.uint32)
        present = np.flatnonzero(~np.isnan(value))
        by_series = present[np.argsort(row[present].astype(self.short), kind="stable")]
        if len(by_series) == 0:
            return statistic, signal
        s = row[by_series]
        first = np.empty(len(s), np.bool_)
        first[0], first[1:] = True, s[1:] != s[:-1]
        at = np.arange(len(s))
        rank = at - np.maximum.accumulate(np.where(first, at, 0))
        by_rank = np.argsort(rank.astype(self.short), kind="stable")
        end = 0
        for size in np.bincount(rank):
            which = by_series[by_rank[end : end + size]]
            end += size
            self._round(row[which], value[which], which, statistic, signal)
        return statistic, signal

    def _round(
        self, s: np.ndarray, x: np.ndarray, which: np.ndarray, statistic: np.ndarray, signal: np.ndarray
    ) -> None:
        """Judge one value each of different series `s`."""
        one, mu, sigma, last = self.one, self.mu[s], self.sigma[s], self.last[s]
        self.last[s] = x
        moving_range = np.abs(x - last)
        fired = self._run_rules(s, x, last, mu, sigma)
        fired |= (moving_range > (D2 + 3.0 * D3) * sigma).astype(np.uint32) << 8

        z = one.weight * x + (1.0 - one.weight) * self.average[s]
        start = self.start[s] * ((1.0 - one.weight) * (1.0 - one.weight))
        self.average[s], self.start[s] = z, start
        half = one.width * sigma * np.sqrt(one.weight / (2.0 - one.weight) * (1.0 - start))
        fired |= (z > mu + half).astype(np.uint32) << 9
        fired |= (z < mu - half).astype(np.uint32) << 10

        limit, slack = one.h * sigma, one.k * sigma
        high = np.maximum(self.high[s] + (x - (mu + slack)), 0.0)
        low = np.maximum(self.low[s] + ((mu - slack) - x), 0.0)
        self.high[s], self.low[s] = high, low
        fired |= (high > limit).astype(np.uint32) << 11
        fired |= (low > limit).astype(np.uint32) << 12

        rows = self.rows[s] + 1.0
        self.rows[s] = rows
        cp, cpk = self._capability(s, x, moving_range, rows)
        fired |= ((cpk < one.cpk_min) & (rows >= one.min_rows)).astype(np.uint32) << 13
        for place, numbers in enumerate((x, moving_range, z, high, low, cp, cpk)):
            statistic[place][which] = numbers
        signal[which] = fired

    def _run_rules(
        self, s: np.ndarray, x: np.ndarray, last: np.ndarray, mu: np.ndarray, sigma: np.ndarray
    ) -> np.ndarray:
        """Add x to the windows of Nelson's eight rules; return their bits."""
        side = (x > mu).astype(np.int16) - (x < mu)
        step = (x > last).astype(np.int16) - (x < last)
        b_high, b_low = x > mu + sigma, x < mu - sigma
        same_side, trend, alternating = self.side[s], self.trend[s], self.alternating[s]
        same_side = side * np.minimum(np.abs(same_side) * (same_side * side > 0) + 1, 9)
        trend = step * np.minimum(np.abs(trend) * (trend * step > 0) + 1, 5)
        alternating = step * np.minimum(np.abs(alternating) * (alternating * step < 0) + 1, 13)
        within = np.minimum((self.within[s] + 1) * ~(b_high | b_low), 15)
        above_2 = (self.above_2[s] << 1 | (x > mu + 2.0 * sigma)) & 7
        below_2 = (self.below_2[s] << 1 | (x < mu - 2.0 * sigma)) & 7
        above_1, below_1 = (self.above_1[s] << 1 | b_high) & 255, (self.below_1[s] << 1 | b_low) & 255
        self.side[s], self.trend[s], self.alternating[s], self.within[s] = same_side, trend, alternating, within
        self.above_2[s], self.below_2[s], self.above_1[s], self.below_1[s] = above_2, below_2, above_1, below_1

        fired = ((x > mu + 3.0 * sigma) | (x < mu - 3.0 * sigma)).astype(np.uint32)
        fired |= (np.abs(same_side) >= 9).astype(np.uint32) << 1
        fired |= (np.abs(trend) >= 5).astype(np.uint32) << 2
        fired |= (np.abs(alternating) >= 13).astype(np.uint32) << 3
        fired |= (self.two_of_three[above_2] | self.two_of_three[below_2]).astype(np.uint32) << 4
        fired |= (self.four_of_five[above_1 & 31] | self.four_of_five[below_1 & 31]).astype(np.uint32) << 5
        fired |= (within >= 15).astype(np.uint32) << 6
        eight = ((above_1 | below_1) == 255) & (above_1 != 0) & (below_1 != 0)
        fired |= eight.astype(np.uint32) << 7
        return fired

    def _capability(
        self, s: np.ndarray, x: np.ndarray, moved: np.ndarray, rows: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """Add x to the sums; return Cp and Cpk of all values so far."""
        first = rows == 1.0
        if first.any():
            self.origin[s[first]] = x[first]
        origin = self.origin[s]
        total, rest = _two_sum(self.sum[s], x - origin)
        rest += self.sum_rest[s]
        self.sum[s], self.sum_rest[s] = total, rest
        mean = origin + (total + rest) / rows
        total, rest = _two_sum(self.moved[s], np.where(first, 0.0, moved))
        rest += self.moved_rest[s]
        self.moved[s], self.moved_rest[s] = total, rest
        with np.errstate(divide="ignore", invalid="ignore"):
            scale = (rows - 1.0) * D2 / (3.0 * (total + rest))
            scale[np.isinf(scale)] = np.nan
        lsl, usl = self.lsl[s], self.usl[s]
        return (usl - lsl) * (0.5 * scale), np.minimum(usl - mean, mean - lsl) * scale


def _two_sum(a: np.ndarray, b: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    total = a + b
    part = total - a
    return total, (a - (total - part)) + (b - part)
