"""Rows per second of each detector, in one process: python tests/bench/detectors.py [rows per batch] [series].

Random rows over many series, the way a step hands them over; best of several batches, state kept between them.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence

import numpy as np

from models.builtin import FAMILIES, warm
from models.cusum import Cusum
from models.detector import Detector, SeriesBatch, new_params, new_state, series_batch
from models.ewma import Ewma

BATCHES = 60
PHASE_ONE_ROWS = 50


def rows_per_second(detector: Detector, batches: Sequence[SeriesBatch], series: int) -> float:
    """Return the best rate over the second half of the batches, when most series have left Phase I."""
    state = new_state(detector, series)
    best = 0.0
    for number, batch in enumerate(batches):
        start = time.perf_counter()
        detector.update(state, batch)
        spent = time.perf_counter() - start
        if number >= len(batches) // 2:
            best = max(best, len(batch) / spent)
    return best


def main(rows: int = 10_000, series: int = 1_000) -> None:
    """Measure and print a line per detector."""
    random = np.random.default_rng(1)
    params = new_params(series, lsl=45.0, usl=55.0)
    batches = []
    for _ in range(BATCHES):
        where = random.integers(0, series, rows)
        subgroup = np.full(rows, -1)
        batches.append(series_batch(random.normal(50.0, 1.0, rows), series=where, subgroup=subgroup, params=params))
    detectors = [detector for make in FAMILIES.values() for detector in make(PHASE_ONE_ROWS)] + [Cusum(), Ewma()]
    warm(detectors)
    sys.stdout.write(f"{rows} rows a batch, {series} series\n")
    for detector in detectors:
        sys.stdout.write(f"{detector.name:20} {rows_per_second(detector, batches, series):>14,.0f} rows/s\n")


if __name__ == "__main__":
    main(*(int(argument) for argument in sys.argv[1:]))
