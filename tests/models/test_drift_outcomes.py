"""DDM and HDDM on outcomes of a model: against their oracles, and what the docstrings say."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models import judge
from models.ddm import Ddm
from models.detector import Detector, new_params, new_state, series_batch
from models.hddm import HddmA, HddmW
from tests.naive import drift as naive

phases = st.lists(st.tuples(st.sampled_from([0.05, 0.2, 0.5, 0.9]), st.integers(5, 30)), min_size=1, max_size=3)
usual = settings(max_examples=25)
ALL: list[Detector] = [Ddm(), HddmA(two_sided=True), HddmW(two_sided=True)]


def outcomes(spans: list[tuple[float, int]], seed: int) -> list[int]:
    """Return errors (1) at rates that last a few rows each."""
    random = np.random.default_rng(seed)
    return [int(random.random() < rate) for rate, rows in spans for _ in range(rows)]


def changing() -> np.ndarray:
    return np.array(outcomes([(0.1, 500), (0.5, 300), (0.1, 500), (0.3, 500)], 11), np.float64)


@usual
@given(phases, st.integers(0, 99), st.sampled_from([Ddm(5, 1.5, 2.0), Ddm(10)]))
def test_ddm_against_the_oracle(spans: list[tuple[float, int]], seed: int, detector: Ddm) -> None:
    rows = outcomes(spans, seed)
    v = judge(detector, rows)
    expected = naive.ddm(rows, rows_min=detector.rows_min, warning=detector.warning, drift=detector.drift)
    for i, said in enumerate(expected):
        assert v.valid[i] == (said is not None)
        if said is not None:
            assert (v.statistic[i, 0], v.ucl[i, 0]) == pytest.approx(said[:2], abs=1e-12)
            if abs(said[0] - said[1]) < 1e-9:  # a tie by rounding
                break
            assert v.signal[i] == said[2]


@usual
@given(
    phases,
    st.integers(0, 99),
    st.sampled_from(
        [
            HddmA(0.05, 0.2, True),
            HddmA(0.01, 0.1),
            HddmW(0.05, 0.2, 0.1, True),
            HddmW(0.1, 0.3, 0.05),
            HddmW(0.01, 0.02, 0.15),
        ]
    ),
)
def test_hddm_against_the_oracle(spans: list[tuple[float, int]], seed: int, detector: HddmA | HddmW) -> None:
    rows = outcomes(spans, seed)
    v = judge(detector, rows)
    expected = naive.hddm(
        rows, drift_alpha=detector.drift_alpha, warning_alpha=detector.warning_alpha,
        weight=getattr(detector, "weight", None), two_sided=detector.two_sided,
    )  # fmt: skip
    assert v.valid.all()
    for i, said in enumerate(expected):
        if said.margin < 1e-9:
            break
        assert v.statistic[i].tolist() == pytest.approx([said.rise, said.fall], abs=1e-9)
        assert v.ucl[i].tolist() == pytest.approx([said.rise_limit, said.fall_limit], abs=1e-9)
        assert v.signal[i] == said.signal


@pytest.mark.parametrize("detector", ALL, ids=lambda detector: detector.name)
def test_any_cut_gives_the_same_bits(detector: Detector) -> None:
    """The conformance suite's values are no outcomes, so here are some."""
    values = changing()
    series = np.arange(len(values)) % 3
    whole = new_state(detector, 3)
    expected = detector.update(whole, series_batch(values, series=series))
    assert expected.signal.any()
    state = new_state(detector, 3)
    params = new_params(3)
    parts = [
        detector.update(state, series_batch(values[a : a + 7], series=series[a : a + 7], params=params))
        for a in range(0, len(values), 7)
    ]
    for name, array in zip(expected._fields, expected, strict=True):
        assert np.concatenate([getattr(part, name) for part in parts]).tobytes() == array.tobytes()
    assert all(state[name].tobytes() == whole[name].tobytes() for name in state)


@pytest.mark.parametrize("detector", ALL, ids=lambda detector: detector.name)
def test_what_is_no_outcome_is_not_judged(detector: Detector) -> None:
    values = changing()[:600]
    odd = np.insert(values, [10, 50, 520], [np.nan, 2.0, -np.inf])
    v, w = judge(detector, odd), judge(detector, values)
    there = np.isfinite(odd) & (odd <= 1)
    assert not v.valid[~there].any()
    np.testing.assert_array_equal(v.signal[there], w.signal)
    np.testing.assert_array_equal(v.statistic[there], w.statistic)


@pytest.mark.parametrize("detector", ALL, ids=lambda detector: detector.name)
@pytest.mark.parametrize("counter", ["limits_version", "resets"])
def test_a_change_of_the_limits_or_a_reset_starts_anew(detector: Detector, counter: str) -> None:
    state, params = new_state(detector, 1), new_params(1)
    detector.update(state, series_batch(changing()[:300], params=params))
    params[counter] += 1
    again = detector.update(state, series_batch(changing()[300:700], params=params))
    first = judge(detector, changing()[300:700])
    np.testing.assert_array_equal(again.statistic, first.statistic)
    np.testing.assert_array_equal(again.signal, first.signal)


@pytest.mark.parametrize("detector", ALL, ids=lambda detector: detector.name)
def test_a_worse_model_is_found_once_and_a_better_one_only_from_two_sides(detector: Detector) -> None:
    values = np.concatenate([np.tile([0] * 9 + [1], 50), np.tile([0, 1], 150), np.tile([0] * 9 + [1], 50)])
    v = judge(detector, values)
    drift = np.flatnonzero(v.signal & (3 if detector.name != "drift.ddm" else 1))
    assert 500 < drift[0] < 620
    assert not ((drift > drift[0]) & (drift < 800)).any()
    fell = np.flatnonzero(v.signal == 2)
    if detector.name != "drift.ddm":
        assert 800 < fell[0] < 900
        one_sided = type(detector)()
        assert not (judge(one_sided, values).signal & 2).any()


def test_ddm_takes_the_first_error_after_none_for_a_drift() -> None:
    v = judge(Ddm(rows_min=10), [0] * 20 + [1] + [0] * 5)
    assert np.flatnonzero(v.signal == 1).tolist() == [20]
    assert not v.valid[21:].any()


@pytest.mark.parametrize(
    ("make", "wrong"),
    [
        (Ddm, {"rows_min": 0}),
        (Ddm, {"warning": 4.0}),
        (Ddm, {"drift": float("inf")}),
        (HddmA, {"drift_alpha": 0.0}),
        (HddmW, {"warning_alpha": 1.0}),
        (HddmW, {"weight": 1.0}),
    ],
)
def test_parameters_without_meaning_are_refused(make: type, wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=next(iter(wrong))):
        make(**wrong)
