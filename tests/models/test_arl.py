"""The ARL calculator: published numbers, slow oracles, and the identities that any ARL obeys.

Published: Champ and Woodall, Technometrics 29 (1987) 393, table 1 (Western Electric rules; Nelson's by the same method);
Lucas and Crosier, Technometrics 24 (1982) 199 (CUSUM with and without headstart); Crowder, Technometrics 29 (1987) 401,
and Lucas and Saccucci, Technometrics 32 (1990) 1 (EWMA). The figures here have more digits than the papers print and
agree with them to their rounding.
"""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import norm

from models.arl import WEIGHT_MIN, arl_cusum, arl_ewma, arl_shewhart, best_ewma, design_cusum, design_ewma
from models.arl_differences import OF_DIFFERENCES, mean_run_length
from models.arl_rules import EDGES, NELSON, WESTERN_ELECTRIC, chain, rule_names
from tests.naive import arl as naive

# shift: rule 1, Western Electric 1–4, Nelson 1, 2, 5, 6
SHEWHART = {
    0.0: (370.3983, 91.7508, 109.0493), 0.2: (308.4261, 66.8027, 78.2179), 0.4: (200.0753, 36.6060, 41.6211),
    0.6: (119.6653, 20.9051, 23.0612), 0.8: (71.5523, 13.2506, 14.2361), 1.0: (43.8947, 9.2219, 9.6984),
    1.2: (27.8213, 6.8919, 7.1280), 1.4: (18.2466, 5.4186, 5.5329), 1.6: (12.3826, 4.4120, 4.4633),
    1.8: (8.6903, 3.6813, 3.7016), 2.0: (6.3030, 3.1276, 3.1344), 2.2: (4.7202, 2.6954, 2.6972),
    2.4: (3.6463, 2.3512, 2.3516), 2.6: (2.9021, 2.0737, 2.0738), 2.8: (2.3768, 1.8489, 1.8489), 3.0: (2.0, 1.6666, 1.6666),
}  # fmt: skip

# (k, h): shift: one-sided, two-sided, two-sided with headstart h/2
CUSUM = {
    (0.5, 4.0): {
        0.0: (335.36758, 167.68379, 148.69565), 0.25: (77.07852, 74.22403, 62.69824), 0.5: (26.67916, 26.6302, 20.06396),
        0.75: (13.2866, 13.28509, 8.96798), 1.0: (8.3832, 8.38313, 5.28689), 1.5: (4.74717, 4.74717, 2.86204),
        2.0: (3.34277, 3.34277, 2.01437), 2.5: (2.61952, 2.61952, 1.58581), 3.0: (2.19448, 2.19448, 1.32539),
        4.0: (1.70846, 1.70846, 1.067), 5.0: (1.30874, 1.30874, 1.00621),
    },
    (0.5, 5.0): {
        0.0: (930.88701, 465.44351, 430.39084), 0.25: (141.68775, 139.49369, 121.68794), 0.5: (38.00961, 37.99614, 28.66583),
        0.75: (17.04853, 17.04833, 11.23583), 1.0: (10.37598, 10.37597, 6.34685), 1.5: (5.74722, 5.74722, 3.37195),
        2.0: (4.00887, 4.00887, 2.36229), 2.5: (3.11369, 3.11369, 1.85617), 3.0: (2.57325, 2.57325, 1.53964),
        4.0: (2.01257, 2.01257, 1.15937), 5.0: (1.6938, 1.6938, 1.02275),
    },
}  # fmt: skip

# (weight, width): shift: fixed limits, limits that widen
EWMA = {
    (0.2, 2.962): {
        0.0: (499.73512, 494.38565), 0.25: (150.2164, 147.70317), 0.5: (41.7644, 40.3394), 0.75: (18.14962, 17.04929),
        1.0: (10.54167, 9.55449), 1.5: (5.50065, 4.57785), 2.0: (3.74344, 2.85999), 2.5: (2.88027, 2.04472),
        3.0: (2.3809, 1.59143), 3.5: (2.07342, 1.31813), 4.0: (1.86437, 1.15297), 5.0: (1.4755, 1.02079),
    },
    (0.1, 2.814): {
        0.0: (499.57955, 486.42933), 0.25: (106.32185, 101.61958), 0.5: (31.29744, 28.5124), 0.75: (15.84754, 13.50212),
        1.0: (10.33067, 8.15703), 1.5: (6.08418, 4.14906), 2.0: (4.36225, 2.64405), 2.5: (3.4417, 1.91263),
        3.0: (2.868, 1.50467), 3.5: (2.4683, 1.26177), 4.0: (2.1931, 1.11985), 5.0: (1.9391, 1.01442),
    },
}  # fmt: skip

FOUR_DIGITS = {"abs": 5.1e-5, "rel": 0}
FIVE_DIGITS = {"abs": 5.1e-6, "rel": 0}


@pytest.mark.parametrize("shift", SHEWHART)
def test_shewhart_has_the_published_arl(shift: float) -> None:
    found = [arl_shewhart(shift, rules) for rules in ("1", "western-electric", "1,2,5,6")]
    assert found == pytest.approx(SHEWHART[shift], **FOUR_DIGITS)
    mirrored = [arl_shewhart(-shift, rules) for rules in ("we1", WESTERN_ELECTRIC, (1, 2, 5, 6))]
    assert mirrored == pytest.approx(found, rel=1e-12)


@pytest.mark.parametrize(("k", "h"), CUSUM)
def test_cusum_has_the_published_arl(k: float, h: float) -> None:
    for shift, published in CUSUM[k, h].items():
        found = arl_cusum(k, h, shift, sides=1), arl_cusum(k, h, shift), arl_cusum(k, h, shift, headstart=0.5)
        assert found == pytest.approx(published, **FIVE_DIGITS)


@pytest.mark.parametrize(("weight", "width"), EWMA)
def test_ewma_has_the_published_arl(weight: float, width: float) -> None:
    for shift, published in EWMA[weight, width].items():
        found = arl_ewma(weight, width, shift), arl_ewma(weight, width, shift, steady=False)
        assert found == pytest.approx(published, **FIVE_DIGITS)


# Further published figures, to the digits printed.


def test_champ_and_woodall_table_1() -> None:
    """In control, for every set of the handbook's rules that they print with rule 1."""
    printed = {"2": 225.44, "3": 166.05, "4": 152.73, "2,3": 132.89, "2,4": 122.05, "3,4": 105.78, "2,3,4": 91.75}
    for rules, arl in printed.items():
        named = [f"we{number}" for number in ("1", *rules.split(","))]
        assert arl_shewhart(0.0, named) == pytest.approx(arl, abs=0.006)


def test_lucas_and_saccucci_table_3() -> None:
    """As Montgomery prints it in table 9.11: ARL 500 in control, and at shifts 0.5, 1 and 2; their chain is good to 0.1."""
    for weight, width, printed in [
        (0.4, 3.054, (71.2, 14.3, 3.5)),
        (0.25, 2.998, (48.2, 11.1, 3.6)),
        (0.05, 2.615, (28.7, 11.4, 5.2)),
    ]:
        assert arl_ewma(weight, width) == pytest.approx(500, abs=0.5)
        assert [arl_ewma(weight, width, shift) for shift in (0.5, 1.0, 2.0)] == pytest.approx(printed, abs=0.1)


def test_a_weight_of_one_and_a_sum_of_one_point_are_the_shewhart_chart() -> None:
    for shift in (0.0, 0.7, 3.0):
        shewhart = 1 / (norm.sf(3 - shift) + norm.cdf(-3 - shift))
        assert arl_ewma(1.0, 3.0, shift) == pytest.approx(shewhart, rel=1e-12)
        assert arl_ewma(1.0, 3.0, shift, steady=False) == pytest.approx(shewhart, rel=1e-12)
        assert arl_shewhart(shift) == pytest.approx(shewhart, rel=1e-12)
    assert arl_cusum(3.0, 1e-9, 0.7, sides=1) == pytest.approx(1 / norm.sf(2.3), rel=1e-6)


# Against slow oracles.


@pytest.mark.parametrize(
    ("k", "h", "shift", "start"), [(0.25, 3.0, 0.4, 0.0), (1.0, 2.5, -0.3, 0.4), (0.5, 4.0, 1.7, 0.975)]
)
def test_cusum_against_a_chain_of_cells(k: float, h: float, shift: float, start: float) -> None:
    coarse, fine = (naive.cusum_one_sided(k, h, shift, start * h, cells) for cells in (150, 300))
    assert arl_cusum(k, h, shift, start, sides=1) == pytest.approx(fine + (fine - coarse) / 3, rel=1e-5)


@pytest.mark.parametrize(
    ("k", "h", "shift", "start"), [(0.5, 1.5, 0.0, 0.0), (0.0, 1.2, 0.3, 0.5), (0.4, 1.6, -0.5, 0.75)]
)
def test_two_sided_cusum_against_a_chain_of_pairs(k: float, h: float, shift: float, start: float) -> None:
    assert arl_cusum(k, h, shift, start) == pytest.approx(naive.cusum_two_sided(k, h, shift, start * h, 24), rel=5e-3)


@pytest.mark.parametrize("steady", [True, False])
@pytest.mark.parametrize(("weight", "width", "shift"), [(0.3, 2.0, 0.0), (0.15, 1.8, -0.8), (0.7, 2.2, 1.0)])
def test_ewma_against_a_chain_of_cells(weight: float, width: float, shift: float, steady: bool) -> None:
    assert arl_ewma(weight, width, shift, steady) == pytest.approx(
        naive.ewma(weight, width, shift, steady, cells=200, points=500), rel=2e-3
    )


_RULES = sorted({*NELSON, *WESTERN_ELECTRIC} - OF_DIFFERENCES)
_MIDDLE = np.concatenate([[-3.5], (EDGES[:-1] + EDGES[1:]) / 2, [3.5]])
_STRETCH = st.tuples(st.sets(st.integers(0, 7), min_size=1, max_size=3), st.lists(st.integers(0, 2), max_size=16))


@pytest.mark.slow
@given(
    rules=st.sets(st.sampled_from(_RULES), min_size=1),
    stretches=st.lists(_STRETCH, max_size=4),
    any_side=st.booleans(),
)
@settings(max_examples=60)
def test_the_chain_fires_where_the_rules_do(
    rules: set[str], stretches: list[tuple[set[int], list[int]]], any_side: bool
) -> None:
    """Points that stay in a few zones for a while, so that long runs occur."""
    zones = [sorted(among)[pick % len(among)] for among, picks in stretches for pick in picks]
    moves = chain(sorted(rules), any_side)
    state, fired = 0, None
    for i, zone in enumerate(zones):
        state = int(moves[state, zone])
        if state < 0:
            fired = i + 1
            break
    assert fired == naive.first_signal(_MIDDLE[zones].tolist(), rules, any_side)


def test_every_run_of_zones_is_known_to_be_long_enough() -> None:
    """ARLs with a closed form: of a run of n successes of chance p it is (1 − pⁿ)/((1 − p) pⁿ); Feller, vol. 1, XIII.7."""

    def run(p: float, n: int) -> float:
        return (1 - p**n) / ((1 - p) * p**n)

    assert arl_shewhart(0.3, "7") == pytest.approx(run(norm.cdf(0.7) - norm.cdf(-1.3), 15), rel=1e-10)
    assert arl_shewhart(0.3, "8", any_side=True) == pytest.approx(run(norm.cdf(-1.3) + norm.sf(0.7), 8), rel=1e-10)
    both = 2 ** (9 - 1) * 2 - 1  # either side of a fair coin: half the tosses of one longer run
    assert arl_shewhart(0.0, "2") == pytest.approx(both, rel=1e-10)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("rules", "trend", "alternating"), [("3", True, False), ("4", False, True), ("3,4", True, True)]
)
def test_rules_of_differences_alone_depend_on_ranks_only(rules: str, trend: bool, alternating: bool) -> None:
    expected = naive.rank_rules(trend, alternating, points=70)
    for shift in (0.0, 1.3, -6.0):
        assert arl_shewhart(shift, rules) == pytest.approx(expected, rel=1e-6)


@pytest.mark.slow
def test_rules_of_differences_with_zones() -> None:
    """One rule more never signals later; where zone rules fire at once anyway, those of differences change nothing."""
    for rules in ("1", "1,2,5,6", "7,8"):
        alone = arl_shewhart(0.2, rules)
        for more in ("3", "4", "3,4"):
            both = arl_shewhart(0.2, f"{rules},{more}")
            assert 1 < both < min(alone, arl_shewhart(0.2, more))
            assert both == pytest.approx(arl_shewhart(-0.2, f"{rules},{more}"), rel=1e-10)
    assert arl_shewhart(9.0, "1,3,4") == pytest.approx(arl_shewhart(9.0, "1"), rel=1e-9)
    all_in_one_zone = mean_run_length(chain([]), ["nelson_3"], np.eye(8)[2])
    assert all_in_one_zone == pytest.approx(421.598626, rel=1e-8)


# Properties.


@given(
    k=st.floats(0.0, 2.0), h=st.floats(0.5, 12.0), shift=st.floats(-3.0, 3.0), more=st.floats(0.05, 2.0),
)  # fmt: skip
@settings(max_examples=20)
def test_cusum_grows_with_k_and_h_and_shrinks_with_a_headstart(k: float, h: float, shift: float, more: float) -> None:
    arl = arl_cusum(k, h, shift)
    assert arl >= 1
    assert arl == pytest.approx(arl_cusum(k, h, -shift), rel=1e-9)
    assert arl_cusum(k, h + more, shift) > arl
    assert arl_cusum(k + more, h, shift) >= arl * (1 - 1e-12)
    assert arl_cusum(k, h, shift, headstart=0.5) <= arl * (1 + 1e-12)
    assert arl_cusum(k, h, shift, sides=1) >= arl * (1 - 1e-12)


@given(weight=st.floats(0.03, 1.0), width=st.floats(0.5, 5.0), shift=st.floats(-4.0, 4.0))
@settings(max_examples=20)
def test_ewma_grows_with_its_width_and_signals_sooner_with_limits_that_widen(
    weight: float, width: float, shift: float
) -> None:
    arl = arl_ewma(weight, width, shift)
    assert 1 <= arl <= arl_ewma(weight, width * 1.1, shift)
    assert arl == pytest.approx(arl_ewma(weight, width, -shift), rel=1e-9)
    assert arl_ewma(weight, width, shift, steady=False) <= arl * (1 + 1e-9)


def test_very_long_runs_keep_their_digits() -> None:
    """Siegmund's correction, h + 1.166, is good to a percent there; the ratio from one sigma to the next to five digits."""
    lengths = [arl_cusum(0.5, h, sides=1) for h in (20.0, 21.0, 22.0)]
    assert lengths[0] == pytest.approx(2 * (math.exp(21.166) - 1 - 21.166), rel=0.01)
    assert lengths[2] / lengths[1] == pytest.approx(math.e, rel=1e-5)
    assert arl_ewma(0.5, 8.0) > 1e14
    assert arl_cusum(0.5, 60.0, -25.0) == arl_cusum(0.5, 60.0, 25.0)  # one side alone is beyond floating point


# Design.


@pytest.mark.parametrize("sides", [1, 2])
@pytest.mark.parametrize(("arl0", "shift"), [(100.0, 2.0), (370.0, 1.0), (1e6, -0.5)])
def test_a_designed_cusum_has_the_arl(arl0: float, shift: float, sides: int) -> None:
    k, h = design_cusum(arl0, shift, sides=sides)
    assert k == abs(shift) / 2
    assert arl_cusum(k, h, sides=sides) == pytest.approx(arl0, rel=1e-9)
    sooner = arl_cusum(k, h, abs(shift), sides=sides)
    for other in (0.8 * k, 1.2 * k):
        assert arl_cusum(other, design_cusum(arl0, k=other, sides=sides).h, abs(shift), sides=sides) > sooner


def test_a_designed_headstart_is_a_share_of_h() -> None:
    k, h = design_cusum(500.0, 1.0, headstart=0.5)
    assert arl_cusum(k, h, headstart=0.5) == pytest.approx(500, rel=1e-9)


@pytest.mark.parametrize("steady", [True, False])
@pytest.mark.parametrize("weight", [0.05, 0.4, 1.0])
def test_a_designed_ewma_has_the_arl(weight: float, steady: bool) -> None:
    width = design_ewma(370.0, weight, steady=steady)
    assert arl_ewma(weight, width, steady=steady) == pytest.approx(370, rel=1e-9)


@pytest.mark.parametrize("shift", [-0.6, 1.0, 2.5])
def test_the_best_ewma_has_the_arl_and_no_neighbour_is_sooner(shift: float) -> None:
    weight, width = best_ewma(200.0, shift)
    assert arl_ewma(weight, width) == pytest.approx(200.0, rel=1e-9)
    best = arl_ewma(weight, width, shift)
    for other in (0.7 * weight, 0.95 * weight, 1.05 * weight):
        assert arl_ewma(other, design_ewma(200.0, other), shift) > best


def test_the_best_weight_may_be_at_an_end() -> None:
    assert best_ewma(100.0, 0.02).weight == pytest.approx(WEIGHT_MIN)
    assert best_ewma(100.0, 8.0).weight == 1.0


# Names and refusals.


def test_rule_names() -> None:
    assert rule_names("nelson") == NELSON
    assert rule_names("western-electric") == rule_names("WE") == rule_names("western_electric") == WESTERN_ELECTRIC
    assert rule_names("weco") == rule_names("WECO1,weco2,weco-3,weco_4") == WESTERN_ELECTRIC
    assert rule_names(" Nelson_1, WE-2 ,western_electric_3,1") == (
        "nelson_1",
        "western_electric_2",
        "western_electric_3",
    )
    assert rule_names("nelson_1_2_5_6") == rule_names("1 2 5 6") == rule_names("nelson1256") == rule_names((1, 2, 5, 6))
    assert rule_names([2, "western electric"]) == ("nelson_2", *WESTERN_ELECTRIC)
    for wrong, named in [
        *(("9", "'9'"), ("0", "'0'"), ("12", "'12'"), ("we5", "'we5'"), ("1,,2", "''"), ("", "''"), ("x", "'x'")),
        *((" 1-8", "'1-8'"), ("1.0", "'1.0'"), ((), "()"), ((1, 10), "'10'")),
    ]:
        with pytest.raises(ValueError, match="rule") as refused:
            rule_names(wrong)
        assert named in str(refused.value)


@pytest.mark.parametrize(
    ("call", "named"),
    [
        (lambda: arl_cusum(-0.1, 5.0), "k = -0.1"),
        (lambda: arl_cusum(math.nan, 5.0), "k = nan"),
        (lambda: arl_cusum(0.5, 0.0), "h = 0"),
        (lambda: arl_cusum(0.5, math.inf), "h = inf"),
        (lambda: arl_cusum(0.5, 1e4), "1500 nodes"),
        (lambda: arl_cusum(0.5, 5.0, math.nan), "shift = nan"),
        (lambda: arl_cusum(0.5, 5.0, 31.0), "shift = 31"),
        (lambda: arl_cusum(0.5, 5.0, headstart=1.1), "headstart = 1.1"),
        (lambda: arl_cusum(0.5, 5.0, headstart=0.7), "1/2 \\+ k/h = 0.6"),
        (lambda: arl_cusum(0.5, 5.0, sides=3), "sides = 3"),
        (lambda: arl_cusum(0.5, 60.0, -25.0, sides=1), "shift = -25: the ARL is above"),
        (lambda: arl_ewma(0.0, 3.0), "weight = 0"),
        (lambda: arl_ewma(1.01, 3.0), "weight = 1.01"),
        (lambda: arl_ewma(math.nan, 3.0), "weight = nan"),
        (lambda: arl_ewma(0.2, 0.0), "width = 0"),
        (lambda: arl_ewma(1e-3, 3.0, steady=False), "weight = 0.001"),
        (lambda: arl_ewma(0.2, 3.0, math.inf), "shift = inf"),
        (lambda: arl_shewhart(math.nan), "shift = nan"),
        (lambda: arl_shewhart(0.0, (1, 10)), "'10'"),
        (lambda: design_cusum(1.0), "arl0 = 1"),
        (lambda: design_cusum(1.2), "arl0 = 1.2"),
        (lambda: design_cusum(math.nan), "arl0 = nan"),
        (lambda: design_cusum(500.0, 0.0), "shift = 0"),
        (lambda: design_cusum(500.0, headstart=0.6), "headstart = 0.6"),
        (lambda: design_ewma(500.0, 2.0), "weight = 2"),
        (lambda: best_ewma(500.0, 0.0), "shift = 0"),
        (lambda: design_ewma(1e13, 0.2), "arl0 = 1e\\+13"),
    ],
)
def test_parameters_without_meaning_are_refused(call: object, named: str) -> None:
    with pytest.raises(ValueError, match=named):
        call()  # type: ignore[operator]
