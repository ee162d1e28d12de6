"""From bytes to the columns that a pipeline uses: how many times as fast as other readers of the same records.

    .venv/bin/python -m tests.bench.decode [--without-peers]

Times are of the process's CPU, the best of several rounds: what else runs on the machine counts little. The peers read in a
process of their own, with libraries of their own; fastavro reads in both, and each is compared with it there.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from io import BytesIO
from pathlib import Path
from typing import Any

import fastavro
import numpy as np

from cluster.config import load as config
from cluster.local import LocalStack
from schemas.batch import RawBatch, SeriesDictionary
from schemas.decode import MeasurementDecoder
from schemas.encode import Encoder, without_logical_types
from schemas.registry import Registry
from schemas.topics import load, schema_text
from tests.bench.figures import Figure
from tests.bench.stream.systems import HERE, python

ROWS = 4_000  # of a batch, as a pipeline's step has at most
SENSORS = 590
ROUNDS = 15
SAMPLES = 100  # of an array
ARRAYS = 100  # of a batch
TURNS = 3  # of ours and the peers
SCHEMA_ID = 1


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


def rate(work: Callable[[], object], rows: int = ROWS) -> float:
    """Return rows per second of CPU."""
    best = float("inf")
    for _ in range(ROUNDS):
        began = time.process_time()
        work()
        best = min(best, time.process_time() - began)
    return rows / best


def arrays() -> RawBatch:
    """Return a batch with SAMPLES of a sensor in each record."""
    encoder, n, values = Encoder("measurement_array", SCHEMA_ID), ARRAYS, []
    for number, record in enumerate(records()[:n]):
        samples = [None if i % 22 == 0 else 45.1 + i % 7 for i in range(number, number + SAMPLES)]
        shared = {name: said for name, said in record.items() if name != "value"}
        values.append(encoder.encode(shared | {"period_us": 1_000, "values": samples}))
    return RawBatch("fab.measurements", 0, np.arange(n), np.arange(n), [None] * n, values, n)


def ours() -> tuple[dict[str, float], list[bytes]]:
    """Return how many times as fast as fastavro's row loop each of our ways is, and the records."""
    schema, batch = load("measurement"), records()
    encoder = Encoder(schema, SCHEMA_ID)
    values = [encoder.encode(record) for record in batch]
    raw = RawBatch("fab.measurements", 0, np.arange(ROWS), np.arange(ROWS), [None] * ROWS, values, ROWS)
    parsed: Any = fastavro.parse_schema(without_logical_types(schema))
    newer = {**schema, "fields": [*schema["fields"], {"name": "new", "type": "long"}]}
    newer_values = [Encoder(newer, SCHEMA_ID).encode(record | {"new": 5}) for record in batch]
    newer_raw = RawBatch("fab.measurements", 0, raw.offset, raw.timestamp_ms, raw.keys, newer_values, ROWS)

    def fastavro_reads() -> None:
        for value in values:
            stream = BytesIO(value)
            stream.seek(5)
            fastavro.schemaless_reader(stream, parsed, None)

    def fastavro_writes() -> None:
        for record in batch:
            fastavro.schemaless_writer(BytesIO(), parsed, record)

    decoder, newer_decoder = (MeasurementDecoder({SCHEMA_ID: written}.__getitem__) for written in (schema, newer))
    array_decoder, many = MeasurementDecoder({SCHEMA_ID: load("measurement_array")}.__getitem__), arrays()
    known = SeriesDictionary()
    reads, writes = rate(fastavro_reads), rate(fastavro_writes)
    alone = rate(lambda: decoder.decode(raw, known))
    found = {
        "decode": alone / reads,
        "arrays": rate(lambda: array_decoder.decode(many, known), ARRAYS * SAMPLES) / alone,
        "decode, a newer writer": rate(lambda: newer_decoder.decode(newer_raw, known)) / reads,
        "decode, all series new": rate(lambda: decoder.decode(raw, SeriesDictionary())) / reads,
        "encode": rate(lambda: [encoder.encode(record) for record in batch]) / writes,
    }
    return found, values


def peers(values: Sequence[bytes]) -> dict[str, float]:
    """Return how many times as fast as fastavro's row loop the peers read the same records."""
    with (
        tempfile.TemporaryDirectory() as folder,
        LocalStack(Path(folder) / "stack", cache=config().local.cache) as stack,
    ):
        number = Registry(stack.endpoints.registry_url).register("fab.measurements-value", schema_text("measurement"))
        file = Path(folder) / "records"
        framed = [b"\0" + number.to_bytes(4) + value[5:] for value in values]
        file.write_bytes(b"".join(len(value).to_bytes(4) + value for value in framed))
        command = [str(python()), str(HERE / "decode_peers.py"), str(file), stack.endpoints.registry_url, str(ROUNDS)]
        return dict(json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout))


def figures(*, with_peers: bool) -> list[Figure]:
    """Return what was measured, in turns."""
    found, values = ours()
    made = [
        Figure("decode / fastavro's row loop", found["decode"], 40.0),
        Figure("decode of a newer writer's records / fastavro's row loop", found["decode, a newer writer"]),
        Figure("decode, every series new / fastavro's row loop", found["decode, all series new"]),
        Figure(f"decode, samples of arrays of {SAMPLES} / single measurements", found["arrays"]),
        Figure("encode / fastavro", found["encode"]),
    ]
    if with_peers:
        turns = [(ours()[0]["decode"], peers(values)) for _ in range(TURNS)]
        for name, goal in (("AvroDeserializer", 100.0), ("polars-avro", 2.0)):
            made.append(
                Figure(f"decode / {name}", statistics.median(own / theirs[name] for own, theirs in turns), goal)
            )
    return made


def main() -> None:
    """Print the figures."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--without-peers", action="store_true", help="against fastavro only")
    for figure in figures(with_peers=not parser.parse_args().without_peers):
        sys.stdout.write(f"{figure}\n")


if __name__ == "__main__":
    main()
