"""Values that are not normal: a test that says so, and transformations that make them normal.

Box and Cox raise positive values to a power; Johnson's three families also take bounded values (SB) and values with heavy
tails on both sides (SU). Capability of transformed values against transformed limits is that of the process, as far as
the transformed values are normal: test them.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
from scipy import stats

JOHNSON_Z = tuple(round(0.25 + 0.01 * step, 2) for step in range(101))  # quantiles tried, see `fit_johnson`
JOHNSON_P_MIN = 0.05  # of Anderson and Darling's test of the transformed values
NORMALITY_ROWS_MIN = 8  # the p-value's formula was fitted from there on
SHAPIRO_ROWS_MAX = 5000  # Royston's approximation was fitted up to there


@dataclass(frozen=True)
class NormalityTest:
    """How badly values fit a normal distribution with their own mean and sigma. A small p-value says: not normal."""

    anderson_darling: float  # A², as it is
    p_value: float  # of A²; NaN for fewer than NORMALITY_ROWS_MIN values or sigma 0
    shapiro_wilk: float  # W; NaN for more than SHAPIRO_ROWS_MAX values
    shapiro_wilk_p_value: float


def normality(values: np.ndarray) -> NormalityTest:
    """Test values (n,) without NaN for a normal distribution, by Anderson and Darling and by Shapiro and Wilk.

    >>> random = np.random.default_rng(1)
    >>> normality(random.normal(size=100)).p_value > 0.05, normality(random.exponential(size=100)).p_value < 0.005
    (True, True)

    Reference: D'Agostino and Stephens, Goodness-of-Fit Techniques (1986), table 4.9; Shapiro and Wilk, Biometrika 52 (1965)
    591, in scipy's form by Royston.
    """
    n = len(values)
    if n < NORMALITY_ROWS_MIN or np.ptp(values) == 0.0:
        return NormalityTest(math.nan, math.nan, math.nan, math.nan)
    a2 = anderson_darling(values)
    w, p = stats.shapiro(values) if n <= SHAPIRO_ROWS_MAX else (math.nan, math.nan)
    return NormalityTest(a2, anderson_darling_p_value(a2, n), float(w), float(p))


def anderson_darling(values: np.ndarray) -> float:
    """Return A² of values (n,) against the normal distribution with their mean and standard deviation (n − 1)."""
    n = len(values)
    z = (np.sort(values) - values.mean()) / values.std(ddof=1)
    weights = 2.0 * np.arange(1, n + 1) - 1.0
    return float(-n - (weights * (stats.norm.logcdf(z) + stats.norm.logsf(z[::-1]))).mean())


def anderson_darling_p_value(a2: float, n: int) -> float:
    """Return the p-value of A² of n values, mean and sigma estimated from them.

    >>> round(anderson_darling_p_value(0.752 / (1 + 0.75 / 50 + 2.25 / 2500), 50), 3)  # 0.752 is the 5 % point
    0.05
    """
    a = a2 * (1.0 + 0.75 / n + 2.25 / (n * n))
    if a >= 0.6:
        return math.exp(1.2937 - 5.709 * a + 0.0186 * a * a) if a < 150.0 else 0.0
    if a > 0.34:
        return math.exp(0.9177 - 4.279 * a - 1.38 * a * a)
    if a > 0.2:
        return 1.0 - math.exp(-8.318 + 42.796 * a - 59.938 * a * a)
    return 1.0 - math.exp(-13.436 + 101.14 * a - 223.73 * a * a)


@dataclass(frozen=True)
class BoxCox:
    """y = (u^power − 1)/power, or ln u for power 0, of u = x/scale; for positive x.

    Another scale gives other y, but no other index: it moves and stretches y and the limits alike. With the values' own scale
    digits are kept where they are far from 0 for their spread: of 110 ± 1 the power may be −20, and 110⁻²⁰ − 1 has no digits.
    """

    power: float
    scale: float = 1.0

    def __call__(self, x: np.ndarray | float) -> np.ndarray:
        """Return y; NaN where x is not positive (at 0 the limit, where it is finite)."""
        x = np.asarray(x, np.float64)
        with np.errstate(all="ignore"):
            log = np.log1p((x - self.scale) / self.scale)
            y = log if self.power == 0.0 else np.expm1(self.power * log) / self.power
        return np.where((x >= 0.0) & np.isfinite(y), y, np.nan)

    def inverse(self, y: np.ndarray | float) -> np.ndarray:
        """Return x of y; NaN where no x has it."""
        y = np.asarray(y, np.float64)
        with np.errstate(all="ignore"):
            log = y if self.power == 0.0 else np.log1p(self.power * y) / self.power
            return np.asarray(self.scale * np.exp(log))


def fit_box_cox(values: np.ndarray) -> BoxCox:
    """Return the transformation of the largest likelihood, in the scale of the values' geometric mean.

    Raises ValueError unless the values are positive and differ.

    Reference: Box and Cox, Journal of the Royal Statistical Society B 26 (1964) 211.
    """
    if not (values > 0.0).all() or np.ptp(values) == 0.0:
        raise ValueError("Box and Cox's transformation needs positive values that differ")
    scale = float(np.exp(np.log(values).mean()))
    return BoxCox(float(stats.boxcox_normmax(values / scale, method="mle")), scale)


@dataclass(frozen=True)
class Johnson:
    """z = gamma + eta · f((x − epsilon)/lamda), f by family: SU asinh(u), SB ln(u/(1 − u)), SL ln(u) with lamda 1."""

    family: str
    gamma: float
    eta: float
    epsilon: float
    lamda: float

    def __call__(self, x: np.ndarray | float) -> np.ndarray:
        """Return z; NaN where x is beyond what the family takes (SB: epsilon to epsilon + lamda; SL: above epsilon)."""
        u = (np.asarray(x, np.float64) - self.epsilon) / self.lamda
        with np.errstate(all="ignore"):
            shape = (
                np.arcsinh(u) if self.family == "SU" else np.log(u / (1.0 - u)) if self.family == "SB" else np.log(u)
            )
        return self.gamma + self.eta * np.where(np.isfinite(shape), shape, np.nan)

    def distribution(self, x: float) -> float:
        """Return how much of the fitted distribution is at most x."""
        z = float(self(x))
        if math.isnan(z):
            return 0.0 if x <= self.epsilon else 1.0
        return float(stats.norm.cdf(z))

    def inverse(self, z: np.ndarray | float) -> np.ndarray:
        """Return x of z."""
        y = (np.asarray(z, np.float64) - self.gamma) / self.eta
        u = np.sinh(y) if self.family == "SU" else 1.0 / (1.0 + np.exp(-y)) if self.family == "SB" else np.exp(y)
        return np.asarray(self.epsilon + self.lamda * u)


def fit_johnson(values: np.ndarray, reach: Iterable[float] = ()) -> Johnson:
    """Return the Johnson transformation after which the values (n,) are most nearly normal, by Anderson and Darling.

    For each z of JOHNSON_Z, four quantiles of the values (at −3z, −z, z, 3z of a normal distribution) choose the family and
    give its parameters; of all that can take every value, the one with the least A² is returned. One that can also take the
    numbers in `reach` (specification limits) comes first, if it makes the values normal (p ≥ JOHNSON_P_MIN): the bound of a
    bounded family is a guess from the extremes, and would say of a limit just beyond them that no value can pass it.
    Raises ValueError if there is none.

    Reference: Slifker and Shapiro, Technometrics 22 (1980) 239, for the formulas; Chou, Polansky and Mason, Journal of Quality
    Technology 30 (1998) 133, for the choice among z.
    """
    limits = np.array([limit for limit in reach if not math.isnan(limit)])
    best, least = None, math.inf
    reaching, least_reaching = None, math.inf
    for candidate in _candidates(np.sort(np.asarray(values, np.float64))):
        z = candidate(values)
        if np.isfinite(z).all() and np.ptp(z) > 0.0:
            a2 = anderson_darling(z)
            if a2 < least:
                best, least = candidate, a2
            if a2 < least_reaching and np.isfinite(candidate(limits)).all():
                reaching, least_reaching = candidate, a2
    if reaching is not None and anderson_darling_p_value(least_reaching, len(values)) >= JOHNSON_P_MIN:
        return reaching
    if best is None:
        raise ValueError(f"no Johnson distribution fits these {len(values)} values")
    return best


def _candidates(ordered: np.ndarray) -> Iterator[Johnson]:
    """Yield a Johnson distribution for every z whose four quantiles differ."""
    z = np.array(JOHNSON_Z)
    at = np.clip(len(ordered) * stats.norm.cdf(np.outer([-3.0, -1.0, 1.0, 3.0], z)) - 0.5, 0.0, len(ordered) - 1.0)
    quantiles = np.interp(at, np.arange(len(ordered)), ordered)
    for step, (x1, x2, x3, x4) in zip(JOHNSON_Z, quantiles.T.tolist(), strict=True):
        if x1 < x2 < x3 < x4:
            for candidate in _of_quantiles(
                step, (x4 - x3) / (x3 - x2), (x2 - x1) / (x3 - x2), x3 - x2, (x2 + x3) / 2.0
            ):
                if candidate.lamda > 0.0 and candidate.eta > 0.0 and math.isfinite(candidate.gamma + candidate.epsilon):
                    yield candidate


def _of_quantiles(z: float, m: float, n: float, p: float, centre: float) -> Iterator[Johnson]:
    """Yield SL and one of SU and SB by Slifker and Shapiro: m/p, n/p and p in their notation, and (x_z + x_−z)/2."""
    if m > 1.0:
        eta = 2.0 * z / math.log(m)
        epsilon = centre - p / 2.0 * (m + 1.0) / (m - 1.0)
        yield Johnson("SL", eta * math.log((m - 1.0) / (p * math.sqrt(m))), eta, epsilon, 1.0)
    product = (1.0 + 1.0 / m) * (1.0 + 1.0 / n)
    if m * n > 1.0:
        eta = 2.0 * z / math.acosh((m + n) / 2.0)
        root = math.sqrt(m * n - 1.0)
        scale = 2.0 * p * root / ((m + n - 2.0) * math.sqrt(m + n + 2.0))
        gamma = eta * math.asinh((n - m) / (2.0 * root))
        yield Johnson("SU", gamma, eta, centre + p * (n - m) / (2.0 * (m + n - 2.0)), scale)
    elif m * n < 1.0 and product > 4.0:
        over = 1.0 / (m * n) - 1.0
        eta = z / math.acosh(math.sqrt(product) / 2.0)
        gamma = eta * math.asinh((1.0 / n - 1.0 / m) * math.sqrt(product - 4.0) / (2.0 * over))
        scale = p * math.sqrt((product - 2.0) ** 2 - 4.0) / over
        yield Johnson("SB", gamma, eta, centre - scale / 2.0 + p * (1.0 / n - 1.0 / m) / (2.0 * over), scale)
