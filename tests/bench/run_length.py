"""Average run lengths by simulation through the engine, against the exact ones: python tests/bench/run_length.py [runs].

A run is a series whose mean and sigma were given (mu 0, sigma 1) by a change, as people give them. Its rows go through
`FamilyFold.step`, and it ends with the first alert that the engine opens; then the series gets no more rows. Prints, for
every case, the mean, its standard error, the exact value (the anchors of tests/models/test_arl.py) and z, the distance in
standard errors. Exit code 1 if any |z| is above 4.
"""

from __future__ import annotations

import sys
import time
from typing import NamedTuple

import numpy as np

from actors.engine.family import FamilyFold, Work
from actors.engine.params import ParamsChange
from models.cusum import Cusum
from models.detector import Detector
from models.ewma import Ewma
from models.individuals import IndividualsChart
from schemas.batch import MicroBatch
from schemas.texts import Texts

RUNS = 100_000
SERIES_MAX = 10_000  # runs side by side in one partition
BATCH_ROWS = 200_000
Z_MAX = 4.0
NEVER = 2**31 - 1  # clean rows until an alert closes: those of moving ranges would open again and again
NOT_OURS = frozenset({"mr_beyond_limit"})  # an individuals chart judges moving ranges too; the published ARLs are of x


class Case(NamedTuple):
    """A chart, a shift of the mean in sigmas, and its exact ARL."""

    name: str
    detector: Detector
    shift: float
    exact: float


CASES = (
    Case("Shewhart, rule 1", IndividualsChart(nelson=(1,)), 0.0, 370.3983),
    Case("Western Electric 1-4", IndividualsChart(nelson=(), western_electric=(1, 2, 3, 4)), 0.0, 91.7508),
    Case("Nelson 1, 2, 5, 6", IndividualsChart(nelson=(1, 2, 5, 6)), 0.0, 109.0493),
    Case("CUSUM 0.5, 5", Cusum(k=0.5, h=5.0), 0.0, 465.44351),
    Case("CUSUM 0.5, 5", Cusum(k=0.5, h=5.0), 0.5, 37.99614),
    Case("CUSUM 0.5, 5", Cusum(k=0.5, h=5.0), 1.0, 10.37597),
    Case("CUSUM 0.5, 5", Cusum(k=0.5, h=5.0), 2.0, 4.00887),
    Case("EWMA 0.2, 2.962", Ewma(weight=0.2, width=2.962, steady=True), 0.0, 499.73512),
    Case("EWMA 0.2, 2.962", Ewma(weight=0.2, width=2.962, steady=True), 0.5, 41.76440),
    Case("EWMA 0.2, 2.962", Ewma(weight=0.2, width=2.962, steady=True), 1.0, 10.54167),
    Case("EWMA 0.2, 2.962", Ewma(weight=0.2, width=2.962, steady=True), 2.0, 3.74344),
)


def run_lengths(case: Case, runs: int, seed: int) -> np.ndarray:
    """Return how many rows each run took to its first alert: (runs,) int64."""
    random = np.random.default_rng([seed, runs])
    family = FamilyFold("bench", "spc", [case.detector], clean_rows=NEVER)
    lengths = [
        _partition(family, partition, case, min(SERIES_MAX, runs - first), random)
        for partition, first in enumerate(range(0, runs, SERIES_MAX))
    ]
    return np.concatenate(lengths)


def _partition(family: FamilyFold, partition: int, case: Case, runs: int, random: np.random.Generator) -> np.ndarray:
    keys = tuple(f"run {i}" for i in range(runs))
    given = (0.0, 1.0, np.nan, np.nan, np.nan)
    changes = tuple(ParamsChange(code, "limits_version", given) for code in range(runs))
    family.open("bench", partition, (), ())
    code_of = {key: code for code, key in enumerate(keys)}
    length = np.zeros(runs, np.int64)
    running = np.arange(runs)
    done, offset, seq = 0, 0, 0
    longest = max(2, round(case.exact / 4))  # rows of a run in one batch: few are for runs that have ended
    while len(running):
        rows = min(longest, max(1, BATCH_ROWS // len(running)))
        n, seq = rows * len(running), seq + 1
        values = random.normal(case.shift, 1.0, n)
        batch = _batch(partition, offset, np.tile(running, rows), values)
        new, first = (keys, changes) if seq == 1 else ((), ())
        output = family.step(Work(partition, seq, offset, batch, new, emit=True, changes=first))
        if output.failures:
            raise RuntimeError(output.failures[0].detail)
        for events in output.alerts:
            changes = events.changes
            counts = ~np.isin([rule.name for rule in events.rules], list(NOT_OURS))[changes.rule] & changes.opened
            for series, at in zip(np.array(events.series)[counts], changes.at[counts].tolist(), strict=True):
                if length[code_of[series]] == 0:
                    length[code_of[series]] = done + at // len(running) + 1
        done, offset = done + rows, offset + n
        running = np.flatnonzero(length == 0)
    return length


def _batch(partition: int, first: int, series: np.ndarray, value: np.ndarray) -> MicroBatch:
    n = len(value)
    offset = np.arange(first, first + n)
    blank = np.full(n, np.nan)
    text = Texts(np.zeros(n, np.int32), [""])
    return MicroBatch(
        topic="bench", partition=partition, offset=offset, next_offset=first + n, event_time_ms=offset, published_ms=offset,
        series=series.astype(np.int32), value=value, subgroup=np.full(n, -1),
        columns=dict.fromkeys(("lsl", "usl", "target"), blank) | dict.fromkeys(("lot", "wafer"), text),
    )  # fmt: skip


def z_of(lengths: np.ndarray, exact: float) -> tuple[float, float, float]:
    """Return the mean, its standard error, and how many of these it is away from the exact value."""
    mean, error = float(lengths.mean()), float(lengths.std(ddof=1) / np.sqrt(len(lengths)))
    return mean, error, (mean - exact) / error


def main(runs: int = RUNS) -> int:
    """Run every case, print a line for each; return the exit code."""
    sys.stdout.write(
        f"{'chart':22} {'shift':>5} {'runs':>8} {'mean':>9} {'std.err':>8} {'exact':>9} {'z':>6} {'s':>5}\n"
    )
    worst = 0.0
    for number, case in enumerate(CASES):
        start = time.perf_counter()
        mean, error, z = z_of(run_lengths(case, runs, seed=number), case.exact)
        spent = time.perf_counter() - start
        worst = max(worst, abs(z))
        sys.stdout.write(
            f"{case.name:22} {case.shift:5g} {runs:8d} {mean:9.4f} {error:8.4f} {case.exact:9.4f} {z:6.2f} {spent:5.1f}\n"
        )
        sys.stdout.flush()
    return int(worst > Z_MAX)


if __name__ == "__main__":
    sys.exit(main(*(int(argument) for argument in sys.argv[1:])))
