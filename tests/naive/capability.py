"""Capability by its definitions: all values of one series in plain lists, sums in exact fractions."""

from __future__ import annotations

import math
from collections.abc import Sequence
from fractions import Fraction
from itertools import pairwise
from statistics import NormalDist, fmean
from typing import NamedTuple


class Indices(NamedTuple):
    """Capability of some values; NaN where there is no index."""

    Cp: float
    Cpk: float
    Pp: float
    Ppk: float


class MoreIndices(NamedTuple):
    """What a target and single limits add, and the rows in a million expected and observed."""

    Cpl: float
    Cpu: float
    Cpm: float
    Cpmk: float
    ppm_within: float
    ppm_overall: float
    ppm_observed: float


def exact_mean_and_deviation(values: Sequence[float]) -> tuple[float, float]:
    """Return mean and standard deviation (n − 1), rounded once from exact fractions; deviation NaN for one value."""
    exact = [Fraction(value) for value in values]
    mean = sum(exact, Fraction(0)) / len(exact)
    if len(exact) < 2:
        return float(mean), math.nan
    variance = sum(((value - mean) ** 2 for value in exact), Fraction(0)) / (len(exact) - 1)
    top, bottom = variance.numerator, variance.denominator
    shift = 80 - (top.bit_length() - bottom.bit_length()) // 2  # so that the root has about 80 bits
    square = (top << 2 * shift) // bottom if shift > 0 else top // (bottom << -2 * shift)
    root = Fraction(math.isqrt(square)) / Fraction(2) ** shift
    return float(mean), float(root)


def moving_range_sigma(values: Sequence[float], d2_2: float) -> float:
    """Return MRbar/d2; NaN for one value."""
    return fmean([abs(b - a) for a, b in pairwise(values)]) / d2_2 if len(values) > 1 else math.nan


def pooled_sigma(groups: Sequence[Sequence[float]]) -> float:
    """Return √(Σ squares about the groups' means / Σ (n − 1)); NaN if no group has two values."""
    squares = sum(((Fraction(x) - sum(map(Fraction, g)) / len(g)) ** 2 for g in groups for x in g), Fraction(0))
    degrees = sum(len(g) - 1 for g in groups)
    return math.sqrt(squares / degrees) if degrees else math.nan


def runs(names: Sequence[int], size: int | None) -> list[list[int]]:
    """Return the rows of each subgroup, in order: a change of name ends it, and so does its size-th row. −1 needs a size."""
    groups: list[list[int]] = []
    for i, name in enumerate(names):
        if name < 0 and size is None:
            continue
        joined = i > 0 and groups and groups[-1][-1] == i - 1 and names[i - 1] == name
        if joined and (size is None or len(groups[-1]) < size):
            groups[-1].append(i)
        else:
            groups.append([i])
    return groups


def capability(values: Sequence[float], lsl: float, usl: float, d2: float) -> Indices:
    """Return the indices of at least two values, with sigma within of moving ranges."""
    return with_sigma(values, lsl, usl, moving_range_sigma(values, d2))


def with_sigma(values: Sequence[float], lsl: float, usl: float, within: float) -> Indices:
    """Return the indices by their definitions; a limit that is NaN is not there."""
    mean, overall = exact_mean_and_deviation(values)
    return Indices(*_pair(mean, within, lsl, usl), *_pair(mean, overall, lsl, usl))


def _pair(mean: float, sigma: float, lsl: float, usl: float) -> tuple[float, float]:
    if not sigma > 0:
        return math.nan, math.nan
    sides = [side for side in ((usl - mean) / (3 * sigma), (mean - lsl) / (3 * sigma)) if not math.isnan(side)]
    return (usl - lsl) / (6 * sigma), min(sides, default=math.nan)


def more(values: Sequence[float], lsl: float, usl: float, target: float, within: float) -> MoreIndices:
    """Return the further statistics by their definitions; without a target it is the middle of the limits."""
    mean, overall = exact_mean_and_deviation(values)
    outside = sum(x < lsl or x > usl for x in values)
    off = mean - ((lsl + usl) / 2 if math.isnan(target) else target)
    about_target = math.sqrt(within**2 + off**2) if within > 0 else math.nan

    def ppm(sigma: float) -> float:
        if not sigma > 0:
            return math.nan
        tails = [NormalDist().cdf((lsl - mean) / sigma), NormalDist().cdf((mean - usl) / sigma)]
        return 1e6 * sum(tail for tail in tails if not math.isnan(tail))

    return MoreIndices(
        _pair(mean, within, lsl, math.nan)[1],
        _pair(mean, within, math.nan, usl)[1],
        *_pair(mean, about_target, lsl, usl),
        ppm(within),
        ppm(overall),
        1e6 * outside / len(values),
    )
