"""Control-chart constants against the tables."""

import math

import numpy as np
import pytest

from models.limits import SUBGROUP_SIZE_MAX, c4, constants, d2, d3, range_constants

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


def test_the_largest_subgroup() -> None:
    assert (round(d2(25), 3), round(d3(25), 3), round(c4(25), 4)) == (3.931, 0.708, 0.9896)  # Montgomery, appendix VI


def test_constants_agree_with_simulated_ranges() -> None:
    ranges = np.ptp(np.random.default_rng(3).normal(size=(20_000, 17)), axis=1)
    assert ranges.mean() == pytest.approx(d2(17), abs=0.02)  # 4 standard errors of 0.005
    assert ranges.std() == pytest.approx(d3(17), abs=0.015)


@pytest.mark.parametrize("n", [0, 1, SUBGROUP_SIZE_MAX + 1])
def test_other_sizes_are_refused(n: int) -> None:
    for constant in (d2, d3, c4, constants):
        with pytest.raises(ValueError, match=f"subgroup size {n}"):
            constant(n)


def test_range_constants_by_size() -> None:
    exact, rounded = range_constants(), range_constants(3)
    assert exact.shape == (SUBGROUP_SIZE_MAX + 1, 2)
    assert not exact.flags.writeable
    assert np.isnan(exact[:2]).all()
    assert exact[5].tolist() == [d2(5), d3(5)]
    assert rounded[5].tolist() == [2.326, d3(5)]
