"""What is streamed: measurements of many series, encoded ahead, each series in the partition of its key."""

from __future__ import annotations

import numpy as np

from schemas.encode import Encoder

PHASE_ONE_ROWS = 50
RECORDS = 200_000  # before they repeat


def key(number: int) -> str:
    """Return the key of a series."""
    return f"ETCH-{number % 200:03d}|A|POLY-{number % 7}|4200|CD_{number:06d}"


def measurements(encoder: Encoder, series: int, partitions: int, seed: int = 1) -> list[list[tuple[bytes, bytes]]]:
    """Return keys and values by partition, equally many of each series, one series after the other."""
    values = 45.0 + np.random.default_rng(seed).normal(size=(max(1, RECORDS // series), series))
    keys = [key(number) for number in range(series)]
    made: list[list[tuple[bytes, bytes]]] = [[] for _ in range(partitions)]
    for at in range(len(values)):
        for number, name in enumerate(keys):
            equipment, chamber, recipe, operation, characteristic = name.split("|")
            value = encoder.encode(
                {
                    "event_id": f"0f3c6f1e-2a77-4a0e-8f55-{at:04d}{number:08d}",
                    "timestamp": 1_700_000_000_000 + at * 1000,
                    "equipment": equipment,
                    "chamber": chamber,
                    "recipe": recipe,
                    "operation": operation,
                    "characteristic": characteristic,
                    "lot": f"L{number // 500}",
                    "wafer": f"W{number % 25}",
                    "value": float(values[at, number]),
                    "unit": "nm",
                    "lsl": 40.0,
                    "usl": 50.0,
                    "target": 45.0,
                }
            )
            made[number % partitions].append((name.encode(), value))
    return made
