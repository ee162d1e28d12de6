"""Control-chart constants against the tables."""

import math

import numpy as np
import pytest
from scipy.integrate import quad
from scipy.special import ndtr, poch

from models.limits import SUBGROUP_SIZE_MAX, c4, constants, d2, d3, deviation_constants, range_constants

# n: d2, d3, c4, A, A2, A3, B3, B4, B5, B6, D1, D2, D3, D4, E2, for n = 2 to 10; Montgomery, appendix VI, with more digits
TABLE = """
2,1.12837917,0.85250247,0.79788456,2.12132034,1.87997121,2.65868078,0,3.26653192,0,2.60631539,0,3.68588657,0,3.26653192,2.65868078
3,1.69256875,0.88836800,0.88622693,1.73205081,1.02332671,1.95441005,0,2.56816960,0,2.27598105,0,4.35767276,0,2.57459129,1.77245385
4,2.05875075,0.87980820,0.92131773,1.50000000,0.72859719,1.62810282,0,2.26604708,0,2.08774936,0,4.69817535,0,2.28205156,1.45719437
5,2.32592895,0.86408194,0.93998560,1.34164079,0.57681933,1.42729929,0,2.08899787,0,1.96362792,0,4.91817477,0,2.11449915,1.28980724
6,2.53441272,0.84803969,0.95153286,1.22474487,0.48324602,1.28712830,0.03036321,1.96963679,0.02889159,1.87417413,0,5.07853178,0,2.00382982,1.18370618
7,2.70435675,0.83320534,0.95936879,1.13389342,0.41928396,1.18191610,0.11768503,1.88231497,0.11290335,1.80583423,0.20474074,5.20397276,0.07570774,1.92429226,1.10932110
8,2.84720061,0.81983149,0.96503046,1.06066017,0.37252738,1.09909502,0.18508960,1.81491040,0.17861710,1.75144381,0.38770614,5.30669508,0.13617100,1.86382900,1.05366653
9,2.97002632,0.80783427,0.96931070,1.00000000,0.33669735,1.03166095,0.23913280,1.76086720,0.23179398,1.70682742,0.54652350,5.39352915,0.18401302,1.81598698,1.01009206
10,3.07750546,0.79705067,0.97265927,0.94868330,0.30826373,0.97535008,0.28370556,1.71629444,0.27594884,1.66936971,0.68635344,5.46865748,0.22302266,1.77697734,0.97481549
"""
# n, and the constants below in their order: Montgomery, Introduction to SQC, 7th ed., appendix VI
APPENDIX_VI = """
2 2.121 1.880 2.659 0.7979 0 3.267 0 2.606 1.128 0.853 0 3.686 0 3.267
3 1.732 1.023 1.954 0.8862 0 2.568 0 2.276 1.693 0.888 0 4.358 0 2.574
4 1.500 0.729 1.628 0.9213 0 2.266 0 2.088 2.059 0.880 0 4.698 0 2.282
5 1.342 0.577 1.427 0.9400 0 2.089 0 1.964 2.326 0.864 0 4.918 0 2.114
6 1.225 0.483 1.287 0.9515 0.030 1.970 0.029 1.874 2.534 0.848 0 5.078 0 2.004
7 1.134 0.419 1.182 0.9594 0.118 1.882 0.113 1.806 2.704 0.833 0.204 5.204 0.076 1.924
8 1.061 0.373 1.099 0.9650 0.185 1.815 0.179 1.751 2.847 0.820 0.388 5.306 0.136 1.864
9 1.000 0.337 1.032 0.9693 0.239 1.761 0.232 1.707 2.970 0.808 0.547 5.393 0.184 1.816
10 0.949 0.308 0.975 0.9727 0.284 1.716 0.276 1.669 3.078 0.797 0.687 5.469 0.223 1.777
11 0.905 0.285 0.927 0.9754 0.321 1.679 0.313 1.637 3.173 0.787 0.811 5.535 0.256 1.744
12 0.866 0.266 0.886 0.9776 0.354 1.646 0.346 1.610 3.258 0.778 0.922 5.594 0.283 1.717
13 0.832 0.249 0.850 0.9794 0.382 1.618 0.374 1.585 3.336 0.770 1.025 5.647 0.307 1.693
14 0.802 0.235 0.817 0.9810 0.406 1.594 0.399 1.563 3.407 0.763 1.118 5.696 0.328 1.672
15 0.775 0.223 0.789 0.9823 0.428 1.572 0.421 1.544 3.472 0.756 1.203 5.741 0.347 1.653
16 0.750 0.212 0.763 0.9835 0.448 1.552 0.440 1.526 3.532 0.750 1.282 5.782 0.363 1.637
17 0.728 0.203 0.739 0.9845 0.466 1.534 0.458 1.511 3.588 0.744 1.356 5.820 0.378 1.622
18 0.707 0.194 0.718 0.9854 0.482 1.518 0.475 1.496 3.640 0.739 1.424 5.856 0.391 1.608
19 0.688 0.187 0.698 0.9862 0.497 1.503 0.490 1.483 3.689 0.734 1.487 5.891 0.403 1.597
20 0.671 0.180 0.680 0.9869 0.510 1.490 0.504 1.470 3.735 0.729 1.549 5.921 0.415 1.585
21 0.655 0.173 0.663 0.9876 0.523 1.477 0.516 1.459 3.778 0.724 1.605 5.951 0.425 1.575
22 0.640 0.167 0.647 0.9882 0.534 1.466 0.528 1.448 3.819 0.720 1.659 5.979 0.434 1.566
23 0.626 0.162 0.633 0.9887 0.545 1.455 0.539 1.438 3.858 0.716 1.710 6.006 0.443 1.557
24 0.612 0.157 0.619 0.9892 0.555 1.445 0.549 1.429 3.895 0.712 1.759 6.031 0.451 1.548
25 0.600 0.153 0.606 0.9896 0.565 1.435 0.559 1.420 3.931 0.708 1.806 6.056 0.459 1.541
"""
PRINTED = ["A", "A2", "A3", "c4", "B3", "B4", "B5", "B6", "d2", "d3", "D1", "D2", "D3", "D4"]
NAMES = ["d2", "d3", "c4", "A", "A2", "A3", "B3", "B4", "B5", "B6", "D1", "D2", "D3", "D4", "E2"]


@pytest.mark.parametrize("line", TABLE.split())
def test_constants_as_printed(line: str) -> None:
    n, *printed = line.split(",")
    computed = constants(int(n))
    assert list(computed) == NAMES
    for name, value in zip(NAMES, printed, strict=True):
        assert computed[name] == pytest.approx(float(value), abs=6e-9), name


def test_constants_with_a_closed_form() -> None:
    assert d2(2) == pytest.approx(2 / math.sqrt(math.pi), abs=1e-12)
    assert d3(2) == pytest.approx(math.sqrt(2 - 4 / math.pi), abs=1e-12)
    assert d2(3) == pytest.approx(3 / math.sqrt(math.pi), abs=1e-12)
    assert c4(2) == pytest.approx(math.sqrt(2 / math.pi), abs=1e-12)


@pytest.mark.parametrize("line", APPENDIX_VI.strip().splitlines(), ids=lambda line: line.split()[0])
def test_constants_of_appendix_vi(line: str) -> None:
    n, *printed = line.split()
    computed = constants(int(n))
    for name, text in zip(PRINTED, printed, strict=True):
        digits = len(text.partition(".")[2])
        # the book's D1 to D4 are made of its rounded d2 and d3, and its d3(19) = 0.734 is 0.7335
        off = 0.002 if name in ("D1", "D2", "D3", "D4") or (name, n) == ("d3", "19") else 0.0
        assert float(text) == pytest.approx(round(computed[name], digits), abs=off + 1e-9), name


def test_means_of_extremes_with_a_closed_form() -> None:
    """d2(n) is twice the mean of the largest of n: David and Nagaraja, Order Statistics, 3rd ed., §3.2."""
    third = math.asin(1 / 3)
    assert d2(4) == pytest.approx(6 / math.sqrt(math.pi) * (1 / 2 + third / math.pi), abs=1e-12)
    assert d2(5) == pytest.approx(5 / math.sqrt(math.pi) * (1 / 2 + 3 * third / math.pi), abs=1e-12)


@pytest.mark.parametrize("n", [2, 7, 16, 25])
def test_d2_by_another_integral(n: int) -> None:
    """E[R] = ∫ 1 − Φⁿ − (1 − Φ)ⁿ dx (Tippett 1925), by adaptive quadrature."""
    found = 2.0 * quad(lambda x: 1.0 - ndtr(x) ** n - ndtr(-x) ** n, 0.0, 12.0, epsabs=1e-13, epsrel=1e-13)[0]
    assert d2(n) == pytest.approx(found, abs=2e-12)


@pytest.mark.parametrize("n", [2, 9, 25, 101, 399, 400, 1_000, 100_000])
def test_c4_of_any_number_of_rows(n: int) -> None:
    """Pooled estimates divide by c4 of many degrees of freedom; Γ(x + ½)/Γ(x) by scipy."""
    assert c4(n) == pytest.approx(math.sqrt(2 / (n - 1)) * poch((n - 1) / 2, 0.5), abs=5e-12)


def test_deviation_constants_by_size() -> None:
    table = deviation_constants()
    assert table.shape == (SUBGROUP_SIZE_MAX + 1, 2)
    assert not table.flags.writeable
    assert np.isnan(table[:2]).all()
    assert table[5].tolist() == [c4(5), math.sqrt(1 - c4(5) ** 2)]
    assert table[5].sum() + 2 * table[5, 1] == pytest.approx(constants(5)["B6"])


def test_constants_agree_with_simulated_ranges() -> None:
    ranges = np.ptp(np.random.default_rng(3).normal(size=(20_000, 17)), axis=1)
    assert ranges.mean() == pytest.approx(d2(17), abs=0.02)  # 4 standard errors of 0.005
    assert ranges.std() == pytest.approx(d3(17), abs=0.015)


@pytest.mark.parametrize("n", [0, 1, SUBGROUP_SIZE_MAX + 1])
def test_other_sizes_are_refused(n: int) -> None:
    for constant in (d2, d3, constants, *([c4] if n < 2 else [])):
        with pytest.raises(ValueError, match=f"subgroup size {n}"):
            constant(n)


def test_range_constants_by_size() -> None:
    exact, rounded = range_constants(), range_constants(3)
    assert exact.shape == (SUBGROUP_SIZE_MAX + 1, 2)
    assert not exact.flags.writeable
    assert np.isnan(exact[:2]).all()
    assert exact[5].tolist() == [d2(5), d3(5)]
    assert rounded[5].tolist() == [2.326, 0.8640855]
    np.testing.assert_allclose(rounded[2:, 1], exact[2:, 1], atol=2e-5)
