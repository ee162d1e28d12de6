"""Running capability: by definition, by published examples, and merged from shards."""

import math
from collections.abc import Sequence
from itertools import permutations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models import judge
from models.capability import Capability
from models.capability_indices import indices, ppm_expected, target_indices
from models.detector import Verdicts, new_params, new_state, series_batch
from models.limits import d2
from models.moments import ROWS_MAX
from tests.naive import capability as naive

usual = settings(max_examples=60)
coarse = st.integers(-7, 7).map(lambda steps: steps / 2)
any_float = st.floats(-1e6, 1e6, allow_nan=False).map(lambda value: round(value, 3))
limits = st.sampled_from([math.nan, -4.0, 4.0])
named = st.lists(st.tuples(coarse | any_float, st.integers(0, 2)), min_size=2, max_size=30)


def last(v: Verdicts, name: str, detector: Capability | None = None) -> float:
    return float(v.statistic[-1, (detector or Capability()).statistics.index(name)])


@usual
@given(st.lists(coarse | any_float, min_size=2, max_size=30), limits, limits, st.sampled_from([math.nan, 0.5]))
def test_every_statistic_by_its_definition(values: list[float], lsl: float, usl: float, target: float) -> None:
    v = judge(Capability(min_rows=2), values, lsl=lsl, usl=usl, target=target)
    if math.isnan(lsl) and math.isnan(usl):
        assert not v.valid.any()
        return
    for n in range(2, len(values) + 1):
        within = naive.moving_range_sigma(values[:n], d2(2))
        first = naive.with_sigma(values[:n], lsl, usl, within)
        expected = [*first, *naive.more(values[:n], lsl, usl, target, within)]
        if math.isnan(lsl) or math.isnan(usl):
            expected[6] = math.nan  # Cpm needs both
        assert v.statistic[n - 1].tolist() == pytest.approx(expected, rel=1e-9, abs=1e-7, nan_ok=True)
        if abs(first.Cpk - 1.0) > 1e-9:
            assert v.signal[n - 1] == int(first.Cpk < 1.0)


@usual
@given(named, st.sampled_from(["pooled", "range", "auto"]), st.sampled_from([None, 2, 4]))
def test_sigma_within_of_subgroups(rows: list[tuple[float, int]], within: str, size: int | None) -> None:
    values, names = [value for value, _ in rows], [name for _, name in rows]
    v = judge(Capability(2, within=within, subgroup_size=size), values, subgroup=names, lsl=-4.0, usl=4.0)
    for n in range(2, len(rows) + 1):
        groups = naive.runs(names[:n], size)
        inside = [[values[i] for i in group] for group in groups]
        if within == "range":  # of closed subgroups only: the open one is the last, unless it is full
            closed = inside if len(inside[-1]) == size else inside[:-1]
            sigmas = [float(np.ptp(group)) / d2(len(group)) for group in closed if len(group) > 1]
            sigma = float(np.mean(sigmas)) if sigmas else math.nan
        elif within == "auto" and 4 * sum(len(group) - 1 for group in inside) < n:
            sigma = naive.moving_range_sigma(values[:n], d2(2))
        else:
            sigma = naive.pooled_sigma(inside)
        expected = naive.with_sigma(values[:n], -4.0, 4.0, sigma)
        assert v.statistic[n - 1, :4].tolist() == pytest.approx(list(expected), rel=1e-8, abs=1e-8, nan_ok=True)
        assert v.valid[n - 1] == (not math.isnan(sigma))


@usual
@given(
    st.lists(st.tuples(coarse | any_float, st.integers(0, 3)), max_size=40),
    st.sampled_from(["pooled", "range", "auto"]),
)
def test_merged_shards_give_the_bits_of_one_pass(rows: list[tuple[float, int]], within: str) -> None:
    detector = Capability(min_rows=2, within=within)
    params = new_params(2, lsl=-4.0, usl=4.0)
    shards = []
    for shard in range(3):  # a subgroup of three rows is in one shard
        part = [(x, group, i // 3 % 2) for i, (x, group) in enumerate(rows) if i // 3 % 3 == shard]
        shards.append(_state_of(detector, part, params))
    whole = [detector.statistics_of(detector.merged(*order), params) for order in permutations(shards)]
    whole.append(detector.statistics_of(detector.merged(detector.merged(shards[2], shards[0]), shards[1]), params))
    assert len({statistics.tobytes() for statistics in whole}) == 1
    in_one = detector.statistics_of(_state_of(detector, [], params), params)
    assert np.isnan(in_one).all()
    for series in range(2):
        values = [x for i, (x, _) in enumerate(rows) if i // 3 % 2 == series]
        if len(values) > 1:
            pp = naive.capability(values, -4.0, 4.0, d2(2)).Pp
            assert whole[0][series, 2] == pytest.approx(pp, rel=1e-12, nan_ok=True)


def _state_of(
    detector: Capability, rows: Sequence[tuple[float, int, int]], params: np.ndarray
) -> dict[str, np.ndarray]:
    state = new_state(detector, len(params))
    values, groups, series = [row[0] for row in rows], [row[1] for row in rows], [row[2] for row in rows]
    batch = series_batch(
        np.array(values), series=np.array(series, np.int32), subgroup=np.array(groups, np.int64), params=params
    )
    detector.update(state, batch)
    return state


def test_merged_subgroups_of_whole_shards_are_those_of_one_pass() -> None:
    random = np.random.default_rng(5)
    values, groups = random.normal(10.0, 1.0, 60), np.repeat(np.arange(15), 4)
    params = new_params(1, lsl=6.0, usl=14.0, target=10.0)
    for within in ("auto", "pooled", "range"):
        detector = Capability(within=within)
        rows = [(x, int(g), 0) for x, g in zip(values, groups, strict=True)]
        one_pass = detector.merged(_state_of(detector, rows, params))
        shards = [_state_of(detector, [row for row in rows if row[1] % 3 == shard], params) for shard in range(3)]
        for order in permutations(shards):
            merged = detector.merged(*order)
            for name in ("sums", "within", "opened"):
                assert merged[name].tobytes() == one_pass[name].tobytes(), name
            assert (
                detector.statistics_of(merged, params).tobytes() == detector.statistics_of(one_pass, params).tobytes()
            )


def test_merged_takes_the_limits_of_the_latest_event() -> None:
    detector = Capability(min_rows=2)
    early, late = (new_state(detector, 1) for _ in range(2))
    for state, ms, usl in ((early, 1000, 12.0), (late, 2000, 20.0)):
        batch = series_batch(np.array([9.0, 11.0]), event_time_ms=np.full(2, ms), columns={"usl": np.full(2, usl)})
        detector.update(state, batch)
    for states in ((early, late), (late, early)):
        assert detector.merged(*states)["specs"][0, 1] == 20.0
    assert early["specs"][0, 1] == 12.0, "the states given stay"


def test_merged_refuses_what_does_not_fit() -> None:
    detector = Capability()
    with pytest.raises(ValueError, match=r"states of \[1, 2\] series"):
        detector.merged(new_state(detector, 1), new_state(detector, 2))
    with pytest.raises(ValueError, match=r"states of \[\] series"):
        detector.merged()
    full = new_state(detector, 1)
    full["counts"][0, 0] = ROWS_MAX
    with pytest.raises(OverflowError, match=str(ROWS_MAX)):
        detector.merged(full, full)
    batch = series_batch(np.array([1.0]), params=new_params(1, lsl=0.0))
    assert not detector.update(full, batch).valid.any()
    assert full["counts"][0, 0] == ROWS_MAX


def test_nist_example() -> None:
    assert indices(16.0, 2.0, 8.0, 20.0) == pytest.approx((1.0, 0.6667), abs=5e-5)
    assert indices(16.0, 2.0, 8.0, np.nan)[1] == pytest.approx(1.3333, abs=5e-5)  # Cpl
    assert indices(16.0, 2.0, np.nan, 20.0)[1] == pytest.approx(0.6667, abs=5e-5)  # Cpu
    assert target_indices(16.0, 2.0, 8.0, 20.0, 14.0) == pytest.approx(
        (0.7071067811865475, 0.4714045207910316), rel=1e-15
    )
    assert np.isnan(target_indices(16.0, 2.0, 8.0, np.nan, np.nan)).all()
    assert target_indices(16.0, 2.0, np.nan, 20.0, 14.0)[1] == pytest.approx(0.4714045207910316)


def test_nist_example_from_values() -> None:
    v = judge(Capability(min_rows=2), [14.0, 16.0, 18.0], lsl=8.0, usl=20.0, target=14.0)  # mean 16, s 2
    assert (last(v, "Pp"), last(v, "Ppk")) == pytest.approx((1.0, 2 / 3))
    subgroup = judge(
        Capability(2, within="pooled"), [14.0, 16.0, 18.0], subgroup=[7] * 3, lsl=8.0, usl=20.0, target=14.0
    )
    names = ("Cp", "Cpk", "Cpl", "Cpu", "Cpm", "Cpmk")
    assert [last(subgroup, name) for name in names] == pytest.approx([1.0, 2 / 3, 4 / 3, 2 / 3, 0.5**0.5, 2**0.5 / 3])


def test_qcc_piston_rings() -> None:
    assert indices(74.00118, 0.009785039, 73.95, 74.05) == pytest.approx((1.703, 1.663), abs=5e-4)
    assert target_indices(74.00118, 0.009785039, 73.95, 74.05, 74.0)[0] == pytest.approx(1.69, abs=5e-3)


def test_rows_in_a_million_of_three_sigmas() -> None:
    assert sum(ppm_expected(0.0, 1.0, -3.0, 3.0)) == pytest.approx(2699.796, abs=5e-4)
    assert ppm_expected(0.0, 1.0, np.nan, 4.5) == pytest.approx((0.0, 3.397673), abs=5e-7)  # 3.4 of "six sigma"
    assert np.isnan(ppm_expected(0.0, 0.0, -3.0, 3.0)).all()


def test_given_limits_by_definition() -> None:
    values = [9.0, 11.0, 10.0, 12.0]
    v = judge(Capability(min_rows=3), values, lsl=4.0, usl=16.0)
    assert v.valid.tolist() == [False, False, True, True]
    assert np.isnan(v.statistic[0]).all()
    within, overall = (5 / 3) / d2(2), np.std(values, ddof=1)
    expected = np.array([2 / within, 5.5 / 3 / within, 2 / overall, 5.5 / 3 / overall], np.float64)
    np.testing.assert_allclose(v.statistic[3, :4], expected)
    assert v.lcl[3].tolist() == pytest.approx([np.nan, 1.0] + [np.nan] * 9, nan_ok=True)


def test_the_latest_limits_that_rows_carried() -> None:
    values = np.array([9.0, 11.0, 9.0, 11.0, np.nan, 10.0])
    columns = {
        "lsl": np.array([np.nan, 4.0, np.nan, -np.inf, 0.0, np.nan]),
        "usl": np.array([np.nan, np.nan, 16.0, 13.0, 0.0, np.nan]),
        "target": np.array([np.nan, 9.0, np.nan, 10.0, 0.0, np.nan]),
    }
    v = judge(Capability(min_rows=2), values, **columns)
    cp, cpk, cpm = v.statistic[:, 0], v.statistic[:, 1], v.statistic[:, 6]
    sigma = 2.0 / d2(2)
    assert v.valid.tolist() == [False, True, True, True, False, True]
    assert cpk[1] == pytest.approx(6 / 3 / sigma)  # one-sided: Cpl
    assert np.isnan(cp[1])
    assert cp[2] == pytest.approx(12 / 6 / sigma)
    assert cp[3] == pytest.approx(9 / 6 / sigma), "infinite is not given: 4 stays"
    assert cpm[2] == pytest.approx(12 / 6 / math.hypot(sigma, 29 / 3 - 9.0))
    assert cpm[3] == pytest.approx(cp[3]), "the mean is 10, and so is the target"
    assert cp[5] == pytest.approx(9 / 6 / (7 / 4 / d2(2))), "limits on a missing row are not taken"
    given_usl = series_batch(values, params=new_params(1, usl=40.0), columns=columns)
    of_params = Capability(min_rows=2).update(new_state(Capability(min_rows=2), 1), given_usl)
    assert of_params.statistic[2, 0] == pytest.approx(36 / 6 / sigma), "the given one wins, the other is the row's"


def test_signals_from_min_rows_on() -> None:
    v = judge(Capability(min_rows=4, cpk_min=1.33), [9.0, 11.0] * 4, lsl=9.5, usl=10.5)
    assert v.signal.tolist() == [0, 0, 0, 1, 1, 1, 1, 1]
    assert v.ucl.shape == v.statistic.shape


def test_without_limits_nothing_is_judged() -> None:
    v = judge(Capability(min_rows=2), [9.0, 11.0, 10.0])
    assert not v.valid.any()
    assert np.isnan(v.statistic).all()


@pytest.mark.parametrize(("value", "signal"), [(10.0, 0), (12.0, 0), (12.5, 1), (7.0, 1), (0.1 + 8.0, 0)])
def test_a_constant(value: float, signal: int) -> None:
    v = judge(Capability(min_rows=3), [value] * 3, lsl=8.0, usl=12.0)
    assert np.isnan(v.statistic[:, :10]).all()
    assert v.statistic[2, 10] == (1e6 if signal else 0.0)
    assert v.signal.tolist() == [0, 0, signal]
    one_sided = judge(Capability(min_rows=3), [value] * 3, usl=value)
    assert one_sided.signal[2] == 0, "on the limit is inside"


def test_observed_rows_are_counted_against_the_limits_in_force() -> None:
    v = judge(Capability(min_rows=2), [9.0, 13.0, 9.0, 11.0], usl=[np.nan, 12.0, 8.0, 11.0])
    np.testing.assert_allclose(v.statistic[:, 10], [np.nan, 1e6, 1e6, 2e6 / 3])


def test_excluded_rows_are_in_no_sum() -> None:
    values, excluded = [9.0, 11.0, 50.0, 10.0, 12.0], [False, False, True, False, False]
    v = judge(Capability(min_rows=2), values, excluded=excluded, lsl=4.0, usl=16.0)
    without = judge(Capability(min_rows=2), values[:2] + values[3:], lsl=4.0, usl=16.0)
    assert v.valid.tolist() == [False, True, False, True, True]
    np.testing.assert_array_equal(np.delete(v.statistic, 2, axis=0), without.statistic)
    ended = judge(Capability(min_rows=2, window_ends=("exclusion",)), values, excluded=excluded, lsl=4.0, usl=16.0)
    assert ended.valid.tolist() == [False, True, False, False, True]
    assert ended.statistic[4, 2] == pytest.approx(12 / 6 / math.sqrt(2.0))


@pytest.mark.parametrize(("ends", "rows"), [((), 4), (("reset",), 2)])
def test_sums_start_anew_only_where_that_is_asked(ends: tuple[str, ...], rows: int) -> None:
    detector = Capability(min_rows=2, window_ends=ends)
    state = new_state(detector, 1)
    for resets in (0, 1):
        params = new_params(1, lsl=0.0)
        params["resets"] = resets
        detector.update(state, series_batch(np.array([9.0, 11.0]), params=params))
    assert state["counts"][0, 0] == rows


@pytest.mark.parametrize(
    ("wrong", "named"),
    [
        ({"min_rows": 1}, "min_rows = 1"),
        ({"within": "rbar"}, "within = 'rbar'"),
        ({"subgroup_size": 1}, "subgroup_size = 1"),
        ({"subgroup_size": 26}, "subgroup_size = 26"),
        ({"window_ends": ("never",)}, "never"),
    ],
)
def test_parameters_without_meaning_are_refused(wrong: dict[str, object], named: str) -> None:
    with pytest.raises(ValueError, match=named):
        Capability(**wrong)  # type: ignore[arg-type]


def test_without_rows_in_a_million_there_are_the_indices_only() -> None:
    v = judge(Capability(min_rows=2, ppm=False), [9.0, 11.0], lsl=4.0, usl=16.0)
    assert v.statistic.shape == (2, 8)
    np.testing.assert_array_equal(
        v.statistic, judge(Capability(min_rows=2), [9.0, 11.0], lsl=4.0, usl=16.0).statistic[:, :8]
    )
