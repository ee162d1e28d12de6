"""The formulas of capability: indices from a mean, a sigma and the specification limits, and the rows beyond them."""

from __future__ import annotations

import math

import numpy as np

from models.kernel import kernel


@kernel
def sides(mean: float, sigma: float, lsl: float, usl: float) -> tuple[float, float]:
    """Return (Cpl, Cpu), NaN for a limit that is NaN; sigma 0 has no index."""
    if not sigma > 0.0:
        return np.nan, np.nan
    return (mean - lsl) / (3.0 * sigma), (usl - mean) / (3.0 * sigma)


@kernel
def nearer(lower: float, upper: float) -> float:
    """Return the smaller of two indices, or the one that is a number."""
    if np.isnan(lower):
        return upper
    return lower if np.isnan(upper) else min(upper, lower)


@kernel
def indices(mean: float, sigma: float, lsl: float, usl: float) -> tuple[float, float]:
    """Return (Cp, Cpk) for a sigma within, or (Pp, Ppk) for an overall one. NaN where there is none.

    A limit that is NaN is not there: Cp then is NaN, and Cpk is that of the one limit. Sigma 0 has no index.

    >>> indices(16.0, 2.0, 8.0, 20.0)  # NIST/SEMATECH e-Handbook 6.1.6
    (1.0, 0.6666666666666666)
    """
    lower, upper = sides(mean, sigma, lsl, usl)
    return (usl - lsl) / (6.0 * sigma) if sigma > 0.0 else np.nan, nearer(lower, upper)


@kernel
def target_indices(mean: float, sigma: float, lsl: float, usl: float, target: float) -> tuple[float, float]:
    """Return (Cpm, Cpmk): Cp and Cpk with √(sigma² + (mean − target)²) in place of sigma.

    A target that is NaN is the middle of the limits; beside one limit alone there is none, and no index.

    >>> cpm, cpmk = target_indices(16.0, 2.0, 8.0, 20.0, 14.0)
    >>> round(cpm, 12), round(cpmk, 12)  # √½ and √2/3
    (0.707106781187, 0.471404520791)

    Reference: Chan, Cheng and Spiring, Journal of Quality Technology 20 (1988) 162; Pearn, Kotz and Johnson, ibid. 24
    (1992) 216.
    """
    if not sigma > 0.0:
        return np.nan, np.nan
    off = mean - (0.5 * (lsl + usl) if np.isnan(target) else target)
    if np.isnan(off):
        return np.nan, np.nan
    return indices(mean, math.sqrt(sigma * sigma + off * off), lsl, usl)


@kernel
def ppm_expected(mean: float, sigma: float, lsl: float, usl: float) -> tuple[float, float]:
    """Return how many of a million normal values lie below lsl, and above usl; 0 for a limit that is NaN.

    >>> below, above = ppm_expected(0.0, 1.0, -3.0, 3.0)
    >>> round(below, 2), round(above, 2)
    (1349.9, 1349.9)
    """
    if not sigma > 0.0:
        return np.nan, np.nan
    scale = 1.0 / (sigma * math.sqrt(2.0))
    below = 0.0 if np.isnan(lsl) else 5e5 * math.erfc((mean - lsl) * scale)
    above = 0.0 if np.isnan(usl) else 5e5 * math.erfc((usl - mean) * scale)
    return below, above
