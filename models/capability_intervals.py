"""Confidence intervals of capability indices: how far an index of n rows may be from that of the process.

Every function takes numbers or arrays of one shape, and returns (low, high) of that shape. `degrees` are the degrees of
freedom of the sigma in the index, see `degrees_of_freedom`.

What they cover, by simulation (`tests/models/test_capability_study.py`; nominal 95 %, normal data):

- Cp, Pp: exact where sigma is a standard deviation, pooled or overall; with effective degrees also from ranges.
- Cpk, Ppk by Bissell: 94.7 to 95.3 % from 20 rows on, for indices from 0.2 to 2, where the mean is half-way between the limits
  or half a sigma away from there. In between it covers more, up to 96.8 % for an index of 0.5 and 95.7 % for 1: there the mean
  is as likely to be nearer to the one limit as to the other. Half-way it does not cover evenly: the smaller of two sides is low
  by itself, and 4 of 5 misses lie below the true value. The same interval serves Cpl and Cpu.
- Cpk with moving ranges: a study takes half a degree of freedom less than the effective ones, and covers 94.3 % half-way (with
  the effective ones, 94.0) and 95.2 to 95.6 % half a sigma away, from 30 rows on.
- `cpk_interval_exact`: exact for a single limit, for any n ≥ 2. For the nearer of two limits it covers what Bissell's does.
- Cpm: 94.3 to 95.3 % from 60 rows on; with 30 rows 94.0 if the mean is 3 sigma off target.
"""

from __future__ import annotations

import math
from functools import lru_cache
from typing import Any

import numpy as np
from scipy import stats
from scipy.optimize import brentq
from scipy.special import ndtr

from models.limits import d2, d3

DEGREES = ("effective", "nominal", "rows")
"""Conventions for degrees of freedom, see `degrees_of_freedom`."""

Interval = tuple[Any, Any]  # (low, high), numbers or arrays


def _tails(confidence: float) -> tuple[float, float]:
    if not 0.0 < confidence < 1.0:
        raise ValueError(f"confidence = {confidence}: between 0 and 1")
    return (1.0 - confidence) / 2.0, (1.0 + confidence) / 2.0


def cp_interval(cp: Any, degrees: Any, confidence: float = 0.95) -> Interval:
    """Return the interval of Cp or Pp from the chi-square distribution of the variance.

    >>> low, high = cp_interval(1.703, 124)  # qcc prints 1.491 and 1.915 for the piston rings
    >>> print(f"{low:.3f} {high:.3f}")
    1.491 1.915

    Reference: Montgomery, Introduction to SQC, 7th ed., eq. 8.19; Kane, Journal of Quality Technology 18 (1986) 41.
    """
    low, high = _tails(confidence)
    return cp * np.sqrt(stats.chi2.ppf(low, degrees) / degrees), cp * np.sqrt(stats.chi2.ppf(high, degrees) / degrees)


def cpk_interval(cpk: Any, n: Any, degrees: Any, confidence: float = 0.95) -> Interval:
    """Return the interval of Cpk, Ppk, or an index of one side, for n rows: cpk ± z √(1/(9n) + cpk²/(2 degrees)).

    >>> low, high = cpk_interval(1.663, 125, 124)  # qcc prints 1.448 and 1.878 for the piston rings
    >>> print(f"{low:.3f} {high:.3f}")
    1.448 1.878

    Reference: Bissell, Applied Statistics 39 (1990) 331; Montgomery, Introduction to SQC, 7th ed., eq. 8.21.
    """
    half = stats.norm.ppf(_tails(confidence)[1]) * np.sqrt(1.0 / (9.0 * n) + cpk * cpk / (2.0 * degrees))
    return cpk - half, cpk + half


def cpk_interval_exact(cpk: float, n: int, degrees: float, confidence: float = 0.95) -> tuple[float, float]:
    """Return the interval of an index of one limit: 3 √n · index has a noncentral t distribution. Numbers only.

    >>> low, high = cpk_interval_exact(1.0, 30, 29)
    >>> print(f"{low:.3f} {high:.3f}")
    0.716 1.281

    Reference: Owen, Technometrics 10 (1968) 445; Chou, Owen and Borrego, Journal of Quality Technology 22 (1990) 223.
    """
    scale, tails = 3.0 * math.sqrt(n), _tails(confidence)
    ends = float(stats.chi.ppf(1e-14, degrees)), float(stats.chi.isf(1e-14, degrees))
    nodes, weights = _quadrature()
    chi = ends[0] + (ends[1] - ends[0]) * (nodes + 1.0) / 2.0
    weights = weights * stats.chi.pdf(chi, degrees)
    weights, ratio = weights / weights.sum(), chi / math.sqrt(degrees)

    def miss(true: float, tail: float) -> float:
        """P(estimate ≤ cpk) − tail, given the true index: the mean over chi of Φ(scale (cpk s − true))."""
        return float(weights @ ndtr(scale * (cpk * ratio - true))) - tail

    far = (abs(cpk) * float(ratio[-1]) + 1.0) + 20.0 / scale
    low, high = (float(brentq(miss, -far, far, args=(tail,), xtol=1e-13)) for tail in tails[::-1])
    return low, high


@lru_cache(maxsize=1)
def _quadrature() -> tuple[np.ndarray, np.ndarray]:
    """Return nodes and weights of Gauss and Legendre, from −1 to 1."""
    return np.polynomial.legendre.leggauss(200)


def cpm_interval(cpm: Any, off: Any, n: Any, degrees: Any, confidence: float = 0.95) -> Interval:
    """Return the interval of Cpm; `off` is (mean − target)/sigma.

    sigma² + (mean − target)² is taken as chi-square with (1 + d)² / (1/degrees + 2 d/n) degrees of freedom, d being
    off² − 1/n, or 0 if that is negative: off² by itself is 1/n too large on average.

    >>> low, high = cpm_interval(1.69, 0.1203, 125, 124)  # qcc prints 1.48 and 1.90 for the piston rings
    >>> print(f"{low:.2f} {high:.2f}")
    1.48 1.90

    Reference: Boyles, Journal of Quality Technology 23 (1991) 17 (there with n for the degrees of sigma, and off² for d).
    """
    square = np.maximum(0.0, off * off - 1.0 / n)
    return cp_interval(cpm, (1.0 + square) ** 2 / (1.0 / degrees + 2.0 * square / n), confidence)


def degrees_of_freedom(within: str, sizes: np.ndarray, convention: str = "effective") -> float:
    """Return the degrees of freedom of a sigma within, from subgroups of these sizes; for "moving_range", of one size n.

    | within | effective | nominal | rows |
    |---|---|---|---|
    | pooled | Σ (n − 1) | Σ (n − 1) | all rows − 1 |
    | range | of a chi with the variance of R̄/d2 | 0.9 Σ (n − 1) | all rows − 1 |
    | moving_range | of a chi with the variance of MRbar/d2, about 0.605 (n − 1) | n − 1 | all rows − 1 |

    "nominal" are the ones that Minitab documents, "rows" those that qcc takes. Neighbouring moving ranges share a row, so
    that n − 1 of them say less than n − 1 degrees of freedom: with these a 95 % interval covers 87 %.
    Raises ValueError for another name.

    >>> rings, rows = np.full(25, 5), np.array([101])
    >>> [round(degrees_of_freedom("range", rings, convention), 1) for convention in DEGREES]
    [90.8, 90.0, 124.0]
    >>> [round(degrees_of_freedom("moving_range", rows, convention), 1) for convention in DEGREES]
    [60.9, 100.0, 100.0]

    Reference: Patnaik, Biometrika 37 (1950) 78; for moving ranges Cryer and Ryan, Journal of Quality Technology 22 (1990) 187.
    """
    if convention not in DEGREES:
        raise ValueError(f"degrees = {convention!r}: one of {', '.join(DEGREES)}")
    sizes = np.asarray(sizes)[np.asarray(sizes) > 1]
    rows = float(sizes.sum())
    free = rows - len(sizes)
    if convention == "rows":
        return rows - 1.0
    if within == "pooled":
        return free
    if within == "range":
        ratios = np.array([d3(int(size)) / d2(int(size)) for size in sizes])
        return 0.9 * free if convention == "nominal" else _chi_degrees(float((ratios**2).sum()) / len(sizes) ** 2)
    if within == "moving_range":
        if convention == "nominal":
            return free
        together = 4.0 / np.pi * (np.sqrt(0.75) + np.pi / 12.0 - 1.0) / d3(2) ** 2  # correlation of neighbours, 0.224
        return _chi_degrees((d3(2) / d2(2)) ** 2 / free * (1.0 + 2.0 * together * (1.0 - 1.0 / free)))
    raise ValueError(f"within = {within!r}: one of moving_range, pooled, range")


def _chi_degrees(squared_variation: float) -> float:
    """Return the degrees of freedom of a chi with this square of its coefficient of variation, to 1/degrees²."""
    return float(0.5 / squared_variation + 0.25)
