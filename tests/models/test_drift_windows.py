"""KS, KSWIN, PSI and MMD: against their oracles, their levels, and what the docstrings say."""

import math
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from models import judge
from models.artefact import Artefact
from models.detector import Detector, identity, new_params, new_state, series_batch
from models.ks import KsDrift, Kswin, distance, exceedance, limit, sample_reference
from models.mmd import MmdDrift, mmd_reference
from models.mmd import limit as mmd_limit
from models.psi import PsiDrift, bin_reference, count, index, population_stability_index, quantile_edges
from tests.naive import drift_windows as naive

coarse = st.integers(-4, 4).map(float)
usual = settings(max_examples=20)
KNOWN = bin_reference(stats.norm.ppf(np.arange(1, 20) / 20), np.full(20, 0.05))
NORMAL = mmd_reference(np.random.default_rng(8).normal(10.0, 2.0, 60))
PAIRS = mmd_reference(np.random.default_rng(9).normal(10.0, 2.0, (40, 2)), width=1.5)


def told(v: object, tests: Sequence[naive.Said]) -> None:
    """Assert that verdicts are these tests and no others."""
    assert np.flatnonzero(v.valid).tolist() == [test.at for test in tests]
    assert v.signal[v.valid].tolist() == [int(test.fired) for test in tests]
    np.testing.assert_allclose(v.statistic[v.valid, 0], [test.statistic for test in tests], atol=1e-12)
    np.testing.assert_allclose(v.ucl[v.valid, 0], [test.limit for test in tests], atol=1e-12)


@usual
@given(st.lists(coarse, min_size=1, max_size=12), st.lists(coarse, min_size=1, max_size=12))
def test_distance_counts_ties_together(a: list[float], b: list[float]) -> None:
    assert distance(np.sort(a), np.sort(b)) == naive.ks(a, b)


@pytest.mark.parametrize(("n", "m"), [(1, 1), (3, 3), (4, 2), (5, 3), (4, 5)])
def test_exceedance_is_the_share_of_all_orders(n: int, m: int) -> None:
    for c in range(n * m + 1):
        assert exceedance(n, m, c, np.empty(m + 1)) == pytest.approx(naive.ks_exceedance(n, m, c), abs=1e-12)


@pytest.mark.parametrize(("n", "m"), [(20, 20), (30, 70), (17, 40)])
def test_exceedance_and_limit_agree_with_scipy(n: int, m: int) -> None:
    random = np.random.default_rng(n)
    a, b = np.sort(random.normal(size=n)), np.sort(random.normal(0.6, 1.0, m))
    counted = distance(a, b)
    known = stats.ks_2samp(a, b, method="exact")
    assert counted / (n * m) == pytest.approx(known.statistic)
    assert exceedance(n, m, counted - 1, np.empty(m + 1)) == pytest.approx(known.pvalue, rel=1e-9)
    bound = limit(n, m, 0.01)
    assert exceedance(n, m, bound, np.empty(m + 1)) <= 0.01 < exceedance(n, m, bound - math.gcd(n, m), np.empty(m + 1))


def test_limits_of_the_tables() -> None:
    """Critical n·D of two samples of n at 5 %, two sides: Siegel, Nonparametric Statistics, 1956, table L."""
    table = {
        4: 4,
        5: 5,
        6: 5,
        7: 6,
        8: 6,
        9: 6,
        10: 7,
        13: 7,
        14: 8,
        17: 8,
        18: 9,
        20: 9,
        23: 10,
        27: 10,
        28: 11,
        30: 11,
    }
    assert {n: limit(n, n, 0.05) // n + 1 for n in table} == table


@usual
@given(
    st.lists(coarse | st.floats(-3, 3), min_size=10, max_size=70),
    st.sampled_from([KsDrift(10, 6, 1, 0.1), KsDrift(6, 8, 3, 0.2, True), KsDrift(12, 5, 5, 0.05)]),
)
def test_ks_against_the_oracle(values: list[float], detector: KsDrift) -> None:
    size = detector.reference_rows * detector.window
    bound = limit(detector.reference_rows, detector.window, detector.alpha) / size
    expected = naive.against_a_reference(
        values, detector.reference_rows, detector.window, detector.hop, detector.relearn,
        lambda a, b: (naive.ks(a, b) / size, bound),
    )  # fmt: skip
    told(judge(detector, values), expected)


@usual
@given(
    st.lists(coarse | st.floats(-3, 3), min_size=10, max_size=70),
    st.sampled_from([Kswin(12, 4, 1, 0.1), Kswin(15, 7, 3, 0.2)]),
)
def test_kswin_against_the_oracle(values: list[float], detector: Kswin) -> None:
    older = detector.window - detector.recent
    size = older * detector.recent
    bound = limit(older, detector.recent, detector.alpha) / size
    expected = naive.kswin(
        values, detector.window, detector.recent, detector.hop, lambda a, b: (naive.ks(a, b) / size, bound)
    )
    told(judge(detector, values), expected)


@usual
@given(
    st.lists(coarse | st.floats(-3, 3), min_size=20, max_size=70),
    st.sampled_from([PsiDrift(3, 10, 6, 1, 0.1), PsiDrift(4, 8, 8, 3, 0.2, True), PsiDrift(2, 12, 5, 5, 0.05)]),
)
def test_psi_against_the_oracle(values: list[float], detector: PsiDrift) -> None:
    def test(reference: Sequence[float], window: Sequence[float]) -> tuple[float, float]:
        if len(set(reference)) == 1:
            return sum(x != reference[0] for x in window) / len(window), 0.0
        ordered = sorted(reference)
        edges = [ordered[j * len(ordered) // detector.bins - 1] for j in range(1, detector.bins)]
        expected, seen = naive.bins(reference, edges), naive.bins(window, edges)
        used = sum(1 for e, s in zip(expected, seen, strict=True) if e or s)
        quantile = stats.chi2.isf(detector.alpha, used - 1) if used > 1 else 0.0
        return naive.psi(expected, seen), quantile * (1 / len(reference) + 1 / len(window))

    values = [round(x, 3) for x in values]
    expected = naive.against_a_reference(
        values, detector.reference_rows, detector.window, detector.hop, detector.relearn, test
    )  # fmt: skip
    told(judge(detector, values), expected)


def test_the_rule_of_thumb_for_psi_is_no_level() -> None:
    """PSI > 0.1 with 20 bins, two samples of 500 values of one distribution: 18 % of the cases as commonly programmed."""
    random = np.random.default_rng(18)
    counts = random.multinomial(500, np.full(20, 0.05), (4_000, 2))
    common = np.mean([naive.plain_psi(*pair) > 0.1 for pair in counts[:1_000].tolist()])
    assert common == pytest.approx(0.18, abs=0.04)
    assert stats.chi2.sf(0.1 * 250, 19) == pytest.approx(0.16, abs=0.001)
    calibrated = np.array([index(pair[0], pair[1], True) for pair in counts.astype(np.float64)])
    for alpha in (0.1, 0.05, 0.01):
        beyond = np.mean(calibrated > stats.chi2.isf(alpha, 19) / 250)
        assert beyond == pytest.approx(alpha, abs=0.2 * alpha + 3 * math.sqrt(alpha / 4_000))


def test_population_stability_index_of_two_samples() -> None:
    random = np.random.default_rng(5)
    a, b = random.normal(size=300), random.normal(0.3, 1.0, 200)
    psi, p = population_stability_index(np.append(a, np.nan), b, bins=8)
    edges, seen = np.empty(7), np.empty(8)
    quantile_edges(np.sort(a), edges)
    count(edges, b, seen)
    assert seen.tolist() == naive.bins(b.tolist(), edges.tolist())
    assert psi == pytest.approx(naive.psi(naive.bins(a.tolist(), edges.tolist()), seen.tolist()))
    assert p == pytest.approx(stats.chi2.sf(psi * 300 * 200 / 500, 7))
    with pytest.raises(ValueError, match="bins = 1"):
        population_stability_index(a, b, bins=1)


def test_psi_of_known_shares() -> None:
    random = np.random.default_rng(3)
    detector = PsiDrift(window=100, hop=100, reference=KNOWN, alpha=0.01)
    calm, moved = random.normal(size=100), random.normal(1.0, 1.0, 100)
    v = judge(detector, np.concatenate([calm, moved]))
    assert np.flatnonzero(v.valid).tolist() == [99, 199]
    assert v.signal[[99, 199]].tolist() == [0, 1]
    assert v.ucl[99, 0] == pytest.approx(stats.chi2.isf(0.01, 19) / 100)
    q = (np.array(naive.bins(calm.tolist(), KNOWN.arrays["edges"].tolist())) + 0.5) / 110
    assert v.statistic[99, 0] == pytest.approx(np.sum((q - 0.05) * np.log(q / 0.05)))
    sampled = bin_reference(KNOWN.arrays["edges"], KNOWN.arrays["shares"], rows=400)
    w = judge(PsiDrift(window=100, hop=100, reference=sampled, alpha=0.01), calm)
    assert w.ucl[99, 0] == pytest.approx(stats.chi2.isf(0.01, 19) * (1 / 100 + 1 / 400))


def test_psi_of_a_reference_without_spread() -> None:
    v = judge(PsiDrift(3, 6, 4, 1), [5.0] * 12 + [4.0])
    assert not v.signal[:12].any()
    assert (v.signal[12], v.statistic[12, 0], v.ucl[12, 0]) == (1, 0.25, 0.0)


@usual
@given(st.integers(0, 99), st.sampled_from([(NORMAL, 7, 2), (PAIRS, 5, 5)]))
def test_mmd_against_the_oracle(seed: int, case: tuple[Artefact, int, int]) -> None:
    model, window, hop = case
    p = model.arrays["rows"].shape[1]
    rows = np.random.default_rng(seed).normal(10.0 + seed % 3, 2.0, (20, p))
    v = judge(MmdDrift(model, window, hop, alpha=0.1), rows[:, 0] if model is NORMAL else rows)
    bound = mmd_limit(model, 0.1) * (1 / window + 1 / len(model.arrays["rows"]))
    scaled = (rows / model.arrays["scale"]).tolist()
    start, expected = 0, []
    for i in range(len(rows)):
        if i + 1 - start >= window and (i + 1 - start - window) % hop == 0:
            mmd = naive.mmd(scaled[i + 1 - window : i + 1], model.arrays["rows"].tolist(), model.facts["width"])
            expected.append(naive.Said(i, mmd, bound, mmd > bound))
            start = i + 1 if mmd > bound else start
    told(v, expected)


def test_mmd_limit_is_the_quantile_of_the_weighted_chi_squares() -> None:
    one = Artefact("drift.mmd", {"eigenvalues": np.array([2.0])}, {"rest": 0.0})
    assert mmd_limit(one, 0.01) == pytest.approx(2.0 * stats.chi2.isf(0.01, 1), rel=1e-4)
    equal = Artefact("drift.mmd", {"eigenvalues": np.full(6, 0.5)}, {"rest": 0.25})
    for alpha in (0.1, 0.01, 1e-4):
        assert mmd_limit(equal, alpha) == pytest.approx(0.25 + 0.5 * stats.chi2.isf(alpha, 6), rel=1e-5)


@pytest.mark.slow
@pytest.mark.compiled_only
def test_mmd_holds_its_level_over_references() -> None:
    random = np.random.default_rng(12)
    fired = []
    for _ in range(30):
        detector = MmdDrift(mmd_reference(random.normal(size=(200, 2))), window=50, hop=50, alpha=0.1)
        v = judge(detector, random.normal(size=(2_500, 2)))
        fired += v.signal[v.valid].tolist()
    assert np.mean(fired) == pytest.approx(0.1, abs=0.03)


def test_mmd_of_vectors_leaves_out_rows_with_a_gap() -> None:
    rows = np.random.default_rng(2).normal(10.0, 2.0, (40, 2))
    gaps = np.insert(rows, [5, 20], [[np.nan, 9.0], [np.inf, 9.0]], axis=0)
    there = np.isfinite(gaps).all(axis=1)
    v, w = judge(MmdDrift(PAIRS, 10, 1), gaps), judge(MmdDrift(PAIRS, 10, 1), rows)
    np.testing.assert_array_equal(v.statistic[there], w.statistic)
    assert not v.valid[~there].any()


@pytest.mark.compiled_only
def test_ks_holds_its_level_over_references() -> None:
    detector = KsDrift(60, 40, 40, 0.05)
    state, random = new_state(detector, 500), np.random.default_rng(6)
    v = detector.update(state, series_batch(random.exponential(size=500 * 300), series=np.tile(np.arange(500), 300)))
    assert v.signal[v.valid].mean() == pytest.approx(0.05, abs=0.01)
    assert (v.signal[v.valid]).mean() <= 0.05 + 0.01


def test_a_given_reference_is_as_a_learned_one() -> None:
    random = np.random.default_rng(7)
    reference, rows = random.normal(size=30), random.normal(0.4, 1.2, 100)
    model = sample_reference(np.append(reference, np.nan))
    learned = judge(KsDrift(30, 10, 5, 0.05), np.concatenate([reference, rows]))
    given_one = judge(KsDrift(window=10, hop=5, alpha=0.05, reference=model), rows)
    np.testing.assert_array_equal(given_one.statistic, learned.statistic[30:])
    np.testing.assert_array_equal(given_one.signal, learned.signal[30:])
    assert identity(KsDrift(reference=model)) != identity(KsDrift())


WINDOWED: list[Detector] = [KsDrift(10, 8, 2), Kswin(20, 6, 2), PsiDrift(3, 10, 8, 2), MmdDrift(NORMAL, 8, 2)]


@pytest.mark.parametrize("detector", WINDOWED, ids=lambda detector: detector.name)
@pytest.mark.parametrize("counter", ["limits_version", "resets"])
def test_a_change_of_the_limits_or_a_reset_starts_anew(detector: Detector, counter: str) -> None:
    random = np.random.default_rng(10)
    state, params = new_state(detector, 1), new_params(1)
    detector.update(state, series_batch(random.normal(10, 2, 25), params=params))
    params[counter] += 1
    values = random.normal(12, 2, 40)
    again, first = detector.update(state, series_batch(values, params=params)), judge(detector, values)
    np.testing.assert_array_equal(again.valid, first.valid)
    np.testing.assert_array_equal(again.statistic, first.statistic)


SAMPLE = sample_reference(np.arange(5.0))


@pytest.mark.parametrize(
    ("make", "wrong", "said"),
    [
        (KsDrift, {"reference_rows": 1}, "reference_rows = 1"),
        (KsDrift, {"window": 5000}, "window = 5000"),
        (KsDrift, {"hop": 0}, "hop = 0"),
        (KsDrift, {"alpha": 1.0}, "alpha = 1.0"),
        (KsDrift, {"reference": SAMPLE, "relearn": True}, "relearn"),
        (KsDrift, {"reference": KNOWN}, "drift.sample"),
        (Kswin, {"recent": 299}, "recent = 299"),
        (PsiDrift, {"bins": 1}, "bins = 1"),
        (PsiDrift, {"reference": KNOWN, "relearn": True}, "relearn"),
        (MmdDrift, {"reference": SAMPLE}, "drift.mmd"),
        (MmdDrift, {"reference": NORMAL, "alpha": 1e-9}, "alpha = 1e-09"),
        (sample_reference, {"values": np.ones(1)}, "1 of them finite"),
        (bin_reference, {"edges": np.array([1.0, 1.0]), "shares": np.full(3, 1 / 3)}, "edges"),
        (bin_reference, {"edges": np.array([1.0]), "shares": np.array([0.5, 0.4])}, "sum 0.9"),
        (bin_reference, {"edges": np.array([1.0]), "shares": np.array([1.0, 0.0])}, "above 0"),
        (bin_reference, {"edges": np.array([1.0]), "shares": np.array([1.0, 0.0]), "rows": 1}, "rows = 1"),
        (mmd_reference, {"values": np.ones(5)}, "whole rows"),
        (mmd_reference, {"values": np.ones((20, 2))}, "never changes"),
        (mmd_reference, {"values": np.arange(20.0), "width": -1.0}, "width = -1"),
    ],
)
def test_parameters_without_meaning_are_refused(make: type, wrong: dict[str, object], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        make(**wrong)
