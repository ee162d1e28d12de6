"""Exact moments against fractions, and that no order, cut or merging changes a bit."""

import math
import sys
from itertools import permutations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models import moments
from models.moments import Moments
from tests.naive.capability import exact_mean_and_deviation

usual = settings(max_examples=60)
any_float = st.floats(-1e300, 1e300, allow_nan=False)
near = st.integers(-50, 50).map(lambda steps: 1e8 + steps / 8)
tiny = st.integers(-(1 << 40), 1 << 40).map(lambda steps: steps * sys.float_info.min * 2.0**-52)
shards = st.lists(st.lists(any_float | near, max_size=8), min_size=1, max_size=4)


def ulps(x: float, y: float) -> float:
    return 0.0 if x == y else abs(x - y) / math.ulp(y)


@pytest.mark.slow
@usual
@given(
    st.lists(near, min_size=2, max_size=30)
    | st.lists(tiny, min_size=2, max_size=10)
    | st.lists(any_float, min_size=2, max_size=10)
)
def test_mean_and_deviation_are_those_of_the_doubles_to_the_last_bits(values: list[float]) -> None:
    mean, deviation = exact_mean_and_deviation(values)
    whole = Moments.of(values)
    spread = max(map(abs, values)) * 2.0**-80  # what the window may leave out of a mean near 0
    assert ulps(whole.mean, mean) <= 1 or abs(whole.mean - mean) <= spread
    assert ulps(whole.deviation, deviation) <= 1
    assert (whole.rows, whole.least, whole.most) == (len(values), min(values), max(values))


@usual
@given(shards, st.randoms(use_true_random=False))
def test_any_order_of_rows_and_of_merging_gives_the_same_bits(parts: list[list[float]], random: object) -> None:
    values = [x for part in parts for x in part]
    whole = Moments.of(values)
    shuffled = list(values)
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    assert Moments.of(shuffled) == whole
    for order in list(permutations(parts))[:6]:
        left = Moments()
        for part in order:
            left = left.merged(Moments.of(part))
        right = Moments()
        for part in order:
            right = Moments.of(part).merged(right)
        assert left == right == whole


@usual
@given(st.lists(any_float, max_size=12), st.integers(0, 12))
def test_a_total_is_rounded_once_and_merges_exactly(values: list[float], cut: int) -> None:
    total, first, rest = (np.zeros((1, 5), np.int64) for _ in range(3))
    for x in values:
        moments.add_to_total(total, 0, np.float64(x))
    for part, into in ((values[:cut], first), (values[cut:], rest)):
        for x in part:
            moments.add_to_total(into, 0, np.float64(x))
    for a, b in ((first.copy(), rest), (rest.copy(), first)):
        moments.merge_totals(a, 0, b, 0)
        assert a.tolist() == total.tolist()
    exact = math.fsum(values)
    assert moments.total_of(total, 0) == pytest.approx(
        exact, rel=1e-15, abs=max(map(abs, values), default=0.0) * 2.0**-80
    )


def test_equal_values_have_their_value_as_mean_and_no_deviation() -> None:
    for x in (0.1, -1e300, 5e-324, 0.0, 1e17 + 2, 1 / 3, -0.7):
        for n in (2, 3, 7, 49):
            whole = Moments.of([x] * n)
            assert (whole.mean, whole.deviation) == (x, 0.0)


def test_what_is_not_a_number_is_left_out_and_nothing_has_no_mean() -> None:
    assert Moments.of([math.nan, math.inf, 2.0, -math.inf]) == Moments.of([2.0])
    assert math.isnan(Moments().mean)
    assert math.isnan(Moments().deviation)
    assert math.isnan(Moments.of([2.0]).deviation)


def test_subtracting_large_numbers_loses_nothing() -> None:
    values = np.array([1e15 + 0.125, 1e15, 1e15 - 0.125] * 5)
    assert Moments.of(values).deviation == pytest.approx(0.125 * math.sqrt(10 / 14), rel=1e-15)
    assert Moments.of(-values).deviation == Moments.of(values).deviation
    assert Moments.of(-values).mean == -Moments.of(values).mean == -1e15


def test_more_rows_than_the_places_hold_are_refused() -> None:
    most = Moments(rows=moments.ROWS_MAX)
    with pytest.raises(OverflowError, match=str(moments.ROWS_MAX + 1)):
        most.merged(Moments.of([1.0]))


def test_a_masked_value_is_left_out() -> None:
    assert Moments.of(np.ma.masked_array([1.0, 999.0, 3.0], mask=[False, True, False])) == Moments.of([1.0, 3.0])
