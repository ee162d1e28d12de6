"""Each kernel against its slow, obvious oracle in tests/naive/, on whatever values hypothesis finds.

Values lie on a coarse grid, so that ties and values on a limit are common. Given mu and sigma are sums of a few powers of two,
so that the oracle's arithmetic is the kernel's, and a point on a line is on it in both.
"""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models import judge
from models.anomaly import RobustZ
from models.cusum import Cusum
from models.ewma import Ewma
from tests import naive

coarse = st.integers(-7, 7).map(lambda steps: steps / 2)
calm = st.integers(-3, 3).map(lambda steps: steps / 2)
any_float = st.floats(-1e6, 1e6, allow_nan=False).map(lambda value: round(value, 3))
log = st.lists(coarse, max_size=60) | st.lists(calm, max_size=60)
sigmas = st.sampled_from([0.0, 0.5, 1.0, 2.0])
usual = settings(max_examples=80)


@usual
@given(st.lists(coarse | calm, max_size=40), st.integers(3, 9), st.integers(0, 4))
def test_robust_z(values: list[float], min_rows: int, more: int) -> None:
    window = min_rows + more
    v = judge(RobustZ(window=window, threshold=2.1, min_rows=min_rows), values)
    assert v.valid.tolist() == [i >= min_rows for i in range(len(values))]
    for i in range(min_rows, len(values)):
        z, sigma = naive.robust_z(values[max(0, i - window) : i], values[i])
        limit = 2.1 if sigma else 0.0
        assert v.statistic[i, 0] == pytest.approx(z, abs=1e-12)
        assert v.ucl[i, 0] == -v.lcl[i, 0] == limit
        if abs(abs(z) - limit) > 1e-9:
            assert v.signal[i] == int(z > limit) + 2 * int(z < -limit)


@usual
@given(log, sigmas, st.booleans())
def test_cusum(values: list[float], sigma: float, restart: bool) -> None:
    v = judge(Cusum(k=0.5, h=2.5, restart=restart), values, mu=0.25, sigma=sigma)
    sums = naive.cusum(values, 0.25, sigma, 0.5, 2.5, restart=restart)
    assert v.statistic.tolist() == [list(pair) for pair in sums]
    assert v.signal.tolist() == [int(high > 2.5 * sigma) + 2 * int(low > 2.5 * sigma) for high, low in sums]


@usual
@given(log, st.sampled_from([0.5, 1.0, 2.0]), st.sampled_from([0.1, 0.3, 1.0]))
def test_ewma(values: list[float], sigma: float, weight: float) -> None:
    v = judge(Ewma(weight=weight, width=2.7), values, mu=0.25, sigma=sigma)
    for i, (z, half) in enumerate(naive.ewma(values, 0.25, sigma, weight, 2.7)):
        assert v.statistic[i, 0] == pytest.approx(z, abs=1e-12)
        assert (v.lcl[i, 0], v.ucl[i, 0]) == pytest.approx((0.25 - half, 0.25 + half))
        if abs(abs(z - 0.25) - half) > 1e-9:
            assert v.signal[i] == int(z > 0.25 + half) + 2 * int(z < 0.25 - half)
