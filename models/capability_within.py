"""Sigma within, as it accumulates: moving ranges, and subgroups whose sums go into exact totals when they close."""

from __future__ import annotations

import math

import numpy as np

from models.kernel import kernel
from models.limits import SUBGROUP_SIZE_MAX
from models.moments import add_to_total, total_of

ESTIMATORS = ("auto", "moving_range", "pooled", "range")
"""Where sigma within comes from, see `models.capability.Capability`."""
AUTO, MOVING_RANGE, POOLED, RANGE = range(len(ESTIMATORS))

ROWS, RANGES, WITHIN, INSPECTED, OUTSIDE = range(5)
"""Columns of the counts of a series: rows; moving ranges; degrees of freedom, or subgroups, within; rows that were compared
with limits; those outside."""


@kernel
def close(s: int, mode: int, constants: np.ndarray, opened: np.ndarray, within: np.ndarray, counts: np.ndarray) -> None:
    """Add the open subgroup of series `s` to the sums within, and empty it."""
    n = int(opened[s, 0])
    if n > 1 and mode == RANGE:
        add_to_total(within, s, (opened[s, 5] - opened[s, 4]) / constants[n, 0])
        counts[s, WITHIN] += 1
    elif n > 1:
        add_to_total(within, s, _squares(opened, s))
        counts[s, WITHIN] += n - 1
    opened[s, 0] = 0.0


@kernel
def _squares(opened: np.ndarray, s: int) -> float:
    """Return the sum of squares about the mean of the open subgroup; its sums are of differences from its first row."""
    return max(0.0, opened[s, 3] - opened[s, 2] * opened[s, 2] / opened[s, 0]) if opened[s, 0] > 1.0 else 0.0


@kernel
def gather(
    s: int,
    group: int,
    x: float,
    mode: int,
    size: int,
    constants: np.ndarray,
    open_group: np.ndarray,
    opened: np.ndarray,
    within: np.ndarray,
    counts: np.ndarray,
) -> None:
    """Put x into its subgroup; close the subgroup that it ends or fills. A row without a name needs a size."""
    if opened[s, 0] > 0.0 and open_group[s] != group:
        close(s, mode, constants, opened, within, counts)
    if group < 0 and (size == 0 or mode == AUTO):
        return
    if opened[s, 0] == 0.0:
        open_group[s] = group
        opened[s, 1], opened[s, 2], opened[s, 3], opened[s, 4], opened[s, 5] = x, 0.0, 0.0, x, x
    off = x - opened[s, 1]
    opened[s, 0] += 1.0
    opened[s, 2] += off
    opened[s, 3] += off * off
    opened[s, 4], opened[s, 5] = min(opened[s, 4], x), max(opened[s, 5], x)
    if opened[s, 0] == size or (mode == RANGE and opened[s, 0] == SUBGROUP_SIZE_MAX):
        close(s, mode, constants, opened, within, counts)


@kernel
def sigma_of_subgroups(s: int, mode: int, counts: np.ndarray, within: np.ndarray, opened: np.ndarray) -> float:
    """Return sigma within of the subgroups of series `s`; NaN where they give none, or too little for "auto"."""
    count = int(counts[s, WITHIN])
    if mode == RANGE:
        return total_of(within, s) / count if count > 0 else np.nan
    degrees = count + max(0, int(opened[s, 0]) - 1)
    if degrees < 1 or (mode == AUTO and 4 * degrees < counts[s, ROWS]):
        return np.nan
    return math.sqrt((total_of(within, s) + _squares(opened, s)) / degrees)


@kernel
def sigma_of_ranges(s: int, d2_2: float, counts: np.ndarray, ranges: np.ndarray) -> float:
    """Return MRbar/d2 of series `s`, NaN where there is no moving range yet."""
    return total_of(ranges, s) / counts[s, RANGES] / d2_2 if counts[s, RANGES] > 0 else np.nan
