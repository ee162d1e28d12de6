"""Latency: from the producer's clock to a read_committed reader of what a system tells of the record, at a given rate.

    .venv/bin/python -m tests.bench.stream.latency --rate 10000 --run owner --run bare --run streams

Percentiles over the window, medians of the rounds; ratios of the first system to the others.
"""

from __future__ import annotations

import struct
import sys
import time
from collections.abc import Callable
from typing import Any

import numpy as np
from confluent_kafka import Consumer, TopicPartition

from schemas.decode import decode_event
from tests.bench.figures import Figure
from tests.bench.stream.feeding import Feeding
from tests.bench.stream.rounds import Results, arguments, in_rounds, medians, of_systems
from tests.bench.stream.systems import SYSTEMS, System

TELLING = ["owner", *(name for name in SYSTEMS if name not in {"raw", "owner"})]
GOALS = {"bare": 2.0, "streams": 1.0, "streams-rocksdb": 1.0, "quix": 1.0}  # times its p95, at most
RATE, P95_MS = 10_000, 100.0
WARM_S = 20.0
SAMPLES_MIN = 200
COMMIT_S = 0.016  # between commits of peers: as far as ours are apart at RATE by themselves
SERIES = 1_000  # each is out of Phase I after 5 s of 10,000 records a second, and has alerts that open and close


def told_at(system: System) -> Callable[[bytes], int]:
    """Return a function that says when the record that an output is about was published, ms since the epoch."""
    if system.tells == "alert":
        return lambda value: int(decode_event(value, system.line.registry.schema)["published_ms"])
    number = struct.Struct(">q")
    at = {"verdict": 8, "stamp": 0}[system.tells]
    return lambda value: int(number.unpack_from(value, at)[0])


def watch(system: System, window_s: float) -> np.ndarray:
    """Return latencies in ms of what a reader sees from now on."""
    reader = Consumer(
        {
            "bootstrap.servers": system.endpoints.bootstrap_servers,
            "group.id": "latency",
            "enable.auto.commit": False,
            "isolation.level": "read_committed",
            "fetch.wait.max.ms": 10,
        }
    )
    published = told_at(system)
    places = [TopicPartition(system.out, partition) for partition in range(system.partitions)]
    for place in places:
        place.offset = reader.get_watermark_offsets(place, 5.0)[1]
    reader.assign(places)
    found: list[float] = []
    until = time.monotonic() + window_s
    while time.monotonic() < until:
        messages = reader.consume(1_000, 0.01)
        now = time.time() * 1000
        found += [now - published(m.value()) for m in messages if m.error() is None]
    reader.close()
    return np.array(found)


def measure(system: System, series: int, rate: int, window_s: float) -> dict[str, Any]:
    """Return percentiles."""
    system.commit_s = COMMIT_S
    with system.running(), Feeding(system, series, rate=rate) as feeding:
        began = time.monotonic()
        while time.monotonic() - began < WARM_S:
            feeding.told()
        found = watch(system, window_s)
    if len(found) < SAMPLES_MIN:
        raise RuntimeError(f"{system.name}: {len(found)} outputs only")
    p50, p95, p99 = np.percentile(found, [50, 95, 99]).round(1).tolist()
    return {"n": len(found), "p50_ms": p50, "p95_ms": p95, "p99_ms": p99}


def figures(found: Results) -> list[Figure]:
    """Return what is asked at 10,000 records a second of the first system, against the bare loop and the others."""
    p95 = medians(found, "p95_ms")
    first = next(iter(p95))
    made = [Figure(f"p95, {SYSTEMS[first].name}", p95[first], P95_MS, at_most=True, unit="ms")]
    for name in list(p95)[1:]:
        goal = GOALS.get(name)
        made.append(Figure(f"p95 / {SYSTEMS[name].name}", p95[first] / p95[name], goal, at_most=True))
    return made


def main() -> None:
    """Measure and print."""
    parser = arguments("Latency, from the producer's clock to a read_committed reader.", 30.0, list(SYSTEMS), TELLING)
    parser.set_defaults(series=SERIES)
    parser.add_argument("--rate", type=int, default=RATE, help="records per second")
    asked = parser.parse_args()
    names = asked.run or TELLING
    runs = of_systems(names, asked.partitions, lambda system: measure(system, asked.series, asked.rate, asked.window))
    found = in_rounds(runs, asked.rounds, asked.out)
    p50, p95, p99 = (medians(found, f"p{p}_ms") for p in (50, 95, 99))
    for name in found:
        said = f"p50 {p50[name]:7.1f}  p95 {p95[name]:7.1f}  p99 {p99[name]:7.1f} ms"
        sys.stdout.write(f"{SYSTEMS[name].name:<26} {said}\n")
    for figure in figures(found):
        sys.stdout.write(f"{figure}\n")


if __name__ == "__main__":
    main()
