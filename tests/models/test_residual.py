"""The residual chart: an oracle, certified autocorrelations, gaps, what ends a window, false alarms on AR(1) data."""

import math
import pickle
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models import judge
from models.cusum import Cusum
from models.detector import identity, new_params, new_state, series_batch
from models.ewma import Ewma
from models.individuals import IndividualsChart
from models.residual import ResidualChart
from models.xbar import XbarChart
from tests import naive
from tests.naive.accumulating import autoregression, residuals

coarse = st.integers(-7, 7).map(lambda steps: steps / 2)
usual = settings(max_examples=80)
GIVEN = {"mu": 10.0, "sigma": 2.0}


@usual
@given(st.lists(coarse, max_size=40), st.sampled_from([-0.5, 0.0, 0.5, 0.8]), st.sampled_from([0.5, 1.0, 2.0]))
def test_given_parameters(values: list[float], phi: float, sigma: float) -> None:
    v = judge(ResidualChart(IndividualsChart(nelson=(1, 2, 3)), phi=phi), values, mu=0.25, sigma=sigma)
    expected, sigma_e = residuals(values, 0.25, phi), sigma * math.sqrt(1 - phi * phi)
    assert v.valid.tolist() == [i > 0 for i in range(len(values))]
    assert v.statistic[1:, 0].tolist() == expected
    assert set(v.ucl[1:, 0]) <= {3 * sigma_e}
    assert set(v.lcl[1:, 0]) <= {-3 * sigma_e}
    fired = [sum(1 << rule - 1 for rule in rules & {1, 2, 3}) for rules in naive.nelson(expected, 0.0, sigma_e)]
    assert (v.signal[1:] & 7).tolist() == fired


@pytest.mark.slow
@usual
@given(st.lists(st.floats(-100, 100).map(lambda x: round(x, 2)), min_size=4, max_size=40), st.integers(3, 6))
def test_phase_one(values: list[float], rows: int) -> None:
    v = judge(ResidualChart(phase_one_rows=rows), values)
    assert v.valid.tolist() == [i >= rows for i in range(len(values))]
    mu, phi, sigma_e = autoregression(values[:rows])
    np.testing.assert_allclose(v.statistic[rows:, 0], residuals(values, mu, phi)[rows - 1 :], rtol=1e-7, atol=1e-7)
    np.testing.assert_allclose(v.ucl[rows:, 0], 3 * sigma_e, rtol=1e-7, atol=1e-7)


@usual
@given(st.lists(coarse, min_size=5, max_size=20), st.sampled_from([{"mu": 0.5}, {"sigma": 1.5}, {"phi": 0.5}]))
def test_what_is_given_wins_each_for_itself(values: list[float], said: dict[str, float]) -> None:
    phi, rest = said.get("phi"), {name: number for name, number in said.items() if name != "phi"}
    v = judge(ResidualChart(phase_one_rows=4, phi=phi), values, **rest)
    mu, learned_phi, sigma_e = autoregression(values[:4])
    learned_phi = max(-0.999, min(0.999, learned_phi))
    sigma = sigma_e / math.sqrt(1 - learned_phi**2)
    mu, sigma = said.get("mu", mu), said.get("sigma", sigma)
    phi = 0.0 if sigma == 0 else said.get("phi", learned_phi)
    np.testing.assert_allclose(v.statistic[4:, 0], residuals(values, mu, phi)[3:], atol=1e-9)
    np.testing.assert_allclose(v.ucl[4:, 0], 3 * sigma * math.sqrt(1 - phi * phi), atol=1e-9)


def listed(file: str) -> list[float]:
    return [float(line) for line in (Path(__file__).parent / "data" / file).read_text().split()]


ALTERNATING = np.resize([-0.1, 0.1], 1000)


@pytest.mark.parametrize(
    ("values", "mean", "sd", "autocorrelation"),
    [
        (listed("lew.txt"), -177.435, 277.332168044316, -0.307304800605679),
        (listed("michelso.txt"), 299.8524, 0.0790105478190518, 0.535199668621283),
        ([10000001, 10000003, 10000002], 10000002, 1.0, -0.5),
        (np.append(1.2, 1.2 + ALTERNATING), 1.2, 0.1, -0.999),
        (np.append(1000000.2, 1000000.2 + ALTERNATING), 1000000.2, 0.1, -0.999),
    ],
    ids=["Lew", "Michelso", "NumAcc1", "NumAcc2", "NumAcc3"],
)
def test_nist_certified_autocorrelation(values: list[float], mean: float, sd: float, autocorrelation: float) -> None:
    """NIST StRD, univariate summary statistics; NumAcc2 and NumAcc3 as NIST makes them."""
    chart = ResidualChart(phase_one_rows=len(values))
    state = new_state(chart, 2)
    chart.update(state, series_batch(np.array(values, float), params=new_params(2)))
    np.testing.assert_allclose(chart.learned(state)[0], [mean, autocorrelation, sd], rtol=1e-9)
    assert np.isnan(chart.learned(state)[1]).all()


def test_a_gap_is_spanned() -> None:
    with_gap = [10.0, 12.0, np.nan, np.inf, 11.0, 16.0]
    without = [10.0, 12.0, 11.0, 16.0]
    for chart, said in ((ResidualChart(phi=0.5), GIVEN), (ResidualChart(phase_one_rows=3), {})):
        v, expected = judge(chart, with_gap, **said), judge(chart, without, **said)
        assert v.valid.tolist()[2:4] == [False, False]
        for part, other in zip(v, expected, strict=True):
            np.testing.assert_array_equal(np.delete(part, [2, 3], axis=0), other)


def test_an_excluded_row_ends_the_chain_if_the_chart_says_so() -> None:
    values, out = [10.0, 12.0, 99.0, 11.0, 16.0], [False, False, True, False, False]
    ends = judge(ResidualChart(phi=0.5), values, excluded=out, **GIVEN)
    spans = judge(ResidualChart(IndividualsChart(window_ends=()), phi=0.5), values, excluded=out, **GIVEN)
    assert ends.valid.tolist() == [False, True, False, False, True]
    assert spans.valid.tolist() == [False, True, False, True, True]
    assert spans.statistic[3, 0] == 0.0


def test_pairs_across_what_ends_a_window_are_not_learned_from() -> None:
    values, out = [1.0, 2.0, 1.0, 99.0, 8.0, 9.0, 8.0], [i == 3 for i in range(7)]
    chart = ResidualChart(phase_one_rows=6)
    state = new_state(chart, 1)
    chart.update(state, series_batch(np.array(values), columns={"excluded": np.array(out)}))
    mean, phi, sigma = chart.learned(state)[0]
    kept = np.delete(values, 3) - np.delete(values, 3).mean()
    pairs = kept[0] * kept[1] + kept[1] * kept[2] + kept[3] * kept[4] + kept[4] * kept[5]
    assert mean == pytest.approx(29 / 6)
    assert phi == pytest.approx(min(0.999, pairs / (kept @ kept) * 5 / 4))
    assert sigma == pytest.approx(np.std(np.delete(values, 3), ddof=1))


def test_phase_one_goes_on_until_there_is_a_pair() -> None:
    values = [1.0, 99.0, 2.0, 99.0, 3.0, 99.0, 5.0, 4.0, 4.5]
    v = judge(ResidualChart(phase_one_rows=3), values, excluded=[x == 99.0 for x in values])
    assert v.valid.tolist() == [False] * 8 + [True]


@pytest.mark.parametrize("given", [{"mu": 10.0, "sigma": 0.0}, {}])
def test_zero_sigma_compares_with_the_mean(given: dict[str, float]) -> None:
    v = judge(
        ResidualChart(phi=0.7 if given else None, phase_one_rows=5), [10.0] * 6 + [12.0, 10.0, 10.0, 9.0], **given
    )
    assert (np.flatnonzero(v.signal & 1)).tolist() == [6, 9]
    assert set(v.ucl[6:, 0]) == {0.0}


@pytest.mark.parametrize("chart", [Cusum(), Ewma(), XbarChart(2)])
def test_any_chart_judges_residuals(chart: Cusum | Ewma | XbarChart) -> None:
    values = np.random.default_rng(2).normal(10.0, 2.0, 41)
    v = judge(ResidualChart(chart, phi=0.5), values, **GIVEN)
    expected = judge(chart, residuals(values.tolist(), 10.0, 0.5), mu=0.0, sigma=2.0 * math.sqrt(0.75))
    for part, other in zip(v, expected, strict=True):
        np.testing.assert_array_equal(part[1:], other)


def test_names_and_identity() -> None:
    charts = [ResidualChart(), ResidualChart(Cusum()), ResidualChart(Cusum(h=4.0)), ResidualChart(phi=0.5)]
    assert [chart.name for chart in charts[:2]] == ["spc.residual.individuals", "spc.residual.cusum"]
    assert charts[0].statistics == ("residual", "MR")
    assert charts[1].statistics == ("C+", "C-")
    assert charts[1].rules == Cusum().rules
    assert charts[0].version == IndividualsChart().version
    assert len({identity(chart) for chart in charts}) == 4
    assert identity(pickle.loads(pickle.dumps(charts[2]))) == identity(ResidualChart(Cusum(h=4.0)))  # noqa: S301 - made here


@pytest.mark.parametrize("phi", [1.0, -1.0, 2.0, math.nan])
def test_a_phi_that_is_not_stationary_is_refused(phi: float) -> None:
    with pytest.raises(ValueError, match="phi = "):
        ResidualChart(phi=phi)


def test_parameters_without_meaning_are_refused() -> None:
    with pytest.raises(ValueError, match="phase_one_rows = 2"):
        ResidualChart(phase_one_rows=2)
    with pytest.raises(ValueError, match=r"chart = spc\.residual\.cusum"):
        ResidualChart(ResidualChart(Cusum()))


@pytest.mark.compiled_only
@pytest.mark.parametrize("learned", [False, True])
def test_false_alarms_on_autocorrelated_values(learned: bool) -> None:
    """AR(1) with phi 0.7: at 3 sigma, residuals give the normal rate, 0.0027; moving ranges of x give many times that."""
    rng, n, phi = np.random.default_rng(7), 200_000, 0.7
    noise = rng.normal(0.0, math.sqrt(1 - phi * phi), n)
    values = np.empty(n)
    values[0] = rng.normal()
    for i in range(1, n):
        values[i] = phi * values[i - 1] + noise[i]
    given = {} if learned else {"mu": 0.0, "sigma": 1.0}
    v = judge(ResidualChart(IndividualsChart(nelson=(1,)), None if learned else phi, 5000), values, **given)
    rate = (v.signal[v.valid] & 1).mean()
    assert rate == pytest.approx(0.0027, abs=0.0005 + 0.0003 * learned)
    plain = judge(IndividualsChart(5000, nelson=(1,)), values)
    assert (plain.signal[plain.valid] & 1).mean() > 0.05
