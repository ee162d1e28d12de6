"""Run rules at their edges: each reading that books and programs differ in is pinned here."""

import numpy as np
import pytest

from models import judge
from models.individuals import IndividualsChart
from models.run_rules import NELSON, RUNS, WESTERN_ELECTRIC, checked, named, nelson
from tests import naive


def fired(values: list[float], any_side: bool = False, mu: float = 0.0, sigma: float = 1.0) -> list[set[int]]:
    """Return the numbers of the Nelson rules that fire at each value; the oracle must say the same."""
    v = judge(IndividualsChart(any_side=any_side), values, mu=mu, sigma=sigma)
    sets = [{rule for rule in range(1, 9) if signal >> (rule - 1) & 1} for signal in v.signal.tolist()]
    assert sets == naive.nelson(values, mu, sigma, any_side)
    return sets


def western(values: list[float], mu: float = 0.0, sigma: float = 1.0) -> list[set[int]]:
    """Return the numbers of the Western Electric rules that fire at each value; the oracle must say the same."""
    v = judge(IndividualsChart(nelson=(), western_electric=(1, 2, 3, 4)), values, mu=mu, sigma=sigma)
    sets = [{rule for rule in range(1, 5) if signal >> (rule - 1) & 1} for signal in v.signal.tolist()]
    assert sets == naive.western_electric(values, mu, sigma)
    return sets


def rows(sets: list[set[int]], rule: int) -> list[int]:
    """Return the numbers (from 1) of the points at which a rule fires."""
    return [i for i, rules in enumerate(sets, 1) if rule in rules]


def test_rule_1_on_the_limit_is_inside() -> None:
    assert fired([3.0, -3.0]) == [set(), set()]
    assert rows(fired([3.0, np.nextafter(3.0, 4.0), 0.0, np.nextafter(-3.0, -4.0)]), 1) == [2, 4]


def test_rule_1_on_the_c_chart_of_nist() -> None:
    """NIST 6.3.3.1: the limits are exactly 4 and 28; point 3 is 28 and inside, point 24 is 31 and out."""
    wafers = [16, 14, 28, 16, 12, 20, 10, 12, 10, 17, 19, 17, 14, 16, 15, 13, 14, 16, 11, 20, 11, 19, 16, 31, 13]
    assert rows(fired([float(count) for count in wafers], mu=16.0, sigma=4.0), 1) == [24]


def test_rule_2_needs_nine_on_one_side() -> None:
    assert rows(fired([0.5] * 8), 2) == []
    assert rows(fired([0.5] * 10), 2) == [9, 10]
    assert rows(fired([-0.5] * 9), 2) == [9]


def test_rule_2_is_broken_by_a_point_on_the_centre_line() -> None:
    assert rows(fired([0.5] * 8 + [0.0] + [0.5] * 9), 2) == [18]
    assert rows(fired([0.5] * 8 + [-0.5] * 9), 2) == [17]


def test_rule_3_six_points_are_five_rises() -> None:
    assert rows(fired([0.1, 0.2, 0.3, 0.4, 0.5, 0.6]), 3) == [6]
    assert rows(fired([0.1, 0.2, 0.3, 0.4, 0.5]), 3) == []
    assert rows(fired([-0.1, -0.2, -0.3, -0.4, -0.5, -0.6, -0.7]), 3) == [6, 7]


def test_rule_3_is_broken_by_a_tie_and_by_a_turn() -> None:
    assert rows(fired([0.1, 0.2, 0.3, 0.3, 0.4, 0.5, 0.6]), 3) == []
    assert rows(fired([0.1, 0.2, 0.3, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8]), 3) == [9]
    assert rows(fired([0.5, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9]), 3) == [7]  # the turning point is the first of the six


def test_rule_4_fourteen_points_alternate() -> None:
    zigzag = [0.1, -0.1] * 7
    assert rows(fired(zigzag), 4) == [14]
    assert rows(fired(zigzag[:13]), 4) == []
    assert rows(fired([*zigzag, 0.2, -0.2]), 4) == [14, 15, 16]


def test_rule_4_is_broken_by_a_tie_and_by_two_rises() -> None:
    assert rows(fired([0.1, -0.1] * 6 + [-0.1, 0.1]), 4) == []
    assert rows(fired([0.1, -0.1] * 5 + [0.0] + [0.1, -0.1] * 6), 4) == []


def test_rule_5_two_of_three_on_one_side() -> None:
    assert rows(fired([2.5, 0.0, 2.5]), 5) == [3]
    assert rows(fired([2.5, -2.5, 0.0]), 5) == []
    assert rows(fired([2.0, 2.0, 2.0]), 5) == []  # on the line is inside
    assert rows(fired([-2.5, -2.5]), 5) == [2]
    assert rows(fired([2.5, 0.0, 0.0, 2.5]), 5) == []


def test_rules_5_and_6_the_last_point_must_itself_qualify() -> None:
    assert rows(fired([2.5, 2.5, 0.0]), 5) == [2]
    assert rows(fired([1.5, 1.5, 1.5, 1.5, 0.5]), 6) == [4]


def test_rule_6_four_of_five_on_one_side() -> None:
    assert rows(fired([1.5, 0.0, 1.5, 1.5, 1.5]), 6) == [5]
    assert rows(fired([1.5, -1.5, 1.5, -1.5, 1.5]), 6) == []
    assert rows(fired([1.0, 1.0, 1.0, 1.0, 1.0]), 6) == []  # on the line is inside
    assert rows(fired([-1.5, 0.0, 0.0, -1.5, -1.5, -1.5, -1.5]), 6) == [7]  # of the last five


def test_rule_7_fifteen_in_zone_c() -> None:
    assert rows(fired([0.5, -0.5] * 7), 7) == []
    assert rows(fired([0.5, -0.5] * 8), 7) == [15, 16]
    assert rows(fired([1.0, -1.0] * 8), 7) == [15, 16]  # on the line is inside
    assert rows(fired([0.5] * 14 + [1.1] + [0.5] * 14), 7) == []


def test_rule_8_none_in_zone_c_on_both_sides() -> None:
    assert rows(fired([1.5] * 7 + [-1.5]), 8) == [8]
    assert rows(fired([1.5] * 9), 8) == []
    assert rows(fired([-1.5] + [1.5] * 9), 8) == [8]  # the low one has left the window of the ninth
    assert rows(fired([1.5] * 4 + [1.0] + [-1.5] * 7), 8) == []  # on the line is inside zone C


def test_rule_8_on_any_side_if_asked() -> None:
    assert rows(fired([1.5] * 9, any_side=True), 8) == [8, 9]
    assert rows(fired([1.5] * 7 + [-1.5], any_side=True), 8) == [8]


def test_western_electric_1_on_the_limit_is_inside() -> None:
    assert western([3.0, -3.0]) == [set(), set()]
    assert rows(western([np.nextafter(3.0, 4.0), 0.0, np.nextafter(-3.0, -4.0)]), 1) == [1, 3]


def test_western_electric_2_two_of_three_on_one_side() -> None:
    assert rows(western([2.5, 0.0, 2.5]), 2) == [3]
    assert rows(western([2.5, 2.5, 0.0]), 2) == [2]  # the last point must itself qualify
    assert rows(western([2.5, -2.5, 0.0, 2.5]), 2) == []
    assert rows(western([2.0, 2.0, 2.0]), 2) == []


def test_western_electric_3_four_of_five_on_one_side() -> None:
    assert rows(western([-1.5, -1.5, 0.5, -1.5, -1.5]), 3) == [5]
    assert rows(western([1.5, 1.5, 1.5, 1.5, 0.5]), 3) == [4]
    assert rows(western([1.0] * 5), 3) == []


def test_western_electric_4_eight_on_one_side() -> None:
    assert rows(western([0.5] * 9), 4) == [8, 9]
    assert rows(western([-0.5] * 8), 4) == [8]
    assert rows(western([0.5] * 7 + [0.0] + [0.5] * 7), 4) == []  # on the centre line is on no side
    assert rows(western([0.5] * 7 + [-0.5] * 8), 4) == [15]


def test_both_sets_share_a_window_and_keep_their_own_bits() -> None:
    chart = IndividualsChart(nelson=(2, 5), western_electric=(4, 2))
    names = [rule.name for rule in chart.rules]
    assert names == ["nelson_2", "nelson_5", "western_electric_4", "western_electric_2", "mr_beyond_limit"]
    v = judge(chart, [0.5] * 7 + [2.5, 2.5], mu=0.0, sigma=1.0)
    assert v.signal.tolist() == [0] * 7 + [0b0100, 0b1111]


def test_each_point_has_its_own_zones_where_sigma_differs() -> None:
    runs, sigma = np.zeros((1, *RUNS.shape), RUNS.dtype), [1.0, 0.5, 1.0, 0.5, 0.5]
    points = [1.5, 0.75, 0.75, 0.75, 0.75]
    fired = [nelson(runs, 0, x, np.nan, 0.0, of_point, False) for x, of_point in zip(points, sigma, strict=True)]
    assert [bits >> 5 & 1 for bits in fired] == [0, 0, 0, 0, 1]  # the third is 0.75 of its sigmas off


@pytest.mark.compiled_only
def test_long_runs_stay_long() -> None:
    """Counters stop at the length of their rule: a run of any length goes on firing."""
    rising = [0.5 + i * 1e-6 for i in range(40_000)]
    v = judge(IndividualsChart(nelson=(2, 3)), rising, mu=0.0, sigma=1.0)
    assert (v.signal[8:] & 0b11 == 0b11).all()


def test_zero_sigma() -> None:
    sets = fired([5.0] * 20 + [5.0 + 1e-9, 5.0, 4.0], mu=5.0, sigma=0.0)
    assert all(not rules for rules in sets[:20]), (
        "a value on the centre line is in control, rule 7 has no zone to be in"
    )
    assert rows(sets, 1) == [21, 23]


def test_chosen_rules_move_down_in_the_signal() -> None:
    chart = IndividualsChart(nelson=(5, 1))
    assert [rule.name for rule in chart.rules] == ["nelson_5", "nelson_1", "mr_beyond_limit"]
    v = judge(chart, [2.5, 2.5, 3.5, -3.5], mu=0.0, sigma=1.0)
    assert v.signal.tolist() == [0b000, 0b001, 0b011, 0b110]


@pytest.mark.parametrize("nelson", [(0,), (9,), (1, 1)])
def test_other_rules_are_refused(nelson: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="rules are different numbers from 1 to 8"):
        checked(nelson)
    with pytest.raises(ValueError, match=r"nelson = .* rules are different numbers"):
        IndividualsChart(nelson=nelson)


@pytest.mark.parametrize("western_electric", [(0,), (5,), (4, 4)])
def test_other_western_electric_rules_are_refused(western_electric: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=r"western_electric = .* rules are different numbers from 1 to 4"):
        IndividualsChart(western_electric=western_electric)


def test_rules_are_documented() -> None:
    assert [NELSON[number].name for number in NELSON] == [f"nelson_{number}" for number in range(1, 9)]
    assert [rule.name for rule in WESTERN_ELECTRIC.values()] == [f"western_electric_{number}" for number in range(1, 5)]
    every = named(NELSON, WESTERN_ELECTRIC)
    assert all(rule.doc for rule in every)
    assert [rule.name for rule in every if rule.severity == "critical"] == ["nelson_1", "western_electric_1"]
