"""ADWIN and Page–Hinkley: against their oracles, what the docstrings say, and their figures."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models import judge
from models.adwin import Adwin
from models.detector import new_params, new_state, series_batch
from models.page_hinkley import PageHinkley
from tests.bench.drift import delays, false_alarms
from tests.naive import drift as naive

steps = st.lists(st.tuples(st.integers(-3, 3), st.integers(3, 25)), min_size=1, max_size=4)
usual = settings(max_examples=20)


def staircase(levels: list[tuple[int, int]], seed: int) -> list[float]:
    """Return noise on levels that last a few rows each."""
    random = np.random.default_rng(seed)
    return [round(float(x), 3) for level, rows in levels for x in random.normal(level, 0.7, rows)]


@usual
@given(
    steps,
    st.integers(0, 99),
    st.sampled_from([Adwin(clock=1), Adwin(0.3, 4, 1, 16, 2), Adwin(0.05, 3, 2, 3, 3, 2.0)]),
)
def test_adwin_against_the_oracle(levels: list[tuple[int, int]], seed: int, detector: Adwin) -> None:
    values = staircase(levels, seed)
    v = judge(detector, values)
    parameters = {
        name: getattr(detector, name) for name in ("delta", "clock", "buckets", "levels", "part_rows_min", "unit")
    }
    for i, cut in enumerate(naive.adwin(values, **parameters)):
        assert v.valid[i] == (cut is not None)
        if cut is not None:
            assert v.statistic[i].tolist() == pytest.approx([cut.mean, cut.ratio, cut.rows], abs=1e-9)
            assert v.signal[i] == (cut.ratio > 1)


def test_adwin_keeps_the_buckets_of_the_paper() -> None:
    detector = Adwin(buckets=2, levels=3, part_rows_min=1, clock=1)
    state = new_state(detector, 1)
    v = detector.update(state, series_batch(np.full(40, 3.0)))
    assert not v.signal.any()
    assert state["held"][0].max() == 3
    assert v.statistic[-1, 2] == (state["held"][0] * [1, 2, 4]).sum() <= 3 * 7  # the rest is forgotten
    assert v.statistic[-1, 0] == 3.0


def test_adwin_does_not_depend_on_the_unit() -> None:
    values = np.array(staircase([(0, 100), (3, 60)], 1))
    a, b = judge(Adwin(clock=4), values), judge(Adwin(clock=4), values * 1e-3 + 700.0)
    np.testing.assert_array_equal(a.signal, b.signal)
    np.testing.assert_allclose(a.statistic[:, 1], b.statistic[:, 1], rtol=1e-6)
    assert a.signal.any()
    assert not judge(Adwin(clock=4, unit=1.0), values * 1e-3).signal.any()  # the bound is for values up to the unit


@usual
@given(steps, st.integers(0, 99), st.sampled_from([PageHinkley(0.1, 6.0, 5, 0.99), PageHinkley(0.0, 9.0, 2, 1.0)]))
def test_page_hinkley_against_the_oracle(levels: list[tuple[int, int]], seed: int, detector: PageHinkley) -> None:
    values = staircase(levels, seed)
    v = judge(detector, values, sigma=2.0)
    expected = naive.page_hinkley(
        values, 2.0, delta=detector.delta, threshold=detector.threshold, rows=detector.phase_one_rows, fading=detector.fading
    )  # fmt: skip
    for i, climbs in enumerate(expected):
        assert v.valid[i] == (climbs is not None)
        if climbs is not None:
            assert v.statistic[i].tolist() == pytest.approx(climbs, abs=1e-9)
            assert v.signal[i] == sum(1 << side for side in range(2) if climbs[side] > detector.threshold)


def test_page_hinkley_learns_sigma_and_keeps_it() -> None:
    calm, shifted = [0.0, 2.0] * 10, [8.0, 10.0] * 20
    detector = PageHinkley(threshold=8.0, phase_one_rows=10)
    v = judge(detector, calm + shifted)
    given = judge(detector, (calm + shifted)[10:], sigma=2.0 / 1.1283791670955126)
    assert not v.valid[:10].any()
    assert v.valid[10:20].all()
    (at,) = np.flatnonzero(v.signal)  # a shift is signalled once
    assert not v.valid[at + 1 : at + 10].any()
    assert v.valid[at + 10]
    assert np.flatnonzero(given.signal).size == 1


def test_page_hinkley_with_sigma_zero() -> None:
    v = judge(PageHinkley(phase_one_rows=2), [5.0, 5.0, 5.0, 7.0, 5.0], sigma=0.0)
    assert v.signal.tolist() == [0, 0, 0, 1, 2]
    assert v.statistic[3].tolist() == [1.5, 0.0]
    assert v.ucl[3].tolist() == [0.0, 0.0]


@pytest.mark.parametrize("detector", [Adwin(clock=1), PageHinkley(phase_one_rows=4)])
@pytest.mark.parametrize("counter", ["limits_version", "resets"])
def test_a_change_of_the_limits_or_a_reset_starts_anew(detector: Adwin | PageHinkley, counter: str) -> None:
    state, params = new_state(detector, 1), new_params(1)
    values = np.array([9.0, 11.0] * 8)
    detector.update(state, series_batch(values, params=params))
    params[counter] += 1
    again = detector.update(state, series_batch(values + 100.0, params=params))
    first = judge(detector, values + 100.0)
    np.testing.assert_array_equal(again.statistic, first.statistic)
    np.testing.assert_array_equal(again.valid, first.valid)


@pytest.mark.parametrize(
    ("make", "wrong"),
    [
        (Adwin, {"delta": 0.0}),
        (Adwin, {"clock": 0}),
        (Adwin, {"buckets": 0}),
        (Adwin, {"levels": 31}),
        (Adwin, {"unit": -1.0}),
        (PageHinkley, {"threshold": 0.0}),
        (PageHinkley, {"delta": float("nan")}),
        (PageHinkley, {"fading": 1.5}),
        (PageHinkley, {"phase_one_rows": 1}),
    ],
)
def test_parameters_without_meaning_are_refused(make: type, wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=next(iter(wrong))):
        make(**wrong)


@pytest.mark.compiled_only
def test_figures() -> None:
    """As river 0.26.1 has them under its defaults: ADWIN 0 false alarms, delays 120 and 49; Page–Hinkley 6.2, 77 and 36."""
    assert false_alarms(Adwin(), known=False, streams=100, rows=5_000)[0] <= 0.1
    assert delays(Adwin(), 0.5, known=False, before=1_000, streams=200)[0] == pytest.approx(122, abs=12)
    assert delays(Adwin(), 1.0, known=False, before=1_000, streams=200)[0] == pytest.approx(47, abs=4)
    assert false_alarms(PageHinkley(), known=True, streams=200, rows=5_000)[0] == pytest.approx(6.2, abs=0.6)
