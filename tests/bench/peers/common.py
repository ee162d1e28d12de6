"""What the Python peers share: their arguments, how a measurement is read, and the EWMA that each computes.

The peers run in a virtual environment of their own (requirements.lock beside this), so nothing of the product is imported here.
"""

from __future__ import annotations

import argparse
import io
import json
import struct
import sys
import urllib.request
from pathlib import Path
from typing import Any

import fastavro
from confluent_kafka import Consumer

LAMBDA, WIDTH, PHASE_ONE = 0.2, 3.0, 50
VERDICT = struct.Struct(">qqddd?")  # event time, producer's clock, value, EWMA, its limit, whether it is beyond
State = tuple[int, float, float, float, float, float]
# of one series: rows, mean, sum of ranges, last value, EWMA, weight of the start
NEW: State = (0, 0.0, 0.0, 0.0, 0.0, 1.0)


def arguments() -> argparse.Namespace:
    """Return where to read and write."""
    parser = argparse.ArgumentParser()
    for name in ("bootstrap", "registry", "topic", "out", "group"):
        parser.add_argument(f"--{name}", required=True)
    parser.add_argument("--folder", required=True, type=Path, help="for state")
    parser.add_argument("--commit-s", required=True, type=float, help="between commits")
    return parser.parse_args()


def subscribed(asked: argparse.Namespace, **further: Any) -> Consumer:
    """Return a consumer of the topic that commits when it is told to."""
    settings = {
        "bootstrap.servers": asked.bootstrap,
        "group.id": asked.group,
        "auto.offset.reset": "earliest",
        "enable.auto.commit": False,
        "fetch.wait.max.ms": 20,
    }
    consumer = Consumer(settings | further)
    consumer.subscribe([asked.topic])
    return consumer


def say_running() -> None:
    """Tell whoever started us."""
    sys.stdout.write("running\n")
    sys.stdout.flush()


class Measurements:
    """Reads measurements with the schemas of a registry."""

    def __init__(self, registry: str) -> None:
        self._registry = registry
        self._schemas: dict[bytes, Any] = {}

    def read(self, value: bytes) -> dict[str, Any]:
        """Return the fields."""
        known = self._schemas.get(value[1:5])
        if known is None:
            known = self._schemas[value[1:5]] = self._fetch(int.from_bytes(value[1:5]))
        return fastavro.schemaless_reader(io.BytesIO(value[5:]), known, None)  # type: ignore[return-value]

    def _fetch(self, number: int) -> Any:
        with urllib.request.urlopen(f"{self._registry}/schemas/ids/{number}") as answer:  # noqa: S310 - our registry
            return fastavro.parse_schema(json.loads(json.load(answer)["schema"]))


def ewma(state: State, x: float) -> tuple[State, float, float, bool]:
    """Advance an EWMA chart by a value; return its state, the statistic, its limit, whether it is beyond."""
    rows, mean, ranges, last, z, weight = state
    rows += 1
    if rows <= PHASE_ONE:
        mean += (x - mean) / rows
        ranges += abs(x - last) if rows > 1 else 0.0
        return (rows, mean, ranges, x, mean, weight), mean, float("nan"), False
    sigma = ranges / (PHASE_ONE - 1) / 1.1283791670955126
    z += LAMBDA * (x - z)
    weight *= (1.0 - LAMBDA) ** 2
    limit = WIDTH * sigma * (LAMBDA / (2.0 - LAMBDA) * (1.0 - weight)) ** 0.5
    return (rows, mean, ranges, x, z, weight), z, limit, abs(z - mean) > limit
