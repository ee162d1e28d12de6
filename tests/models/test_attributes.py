"""p, np, c and u charts: published examples, an oracle in exact arithmetic, and what the docstrings say."""

import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models import judge
from models.attributes import CChart, NpChart, PChart, UChart, dispersion_of
from models.detector import new_params, new_state, series_batch
from tests import naive
from tests.naive.attributes import rate, sample

CHARTS = {"p": PChart, "np": NpChart, "c": CChart, "u": UChart}

# NIST/SEMATECH e-Handbook of Statistical Methods, 6.3.3.1 (c) and 6.3.3.2 (p, 50 chips a wafer; the first 30 samples of
# Montgomery's orange juice cans)
NIST_C = [16, 14, 28, 16, 12, 20, 10, 12, 10, 17, 19, 17, 14, 16, 15, 13, 14, 16, 11, 20, 11, 19, 16, 31, 13]
NIST_P = [
    12, 15, 8, 10, 4, 7, 16, 9, 14, 10, 5, 6, 17, 12, 22, 8, 10, 5, 13, 11, 20, 18, 24, 15, 9, 12, 7, 13, 9, 6,
]  # fmt: skip

# Montgomery, Introduction to SQC, 7th ed., table 7.4 (purchase orders) and table 7.11 (dyed cloth)
ORDERS_BAD = [12, 8, 6, 9, 10, 12, 11, 16, 10, 6, 20, 15, 9, 8, 6, 8, 10, 7, 5, 8, 5, 8, 10, 6, 9]
ORDERS = [
    100, 80, 80, 100, 110, 110, 100, 100, 90, 90, 110, 120, 120, 120, 110, 80, 80, 80, 90, 100, 100, 100, 100, 90, 90,
]  # fmt: skip
CLOTH = [14, 12, 20, 11, 7, 10, 21, 16, 19, 23]
CLOTH_UNITS = [10.0, 8.0, 13.0, 10.0, 9.5, 10.0, 12.0, 10.5, 12.0, 12.5]


# Montgomery, table 7.7: nonconformities of printed circuit boards, 26 samples of 100
BOARDS = [
    21, 24, 16, 12, 15, 5, 28, 20, 31, 25, 20, 24, 16, 19, 10, 17, 13, 22, 18, 39, 30, 24, 16, 19, 17, 15,
]  # fmt: skip


def test_nist_c_chart() -> None:
    v = judge(CChart(phase_one_rows=25), [*NIST_C, *NIST_C])
    assert not v.valid[:25].any()
    assert v.statistic[:25, 0].tolist() == NIST_C
    assert (v.lcl[25, 0], v.centre[25, 0], v.ucl[25, 0]) == (4.0, 16.0, 28.0)
    assert np.flatnonzero(v.signal[25:]).tolist() == [23], "31 is out, 28 is on the limit"


@pytest.mark.parametrize("chart", [PChart(30, sample_size=50), NpChart(30, sample_size=50)], ids=["p", "np"])
def test_nist_p_chart(chart: PChart | NpChart) -> None:
    v = judge(chart, [*NIST_P, *NIST_P])
    unit = 50 if chart.name == "spc.np" else 1
    assert v.centre[30, 0] == pytest.approx(0.2313 * unit, rel=2e-4)
    assert (v.lcl[30, 0], v.ucl[30, 0]) == pytest.approx(
        (0.05242755 * unit, 0.4102391 * unit), rel=2e-7
    )  # as qcc prints
    assert (np.flatnonzero(v.signal) - 29).tolist() == [15, 23]


def test_montgomery_p_chart_with_varying_sample_size() -> None:
    v = judge(PChart(phase_one_rows=25), [*ORDERS_BAD, *ORDERS_BAD], sample_size=[*ORDERS, *ORDERS])
    assert v.centre[25, 0] == pytest.approx(234 / 2450)
    assert (np.flatnonzero(v.signal) - 24).tolist() == [11]
    z = judge(PChart(standardised=True), ORDERS_BAD, sample_size=ORDERS, mu=234 / 2450)
    assert z.signal.tolist() == v.signal[25:].tolist()
    assert (z.lcl[3, 0], z.centre[3, 0], z.ucl[3, 0]) == (-3.0, 0.0, 3.0)
    assert z.statistic[10, 0] == pytest.approx(3.08, abs=0.02)


def test_montgomery_u_chart_with_varying_units() -> None:
    v = judge(UChart(phase_one_rows=10), [*CLOTH, *CLOTH], sample_size=[*CLOTH_UNITS, *CLOTH_UNITS])
    assert v.centre[10, 0] == pytest.approx(1.42, abs=0.005)
    ucl = [2.55, 2.68, 2.41, 2.55, 2.58, 2.55, 2.45, 2.52, 2.45, 2.43]  # printed for 1.42; the mean is 1.4233
    lcl = [0.29, 0.16, 0.43, 0.29, 0.26, 0.29, 0.39, 0.32, 0.39, 0.41]
    np.testing.assert_allclose(v.ucl[10:, 0], ucl, atol=0.011)
    np.testing.assert_allclose(v.lcl[10:, 0], lcl, atol=0.011)
    given = judge(UChart(), CLOTH, sample_size=CLOTH_UNITS, mu=1.42)
    np.testing.assert_allclose(given.ucl[:, 0], ucl, atol=0.0051)
    np.testing.assert_allclose(given.lcl[:, 0], lcl, atol=0.0051)
    assert not v.signal.any()


def without(counts: list[int], *samples: int) -> list[bool]:
    """Return the column `excluded` that leaves out these samples, counted from 1."""
    return [i + 1 in samples for i in range(len(counts))]


def test_montgomery_limits_without_assignable_samples() -> None:
    """§7.2.1 and §7.3.1: limits are computed again without the samples that had an assignable cause."""
    juice = judge(PChart(28, sample_size=50), [*NIST_P, 10], excluded=[*without(NIST_P, 15, 23), False])
    assert [juice.lcl[30, 0], juice.centre[30, 0], juice.ucl[30, 0]] == pytest.approx(
        [0.0407, 0.2150, 0.3893], abs=5e-5
    )
    boards = judge(CChart(26), [*BOARDS, 10])
    assert [boards.lcl[26, 0], boards.centre[26, 0], boards.ucl[26, 0]] == pytest.approx([6.48, 19.85, 33.22], abs=0.01)
    beyond = judge(CChart(), BOARDS, mu=516 / 26)
    assert (np.flatnonzero(beyond.signal) + 1).tolist() == [6, 20]
    again = judge(CChart(24), [*BOARDS, 10], excluded=[*without(BOARDS, 6, 20), False])
    assert [again.lcl[26, 0], again.centre[26, 0], again.ucl[26, 0]] == pytest.approx([6.36, 19.67, 32.97], abs=0.005)


def test_montgomery_u_chart() -> None:
    """§7.3.1, personal computers: 20 samples of 5."""
    computers = [10, 12, 8, 14, 10, 16, 11, 7, 10, 15, 9, 5, 7, 11, 12, 6, 8, 10, 7, 5]
    v = judge(UChart(20, sample_size=5), [*computers, *computers])
    assert [v.lcl[20, 0], v.centre[20, 0], v.ucl[20, 0]] == pytest.approx([0.07, 1.93, 3.79], abs=0.005)
    assert v.statistic[0, 0] == 2.0
    assert not v.signal.any()


rows_of_counts = st.lists(st.tuples(st.integers(0, 12), st.integers(1, 8)).map(lambda r: (r[0], max(r))), max_size=30)


@settings(max_examples=100)
@given(st.sampled_from(sorted(CHARTS)), rows_of_counts, st.sampled_from([0, 1, 3, 4]), st.sampled_from([1.0, 2.0]))
def test_attribute_charts(kind: str, rows: list[tuple[int, int]], quarters: int, dispersion: float) -> None:
    mean = Fraction(quarters, 4)
    counts, sizes = [count for count, _ in rows], [size for _, size in rows]
    chart = CHARTS[kind](nelson=(1, 2, 3, 5), dispersion=dispersion, western_electric=(1, 2))
    v = judge(chart, counts, sample_size=sizes, mu=float(mean))
    samples = [sample(kind, count, size, mean, dispersion) for count, size in rows]
    expected = np.array([s[:4] for s in samples]).reshape(-1, 4)
    got = np.hstack([v.statistic, v.centre, v.lcl, v.ucl])
    np.testing.assert_allclose(got, expected, rtol=1e-12, atol=1e-12)
    assert v.valid.all()
    scatter = 1.0 if any(s.ucl > s.centre or s.lcl < s.centre for s in samples) else 0.0
    fired = naive.nelson([s.z for s in samples], 0.0, scatter)
    for i, s in enumerate(samples):
        if min(abs(s.point - s.ucl), abs(s.point - s.lcl)) > 1e-9 or not scatter:
            assert v.signal[i] & 1 == v.signal[i] >> 4 & 1 == int(s.point > s.ucl or s.point < s.lcl)
        if abs(abs(s.z) - 2) > 1e-9:
            assert v.signal[i] >> 5 == v.signal[i] >> 3 & 1, "Western Electric 2 is Nelson 5"
            assert v.signal[i] >> 1 & 7 == sum(1 << at for at, rule in enumerate((2, 3, 5)) if rule in fired[i])


@settings(max_examples=60)
@given(st.sampled_from(sorted(CHARTS)), rows_of_counts, st.integers(1, 6))
def test_phase_one_is_all_counts_by_all_units(kind: str, rows: list[tuple[int, int]], learned: int) -> None:
    counts, sizes = [count for count, _ in rows], [size for _, size in rows]
    v = judge(CHARTS[kind](phase_one_rows=learned), counts, sample_size=sizes)
    assert v.valid.tolist() == [i >= learned for i in range(len(rows))]
    assert not np.isnan(v.statistic).any()
    assert np.isnan(v.ucl[:learned]).all()
    if len(rows) > learned:
        mean = rate(counts[:learned], [1] * learned if kind == "c" else sizes[:learned])
        expected = judge(CHARTS[kind](), counts[learned:], sample_size=sizes[learned:], mu=float(mean))
        np.testing.assert_array_equal(v.ucl[learned:], expected.ucl)
        np.testing.assert_array_equal(v.signal[learned:], expected.signal)


@pytest.mark.parametrize(
    ("count", "size"),
    [
        (-1.0, 10.0),
        (11.0, 10.0),
        (math.inf, 10.0),
        (1.0, 0.0),
        (1.0, -5.0),
        (1.0, math.inf),
        (1.0, math.nan),
        (math.nan, 10.0),
    ],
)
def test_what_is_no_count_of_a_sample_is_not_judged(count: float, size: float) -> None:
    before, after = ([3.0, 4.0, 2.0], [10.0] * 3), ([9.0, 1.0, 9.0], [10.0] * 3)
    with_it = judge(PChart(4, (1, 2, 3, 5)), [*before[0], count, *after[0]], sample_size=[*before[1], size, *after[1]])
    without = judge(PChart(4, (1, 2, 3, 5)), [*before[0], *after[0]], sample_size=[*before[1], *after[1]])
    assert not with_it.valid[3]
    assert np.isnan(with_it.statistic[3, 0])
    for part, expected in zip(with_it, without, strict=True):
        np.testing.assert_array_equal(np.delete(part, 3, axis=0), expected)


def test_a_row_without_sample_size_takes_the_charts_own() -> None:
    size = [np.nan, 20.0]
    v = judge(UChart(sample_size=5), [10, 40], sample_size=size, mu=2.0)
    assert v.statistic[:, 0].tolist() == [2.0, 2.0]
    assert judge(UChart(sample_size=5), [10, 40], mu=2.0).statistic[:, 0].tolist() == [2.0, 8.0]
    assert judge(UChart(), [10, 40], sample_size=size, mu=2.0).valid.tolist() == [False, True]
    assert not judge(PChart(), [1, 2], mu=0.1).valid.any()
    assert judge(CChart(sample_size=5), [10, 40], sample_size=size, mu=25.0).statistic[:, 0].tolist() == [10, 40]


@pytest.mark.parametrize("mu", [-0.1, 1.5, math.inf])
def test_a_given_mu_that_is_no_fraction_counts_as_not_given(mu: float) -> None:
    v = judge(PChart(2, sample_size=10), [3, 5, 4], mu=mu)
    assert v.valid.tolist() == [False, False, True]
    assert v.centre[2, 0] == pytest.approx(0.4)


@pytest.mark.parametrize(
    ("chart", "good", "odd"), [(PChart, 0, 1), (NpChart, 0, 1), (CChart, 0, 1), (UChart, 0, 1), (PChart, 10, 9)]
)
@pytest.mark.parametrize("standardised", [False, True])
def test_no_scatter_has_its_limits_on_the_centre_line(
    chart: type[PChart], good: int, odd: int, standardised: bool
) -> None:
    v = judge(chart(3, (1, 7), sample_size=10, standardised=standardised), [good] * 3 + [good, odd] + [good] * 20)
    assert np.flatnonzero(v.signal).tolist() == [4]
    np.testing.assert_array_equal(v.ucl[3:], v.centre[3:])
    np.testing.assert_array_equal(v.lcl[3:], v.centre[3:])


def test_an_excluded_row_is_not_learned_from_and_ends_a_window_if_told_to() -> None:
    counts, out = [6, 6, 6, 6, 6, 99, 6, 6, 6, 6], [False] * 5 + [True] + [False] * 4
    ends, goes_on = (
        judge(CChart(nelson=(2,), window_ends=names), counts, excluded=out, mu=4.0) for names in (("exclusion",), ())
    )
    assert ends.signal.tolist() == [0] * 10
    assert goes_on.signal.tolist() == [0] * 9 + [1]
    assert not judge(CChart(6), counts, excluded=out).valid[:6].any()
    assert judge(CChart(6), counts, excluded=out).centre[7, 0] == 6.0


@pytest.mark.parametrize(
    ("counter", "name"), [("limits_version", "limits"), ("resets", "reset"), ("exclusions", "exclusion")]
)
def test_windows_end_with_what_is_named(counter: str, name: str) -> None:
    for named, fires in (((name,), False), (tuple({"limits", "reset", "exclusion"} - {name}), True)):
        chart = CChart(nelson=(2,), window_ends=named)
        state, params = new_state(chart, 1), new_params(1, mu=4.0)
        chart.update(state, series_batch(np.full(5, 6.0), params=params))
        params[counter] += 1
        v = chart.update(state, series_batch(np.full(4, 6.0), params=params))
        assert bool(v.signal[3]) == fires


def test_laney_dispersion() -> None:
    # over-dispersed by construction: p of each day is itself normal, so that sigma_z² is about 1 + n var(p)/(p q)
    rng = np.random.default_rng(5)
    sizes = rng.integers(4000, 6000, 400)
    counts = rng.binomial(sizes, np.clip(rng.normal(0.1, 0.02, 400), 0, 1))
    wide = dispersion_of(PChart(), counts, sizes)
    assert wide == pytest.approx(math.sqrt(1 + 5000 * 0.02**2 / 0.09), rel=0.1)
    assert dispersion_of(NpChart(), counts, sizes) == wide
    plain, laney = (
        judge(PChart(400, dispersion=d), [*counts, *counts], sample_size=[*sizes, *sizes]) for d in (1.0, wide)
    )
    assert plain.signal.sum() > 100
    assert laney.signal.sum() < 5
    poisson = rng.poisson(20.0, 2000)
    assert dispersion_of(CChart(), poisson, np.array(0)) == pytest.approx(1.0, abs=0.06)
    assert dispersion_of(UChart(), poisson, np.full(2000, 5.0)) == dispersion_of(CChart(), poisson, np.array(0))


@pytest.mark.parametrize("counts", [[3], [0, 0, 0], [10, 10, 10]])
def test_counts_without_dispersion_are_refused(counts: list[int]) -> None:
    with pytest.raises(ValueError, match="counts"):
        dispersion_of(PChart(), np.array(counts), np.full(len(counts), 10))


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("phase_one_rows", 0),
        ("sample_size", 0.0),
        ("sample_size", math.inf),
        ("dispersion", 0.0),
        ("nelson", (9,)),
        ("window_ends", ("x",)),
    ],
)
def test_parameters_without_meaning_are_refused(name: str, value: object) -> None:
    with pytest.raises(ValueError, match=f"{name} = "):
        PChart(**{name: value})  # type: ignore[arg-type]
