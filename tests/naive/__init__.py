"""Slow, obvious oracles beside the fast kernels: one series, plain lists, definitions written down as they read."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise
from statistics import fmean, stdev
from typing import NamedTuple

from tests.naive.anomaly import robust_z as robust_z


def nelson(points: Sequence[float], mu: float, sigma: float, any_side: bool = False) -> list[set[int]]:
    """Return the numbers of the rules that fire at each point, all points being in one window."""
    return [_rules(points[: i + 1], mu, sigma, any_side) for i in range(len(points))]


def _rules(so_far: Sequence[float], mu: float, sigma: float, any_side: bool) -> set[int]:
    x = so_far[-1]

    def beyond(point: float, sigmas: float, side: int) -> bool:
        return point > mu + sigmas * sigma if side > 0 else point < mu - sigmas * sigma

    def last(n: int) -> Sequence[float]:
        return so_far[-n:] if len(so_far) >= n else []

    def rising(points: Sequence[float], side: int) -> list[bool]:
        return [(b - a) * side > 0 for a, b in pairwise(points)]

    nine, six, fourteen, fifteen, eight = last(9), last(6), last(14), last(15), last(8)
    ups, downs = rising(fourteen, 1), rising(fourteen, -1)
    in_c = [not beyond(p, 1, 1) and not beyond(p, 1, -1) for p in fifteen]
    above, below = [beyond(p, 1, 1) for p in eight], [beyond(p, 1, -1) for p in eight]
    fired = {
        1: any(beyond(x, 3, side) for side in (1, -1)),
        2: any(nine and all(beyond(p, 0, side) for p in nine) for side in (1, -1)),
        3: any(six and all(rising(six, side)) for side in (1, -1)),
        4: any(
            fourteen and all(one[i] if i % 2 else other[i] for i in range(13))
            for one, other in ((ups, downs), (downs, ups))
        ),
        5: any(beyond(x, 2, side) and sum(beyond(p, 2, side) for p in so_far[-3:]) >= 2 for side in (1, -1)),
        6: any(beyond(x, 1, side) and sum(beyond(p, 1, side) for p in so_far[-5:]) >= 4 for side in (1, -1)),
        7: bool(fifteen) and sigma > 0 and all(in_c),
        8: bool(eight)
        and all(a or b for a, b in zip(above, below, strict=True))
        and (any_side or (any(above) and any(below))),
    }
    return {number for number, fires in fired.items() if fires}


def phase_one(values: Sequence[float], d2: float) -> tuple[float, float]:
    """Return mean and MRbar/d2 of the first rows of a series."""
    return fmean(values), fmean([abs(b - a) for a, b in pairwise(values)]) / d2


class Subgroup(NamedTuple):
    """A closed subgroup: the row that closes it, and its values."""

    at: int
    values: list[float]


def subgroups(values: Sequence[float], names: Sequence[int], size: int) -> list[Subgroup]:
    """Cut one series into subgroups; those of a single value are left out."""
    closed, current = [], []
    for i, value in enumerate(values):
        if current and names[i] != names[i - 1]:
            closed.append(Subgroup(i, current))
            current = []
        current = [*current, value]
        if len(current) == size:
            closed.append(Subgroup(i, current))
            current = []
    return [group for group in closed if len(group.values) > 1]


class Indices(NamedTuple):
    """Capability of some values; NaN where there is no index."""

    Cp: float
    Cpk: float
    Pp: float
    Ppk: float


def capability(values: Sequence[float], lsl: float, usl: float, d2: float) -> Indices:
    """Return the indices of at least two values by their definitions; a limit that is NaN is not there."""
    mean, within = phase_one(values, d2)

    def pair(sigma: float) -> tuple[float, float]:
        if sigma == 0:
            return math.nan, math.nan
        sides = [side for side in ((usl - mean) / (3 * sigma), (mean - lsl) / (3 * sigma)) if not math.isnan(side)]
        return (usl - lsl) / (6 * sigma), min(sides, default=math.nan)

    return Indices(*pair(within), *pair(stdev(values)))


def cusum(
    values: Sequence[float], mu: float, sigma: float, k: float, h: float, *, restart: bool
) -> list[tuple[float, float]]:
    """Return C+ and C− of each value."""
    sums, high, low = [], 0.0, 0.0
    for x in values:
        if sigma == 0:
            high = low = 0.0
        high = max(0.0, high + (x - (mu + k * sigma)))
        low = max(0.0, low + ((mu - k * sigma) - x))
        sums.append((high, low))
        if restart and max(high, low) > h * sigma:
            high = low = 0.0
    return sums


def ewma(values: Sequence[float], mu: float, sigma: float, weight: float, width: float) -> list[tuple[float, float]]:
    """Return z of each value, and the half width of the limits at it."""
    lines = []
    for t in range(1, len(values) + 1):
        newest_first = values[:t][::-1]
        z = sum(weight * (1 - weight) ** i * x for i, x in enumerate(newest_first)) + (1 - weight) ** t * mu
        half = width * sigma * math.sqrt(weight / (2 - weight) * (1 - (1 - weight) ** (2 * t)))
        lines.append((z, half))
    return lines
