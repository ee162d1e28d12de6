"""Phase I inside a detector: the first rows of a series give its centre and sigma, which are then frozen.

Theory of operation
-------------------
A chart needs a mean and a sigma per series. Given ones (finite `params.mu`, `params.sigma` ≥ 0) win, each for itself.
What is not given is learned from the first m rows of the series that are not missing: the mean by Welford's update,
sigma from the mean moving range, MRbar/d2(2). Moving ranges see only the change from one row to the next, so that a
slow drift during Phase I does not widen the limits as an overall standard deviation would (Montgomery, Introduction to
SQC, 7th ed., §6.4).

The sums are state columns. They stop changing after row m, so that the frozen mean and sigma follow from them and need
no column of their own. Given parameters that are taken back later lead to Phase I, or to what it had learned before.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from models.detector import Column
from models.kernel import kernel
from models.limits import d2

PHASE_ONE_ROWS_MIN = 2  # below that there is no moving range

COLUMNS = {
    "seen": Column("i4"),  # rows learned from, ≤ phase_one_rows
    "mean": Column("f8"),  # of those rows
    "ranges": Column("i4"),  # moving ranges summed; seen − 1, less one for every change of limits in Phase I
    "range_sum": Column("f8"),
    "last": Column("f8", (), np.nan),  # the series' last value; NaN: none, or from before a change of limits
    "epoch": Column("i8", (), -1),  # last seen, see `epoch`
}
"""State columns of every chart of single values."""

WINDOW_ENDS = ("limits", "reset", "exclusion")
"""What may end a chart's windows or start its sums anew: a change of the limits, a reset, the exclusion of a point."""


def window_ends(names: Iterable[str]) -> np.ndarray:
    """Return for the kernels which of WINDOW_ENDS are named: (3,) int64 of 0 and 1. Raises ValueError for another name."""
    named = tuple(names)
    if not set(named) <= set(WINDOW_ENDS):
        raise ValueError(f"window_ends = {named}: of {WINDOW_ENDS}")
    flags = np.array([name in named for name in WINDOW_ENDS], np.int64)
    flags.flags.writeable = False
    return flags


@kernel
def epoch(params: np.ndarray, s: int, ends: np.ndarray) -> int:
    """Return the number of the epoch that series `s` is in: it changes when one of the counters changes that `ends` flags."""
    counted = int(params["limits_version"][s]) * ends[0] + int(params["resets"][s]) * ends[1]
    return int(counted + int(params["exclusions"][s]) * ends[2])


def checked_rows(rows: int) -> None:
    """Raise ValueError for a Phase I that cannot give a sigma."""
    if rows < PHASE_ONE_ROWS_MIN:
        raise ValueError(f"phase_one_rows = {rows}: sigma from moving ranges needs at least {PHASE_ONE_ROWS_MIN}")


def moving_range_d2(digits: int | None) -> float:
    """Return d2(2), the divisor of the mean moving range; exact, or rounded to `digits`."""
    return d2(2, digits)


@kernel
def is_given(x: float) -> bool:
    """Say whether a number is finite; NaN and infinities stand for "not given" and "not a measurement"."""
    return bool(abs(x) < np.inf)


@kernel
def reference(
    given_mu: float, given_sigma: float, rows: int, d2_2: float, seen: int, mean: float, ranges: int, range_sum: float
) -> tuple[bool, float, float]:
    """Return (known, mu, sigma) of one series: given, or learned if its Phase I of `rows` rows is over."""
    mu_given = is_given(given_mu)
    sigma_given = is_given(given_sigma) and given_sigma >= 0.0
    if mu_given and sigma_given:
        return True, given_mu, given_sigma
    if seen < rows or ranges < 1:
        return False, np.nan, np.nan
    mu = given_mu if mu_given else mean
    sigma = given_sigma if sigma_given else range_sum / ranges / d2_2
    return True, mu, sigma


@kernel
def learn(
    s: int, x: float, moving_range: float, seen: np.ndarray, mean: np.ndarray, ranges: np.ndarray, range_sum: np.ndarray
) -> None:
    """Add one row of series `s` to its Phase I; `moving_range` is NaN where there is none."""
    seen[s] += 1
    mean[s] += (x - mean[s]) / seen[s]
    if moving_range >= 0.0:
        ranges[s] += 1
        range_sum[s] += moving_range
