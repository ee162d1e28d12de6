"""CUSUM and EWMA: sides, headstart, counters, what starts the sums anew, excluded rows."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models import judge
from models.cusum import Cusum, shifted_mean
from models.detector import Detector, new_params, new_state, series_batch
from models.ewma import Ewma
from tests.naive.accumulating import cusum, ewma, rows_above_zero

coarse = st.integers(-7, 7).map(lambda steps: steps / 2)
log = st.lists(coarse, max_size=50)
usual = settings(max_examples=80)
GIVEN = {"mu": 0.0, "sigma": 1.0}

# Montgomery, Introduction to SQC, 7th ed., table 9.2: N(10, 1), from sample 21 on N(11, 1), with the counters as printed
TABLE_9_2 = [
    9.45, 7.99, 9.29, 11.66, 12.16, 10.18, 8.04, 11.46, 9.2, 10.34, 9.03, 11.47, 10.51, 9.4, 10.08,
    9.37, 10.62, 10.31, 8.52, 10.84, 10.9, 9.33, 12.29, 11.5, 10.6, 11.08, 10.38, 11.62, 11.31, 10.52,
]  # fmt: skip
N_PLUS = [0, 0, 0, 1, 2, 3, 4, 5, 0, 0, 0, 1, 2, 0, 0, 0, 1, 0, 0, 1, 2, 0, 1, 2, 3, 4, 5, 6, 7, 8]
N_MINUS = [1, 2, 3, 0, 0, 0, 1, 0, 1, 0, 1, 0, 0, 1, 0, 1, 0, 0, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0]


def test_montgomery_counters_and_the_mean_after_the_shift() -> None:
    chart = Cusum(counters=True)
    v = judge(chart, TABLE_9_2, mu=10.0, sigma=1.0)
    assert v.statistic[:, 2].tolist() == N_PLUS
    assert v.statistic[:, 3].tolist() == N_MINUS
    assert np.isnan(v.ucl[:, 2:]).all()
    moved = shifted_mean(chart, v, mu=10.0, sigma=1.0)
    assert np.isnan(moved[:28]).all()
    assert moved[28] == pytest.approx(11.25, abs=0.005), "shift after sample 29 - 7 = 22"
    down = judge(chart, [20 - x for x in TABLE_9_2], mu=10.0, sigma=1.0)
    assert shifted_mean(chart, down, mu=10.0, sigma=1.0)[28] == pytest.approx(8.75, abs=0.005)


@pytest.mark.parametrize("chart", [Cusum(), Cusum(counters=True, side="high")])
def test_the_mean_after_the_shift_needs_both_sums_and_counters(chart: Cusum) -> None:
    v = judge(chart, TABLE_9_2, mu=10.0, sigma=1.0)
    with pytest.raises(ValueError, match="counters = "):
        shifted_mean(chart, v, mu=10.0, sigma=1.0)


def test_montgomery_headstart() -> None:
    """§9.1.7: target 100, K = 3, H = 12, headstart 6; ten samples in control, and the same moved up by 5."""
    chart = Cusum(k=0.5, h=2.0, headstart=0.5)
    calm = judge(chart, [102, 97, 104, 93, 100, 105, 96, 98, 105, 99], mu=100.0, sigma=6.0)
    assert calm.statistic[:, 0].tolist() == [5, 0, 1, 0, 0, 2, 0, 0, 2, 0]
    assert calm.statistic[:, 1].tolist() == [1, 1, 0, 4, 1, 0, 1, 0, 0, 0]
    assert not calm.signal.any()
    off = [x + 5 for x in (102, 97, 104, 93, 100, 105, 96, 98, 105, 99)]
    with_it, without = (judge(Cusum(0.5, 2.0, headstart=part), off, mu=100.0, sigma=6.0) for part in (0.5, None))
    assert with_it.statistic[:3, 0].tolist() == [10, 9, 15]
    assert np.flatnonzero(with_it.signal)[0] == 2
    assert without.statistic[:3, 0].tolist() == [4, 3, 9]
    assert np.flatnonzero(without.signal)[0] == 5


@usual
@given(log, st.sampled_from([0.0, 0.5, 1.0, 2.0]), st.booleans(), st.sampled_from([None, 0.0, 0.5, 0.75]))
def test_cusum(values: list[float], sigma: float, restart: bool, headstart: float | None) -> None:
    both = judge(Cusum(0.5, 2.5, restart=restart, headstart=headstart, counters=True), values, mu=0.25, sigma=sigma)
    sums = np.array(cusum(values, 0.25, sigma, 0.5, 2.5, restart=restart, headstart=headstart or 0.0)).reshape(-1, 2)
    assert both.statistic[:, :2].tolist() == sums.tolist()
    assert both.signal.tolist() == [int(high > 2.5 * sigma) + 2 * int(low > 2.5 * sigma) for high, low in sums]
    if not restart:
        assert both.statistic[:, 2].tolist() == rows_above_zero(sums[:, 0].tolist())
        assert both.statistic[:, 3].tolist() == rows_above_zero(sums[:, 1].tolist())


@usual
@given(log, st.sampled_from([0.0, 0.5, 1.0]), st.sampled_from([None, 0.5]))
def test_one_side_is_that_side_of_both(values: list[float], sigma: float, headstart: float | None) -> None:
    both = judge(Cusum(h=2.5, headstart=headstart, counters=True), values, mu=0.25, sigma=sigma)
    for bit, side in enumerate(("high", "low")):
        for counters in (True, False):
            chart = Cusum(h=2.5, headstart=headstart, counters=counters, side=side)
            one = judge(chart, values, mu=0.25, sigma=sigma)
            shown = [bit, bit + 2] if counters else [bit]
            np.testing.assert_array_equal(one.statistic, both.statistic[:, shown])
            np.testing.assert_array_equal(one.ucl, both.ucl[:, shown])
            assert one.signal.tolist() == (both.signal >> bit & 1).tolist()
            assert [rule.statistic for rule in chart.rules] == [0]


def test_one_side_restarts_on_its_own_signals_only() -> None:
    one = judge(Cusum(h=2.0, k=0.0, side="low", restart=True, counters=True), [3.0, -1.0, -1.0, -1.0, -1.0], **GIVEN)
    assert one.statistic.tolist() == [[0, 0], [1, 1], [2, 2], [3, 3], [1, 1]]
    assert one.signal.tolist() == [0, 0, 0, 1, 0]


def test_a_restart_uses_the_headstart_again() -> None:
    v = judge(Cusum(h=4.0, headstart=0.5, restart=True), [3.0, 1.0, 1.0], **GIVEN)
    assert v.statistic.tolist() == [[4.5, 0.0], [2.5, 0.5], [3.0, 0.0]]
    assert v.signal.tolist() == [1, 0, 0]


@usual
@given(log, st.sampled_from([0.5, 1.0, 2.0]), st.sampled_from([0.1, 0.3, 1.0]))
def test_steady_ewma_has_its_final_limits_at_once(values: list[float], sigma: float, weight: float) -> None:
    v = judge(Ewma(weight=weight, width=2.7, steady=True), values, mu=0.25, sigma=sigma)
    half = 2.7 * sigma * np.sqrt(weight / (2 - weight))
    for i, (z, _) in enumerate(ewma(values, 0.25, sigma, weight, 2.7)):
        assert v.statistic[i, 0] == pytest.approx(z, abs=1e-12)
        assert (v.lcl[i, 0], v.ucl[i, 0]) == pytest.approx((0.25 - half, 0.25 + half))
        if abs(abs(z - 0.25) - half) > 1e-9:
            assert v.signal[i] == int(z > 0.25 + half) + 2 * int(z < 0.25 - half)


CHARTS = [Cusum, Ewma, lambda **more: Cusum(headstart=0.5, **more)]
NAMES = {"limits": "limits_version", "reset": "resets", "exclusion": "exclusions"}


@pytest.mark.parametrize("make", CHARTS)
@pytest.mark.parametrize("name", NAMES)
def test_sums_start_anew_with_what_is_named(make: type[Ewma], name: str) -> None:
    values, fresh = np.array([1.5, 1.2]), judge(make(), [1.5, 1.2], **GIVEN)
    carried_on = judge(make(), [1.5, 1.2, 1.5, 1.2], **GIVEN)
    others = tuple(set(NAMES) - {name})
    for ends, expected in (((name,), fresh.statistic), (others, carried_on.statistic[2:])):
        chart = make(window_ends=ends)
        state, params = new_state(chart, 1), new_params(1, **GIVEN)
        chart.update(state, series_batch(values, params=params))
        params[NAMES[name]] += 1
        np.testing.assert_array_equal(chart.update(state, series_batch(values, params=params)).statistic, expected)


@pytest.mark.parametrize("make", CHARTS)
def test_an_excluded_row_is_no_part_of_a_sum(make: type[Ewma]) -> None:
    out = [False, False, True, False]
    v = judge(make(), [1.5, 1.2, 9.0, 1.0], excluded=out, **GIVEN)
    without = judge(make(), [1.5, 1.2, 1.0], **GIVEN)
    assert v.valid.tolist() == [True, True, False, True]
    np.testing.assert_array_equal(v.statistic[[0, 1, 3]], without.statistic)
    ended = judge(make(window_ends=("exclusion",)), [1.5, 1.2, 9.0, 1.0], excluded=out, **GIVEN)
    np.testing.assert_array_equal(ended.statistic[3], judge(make(), [1.0], **GIVEN).statistic[0])


@pytest.mark.parametrize("make", [Cusum, Ewma])
def test_phase_one_has_no_moving_range_across_an_excluded_row_that_ends_a_window(make: type[Ewma]) -> None:
    values, out = [1.0, 3.0, 99.0, 11.0, 13.0, 7.0], [False, False, True, False, False, False]
    spans = judge(make(phase_one_rows=4), values, excluded=out)
    ends = judge(make(phase_one_rows=4, window_ends=("exclusion",)), values, excluded=out)
    assert spans.valid.tolist() == ends.valid.tolist() == [False] * 5 + [True]
    ratio = (spans.ucl[5, 0] - spans.centre[5, 0]) / (ends.ucl[5, 0] - ends.centre[5, 0])
    assert ratio == pytest.approx(4.0 / 2.0), "ranges 2, 8, 2, or 2 and 2"


@pytest.mark.parametrize(
    ("make", "name", "value"),
    [
        (Cusum, "side", "up"), (Cusum, "k", -0.1), (Cusum, "h", 0.0), (Cusum, "h", np.inf), (Cusum, "headstart", 1.0),
        (Cusum, "headstart", -0.5), (Cusum, "window_ends", ("limit",)), (Ewma, "window_ends", ("limit",)),
        (Ewma, "width", 0.0), (Ewma, "weight", 1.1),
    ],
)  # fmt: skip
def test_parameters_without_meaning_are_refused(make: type[Detector], name: str, value: object) -> None:
    with pytest.raises(ValueError, match=f"{name} = "):
        make(**{name: value})  # type: ignore[call-arg]


@pytest.mark.slow
@pytest.mark.compiled_only
@pytest.mark.parametrize(
    ("chart", "shift", "expected"),
    [
        (Cusum(headstart=0.5), 0.5, 28.66583),
        (Cusum(headstart=0.5), 1.0, 6.34685),
        (Cusum(side="high"), 0.5, 38.00961),
        (Cusum(side="low"), -1.0, 10.37598),
    ],
    ids=["FIR 0.5", "FIR 1", "high", "low"],
)
def test_run_length(chart: Cusum, shift: float, expected: float) -> None:
    """Exact run lengths of the CUSUM(0.5, 5), two-sided with headstart h/2 and one-sided, by integral equation."""
    series, rows = 4000, 500
    values = np.random.default_rng(3).normal(shift, 1.0, (series, rows))
    batch = series_batch(
        values.ravel(), series=np.repeat(np.arange(series), rows), params=new_params(series, mu=0.0, sigma=1.0)
    )
    signal = chart.update(new_state(chart, series), batch).signal.reshape(series, rows) > 0
    assert signal.any(axis=1).all()
    lengths = signal.argmax(axis=1) + 1
    assert abs(lengths.mean() - expected) < 4 * lengths.std() / np.sqrt(series)
