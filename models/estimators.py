"""Estimators of a process's mean and sigma from Phase I data, as arrays.

sigma is estimated *within*: from ranges or deviations inside rational subgroups, or from the change from one value to the next,
so that a level that moves between them does not widen the limits. Divisors make them unbiased for normal data: d2 of a mean
range, d4 of a median range, c4 of a standard deviation. d2 is exact, or rounded to three digits as NIST, qcc and most books
have it (`d2_digits=3`): documented in models/limits.py, both offered.

| method | of | sigma |
|---|---|---|
| `moving_range` | single values | mean of |x_i − x_(i−1)| / d2(2) |
| `median_moving_range` | single values | median of |x_i − x_(i−1)| / d4(2): one wild value does not move it |
| `successive_differences` | single values | √(½ mean of (x_i − x_(i−1))²), von Neumann's; a little low for few values |
| `deviation` | single values | s / c4(n): overall, for data known to be stable |
| `median_deviation` | single values | 1.4826 median of |x − median|, about the median |
| `range` | subgroups | mean of R_i / d2(n_i); R̄/d2 for equal sizes |
| `median_range` | subgroups | median of R_i / d4(n_i) |
| `s` | subgroups | mean of s_i / c4(n_i); S̄/c4 for equal sizes |
| `pooled` | subgroups | √(Σ(n_i − 1)s_i² / Σ(n_i − 1)) / c4(Σ(n_i − 1) + 1) |

Source: Montgomery, Introduction to SQC, 7th ed., §6.2–6.4; Burr, Statistical Quality Control Methods (1976); Minitab, Methods and
formulas for control charts; for the successive differences von Neumann et al., Annals of Mathematical Statistics 12 (1941) 153.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple

import numpy as np
from scipy.special import ndtr

from models.limits import c4, d2

SINGLE = ("moving_range", "median_moving_range", "successive_differences", "deviation", "median_deviation")
GROUPED = ("range", "median_range", "s", "pooled")
MEDIAN_DEVIATION = 1.482602218505602  # 1/Φ⁻¹(3/4)


class Estimate(NamedTuple):
    """Mean and sigma of a process, in the unit of the values, and what they rest on."""

    mu: float
    sigma: float
    method: str
    points: int  # single values or subgroups
    rows: int


def of_values(
    values: np.ndarray, method: str = "moving_range", *, d2_digits: int | None = None, gap: np.ndarray | None = None
) -> Estimate:
    """Estimate from single values (n,), NaN = missing; a change spans a missing value, but not a row flagged in `gap` (n,).

    Raises ValueError for an unknown method or fewer than two values.

    >>> of_values(np.array([49.6, 47.6, 49.9, 51.3, 47.8, 51.2, 52.6, 52.4, 53.6, 52.1]), d2_digits=3).sigma
    1.664...
    """
    if method not in SINGLE:
        raise ValueError(f"estimator = {method!r}: of single values one of {', '.join(SINGLE)}")
    changes = _changes(values, gap)
    gone = np.isnan(values) if gap is None else np.isnan(values) | gap
    x = values[~gone]
    n = len(x)
    if n < 2 or (method not in ("deviation", "median_deviation") and not len(changes)):
        raise ValueError(f"{n} values: sigma by {method} needs at least 2 side by side")
    mu = float(x.mean())
    if method == "moving_range":
        sigma = changes.mean() / d2(2, d2_digits)
    elif method == "median_moving_range":
        sigma = np.median(changes) / d4(2)
    elif method == "successive_differences":
        sigma = math.sqrt(float((changes**2).mean()) / 2.0)
    elif method == "deviation":
        sigma = x.std(ddof=1) / c4(n)
    else:
        mu = float(np.median(x))
        sigma = MEDIAN_DEVIATION * np.median(np.abs(x - mu))
    return Estimate(mu, float(sigma), method, n, n)


def of_subgroups(groups: Sequence[np.ndarray], method: str = "range", *, d2_digits: int | None = None) -> Estimate:
    """Estimate from rational subgroups, of 2 to 25 values each, not necessarily equally many. mu is the mean of all rows.

    Raises ValueError for an unknown method, no subgroup, or a size that the constants do not cover.

    >>> of_subgroups([np.array([9.0, 11.0]), np.array([10.0, 13.0])], "s")
    Estimate(mu=10.75, sigma=2.2155..., method='s', points=2, rows=4)
    """
    if method not in GROUPED:
        raise ValueError(f"estimator = {method!r}: of subgroups one of {', '.join(GROUPED)}")
    if not groups:
        raise ValueError("no subgroup of at least 2 values")
    sizes = [len(group) for group in groups]
    mu = float(np.concatenate(list(groups)).mean())
    if method == "range":
        sigma = np.mean([np.ptp(group) / d2(n, d2_digits) for group, n in zip(groups, sizes, strict=True)])
    elif method == "median_range":
        sigma = np.median([np.ptp(group) / d4(n) for group, n in zip(groups, sizes, strict=True)])
    elif method == "s":
        sigma = np.mean([group.std(ddof=1) / c4(n) for group, n in zip(groups, sizes, strict=True)])
    else:
        freedom = sum(sizes) - len(sizes)
        squares = math.fsum(float(((group - group.mean()) ** 2).sum()) for group in groups)
        sigma = math.sqrt(squares / freedom) / c4(freedom + 1)
    return Estimate(mu, float(sigma), method, len(groups), sum(sizes))


@lru_cache(maxsize=32)
def d4(n: int) -> float:
    """Median of the range of n standard normals, for median ranges. Raises ValueError unless 2 ≤ n ≤ 25.

    >>> round(d4(2), 4), round(d4(5), 3)
    (0.9539, 2.257)
    """
    d2(n)  # refuses other sizes
    x, step = np.linspace(-9.0, 9.0, 721, retstep=True)
    density = np.exp(-0.5 * x * x) / math.sqrt(2.0 * math.pi) * step

    def below(r: float) -> float:
        return float(n * (density * (ndtr(x + r) - ndtr(x)) ** (n - 1)).sum()) - 0.5

    from scipy.optimize import brentq  # noqa: PLC0415 - it takes a quarter of a second of every command

    return round(float(brentq(below, 1e-6, 12.0, xtol=1e-13)), 12)


def _changes(values: np.ndarray, gap: np.ndarray | None) -> np.ndarray:
    """Return |x_i − x_(i−1)| of neighbours that are there and have no flagged row between them."""
    stretch = np.zeros(len(values), np.int64) if gap is None else np.cumsum(gap)
    there = ~np.isnan(values) if gap is None else ~np.isnan(values) & ~gap
    x, part = values[there], stretch[there]
    changes: np.ndarray = np.abs(np.diff(x))[part[1:] == part[:-1]]
    return changes
