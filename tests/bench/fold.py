"""Where the time of a step goes, without Kafka: nanoseconds of processor time a row, by part of the fold.

    .venv/bin/python -m tests.bench.fold

One partition, batches of as many rows as a step has at most, every built-in family in this process. Half of the batches come
first, unmeasured, so that every series is out of Phase I.
"""

from __future__ import annotations

import sys
import time
from collections import Counter

import numpy as np

from actors.engine.family import FamilyFold
from actors.engine.fold import PartitionFold, Topics
from actors.engine.position import Position
from actors.pipeline import Pipeline
from models.builtin import FAMILIES
from schemas.batch import RawBatch
from schemas.columnar.reader import warm
from schemas.decode import MeasurementDecoder
from schemas.encode import Encoder
from schemas.topics import load

ROWS = Pipeline.__dataclass_fields__["step_rows_max"].default
SERIES = 2_000
BATCHES = 60
PHASE_ONE_ROWS = 50
TOPIC = "fab.measurements"
STATE = ("position", "page", "series_page", "applied_change", "alert", "dead_letter")


def batches() -> list[RawBatch]:
    """Return the records of a line with many series, one after the other."""
    encoder = Encoder("measurement", len(STATE))
    values = 45.0 + np.random.default_rng(1).normal(size=ROWS * BATCHES)
    made = []
    for first in range(0, ROWS * BATCHES, ROWS):
        offset = np.arange(first, first + ROWS)
        records = [
            encoder.encode(
                {
                    "event_id": f"0f3c6f1e-2a77-4a0e-8f55-{n:012d}",
                    "timestamp": 1_700_000_000_000 + n,
                    "equipment": f"ETCH-{n % SERIES % 50:02d}",
                    "chamber": "A",
                    "recipe": "POLY",
                    "operation": "4200",
                    "characteristic": f"C{n % SERIES:05d}",
                    "lot": f"L{n // 5_000}",
                    "wafer": f"W{n // 200}",
                    "value": float(values[n]),
                    "unit": "nm",
                    "lsl": 40.0,
                    "usl": 50.0,
                }
            )
            for n in offset.tolist()
        ]
        made.append(RawBatch(TOPIC, 0, offset, 1_700_000_000_000 + offset, [None] * ROWS, records, first + ROWS))
    return made


def main() -> None:
    """Print the table."""
    warm()
    families = [FamilyFold("bench", name, detectors_of(PHASE_ONE_ROWS), 20) for name, detectors_of in FAMILIES.items()]
    for family in families:
        family.warm()
        family.open(TOPIC, 0, (), ())
    schemas = {number: load(name) for number, name in enumerate((*STATE, "measurement"))}
    encoders = {name: Encoder(name, number) for number, name in enumerate(STATE)}
    topics = Topics("charts", "alerts", "dead", "state")
    fold = PartitionFold(
        "bench", Position(TOPIC, 0, 0, 0, 0, 0, "1"), (), MeasurementDecoder(schemas.__getitem__), encoders, topics
    )
    spent: Counter[str] = Counter()
    size = rows = 0

    def lap(part: str, since: float) -> float:
        now = time.process_time()
        spent[part] += now - since  # type: ignore[assignment]  # a Counter adds floats as well
        return now

    for number, raw in enumerate(batches()):
        if number == BATCHES // 2:
            spent.clear()
            size = rows = 0
        at = time.process_time()
        step = fold.begin(raw)
        at = lap("decode", at)
        outputs = []
        for family in families:
            outputs.append(family.step(step.work))
            at = lap(f"judge and pack {family.family}", at)
        records = fold.conclude(step, outputs)
        lap("conclude", at)
        rows += len(raw)
        size += sum(len(record.value or b"") for record in records)
    for part, seconds in spent.items():
        sys.stdout.write(f"{part:<28} {seconds / rows * 1e9:>8,.0f} ns a row\n")
    sys.stdout.write(
        f"{'together':<28} {sum(spent.values()) / rows * 1e9:>8,.0f} ns a row; {size / rows:,.0f} bytes out\n"
    )


if __name__ == "__main__":
    main()
