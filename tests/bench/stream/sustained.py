"""Sustained records per second, the lag flat: each system in turn, several rounds, on one broker on the same cores.

    .venv/bin/python -m tests.bench.stream.sustained --system owner --system streams --rounds 3

A producer beside it writes as fast as records are consumed, so that the lag stays where it is; a record is consumed when its
offset is committed. Printed: the median of the rounds, and how many times as fast the first system is.
"""

from __future__ import annotations

import statistics
import sys
import time
from typing import Any

from tests.bench.stream.feeding import Feeding
from tests.bench.stream.rounds import arguments, compare
from tests.bench.stream.systems import SYSTEMS, System

COMPARED = [name for name in SYSTEMS if name != "bare"]
LAG = 60_000
WARM_S = 15.0
IDLE_S = 90.0  # in which nothing is consumed: it does not run


def measure(system: System, series: int, window_s: float) -> dict[str, Any]:
    """Return what a system does over a window, after it has warmed up."""
    with system.running(), Feeding(system, series, lag=LAG) as feeding:
        began = time.monotonic()
        told = feeding.told()
        while told["consumed"] == 0 or time.monotonic() - began < WARM_S:
            told = feeding.told()
            if told["consumed"] == 0 and time.monotonic() - began > IDLE_S:
                raise RuntimeError(f"{system.name} consumes nothing")
        first = told
        lags = []
        while told["at"] - first["at"] < window_s:
            told = feeding.told()
            lags.append(told["written"] - told["consumed"])
    seconds = told["at"] - first["at"]
    return {
        "events_per_s": (told["consumed"] - first["consumed"]) / seconds,
        "lag_first": lags[0],
        "lag_last": lags[-1],
        "lag_max": max(lags),
    }


def main() -> None:
    """Measure and print."""
    asked = arguments("Sustained records per second, the lag flat.", 60.0, COMPARED).parse_args()
    found = compare(asked, COMPARED, lambda system: measure(system, asked.series, asked.window))
    medians = {name: statistics.median(each["events_per_s"] for each in results) for name, results in found.items()}
    first = next(iter(medians.values()))
    for name, median in medians.items():
        system = SYSTEMS[name]
        sys.stdout.write(f"{system.name:<26}{median:>10,.0f} /s {first / median:>7.2f} x  {system.does}\n")


if __name__ == "__main__":
    main()
