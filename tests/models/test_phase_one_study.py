"""Estimators against their definitions and published numbers; studies with a trace of what was taken out."""

import csv
import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.estimators import GROUPED, SINGLE, d4, of_subgroups, of_values
from models.limits import c4, d2
from models.phase_one_study import phase_one_study
from tests.naive import estimating as naive

DATA = Path(__file__).parent / "data"
FLOW = [49.6, 47.6, 49.9, 51.3, 47.8, 51.2, 52.6, 52.4, 53.6, 52.1]


def column(file: str, name: str, rows: int | None = None) -> np.ndarray:
    with (DATA / file).open(newline="") as lines:
        return np.array([float(line[name]) for line in csv.DictReader(lines)][:rows])


def test_qcc_pistonrings() -> None:
    """qcc's printed output for the first 25 samples: centre 74.00118, sd 0.009785039 with d2 of three digits."""
    study = phase_one_study(column("pistonrings.csv", "diameter", 125), subgroup_size=5, d2_digits=3)
    assert study.removed == ()
    assert study.estimate.mu == pytest.approx(74.00118, abs=5e-6)
    assert study.estimate.sigma == pytest.approx(0.009785039, abs=5e-10)
    lcl, _, ucl = study.limits["xbar"]
    assert (lcl, ucl) == (pytest.approx(73.98805, abs=5e-6), pytest.approx(74.0143, abs=5e-5))


def test_qcc_viscosity() -> None:
    """qcc's printed output for an individuals chart of the first 20 batches, before anything is taken out."""
    study = phase_one_study(column("viscosity.csv", "viscosity", 20), d2_digits=3)
    mu, sigma = study.rounds[0][:2]
    assert (mu, sigma) == (pytest.approx(34.088, abs=5e-4), pytest.approx(0.5076521, abs=5e-8))
    assert (mu - 3 * sigma, mu + 3 * sigma) == (pytest.approx(32.56504, abs=5e-6), pytest.approx(35.61096, abs=5e-6))


def test_median_of_the_range() -> None:
    """d4 by Montgomery and by ASTM: 0.954 for 2, 1.588 for 3, 1.978 for 4, 2.257 for 5, 3.024 for 10."""
    for n, printed in ((2, 0.954), (3, 1.588), (4, 1.978), (5, 2.257), (10, 3.024)):
        assert d4(n) == pytest.approx(printed, abs=6e-4)
    assert d4(2) == pytest.approx(math.sqrt(2) * 0.6744897501960817, abs=1e-10)
    with pytest.raises(ValueError, match="2 to 25"):
        d4(1)


rows = st.lists(st.integers(-9, 9).map(lambda n: n / 4) | st.none() | st.just(math.nan), min_size=2, max_size=30)


@given(rows, st.sampled_from(SINGLE))
def test_single_values_by_definition(values: list[float | None], method: str) -> None:
    array = np.array([math.nan if value is None else value for value in values])
    gap = np.array([value is None for value in values])
    there = int((~np.isnan(array)).sum())
    needs_changes = method not in ("deviation", "median_deviation")
    if there < 2 or (needs_changes and not naive.changes(values)):
        with pytest.raises(ValueError, match="at least 2"):
            of_values(array, method, gap=gap)
        return
    found = of_values(array, method, gap=gap)
    assert found.sigma == pytest.approx(naive.sigma_of_values(values, method, d2(2), d4(2), c4(there)), abs=1e-12)
    assert (found.rows, found.points) == (there, there)


@pytest.mark.parametrize("method", [*SINGLE, *GROUPED])
def test_every_estimator_finds_the_sigma_of_normal_data(method: str) -> None:
    random = np.random.default_rng(1957)
    value = random.normal(10.0, 2.0, 40_000)
    if method in SINGLE:
        found = of_values(value, method)
    else:
        sizes = random.integers(2, 9, 8_000)
        found = of_subgroups(np.split(value, np.cumsum(sizes))[:7_000], method)
    assert found.sigma == pytest.approx(2.0, rel=0.03)
    assert found.mu == pytest.approx(10.0, abs=0.1)


def test_subgroups_of_unequal_size_by_hand() -> None:
    groups = [np.array([1.0, 3.0]), np.array([2.0, 2.0, 8.0])]
    assert of_subgroups(groups, "range").sigma == pytest.approx((2 / d2(2) + 6 / d2(3)) / 2)
    assert of_subgroups(groups, "s").sigma == pytest.approx((math.sqrt(2) / c4(2) + math.sqrt(12) / c4(3)) / 2)
    assert of_subgroups(groups, "pooled").sigma == pytest.approx(math.sqrt((2 + 24) / 3) / c4(4))
    assert of_subgroups(groups, "median_range").sigma == pytest.approx((2 / d4(2) + 6 / d4(3)) / 2)
    assert of_subgroups(groups, "range").mu == pytest.approx(16 / 5)


@given(
    st.lists(st.integers(-20, 20).map(lambda n: n / 8), min_size=12, max_size=40),
    st.lists(st.sampled_from([40.0, -60.0]), max_size=2),
)
def test_iterative_removal_is_the_definition(values: list[float], wild: list[float]) -> None:
    values = [*values, *wild]
    kept = naive.kept_by_three_sigma(values, d2(2))
    study = phase_one_study(values)
    assert sorted(set(range(len(values))) - {gone.point for gone in study.removed}) == kept
    assert study.estimate.points == len(kept)


def test_every_removal_says_why() -> None:
    study = phase_one_study([*FLOW, 99.0, *FLOW, 61.0, *FLOW], d2_digits=3, exclude=[3])
    assert [gone.why for gone in study.removed] == [
        "point 3: excluded by request",
        "point 10: nelson_1 in round 1 (99, limits 37.7838 to 67.571)",
        "point 21: nelson_1 in round 2 (61, limits 44.6223 to 57.6444)",
    ]
    assert study.removed[1].rows == (10,)
    assert [found.points for found in study.rounds] == [31, 30, 29]
    assert study.trace()[0].startswith("round 1: mu 52.6774, sigma 4.96454 by moving_range from 31 points")
    assert study.complete


def test_a_subgroup_goes_as_a_whole_by_its_mean_or_its_spread() -> None:
    random = np.random.default_rng(2)
    value = random.normal(0.0, 1.0, 150)
    value[25:30] += 6.0
    value[70] += 12.0
    labels = np.repeat(np.arange(30), 5)
    study = phase_one_study(value, subgroup=labels, rules=(1,))
    assert [(gone.point, gone.rows) for gone in study.removed] == [
        (5, tuple(range(25, 30))),
        (14, tuple(range(70, 75))),
    ]
    assert "range_beyond_limit" in study.removed[1].rules
    assert set(study.limits) == {"xbar", "R"}
    by_s = phase_one_study(value, subgroup_size=5, estimator="s", exclude=[71])
    assert set(by_s.limits) == {"xbar", "S"}
    assert [gone.point for gone in by_s.removed] == [14, 5]


def test_subgroups_are_runs_of_labels_with_gaps_and_a_short_last_one() -> None:
    study = phase_one_study([1.0, 2.0, math.nan, 5.0, 3.0, 4.0, 2.0], subgroup=["a", "a", "a", "b", "c", "c", "c"])
    assert study.estimate.points == 2, "b has one value"
    assert study.estimate.sigma == pytest.approx((1 / d2(2) + 2 / d2(3)) / 2)
    short = phase_one_study([1.0, 2.0, 3.0, 1.0, 2.0], subgroup_size=3)
    assert short.estimate.points == 2


def test_a_process_without_a_level_gives_trial_limits_only() -> None:
    stairs = np.repeat(np.arange(10.0) * 50, 10) + np.tile([0.0, 1.0], 50)
    study = phase_one_study(stairs)
    assert not study.complete
    assert study.trace()[-1].startswith("not complete")


ORANGE_JUICE = [  # Montgomery, Introduction to SQC, 7th ed., table 7.1: nonconforming cans of 50
    12, 15, 8, 10, 4, 7, 16, 9, 14, 10, 5, 6, 17, 12, 22, 8, 10, 5, 13, 11, 20, 18, 24, 15, 9, 12, 7, 13, 9, 6,
]  # fmt: skip


def test_montgomerys_orange_juice_cans() -> None:
    """Trial limits 0.0524 and 0.4102; samples 15 and 23 are out. Revised: centre 0.2150, limits 0.0407 and 0.3893."""
    study = phase_one_study(ORANGE_JUICE, counts="p", sample_size=50)
    assert study.rounds[0].mu == pytest.approx(0.2313, abs=5e-5)
    assert [gone.point + 1 for gone in study.removed if gone.round == 1] == [15, 23]
    assert (study.removed[0].lcl, study.removed[0].ucl) == pytest.approx((0.0524, 0.4102), abs=5e-5)
    revised = phase_one_study(ORANGE_JUICE, counts="p", sample_size=[50] * 30, exclude=[14, 22], rules=())
    assert revised.limits["p"] == pytest.approx((0.0407, 0.2150, 0.3893), abs=5e-5)
    assert [gone.point + 1 for gone in study.removed if gone.round == 2] == [21], (
        "0.40 is above 0.3893: the book keeps it"
    )
    fraction = phase_one_study(ORANGE_JUICE, counts="np", sample_size=50)
    assert [gone.point for gone in fraction.removed] == [gone.point for gone in study.removed]


def test_counts_of_defects() -> None:
    counts = [16, 14, 28, 16, 12, 20, 10, 12, 10, 17, 19, 17, 14, 16, 15, 13, 14, 16, 11, 20, 11, 19, 16, 31, 13]
    study = phase_one_study(counts, counts="c")  # NIST/SEMATECH e-Handbook 6.3.3.1: 28 is on the limit, 31 beyond
    assert study.rounds[0][:2] == (16.0, 4.0)
    assert [gone.point + 1 for gone in study.removed if gone.round == 1] == [24]
    by_area = phase_one_study(counts, counts="u", sample_size=2.0)
    assert by_area.estimate.mu == pytest.approx(study.estimate.mu / 2)
    gaps = phase_one_study([4, math.nan, 5, 6], counts="u", sample_size=[1.0, 1.0, 2.0, math.nan])
    assert gaps.estimate == (3.0, pytest.approx(math.sqrt(3)), "u", 2, 2)


@pytest.mark.parametrize(
    ("values", "options", "says"),
    [
        ([1.0], {}, "at least 2"),
        ([math.nan] * 5, {}, "at least 2"),
        ([[1.0, 2.0]], {}, r"\(n,\) is wanted"),
        ([1.0, math.inf], {}, "infinite at row 1"),
        ([1.0, 2.0], {"estimator": "guess"}, "estimator = 'guess'"),
        ([1.0, 2.0], {"estimator": "guess", "subgroup_size": 2}, "of subgroups one of"),
        ([1.0, 2.0], {"subgroup_size": 26}, "subgroup_size = 26"),
        ([1.0, 2.0], {"subgroup": ["a"]}, "1 labels for 2 rows"),
        ([1.0, 2.0], {"exclude": [2]}, "there is no row 2"),
        ([1.0, 2.0], {"subgroup": ["a", "b"]}, "no subgroup"),
        ([1.0] * 30, {"subgroup": ["a"] * 30}, "a subgroup of 30"),
        ([1.0, 2.0], {"rules": (9,)}, "nelson = "),
        ([1.0, 2.0], {"counts": "q"}, "counts = 'q'"),
        ([1.0, 2.0], {"counts": "p"}, "a p chart needs it"),
        ([1.0, 2.0], {"sample_size": 5}, "counts are p, np, c or u"),
        ([1.0, 2.0], {"counts": "c", "subgroup_size": 2}, "no subgroups"),
        ([-1.0, 2.0], {"counts": "c"}, "1 samples"),
    ],
)
def test_what_does_not_fit_is_refused(values: list[float], options: dict[str, object], says: str) -> None:
    with pytest.raises(ValueError, match=says):
        phase_one_study(values, **options)  # type: ignore[arg-type]
