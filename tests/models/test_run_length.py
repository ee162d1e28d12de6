"""Average run lengths by simulation, against the exact figures.

Exact: Champ and Woodall, Technometrics 29 (1987) 393, table 1, and Markov chains for Nelson's rules 1, 2, 5 and 6; integral
equations for CUSUM (k = 0.5, h = 5) and EWMA (weight 0.2, width 2.962). Known parameters, independent normal values. The
tolerance is four standard errors of the simulated mean, with a fixed seed: 2 to 3 % of it.
"""

import numpy as np
import pytest

from models.cusum import Cusum
from models.detector import Detector, new_params, new_state, series_batch
from models.ewma import Ewma
from models.individuals import IndividualsChart

RUNS = 16_000
CHUNK_ROWS = 40  # of each run, in one batch


def run_lengths(detector: Detector, shift: float, rules: int) -> np.ndarray:
    """Return the row of the first signal (of the rules in these bits) of RUNS runs: (RUNS,) int64."""
    random = np.random.default_rng(1987)
    state, params = new_state(detector, RUNS), new_params(RUNS, mu=0.0, sigma=1.0)
    first = np.zeros(RUNS, np.int64)
    done = 0
    while (first == 0).any():
        running = np.flatnonzero(first == 0)
        series = np.tile(running, CHUNK_ROWS)
        batch = series_batch(random.normal(shift, 1.0, len(series)), series=series, params=params)
        fired = detector.update(state, batch).signal.reshape(CHUNK_ROWS, len(running)) & np.uint32(rules)
        hit = (fired != 0).any(axis=0)
        first[running[hit]] = done + (fired != 0).argmax(axis=0)[hit] + 1
        done += CHUNK_ROWS
    return first


@pytest.mark.compiled_only
@pytest.mark.parametrize(
    ("detector", "rules", "shift", "exact"),
    [
        (IndividualsChart(nelson=(1,)), 0b1, 0.0, 370.3983),
        (IndividualsChart(nelson=(1,)), 0b1, 1.0, 43.8947),
        (IndividualsChart(nelson=(1, 2, 5, 6)), 0b1111, 0.0, 109.0493),
        (IndividualsChart(nelson=(1, 2, 5, 6)), 0b1111, 0.4, 41.6211),
        (IndividualsChart(nelson=(1, 2, 5, 6)), 0b1111, 1.0, 9.6984),
        (Cusum(), 0b11, 0.5, 37.99614),
        (Cusum(), 0b11, 1.0, 10.37597),
        (Ewma(steady=True), 0b11, 0.5, 41.7644),
        (Ewma(), 0b11, 1.0, 9.55449),
    ],
)
def test_average_run_length(detector: Detector, rules: int, shift: float, exact: float) -> None:
    lengths = run_lengths(detector, shift, rules)
    assert lengths.mean() == pytest.approx(exact, abs=4 * lengths.std() / np.sqrt(RUNS))
