"""False alarms per 10,000 rows and mean delays of every detector of drift: python tests/bench/drift.py [streams].

Independent normal values; the mean moves by 0.5 or 1 sigma after `BEFORE` rows. False alarms are all rows that signal in
streams without a shift, the detector starting anew after each as it does; a delay counts the rows from the shift to the first
signal, the row of the signal included, in streams that had none before. Seeds are fixed.
"""

from __future__ import annotations

import sys

import numpy as np

from models.detector import Detector, new_params, new_state, series_batch
from models.drift import LearnedCusum

BEFORE = 1_000  # rows before a shift
DELAY_MAX = 4_000  # rows; a stream without a signal until then counts as this
CHUNK_ROWS = 100  # of each stream, in one batch


def _run(
    detector: Detector, known: bool, streams: int, rows: int, mean: float, state: dict[str, np.ndarray], seed: int
) -> np.ndarray:
    """Judge `rows` further rows of each stream; return which signal: (rows, streams) bool."""
    random = np.random.default_rng(seed)
    params = new_params(streams, mu=0.0, sigma=1.0) if known else new_params(streams)
    fired = np.zeros((rows, streams), np.bool_)
    for first in range(0, rows, CHUNK_ROWS):
        chunk = min(CHUNK_ROWS, rows - first)
        value = random.normal(mean, 1.0, chunk * streams)
        batch = series_batch(value, series=np.tile(np.arange(streams), chunk), params=params)
        fired[first : first + chunk] = (detector.update(state, batch).signal != 0).reshape(chunk, streams)
    return fired


def false_alarms(detector: Detector, *, known: bool, streams: int, rows: int, seed: int = 1954) -> tuple[float, float]:
    """Return false alarms per 10,000 rows of all streams, and the standard error over streams."""
    fired = _run(detector, known, streams, rows, 0.0, new_state(detector, streams), seed).sum(axis=0)
    return float(1e4 * fired.mean() / rows), float(1e4 * fired.std() / rows / np.sqrt(streams))


def delays(
    detector: Detector, shift: float, *, known: bool, before: int, streams: int, seed: int = 2007
) -> tuple[float, float]:
    """Return the mean delay in rows of a shift (in sigmas) after `before` rows, and its standard error."""
    state = new_state(detector, streams)
    calm = ~_run(detector, known, streams, before, 0.0, state, seed).any(axis=0)
    delay = np.full(streams, DELAY_MAX)
    waiting = calm.copy()
    for first in range(0, DELAY_MAX, CHUNK_ROWS):
        fired = _run(detector, known, streams, CHUNK_ROWS, shift, state, seed + 1 + first)
        hit = waiting & fired.any(axis=0)
        delay[hit] = first + 1 + fired.argmax(axis=0)[hit]
        waiting &= ~hit
        if not waiting.any():
            break
    return float(delay[calm].mean()), float(delay[calm].std() / np.sqrt(calm.sum()))


CASES: list[tuple[str, Detector, bool, int]] = [
    ("CUSUM, known reference, shift at row 0", LearnedCusum(), True, 0),
    ("CUSUM, known reference", LearnedCusum(), True, BEFORE),
    ("CUSUM, learned from 100, shift at once", LearnedCusum(phase_one_rows=100), False, 100),
    ("CUSUM, learned from 100, 100 rows later", LearnedCusum(phase_one_rows=100), False, 200),
    ("CUSUM, learned from 100", LearnedCusum(phase_one_rows=100), False, BEFORE),
    ("CUSUM, learned from 50", LearnedCusum(phase_one_rows=50), False, BEFORE),
]
"""What it is, the detector, whether mu and sigma are given, and the rows before a shift."""


def main(streams: int = 500) -> None:
    """Measure and print a line per case."""
    sys.stdout.write(f"{'':42}{'false alarms':>16}{'delay 0.5 sigma':>18}{'delay 1 sigma':>16}\n")
    for what, detector, known, before in CASES:
        figures = [false_alarms(detector, known=known, streams=streams, rows=20_000)]
        figures += [delays(detector, shift, known=known, before=before, streams=2 * streams) for shift in (0.5, 1.0)]
        columns = [f"{mean:.2f} ± {error:.2f}" for mean, error in figures]
        sys.stdout.write(f"{what:42}{columns[0]:>16}{columns[1]:>18}{columns[2]:>16}\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main(*(int(argument) for argument in sys.argv[1:]))
