"""Attribute charts by their definitions, in exact arithmetic as far as it goes."""

from __future__ import annotations

import math
from collections.abc import Sequence
from fractions import Fraction
from typing import NamedTuple


class Sample(NamedTuple):
    """A judged row: the plotted point, its centre line and limits, and its distance from the centre in standard deviations."""

    point: float
    centre: float
    lcl: float
    ucl: float
    z: float


def rate(counts: Sequence[int], sizes: Sequence[int]) -> Fraction:
    """Return all counts by all units."""
    return Fraction(sum(counts), sum(sizes))


def sample(kind: str, count: int, size: int, mean: Fraction, dispersion: float = 1.0) -> Sample:
    """Return one row of a p, np, c or u chart."""
    variance, highest = {
        "p": (mean * (1 - mean) / size, 1),
        "np": (mean * (1 - mean) * size, size),
        "c": (mean, math.inf),
        "u": (mean / size, math.inf),
    }[kind]
    point, centre = Fraction(count), mean
    if kind in ("p", "u"):
        point /= size
    if kind == "np":
        centre *= size
    sigma = dispersion * math.sqrt(variance)
    distance = float(point - centre)
    lcl, ucl = max(0.0, float(centre) - 3 * sigma), min(highest, float(centre) + 3 * sigma)
    return Sample(float(point), float(centre), lcl, ucl, distance / sigma if sigma else distance)
