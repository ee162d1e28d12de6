"""PCA T² and Q: gaps against whole matrices, limits against simulation, contributions against planted faults."""

import math
import pickle
from collections.abc import Iterator

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from sklearn.decomposition import PCA
from threadpoolctl import threadpool_limits

from models import judge
from models.artefact import Artefact
from models.detector import new_state, series_batch
from models.pca import PcaChart, contributions, fit_pca, q_limit, t2_and_q
from models.pca_fit import parts_of
from tests.naive import multivariate as naive

usual = settings(max_examples=25)
seeds = st.integers(0, 2**32 - 1)


@pytest.fixture(autouse=True, scope="module")
def one_thread() -> Iterator[None]:
    """Small matrices: threads of BLAS would only wait for each other."""
    with threadpool_limits(1):
        yield


def covariance_of(random: np.random.Generator, p: int, strong: int) -> np.ndarray:
    """Return a correlation matrix with a few strong directions."""
    mix = np.hstack([1.5 * random.normal(size=(p, strong)), 0.6 * np.eye(p) + 0.1 * random.normal(size=(p, p))])
    sigma = mix @ mix.T
    root = np.sqrt(np.diag(sigma))
    return sigma / np.outer(root, root)


def known_model(sigma: np.ndarray, k: int, rows: int = 10**9) -> Artefact:
    """Return the artefact of a known correlation matrix: what Phase I finds from very many rows."""
    values, vectors = np.linalg.eigh(sigma)
    values, vectors = values[::-1], vectors[:, ::-1]
    p, rest = len(sigma), vectors[:, k:]
    arrays = {
        "use": np.arange(p), "constant": np.zeros(0), "reference": np.zeros(0), "centre": np.zeros(p), "scale": np.ones(p),
        "loadings": vectors[:, :k], "eigenvalues": values[:k], "residual": (rest * values[k:]) @ rest.T, "spread": np.ones(4),
    }  # fmt: skip
    return Artefact("pca", arrays, {"rows": rows, "names": [f"x{j + 1}" for j in range(p)], "limits": "theory"})


def normal_rows(seed: int, sigma: np.ndarray, n: int, gaps: float = 0.0) -> np.ndarray:
    random = np.random.default_rng(seed)
    x = random.normal(size=(n, len(sigma))) @ np.linalg.cholesky(sigma).T
    x[random.random(x.shape) < gaps] = np.nan
    return x


@usual
@given(seeds, st.integers(4, 7), st.integers(1, 3), st.floats(0.0, 0.5))
def test_scores_against_whole_matrices(seed: int, p: int, k: int, gaps: float) -> None:
    sigma = covariance_of(np.random.default_rng(seed), p, 2)
    model = known_model(sigma, k)
    chart, parts = PcaChart(model, observed_min=0.5), parts_of(model)
    x = normal_rows(seed, sigma, 5, gaps)
    v = judge(chart, x)
    assert v.valid.tolist() == (np.isfinite(x).sum(axis=1) >= p / 2).tolist()
    for i in np.flatnonzero(v.valid):
        if np.isfinite(x[i]).sum() <= k:  # the oracle inverts what is then singular
            continue
        expected = naive.pca_score(x[i], parts.loadings, parts.eigenvalues, parts.residual)
        assert v.statistic[i].tolist() == pytest.approx([expected.t2, expected.q], rel=1e-6, abs=1e-9)
        means = [np.trace(expected.scores), np.trace(expected.residual)]
        assert v.centre[i].tolist() == pytest.approx(means, rel=1e-6, abs=1e-9)
        for c, (covariance, whole) in enumerate(((expected.scores, np.eye(k)), (expected.residual, parts.residual))):
            ratio = v.ucl[i, c] / chart._limits[c]
            assert ratio == pytest.approx(box(covariance) / box(whole), rel=0.02, abs=1e-6)
        found = contributions(model, x[i])
        assert found.t2.sum() == pytest.approx(v.statistic[i, 0], rel=1e-9)
        assert found.q.sum() == pytest.approx(v.statistic[i, 1], rel=1e-9, abs=1e-12)
        assert np.nansum(found.residual**2) == pytest.approx(v.statistic[i, 1], rel=1e-9, abs=1e-12)
        assert not found.t2[np.isnan(x[i])].any()


def box(covariance: np.ndarray, alpha: float = 0.0027) -> float:
    """Return Box's limit of a sum of squares with this covariance, with the exact chi-square quantile."""
    one, two = np.trace(covariance), np.trace(covariance @ covariance)
    return float(two / one * stats.chi2.isf(alpha, one * one / two))


def test_whole_rows_against_scikit_learn() -> None:
    x = normal_rows(1, covariance_of(np.random.default_rng(1), 8, 3), 60) * 3.0 + 100.0
    model = fit_pca(x, components=3, limits="theory")
    z = (x - x.mean(axis=0)) / x.std(axis=0, ddof=1)
    reference = PCA(3, svd_solver="full").fit(z)
    np.testing.assert_allclose(np.abs(model.arrays["loadings"].T), np.abs(reference.components_), atol=1e-9)
    np.testing.assert_allclose(model.arrays["eigenvalues"], reference.explained_variance_)
    scores = reference.transform(z)
    v = judge(PcaChart(model), x)
    np.testing.assert_allclose(v.statistic[:, 0], (scores**2 / reference.explained_variance_).sum(axis=1))
    np.testing.assert_allclose(v.statistic[:, 1], ((z - reference.inverse_transform(scores)) ** 2).sum(axis=1))
    assert t2_and_q(model, x[7]) == pytest.approx(tuple(v.statistic[7]))
    f = 3 * (60**2 - 1) / (60 * 57) * stats.f.isf(0.0027, 3, 57)
    left = np.linalg.eigvalsh(np.cov(z, rowvar=False))[::-1][3:]
    assert v.ucl[0].tolist() == pytest.approx([f, q_limit(left)])
    assert v.centre[0].tolist() == pytest.approx([3.0, left.sum()])


def test_components_by_explained_variance() -> None:
    x = normal_rows(2, covariance_of(np.random.default_rng(2), 8, 3), 80)
    shares = np.cumsum(PCA(svd_solver="full").fit(x / x.std(axis=0)).explained_variance_ratio_)
    for explained in (0.5, 0.8, 0.95):
        model = fit_pca(x, explained=explained)
        k = len(model.arrays["eigenvalues"])
        assert shares[k - 1] >= explained
        assert k == 1 or shares[k - 2] < explained
        assert model.facts["explained"] == pytest.approx(shares[k - 1])


@pytest.mark.parametrize("d", [1, 4, 30])
@pytest.mark.parametrize("alpha", [0.05, 0.0027])
def test_q_limit_of_equal_eigenvalues_is_chi_square(d: int, alpha: float) -> None:
    assert q_limit(np.full(d, 0.7), alpha) == pytest.approx(0.7 * stats.chi2.isf(alpha, d), rel=0.03)


def test_q_limit_at_its_ends() -> None:
    assert q_limit(np.zeros(3)) == 0.0
    ruled = np.array([1.0, *[0.02] * 200])  # h0 is below 0 here
    total, squares = ruled.sum(), (ruled**2).sum()
    assert q_limit(ruled) == pytest.approx(squares / total * stats.chi2.isf(0.0027, total**2 / squares))


def rate_is(signals: np.ndarray, alpha: float) -> None:
    """Assert that the share of signals is alpha within 4 standard errors."""
    assert signals.mean() == pytest.approx(alpha, abs=4 * math.sqrt(alpha * (1 - alpha) / signals.size))


@pytest.mark.compiled_only
@pytest.mark.parametrize("gaps", [0.0, 0.05, 0.3])
def test_false_alarms_with_gaps(gaps: float) -> None:
    """The rate of T² and of Q is alpha, however many entries are missing."""
    sigma = covariance_of(np.random.default_rng(3), 20, 3)
    v = judge(PcaChart(known_model(sigma, 4)), normal_rows(4, sigma, 100_000, gaps))
    assert v.valid.mean() > 0.95
    for bit in (1, 2):
        rate_is(v.signal[v.valid] & bit > 0, 0.0027)


@pytest.mark.slow
@pytest.mark.compiled_only
def test_false_alarms_of_a_model_fitted_with_gaps() -> None:
    """A model from 5,000 rows with a tenth of the entries missing holds alpha on new rows, whole ones and ones with gaps."""
    sigma = covariance_of(np.random.default_rng(5), 12, 3)
    model = fit_pca(normal_rows(6, sigma, 5_000, gaps=0.1), components=3)
    for gaps in (0.0, 0.1):
        v = judge(PcaChart(model, alpha=0.01), normal_rows(7, sigma, 40_000, gaps))
        for bit in (1, 2):
            assert (v.signal[v.valid] & bit > 0).mean() == pytest.approx(0.01, abs=0.002)


def test_gaps_in_phase_one_leave_the_covariance_right() -> None:
    """EM puts back the residual of what it fills: no column's variance shrinks, and loadings stay near those of whole rows."""
    sigma = covariance_of(np.random.default_rng(8), 10, 2)
    x = normal_rows(9, sigma, 800)
    holed = x.copy()
    holed[np.random.default_rng(10).random(x.shape) < 0.15] = np.nan
    whole, gapped = fit_pca(x, components=2), fit_pca(holed, components=2)
    assert gapped.facts["gaps"] == pytest.approx(0.15, abs=0.01)
    assert 0 < gapped.facts["rounds"] < 50
    for model in (whole, gapped):
        total = (model.arrays["loadings"] * model.arrays["eigenvalues"]) @ model.arrays["loadings"].T
        np.testing.assert_allclose(np.diag(total + model.arrays["residual"]), 1.0, atol=0.05)
    cosines = np.linalg.svd(whole.arrays["loadings"].T @ gapped.arrays["loadings"], compute_uv=False)
    assert cosines.min() > 0.99
    assert np.trace(gapped.arrays["residual"]) == pytest.approx(np.trace(whole.arrays["residual"]), rel=0.05)


@pytest.mark.compiled_only
def test_held_out_limits_where_columns_outnumber_rows() -> None:
    """60 rows of 120 columns: Q in theory signals a quarter of new rows and more; held out, less than 3 times alpha."""
    sigma = covariance_of(np.random.default_rng(11), 120, 5)
    x, new = normal_rows(12, sigma, 60, gaps=0.03), normal_rows(13, sigma, 4_000, gaps=0.03)
    rates = {}
    for limits in ("theory", "held_out", None):
        v = judge(PcaChart(fit_pca(x, components=10, limits=limits), alpha=0.01), new)  # type: ignore[arg-type]
        rates[limits] = [(v.signal & bit > 0).mean() for bit in (1, 2)]
    assert rates["theory"][1] > 0.25
    assert max(rates["held_out"]) < 0.03
    assert rates[None] == rates["held_out"]


@usual
@given(seeds, st.integers(0, 7), st.sampled_from([-1.0, 1.0]), st.booleans())
def test_a_planted_fault_is_the_top_contributor(seed: int, column: int, side: float, gap: bool) -> None:
    sigma = covariance_of(np.random.default_rng(14), 8, 2)
    model = known_model(sigma, 3)
    x = np.clip(normal_rows(seed, sigma, 1)[0], -3, 3)
    x[column] = side * 60.0
    if gap:
        x[(column + 3) % 8] = np.nan
    found = contributions(model, x)
    v = judge(PcaChart(model), x[None])
    for bit, statistic in ((1, "T2"), (2, "Q")):
        if v.signal[0] & bit:
            top = found.top(1, statistic)[0]
            assert top.name == f"x{column + 1}"
            assert top.fraction > 0.5
    assert v.signal[0]


def phase_one() -> np.ndarray:
    """Return 60 rows of 9 columns: 5 to use, one constant, one rare, one sparse, one that is never there."""
    x = np.full((60, 9), np.nan)
    x[:, :5] = normal_rows(15, covariance_of(np.random.default_rng(15), 5, 1), 60)
    x[:, 5], x[:, 6], x[:20, 7] = 3.0, 0.0, np.arange(20.0)
    x[11, 6], x[4, 5], x[7, 2] = 8.0, np.nan, np.inf
    return x


def test_kinds_of_columns() -> None:
    model = fit_pca(phase_one(), components=2, names=list("abcdefghi"), facts={"author": "me"})
    parts = parts_of(model)
    assert parts.use.tolist() == [0, 1, 2, 3, 4]
    assert (parts.constant.tolist(), parts.reference.tolist()) == ([5], [3.0])
    assert (model.facts["rare"], model.facts["sparse"], model.facts["author"]) == (["g"], ["h", "i"], "me")
    assert fit_pca(phase_one(), components=2, varied_min=0.0).arrays["use"].tolist() == [0, 1, 2, 3, 4, 6]


def test_a_row_that_is_hardly_there_is_not_learned_from() -> None:
    x = phase_one()
    more = np.vstack([x[:30], np.full((3, 9), np.nan), x[30:]])
    more[31, :2] = 9.0
    for limits in ("theory", "held_out"):
        model = fit_pca(more, components=2, limits=limits)  # type: ignore[arg-type]
        assert (model.facts["rows"], model.facts["dropped"]) == (60, 3)
        assert np.isfinite(model.arrays["spread"]).all()
        np.testing.assert_array_equal(model.arrays["loadings"], fit_pca(x, components=2).arrays["loadings"])


def test_a_chart_travels_without_what_follows_from_its_model() -> None:
    chart = PcaChart(fit_pca(phase_one(), components=2))
    x = phase_one()[:4]
    before = judge(chart, x)
    data = pickle.dumps(chart)
    assert len(data) < 2 * len(pickle.dumps(chart.model))
    again = pickle.loads(data)  # noqa: S301 - made on the line above
    assert again == chart
    assert judge(again, x).statistic.tobytes() == before.statistic.tobytes()
    with pytest.raises(ValueError, match="vectors of 9 entries"):
        chart.update({}, series_batch(x[:, :8]))


def test_what_is_judged_and_what_is_said() -> None:
    chart = PcaChart(fit_pca(phase_one(), components=2, names=list("abcdefghi")))
    usual_row = [0.1, 0.1, 0.0, 0.1, -0.1, 3.0, 0.0, np.nan, np.nan]
    rows = np.array([usual_row] * 8)
    rows[1, 5], rows[2, 5], rows[3, 6:8] = (
        3.5,
        np.nan,
        99.0,
    )  # constant moved; not there; rare and sparse: not looked at
    rows[4, :3] = np.nan, np.nan, np.inf  # 2 of 5 left
    rows[5, 2] = np.inf
    rows[6, 1] = 400.0
    excluded = [False] * 7 + [True]
    v = judge(chart, rows, excluded=excluded)
    assert v.valid.tolist() == [True, True, True, True, False, True, True, False]
    assert [v.signal[i] for i in (0, 1, 2, 3, 5)] == [0, 4, 0, 0, 0]
    assert v.signal[6] & 1
    assert chart.dimension == 9
    batch, state = series_batch(rows), new_state(chart, 1)
    assert chart.explain(state, batch, 1) == "no longer constant: f"
    assert chart.explain(state, batch, 0) == ""
    assert chart.explain(state, batch, 6).startswith("T2: b ")
    assert "; Q: b " in chart.explain(state, batch, 6)


@pytest.mark.parametrize(
    ("words", "make"),
    [
        ("values", lambda x: fit_pca(x[0])),
        ("2 names for 9", lambda x: fit_pca(x, names=["a", "b"])),
        ("components = 0", lambda x: fit_pca(x, components=0)),
        ("nothing is left for Q", lambda x: fit_pca(x, components=5)),
        ("0 of 3 columns", lambda x: fit_pca(np.ones((9, 3)))),
        ("explained = 1", lambda x: fit_pca(x, explained=1.0)),
        ("present_min = 0", lambda x: fit_pca(x, present_min=0.0)),
        ("varied_min = 1", lambda x: fit_pca(x, varied_min=1.0)),
        ("limits = 'x'", lambda x: fit_pca(x, limits="x")),  # type: ignore[arg-type]
        ("folds = 1", lambda x: fit_pca(x, folds=1)),
        ("alpha = 1", lambda x: PcaChart(fit_pca(x, components=2), alpha=1.0)),
        ("observed_min = 0", lambda x: PcaChart(fit_pca(x, components=2), observed_min=0.0)),
        ("kind 'pca'", lambda x: PcaChart(Artefact("covariance", {}))),
        ("one vector of 9", lambda x: contributions(fit_pca(x, components=2), x)),
        ("statistic = 'SPE'", lambda x: contributions(fit_pca(x, components=2), x[0]).top(1, "SPE")),
    ],
)
def test_refused(words: str, make: object) -> None:
    with pytest.raises(ValueError, match=words):
        make(phase_one())  # type: ignore[operator]
