"""Control-chart constants by computation: d2, d3, c4 and what follows from them, for subgroups of 2 to 25.

Books print these rounded to three or four digits. Here they are computed for normal data, so that a limit can be traced
to its definition, and rounded to 12 decimals, so that two machines whose libraries differ in the last bit still draw
the same limits.

Convention: the exact constants, unless a chart is told `d2_digits=3`. NIST, qcc and most books divide by d2 rounded to
three digits (1.128 for n = 2, 2.326 for n = 5), which moves a limit in its fifth digit.

Source: Montgomery, Introduction to SQC, 7th ed., appendix VI; ASTM Manual on Presentation of Data, 8th ed., tables
49–52.
"""

from __future__ import annotations

import math
from functools import lru_cache

import numpy as np
from scipy.special import ndtr

SUBGROUP_SIZE_MAX = 25
_DECIMALS = 12


@lru_cache(maxsize=1)
def _range_moments() -> np.ndarray:
    """Return E[R] and E[R²] of the range R of n standard normals: (SUBGROUP_SIZE_MAX + 1, 2), rows 0 and 1 are NaN.

    P(R ≤ r) = n ∫ φ(x) (Φ(x + r) − Φ(x))ⁿ⁻¹ dx; then E[R] = ∫ P(R > r) dr and E[R²] = 2 ∫ r P(R > r) dr. The inner
    integral by the trapezoid rule, which converges geometrically here, the outer by Gauss and Legendre.
    """
    x, step = np.linspace(-9.0, 9.0, 361, retstep=True)  # in sigmas
    nodes, weights = np.polynomial.legendre.leggauss(120)
    longest = 16.0  # P(R > 16 sigmas) < 1e-12 for n = 25
    r, weights = (nodes + 1.0) * longest / 2.0, weights * longest / 2.0
    density = np.exp(-0.5 * x * x) / math.sqrt(2.0 * math.pi) * step
    within = ndtr(x[:, None] + r) - ndtr(x)[:, None]
    moments = np.full((SUBGROUP_SIZE_MAX + 1, 2), np.nan)
    for n in range(2, SUBGROUP_SIZE_MAX + 1):
        beyond = 1.0 - n * (density[:, None] * within ** (n - 1)).sum(axis=0)
        moments[n] = (weights * beyond).sum(), (2.0 * weights * r * beyond).sum()
    return moments


def _checked(n: int) -> int:
    if not 2 <= n <= SUBGROUP_SIZE_MAX:
        raise ValueError(f"subgroup size {n}: constants are for 2 to {SUBGROUP_SIZE_MAX}")
    return n


def d2(n: int, digits: int | None = None) -> float:
    """Mean of the range of n standard normals, exact or rounded to `digits`. Raises ValueError unless 2 ≤ n ≤ 25.

    >>> d2(2), d2(5, digits=3)
    (1.128379167096, 2.326)
    """
    return round(float(_range_moments()[_checked(n), 0]), _DECIMALS if digits is None else digits)


def d3(n: int) -> float:
    """Return the standard deviation of the range of n standard normals."""
    first, second = _range_moments()[_checked(n)].tolist()
    return round(math.sqrt(second - first * first), _DECIMALS)


def c4(n: int) -> float:
    """Mean of the sample standard deviation of n standard normals: √(2/(n−1)) Γ(n/2) / Γ((n−1)/2)."""
    log_ratio = math.lgamma(_checked(n) / 2.0) - math.lgamma((n - 1) / 2.0)
    return round(math.sqrt(2.0 / (n - 1)) * math.exp(log_ratio), _DECIMALS)


def constants(n: int) -> dict[str, float]:
    """Return every constant of the tables for subgroups of n, by its name in the books.

    >>> {name: round(value, 3) for name, value in constants(5).items() if name in ("A2", "D3", "D4", "E2")}
    {'A2': 0.577, 'D3': 0.0, 'D4': 2.114, 'E2': 1.29}
    """
    mean, deviation, bias, root = d2(n), d3(n), c4(n), math.sqrt(n)
    spread = 3.0 * math.sqrt(1.0 - bias * bias)
    return {
        "d2": mean,
        "d3": deviation,
        "c4": bias,
        "A": 3.0 / root,
        "A2": 3.0 / (mean * root),
        "A3": 3.0 / (bias * root),
        "B3": max(0.0, 1.0 - spread / bias),
        "B4": 1.0 + spread / bias,
        "B5": max(0.0, bias - spread),
        "B6": bias + spread,
        "D1": max(0.0, mean - 3.0 * deviation),
        "D2": mean + 3.0 * deviation,
        "D3": max(0.0, 1.0 - 3.0 * deviation / mean),
        "D4": 1.0 + 3.0 * deviation / mean,
        "E2": 3.0 / mean,
    }


@lru_cache(maxsize=8)
def range_constants(digits: int | None = None) -> np.ndarray:
    """Return d2 and d3 by subgroup size: (26, 2) float64, read-only; row n is (d2(n), d3(n)), rows 0 and 1 are NaN."""
    table = np.full((SUBGROUP_SIZE_MAX + 1, 2), np.nan)
    for n in range(2, SUBGROUP_SIZE_MAX + 1):
        table[n] = d2(n, digits), d3(n)
    table.flags.writeable = False
    return table
