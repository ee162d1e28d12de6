"""What each detector's docstring says of Phase I, gaps, infinity, sigma 0, subgroups and a change of limits."""

import numpy as np
import pytest

from models import judge
from models.anomaly import RobustZ
from models.capability import Capability
from models.cusum import Cusum
from models.detector import Detector, Verdicts, new_params, new_state, series_batch
from models.ewma import Ewma
from models.individuals import IndividualsChart
from models.limits import d2
from models.xbar import XbarChart

LEARNERS = [
    IndividualsChart(phase_one_rows=4),
    Cusum(phase_one_rows=4),
    Ewma(phase_one_rows=4),
]
ALL = [*LEARNERS, XbarChart(2, 2), XbarChart(2, 2, spread="S"), Capability(min_rows=4), RobustZ(5, 3.5, 4)]


def by_name(detector: Detector) -> str:
    return detector.name


def continued(detector: Detector, *pieces: tuple[list[float], dict[str, float]]) -> list[Verdicts]:
    """Judge pieces of one series one after another, each under its own parameters and version of the limits."""
    state, verdicts = new_state(detector, 1), []
    for version, (values, given) in enumerate(pieces):
        params = new_params(1, **given)
        params["limits_version"] = version
        verdicts.append(detector.update(state, series_batch(np.array(values), params=params)))
    return verdicts


@pytest.mark.parametrize("chart", LEARNERS, ids=by_name)
def test_phase_one_is_the_first_rows_that_are_there(chart: Detector) -> None:
    v = judge(chart, [np.nan, 1.0, 3.0, np.nan, 1.0, 3.0, 2.0, 2.0])
    assert v.valid.tolist() == [False] * 6 + [True] * 2
    assert np.isnan(v.ucl[:6]).all()
    assert v.signal.sum() == 0


@pytest.mark.parametrize("chart", LEARNERS, ids=by_name)
def test_phase_one_freezes_mu_and_sigma(chart: Detector) -> None:
    learned = judge(chart, [1.0, 3.0, 1.0, 3.0, 7.0, 2.0, 5.0])
    given = judge(chart, [7.0, 2.0, 5.0], mu=2.0, sigma=2.0 / d2(2))
    np.testing.assert_allclose(learned.statistic[5:, 0], given.statistic[1:, 0])
    np.testing.assert_allclose(learned.ucl[4:], given.ucl)
    np.testing.assert_allclose(learned.centre[4:], given.centre)


@pytest.mark.parametrize("chart", LEARNERS, ids=by_name)
def test_given_parameters_win_each_for_itself(chart: Detector) -> None:
    phase_one = [1.0, 3.0, 1.0, 3.0]
    both = judge(chart, [2.0], mu=2.0, sigma=2.0 / d2(2))
    assert both.valid.all()
    for given in ({"mu": 2.0}, {"sigma": 2.0 / d2(2)}, {"mu": 2.0, "sigma": np.inf}, {"mu": 2.0, "sigma": -1.0}):
        [v] = continued(chart, ([*phase_one, 2.0], given))
        assert v.valid.tolist() == [False] * 4 + [True]
        np.testing.assert_allclose(v.ucl[4], both.ucl[0])


@pytest.mark.parametrize("chart", LEARNERS, ids=by_name)
def test_given_parameters_that_are_taken_back_leave_what_was_learned(chart: Detector) -> None:
    learned, given, again = continued(
        chart, ([1.0, 3.0, 1.0, 3.0, 2.0], {}), ([2.0], {"mu": 0.0, "sigma": 1.0}), ([2.0], {})
    )
    assert given.ucl[0, 0] != learned.ucl[4, 0]
    np.testing.assert_array_equal(again.ucl[0], learned.ucl[4])


@pytest.mark.parametrize("chart", LEARNERS, ids=by_name)
def test_a_change_of_limits_in_phase_one_costs_one_moving_range(chart: Detector) -> None:
    first, second = continued(chart, ([1.0, 3.0], {}), ([11.0, 13.0, 7.0], {}))
    assert not first.valid.any()
    assert second.valid.tolist() == [False, False, True]
    reference = judge(chart, [7.0], mu=7.0, sigma=2.0 / d2(2))  # moving ranges 2 and 2, not 8
    np.testing.assert_allclose(second.ucl[2, 0], reference.ucl[0, 0])


@pytest.mark.parametrize("detector", ALL, ids=by_name)
@pytest.mark.parametrize("odd", [np.inf, -np.inf])
def test_infinity_is_not_judged_like_missing(detector: Detector, odd: float) -> None:
    values = np.array([1.0, 2.0, odd, 4.0, 2.0, odd, 1.0, 9.0, odd, 2.0, 3.0])
    v = judge(detector, values, lsl=0.0, usl=5.0)
    without = judge(detector, values[np.isfinite(values)], lsl=0.0, usl=5.0)
    assert not v.valid[np.isinf(values)].any()
    for part, expected in zip(v, without, strict=True):
        np.testing.assert_array_equal(part[np.isfinite(values)], expected)


@pytest.mark.parametrize("chart", [*LEARNERS, XbarChart(2, 2), XbarChart(2, 2, spread="S")], ids=by_name)
@pytest.mark.parametrize("given", [{}, {"mu": 0.1, "sigma": 0.0}])
def test_zero_sigma_has_its_limits_on_the_centre_line(chart: Detector, given: dict[str, float]) -> None:
    values = [0.1] * 8 + [0.3] * 2 + [0.1] * 2 + [-0.1] * 2 + [0.1] * 30
    v = judge(chart, values, **given)
    judged = np.flatnonzero(v.valid)
    np.testing.assert_array_equal(v.ucl[judged, 0], v.ucl[judged[0], 0])
    assert v.ucl[judged[0], 0] == (v.centre[judged[0], 0])
    off = np.array(values)[judged] != 0.1
    level = v.signal[judged] & np.uint32(0b11 if len(chart.rules) == 2 else 0b1)
    np.testing.assert_array_equal(level != 0, off)


def test_robust_z_looks_at_the_values_before() -> None:
    v = judge(RobustZ(window=5, min_rows=3), [1.0, 2.0, 3.0, 30.0, 2.0, 1.0, -30.0])
    assert v.valid.tolist() == [False] * 3 + [True] * 4
    assert v.statistic[3, 0] == pytest.approx(28 / 1.482602218505602)
    assert v.signal.tolist() == [0, 0, 0, 1, 0, 0, 2]
    assert (v.lcl[3, 0], v.centre[3, 0], v.ucl[3, 0]) == (-3.5, 0.0, 3.5)


def test_robust_z_forgets_what_left_its_window() -> None:
    v = judge(RobustZ(window=3, min_rows=3), [100.0, 200.0, 300.0, 1.0, 2.0, 3.0, 2.0])
    assert v.statistic[6, 0] == pytest.approx(0.0)


def test_robust_z_falls_back_to_the_mean_deviation() -> None:
    v = judge(RobustZ(window=5, min_rows=5), [2.0, 2.0, 2.0, 2.0, 7.0, 4.0])
    assert v.statistic[5, 0] == pytest.approx(2.0 / (np.sqrt(np.pi / 2) * 1.0))


def test_robust_z_of_a_constant() -> None:
    v = judge(RobustZ(window=5, min_rows=5), [2.0] * 6 + [2.5, 2.0])
    assert v.statistic[5:7, 0].tolist() == [0.0, 0.5]
    assert v.ucl[6, 0] == 0.0
    assert v.signal.tolist() == [0] * 6 + [1, 0]


def test_cusum_restarts_if_asked() -> None:
    on, again = (judge(Cusum(restart=restart), [3.0] * 6, mu=0.0, sigma=1.0) for restart in (False, True))
    assert on.statistic[:, 0].tolist() == [2.5, 5.0, 7.5, 10.0, 12.5, 15.0]
    assert on.signal.tolist() == [0, 0, 1, 1, 1, 1]  # 5 is on the limit: inside
    assert again.statistic[:, 0].tolist() == [2.5, 5.0, 7.5, 2.5, 5.0, 7.5]
    assert again.signal.tolist() == [0, 0, 1, 0, 0, 1]
    assert judge(Cusum(), [-3.0] * 3, mu=0.0, sigma=1.0).signal.tolist() == [0, 0, 2]


@pytest.mark.parametrize("chart", [Cusum(), Ewma()], ids=by_name)
def test_sums_start_again_with_new_limits(chart: Detector) -> None:
    given = {"mu": 0.0, "sigma": 1.0}
    first, second = continued(chart, ([1.5, 1.2], given), ([1.5, 1.2], given))
    np.testing.assert_array_equal(first.statistic, second.statistic)
    assert judge(chart, [1.5, 1.2, 1.5], **given).statistic[2, 0] != second.statistic[0, 0]


@pytest.mark.parametrize(
    "make",
    [
        lambda: Cusum(phase_one_rows=0),
        lambda: Ewma(phase_one_rows=1),
        lambda: Ewma(weight=0.0),
        lambda: RobustZ(window=5, min_rows=6),
        lambda: RobustZ(window=5000),
    ],
)
def test_parameters_without_meaning_are_refused(make: object) -> None:
    with pytest.raises(ValueError, match=r"= |≤"):
        make()  # type: ignore[operator]
