"""How many times the univariate set is faster than the same statistics in other ways, and whether a hot series costs more.

Everything that is compared runs in turns, so that a busy machine slows all of it: a turn is a few batches of each contender,
of which the first, which finds the caches full of another's data, does not count. A ratio is the median over turns of the
ratio of medians within a turn. Freed memory stays with the process: else those who use many arrays, numpy above all, pay for
fresh pages at every batch, and the ratios say more of the allocator than of the arithmetic.
"""

from __future__ import annotations

import ctypes
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from models.capability import Capability
from models.cusum import Cusum
from models.detector import Detector, SeriesBatch, new_params, new_state, series_batch
from models.ewma import Ewma
from models.individuals import IndividualsChart
from models.univariate import UnivariateSet
from tests.bench.figures import Figure
from tests.bench.univariate_peers import NumpyRounds, PythonObjects

SERIES = 10_000
ROWS = 10_000  # a batch
BATCHES = 20  # different ones, used again and again
CHECKED_BATCHES = 60  # judged by all contenders and compared, before anything is timed
_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3  # names of glibc's malloc.h
HOT_PART = 0.05  # of the rows, all of one series
SEPARATE = (IndividualsChart(), Ewma(), Cusum(), Capability(within="moving_range", ppm=False))

Judge = Callable[[SeriesBatch], object]


class Contender(NamedTuple):
    """Something that judges batches, and how many of them in a turn."""

    judge: Judge
    batches: Sequence[SeriesBatch]
    a_turn: int


def keep_memory() -> None:
    """Tell glibc to keep freed memory, whatever its size; nothing where there is no glibc."""
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        for option in (_TRIM_THRESHOLD, _MMAP_THRESHOLD):
            mallopt(option, 1 << 30)


def params_of(series: int) -> np.ndarray:
    """Return what is given for each series: another mean and sigma, and specification limits 5 sigma away."""
    random = np.random.default_rng(4)
    mu, sigma = random.normal(50.0, 10.0, series), random.uniform(0.5, 2.0, series)
    return new_params(series, mu=mu, sigma=sigma, lsl=mu - 5.0 * sigma, usl=mu + 5.0 * sigma)


def batch_of(
    random: np.random.Generator, params: np.ndarray, *, hot: bool = False, shift: float = 0.0, missing: float = 0.0
) -> SeriesBatch:
    """Return ROWS normal values of series drawn at random, in one series of ten shifted by `shift` sigmas."""
    s = random.integers(0, len(params), ROWS)
    if hot:
        s[random.random(ROWS) < HOT_PART] = 0
    value = random.normal(params["mu"][s], params["sigma"][s]) + shift * params["sigma"][s] * (s % 10 == 1)
    value[random.random(ROWS) < missing] = np.nan
    return series_batch(value, series=s, params=params)


def detector_judge(detector: Detector, series: int) -> Judge:
    """Return what judges batches by this detector, with a state of its own."""
    state = new_state(detector, series)
    return lambda batch: detector.update(state, batch)


def in_turns(contenders: Mapping[str, Contender], turns: int) -> dict[str, list[float]]:
    """Return, for each contender, the median seconds of a batch in each turn."""
    spent: dict[str, list[float]] = {name: [] for name in contenders}
    for turn in range(turns):
        for name, (judge, batches, a_turn) in contenders.items():
            times = []
            for number in range(a_turn + 1):
                batch = batches[(turn * a_turn + number) % len(batches)]
                start = time.perf_counter()
                judge(batch)
                times.append(time.perf_counter() - start)
            spent[name].append(statistics.median(times[1:]))
    return spent


def ratio(spent: Mapping[str, Sequence[float]], name: str, to: str) -> float:
    """Return how many times the seconds of `to` the contender `name` takes: the median over turns."""
    return statistics.median(a / b for a, b in zip(spent[name], spent[to], strict=True))


def ns_a_row(times: Sequence[float]) -> float:
    """Return the median over turns in nanoseconds per row."""
    return 1e9 * statistics.median(times) / ROWS


def checked_contenders() -> dict[str, Contender]:
    """Return the set and its peers, after they have judged the same rows and given the same.

    Signals, x, MR, z, C+ and C− are compared bit for bit, Cp and Cpk to 1e-12; every rule must have fired. Raises
    AssertionError.
    """
    random, params = np.random.default_rng(1), params_of(SERIES)
    one = UnivariateSet()
    fused, objects, rounds = new_state(one, SERIES), PythonObjects(one, params), NumpyRounds(one, params)
    fired = 0
    for number in range(CHECKED_BATCHES):
        batch = batch_of(random, params, shift=2.0 if number > CHECKED_BATCHES * 2 // 3 else 0.0, missing=0.01)
        verdicts = one.update(fused, batch)
        numbers, signal = rounds.update(batch.row, batch.value)
        nothing = (np.nan,) * 7 + (0,)
        told = np.array([nothing if line is None else line for line in objects.update(batch.row, batch.value)])
        for found, signals in ((numbers.T, signal), (told[:, :7], told[:, 7])):
            np.testing.assert_array_equal(signals, verdicts.signal)
            np.testing.assert_array_equal(found[:, :5], verdicts.statistic[:, :5])
            np.testing.assert_allclose(found[:, 5:], verdicts.statistic[:, 5:], rtol=1e-12, atol=1e-12)
        fired |= int(np.bitwise_or.reduce(verdicts.signal))
    if fired != (1 << len(one.rules)) - 1:
        silent = [rule.name for bit, rule in enumerate(one.rules) if not fired >> bit & 1]
        raise AssertionError(f"the rows compared did not make these rules fire: {silent}")
    batches = [batch_of(random, params) for _ in range(BATCHES)]
    return {
        "fused": Contender(lambda batch: one.update(fused, batch), batches, 12),
        "python": Contender(lambda batch: objects.update(batch.row, batch.value), batches, 2),
        "numpy": Contender(lambda batch: rounds.update(batch.row, batch.value), batches, 6),
    }


def ratios(turns: int) -> tuple[list[Figure], dict[str, float]]:
    """Return the ratios that have goals and the one to separate detectors, and nanoseconds per row by contender."""
    contenders = checked_contenders()
    batches = contenders["fused"].batches
    judges = [detector_judge(detector, SERIES) for detector in SEPARATE]
    contenders["separate"] = Contender(lambda batch: [judge(batch) for judge in judges], batches, 6)
    spent = in_turns(contenders, turns)

    random, params = np.random.default_rng(2), params_of(SERIES)
    hot = [batch_of(random, params, hot=True) for _ in range(BATCHES)]
    judge = contenders["fused"].judge
    pair = {"uniform": Contender(judge, batches, 12), "hot": Contender(judge, hot, 12)}
    in_turns(pair, 2)
    spread = in_turns(pair, 8 * turns)
    found = [
        Figure("Python objects / fused", ratio(spent, "python", "fused"), 30.0),
        Figure("numpy by rounds / fused", ratio(spent, "numpy", "fused"), 4.0),
        Figure("hot series / uniform, fused", ratio(spread, "hot", "uniform"), 1.25, at_most=True),
        Figure("four separate detectors / fused", ratio(spent, "separate", "fused"), None),
    ]
    return found, {name: ns_a_row(times) for name, times in {**spent, **spread}.items()}
