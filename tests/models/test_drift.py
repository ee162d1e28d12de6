"""CUSUM on a learned reference: against its oracle, and its false alarms and delays."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from models import judge
from models.detector import new_params, new_state, series_batch
from models.drift import LearnedCusum, normal_of_t
from tests.bench.drift import delays, false_alarms
from tests.naive import drift as naive

NAN = math.nan


@settings(max_examples=25)
@given(
    st.lists(st.floats(-6, 6).map(lambda x: round(x, 3)), min_size=20, max_size=50),
    st.sampled_from([None, 0.25]),
    st.sampled_from([None, 1.5]),
    st.sampled_from(
        [LearnedCusum(0.25, 3.0, 10), LearnedCusum(0.5, 2.0, 5, 0.0), LearnedCusum(0.4, 2.5, 6, 0.5, True)]
    ),
)
def test_against_the_oracle(values: list[float], mu: float | None, sigma: float | None, detector: LearnedCusum) -> None:
    values = [-6.0, 6.0, *values]  # some spread
    v = judge(detector, values, mu=mu, sigma=sigma)
    expected = naive.learned_cusum(
        values, mu, sigma, k=detector.k, h=detector.h, phase_one_rows=detector.phase_one_rows,
        headstart=detector.headstart, relearn=detector.relearn,
    )  # fmt: skip
    for i, (sums, fired, margin) in enumerate(expected):
        assert v.valid[i] == (sums is not None)
        if margin < 1e-9:
            break
        assert v.signal[i] == fired
        if sums is not None:
            assert v.statistic[i].tolist() == pytest.approx(sums, abs=1e-9)
            assert v.ucl[i].tolist() == [detector.h] * 2


def test_a_known_reference_gives_the_sums_of_page() -> None:
    values = np.random.default_rng(4).normal(10.3, 2.0, 300)
    v = judge(LearnedCusum(k=0.5, h=4.0, headstart=0.0), values, mu=10.0, sigma=2.0)
    high = low = 0.0
    for i, z in enumerate((values - 10.0) / 2.0):
        high, low = max(0.0, high + z - 0.5), max(0.0, low - z - 0.5)
        assert v.statistic[i].tolist() == pytest.approx([high, low], abs=1e-9)
        assert v.signal[i] == (high > 4.0) + 2 * (low > 4.0)
        if max(high, low) > 4.0:
            high = low = 0.0


@pytest.mark.parametrize("freedom", [5, 20, 98])
def test_normal_of_t(freedom: int) -> None:
    t = np.linspace(0.1, 12.0, 40)
    mapped = [normal_of_t(float(x), float(freedom)) for x in t]
    np.testing.assert_allclose(mapped, stats.norm.isf(stats.t.sf(t, freedom)), rtol=0.012 if freedom == 5 else 0.002)


def test_a_signal_goes_back_to_the_reference_before_the_shift() -> None:
    calm = [9.0, 11.0] * 30
    detector = LearnedCusum(phase_one_rows=20)
    state, params = new_state(detector, 1), new_params(1)
    detector.update(state, series_batch(np.array(calm), params=params))
    v = detector.update(state, series_batch(np.array([13.0] * 200), params=params))
    shifted = np.flatnonzero(v.signal)
    assert len(shifted) > 30  # it stays away, and is signalled again and again
    assert set(v.signal[shifted]) == {1}
    assert np.diff(shifted).max() <= 20  # the alert is held
    assert state["sides"][0, 0, 1] == pytest.approx(10.0, abs=0.05)  # and the reference is as it was
    back = detector.update(state, series_batch(np.array(calm), params=params))
    assert not back.signal.any()


def test_a_level_that_outweighs_its_reference_becomes_the_reference() -> None:
    values = np.concatenate([np.tile([9.0, 11.0], 10), np.tile([12.0, 14.0], 200)])
    v = judge(LearnedCusum(phase_one_rows=20), values)
    anew = np.flatnonzero(~v.valid[20:]) + 20
    assert len(anew) == 20
    assert 100 <= anew[0] <= 120  # 4 · 20 rows, and what the last sum takes
    assert v.signal[20 : anew[0]].any()
    assert not v.signal[anew[0] :].any()


def test_relearn_takes_the_new_level_as_its_reference() -> None:
    values = np.concatenate([np.tile([9.0, 11.0], 30), np.tile([12.0, 14.0], 60)])
    v = judge(LearnedCusum(phase_one_rows=20, relearn=True), values)
    (at,) = np.flatnonzero(v.signal)
    assert 60 < at < 80
    assert not v.valid[at + 1 : at + 21].any()
    assert v.valid[at + 21 :].all()


@pytest.mark.parametrize("counter", ["limits_version", "resets"])
def test_a_change_of_the_limits_or_a_reset_starts_anew(counter: str) -> None:
    detector = LearnedCusum(phase_one_rows=4)
    state, params = new_state(detector, 1), new_params(1)
    detector.update(state, series_batch(np.array([9.0, 11.0] * 5), params=params))
    params[counter] += 1
    v = detector.update(state, series_batch(np.array([1.0, 3.0] * 5), params=params))
    assert v.valid.tolist() == [False] * 4 + [True] * 6
    assert not v.signal.any()
    params["exclusions"] += 1
    assert detector.update(state, series_batch(np.array([2.0]), params=params)).valid.all()


def test_given_parameters_that_are_taken_back_lead_to_what_was_learned() -> None:
    detector = LearnedCusum(phase_one_rows=6)
    state = new_state(detector, 1)
    rows = [9.0, 11.0, 9.5, 10.5]
    given_rows = detector.update(state, series_batch(np.array(rows), params=new_params(1, mu=10.0, sigma=1.0)))
    assert given_rows.valid.all()
    more = [9.0, 11.0, 10.0]
    v = detector.update(state, series_batch(np.array(more), params=new_params(1)))
    assert v.valid.tolist() == [False, False, True]
    expected = judge(detector, rows + more)
    np.testing.assert_allclose(v.statistic[2], expected.statistic[-1])


def test_sigma_zero() -> None:
    for parameters in ({"mu": 5.0, "sigma": 0.0}, {}):
        v = judge(LearnedCusum(phase_one_rows=3), [5.0] * 3 + [5.0, 5.5, 5.0, 4.0, 4.0, 5.0], **parameters)
        assert v.signal[3:].tolist() == [0, 1, 0, 2, 2, 0]
        assert v.statistic[3:, 0].tolist() == [0.0, 0.5, 0.0, 0.0, 0.0, 0.0]
        assert v.ucl[3:].max() == 0.0


def test_each_given_parameter_wins_for_itself() -> None:
    rows = [1.0, 3.0, 1.0, 3.0]
    chart = LearnedCusum(phase_one_rows=4)
    assert judge(chart, [*rows, 7.0], sigma=2.0).statistic[4, 0] == pytest.approx((2.5 - 0.25) / 1.25)
    assert judge(chart, [7.0], mu=2.0, sigma=2.0).statistic[0, 0] == pytest.approx(2.5 - 0.25)
    assert judge(chart, [3.0, *rows], mu=2.0, sigma=2.0).valid.all()
    assert judge(chart, [*rows, NAN, 7.0], mu=2.0).valid.tolist() == [False] * 5 + [True]


@pytest.mark.parametrize("wrong", [{"k": 0.0}, {"k": NAN}, {"h": -1.0}, {"headstart": 1.0}, {"phase_one_rows": 1}])
def test_parameters_without_meaning_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=next(iter(wrong))):
        LearnedCusum(**wrong)  # type: ignore[arg-type]


@pytest.mark.compiled_only
@pytest.mark.parametrize(("known", "learned_rows"), [(True, 0), (False, 100), (False, 20)])
def test_at_most_one_false_alarm_in_10_000_rows(known: bool, learned_rows: int) -> None:
    """1.5 M rows. Under a known reference 1/14,263 by integral equation, and a little more by the headstart after a signal."""
    detector = LearnedCusum(phase_one_rows=learned_rows or 50)
    rate, error = false_alarms(detector, known=known, streams=150, rows=10_000)
    assert rate + error <= 1.0
    if known:
        assert rate == pytest.approx(10_000 / 14_263, abs=4 * error)


@pytest.mark.compiled_only
def test_mean_delays() -> None:
    """Known reference, from the first row: 57.48 and 20.99 by integral equation; the optimum at 1 in 10,000 is 54.7 and 20.1."""
    for shift, exact, goal in ((0.5, 57.484, 60.0), (1.0, 20.993, 25.0)):
        mean, error = delays(LearnedCusum(), shift, known=True, before=0, streams=2_000)
        assert mean == pytest.approx(exact, abs=4 * error)
        assert mean + 2 * error < goal
        mean, error = delays(LearnedCusum(phase_one_rows=100), shift, known=False, before=600, streams=500)
        assert mean < 1.1 * exact
