"""Charts that add up the past of one series: CUSUM, EWMA, and the residuals of an AR(1) process."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise
from statistics import fmean, stdev


def cusum(
    values: Sequence[float], mu: float, sigma: float, k: float, h: float, *, restart: bool, headstart: float = 0.0
) -> list[tuple[float, float]]:
    """Return C+ and C− of each value."""
    start = headstart * (h * sigma)
    sums, high, low = [], start, start
    for x in values:
        if sigma == 0:
            high = low = 0.0
        high = max(0.0, high + (x - (mu + k * sigma)))
        low = max(0.0, low + ((mu - k * sigma) - x))
        sums.append((high, low))
        if restart and max(high, low) > h * sigma:
            high = low = start
    return sums


def rows_above_zero(sums: Sequence[float]) -> list[int]:
    """Return N of each row: how many sums in a row, up to it, are above 0."""
    return [next((back for back, c in enumerate(sums[i::-1]) if c <= 0), i + 1) for i in range(len(sums))]


def ewma(values: Sequence[float], mu: float, sigma: float, weight: float, width: float) -> list[tuple[float, float]]:
    """Return z of each value, and the half width of the limits at it."""
    lines = []
    for t in range(1, len(values) + 1):
        newest_first = values[:t][::-1]
        z = sum(weight * (1 - weight) ** i * x for i, x in enumerate(newest_first)) + (1 - weight) ** t * mu
        half = width * sigma * math.sqrt(weight / (2 - weight) * (1 - (1 - weight) ** (2 * t)))
        lines.append((z, half))
    return lines


def autocorrelation(values: Sequence[float]) -> float:
    """Return the lag-1 autocorrelation coefficient; 0 of a constant."""
    mean = fmean(values)
    total = math.fsum((x - mean) ** 2 for x in values)
    return math.fsum((x - mean) * (y - mean) for x, y in pairwise(values)) / total if total else 0.0


def autoregression(values: Sequence[float]) -> tuple[float, float, float]:
    """Return mean, phi and the residuals' sigma of the first rows of a series."""
    phi = autocorrelation(values)
    return fmean(values), phi, stdev(values) * math.sqrt(1 - phi * phi)


def residuals(values: Sequence[float], mu: float, phi: float) -> list[float]:
    """Return what each value but the first differs by from the forecast of the one before."""
    return [(x - mu) - phi * (before - mu) for before, x in pairwise(values)]
