"""What a point is made of: the parts sum to the statistic that the chart judged."""

from __future__ import annotations

import numpy as np
import pytest

from models import judge
from models.ewma import Ewma
from models.explain import NotExplainedError, explained, largest_parts, names_of
from models.mewma import Mewma
from models.multivariate import HotellingT2, known_covariance
from models.pca import PcaChart, fit_pca

NAMES = ("a", "b", "c", "d")
ROWS = np.random.default_rng(1).normal(size=(80, 4)) @ np.diag([1.0, 2.0, 3.0, 1.0])
PCA = PcaChart(fit_pca(ROWS, components=2, names=NAMES))
T2 = HotellingT2(known_covariance([0.0, 0.0], [[1.0, 0.5], [0.5, 1.0]]))


@pytest.mark.parametrize("x", [[1.0, -2.0, 8.0, 0.5], [1.0, np.nan, 8.0, 0.5]])
def test_the_parts_of_pca_sum_to_what_it_judged(x: list[float]) -> None:
    parts = explained(PCA, NAMES, np.array(x))
    judged = judge(PCA, [x]).statistic[0]
    assert [parts["T2"].sum(), parts["Q"].sum()] == pytest.approx(judged.tolist())
    [first, *_] = largest_parts(NAMES, np.array(x), parts["T2"], 4)
    assert first.fraction == pytest.approx(parts["T2"].max() / parts["T2"].sum())


def test_the_parts_of_t2_sum_to_it() -> None:
    parts = explained(T2, ("x1", "x2"), np.array([3.0, -1.0]))["T2"]
    assert parts.sum() == pytest.approx(judge(T2, [[3.0, -1.0]]).statistic[0, 0])


def test_why_not() -> None:
    with pytest.raises(NotExplainedError, match="other characteristics than the model"):
        explained(PCA, ("a", "b", "c", "x"), np.zeros(4))
    with pytest.raises(NotExplainedError, match="judges means of subgroups"):
        explained(HotellingT2(T2.model, subgroup_size=3), ("x1", "x2"), np.zeros(2))
    with pytest.raises(NotExplainedError, match=r"multivariate\.mewma has no decomposition"):
        explained(Mewma(T2.model), ("x1", "x2"), np.zeros(2))
    assert names_of(PCA) == NAMES
    assert names_of(Ewma()) is None
    assert largest_parts(["a"], np.zeros(1), np.zeros(1), 3)[0].fraction is None
