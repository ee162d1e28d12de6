"""Columns that repeat are kept once and come back to the bit; a description that does not fit is refused."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from schemas.repeats import CONSTANT_ROWS_MIN, grow, shrink

FEW = st.sampled_from([0.0, -0.0, 1.0, float("nan"), -float("nan"), float("inf")])
SHAPES = hnp.array_shapes(min_dims=2, max_dims=2, min_side=0, max_side=3 * CONSTANT_ROWS_MIN).filter(lambda s: s[0] > 0)


@given(hnp.arrays(np.float64, SHAPES, elements=FEW | st.floats()))
def test_every_column_comes_back_to_the_bit(columns: np.ndarray) -> None:
    kept, how = shrink(columns)
    assert kept.shape[0] == columns.shape[1]
    assert 1 <= kept.shape[1] <= columns.shape[0]
    assert grow(kept, how.encode()).T.tobytes() == columns.tobytes()


def test_what_repeats_is_kept_once() -> None:
    number = np.arange(2.0 * CONSTANT_ROWS_MIN)
    constant = np.full_like(number, np.nan)
    kept, _ = shrink(np.stack([number, constant, number + 1, number, constant, np.zeros_like(number), number + 1]))
    assert np.array_equal(kept, np.stack([number, number + 1], axis=1))


def test_a_few_rows_have_no_constants_to_describe() -> None:
    kept, how = shrink(np.array([[1.0] * (CONSTANT_ROWS_MIN - 1), [2.0] * (CONSTANT_ROWS_MIN - 1)]))
    assert kept.shape[1] == 2
    assert json.loads(how) == [[0, 1], []]


@pytest.mark.parametrize(
    "how",
    [
        "[[2], []]",
        "[[0, -1], []]",
        "[[0], [1]]",
        "[[], []]",
        "[0]",
        "7",
        "[[0], null]",
        "{",
        '[["x"], []]',
        "[[0], [1e30]]",
    ],
)
def test_a_description_that_does_not_fit_is_refused(how: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        grow(np.zeros((3, 2)), how)
