"""Estimators and studies as they read: lists, loops, definitions."""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import fmean, median, stdev


def changes(values: Sequence[float | None]) -> list[float]:
    """Return the distances of neighbours; None is a gap that no distance spans, NaN is missing and is spanned."""
    found: list[float] = []
    before: float | None = None
    for value in values:
        if value is None:
            before = None
        elif not math.isnan(value):
            if before is not None:
                found.append(abs(value - before))
            before = value
    return found


def sigma_of_values(values: Sequence[float | None], method: str, d2: float, d4: float, c4: float) -> float:
    """Return sigma by its definition; c4 is that of the number of values there."""
    there = [value for value in values if value is not None and not math.isnan(value)]
    moved = changes(values)
    return {
        "moving_range": lambda: fmean(moved) / d2,
        "median_moving_range": lambda: median(moved) / d4,
        "successive_differences": lambda: math.sqrt(fmean([m * m for m in moved]) / 2),
        "deviation": lambda: stdev(there) / c4,
        "median_deviation": lambda: 1.482602218505602 * median([abs(x - median(there)) for x in there]),
    }[method]()


def kept_by_three_sigma(values: Sequence[float], d2: float) -> list[int]:
    """Return the rows that are left when what is beyond three sigma of the rest is taken out, round after round.

    Before more than a quarter would be gone, it ends.
    """
    kept: list[float | None] = list(values)
    while True:
        there = [x for x in kept if x is not None]
        mu, sigma = fmean(there), fmean(changes(kept)) / d2
        beyond = [i for i, x in enumerate(kept) if x is not None and (x > mu + 3 * sigma or x < mu - 3 * sigma)]
        if not beyond or 4 * (kept.count(None) + len(beyond)) > len(values):
            return [i for i, x in enumerate(kept) if x is not None]
        for i in beyond:
            kept[i] = None
