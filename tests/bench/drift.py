"""False alarms per 10,000 rows and mean delays of every detector of drift: python tests/bench/drift.py [streams].

Independent normal values; the mean moves by 0.5 or 1 sigma after `BEFORE` rows. False alarms are all rows that signal in
streams without a shift, the detector starting anew after each as it does; a delay counts the rows from the shift to the first
signal, the row of the signal included, in streams that had none before. Seeds are fixed. A second table has the detectors of a
model's outcomes, at an error rate of 10 % that rises.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from scipy.stats import norm

from models.adwin import Adwin
from models.ddm import Ddm
from models.detector import Detector, new_params, new_state, series_batch
from models.drift import LearnedCusum
from models.hddm import HddmA, HddmW
from models.ks import KsDrift, Kswin
from models.mmd import MmdDrift, mmd_reference
from models.page_hinkley import PageHinkley
from models.psi import PsiDrift, bin_reference

BEFORE = 1_000  # rows before a shift
DELAY_MAX = 4_000  # rows; a stream without a signal until then counts as this
CHUNK_ROWS = 100  # of each stream, in one batch


class Stream:
    """The rows that a detector is given: normal values about a mean, or outcomes (0 and 1) at an error rate."""

    def __init__(self, detector: Detector, known: bool, streams: int, outcomes: bool, bits: Sequence[int]) -> None:
        self.detector = detector
        self.streams = streams
        self.outcomes = outcomes
        self.params = new_params(streams, mu=0.0, sigma=1.0) if known else new_params(streams)
        self.state = new_state(detector, streams)
        self.mask = np.uint32(sum(1 << bit for bit in bits) if bits else 0xFFFFFFFF)

    def run(self, rows: int, level: float, seed: int) -> np.ndarray:
        """Judge `rows` further rows of each stream; return which signal: (rows, streams) bool."""
        random = np.random.default_rng(seed)
        fired = np.zeros((rows, self.streams), np.bool_)
        for first in range(0, rows, CHUNK_ROWS):
            chunk = min(CHUNK_ROWS, rows - first)
            size = chunk * self.streams
            value = (
                (random.random(size) < level).astype(np.float64) if self.outcomes else random.normal(level, 1.0, size)
            )
            batch = series_batch(value, series=np.tile(np.arange(self.streams), chunk), params=self.params)
            signal = self.detector.update(self.state, batch).signal & self.mask
            fired[first : first + chunk] = (signal != 0).reshape(chunk, self.streams)
        return fired


def false_alarms(
    detector: Detector,
    *,
    known: bool,
    streams: int,
    rows: int,
    seed: int = 1954,
    rate: float | None = None,
    bits: Sequence[int] = (),
) -> tuple[float, float]:
    """Return false alarms per 10,000 rows of all streams, and the standard error over streams.

    With a `rate`, the rows are outcomes; only the rules `bits` count (all, if none is named).
    """
    stream = Stream(detector, known, streams, rate is not None, bits)
    fired = stream.run(rows, rate or 0.0, seed).sum(axis=0)
    return float(1e4 * fired.mean() / rows), float(1e4 * fired.std() / rows / np.sqrt(streams))


def delays(
    detector: Detector,
    level: float,
    *,
    known: bool,
    before: int,
    streams: int,
    seed: int = 2007,
    rate: float | None = None,
    bits: Sequence[int] = (),
) -> tuple[float, float]:
    """Return the mean delay in rows of a shift to `level` after `before` rows, and its standard error."""
    stream = Stream(detector, known, streams, rate is not None, bits)
    calm = ~stream.run(before, rate or 0.0, seed).any(axis=0)
    delay = np.full(streams, DELAY_MAX)
    waiting = calm.copy()
    for first in range(0, DELAY_MAX, CHUNK_ROWS):
        fired = stream.run(CHUNK_ROWS, level, seed + 1 + first)
        hit = waiting & fired.any(axis=0)
        delay[hit] = first + 1 + fired.argmax(axis=0)[hit]
        waiting &= ~hit
        if not waiting.any():
            break
    return float(delay[calm].mean()), float(delay[calm].std() / np.sqrt(calm.sum()))


class Case(NamedTuple):
    """A line of the first table."""

    what: str
    detector: Detector
    known: bool = False  # are mu and sigma given?
    before: int = BEFORE  # rows before a shift
    thin: int = 1  # run only every so many streams: slow ones


def cases() -> list[Case]:
    """Return the detectors of values, with what they are told."""
    normal = np.random.default_rng(1)
    learned = LearnedCusum(phase_one_rows=100)
    known_bins = bin_reference(norm.ppf(np.arange(1, 10) / 10), np.full(10, 0.1))
    return [
        Case("CUSUM, known reference, shift at once", LearnedCusum(), known=True, before=0),
        Case("CUSUM, known reference", LearnedCusum(), known=True),
        Case("CUSUM, learned from 100, shift at once", learned, before=100),
        Case("CUSUM, learned from 100, 100 rows later", learned, before=200),
        Case("CUSUM, learned from 100", learned),
        Case("CUSUM, learned from 50", LearnedCusum()),
        Case("ADWIN", Adwin()),
        Case("Page-Hinkley, sigma known", PageHinkley(), known=True),
        Case("Page-Hinkley, sigma learned", PageHinkley()),
        Case("KSWIN", Kswin(), thin=4),
        Case("KSWIN as in the paper (100, 30, 1, 0.005)", Kswin(100, 30, 1, 0.005), thin=10),
        Case("KS, reference of 200 rows", KsDrift(), thin=2),
        Case("PSI, reference of 500 rows", PsiDrift(), thin=2),
        Case("PSI, known shares", PsiDrift(reference=known_bins), thin=2),
        Case("MMD, one reference of 500 rows", MmdDrift(mmd_reference(normal.normal(size=500))), thin=20),
    ]


OUTCOMES: list[Detector] = [Ddm(), HddmA(), HddmW()]


def table_of_values(streams: int) -> None:
    """Print the detectors of values: false alarms, and delays of shifts by 0.5 and 1 sigma."""
    sys.stdout.write(f"{'':44}{'false alarms':>16}{'delay 0.5 sigma':>18}{'delay 1 sigma':>16}\n")
    for what, detector, known, before, thin in cases():
        few = max(10, streams // thin)
        figures = [false_alarms(detector, known=known, streams=few, rows=20_000)]
        figures += [delays(detector, shift, known=known, before=before, streams=2 * few) for shift in (0.5, 1.0)]
        columns = [f"{mean:.2f} ± {error:.2f}" for mean, error in figures]
        sys.stdout.write(f"{what:44}{columns[0]:>16}{columns[1]:>18}{columns[2]:>16}\n")
        sys.stdout.flush()


def table_of_outcomes(streams: int) -> None:
    """Print the detectors of outcomes: error rate 10 %, then 20 or 30 %."""
    sys.stdout.write(f"\n{'error rate 0.1':44}{'false alarms':>16}{'delay to 0.2':>18}{'delay to 0.3':>16}\n")
    for detector in OUTCOMES:
        drift = tuple(i for i, rule in enumerate(detector.rules) if rule.severity == "critical")
        figures = [false_alarms(detector, known=False, streams=streams, rows=20_000, rate=0.1, bits=drift)]
        for rate in (0.2, 0.3):
            to = delays(detector, rate, known=False, before=BEFORE, streams=2 * streams, rate=0.1, bits=drift)
            figures.append(to)
        columns = [f"{mean:.2f} ± {error:.2f}" for mean, error in figures]
        sys.stdout.write(f"{detector.name:44}{columns[0]:>16}{columns[1]:>18}{columns[2]:>16}\n")
        sys.stdout.flush()


def main(streams: int = 500) -> None:
    """Measure and print both tables."""
    table_of_values(streams)
    table_of_outcomes(streams)


if __name__ == "__main__":
    main(*(int(argument) for argument in sys.argv[1:]))
