"""A capability study of an array: all indices with confidence intervals, normal or not.

`models.capability` says the same of a stream, row by row, without intervals. Here the values are at hand, so that their
distribution can be tested, transformed or fitted.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import stats

from models.capability_indices import indices, ppm_expected, sides, target_indices
from models.capability_intervals import DEGREES, cp_interval, cpk_interval, cpm_interval, degrees_of_freedom
from models.judging import as_values
from models.limits import SUBGROUP_SIZE_MAX, d2
from models.moments import Moments
from models.nonnormal import BoxCox, Johnson, NormalityTest, fit_box_cox, fit_johnson, normality

METHODS = ("normal", "percentile", "box-cox", "johnson")
ESTIMATORS = ("moving_range", "pooled", "range")
ROWS_MIN = 2
QUANTILES = (0.00135, 0.5, 0.99865)  # of a normal distribution: mean − 3 sigma, mean, mean + 3 sigma

LESS = 0.5  # degrees of freedom in Bissell's interval with moving ranges, see `models.capability_intervals`

Percentiles = tuple[float, float, float]


@dataclass(frozen=True)
class Ppm:
    """How many of a million values lie outside the limits; 0 on a side without a limit."""

    below: float
    above: float

    @property
    def total(self) -> float:
        """Return both sides together."""
        return self.below + self.above


@dataclass(frozen=True)
class CapabilityStudy:
    """What a study found; NaN where there is no such number. mean and sigmas are in the unit of the transformed values."""

    n: int
    method: str  # of METHODS
    transform: BoxCox | Johnson | None  # of "box-cox" and "johnson"
    lsl: float  # the limits as given
    usl: float
    target: float  # the middle of the limits if none was given
    mean: float
    sigma_within: float
    sigma_overall: float
    within: str  # of ESTIMATORS
    degrees_within: float  # of freedom, of sigma_within
    degrees_overall: float
    percentiles: Percentiles  # X0.135, X50, X99.865 of the distribution, in the unit of the values

    Cp: float  # within
    Cpk: float
    Cpl: float
    Cpu: float
    Cpm: float  # about the target
    Cpmk: float
    Pp: float  # overall
    Ppk: float
    Ppl: float
    Ppu: float
    Cpm_overall: float
    Cpmk_overall: float
    k: float  # |mean − middle| / half the tolerance

    confidence: float
    intervals: Mapping[str, tuple[float, float]]  # by the names of the indices that have one
    ppm_within: Ppm
    ppm_overall: Ppm
    ppm_observed: Ppm
    normality: NormalityTest  # of the values that the indices are computed from, so after a transformation


def capability_study(
    values: Any,
    *,
    lsl: float | None = None,
    usl: float | None = None,
    target: float | None = None,
    subgroup: Any = None,
    within: str | None = None,
    confidence: float = 0.95,
    method: str = "normal",
    distribution: str | None = None,
    degrees: str = "effective",
    d2_digits: int | None = None,
) -> CapabilityStudy:
    """Return the capability of values (n,), or (k, n) in k subgroups, against one or two specification limits.

    NaN are left out. `subgroup` are n labels, or the size of subgroups of consecutive rows. Sigma `within` is "pooled" or
    "range" (mean R/d2) of the subgroups, "moving_range" (MRbar/d2) of the rows in order; by default pooled where there are
    subgroups, else of moving ranges. `degrees` is the convention for its degrees of freedom, see
    `models.capability_intervals.degrees_of_freedom`; "rows" with within="range" and d2_digits=3 is what R's qcc prints.

    Methods:

    - "normal": from mean and sigma.
    - "box-cox", "johnson": values, limits and target are transformed, and the rest is as for "normal". A limit that is beyond
      what the transformation takes (a power of a negative number) is one that no value can pass: it counts as none. Of
      Johnson's, one that takes the limits is preferred.
    - "percentile" (ISO 22514-2): overall indices from X0.135, X50 and X99.865 of `distribution`: None for the quantiles of the
      values themselves (below 1,000 or so these are their extremes), "johnson", or the name of one of scipy.stats, fitted by
      maximum likelihood ("weibull_min", "lognorm"). There are no indices within, no intervals.

    Raises ValueError for fewer than 2 values, infinite values, no limit, lsl ≥ usl, and names that are none.

    >>> s = capability_study([14.0, 16.0, 18.0], lsl=8.0, usl=20.0, target=14.0, subgroup=3)  # NIST 6.1.6: mean 16, s 2
    >>> print(f"{s.Cp:.4f} {s.Cpk:.4f} {s.Cpl:.4f} {s.Cpu:.4f} {s.k:.4f} {s.Cpm:.4f} {s.Cpmk:.4f}")
    1.0000 0.6667 1.3333 0.6667 0.3333 0.7071 0.4714

    Reference: ISO 22514-2; NIST/SEMATECH e-Handbook 6.1.6; Montgomery, Introduction to SQC, 7th ed., §8.3.
    """
    low, high, aim = (math.nan if limit is None else float(limit) for limit in (lsl, usl, target))
    _checked(low, high, method, within, degrees, distribution)
    x, groups = _grouped(values, subgroup)
    if math.isnan(aim):
        aim = (low + high) / 2.0
    if method == "percentile":
        return _by_percentiles(x, low, high, aim, distribution, confidence)
    transform = fit_box_cox(x) if method == "box-cox" else fit_johnson(x, (low, high)) if method == "johnson" else None
    if transform is None:
        return _normal(
            x, groups, (low, high, aim), (low, high, aim), None, method, within, confidence, degrees, d2_digits
        )
    y = transform(x)
    moved = (float(transform(low)), float(transform(high)), float(transform(aim)))
    moved_groups = groups if groups is None else [transform(group) for group in groups]
    return _normal(y, moved_groups, moved, (low, high, aim), transform, method, within, confidence, degrees, d2_digits)


def _checked(low: float, high: float, method: str, within: str | None, degrees: str, distribution: str | None) -> None:
    """Raise ValueError for what has no meaning."""
    if math.isnan(low) and math.isnan(high):
        raise ValueError("no specification limit: give lsl, usl or both")
    if low >= high or math.isinf(low) or math.isinf(high):
        raise ValueError(f"lsl = {low:g}, usl = {high:g}: finite, and lsl below usl")
    for name, given, known in (("method", method, METHODS), ("degrees", degrees, DEGREES)):
        if given not in known:
            raise ValueError(f"{name} = {given!r}: one of {', '.join(known)}")
    if within is not None and within not in ESTIMATORS:
        raise ValueError(f"within = {within!r}: one of {', '.join(ESTIMATORS)}")
    if distribution is not None and method != "percentile":
        raise ValueError(f"distribution = {distribution!r}: only method='percentile' has one, not {method!r}")
    if distribution not in (None, "johnson") and not isinstance(
        getattr(stats, str(distribution), None), stats.rv_continuous
    ):
        raise ValueError(f"distribution = {distribution!r}: 'johnson', or a continuous distribution of scipy.stats")


def _grouped(values: Any, subgroup: Any) -> tuple[np.ndarray, list[np.ndarray] | None]:
    """Return the values that are there, in order, and their subgroups if there are any."""
    x = as_values(values)
    if x.ndim == 2 and subgroup is None:
        subgroup, x = np.repeat(np.arange(x.shape[0]), x.shape[1]), x.reshape(-1)
    if x.ndim != 1:
        raise ValueError(f"values {x.shape}: (n,), or (k, n) in k subgroups and then no other subgroup")
    if subgroup is not None and np.ndim(subgroup) == 0:
        if int(subgroup) < 1:
            raise ValueError(f"subgroup = {subgroup}: a size of at least 1, or a label for each row")
        subgroup = np.arange(len(x)) // int(subgroup)
    there = ~np.isnan(x)
    if int(there.sum()) < ROWS_MIN or np.isinf(x).any():
        raise ValueError(
            f"{int(there.sum())} values, {int(np.isinf(x).sum())} infinite: at least {ROWS_MIN} finite ones"
        )
    if subgroup is None:
        return x[there], None
    labels = np.asarray(subgroup)
    if labels.shape != x.shape:
        raise ValueError(f"subgroup: {labels.shape} labels for {x.shape} values")
    codes = np.unique(labels[there], return_inverse=True)[1].reshape(-1)
    order = np.argsort(codes, kind="stable")
    return x[there], np.split(x[there][order], np.flatnonzero(np.diff(codes[order])) + 1)


def _sigma_within(
    x: np.ndarray, groups: list[np.ndarray] | None, within: str, degrees: str, d2_digits: int | None
) -> tuple[float, float]:
    """Return sigma within, and its degrees of freedom; NaN where no subgroup has two rows."""
    if within == "moving_range":
        return float(np.abs(np.diff(x)).mean()) / d2(2, d2_digits), degrees_of_freedom(
            within, np.array([len(x)]), degrees
        )
    if groups is None:
        raise ValueError(f"within = {within!r} needs subgroups")
    several = [group for group in groups if len(group) > 1]
    if not several:
        return math.nan, math.nan
    sizes = np.array([len(group) for group in several])
    if within == "range" and sizes.max() > SUBGROUP_SIZE_MAX:
        raise ValueError(
            f"within = 'range': a subgroup of {sizes.max()} rows; constants are for 2 to {SUBGROUP_SIZE_MAX}"
        )
    free = degrees_of_freedom(within, sizes, degrees)
    if within == "range":
        return float(np.mean([np.ptp(group) / d2(len(group), d2_digits) for group in several])), free
    squares = math.fsum(Moments.of(group).deviation ** 2 * (len(group) - 1) for group in several)
    return math.sqrt(squares / (sizes.sum() - len(sizes))), free


def _normal(
    y: np.ndarray,
    groups: list[np.ndarray] | None,
    limits: tuple[float, float, float],
    given: tuple[float, float, float],
    transform: BoxCox | Johnson | None,
    method: str,
    within: str | None,
    confidence: float,
    degrees: str,
    d2_digits: int | None,
) -> CapabilityStudy:
    """Return the study of values that are taken for normal; `limits` are in their unit, `given` in that of the user."""
    low, high, aim = limits
    n, moments = len(y), Moments.of(y)
    mean, overall = moments.mean, moments.deviation
    named = within or ("moving_range" if groups is None else "pooled")
    sigma, free = _sigma_within(y, groups, named, degrees, d2_digits)
    cp, cpk = indices(mean, sigma, low, high)
    pp, ppk = indices(mean, overall, low, high)
    cpm, cpmk = target_indices(mean, sigma, low, high, aim)
    cpm_overall, cpmk_overall = target_indices(mean, overall, low, high, aim)
    (cpl, cpu), (ppl, ppu) = sides(mean, sigma, low, high), sides(mean, overall, low, high)
    found: dict[str, tuple[Any, Any]] = {
        "Cp": cp_interval(cp, free, confidence),
        "Pp": cp_interval(pp, n - 1, confidence),
    }
    lessened = LESS if named == "moving_range" and degrees == "effective" else 0.0
    for name, index in (("Cpk", cpk), ("Cpl", cpl), ("Cpu", cpu)):
        found[name] = cpk_interval(index, n, free - lessened, confidence)
    for name, index in (("Ppk", ppk), ("Ppl", ppl), ("Ppu", ppu)):
        found[name] = cpk_interval(index, n, n - 1, confidence)
    for name, index, spread, freedom in (("Cpm", cpm, sigma, free), ("Cpm_overall", cpm_overall, overall, n - 1)):
        if not math.isnan(index):
            found[name] = cpm_interval(index, (mean - aim) / spread, n, freedom, confidence)
    standard = mean + overall * np.array([-3.0, 0.0, 3.0])
    back: Percentiles = tuple(_back(transform, standard).tolist())
    return CapabilityStudy(
        n=n, method=method, transform=transform, lsl=given[0], usl=given[1], target=given[2],
        mean=mean, sigma_within=sigma, sigma_overall=overall, within=named, degrees_within=free, degrees_overall=n - 1.0,
        percentiles=back, Cp=cp, Cpk=cpk, Cpl=cpl, Cpu=cpu, Cpm=cpm, Cpmk=cpmk, Pp=pp, Ppk=ppk, Ppl=ppl, Ppu=ppu,
        Cpm_overall=cpm_overall, Cpmk_overall=cpmk_overall, k=abs(2.0 * mean - low - high) / (high - low),
        confidence=confidence, intervals=_plain(found), ppm_within=Ppm(*ppm_expected(mean, sigma, low, high)),
        ppm_overall=Ppm(*ppm_expected(mean, overall, low, high)), ppm_observed=_observed(y, low, high), normality=normality(y),
    )  # fmt: skip


def _plain(found: Mapping[str, tuple[Any, Any]]) -> dict[str, tuple[float, float]]:
    """Return the intervals as numbers, those that there are."""
    return {name: (float(a), float(b)) for name, (a, b) in found.items() if not math.isnan(float(a))}


def _back(transform: BoxCox | Johnson | None, y: np.ndarray) -> np.ndarray:
    """Return transformed values in the unit of the values."""
    return y if transform is None else transform.inverse(y)


def _observed(x: np.ndarray, low: float, high: float) -> Ppm:
    return Ppm(1e6 * float((x < low).mean()), 1e6 * float((x > high).mean()))


def _by_percentiles(
    x: np.ndarray, low: float, high: float, aim: float, distribution: str | None, confidence: float
) -> CapabilityStudy:
    """Return the study by ISO 22514-2: half spreads from the median to X0.135 and X99.865."""
    quantile, cdf = _fitted(x, distribution, (low, high))
    bottom, middle, top = (float(quantile(q)) for q in QUANTILES)
    moments, nan, none = Moments.of(x), math.nan, Ppm(math.nan, math.nan)
    ppl = (middle - low) / (middle - bottom) if middle > bottom else nan
    ppu = (high - middle) / (top - middle) if top > middle else nan
    below = 0.0 if math.isnan(low) else 1e6 * float(cdf(low))
    above = 0.0 if math.isnan(high) else 1e6 * (1.0 - float(cdf(high)))
    return CapabilityStudy(
        n=len(x), method="percentile", transform=None, lsl=low, usl=high, target=aim,
        mean=moments.mean, sigma_within=nan, sigma_overall=moments.deviation, within="", degrees_within=nan,
        degrees_overall=len(x) - 1.0, percentiles=(bottom, middle, top),
        Cp=nan, Cpk=nan, Cpl=nan, Cpu=nan, Cpm=nan, Cpmk=nan, Pp=(high - low) / (top - bottom) if top > bottom else nan,
        Ppk=float(np.fmin(ppl, ppu)), Ppl=ppl, Ppu=ppu, Cpm_overall=nan, Cpmk_overall=nan,
        k=abs(2.0 * middle - low - high) / (high - low), confidence=confidence, intervals={},
        ppm_within=none, ppm_overall=Ppm(below, above), ppm_observed=_observed(x, low, high), normality=normality(x),
    )  # fmt: skip


def _fitted(
    x: np.ndarray, distribution: str | None, limits: tuple[float, float]
) -> tuple[Callable[[float], Any], Callable[[float], Any]]:
    """Return quantile function and distribution function of the values, or of what was fitted to them."""
    if distribution is None:
        return lambda q: np.quantile(x, q), lambda at: np.mean(x <= at)
    if distribution == "johnson":
        johnson = fit_johnson(x, limits)
        return lambda q: johnson.inverse(stats.norm.ppf(q)), johnson.distribution
    fitted = getattr(stats, distribution)(*getattr(stats, distribution).fit(x))
    return fitted.ppf, fitted.cdf
