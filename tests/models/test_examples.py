"""The example that the README points to: a detector of one's own in under 30 lines."""

from pathlib import Path

import numpy as np
import pytest

from examples import my_detector
from examples.my_detector import SpreadOfThree
from models import check_detector, judge
from models.detector import identity


def test_it_is_short() -> None:
    assert len(Path(my_detector.__file__).read_text().splitlines()) < 30


def test_it_judges() -> None:
    v = judge(SpreadOfThree(limit=5.0), [1.0, 2.0, 3.0, np.nan, 9.0, 8.0, 8.0, 8.0])
    assert v.valid.tolist() == [False, False, True, False, True, True, True, True]
    assert v.statistic[v.valid, 0].tolist() == [2.0, 7.0, 6.0, 1.0, 0.0]
    assert v.signal.tolist() == [0, 0, 0, 0, 1, 1, 0, 0]


def test_it_passes_the_conformance_suite() -> None:
    check_detector(SpreadOfThree())


@pytest.mark.parametrize("limit", [4.0, 6.0])
def test_another_limit_is_another_detector(limit: float) -> None:
    assert identity(SpreadOfThree(limit)) != identity(SpreadOfThree())
