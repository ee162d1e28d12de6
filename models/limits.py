"""Control-chart constants by computation: d2, d3, c4 and what follows from them, for subgroups of 2 to 25.

Books print these rounded to three or four digits. Here they are computed for normal data, so that a limit can be traced
to its definition, and rounded to 12 decimals, so that two machines whose libraries differ in the last bit still draw
the same limits.

Convention: the exact constants, unless a chart is told `d2_digits=3`. NIST, qcc and most books divide by d2 rounded to
three digits (1.128 for n = 2, 2.326 for n = 5), which moves a limit in its fifth digit. With d2 of three digits goes d3 as R's
qcc has it (right to 2e-5): its printed limits of ranges then come out to their last digit. c4 is exact.

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
_QCC_D3 = (
    0.8525033, 0.8883697, 0.8798108, 0.8640855, 0.8480442, 0.8332108, 0.8198378, 0.8078413, 0.7970584, 0.7873230,
    0.7784873, 0.7704257, 0.7630330, 0.7562217, 0.7499188, 0.7440627, 0.7386021, 0.7334929, 0.7286980, 0.7241851,
    0.7199267, 0.7158987, 0.7120802, 0.7084528,
)  # fmt: skip  # n = 2 to 25: qcc.options("se.R.unscaled") of R's qcc 2.7
_BOOKS_DIGITS = 3
_SERIES_FROM = 400  # from this n on, c4 by its asymptotic series: there the gamma function has too few digits left


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
    """Return the standard deviation of the range of n standard normals. Raises ValueError unless 2 ≤ n ≤ 25."""
    first, second = _range_moments()[_checked(n)].tolist()
    return round(math.sqrt(second - first * first), _DECIMALS)


def c4(n: int) -> float:
    """Mean of the sample standard deviation of n standard normals: √(2/(n−1)) Γ(n/2) / Γ((n−1)/2), for any n ≥ 2.

    A pooled standard deviation of f degrees of freedom is divided by c4(f + 1), so n is not bounded by the tables.

    >>> c4(5), c4(100)
    (0.939985602987, 0.997477976071)
    """
    if n < 2:
        raise ValueError(f"subgroup size {n}: c4 is for 2 and more")
    freedom = n - 1
    if n < _SERIES_FROM:
        log_ratio = math.lgamma(n / 2.0) - math.lgamma(freedom / 2.0)
        return round(math.sqrt(2.0 / freedom) * math.exp(log_ratio), _DECIMALS)
    series = 1.0 - 1.0 / (4.0 * freedom) + 1.0 / (32.0 * freedom**2) + 5.0 / (128.0 * freedom**3)
    return round(series - 21.0 / (2048.0 * freedom**4), _DECIMALS)


def constants(n: int) -> dict[str, float]:
    """Return every constant of the tables for subgroups of n, by its name in the books.

    d2, d3: mean and standard deviation of R; c4: mean of s; all three in sigmas. The rest are factors of limits three
    standard deviations wide: A, A2, A3 of x̄ (times sigma, R̄, s̄); B3, B4 and B5, B6 of s (times s̄, sigma); D3, D4 and
    D1, D2 of R (times R̄, sigma); E2 of single values (times R̄). Raises ValueError unless 2 ≤ n ≤ 25.

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
    """Return mean and standard deviation of R in sigmas, by subgroup size.

    (26, 2) float64, read-only; row n is (d2(n), d3(n)), d2 exact or rounded to `digits`; with 3 digits d3 is qcc's. Rows 0 and
    1 are NaN.

    >>> range_constants()[5], range_constants(3)[5]
    (array([2.32592895, 0.86408194]), array([2.326    , 0.8640855]))
    """
    table = np.full((SUBGROUP_SIZE_MAX + 1, 2), np.nan)
    for n in range(2, SUBGROUP_SIZE_MAX + 1):
        table[n] = d2(n, digits), _QCC_D3[n - 2] if digits == _BOOKS_DIGITS else d3(n)
    table.flags.writeable = False
    return table


@lru_cache(maxsize=1)
def deviation_constants() -> np.ndarray:
    """Return mean and standard deviation of s in sigmas, by subgroup size.

    (26, 2) float64, read-only; row n is (c4(n), √(1 − c4(n)²)); rows 0 and 1 are NaN.
    """
    table = np.full((SUBGROUP_SIZE_MAX + 1, 2), np.nan)
    for n in range(2, SUBGROUP_SIZE_MAX + 1):
        table[n] = c4(n), math.sqrt(1.0 - c4(n) ** 2)
    table.flags.writeable = False
    return table
