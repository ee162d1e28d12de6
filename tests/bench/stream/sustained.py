"""Sustained records per second, the lag flat: each system in turn, several rounds, on one broker on the same cores.

    .venv/bin/python -m tests.bench.stream.sustained --system owner --system streams --rounds 3

A producer beside it writes as fast as records are consumed, so that the lag stays where it is; a record is consumed when its
offset is committed. Printed: the median of the rounds, and how many times as fast the first system is.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import ray

from actors.names import NAMESPACE
from cluster.config import load
from cluster.local import LocalStack
from cluster.ray_address import RAY_SETTINGS
from tests.bench.stream.systems import SYSTEMS, PythonPeer, Streams, System, build_streams, python

SERIES, PARTITIONS = 10_000, 4
LAG = 60_000
WARM_S = 15.0
IDLE_S = 90.0  # in which nothing is consumed: it does not run


class Feeding:
    """The producer beside a system."""

    def __init__(self, system: System, series: int, lag: int = 0, rate: int = 0) -> None:
        asked = {
            "bootstrap": system.endpoints.bootstrap_servers,
            "topic": system.line.input,
            "group": system.group,
            "out": system.out,
            "partitions": system.partitions,
            "series": series,
            "schema_id": system.line.encoder.schema_id,
            "lag": lag,
            "rate": rate,
            "written": 0,
        }
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.bench.stream.feed", json.dumps(asked)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def told(self) -> dict[str, Any]:
        """Return the next line that it prints."""
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError("the producer has ended")
        return dict(json.loads(line))

    def stop(self) -> None:
        """End it."""
        assert self._process.stdin is not None
        self._process.stdin.write("\n")
        self._process.stdin.flush()
        self._process.wait(60)


def measure(system: System, series: int, window_s: float) -> dict[str, Any]:
    """Return what a system does over a window, after it has warmed up."""
    system.start()
    feeding = Feeding(system, series, LAG)
    try:
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
    finally:
        feeding.stop()
        system.stop()
    seconds = told["at"] - first["at"]
    return {
        "system": system.name,
        "does": system.does,
        "events_per_s": (told["consumed"] - first["consumed"]) / seconds,
        "lag_first": lags[0],
        "lag_last": lags[-1],
        "lag_max": max(lags),
    }


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--system", action="append", choices=list(SYSTEMS), help="all of them without it")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--window", type=float, default=60.0, help="seconds")
    parser.add_argument("--series", type=int, default=SERIES)
    parser.add_argument("--partitions", type=int, default=PARTITIONS)
    parser.add_argument("--out", type=Path, default=Path(".chipquality/bench/sustained.jsonl"))
    asked = parser.parse_args()
    names = prepared([name for name in SYSTEMS if name != "bare"] if asked.system is None else asked.system)
    asked.out.parent.mkdir(parents=True, exist_ok=True)
    found: dict[str, list[float]] = {name: [] for name in names}
    with tempfile.TemporaryDirectory() as folder, asked.out.open("w") as raw, running_ray():
        for number in range(asked.rounds):
            for name in names:
                with LocalStack(Path(folder) / f"{name}-{number}", cache=load().local.cache) as stack:
                    system = SYSTEMS[name](stack.endpoints, Path(folder) / f"of-{name}-{number}", asked.partitions)
                    result = measure(system, asked.series, asked.window)
                found[name].append(result["events_per_s"])
                raw.write(json.dumps({"name": name, "round": number, **result}) + "\n")
                raw.flush()
                sys.stderr.write(f"{number} {result}\n")
    first = statistics.median(found[names[0]])
    for name, rates in found.items():
        median = statistics.median(rates)
        sys.stdout.write(
            f"{SYSTEMS[name].name:<26}{median:>10,.0f} /s {first / median:>7.2f} x  {SYSTEMS[name].does}\n"
        )


def prepared(names: Sequence[str] | None) -> list[str]:
    """Build and install what these systems need; return their names."""
    wanted = list(names or SYSTEMS)
    kinds = [SYSTEMS[name] for name in wanted]
    if any(issubclass(kind, Streams) for kind in kinds):
        build_streams()
    if any(issubclass(kind, PythonPeer) for kind in kinds):
        python()
    return wanted


def running_ray() -> Any:
    """Start Ray as the product does."""
    os.environ.update(RAY_SETTINGS)
    return ray.init(
        address="local",
        _node_ip_address="127.0.0.1",
        num_cpus=4,
        include_dashboard=False,
        object_store_memory=200 * 1024 * 1024,
        namespace=NAMESPACE,
        log_to_driver=False,
    )


if __name__ == "__main__":
    main()
