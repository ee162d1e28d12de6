"""I–MR, X̄–R and X̄–S charts: limits, Phase I, subgroups and windows, against the oracles and by the docstrings."""

import csv
import math
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from models import judge
from models.detector import Detector, Verdicts, new_params, new_state, series_batch
from models.individuals import IndividualsChart
from models.limits import c4, constants, d2, d3
from models.phase_one import WINDOW_ENDS
from models.xbar import XbarChart
from tests.naive import shewhart as naive
from tests.naive.shewhart import Event

KNOWN = {"mu": 0.0, "sigma": 1.0}
ALL_RULES = {"nelson": tuple(range(1, 9)), "western_electric": (1, 2, 3, 4)}
COUNTER = {"limits": "limits_version", "reset": "resets", "exclusion": "exclusions"}
PISTON_RINGS = Path(__file__).parent / "data" / "pistonrings.csv"

# On a coarse grid ties and points on a line are common, and sums are exact: the oracle's numbers are the kernel's.
coarse = st.integers(-7, 7).map(lambda steps: steps / 2)
calm = st.integers(-3, 3).map(lambda steps: steps / 2)
any_float = st.floats(-1e6, 1e6, allow_nan=False).map(lambda value: round(value, 3))
sigmas = st.sampled_from([0.0, 0.5, 1.0, 2.0])
ends = st.sets(st.sampled_from(WINDOW_ENDS)).map(lambda named: tuple(sorted(named)))
changes = st.just(()) | st.just(()) | st.just(()) | st.sampled_from(WINDOW_ENDS).map(lambda name: (name,))
events = st.lists(
    st.builds(Event, calm | coarse | st.just(math.nan), st.sampled_from([False] * 7 + [True]), changes), max_size=60
)
usual = settings(max_examples=60)


def bits(sets: Sequence[set[int]], shift: int = 0) -> np.ndarray:
    """Return the signals that these sets of rule numbers make, rule 1 in bit `shift`."""
    return np.array([sum(1 << (rule - 1 + shift) for rule in rules) for rules in sets], np.uint32)


def followed(detector: Detector, log: Sequence[Event], **given_params: float) -> Verdicts:
    """Judge the rows of one series one by one; before each, the counters grow that it says."""
    state, params, verdicts = new_state(detector, 1), new_params(1, **given_params), []
    for event in log:
        params = params.copy()
        for name in event.changed:
            params[COUNTER[name]] += 1
        columns = {"excluded": np.array([event.excluded])}
        verdicts.append(detector.update(state, series_batch(np.array([event.value]), params=params, columns=columns)))
    return Verdicts(*(np.concatenate(parts) for parts in zip(*verdicts, strict=True)))


def plain(values: Sequence[float]) -> list[Event]:
    return [Event(value) for value in values]


# Windows


@usual
@given(
    st.lists(coarse, max_size=60) | st.lists(calm, max_size=60),
    st.sampled_from([-0.5, 0.0, 0.5]),
    sigmas,
    st.booleans(),
)
@example([0.5] * 60, 0.0, 1.0, False)
def test_rules_by_definition(values: list[float], mu: float, sigma: float, any_side: bool) -> None:
    v = judge(IndividualsChart(any_side=any_side, **ALL_RULES), values, mu=mu, sigma=sigma)
    expected = bits(naive.nelson(values, mu, sigma, any_side)) | bits(naive.western_electric(values, mu, sigma), 8)
    np.testing.assert_array_equal(v.signal & 0xFFF, expected)


@usual
@given(events, ends)
def test_individuals_windows_by_definition(log: list[Event], window_ends: tuple[str, ...]) -> None:
    if not log:
        return
    v = followed(IndividualsChart(window_ends=window_ends, **ALL_RULES), log, **KNOWN)
    for i, window in enumerate(naive.windows(log, window_ends)):
        assert v.valid[i] == bool(window)
        if not window:
            assert v.signal[i] == 0
            assert np.isnan([v.statistic[i], v.centre[i], v.lcl[i], v.ucl[i]]).all()
            continue
        x, moving_range = v.statistic[i].tolist()
        assert x == window[-1]
        if len(window) == 1:
            assert np.isnan(moving_range)
        else:
            assert moving_range == abs(window[-1] - window[-2])
        nelson, western_electric = naive.nelson(window, **KNOWN)[-1], naive.western_electric(window, **KNOWN)[-1]
        beyond = int(moving_range > v.ucl[i, 1]) << 12
        assert v.signal[i] == bits([nelson])[0] | bits([western_electric], 8)[0] | beyond


@pytest.mark.parametrize("how", WINDOW_ENDS)
@pytest.mark.parametrize("chart", [IndividualsChart, XbarChart])
def test_a_window_ends_at_what_is_named_only(chart: type, how: str) -> None:
    """Four of five beyond 1 sigma, two before and two after: they meet only if the window goes on across."""
    make = chart if chart is IndividualsChart else lambda **given: XbarChart(2, **given)
    rows = 1 if chart is IndividualsChart else 2
    points = [1.5 / math.sqrt(rows)] * (2 * rows)
    log = [*plain(points), Event(points[0], changed=(how,)), *plain(points[1:])]
    others = tuple(name for name in WINDOW_ENDS if name != how)
    rule_6 = {"nelson": (6,)}
    assert followed(make(**rule_6), log, **KNOWN).signal.tolist()[-1] == 0
    assert followed(make(**rule_6, window_ends=(how,)), log, **KNOWN).signal[-1] == 0
    assert followed(make(**rule_6, window_ends=others), log, **KNOWN).signal[-1] == 1
    assert followed(make(**rule_6, window_ends=()), log, **KNOWN).signal[-1] == 1


@pytest.mark.parametrize("value", [1.5, -9.0, math.nan, math.inf])
def test_an_excluded_row_ends_the_window_if_asked_and_is_in_none(value: float) -> None:
    log = [*plain([1.5, 1.5]), Event(value, excluded=True), *plain([1.5, 1.5])]
    ended = followed(IndividualsChart(nelson=(6,)), log, **KNOWN)
    assert ended.valid.tolist() == [True, True, False, True, True]
    assert ended.signal.tolist() == [0] * 5
    np.testing.assert_array_equal(ended.statistic[:, 1], [np.nan, 0.0, np.nan, np.nan, 0.0])
    across = followed(IndividualsChart(nelson=(6,), window_ends=("limits", "reset")), log, **KNOWN)
    assert across.signal.tolist() == [0, 0, 0, 0, 1]
    np.testing.assert_array_equal(across.statistic[:, 1], [np.nan, 0.0, np.nan, 0.0, 0.0])


def test_a_missing_row_is_no_point_and_ends_no_window() -> None:
    v = judge(IndividualsChart(nelson=(6,)), [1.5, 1.5, math.nan, 1.5, math.inf, 1.5], **KNOWN)
    assert v.signal.tolist() == [0, 0, 0, 0, 0, 1]


def test_an_excluded_row_is_not_learned_from() -> None:
    values, excluded = [1.0, 3.0, 99.0, 1.0, 3.0, 2.0], [False, False, True, False, False, False]
    v = judge(IndividualsChart(4, window_ends=()), values, excluded=excluded)
    without = judge(IndividualsChart(4), [1.0, 3.0, 1.0, 3.0, 2.0])
    assert v.valid.tolist() == [False] * 5 + [True]
    assert v.ucl[5].tolist() == without.ucl[4].tolist()
    ended = judge(IndividualsChart(4), [1.0, 3.0, 99.0, 3.0, 7.0, 5.0], excluded=excluded)
    assert ended.ucl[5, 0] - ended.centre[5, 0] == pytest.approx(3 * (2 + 4) / 2 / d2(2)), "no moving range across it"


# I–MR


@usual
@given(st.lists(any_float, min_size=6, max_size=40), st.integers(2, 5))
def test_individuals_phase_one(values: list[float], rows: int) -> None:
    v = judge(IndividualsChart(phase_one_rows=rows), values)
    mu, sigma = naive.phase_one(values[:rows], d2(2))
    assert v.valid.tolist() == [i >= rows for i in range(len(values))]
    scale = 1e-9 * (1 + max(map(abs, values)))
    expected = np.broadcast_to([mu, d2(2) * sigma], (len(values) - rows, 2))
    np.testing.assert_allclose(v.centre[rows:], expected, atol=scale)
    np.testing.assert_allclose(v.ucl[rows:, 0], mu + 3 * sigma, atol=scale)
    np.testing.assert_allclose(v.lcl[rows:, 0], mu - 3 * sigma, atol=scale)
    np.testing.assert_allclose(v.ucl[rows:, 1], (d2(2) + 3 * d3(2)) * sigma, atol=scale)
    np.testing.assert_array_equal(v.statistic[:, 0], values)
    np.testing.assert_array_equal(v.statistic[1:, 1], np.abs(np.diff(values)))
    range_rule = (v.signal[rows:] >> 8) & 1
    np.testing.assert_array_equal(range_rule == 1, v.statistic[rows:, 1] > v.ucl[rows:, 1])


def test_individuals_moving_range() -> None:
    v = judge(IndividualsChart(), [0.0, 3.0, np.nan, -0.7], **KNOWN)
    np.testing.assert_array_equal(v.statistic[:, 1], [np.nan, 3.0, np.nan, 3.7])
    assert v.ucl[1, 1] == pytest.approx(3.6859, abs=5e-5)
    assert v.signal.tolist() == [0, 0, 0, 1 << 8]


def test_individuals_first_judged_row_has_a_moving_range_but_no_window() -> None:
    v = judge(IndividualsChart(phase_one_rows=5), [1.0, 1.2, 1.4, 1.6, 1.8, 2.0, 2.2, 2.4, 2.6, 2.8])
    assert v.statistic[5, 1] == pytest.approx(0.2)
    assert not (v.signal & 0b100).any(), "five judged points are no six"


# Subgroups

labelled = st.lists(
    st.tuples(coarse | st.just(math.nan), st.integers(0, 3), st.sampled_from([False] * 5 + [True])), max_size=60
)


@usual
@given(labelled, sigmas, st.sampled_from([2, 4]), st.sampled_from(["R", "S"]))
def test_xbar_by_definition(rows: list[tuple[float, int, bool]], sigma: float, size: int, spread: str) -> None:
    """Any gaps, excluded rows and short subgroups: points, limits by each one's own n, and all rules, known parameters."""
    values, names, excluded = ([row[i] for row in rows] for i in range(3))
    chart = XbarChart(size, spread=spread, window_ends=(), **ALL_RULES)
    v = judge(chart, values, subgroup=names, excluded=excluded, mu=0.5, sigma=sigma)
    kept = [math.nan if out else value for value, out in zip(values, excluded, strict=True)]
    groups = naive.subgroups(kept, names, size)
    at = [group.at for group in groups]
    assert np.flatnonzero(v.valid).tolist() == at
    means = [math.fsum(group.values) / len(group.values) for group in groups]
    assert v.statistic[at, 0].tolist() == means
    own = [sigma / math.sqrt(len(group.values)) for group in groups]
    assert (v.signal[at] & 0xFF).tolist() == bits(naive.nelson(means, 0.5, own)).tolist()
    for group, of_mean in zip(groups, own, strict=True):
        table = constants(len(group.values))
        low, middle, high = ("D1", "d2", "D2") if spread == "R" else ("B5", "c4", "B6")
        said = np.ptp(group.values) if spread == "R" else np.std(group.values, ddof=1)
        assert v.statistic[group.at, 1] == pytest.approx(said, abs=1e-12)
        assert v.lcl[group.at].tolist() == pytest.approx([0.5 - 3 * of_mean, table[low] * sigma])
        assert v.centre[group.at].tolist() == pytest.approx([0.5, table[middle] * sigma])
        assert v.ucl[group.at].tolist() == pytest.approx([0.5 + 3 * of_mean, table[high] * sigma])
        outside = not v.lcl[group.at, 1] <= v.statistic[group.at, 1] <= v.ucl[group.at, 1]
        assert v.signal[group.at] >> 12 == int(outside)


@usual
@given(st.lists(any_float, min_size=12, max_size=12), st.sampled_from(["R", "S"]))
def test_xbar_phase_one_by_definition(values: list[float], spread: str) -> None:
    """Subgroups of 3, 2, 4 and 2 rows: the mean of all their rows, the unweighted mean of the sigmas that each gives."""
    bounds = [0, 3, 5, 9, 11]
    groups = [values[a:b] for a, b in pairwise(bounds)]
    names = [i for i, group in enumerate(groups) for _ in group] + [9]
    v = judge(XbarChart(4, 3, spread=spread), values, subgroup=names)
    assert np.flatnonzero(np.isfinite(v.statistic[:, 0])).tolist() == [3, 5, 8, 11]
    assert np.flatnonzero(v.valid).tolist() == [11]
    if spread == "R":
        alone = [np.ptp(group) / d2(len(group)) for group in groups[:3]]
    else:
        alone = [np.std(group, ddof=1) / c4(len(group)) for group in groups[:3]]
    mu, of_mean = np.mean(values[:9]), np.mean(alone) / math.sqrt(2)
    scale = 1e-9 * (1 + max(map(abs, values)))
    assert v.centre[11, 0] == pytest.approx(mu, abs=scale)
    assert v.ucl[11, 0] == pytest.approx(mu + 3 * of_mean, abs=scale)
    assert v.lcl[11, 0] == pytest.approx(mu - 3 * of_mean, abs=scale)


def piston_rings() -> tuple[list[float], list[int]]:
    with PISTON_RINGS.open(newline="") as lines:
        rows = list(csv.DictReader(lines))
    return [float(row["diameter"]) for row in rows], [int(row["sample"]) for row in rows]


def test_qcc_piston_rings_standard_deviations() -> None:
    """qcc(diameter[1:25, ], type = "S") prints UCL 0.01930242; x̄ and S of the 25 samples are Montgomery's example 6.3."""
    diameter, sample = piston_rings()
    v = judge(XbarChart(phase_one_subgroups=25, spread="S"), diameter, subgroup=sample)
    judged = np.flatnonzero(v.valid)
    assert judged.tolist() == list(range(129, 200, 5))
    assert v.ucl[129, 1] == pytest.approx(0.01930242, abs=5e-9)
    assert v.lcl[129, 1] == 0.0
    assert v.centre[129, 0] == pytest.approx(74.00118, abs=5e-6)
    first = np.array(diameter[:125]).reshape(25, 5)
    assert v.centre[129, 1] == pytest.approx(np.std(first, axis=1, ddof=1).mean(), rel=1e-12)
    np.testing.assert_allclose(
        v.statistic[4:125:5], np.column_stack([first.mean(axis=1), first.std(axis=1, ddof=1)]), rtol=1e-12
    )
    assert (np.flatnonzero(v.signal[4::5] & 1) + 1).tolist() == [37, 38, 39]


def test_qcc_piston_rings_ranges() -> None:
    """qcc(diameter[1:25, ], type = "xbar" and "R"), to its printed digits."""
    diameter, sample = piston_rings()
    v = judge(XbarChart(phase_one_subgroups=25, d2_digits=3), diameter, subgroup=sample)
    assert (v.lcl[129, 0], v.centre[129, 0], v.ucl[129, 0]) == pytest.approx((73.98805, 74.00118, 74.0143), abs=5e-6)
    assert (v.ucl[129, 0] - v.centre[129, 0]) * math.sqrt(5) / 3 == pytest.approx(0.009785039, abs=5e-10)
    assert v.ucl[129, 1] == pytest.approx(0.04812533, abs=5e-9)


@pytest.mark.parametrize("n", range(2, 26))
@pytest.mark.parametrize("spread", ["R", "S"])
def test_every_size_of_subgroup_has_its_limits(n: int, spread: str) -> None:
    v = judge(XbarChart(n, spread=spread), np.arange(float(n)), mu=0.0, sigma=2.0)
    table = constants(n)
    low, high = ("D1", "D2") if spread == "R" else ("B5", "B6")
    assert v.ucl[-1].tolist() == pytest.approx([2 * table["A"], 2 * table[high]])
    assert v.lcl[-1].tolist() == pytest.approx([-2 * table["A"], 2 * table[low]])


def test_deviation_keeps_its_digits_far_from_zero() -> None:
    values = np.array([1.0, 2.0, 4.0, 8.0]) / 1024 + 1e9
    v = judge(XbarChart(4, spread="S"), values, mu=0.0, sigma=1.0)
    assert v.statistic[-1, 1] == pytest.approx(math.sqrt(28.75 / 3) / 1024, rel=1e-14)
    same = judge(XbarChart(3, spread="S"), [0.1, 0.1, 0.1], mu=0.1, sigma=0.0)
    assert same.statistic[-1].tolist() == [0.1, 0.0]
    assert same.signal[-1] == 0


def test_xbar_short_subgroup_is_judged_at_the_row_that_closes_it() -> None:
    chart = XbarChart(subgroup_size=3)
    v = judge(chart, [10.0, 14.0, 9.0, 10.0, 11.0], subgroup=[1, 1, 2, 2, 2], mu=10.0, sigma=1.0)
    assert v.valid.tolist() == [False, False, True, False, True]
    assert v.statistic[2].tolist() == [12.0, 4.0]
    assert v.ucl[2].tolist() == pytest.approx([10 + 3 / np.sqrt(2), d2(2) + 3 * d3(2)])
    assert v.signal.tolist() == [0, 0, 1 << 8, 0, 0]
    assert v.statistic[4].tolist() == [10.0, 2.0]
    assert v.ucl[4, 0] == pytest.approx(10 + 3 / np.sqrt(3))


def test_xbar_subgroup_of_one_row_says_nothing() -> None:
    v = judge(XbarChart(subgroup_size=2), [50.0, 9.0, 11.0], subgroup=[1, 2, 2], mu=10.0, sigma=1.0)
    assert v.valid.tolist() == [False, False, True]
    assert v.statistic[2].tolist() == [10.0, 2.0]


def test_xbar_rows_without_a_name_and_surplus_rows_form_subgroups_in_order() -> None:
    values = [9.0, 10.0, 11.0, 12.0, 99.0]
    for named in ({}, {"subgroup": [7] * 5}):
        v = judge(XbarChart(subgroup_size=2), values, mu=10.0, sigma=1.0, **named)
        assert np.flatnonzero(v.valid).tolist() == [1, 3]
        assert v.statistic[[1, 3], 0].tolist() == [9.5, 11.5]


@pytest.mark.parametrize("odd", [math.nan, math.inf])
def test_xbar_missing_row_closes_nothing(odd: float) -> None:
    v = judge(XbarChart(2), [9.0, odd, 11.0], subgroup=[1, 2, 1], mu=10.0, sigma=1.0)
    assert v.valid.tolist() == [False, False, True]


def test_xbar_excluded_row_is_not_in_its_subgroup() -> None:
    values, names = [9.0, 99.0, 11.0, 5.0, 9.0], [1, 1, 1, 2, 3]
    v = judge(XbarChart(3), values, subgroup=names, excluded=[False, True, False, True, False], mu=10.0, sigma=1.0)
    assert v.valid.tolist() == [False] * 4 + [True], "judged by two rows where the next that is there closes it"
    assert v.statistic[4].tolist() == [10.0, 2.0]
    assert v.ucl[4, 0] == pytest.approx(10 + 3 / math.sqrt(2))


def test_xbar_phase_one_with_subgroups_of_different_size() -> None:
    values = [1.0, 3.0, 2.0, 5.0, 7.0, 4.0, 4.0, 4.0]
    v = judge(XbarChart(3, phase_one_subgroups=2), values, subgroup=[1, 1, 1, 2, 2, 3, 3, 3])
    assert v.valid.tolist() == [False] * 7 + [True]
    assert v.statistic[[2, 5]].tolist() == [[2.0, 2.0], [6.0, 2.0]]
    assert v.centre[7, 0] == pytest.approx(np.mean(values[:5]))
    sigma = (2.0 / d2(3) + 2.0 / d2(2)) / 2
    assert v.ucl[7, 0] == pytest.approx(np.mean(values[:5]) + 3 * sigma / np.sqrt(3))


def test_xbar_given_parameters_win_each_for_itself() -> None:
    values = [1.0, 3.0, 1.0, 3.0, 2.0, 2.0]
    for spread, of_spread in (("R", 2 / d2(2)), ("S", math.sqrt(2) / c4(2))):
        for known in ({"mu": 2.0}, {"sigma": of_spread}, {"mu": 2.0, "sigma": math.inf}, {"mu": 2.0, "sigma": -1.0}):
            v = followed(XbarChart(2, 2, spread=spread), plain(values), **known)
            assert v.valid.tolist() == [False] * 5 + [True]
            assert (v.centre[5, 0], v.ucl[5, 0]) == pytest.approx((2.0, 2.0 + 3 * of_spread / math.sqrt(2)))


def test_xbar_low_limit_of_the_spread() -> None:
    for spread, limit in (("R", 0.38770614), ("S", 0.17861710)):
        v = judge(XbarChart(subgroup_size=8, nelson=(), spread=spread), [0.0, 0.1] * 4, **KNOWN)
        assert v.lcl[7, 1] == pytest.approx(limit)
        assert v.signal[7] == 1


def test_xbar_open_subgroup_goes_on_across_a_change() -> None:
    log = [Event(9.0), Event(11.0, changed=("limits", "reset", "exclusion"))]
    v = followed(XbarChart(2), log, mu=10.0, sigma=1.0)
    assert v.valid.tolist() == [False, True]
    assert v.statistic[1].tolist() == [10.0, 2.0]


def test_xbar_is_judged_by_the_limits_of_the_row_that_closes_the_subgroup() -> None:
    chart = XbarChart(2)
    state = new_state(chart, 1)
    chart.update(state, series_batch(np.array([9.0]), params=new_params(1, mu=0.0, sigma=1.0)))
    v = chart.update(state, series_batch(np.array([11.0]), params=new_params(1, mu=10.0, sigma=2.0)))
    assert v.centre[0, 0] == 10.0
    assert v.signal[0] == 0


def test_names_of_what_is_plotted() -> None:
    ranges, deviations = XbarChart(nelson=(1,), western_electric=(4,)), XbarChart(nelson=(), spread="S")
    assert (ranges.name, ranges.statistics) == ("spc.xbar", ("xbar", "R"))
    assert [rule.name for rule in ranges.rules] == ["nelson_1", "western_electric_4", "range_beyond_limit"]
    assert (deviations.name, deviations.statistics) == ("spc.xbar_s", ("xbar", "S"))
    assert [(rule.name, rule.statistic) for rule in deviations.rules] == [("deviation_beyond_limit", 1)]


@pytest.mark.parametrize(
    "make",
    [
        lambda: IndividualsChart(phase_one_rows=1),
        lambda: IndividualsChart(western_electric=(5,)),
        lambda: IndividualsChart(western_electric=(2, 2)),
        lambda: IndividualsChart(window_ends=("limit",)),
        lambda: XbarChart(subgroup_size=1),
        lambda: XbarChart(subgroup_size=26),
        lambda: XbarChart(phase_one_subgroups=0),
        lambda: XbarChart(spread="s"),
        lambda: XbarChart(nelson=(0,)),
        lambda: XbarChart(window_ends=("exclusions",)),
    ],
)
def test_parameters_without_meaning_are_refused(make: object) -> None:
    with pytest.raises(ValueError, match="= "):
        make()  # type: ignore[operator]
