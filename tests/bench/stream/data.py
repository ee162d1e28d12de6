"""What is streamed: measurements of many series, encoded ahead, each series in the partition of its key."""

from __future__ import annotations

import numpy as np

from schemas.encode import Encoder
from tests.bench.stream.batches import RecordBatch

PHASE_ONE_ROWS = 50
RECORDS = 200_000  # before keys, lots and ids repeat
DRAWN = 1 << 20  # values that are drawn ahead
MEAN = 45.0


def key(number: int) -> str:
    """Return the key of a series."""
    return f"ETCH-{number % 200:03d}|A|POLY-{number % 7}|4200|CD_{number:06d}"


class Draws:
    """Normal numbers around MEAN, always others: values that come again and again would be what the charts learn."""

    def __init__(self, seed: int = 1) -> None:
        self._random = np.random.default_rng(seed)
        self._drawn = self._random.normal(MEAN, size=DRAWN)

    def take(self, n: int) -> np.ndarray:
        """Return (n,) float64."""
        at = int(self._random.integers(DRAWN - n))
        return self._drawn[at : at + n]


def batches(encoder: Encoder, series: int, partitions: int, size: int, seed: int = 1) -> list[tuple[RecordBatch, ...]]:
    """Return turns: a batch of each partition, of `size` records. Equally many of each series, one series after the other."""
    values = np.random.default_rng(seed).normal(MEAN, size=(max(1, RECORDS // series), series))
    keys = [key(number) for number in range(series)]
    records: list[list[tuple[bytes, bytes]]] = [[] for _ in range(partitions)]
    numbers: list[list[float]] = [[] for _ in range(partitions)]
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
            records[number % partitions].append((name.encode(), value))
            numbers[number % partitions].append(float(values[at, number]))
    made = [
        [RecordBatch(part[at : at + size], of_part[at : at + size]) for at in range(0, len(part), size)]
        for part, of_part in zip(records, numbers, strict=True)
    ]
    return list(zip(*made, strict=False))
