"""Rational subgroups: the rows of a series that make one point of a chart, gathered until the subgroup closes.

Theory of operation
-------------------
The rows of the open subgroup are kept as they are, in a state column as wide as a full one, and are summed up when it
closes: so the mean and the standard deviation have the digits of a two-pass formula, and a chart of another spread needs
no other state.

A subgroup closes at its last row, the `size`-th, or at the first row of another subgroup of the same series; it is then
shorter than the others. Rows that carry no name (−1) make subgroups of `size` in a row. A row that is missing or excluded
is not handed to `gather`: it is in no subgroup and closes none.
"""

from __future__ import annotations

import math

import numpy as np

from models.detector import Column
from models.kernel import kernel
from models.limits import SUBGROUP_SIZE_MAX


def checked_size(size: int) -> None:
    """Raise ValueError for a size of subgroup that there are no control-chart constants for."""
    if not 2 <= size <= SUBGROUP_SIZE_MAX:
        raise ValueError(f"subgroup_size = {size}: constants are for 2 to {SUBGROUP_SIZE_MAX}")


def columns(size: int) -> dict[str, Column]:
    """Return the state columns of an open subgroup of at most `size` rows, in the order that `gather` takes them."""
    return {
        "open_group": Column("i8", (), -1),
        "open_rows": Column("i4"),
        "open_values": Column("f8", (size,)),  # those after the first open_rows are of an earlier subgroup
    }


@kernel
def summary(values: np.ndarray, n: int, of_deviation: bool) -> tuple[float, float]:
    """Return mean and range of the first n values, or their mean and sample standard deviation.

    The mean of equal values is their value, and their deviation 0, whatever the sum was rounded to.
    """
    total, least, most = values[0], values[0], values[0]
    for i in range(1, n):
        total += values[i]
        least, most = min(least, values[i]), max(most, values[i])
    mean = min(max(total / n, least), most)
    if not of_deviation:
        return mean, most - least
    squares, rest = 0.0, 0.0
    for i in range(n):
        off = values[i] - mean
        squares += off * off
        rest += off  # would be 0 if the mean were not rounded
    return mean, math.sqrt(max(0.0, squares - rest * rest / n) / (n - 1.0)) if n > 1 else 0.0


@kernel
def gather(
    s: int,
    group: int,
    x: float,
    of_deviation: bool,
    open_group: np.ndarray,
    open_rows: np.ndarray,
    open_values: np.ndarray,
) -> tuple[int, float, float]:
    """Put `x` into the open subgroup of series `s`; return (n, mean, spread) of the subgroup that it closes.

    n is 0 if it closes none. A row that closes a short subgroup opens the next one, and never fills it: size ≥ 2.
    """
    n, mean, spread = 0, 0.0, 0.0
    if open_rows[s] != 0 and open_group[s] != group:
        n = int(open_rows[s])
        mean, spread = summary(open_values[s], n, of_deviation)
        open_rows[s] = 0
    if open_rows[s] == 0:
        open_group[s] = group
    open_values[s, open_rows[s]] = x
    open_rows[s] += 1
    if open_rows[s] >= open_values.shape[1]:
        n = int(open_rows[s])
        mean, spread = summary(open_values[s], n, of_deviation)
        open_rows[s] = 0
    return n, mean, spread
