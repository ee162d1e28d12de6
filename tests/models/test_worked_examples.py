"""Published examples, to their printed digits."""

import csv
from pathlib import Path

import numpy as np
import pytest

from models import judge
from models.cusum import Cusum
from models.ewma import Ewma
from models.individuals import IndividualsChart
from models.xbar import XbarChart

DATA = Path(__file__).parent / "data"

# NIST/SEMATECH e-Handbook of Statistical Methods, 6.3.2.2 to 6.3.2.4
FLOW_RATE = [49.6, 47.6, 49.9, 51.3, 47.8, 51.2, 52.6, 52.4, 53.6, 52.1]
NIST_CUSUM = [
    324.925, 324.675, 324.725, 324.35, 325.35, 325.225, 324.125, 324.525, 325.225, 324.6,
    324.625, 325.15, 328.325, 327.25, 327.825, 328.5, 326.675, 327.775, 326.875, 328.35,
]  # fmt: skip
NIST_S_HI = [0, 0, 0, 0, 0.03, 0, 0, 0, 0, 0, 0, 0, 3.01, 4.94, 7.45, 10.63, 11.99, 14.44, 16.0, 19.04]
NIST_S_LO = [0, 0.01, 0, 0.33, 0, 0, 0.56, 0.72, 0.17, 0.25, 0.31, 0, 0, 0, 0, 0, 0, 0, 0, 0]
NIST_EWMA = [52.0, 47.0, 53.0, 49.3, 50.1, 47.0, 51.0, 50.1, 51.2, 50.5, *FLOW_RATE]
NIST_Z = [
    50.6, 49.52, 50.56, 50.18, 50.16, 49.21, 49.75, 49.85, 50.26, 50.33,
    50.11, 49.36, 49.52, 50.05, 49.38, 49.92, 50.73, 51.23, 51.94, 51.99,
]  # fmt: skip

# Montgomery, Introduction to SQC, 7th ed., tables 9.1, 9.2 and 9.10: N(10, 1), from sample 21 on N(11, 1)
MONTGOMERY = [
    9.45, 7.99, 9.29, 11.66, 12.16, 10.18, 8.04, 11.46, 9.2, 10.34, 9.03, 11.47, 10.51, 9.4, 10.08,
    9.37, 10.62, 10.31, 8.52, 10.84, 10.9, 9.33, 12.29, 11.5, 10.6, 11.08, 10.38, 11.62, 11.31, 10.52,
]  # fmt: skip
C_PLUS = [
    0, 0, 0, 1.16, 2.82, 2.5, 0.04, 1.0, 0, 0, 0, 0.97, 0.98, 0, 0,
    0, 0.12, 0, 0, 0.34, 0.74, 0, 1.79, 2.79, 2.89, 3.47, 3.35, 4.47, 5.28, 5.3,
]  # fmt: skip
C_MINUS = [
    0.05, 1.56, 1.77, 0, 0, 0, 1.46, 0, 0.3, 0, 0.47, 0, 0, 0.1, 0,
    0.13, 0, 0, 0.98, 0, 0, 0.17, 0, 0, 0, 0, 0, 0, 0, 0,
]  # fmt: skip
EWMA_Z = [
    9.945, 9.7495, 9.70355, 9.8992, 10.12528, 10.13075, 9.92167, 10.07551, 9.98796, 10.02316,
    9.92384, 10.07846, 10.12161, 10.04945, 10.05251, 9.98426, 10.04783, 10.07405, 9.91864, 10.01078,
    10.0997, 10.02273, 10.24946, 10.37451, 10.39706, 10.46535, 10.45682, 10.57314, 10.64682, 10.63414,
]  # fmt: skip
EWMA_UCL = {1: 10.27, 2: 10.36325, 3: 10.424, 4: 10.46746, 5: 10.4999, 10: 10.58055, 20: 10.61483, 30: 10.61887}


def column(file: str, name: str) -> np.ndarray:
    with (DATA / file).open(newline="") as lines:
        return np.array([float(line[name]) for line in csv.DictReader(lines)])


@pytest.mark.parametrize(
    ("digits", "lcl", "ucl"), [(3, 45.8159, 55.8041), (None, 45.81758831996932, 55.80241168003069)]
)
def test_nist_individuals(digits: int | None, lcl: float, ucl: float) -> None:
    chart = IndividualsChart(phase_one_rows=10, d2_digits=digits)
    v = judge(chart, [*FLOW_RATE, 50.0])
    assert not v.valid[:10].any()
    assert np.isnan(v.ucl[:10]).all()
    assert v.statistic[:10, 0].tolist() == FLOW_RATE
    assert v.valid[10]
    assert v.centre[10, 0] == pytest.approx(50.81)
    assert (v.lcl[10, 0], v.ucl[10, 0]) == pytest.approx((lcl, ucl), abs=5e-5)
    assert v.centre[10, 1] == pytest.approx(1.8778, abs=5e-5)
    assert v.ucl[10, 1] == pytest.approx(1.8778 * 3.2665, abs=2e-3)


def test_nist_moving_range_limit_with_exact_constants() -> None:
    v = judge(IndividualsChart(phase_one_rows=10), [*FLOW_RATE, 50.0])
    assert v.ucl[10, 1] == pytest.approx(6.1338212, rel=1e-4)  # of MRbar printed as 1.8778


def test_qcc_viscosity_individuals() -> None:
    v = judge(IndividualsChart(phase_one_rows=20, d2_digits=3), column("viscosity.csv", "viscosity"))
    assert v.centre[20, 0] == pytest.approx(34.088, abs=5e-4)
    assert (v.lcl[20, 0], v.ucl[20, 0]) == pytest.approx((32.56504, 35.61096), abs=5e-6)
    assert (v.ucl[20, 0] - v.centre[20, 0]) / 3 == pytest.approx(0.5076521, abs=5e-8)


def test_nist_cusum() -> None:
    sigma = 0.635
    v = judge(Cusum(k=0.3175 / sigma, h=4.1959 / sigma), NIST_CUSUM, mu=325.0, sigma=sigma)
    np.testing.assert_allclose(v.statistic[:, 0], NIST_S_HI, atol=0.0051)
    np.testing.assert_allclose(v.statistic[:, 1], NIST_S_LO, atol=0.0051)
    assert np.flatnonzero(v.signal)[0] + 1 == 14
    assert v.ucl[0].tolist() == pytest.approx([4.1959, 4.1959])


def test_montgomery_cusum() -> None:
    v = judge(Cusum(k=0.5, h=5.0), MONTGOMERY, mu=10.0, sigma=1.0)
    np.testing.assert_allclose(v.statistic.round(2), np.column_stack([C_PLUS, C_MINUS]), atol=1e-9)
    assert (np.flatnonzero(v.signal) + 1).tolist() == [29, 30]
    assert v.signal[28] == 1


def test_nist_ewma() -> None:
    v = judge(Ewma(weight=0.3, width=3.0, steady=True), NIST_EWMA, mu=50.0, sigma=2.0539)
    np.testing.assert_allclose(v.statistic[:, 0], NIST_Z, atol=0.0051)
    assert (v.ucl[0, 0], v.lcl[0, 0]) == pytest.approx((52.5884, 47.4115), abs=1e-4)  # NIST cuts the last digit
    assert not v.signal.any()


def test_montgomery_ewma() -> None:
    v = judge(Ewma(weight=0.1, width=2.7), MONTGOMERY, mu=10.0, sigma=1.0)
    np.testing.assert_allclose(v.statistic[:, 0], EWMA_Z, atol=5.1e-6)
    for t, ucl in EWMA_UCL.items():
        assert (v.ucl[t - 1, 0], 20 - v.lcl[t - 1, 0]) == pytest.approx((ucl, ucl), abs=1.1e-5)
    assert (np.flatnonzero(v.signal) + 1).tolist() == [29, 30]


def test_qcc_piston_rings_xbar_and_range() -> None:
    diameter = column("pistonrings.csv", "diameter")
    sample = column("pistonrings.csv", "sample").astype(np.int64)
    v = judge(XbarChart(phase_one_subgroups=25, d2_digits=3), diameter, subgroup=sample)
    closes = np.flatnonzero(~np.isnan(v.statistic[:, 0]))
    assert closes.tolist() == list(range(4, 200, 5))
    assert np.flatnonzero(v.valid).tolist() == list(range(129, 200, 5))
    assert v.centre[129, 0] == pytest.approx(74.00118, abs=5e-6)
    assert (v.lcl[129, 0], v.ucl[129, 0]) == pytest.approx((73.98805, 74.0143), abs=5e-6)
    assert (v.ucl[129, 0] - v.centre[129, 0]) * np.sqrt(5) / 3 == pytest.approx(0.009785039, abs=5e-10)
    assert v.ucl[129, 1] == pytest.approx(0.04812533, abs=2e-7)  # qcc's table has d3(5) = 0.86409, the exact is 0.86408
    signals = (v.signal[closes] & 1).nonzero()[0] + 1
    assert signals.tolist() == [37, 38, 39]  # samples beyond the limits, as qcc draws them
