"""Isolation forest against scikit-learn, half-space trees against their definition, and what both leave alone."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.ensemble import IsolationForest

from models import judge
from models.artefact import Artefact
from models.detector import identity, new_params, new_state, series_batch
from models.half_space_trees import HalfSpaceTrees, grown
from models.isolation_forest import IsolationForestChart, expected_path, fit_isolation_forest, score_rows
from tests.naive.anomaly import density, silenced

coarse = st.integers(-6, 6).map(lambda steps: steps / 2)


def cloud(rows: int, p: int, gaps: float = 0.0, seed: int = 1) -> np.ndarray:
    random = np.random.default_rng(seed)
    values = random.normal(0.0, 1.0, (rows, p))
    values[random.random(values.shape) < gaps] = np.nan
    return values


@pytest.mark.parametrize(("p", "gaps", "sample_rows"), [(1, 0.0, 256), (3, 0.0, 2), (4, 0.15, 64)])
def test_isolation_forest_scores_as_scikit_learn(p: int, gaps: float, sample_rows: int) -> None:
    values, more = cloud(150, p, gaps), 2.0 * cloud(200, p, gaps, seed=2)
    model = fit_isolation_forest(values, seed=7, trees=12, sample_rows=sample_rows)
    known = values[~np.isnan(values).all(axis=1)]
    reference = IsolationForest(n_estimators=12, max_samples=min(sample_rows, len(known)), random_state=7).fit(known)
    np.testing.assert_allclose(score_rows(model.arrays, more), -reference.score_samples(more), rtol=0.0, atol=1e-12)
    np.testing.assert_allclose(
        model.facts["level"], np.quantile(-reference.score_samples(known), 0.999), rtol=0.0, atol=1e-12
    )
    if p > 1:
        v = judge(IsolationForestChart(model), more)
        assert v.valid.tolist() == (~np.isnan(more).all(axis=1)).tolist()
        np.testing.assert_array_equal(v.statistic[v.valid, 0], score_rows(model.arrays, more)[v.valid])


def test_expected_path_of_the_paper() -> None:
    """c(n) = 2 H(n − 1) − 2 (n − 1)/n, with H(i) = ln i + 0.5772156649."""
    n = np.array([0, 1, 2, 3, 100])
    harmonic = np.log(n[3:] - 1) + 0.5772156649
    assert expected_path(n).tolist() == pytest.approx([0.0, 0.0, 1.0, *(2 * harmonic - 2 * (n[3:] - 1) / n[3:])])


def test_the_artefact_travels_and_names_the_detector(tmp_path: Path) -> None:
    model = fit_isolation_forest(cloud(100, 2), seed=1, trees=5)
    assert Artefact.load(model.save(tmp_path / "forest.npz")) == model
    assert fit_isolation_forest(cloud(100, 2), seed=1, trees=5) == model
    other = fit_isolation_forest(cloud(100, 2), seed=2, trees=5)
    assert other != model
    assert identity(IsolationForestChart(other)) != identity(IsolationForestChart(model))
    assert IsolationForestChart(model).dimension == 2
    assert IsolationForestChart(fit_isolation_forest(cloud(100, 1)[:, 0], seed=1, trees=5)).dimension is None


def test_isolation_forest_level_silence_and_rows_left_alone() -> None:
    model = fit_isolation_forest(cloud(300, 2), seed=3, trees=20, contamination=0.02)
    rows = 2.0 * cloud(120, 2, gaps=0.2, seed=4)
    rows[5] = [np.inf, 0.0]
    excluded = np.arange(120) % 7 == 0
    loud = judge(IsolationForestChart(model), rows, excluded=excluded)
    assert loud.signal.tolist() == (loud.valid & (loud.statistic[:, 0] > model.facts["level"])).astype(int).tolist()
    assert loud.signal.any()
    assert not loud.valid[excluded | np.isinf(rows).any(axis=1)].any()
    quiet = judge(IsolationForestChart(model, refractory=4), rows, excluded=excluded)
    assert quiet.signal[quiet.valid].tolist() == silenced(loud.signal[loud.valid].tolist(), 4)
    whole = judge(IsolationForestChart(model, gaps=False, level=0.6), rows)
    assert whole.valid.tolist() == np.isfinite(rows).all(axis=1).tolist()
    assert (whole.ucl[whole.valid] == 0.6).all()


@settings(max_examples=25)
@given(st.data(), st.sampled_from([None, 2]), st.integers(3, 8), st.integers(1, 4))
def test_half_space_trees(data: st.DataObject, p: int | None, window: int, depth: int) -> None:
    rows = data.draw(st.lists(st.tuples(*[coarse] * (p or 1)), max_size=5 * window))
    detector = HalfSpaceTrees(p, threshold=0.9, trees=3, depth=depth, window=window, seed=5)
    v = judge(detector, np.array(rows).reshape((-1, p) if p else -1))
    assert v.valid.tolist() == [i >= 2 * window for i in range(len(rows))]
    first = np.array(rows[:window]).reshape(-1, p or 1)
    low, high = first.min(axis=0, initial=9.0), first.max(axis=0, initial=-9.0)
    with np.errstate(all="ignore"):
        scaled = (np.array(rows).reshape(-1, p or 1) - low) / (high - low)
        unit = np.where(high > low, scaled, 0.5 + np.sign(np.array(rows).reshape(-1, p or 1) - low)).tolist()
    entry, cut = (part.tolist() for part in grown(3, depth, p or 1, 5))
    for i in range(2 * window, len(rows)):
        before = i // window * window
        expected = density(unit[before - window : before], unit[i], entry, cut, depth)
        assert v.statistic[i, 0] == pytest.approx(expected, abs=1e-12)
        assert v.signal[i] == int(v.statistic[i, 0] < 0.9)


def test_trees_halve_a_range_about_the_unit_interval_and_follow_from_the_seed() -> None:
    entry, cut = grown(8, 3, 2, 11)
    assert grown(8, 3, 2, 11)[1] is cut
    assert not np.array_equal(cut, grown(8, 3, 2, 12)[1])
    assert set(np.unique(entry)) == {0, 1}
    assert ((cut[:, 0] >= 0.0) & (cut[:, 0] <= 1.0)).all()  # the first cut goes through the centre drawn
    alone = np.sort(grown(1, 3, 1, 4)[1][0])  # one entry: seven cuts, evenly spaced
    np.testing.assert_allclose(np.diff(alone), np.diff(alone)[0])


def test_half_space_trees_take_what_lasts_for_ordinary() -> None:
    """A level far off is odd until a whole window of it has been seen."""
    random = np.random.default_rng(3)
    values = np.r_[random.normal(0.0, 1.0, 240), random.normal(5.0, 0.3, 160)]
    v = judge(HalfSpaceTrees(threshold=0.3, window=80, depth=6), values)
    assert v.signal[240:320].mean() > 0.9
    assert v.signal[320:].mean() < 0.1
    quiet = judge(HalfSpaceTrees(threshold=0.3, window=80, depth=6, refractory=1000), values)
    assert np.flatnonzero(quiet.signal).tolist() == [np.flatnonzero(v.signal)[0]]


@pytest.mark.parametrize(("counter", "anew"), [("resets", True), ("limits_version", False), ("exclusions", False)])
def test_a_reset_starts_with_the_scale(counter: str, anew: bool) -> None:
    values = cloud(100, 1)[:, 0]
    detector = HalfSpaceTrees(window=20, depth=3, trees=4)
    state, params = new_state(detector, 1), new_params(1)
    detector.update(state, series_batch(values))
    params[counter] = 1
    again = detector.update(state, series_batch(100.0 * values, params=params))
    assert again.valid.sum() == (60 if anew else 100)
    if anew:
        np.testing.assert_array_equal(again.statistic, judge(detector, 100.0 * values).statistic)


def test_half_space_trees_leave_gaps_and_excluded_rows_alone() -> None:
    rows = cloud(200, 2, gaps=0.1)
    excluded = np.arange(200) % 9 == 0
    there = ~excluded & ~np.isnan(rows).any(axis=1)
    detector = HalfSpaceTrees(2, window=30, depth=4, trees=5)
    v, rest = judge(detector, rows, excluded=excluded), judge(detector, rows[there])
    assert not v.valid[~there].any()
    for part, expected in zip(v, rest, strict=True):
        np.testing.assert_array_equal(part[there], expected)


def fit(**changed: object) -> Artefact:
    return fit_isolation_forest(cloud(20, 1)[:, 0], **{"seed": 1, "trees": 2, **changed})  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: fit(trees=0), "trees = 0"),
        (lambda: fit(sample_rows=1), "sample_rows = 1"),
        (lambda: fit(contamination=1.0), r"contamination = 1\.0"),
        (lambda: fit_isolation_forest([1.0, np.nan], seed=1), "1 rows that are not missing"),
        (lambda: fit_isolation_forest([1.0, np.inf, 2.0], seed=1), "without infinite values"),
        (lambda: fit_isolation_forest(np.zeros((2, 2, 2)), seed=1), r"shape \(2, 2, 2\)"),
        (lambda: IsolationForestChart(fit(), level=1.5), r"level = 1\.5"),
        (lambda: IsolationForestChart(Artefact("mean", {})), "isolation_forest"),
        (lambda: HalfSpaceTrees(p=0), "p = 0"),
        (lambda: HalfSpaceTrees(threshold=0.0), r"threshold = 0\.0"),
        (lambda: HalfSpaceTrees(depth=13), "depth = 13"),
        (lambda: HalfSpaceTrees(window=1), "window = 1"),
        (lambda: HalfSpaceTrees(seed=-1), "seed = -1"),
        (lambda: HalfSpaceTrees(refractory=-1), "refractory = -1"),
    ],
)
def test_parameters_without_meaning_are_refused(make: object, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make()  # type: ignore[operator]
