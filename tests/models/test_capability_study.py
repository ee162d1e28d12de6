"""Capability studies: published examples, the stream's own numbers, and what the intervals cover."""

import copy
import csv
import math
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from models import judge
from models.capability import Capability
from models.capability_intervals import (
    cp_interval,
    cpk_interval,
    cpk_interval_exact,
    cpm_interval,
    degrees_of_freedom,
)
from models.capability_study import LESS, CapabilityStudy, Ppm, capability_study
from models.limits import d2
from models.nonnormal import (
    BoxCox,
    Johnson,
    anderson_darling,
    anderson_darling_p_value,
    fit_box_cox,
    fit_johnson,
    normality,
)

DATA = Path(__file__).parent / "data"
SAMPLES = 10_000
WITHIN_POINTS = 0.007  # of coverage


def piston_rings() -> np.ndarray:
    with (DATA / "pistonrings.csv").open() as file:
        return np.array([float(row["diameter"]) for row in csv.DictReader(file) if row["trial"] == "True"])


def covered(interval: tuple[np.ndarray, np.ndarray], true: float) -> float:
    return float(((interval[0] <= true) & (true <= interval[1])).mean())


def test_qcc_piston_rings_to_the_printed_digits() -> None:
    rings = piston_rings()
    study = capability_study(
        rings, lsl=73.95, usl=74.05, target=74.0, subgroup=5, within="range", d2_digits=3, degrees="rows"
    )
    assert study.sigma_within == pytest.approx(0.009785039, abs=5e-10)
    assert study.mean == pytest.approx(74.00118, abs=5e-6)
    for name, digits, printed in (
        ("Cp", 3, (1.703, 1.491, 1.915)),
        ("Cpk", 3, (1.663, 1.448, 1.878)),
        ("Cpm", 2, (1.69, 1.48, 1.90)),
    ):
        assert tuple(round(x, digits) for x in (getattr(study, name), *study.intervals[name])) == printed
    assert study.ppm_observed == Ppm(0.0, 0.0)
    as_matrix = capability_study(
        rings.reshape(25, 5), lsl=73.95, usl=74.05, target=74.0, within="range", d2_digits=3, degrees="rows"
    )
    assert as_matrix == study == copy.deepcopy(study)


def test_nist_example() -> None:
    study = capability_study([14.0, 16.0, 18.0], lsl=8.0, usl=20.0, target=14.0, subgroup=["a"] * 3)
    assert (study.mean, study.sigma_within, study.sigma_overall) == (16.0, 2.0, 2.0)
    published = {"Cp": 1.0, "Cpk": 0.6667, "Cpl": 1.3333, "Cpu": 0.6667, "k": 0.3333, "Pp": 1.0, "Ppk": 0.6667}
    assert {name: round(getattr(study, name), 4) for name in published} == published
    for cpm, cpmk in ((study.Cpm, study.Cpmk), (study.Cpm_overall, study.Cpmk_overall)):
        assert (cpm, cpmk) == pytest.approx((math.sqrt(0.5), 0.4714045207910317), rel=1e-15)
    assert study.ppm_overall.total == pytest.approx(1e6 * (stats.norm.sf(2.0) + stats.norm.sf(4.0)))


@pytest.mark.parametrize("within", ["moving_range", "pooled", "range"])
def test_a_study_says_what_the_stream_says(within: str) -> None:
    random = np.random.default_rng(11)
    values, groups = random.normal(10.0, 1.0, 61), np.arange(61) // 4
    study = capability_study(values, lsl=6.5, usl=13.0, target=10.5, subgroup=groups, within=within)
    stream = judge(
        Capability(2, within=within), [*values, np.nan], lsl=6.5, usl=13.0, target=10.5, subgroup=[*groups, 99]
    )
    said = dict(zip(Capability().statistics, stream.statistic[-2].tolist(), strict=True))
    for name in ("Cp", "Cpk", "Pp", "Ppk", "Cpl", "Cpu", "Cpm", "Cpmk"):
        assert getattr(study, name) == pytest.approx(said[name], rel=1e-12), name
    for name in ("ppm_within", "ppm_overall", "ppm_observed"):
        assert getattr(study, name).total == pytest.approx(said[name], rel=1e-11), name


def test_one_limit() -> None:
    values = np.random.default_rng(2).normal(10.0, 1.0, 50)
    upper, lower = capability_study(values, usl=14.0, target=9.0), capability_study(values, lsl=7.0)
    assert upper.Cpk == upper.Cpu == pytest.approx((14.0 - values.mean()) / 3 / upper.sigma_within)
    assert lower.Ppk == lower.Ppl == pytest.approx((values.mean() - 7.0) / 3 / values.std(ddof=1))
    assert set(upper.intervals) == {"Cpk", "Cpu", "Ppk", "Ppu"}
    assert all(math.isnan(x) for x in (upper.Cp, upper.Pp, upper.Cpl, upper.Cpm, upper.k, lower.Cpmk, lower.target))
    assert upper.Cpmk == pytest.approx((14.0 - values.mean()) / 3 / math.hypot(upper.sigma_within, values.mean() - 9.0))
    assert (upper.ppm_overall.below, lower.ppm_overall.above) == (0.0, 0.0)


def test_gaps_are_left_out_and_singletons_give_no_sigma_within() -> None:
    values = [9.0, np.nan, 11.0, 10.0, np.nan, 12.0]
    assert capability_study(values, lsl=4.0, usl=16.0) == capability_study([9.0, 11.0, 10.0, 12.0], lsl=4.0, usl=16.0)
    alone = capability_study(values, lsl=4.0, usl=16.0, subgroup=range(6))
    assert math.isnan(alone.Cp)
    assert alone.Pp == pytest.approx(12 / 6 / np.std([9.0, 11.0, 10.0, 12.0], ddof=1))
    mixed = capability_study(values, lsl=4.0, usl=16.0, subgroup=["b", "b", "a", "b", "c", "a"])
    assert mixed.sigma_within == pytest.approx(math.sqrt((0.5 + 0.5) / 2))


def test_a_constant_has_no_index() -> None:
    study = capability_study([10.0] * 10, lsl=4.0, usl=9.0)
    assert math.isnan(study.Cp)
    assert math.isnan(study.Ppk)
    assert study.intervals == {}
    assert study.ppm_observed == Ppm(0.0, 1e6)
    assert math.isnan(study.normality.p_value)
    assert math.isnan(capability_study([10.0] * 10, lsl=4.0, usl=9.0, method="percentile").Ppk)


# What the intervals cover: 10,000 samples each, nominal 95 %.


def deviations(random: np.random.Generator, n: int, degrees: int) -> tuple[np.ndarray, np.ndarray]:
    """Return means of n standard normals, and standard deviations with `degrees` of freedom."""
    return random.standard_normal(SAMPLES) / math.sqrt(n), np.sqrt(random.chisquare(degrees, SAMPLES) / degrees)


@pytest.mark.parametrize("n", [5, 30, 100])
def test_cp_covers(n: int) -> None:
    _, s = deviations(np.random.default_rng(1), n, n - 1)
    assert covered(cp_interval(1.33 / s, n - 1), 1.33) == pytest.approx(0.95, abs=WITHIN_POINTS)
    assert covered(cp_interval(1.33 / s, n - 1, 0.9), 1.33) == pytest.approx(0.9, abs=0.01)


@pytest.mark.parametrize("n", [20, 100, 500])
@pytest.mark.parametrize("cpk", [0.33, 1.0, 1.33, 2.0])
@pytest.mark.parametrize("off", [0.0, 1.0])
def test_cpk_covers_from_twenty_rows_on(n: int, cpk: float, off: float) -> None:
    mean, s = deviations(np.random.default_rng(n), n, n - 1)
    usl = off + 3.0 * cpk  # the limits are −usl and usl, the mean is off
    estimate = np.minimum(usl - off - mean, off + mean + usl) / (3.0 * s)
    assert covered(cpk_interval(estimate, n, n - 1), cpk) == pytest.approx(0.95, abs=WITHIN_POINTS)


def test_cpk_covers_with_sigma_within() -> None:
    mean, s = deviations(np.random.default_rng(4), 125, 100)
    estimate = (4.0 - mean) / (3.0 * s)
    assert covered(cpk_interval(estimate, 125, 100), 4 / 3) == pytest.approx(0.95, abs=WITHIN_POINTS)


@pytest.mark.parametrize(("n", "degrees"), [(3, 2), (10, 9), (50, 40)])
@pytest.mark.parametrize("true", [-0.2, 0.3, 1.33])
def test_exact_interval_of_one_limit_covers_for_any_n(n: int, degrees: int, true: float) -> None:
    scale = 3.0 * math.sqrt(n)
    least, most = (stats.nct.ppf(tail, degrees, scale * true) / scale for tail in (0.025, 0.975))
    assert cpk_interval_exact(most, n, degrees)[0] == pytest.approx(true, abs=1e-7)
    assert cpk_interval_exact(least, n, degrees)[1] == pytest.approx(true, abs=1e-7)
    mean, s = deviations(np.random.default_rng(5), n, degrees)
    estimate = (3.0 * true - mean) / (3.0 * s)
    assert ((least <= estimate) & (estimate <= most)).mean() == pytest.approx(0.95, abs=WITHIN_POINTS)


@pytest.mark.parametrize("n", [60, 200])
@pytest.mark.parametrize("off", [0.0, 0.5, 1.5])
def test_cpm_covers(off: float, n: int) -> None:
    mean, s = deviations(np.random.default_rng(6), n, n - 1)
    true = 4.0 / 3.0 / math.hypot(1.0, off)
    estimate = 4.0 / 3.0 / np.hypot(s, off + mean)
    assert covered(cpm_interval(estimate, (off + mean) / s, n, n - 1), true) == pytest.approx(0.95, abs=WITHIN_POINTS)


@pytest.mark.parametrize(("k", "n"), [(25, 5), (40, 3), (12, 8)])
def test_effective_degrees_of_ranges_cover(k: int, n: int) -> None:
    x = np.random.default_rng(7).standard_normal((SAMPLES, k, n))
    cp = d2(n) / np.ptp(x, axis=2).mean(axis=1)
    for convention in ("effective", "nominal"):
        free = degrees_of_freedom("range", np.full(k, n), convention)
        assert covered(cp_interval(cp, free), 1.0) == pytest.approx(0.95, abs=WITHIN_POINTS), convention


def test_effective_degrees_of_moving_ranges_cover_and_nominal_ones_do_not() -> None:
    x = np.random.default_rng(8).standard_normal((SAMPLES, 100))
    cp = d2(2) / np.abs(np.diff(x, axis=1)).mean(axis=1)
    effective, nominal = (degrees_of_freedom("moving_range", np.array([100]), how) for how in ("effective", "nominal"))
    assert covered(cp_interval(cp, effective), 1.0) == pytest.approx(0.95, abs=WITHIN_POINTS)
    assert covered(cp_interval(cp, nominal), 1.0) < 0.9


@pytest.mark.parametrize(("off", "least", "most"), [(0.0, 0.940, 0.950), (0.5, 0.948, 0.959)])
def test_a_study_by_moving_ranges_covers_from_thirty_rows_on(off: float, least: float, most: float) -> None:
    x = np.random.default_rng(16).standard_normal((2 * SAMPLES, 30))
    sigma = np.abs(np.diff(x, axis=1)).mean(axis=1) / d2(2)
    upper, lower = 3.0 - x.mean(axis=1), x.mean(axis=1) + 3.0 + 2.0 * off
    free = degrees_of_freedom("moving_range", np.array([30])) - LESS
    assert least < covered(cpk_interval(np.minimum(upper, lower) / (3.0 * sigma), 30, free), 1.0) < most
    study = capability_study(x[0], lsl=-3.0 - 2.0 * off, usl=3.0)
    assert study.intervals["Cpk"] == pytest.approx(cpk_interval(study.Cpk, 30, free))


def test_intervals_of_whole_studies_cover() -> None:
    random, true, samples = np.random.default_rng(9), 4.0 / 3.0, 120
    hits = dict.fromkeys(("Cp", "Cpk", "Pp", "Ppk"), 0)
    for _ in range(samples):
        study = capability_study(random.standard_normal((20, 5)), lsl=-5.0, usl=4.0)
        for name, index in (("Cp", 1.5), ("Cpk", true), ("Pp", 1.5), ("Ppk", true)):
            low, high = study.intervals[name]
            hits[name] += low <= index <= high
    assert all(0.89 < count / samples < 0.99 for count in hits.values()), hits


# Normality, and values that are not normal.


def test_anderson_darling_is_scipys_and_its_points_are_the_published_ones() -> None:
    values = np.random.default_rng(10).gamma(3.0, size=40)
    assert anderson_darling(values) == pytest.approx(
        stats.anderson(values, "norm", method="interpolate").statistic, rel=1e-12
    )
    for point, p in ((0.631, 0.10), (0.752, 0.05), (0.873, 0.025), (1.035, 0.01)):  # D'Agostino and Stephens, table 4.7
        assert anderson_darling_p_value(point / (1 + 0.75 / 100 + 2.25 / 1e4), 100) == pytest.approx(p, rel=0.02)
    assert [anderson_darling_p_value(a, 10**9) for a in (0.1, 0.25)] == pytest.approx([0.99615, 0.74465], abs=1e-5)
    assert anderson_darling_p_value(1e4, 50) == 0.0


def test_normality_has_its_level() -> None:
    random = np.random.default_rng(12)
    rejected = np.mean([normality(random.normal(5.0, 2.0, 25)).p_value < 0.1 for _ in range(600)])
    assert rejected == pytest.approx(0.1, abs=0.035)
    w = normality(random.normal(size=20))
    assert 0.0 < w.shapiro_wilk <= 1.0
    assert math.isnan(normality(random.normal(size=5001)).shapiro_wilk)
    assert math.isnan(normality(random.normal(size=7)).anderson_darling)


@pytest.mark.parametrize(
    "true", [Johnson("SU", -1.0, 1.5, 2.0, 3.0), Johnson("SB", 0.5, 0.8, 1.0, 4.0), Johnson("SB", -0.4, 1.2, -3.0, 2.0)]
)
def test_johnson_finds_what_made_the_values(true: Johnson) -> None:
    values = true.inverse(stats.norm.ppf((np.arange(2000) + 0.5) / 2000))
    found = fit_johnson(values)
    assert found.family == true.family
    numbers = (found.gamma, found.eta, found.epsilon, found.lamda)
    assert numbers == pytest.approx((true.gamma, true.eta, true.epsilon, true.lamda), rel=2e-3)
    np.testing.assert_allclose(found.inverse(found(values)), values, rtol=1e-9)


def test_johnson_of_a_lognormal_has_its_quantiles() -> None:
    values = 5.0 + np.exp(stats.norm.ppf((np.arange(2000) + 0.5) / 2000) / 2)
    found = fit_johnson(values)
    assert found.inverse(np.array([-3.0, 0.0, 3.0])) == pytest.approx(5.0 + np.exp([-1.5, 0.0, 1.5]), rel=1e-3)
    shifted = Johnson("SL", 0.0, 2.0, 5.0, 1.0)
    np.testing.assert_allclose(shifted(values), stats.norm.ppf((np.arange(2000) + 0.5) / 2000), atol=1e-9)
    assert shifted.distribution(4.0) == 0.0
    assert shifted.distribution(6.0) == 0.5
    assert Johnson("SB", 0.0, 1.0, 1.0, 2.0).distribution(3.5) == 1.0


def test_box_cox_finds_the_power_and_inverts() -> None:
    values = np.exp(np.random.default_rng(13).normal(1.0, 0.3, 2000))
    assert abs(fit_box_cox(values).power) < 0.15
    for power in (-0.5, 0.0, 0.5, 2.0):
        transform = BoxCox(power)
        np.testing.assert_allclose(transform.inverse(transform(values)), values, rtol=1e-12)
        assert (np.diff(transform(np.sort(values))) > 0).all()
    assert np.isnan(BoxCox(0.0)(0.0))
    assert BoxCox(0.5)(0.0) == -2.0


@pytest.mark.parametrize("unit", [1.0, 1e-9, 1e6])
@pytest.mark.parametrize("far", [0.0, 100.0, 1e4, 1e6])
def test_box_cox_keeps_its_digits_far_from_zero(far: float, unit: float) -> None:
    values = far + np.random.default_rng(5).normal(10.0, 1.0, 50)
    study, normal = (
        capability_study(values * unit, lsl=(far + 7.0) * unit, usl=(far + 13.0) * unit, method=method)
        for method in ("box-cox", "normal")
    )
    assert study.Ppl == pytest.approx(1.155, abs=0.02), "about the same wherever 0 is"
    assert study.Ppu == pytest.approx(1.118, abs=0.01)
    assert study.normality.p_value > normal.normality.p_value
    assert study.percentiles[1] == pytest.approx(normal.percentiles[1], abs=0.2 * unit)


def test_indices_by_box_cox_are_those_of_scipys_values() -> None:
    values = np.random.default_rng(17).weibull(2.0, 80) + 0.1
    y, power = stats.boxcox(values)
    low, high = stats.boxcox(np.array([0.15, 3.0]), power)
    study = capability_study(values, lsl=0.15, usl=3.0, method="box-cox")
    assert study.Ppu == pytest.approx((high - y.mean()) / (3.0 * y.std(ddof=1)), rel=1e-6)
    assert study.Ppl == pytest.approx((y.mean() - low) / (3.0 * y.std(ddof=1)), rel=1e-6)


@pytest.mark.slow
def test_johnson_reaches_the_limits_where_the_values_let_it() -> None:
    random = np.random.default_rng(18)
    unreached, studies = 0, 40
    for _ in range(studies):
        values = np.exp(random.normal(size=100))  # 1,370 in a million lie above 20
        study = capability_study(values, usl=20.0, method="johnson")
        unreached += math.isnan(study.Ppu)
        assert math.isnan(study.Ppu) or study.ppm_overall.above > 0.0
    assert unreached <= 2
    bounded = capability_study(random.uniform(1.0, 3.0, 500), lsl=0.5, usl=3.5, method="johnson")
    assert math.isnan(bounded.Ppk), "no value passes limits that the distribution does not reach"


LOGNORMAL = np.exp(stats.norm.ppf((np.arange(4000) + 0.5) / 4000) * 0.5)  # median 1; 3 sigma beyond: e^±1.5


@pytest.mark.parametrize(
    ("more", "rel"),
    [
        ({"method": "box-cox"}, 0.01),
        ({"method": "johnson"}, 0.01),
        ({"method": "percentile", "distribution": "johnson"}, 0.01),
        ({"method": "percentile", "distribution": "lognorm"}, 0.01),
        ({"method": "percentile"}, 0.03),
    ],
)
def test_every_method_knows_a_lognormal(more: dict[str, str], rel: float) -> None:
    usl = math.exp(1.5)  # X99.865, so that Ppk = Ppu = 1, and 1350 in a million lie above
    study = capability_study(LOGNORMAL, usl=usl, **more)  # type: ignore[arg-type]
    assert study.Ppk == study.Ppu == pytest.approx(1.0, rel=rel)
    assert study.percentiles == pytest.approx((math.exp(-1.5), 1.0, math.exp(1.5)), rel=2 * rel)
    assert study.ppm_overall.above == pytest.approx(1350.0, rel=0.1)
    assert study.ppm_observed.above == pytest.approx(1350.0, rel=0.1)
    normal = capability_study(LOGNORMAL, usl=usl)
    assert normal.Ppk > 1.5, "taken for normal, it looks far better than it is"
    assert normal.normality.p_value < 1e-10
    if study.transform is not None:
        assert study.normality.p_value > 0.9


def test_percentiles_by_definition() -> None:
    random = np.random.default_rng(14)
    values = random.gamma(2.0, size=500)
    study = capability_study(values, lsl=0.05, usl=9.0, method="percentile")
    bottom, middle, top = np.quantile(values, [0.00135, 0.5, 0.99865])
    assert study.Pp == pytest.approx(8.95 / (top - bottom))
    assert study.Ppk == pytest.approx(min((9.0 - middle) / (top - middle), (middle - 0.05) / (middle - bottom)))
    assert math.isnan(study.Cp)
    assert study.intervals == {}
    fitted = capability_study(values, lsl=0.05, usl=9.0, method="percentile", distribution="weibull_min")
    assert fitted.ppm_overall.total > 0.0


def test_a_limit_that_the_transformation_does_not_take_is_none() -> None:
    study = capability_study(LOGNORMAL, lsl=-1.0, usl=4.0, method="box-cox")
    assert math.isnan(study.Pp)
    assert study.Ppk == study.Ppu
    assert (study.lsl, study.ppm_observed.below) == (-1.0, 0.0)


def test_transformed_subgroups() -> None:
    values = np.exp(np.random.default_rng(15).normal(0.0, 0.4, (30, 4)))
    study = capability_study(values, lsl=0.2, usl=5.0, target=1.0, method="box-cox")
    assert study.transform is not None
    y = study.transform(values)
    assert study.sigma_within == pytest.approx(math.sqrt(y.var(axis=1, ddof=1).mean()))
    assert study.target == 1.0


NORMAL = [9.0, 10.0, 11.0, 10.5]


@pytest.mark.parametrize(
    ("values", "wrong", "named"),
    [
        (NORMAL, {}, "no specification limit"),
        (NORMAL, {"lsl": 3.0, "usl": 3.0}, "lsl = 3, usl = 3"),
        (NORMAL, {"lsl": 3.0, "usl": math.inf}, "usl = inf"),
        (NORMAL, {"usl": 3.0, "method": "weibull"}, "method = 'weibull'"),
        (NORMAL, {"usl": 3.0, "within": "rbar"}, "within = 'rbar'"),
        (NORMAL, {"usl": 3.0, "within": "pooled"}, "needs subgroups"),
        (NORMAL, {"usl": 3.0, "degrees": "many"}, "degrees = 'many'"),
        (NORMAL, {"usl": 3.0, "confidence": 1.0}, "confidence = 1.0"),
        (NORMAL, {"usl": 3.0, "distribution": "lognorm"}, "only method='percentile'"),
        (NORMAL, {"usl": 3.0, "method": "percentile", "distribution": "poisson"}, "distribution = 'poisson'"),
        (NORMAL, {"usl": 3.0, "subgroup": 0}, "subgroup = 0"),
        (NORMAL, {"usl": 3.0, "subgroup": [1, 2]}, "labels for"),
        (range(60), {"usl": 3.0, "subgroup": 30, "within": "range"}, "a subgroup of 30 rows"),
        ([1.0, math.nan], {"usl": 3.0}, "1 values"),
        ([1.0, 2.0, math.inf], {"usl": 3.0}, "1 infinite"),
        ([[[1.0]]], {"usl": 3.0}, r"values \(1, 1, 1\)"),
        ([-1.0, 2.0, 3.0], {"usl": 3.0, "method": "box-cox"}, "positive values"),
        ([1.0, 1.0, 1.0], {"usl": 3.0, "method": "johnson"}, "no Johnson distribution"),
    ],
)
def test_what_has_no_meaning_is_refused(values: object, wrong: dict[str, object], named: str) -> None:
    with pytest.raises(ValueError, match=named):
        capability_study(values, **wrong)  # type: ignore[arg-type]


def test_degrees_of_an_unknown_estimator() -> None:
    with pytest.raises(ValueError, match="within = 'mssd'"):
        degrees_of_freedom("mssd", np.array([5, 5]))


def test_a_study_is_plain_data() -> None:
    study = capability_study(NORMAL, lsl=5.0, usl=15.0)
    assert isinstance(study, CapabilityStudy)
    assert all(
        isinstance(getattr(study, name), float)
        for name in ("Cp", "Cpk", "Ppk", "mean", "sigma_within", "degrees_within")
    )
