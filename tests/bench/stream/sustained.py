"""Sustained records per second, the lag flat: each system in turn, several rounds, on one broker on the same cores.

    .venv/bin/python -m tests.bench.stream.sustained --run owner --run streams --rounds 3

A producer beside it writes as fast as records are consumed, so that the lag stays where it is; a record is consumed when its
offset is committed. Printed: the medians of the rounds, the processor time that the system's own processes take for a record, and
how many times as fast as each other system the first one is.
"""

from __future__ import annotations

import statistics
import sys
import time
from typing import Any

from tests.bench.figures import Figure
from tests.bench.stream.feeding import Feeding
from tests.bench.stream.rounds import Results, arguments, in_rounds, medians, of_systems
from tests.bench.stream.systems import SYSTEMS, System

COMPARED = ["owner", *(name for name in SYSTEMS if name not in {"bare", "owner"})]
GOALS = {"streams": 1.0, "streams-rocksdb": 1.0, "by-hand": 5.0, "quix": 5.0, "bytewax": 5.0}  # times as fast
PART_OF_RAW = 0.25
LAG_GROWS_MAX, MEMORY_GROWS_MAX = 1.2, 1.05
LAG = 60_000
WARM_S = 15.0
IDLE_S = 90.0  # in which nothing is consumed: it does not run


def measure(
    system: System, series: int, window_s: float, *, warm_records: int = 1, warm_s: float = WARM_S
) -> dict[str, Any]:
    """Return what a system does over a window, after it has warmed up: for a while, and with so many records."""
    with system.running(), Feeding(system, series, lag=LAG) as feeding:
        began = time.monotonic()
        told = feeding.told()
        while told["consumed"] < warm_records or time.monotonic() - began < warm_s:
            told = feeding.told()
            if told["consumed"] == 0 and time.monotonic() - began > IDLE_S:
                raise RuntimeError(f"{system.name} consumes nothing")
        first, before = told, system.spent()
        lags = []
        while told["at"] - first["at"] < window_s:
            told = feeding.told()
            lags.append(told["written"] - told["consumed"])
        after = system.spent()
    seconds, consumed = told["at"] - first["at"], told["consumed"] - first["consumed"]
    return {
        "events_per_s": consumed / seconds,
        "us_per_event": (after.processor_s - before.processor_s) / consumed * 1e6,
        "mib_first": before.uss / 2**20,
        "mib_last": after.uss / 2**20,
        "lag_first": lags[0],
        "lag_last": lags[-1],
        "lag_max": max(lags),
    }


def figures(found: Results) -> list[Figure]:
    """Return what the first system does, and how many times as fast as each other one it is."""
    rates, costs = medians(found, "events_per_s"), medians(found, "us_per_event")
    first = next(iter(rates))
    made = [Figure(f"sustained, {SYSTEMS[first].name}", rates[first], 10_000.0, unit="/s")]
    for name in list(rates)[1:]:
        if name == "raw":
            goal = PART_OF_RAW
            made.append(Figure(f"per core, {SYSTEMS[first].name} / raw consume()", costs[name] / costs[first], goal))
        else:
            made.append(Figure(f"sustained / {SYSTEMS[name].name}", rates[first] / rates[name], GOALS.get(name)))
    lags = [each["lag_last"] / each["lag_first"] for each in found[first]]
    grown = [each["mib_last"] / each["mib_first"] for each in found[first]]
    made.append(Figure("lag, end / begin of the window", statistics.median(lags), LAG_GROWS_MAX, at_most=True))
    made.append(Figure("memory, end / begin of the window", statistics.median(grown), MEMORY_GROWS_MAX, at_most=True))
    return made


def main() -> None:
    """Measure and print."""
    asked = arguments("Sustained records per second, the lag flat.", 60.0, list(SYSTEMS), COMPARED).parse_args()
    names = asked.run or COMPARED
    runs = of_systems(names, asked.partitions, lambda system: measure(system, asked.series, asked.window))
    found = in_rounds(runs, asked.rounds, asked.out)
    rates, costs = medians(found, "events_per_s"), medians(found, "us_per_event")
    for name, rate in rates.items():
        said = f"{rate:>10,.0f} /s {costs[name]:>8.2f} us an event"
        sys.stdout.write(f"{SYSTEMS[name].name:<26}{said}  {SYSTEMS[name].does}\n")
    for figure in figures(found):
        sys.stdout.write(f"{figure}\n")


if __name__ == "__main__":
    main()
