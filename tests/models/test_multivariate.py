"""Hotelling's T² and MEWMA: the books' numbers, the oracles, and the rate of false alarms that each limit promises."""

import dataclasses
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from models import judge
from models.artefact import Artefact
from models.contributions import largest
from models.covariance import (
    fit_covariance,
    known_covariance,
    phase_one_limit,
    successive_degrees,
    t2_limit,
)
from models.detector import new_params, new_state, series_batch
from models.mewma import Mewma, in_control_arl, limit_for
from models.multivariate import HotellingT2
from tests.naive import multivariate as naive

usual = settings(max_examples=40)
seeds = st.integers(0, 2**32 - 1)

FIBRES = known_covariance([115.59, 1.06], [[1.23, 0.79], [0.79, 0.83]], names=["strength", "diameter"])


def made(seed: int, n: int, p: int, gaps: float = 0.0) -> tuple[np.ndarray, Artefact]:
    """Return n correlated vectors, some entries missing, and the artefact of what they come from."""
    random = np.random.default_rng(seed)
    mix = np.eye(p) + 0.4 * random.normal(size=(p, p))
    mean = random.normal(size=p)
    x = mean + random.normal(size=(n, p)) @ mix.T
    x[random.random((n, p)) < gaps] = np.nan
    return x, known_covariance(mean, mix @ mix.T)


def test_montgomery_example_11_1() -> None:
    """Fibres: 20 subgroups of 10. The first one's mean (115.25, 1.04) has T² = 2.16; Phase I limit 13.72, chi-square 13.816."""
    assert round(phase_one_limit(2, 20, 0.001, subgroup_size=10), 2) == 13.72
    assert round(t2_limit(2, 0.001), 3) == 13.816
    v = judge(HotellingT2(FIBRES, subgroup_size=10, alpha=0.001), np.tile([115.25, 1.04], (10, 1)))
    assert v.valid.tolist() == [False] * 9 + [True]
    assert v.statistic[9, 0].round(2) == 2.16
    assert v.ucl[9, 0].round(3) == 13.816
    assert v.signal[9] == 0


@pytest.mark.parametrize(("p", "m", "n"), [(2, 20, 10), (3, 25, 5), (10, 60, 4)])
def test_limits_are_the_books_formulas(p: int, m: int, n: int) -> None:
    f, nu = stats.f.isf(0.0027, p, m - p), m * n - m - p + 1
    assert t2_limit(p, rows=m, degrees=m - 1.0) == pytest.approx(p * (m + 1) * (m - 1) / (m * m - m * p) * f)
    grouped = p * (m + 1) * (n - 1) / nu * stats.f.isf(0.0027, p, nu)
    assert t2_limit(p, rows=m * n, degrees=m * (n - 1.0), size=n) == pytest.approx(grouped)
    first = p * (m - 1) * (n - 1) / nu * stats.f.isf(0.0027, p, nu)
    assert phase_one_limit(p, m, subgroup_size=n) == pytest.approx(first)
    assert phase_one_limit(p, m) == pytest.approx((m - 1) ** 2 / m * stats.beta.isf(0.0027, p / 2, (m - p - 1) / 2))


@usual
@given(seeds, st.integers(1, 4), st.booleans())
def test_fit_covariance(seed: int, p: int, gaps: bool) -> None:
    x, _ = made(seed, 24, p, gaps=0.05 * gaps)
    whole = np.isfinite(x).all(axis=1)
    labels = (np.arange(24) // 4)[whole].tolist()
    for model, expected, degrees in (
        (fit_covariance(x), naive.covariance(x[whole]), whole.sum() - 1),
        (fit_covariance(x, estimator="successive"), naive.successive(x[whole]), successive_degrees(int(whole.sum()))),
        (fit_covariance(x, np.arange(24) // 4), naive.pooled(x[whole], labels), whole.sum() - len(set(labels))),
    ):
        np.testing.assert_allclose(model.arrays["covariance"], expected, atol=1e-10)
        np.testing.assert_allclose(model.arrays["mean"], x[whole].mean(axis=0))
        assert model.facts["degrees"] == degrees
        assert (model.facts["rows"], model.facts["dropped"]) == (whole.sum(), (~whole).sum())


@pytest.mark.slow
@usual
@given(seeds, st.integers(1, 4))
def test_individuals_with_gaps(seed: int, p: int) -> None:
    x, model = made(seed, 25, p, gaps=0.2)
    v = judge(HotellingT2(model, alpha=0.05), x)
    there = np.isfinite(x).sum(axis=1)
    assert v.valid.tolist() == (there > 0).tolist()
    for i in np.flatnonzero(v.valid):
        expected = naive.t2(x[i], model.arrays["mean"], model.arrays["covariance"])
        assert v.statistic[i, 0] == pytest.approx(expected, rel=1e-7)
        assert (v.lcl[i, 0], v.ucl[i, 0]) == (0.0, pytest.approx(stats.chi2.isf(0.05, there[i])))
        assert v.signal[i] == int(expected > v.ucl[i, 0])
        assert HotellingT2(model).contributions(x[i]).sum() == pytest.approx(expected, rel=1e-7)


@usual
@given(seeds, st.lists(st.integers(0, 2), min_size=1, max_size=30), st.integers(2, 4))
def test_subgroups(seed: int, names: list[int], size: int) -> None:
    x, _ = made(seed, len(names), 2, gaps=0.05)
    fitted = fit_covariance(made(seed + 1, 30, 2)[0], np.arange(30) // size)
    v = judge(HotellingT2(fitted, subgroup_size=size), x, subgroup=names)
    closed = naive.subgroups(x, names, size)
    assert np.flatnonzero(v.valid).tolist() == [group.at for group in closed]
    for at, rows in closed:
        n, mean = len(rows), np.mean(rows, axis=0)
        expected = n * naive.t2(mean, fitted.arrays["mean"], fitted.arrays["covariance"])
        assert v.statistic[at, 0] == pytest.approx(expected, rel=1e-7)
        assert v.ucl[at, 0] == pytest.approx(t2_limit(2, rows=30, degrees=fitted.facts["degrees"], size=n))


@usual
@given(seeds, st.integers(1, 3), st.sampled_from([0.1, 0.4, 1.0]), st.booleans())
def test_mewma(seed: int, p: int, weight: float, steady: bool) -> None:
    x, model = made(seed, 20, p, gaps=0.05)
    v = judge(Mewma(model, weight=weight, h=6.0, steady=steady), x)
    expected = naive.mewma(x, model.arrays["mean"], model.arrays["covariance"], weight, steady)
    np.testing.assert_allclose(v.statistic[:, 0], expected, rtol=1e-7)
    assert v.valid.tolist() == np.isfinite(expected).tolist()
    assert v.signal.tolist() == [int(t2 > 6.0) for t2 in expected]
    assert v.ucl[v.valid, 0].tolist() == [6.0] * int(v.valid.sum())


def test_mewma_restarts_after_a_signal() -> None:
    x, model = np.tile([3.0, 0.0], (6, 1)), known_covariance([0, 0], np.eye(2))
    assert judge(Mewma(model, weight=0.5, h=6.0, steady=False), x).statistic[:2, 0].tolist() == pytest.approx(
        [9.0, 16.2]
    )
    v = judge(Mewma(model, weight=0.5, h=6.0, steady=False, restart=True), x)
    assert v.statistic[:, 0].tolist() == pytest.approx([9.0] * 6)


@pytest.mark.parametrize("counter", ["limits_version", "resets", "exclusions"])
@pytest.mark.parametrize("ends", [(), ("limits",), ("reset",), ("exclusion",)])
def test_what_ends_a_window(counter: str, ends: tuple[str, ...]) -> None:
    """A chart starts anew if it is told to look at the counter that changed, and at an excluded row if at exclusions."""
    model = known_covariance([0, 0], np.eye(2))
    x = np.array([[1.0, 2.0], [2.0, 0.5]])
    after = new_params(1)
    after[counter] += 1
    anew = {"limits_version": "limits", "resets": "reset", "exclusions": "exclusion"}[counter] in ends
    chart, t2 = Mewma(model, window_ends=ends), HotellingT2(model, subgroup_size=2, window_ends=ends)
    for detector in (chart, t2):
        state = new_state(detector, 1)
        detector.update(state, series_batch(x[:1]))
        v = detector.update(state, series_batch(x[1:], params=after))
        alone = judge(detector, x[1:])
        assert (v.statistic[0].tobytes() == alone.statistic[0].tobytes()) == anew
    rows = np.array([x[0], x[0], x[1]])
    v = judge(t2, rows, excluded=[False, True, False])
    assert v.valid.tolist() == [False, False, "exclusion" not in ends]
    v = judge(chart, rows, excluded=[False, True, False])
    together = judge(chart, x[1:] if "exclusion" in ends else x)
    assert v.statistic[2].tobytes() == together.statistic[-1].tobytes()
    assert not v.valid[1]


def rate_is(signals: np.ndarray, alpha: float) -> None:
    """Assert that the share of signals is alpha within 4 standard errors."""
    assert signals.mean() == pytest.approx(alpha, abs=4 * math.sqrt(alpha * (1 - alpha) / signals.size))


ALPHA = 0.01
MODELS = 30_000


def distances(x: np.ndarray, mean: np.ndarray, covariance: np.ndarray) -> np.ndarray:
    d = (x - mean)[..., None]
    return (np.swapaxes(d, -1, -2) @ np.linalg.solve(covariance, d))[..., 0, 0]


@pytest.mark.parametrize("estimator", ["sample", "successive"])
def test_false_alarms_of_individuals_limits(estimator: str) -> None:
    """Many models of 30 rows with 3 variables; of each, one new row and one of its own."""
    m, p = 30, 3
    random = np.random.default_rng(7)
    x, new = random.normal(size=(MODELS, m, p)), random.normal(size=(MODELS, p))
    mean = x.mean(axis=1)
    d = x - mean[:, None] if estimator == "sample" else np.diff(x, axis=1)
    covariance = np.swapaxes(d, 1, 2) @ d / ((m - 1) if estimator == "sample" else 2 * (m - 1))
    degrees = m - 1 if estimator == "sample" else successive_degrees(m)
    rate_is(distances(new, mean, covariance) > t2_limit(p, ALPHA, rows=m, degrees=degrees), ALPHA)
    own = distances(x[:, 11], mean, covariance)
    rate_is(own > phase_one_limit(p, m, ALPHA, estimator=estimator), ALPHA)  # type: ignore[arg-type]


def test_false_alarms_of_subgroup_limits() -> None:
    m, n, p = 12, 4, 2
    random = np.random.default_rng(8)
    x = random.normal(size=(MODELS, m, n, p))
    means = x.mean(axis=2)
    within = (x - means[:, :, None]).reshape(MODELS, m * n, p)
    mean, covariance = means.mean(axis=1), np.swapaxes(within, 1, 2) @ within / (m * (n - 1))
    for size in (n, 2):
        new = random.normal(size=(MODELS, size, p)).mean(axis=1)
        limit = t2_limit(p, ALPHA, rows=m * n, degrees=m * (n - 1), size=size)
        rate_is(size * distances(new, mean, covariance) > limit, ALPHA)
    rate_is(n * distances(means[:, 5], mean, covariance) > phase_one_limit(p, m, ALPHA, subgroup_size=n), ALPHA)


@pytest.mark.compiled_only
def test_false_alarms_of_the_chart_with_known_parameters() -> None:
    x, model = made(9, 200_000, 4, gaps=0.1)
    v = judge(HotellingT2(model), x)
    rate_is(v.signal[v.valid] > 0, 0.0027)
    x, model = made(10, 200_000, 3)
    v = judge(HotellingT2(model, subgroup_size=3), x)
    rate_is(v.signal[v.valid] > 0, 0.0027)


TABLE_11_3 = {0.05: 7.35, 0.1: 8.64, 0.2: 9.65, 0.3: 10.08, 0.5: 10.44, 0.8: 10.58, 1.0: 10.60}


@pytest.mark.parametrize("weight", TABLE_11_3)
def test_mewma_limits_of_montgomery_table_11_3(weight: float) -> None:
    """H for p = 2 and an in-control ARL of 200, printed to two digits, with which the ARL stands to 1 %."""
    assert in_control_arl(2, weight, TABLE_11_3[weight]) == pytest.approx(200.0, rel=0.01)


def test_mewma_calculator_at_its_ends() -> None:
    """With weight 1 it is the chi-square chart; with one variable, the EWMA chart: 499.74 with L = 2.962 at weight 0.2."""
    assert in_control_arl(3, 1.0, 14.0) == pytest.approx(1.0 / stats.chi2.sf(14.0, 3), rel=1e-9)
    assert in_control_arl(1, 0.2, 2.962**2) == pytest.approx(499.74, rel=2e-5)
    assert in_control_arl(2, 0.02, 6.0, nodes=40) == pytest.approx(in_control_arl(2, 0.02, 6.0), rel=1e-9)
    assert in_control_arl(4, 0.05, limit_for(4, 0.05, 370.4)) == pytest.approx(370.4)
    assert math.sqrt(limit_for(1, 0.1, 500.0)) == pytest.approx(2.814, abs=0.0005)


def run_length(chart: Mewma, shift: float, rows: int, seed: int) -> tuple[float, float]:
    """Return the mean run length from Z = 0, and its standard error."""
    x = np.random.default_rng(seed).normal(size=(rows, chart.dimension))
    x[:, 0] += shift
    at = np.flatnonzero(judge(dataclasses.replace(chart, restart=True), x).signal)
    runs = np.diff(at, prepend=-1)
    return float(runs.mean()), float(runs.std() / math.sqrt(len(runs)))


@pytest.mark.slow
@pytest.mark.compiled_only
def test_mewma_run_lengths() -> None:
    """Lowry et al. 1992, Montgomery table 11.3: p = 2, weight 0.1: 200 in control, 10.15 at a shift of 1."""
    model = known_covariance([0, 0], np.eye(2))
    steady = Mewma(model, weight=0.1, h=8.64, steady=True)
    for shift, expected, rows in ((0.0, in_control_arl(2, 0.1, 8.64), 600_000), (1.0, 10.15, 200_000)):
        mean, error = run_length(steady, shift, rows, seed=3)
        assert mean == pytest.approx(expected, abs=4 * error)
    mean, error = run_length(Mewma(model, weight=0.1, h=8.66, steady=False), 0.0, 600_000, seed=4)
    assert mean == pytest.approx(182.0, abs=4 * error)  # what its documentation says


def test_explanations_name_the_variable() -> None:
    chart = HotellingT2(FIBRES)
    x = np.array([[115.59, 1.06], [115.59, 9.0]])
    assert chart.explain(new_state(chart, 1), series_batch(x), 1) == "T2: diameter 100 %"
    assert [share.name for share in largest(("a", "b", "c"), np.zeros(3), 2)] == ["a", "b"]


@pytest.mark.parametrize(
    ("names", "i", "rows"),
    [
        ([1, 1, 1, 1], 3, [1, 2, 3]),  # closed by its third row, after the first row of another series
        ([1, 1, 1, 2], 3, [1, 2]),  # closed short by the next subgroup
        ([1, 1, 2, 3], 3, [2]),
    ],
)
def test_a_subgroup_is_explained_by_its_rows(names: list[int], i: int, rows: list[int]) -> None:
    chart = HotellingT2(FIBRES, subgroup_size=3)
    x = np.array([[115.0, 2.0], [116.0, 1.0], [117.0, 3.0], [119.0, 1.5]])
    batch = series_batch(x, series=[1, 0, 0, 0], subgroup=names)
    assert chart._judged(batch, i).tolist() == x[rows].mean(axis=0).tolist()


@pytest.mark.parametrize("detector", [HotellingT2(FIBRES), Mewma(FIBRES)])
def test_vectors_of_another_length_are_refused(detector: HotellingT2 | Mewma) -> None:
    for value in (np.zeros((2, 3)), np.zeros(2)):
        with pytest.raises(ValueError, match="vectors of 2 entries"):
            detector.update(new_state(detector, 1), series_batch(value))


@pytest.mark.parametrize(
    ("words", "make"),
    [
        ("estimator = 'x'", lambda: fit_covariance(np.eye(3), estimator="x")),  # type: ignore[arg-type]
        ("with subgroups", lambda: fit_covariance(np.eye(3), [1, 1, 1], estimator="successive")),
        ("values (3,)", lambda: fit_covariance([1.0, 2.0, 3.0])),
        ("1 rows", lambda: fit_covariance([[1.0, 2.0], [np.nan, 1.0]])),
        ("nothing within", lambda: fit_covariance(np.eye(2), [1, 2])),
        ("1 degrees of freedom for 2", lambda: fit_covariance([[1.0, 2.0], [2.0, 1.0]])),
        ("no variance in b", lambda: fit_covariance([[1, 1], [2, 1], [4, 1], [0, 1]], names=["a", "b"])),
        ("linear combination", lambda: fit_covariance([[1, 2], [2, 4], [4, 8], [0, 0]])),
        ("3 names for 2", lambda: known_covariance([0, 0], np.eye(2), names=["a", "b", "c"])),
        ("(2,) and covariance (3, 3)", lambda: known_covariance([0, 0], np.eye(3))),
        ("symmetric", lambda: known_covariance([0, 0], [[1.0, 0.5], [0.2, 1.0]])),
        ("alpha = 0", lambda: HotellingT2(FIBRES, alpha=0.0)),
        ("subgroup_size = 0", lambda: HotellingT2(FIBRES, subgroup_size=0)),
        ("window_ends", lambda: HotellingT2(FIBRES, window_ends=("shift",))),
        ("kind 'covariance'", lambda: HotellingT2(Artefact("pca", {}))),
        ("there is no limit", lambda: t2_limit(5, rows=5, degrees=4.0)),
        ("there is no limit", lambda: phase_one_limit(5, 6)),
        ("there is no limit", lambda: phase_one_limit(5, 2, subgroup_size=2)),
        ("estimator = 'x'", lambda: phase_one_limit(2, 20, estimator="x")),  # type: ignore[arg-type]
        ("weight = 0", lambda: Mewma(FIBRES, weight=0.0)),
        ("h = 0", lambda: Mewma(FIBRES, h=0.0)),
        ("window_ends", lambda: Mewma(FIBRES, window_ends=("shift",))),
        ("kind 'covariance'", lambda: Mewma(Artefact("pca", {}))),
        ("p = 0", lambda: in_control_arl(0, 0.1, 8.0)),
        ("arl = 1", lambda: limit_for(2, 0.1, 1.0)),
    ],
)
def test_refused(words: str, make: object) -> None:
    with pytest.raises(ValueError, match=words.replace("(", r"\(").replace(")", r"\)")):
        make()  # type: ignore[operator]
