"""Records per second from bytes to columns, and what that costs over reading the same records with fastavro alone.

    .venv/bin/python tests/bench/decode.py

Times are of the process's CPU, the best of several rounds: what else runs on the machine counts little.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from io import BytesIO
from typing import Any

import fastavro
import numpy as np

from schemas.batch import RawBatch, SeriesDictionary
from schemas.decode import MeasurementDecoder
from schemas.encode import Encoder, without_logical_types
from schemas.topics import load

ROWS = 4_000  # of a batch, as a pipeline's step has at most
SENSORS = 590
ROUNDS = 15


def records() -> list[dict[str, Any]]:
    """Return a batch as the demo's line publishes it: one sensor after the other, wafer by wafer."""
    return [
        {
            "event_id": f"0f3c6f1e-2a77-4a0e-8f55-{row:012d}",
            "timestamp": 1_700_000_000_000 + row,
            "equipment": "LINE-01",
            "chamber": "",
            "recipe": "",
            "operation": "FINAL",
            "characteristic": f"S{row % SENSORS:03d}",
            "lot": "LOT-0001",
            "wafer": f"W{row // SENSORS:04d}",
            "site": None,
            "subgroup": None,
            "value": None if row % 22 == 0 else 45.1 + row % 7,
            "unit": "",
            "lsl": 40.0,
            "usl": 50.0,
            "target": None,
            "metadata": {},
        }
        for row in range(ROWS)
    ]


def rate(work: Callable[[], object]) -> float:
    """Return rows per second of CPU."""
    best = float("inf")
    for _ in range(ROUNDS):
        began = time.process_time()
        work()
        best = min(best, time.process_time() - began)
    return ROWS / best


def main() -> None:
    """Print the rates and their ratios."""
    schema, batch = load("measurement"), records()
    encoder = Encoder(schema, 1)
    values = [encoder.encode(record) for record in batch]
    raw = RawBatch("fab.measurements", 0, np.arange(ROWS), np.arange(ROWS), [None] * ROWS, values, ROWS)
    parsed: Any = fastavro.parse_schema(without_logical_types(schema))
    newer = {**schema, "fields": [*schema["fields"], {"name": "new", "type": "long"}]}
    newer_values = [Encoder(newer, 1).encode(record | {"new": 5}) for record in batch]
    newer_raw = RawBatch("fab.measurements", 0, raw.offset, raw.timestamp_ms, raw.keys, newer_values, ROWS)

    def fastavro_reads() -> None:
        for value in values:
            stream = BytesIO(value)
            stream.seek(5)
            fastavro.schemaless_reader(stream, parsed, None)

    def fastavro_writes() -> None:
        for record in batch:
            fastavro.schemaless_writer(BytesIO(), parsed, record)

    decoder, newer_decoder = (MeasurementDecoder({1: written}.__getitem__) for written in (schema, newer))
    known = SeriesDictionary()
    reads, writes = rate(fastavro_reads), rate(fastavro_writes)
    rows = {
        "fastavro, row by row": (reads, reads),
        "MeasurementDecoder": (rate(lambda: decoder.decode(raw, known)), reads),
        "… of a newer writer": (rate(lambda: newer_decoder.decode(newer_raw, known)), reads),
        "… all series new": (rate(lambda: decoder.decode(raw, SeriesDictionary())), reads),
        "fastavro, written": (writes, writes),
        "Encoder": (rate(lambda: [encoder.encode(record) for record in batch]), writes),
    }
    for name, (found, plain) in rows.items():
        sys.stdout.write(f"{name:<22} {found:>9,.0f} records/s   {found / plain:.2f} of plain fastavro\n")


if __name__ == "__main__":
    main()
