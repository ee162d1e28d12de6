"""The univariate set: its statistics and signals are those of the charts that it stands for."""

import dataclasses
from collections.abc import Iterator, Mapping

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models import judge
from models.capability import Capability
from models.checks import SERIES, _Bench
from models.cusum import Cusum
from models.detector import Detector, SeriesBatch, Verdicts, new_params, new_state, series_batch
from models.ewma import Ewma
from models.individuals import IndividualsChart
from models.phase_one import WINDOW_ENDS
from models.univariate import UnivariateSet

SETS = [
    UnivariateSet(),
    UnivariateSet(phase_one_rows=10, nelson=(5, 1, 8), any_side=True, window_ends=("limits",)),
    UnivariateSet(phase_one_rows=5, nelson=(), weight=0.05, width=2.2, k=1.0, h=2.5, min_rows=2, cpk_min=1.3),
    UnivariateSet(phase_one_rows=3, weight=1.0, k=0.0, window_ends=()),
    UnivariateSet(phase_one_rows=20, window_ends=("exclusion", "reset")),
]
NUMBERS = ("statistic", "centre", "lcl", "ucl")


def single(one: UnivariateSet) -> tuple[IndividualsChart, Ewma, Cusum, Capability]:
    """Return the four detectors of the same parameters."""
    return (
        IndividualsChart(one.phase_one_rows, one.nelson, one.any_side, one.d2_digits, window_ends=one.window_ends),
        Ewma(one.weight, one.width, one.phase_one_rows, window_ends=one.window_ends),
        Cusum(one.k, one.h, one.phase_one_rows, window_ends=one.window_ends),
        Capability(one.min_rows, one.cpk_min, one.d2_digits, within="moving_range", ppm=False),
    )


def judged(detector: Detector, batches: list[SeriesBatch], series: int) -> Verdicts:
    """Return the verdicts of batches that follow each other."""
    state = new_state(detector, series)
    parts = [detector.update(state, batch) for batch in batches]
    return Verdicts(*(np.concatenate(part) for part in zip(*parts, strict=True)))


def compare(one: UnivariateSet, batches: list[SeriesBatch], series: int) -> None:
    """Assert that the set's verdicts are those of the four: bit for bit the charts', to 1e-12 the capability's."""
    fused = judged(one, batches, series)
    shewhart, ewma, cusum, capability = (judged(detector, batches, series) for detector in single(one))
    for chart, places in ((shewhart, slice(0, 2)), (ewma, slice(2, 3)), (cusum, slice(3, 5))):
        assert fused.valid.tobytes() == chart.valid.tobytes()
        for name in NUMBERS:
            found, expected = np.ascontiguousarray(getattr(fused, name)[:, places]), getattr(chart, name)
            np.testing.assert_array_equal(found, expected, err_msg=name)
            assert (np.signbit(found) == np.signbit(expected))[~np.isnan(found)].all(), name
    m = len(one.nelson)
    np.testing.assert_array_equal(fused.signal & ((2 << m) - 1), shewhart.signal)
    np.testing.assert_array_equal(fused.signal >> (m + 1) & 3, ewma.signal)
    np.testing.assert_array_equal(fused.signal >> (m + 3) & 3, cusum.signal)

    for place in (0, 1):
        found, expected = fused.statistic[:, 5 + place], capability.statistic[:, place]
        np.testing.assert_allclose(found, expected, rtol=1e-12, atol=1e-12)
    counts = fused.valid & capability.valid
    np.testing.assert_array_equal(fused.lcl[counts, 6], capability.lcl[counts, 1])
    assert np.isnan(fused.lcl[~counts, 6]).all()
    clear = np.abs(np.nan_to_num(capability.statistic[:, 1], nan=np.inf) - one.cpk_min) > 1e-12
    np.testing.assert_array_equal((fused.signal >> (m + 5))[counts & clear], capability.signal[counts & clear])
    assert not (fused.signal >> (m + 5))[~counts].any()


def epochs(batch: SeriesBatch) -> Iterator[SeriesBatch]:
    """Yield the batch in four pieces, between which a counter each grows for some series."""
    params = batch.params
    for start, name in ((0, None), (240, "limits_version"), (500, "resets"), (720, "exclusions")):
        if name is not None:
            params = params.copy()
            params[name][::2] += 1
        which = slice(start, {0: 240, 240: 500, 500: 720, 720: None}[start])
        part = {name: getattr(batch, name)[which] for name in ("row", "offset", "event_time_ms", "value", "subgroup")}
        yield SeriesBatch(**part, params=params, columns={n: c[which] for n, c in batch.columns.items()})


@pytest.mark.parametrize("one", SETS)
def test_on_the_log_of_the_checks(one: UnivariateSet) -> None:
    """Gaps, exclusions, ties, a constant series, given and learned parameters, carried limits, and every end of a window."""
    batch = _Bench(one, "").log()
    compare(one, list(epochs(batch)), SERIES)


@settings(max_examples=60)
@given(
    st.lists(st.integers(-7, 7).map(lambda steps: steps / 2) | st.just(np.nan), max_size=60),
    st.sampled_from(SETS),
    st.sampled_from([None, 0.0, 0.5, 1.0]),
    st.sampled_from([{}, {"lsl": -3.0}, {"usl": 2.0}, {"lsl": -3.0, "usl": 2.0}]),
    st.integers(0, 2**60 - 1),
)
def test_whatever_the_values(
    values: list[float], one: UnivariateSet, sigma: float | None, limits: Mapping[str, float], excluded: int
) -> None:
    mu = {} if sigma is None else {"mu": 0.25, "sigma": sigma}
    params = new_params(1, **mu, **limits)
    bits = np.array([excluded >> 3 * (i % 20) & 7 == 7 for i in range(len(values))], np.bool_)
    compare(one, [series_batch(np.array(values), params=params, columns={"excluded": bits})], 1)


@pytest.mark.compiled_only
@pytest.mark.parametrize("mean", [0.0, 50.0, 1e6])
def test_a_long_run_about_a_large_mean_keeps_its_digits(mean: float) -> None:
    value = np.random.default_rng(7).normal(mean, 1.0, 100_000)
    params = new_params(1, lsl=mean - 6.0, usl=mean + 6.0)
    compare(UnivariateSet(), [series_batch(value, params=params)], 1)


def test_rows_carry_limits_and_given_ones_win() -> None:
    one = UnivariateSet(min_rows=2)
    lsl = np.array([np.nan, 4.0, np.nan, 5.0])
    carried = judge(one, [10.0, 11.0, 9.0, 10.0], mu=10.0, sigma=1.0, lsl=lsl, usl=16.0).statistic[:, 5]
    sigma = np.array([1.0, 1.5, 4 / 3]) * np.sqrt(np.pi) / 2
    assert carried.tolist() == pytest.approx([np.nan, *(np.array([12.0, 12.0, 11.0]) / 6 / sigma)], nan_ok=True)


def test_sigma_within_zero_signals_outside_the_limits_only() -> None:
    one = UnivariateSet(min_rows=2)
    last = len(one.rules) - 1
    assert one.rules[last].name == "cpk_below_minimum"
    for value, signals in ((10.0, 0), (17.0, 1)):
        v = judge(one, [value] * 5, mu=10.0, sigma=1.0, lsl=4.0, usl=16.0)
        assert (v.signal >> last).tolist() == [0] + [signals] * 4
        assert np.isnan(v.statistic[:, 5:]).all()


def test_rules_and_statistics_have_their_places() -> None:
    one = UnivariateSet(nelson=(1, 5))
    v = judge(one, [0.0, 0.0, 20.0], mu=0.0, sigma=1.0)
    fired = [rule.name for bit, rule in enumerate(one.rules) if v.signal[2] >> bit & 1]
    assert fired == ["nelson_1", "mr_beyond_limit", "ewma_high", "cusum_high"]
    assert [one.statistics[rule.statistic] for rule in one.rules] == ["x", "x", "MR", "z", "z", "C+", "C-", "Cpk"]


@pytest.mark.parametrize(
    ("wrong", "named"),
    [
        ({"phase_one_rows": 1}, "phase_one_rows = 1"),
        ({"nelson": (1, 1)}, r"nelson = \(1, 1\)"),
        ({"window_ends": ("night",)}, "night"),
        ({"weight": 0.0}, "weight = 0.0"),
        ({"weight": 1.5}, "weight = 1.5"),
        ({"width": 0.0}, "width = 0.0"),
        ({"k": -0.5}, "k = -0.5"),
        ({"h": np.inf}, "h = inf"),
        ({"h": 0.0}, "h = 0.0"),
        ({"min_rows": 1}, "min_rows = 1"),
        ({"cpk_min": np.nan}, "cpk_min = nan"),
    ],
)
def test_parameters_without_meaning_are_refused(wrong: dict[str, object], named: str) -> None:
    with pytest.raises(ValueError, match=named):
        dataclasses.replace(UnivariateSet(), **wrong)  # type: ignore[arg-type]


def test_window_ends_are_named() -> None:
    assert UnivariateSet().window_ends == WINDOW_ENDS
