"""Latency: from the producer's clock to a read_committed reader of what a system tells of the record, at a given rate.

    .venv/bin/python -m tests.bench.stream.latency --rate 10000 --system bare --system owner --system streams

Percentiles over the window; the ratio is to the first system.
"""

from __future__ import annotations

import argparse
import json
import statistics
import struct
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from confluent_kafka import Consumer, TopicPartition

from cluster.config import load
from cluster.local import LocalStack
from schemas.decode import decode_event
from tests.bench.stream.sustained import PARTITIONS, SERIES, Feeding, prepared, running_ray
from tests.bench.stream.systems import SYSTEMS, System

WARM_S = 20.0
SAMPLES_MIN = 200


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
    system.start()
    feeding = Feeding(system, series, rate=rate)
    try:
        began = time.monotonic()
        while time.monotonic() - began < WARM_S:
            feeding.told()
        found = watch(system, window_s)
    finally:
        feeding.stop()
        system.stop()
    if len(found) < SAMPLES_MIN:
        raise RuntimeError(f"{system.name}: {len(found)} outputs only")
    p50, p95, p99 = np.percentile(found, [50, 95, 99])
    return {"system": system.name, "n": len(found), "p50_ms": p50, "p95_ms": p95, "p99_ms": p99}


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--system", action="append", choices=list(SYSTEMS), help="all of them without it")
    parser.add_argument("--rate", type=int, default=10_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--window", type=float, default=30.0, help="seconds")
    parser.add_argument("--series", type=int, default=SERIES)
    parser.add_argument("--partitions", type=int, default=PARTITIONS)
    parser.add_argument("--out", type=Path, default=Path(".chipquality/bench/latency.jsonl"))
    asked = parser.parse_args()
    names = prepared(asked.system)
    asked.out.parent.mkdir(parents=True, exist_ok=True)
    found: dict[str, list[dict[str, Any]]] = {name: [] for name in names}
    with tempfile.TemporaryDirectory() as folder, asked.out.open("w") as raw, running_ray():
        for number in range(asked.rounds):
            for name in names:
                with LocalStack(Path(folder) / f"{name}-{number}", cache=load().local.cache) as stack:
                    system = SYSTEMS[name](stack.endpoints, Path(folder) / f"of-{name}-{number}", asked.partitions)
                    result = measure(system, asked.series, asked.rate, asked.window)
                found[name].append(result)
                raw.write(json.dumps({"name": name, "round": number, **result}) + "\n")
                raw.flush()
                sys.stderr.write(f"{number} {result}\n")
    first = statistics.median(each["p95_ms"] for each in found[names[0]])
    for name, results in found.items():
        p50, p95, p99 = (statistics.median(each[which] for each in results) for which in ("p50_ms", "p95_ms", "p99_ms"))
        sys.stdout.write(
            f"{SYSTEMS[name].name:<26} p50 {p50:7.1f}  p95 {p95:7.1f}  p99 {p99:7.1f} ms {p95 / first:6.2f} x\n"
        )


if __name__ == "__main__":
    main()
