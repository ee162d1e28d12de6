"""NIST StRD, univariate summary statistics: certified digits of mean, standard deviation and lag-1 autocorrelation.

Streamed through the detector in random batches, and merged across shards in any order.
Source: NIST Statistical Reference Datasets, https://www.itl.nist.gov/div898/strd/univ/homepage.html.
"""

import math
from pathlib import Path

import numpy as np
import pytest

from models import judge
from models.capability import Capability
from models.detector import new_params, new_state, series_batch
from models.moments import Moments

DATA = Path(__file__).parent / "data"
ALTERNATING = np.arange(1, 1001) % 2


def listed(name: str) -> np.ndarray:
    return np.loadtxt(DATA / name)


def made(centre: float) -> np.ndarray:
    """NumAcc2 to 4: a centre, then 1000 values that alternate 0.1 below and above, as the decimals they are printed with."""
    around = [float(f"{int(centre) + 0.1:.1f}"), float(f"{int(centre) + 0.3:.1f}")]
    return np.array([centre, *(around * 500)])


SETS = {  # values, certified mean, standard deviation, lag-1 autocorrelation, correct digits of the deviation at least
    "Lew": (listed("lew.txt"), -177.435, 277.332168044316, -0.307304800605679, 14),
    "Michelso": (listed("michelso.txt"), 299.8524, 0.0790105478190518, 0.535199668621283, 13),
    "NumAcc1": (np.array([10000001.0, 10000003.0, 10000002.0]), 10000002.0, 1.0, -0.5, 15),
    "NumAcc2": (made(1.2), 1.2, 0.1, -0.999, 14),
    "NumAcc3": (made(1000000.2), 1000000.2, 0.1, -0.999, 9),  # that is what the doubles have: 1000000.1 is off by 2e-11
    "NumAcc4": (made(10000000.2), 10000000.2, 0.1, -0.999, 8),
}


def correct_digits(x: float, certified: float) -> float:
    """Return the log relative error, at most 15."""
    return 15.0 if x == certified else min(15.0, -math.log10(abs(x - certified) / abs(certified)))


@pytest.mark.parametrize("name", SETS)
def test_digits_in_random_batches_and_from_shards_in_any_order(name: str) -> None:
    values, mean, deviation, _, digits = SETS[name]
    random = np.random.default_rng(3)
    whole = Moments.of(values)
    assert correct_digits(whole.mean, mean) >= 14
    assert correct_digits(whole.deviation, deviation) >= digits
    for _ in range(5):
        in_batches = Moments()
        for part in np.split(values, np.sort(random.integers(0, len(values), 4))):
            in_batches = in_batches.added(part)
        shards = [Moments.of(values[i::4]) for i in random.permutation(4)]
        merged = shards[0].merged(shards[1]).merged(shards[2].merged(shards[3]))
        assert in_batches == merged == whole


@pytest.mark.parametrize("name", SETS)
def test_digits_of_the_detector(name: str) -> None:
    values, mean, deviation, _, digits = SETS[name]
    detector = Capability(min_rows=2)
    lsl, usl = mean - 6.0, mean + 6.0
    pp = judge(detector, values, lsl=lsl, usl=usl).statistic[-1, 2]
    assert correct_digits((usl - lsl) / (6.0 * pp), deviation) >= digits
    params = new_params(1, lsl=lsl, usl=usl)
    states = []
    for shard in np.array_split(np.random.default_rng(4).permutation(values), 3):
        state = new_state(detector, 1)
        for part in np.array_split(shard, 4):
            detector.update(state, series_batch(part, params=params))
        states.append(state)
    for order in ([0, 1, 2], [2, 0, 1]):
        whole = detector.merged(*(states[i] for i in order))
        assert detector.statistics_of(whole, params)[0, 2] == pp, "the same bits"


@pytest.mark.parametrize("name", SETS)
def test_the_data_are_those_that_were_certified(name: str) -> None:
    values, mean, _, autocorrelation, _ = SETS[name]
    off = values - mean
    assert (
        correct_digits(float((off[1:] * off[:-1]).sum() / (off * off).sum()), autocorrelation)
        >= min(SETS[name][4], 12) - 0.5
    )
