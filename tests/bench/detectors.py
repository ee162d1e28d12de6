"""What judging costs: make bench-models, or python -m tests.bench.detectors [--turns N] [--output json].

First the univariate set: I–MR with eight run rules, EWMA, CUSUM, Cp and Cpk in one pass, against Python objects, against numpy,
and with a hot series (see `tests/bench/univariate_ratios.py`). Then every detector of the conformance suite in its first
configuration, after Phase I, on plain rows of many series: nanoseconds per row, how many times the individuals chart, and
bytes per series, of its state and of the book of open alerts that the engine keeps beside it.

Exit code 1 if a goal is missed. Goals are ratios of what ran in turns; nanoseconds are those of this machine and moment.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import time
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from actors.engine.alerts import alert_columns
from models.builtin import warm
from models.detector import Column, Detector, SeriesBatch, dimension, new_params, new_state, series_batch
from models.individuals import IndividualsChart
from tests.bench import figures
from tests.bench.figures import Figure
from tests.bench.univariate_ratios import keep_memory, ratios
from tests.models.catalogue import DETECTORS

TURNS = 12
SERIES = 1_000
ROWS = 10_000  # a batch
BATCHES = 5
ROWS_SLOW = 1_000  # a batch of a detector of which one of ROWS takes longer than SLOW_S
SLOW_S = 0.05
LEARNING_ROWS = 600  # of each series, before anything is timed: past every Phase I and window
LEARNING_S_MAX = 3.0
MEASURED_S_MAX = 0.6
COUNTS = ("spc.p", "spc.np", "spc.c", "spc.u")
OUTCOMES = ("drift.ddm", "drift.hddm_a", "drift.hddm_w")


class Cost(NamedTuple):
    """What one detector costs."""

    name: str
    ns_a_row: float
    individuals: float  # times the individuals chart
    judged: float  # part of the timed rows that was judged
    state_bytes: int  # of a series
    alert_bytes: int  # of a series


def values(detector: Detector, rows: int, random: np.random.Generator) -> np.ndarray:
    """Return rows of what the detector judges: counts, outcomes, vectors, or normal values."""
    if detector.name in COUNTS:
        return random.binomial(50, 0.1, rows).astype(np.float64)
    if detector.name in OUTCOMES:
        return (random.random(rows) < 0.1).astype(np.float64)
    p = dimension(detector)
    return random.normal(10.0, 1.0, rows if p is None else (rows, p))


def batches_of(detector: Detector, params: np.ndarray, rows: int) -> list[SeriesBatch]:
    """Return different batches of rows of series drawn at random."""
    random = np.random.default_rng(8)
    where = (random.integers(0, len(params), rows) for _ in range(BATCHES))
    return [series_batch(values(detector, rows, random), series=s, params=params) for s in where]


def bytes_of(columns: Mapping[str, Column]) -> int:
    """Return the bytes of one series."""
    return sum(np.dtype(column.dtype).itemsize * int(np.prod(column.shape)) for column in columns.values())


class _Timed:
    """A detector past its Phase I, and batches for it."""

    def __init__(self, detector: Detector) -> None:
        self.detector = detector
        params = new_params(SERIES, lsl=5.0, usl=15.0, target=10.0)
        warm([detector])
        self.state = new_state(detector, SERIES)
        self.batches = batches_of(detector, params, ROWS)
        started = time.perf_counter()
        for number in range(LEARNING_ROWS * SERIES // ROWS):
            self.update(number)
            if number == 0 and time.perf_counter() - started > SLOW_S:
                self.batches = batches_of(detector, params[:10], ROWS_SLOW)  # few series, which soon have learned
            if time.perf_counter() - started > LEARNING_S_MAX:
                break
        self.judged = 0.0

    def update(self, number: int) -> float:
        """Judge a batch; return its seconds per row."""
        batch = self.batches[number % BATCHES]
        start = time.perf_counter()
        verdicts = self.detector.update(self.state, batch)
        spent = time.perf_counter() - start
        self.judged = float(verdicts.valid.mean())
        return spent / len(batch)


def cost(detector: Detector, beside: _Timed) -> Cost:
    """Measure a detector, in turns with the chart `beside`."""
    timed = _Timed(detector)
    own: list[float] = []
    times: list[float] = []
    started = time.perf_counter()
    while len(own) < 5 or (len(own) < 60 and time.perf_counter() - started < MEASURED_S_MAX):
        turn = len(own)
        other = statistics.median([beside.update(3 * turn + i) for i in range(4)][1:])
        mine = statistics.median([timed.update(3 * turn + i) for i in range(4)][1:])
        own.append(mine)
        times.append(mine / other)
    return Cost(
        detector.name,
        1e9 * statistics.median(own),
        statistics.median(times),
        timed.judged,
        bytes_of(detector.state),
        bytes_of(alert_columns(len(detector.rules))),
    )


def costs() -> list[Cost]:
    """Measure the first configuration of every name in the conformance suite."""
    first: dict[str, Detector] = {}
    for detector in DETECTORS:
        first.setdefault(detector.name, detector)
    beside = _Timed(IndividualsChart())
    return [cost(detector, beside) for _, detector in sorted(first.items())]


def text(found: Sequence[Figure], ns: Mapping[str, float], table: Sequence[Cost]) -> str:
    """Return the report for people."""
    lines = [
        "The univariate set: 10,000 series, 10,000 rows a batch, statistics and signals compared before timing",
        "",
    ]
    lines += [str(each) for each in found]
    lines += ["", "  ns per row: " + ", ".join(f"{name} {number:,.0f}" for name, number in ns.items())]
    lines += ["", f"Every detector: {SERIES:,} series, after Phase I; bytes of a series", ""]
    lines.append(f"  {'':28}{'ns/row':>10}{'× I–MR':>9}{'judged':>9}{'state':>9}{'alerts':>9}")
    for name, ns_a_row, times, judged, state, alerts in table:
        lines.append(f"  {name:28}{ns_a_row:10,.0f}{times:9.2f}{judged:9.0%}{state:9,}{alerts:9,}")
    return "\n".join(lines) + "\n"


def document(found: Sequence[Figure], ns: Mapping[str, float], table: Sequence[Cost]) -> dict[str, Any]:
    """Return the report for programs."""
    return {
        "ratios": figures.document(found),
        "ns_a_row": dict(ns),
        "detectors": [each._asdict() for each in table],
    }


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, print, and return the exit code."""
    parser = argparse.ArgumentParser(description="What judging costs: ratios with goals, and a table of all detectors.")
    parser.add_argument("--turns", type=int, default=TURNS, help="more of them: steadier ratios on a busy machine")
    parser.add_argument("--output", choices=("text", "json"), default="text")
    given = parser.parse_args(arguments)
    keep_memory()
    found, ns = ratios(given.turns)
    table = costs()
    if given.output == "json":
        sys.stdout.write(json.dumps(document(found, ns, table), indent=2) + "\n")
    else:
        sys.stdout.write(text(found, ns, table))
    return 0 if all(each.met for each in found) else 1


if __name__ == "__main__":
    sys.exit(main())
