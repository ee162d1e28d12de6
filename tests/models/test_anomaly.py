"""Detectors of single odd rows: robust z and generalised ESD, their silence after an alarm, resets and exclusions."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models import Verdicts, judge
from models.anomaly import RobustZ
from models.detector import new_params, new_state, series_batch
from models.esd import SlidingEsd, critical_values, generalised_esd
from tests import naive
from tests.naive.anomaly import esd_outliers, silenced

ROSNER = [
    -0.25, 0.68, 0.94, 1.15, 1.20, 1.26, 1.26, 1.34, 1.38, 1.43, 1.49, 1.49, 1.55, 1.56, 1.58, 1.65, 1.69, 1.70, 1.76, 1.77,
    1.81, 1.91, 1.94, 1.96, 1.99, 2.06, 2.09, 2.10, 2.14, 2.15, 2.23, 2.24, 2.26, 2.35, 2.37, 2.40, 2.47, 2.54, 2.62, 2.64,
    2.90, 2.92, 2.92, 2.93, 3.21, 3.26, 3.30, 3.59, 3.68, 4.30, 4.64, 5.34, 5.42, 6.01,
]  # fmt: skip

coarse = st.integers(-7, 7).map(lambda steps: steps / 2)
calm = st.integers(-3, 3).map(lambda steps: steps / 2)
log = st.lists(coarse | calm, max_size=50)
usual = settings(max_examples=50)


def test_rosners_example() -> None:
    """NIST/SEMATECH e-Handbook §1.3.5.17.3: R and λ to their printed digits, and three outliers."""
    test = generalised_esd(ROSNER, 10)
    printed = [3.118, 2.942, 3.179, 2.810, 2.815, 2.848, 2.279, 2.310, 2.101, 2.067]
    assert test.statistic.tolist() == pytest.approx(printed, abs=1.01e-3)
    assert test.critical.tolist() == pytest.approx(
        [3.158, 3.151, 3.143, 3.136, 3.128, 3.120, 3.111, 3.103, 3.094, 3.085], abs=1.01e-3
    )
    assert test.outliers.tolist() == [51, 52, 53]
    assert test.removed[:3].tolist() == [53, 52, 51]


def test_esd_of_equal_values_has_no_outliers_and_bad_input_is_named() -> None:
    assert generalised_esd([2.0] * 20, 3).outliers.size == 0
    for values in ([1.0, np.nan, 2.0, 3.0], np.ones((2, 3))):
        with pytest.raises(ValueError, match="one column of finite numbers"):
            generalised_esd(values, 1)
    with pytest.raises(ValueError, match="max_outliers = 19: 1 to n − 2 of n = 20"):
        critical_values(20, 19)
    with pytest.raises(ValueError, match=r"alpha = 1\.5"):
        critical_values(20, 2, 1.5)


@usual
@given(st.lists(coarse | calm, min_size=15, max_size=30), st.integers(1, 5))
def test_sliding_esd(values: list[float], max_outliers: int) -> None:
    values = [value + i * 2.0**-20 for i, value in enumerate(values)]  # no ties
    v = judge(SlidingEsd(window=20, min_rows=15, max_outliers=max_outliers, alpha=0.1), values)
    assert v.valid.tolist() == [i >= 14 for i in range(len(values))]
    for i in range(14, len(values)):
        window = values[max(0, i - 19) : i + 1]
        critical = critical_values(len(window), max_outliers + 1, 0.1)
        outliers = esd_outliers(window, critical[:max_outliers].tolist())
        fired = values[i] in outliers
        assert v.signal[i] == (0 if not fired else 1 if v.statistic[i, 0] > 0 else 2)
        others = np.array([x for x in window if x not in outliers or x == values[i]])
        assert v.statistic[i, 0] == pytest.approx((values[i] - others.mean()) / others.std(ddof=1), rel=1e-6, abs=1e-9)
        assert v.ucl[i, 0] == -v.lcl[i, 0] == critical[len(outliers) - fired]


def test_sliding_esd_finds_what_others_would_mask() -> None:
    """Four values far off in a row: each signals, although the last has the other three beside it."""
    quiet = np.random.default_rng(5).normal(0.0, 1.0, 40)
    v = judge(SlidingEsd(max_outliers=5), [*quiet, 9.0, 9.2, 8.8, 9.1, 0.0])
    assert np.flatnonzero(v.signal).tolist() == [40, 41, 42, 43]
    assert (np.abs(v.statistic[v.signal > 0, 0]) > v.ucl[v.signal > 0, 0]).all()


@usual
@given(st.lists(coarse, max_size=50), st.integers(0, 6))
def test_refractory_takes_signals_and_nothing_else(values: list[float], refractory: int) -> None:
    for detector in (RobustZ, SlidingEsd):
        plain = (
            {"window": 15, "min_rows": 15} if detector is SlidingEsd else {"window": 9, "threshold": 1.5, "min_rows": 3}
        )
        loud, quiet = (judge(detector(**plain, refractory=r), values) for r in (0, refractory))
        assert quiet.signal.tolist() == silenced(loud.signal.tolist(), refractory)
        for part in ("statistic", "centre", "lcl", "ucl", "valid"):
            np.testing.assert_array_equal(getattr(loud, part), getattr(quiet, part))


@usual
@given(st.lists(st.tuples(coarse, st.booleans()), min_size=1, max_size=40), st.integers(0, 3))
def test_excluded_rows_are_as_if_they_were_not_there(rows: list[tuple[float, bool]], refractory: int) -> None:
    values, excluded = (np.array(part) for part in zip(*rows, strict=True))
    for detector in (RobustZ(9, 1.5, 3, refractory), SlidingEsd(20, 2, 0.5, 15, refractory)):
        v = judge(detector, values, excluded=excluded)
        assert not v.valid[excluded].any()
        rest = judge(detector, values[~excluded])
        for part, expected in zip(v, rest, strict=True):
            np.testing.assert_array_equal(part[~excluded], expected)


def after(detector: RobustZ | SlidingEsd, counter: str) -> Verdicts:
    """Return the verdicts of 30 rows that follow a jump on which it signalled and a change of `counter`."""
    before = np.r_[np.tile([1.0, 2.0, 3.0], 10), 50.0]
    state = new_state(detector, 1)
    assert detector.update(state, series_batch(before)).signal[-1] == 1
    params = new_params(1)
    params[counter] = 1
    return detector.update(
        state, series_batch(np.r_[np.tile([1.0, 2.0, 3.0], 10), 50.0], params=params, first_offset=31)
    )


@pytest.mark.parametrize("detector", [RobustZ, SlidingEsd])
@pytest.mark.parametrize("counter", ["limits_version", "resets", "exclusions"])
def test_what_empties_the_window_and_ends_the_silence(detector: type[RobustZ | SlidingEsd], counter: str) -> None:
    name = {"limits_version": "limits", "resets": "reset", "exclusions": "exclusion"}[counter]
    kept = after(detector(window=25, min_rows=25, refractory=100, window_ends=()), counter)
    assert kept.valid.all()
    assert not kept.signal.any()
    emptied = after(detector(window=25, min_rows=25, refractory=100, window_ends=(name,)), counter)
    assert np.flatnonzero(emptied.valid)[0] == (25 if detector is RobustZ else 24)
    assert np.flatnonzero(emptied.signal).tolist() == [30]
    default = after(detector(window=25, min_rows=25), counter)
    assert default.valid[0] == (counter != "resets")


def test_robust_z_hand_worked() -> None:
    """Median 10, MAD 1 of the window: z = 20/1.4826; a second odd row in the window hardly moves the median."""
    v = judge(RobustZ(window=10, min_rows=5), [10.0, 11.0, 9.0, 10.0, 12.0, 30.0, 30.0])
    assert v.statistic[5:, 0] == pytest.approx([20 / 1.4826022, 19.5 / (1.4826022 * 1.0)], rel=1e-6)
    assert naive.robust_z([10.0, 11.0, 9.0, 10.0, 12.0], 30.0)[0] == pytest.approx(20 / 1.4826022)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: RobustZ(window=2, min_rows=3), "min_rows = 3 ≤ window = 2"),
        (lambda: RobustZ(threshold=0.0), r"threshold = 0\.0"),
        (lambda: RobustZ(threshold=float("nan")), "threshold = nan"),
        (lambda: RobustZ(refractory=-1), "refractory = -1"),
        (lambda: RobustZ(window_ends=("shift",)), "shift"),
        (lambda: SlidingEsd(window=5000), "window = 5000"),
        (lambda: SlidingEsd(min_rows=10), "min_rows = 10"),
        (lambda: SlidingEsd(max_outliers=13), "max_outliers = 13"),
        (lambda: SlidingEsd(alpha=0.0), r"alpha = 0\.0"),
    ],
)
def test_parameters_without_meaning_are_refused(make: object, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make()  # type: ignore[operator]
