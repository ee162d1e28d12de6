"""Rational subgroups: the rows of a series that make one point of a chart, gathered until the subgroup closes.

Theory of operation
-------------------
The rows of the open subgroup are kept as they are, in a state column as wide as a full one, and are summed up when it
closes: so the mean and the standard deviation have the digits of a two-pass formula, and a chart of another spread needs
no other state.

A subgroup closes at its last row, the `size`-th, or at the first row of another subgroup of the same series; it is then
shorter than the others. Rows that carry no name (−1) make subgroups of `size` in a row. A row that is missing or excluded
is in no subgroup and closes none.

The step itself stands in the loop of the chart (`models.xbar`): as a kernel of its own, which the compiler does not inline,
it cost 12 of 33 ns a row.
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
    """Return the state columns of an open subgroup of at most `size` rows, of 2 to 25."""
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
