"""How many times as fast as fastavro's row loop two other readers decode the same records: one line of JSON.

Arguments: a file of records as their topic has them, each with its length before it; the registry that knows their schema;
rounds. All read in turns; each time is the best of its rounds, in processor time.
"""

from __future__ import annotations

import io
import json
import struct
import sys
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import fastavro
import polars_avro
from confluent_kafka.schema_registry import SchemaRegistryClient
from confluent_kafka.schema_registry.avro import AvroDeserializer
from confluent_kafka.serialization import MessageField, SerializationContext

FRAME = 5  # bytes before a record in its topic: a zero, and the schema's id
LENGTH = struct.Struct(">i")
NULL_CODEC_BLOCK_END = 16


def records_in(file: Path) -> list[bytes]:
    """Return the records of a file."""
    data = file.read_bytes()
    made, at = [], 0
    while at < len(data):
        (length,) = LENGTH.unpack_from(data, at)
        made.append(data[at + LENGTH.size : at + LENGTH.size + length])
        at += LENGTH.size + length
    return made


def schema_of(registry: str, record: bytes) -> Any:
    """Return the schema that wrote a record."""
    number = int.from_bytes(record[1:FRAME])
    with urllib.request.urlopen(f"{registry}/schemas/ids/{number}") as answer:  # noqa: S310 - our registry
        return json.loads(json.load(answer)["schema"])


def by_fastavro(records: list[bytes], schema: Any) -> Callable[[], object]:
    """Return a row loop."""
    parsed = fastavro.parse_schema(schema)

    def read() -> None:
        for record in records:
            stream = io.BytesIO(record)
            stream.seek(FRAME)
            fastavro.schemaless_reader(stream, parsed, None)

    return read


def by_deserializer(records: list[bytes], registry: str) -> Callable[[], object]:
    """Return a row loop with confluent's deserializer."""
    deserializer = AvroDeserializer(SchemaRegistryClient({"url": registry}))
    context = SerializationContext("fab.measurements", MessageField.VALUE)
    return lambda: [deserializer(record, context) for record in records]


def by_polars(records: list[bytes], schema: Any) -> Callable[[], object]:
    """Return what makes a container file of the records, which is all that it reads, and reads it into columns."""
    empty = io.BytesIO()
    fastavro.writer(empty, schema, [])
    header = empty.getvalue()
    marker = header[-NULL_CODEC_BLOCK_END:]

    def read() -> object:
        body = b"".join(record[FRAME:] for record in records)
        block = _long(len(records)) + _long(len(body))
        return polars_avro.read_avro(io.BytesIO(b"".join((header, block, body, marker))))

    return read


def _long(number: int) -> bytes:
    stream = io.BytesIO()
    fastavro.schemaless_writer(stream, "long", number)
    return stream.getvalue()


def main() -> None:
    """Print the ratios."""
    records, registry, rounds = records_in(Path(sys.argv[1])), sys.argv[2], int(sys.argv[3])
    schema = schema_of(registry, records[0])
    ways = {
        "fastavro": by_fastavro(records, schema),
        "AvroDeserializer": by_deserializer(records, registry),
        "polars-avro": by_polars(records, schema),
    }
    best = dict.fromkeys(ways, float("inf"))
    for _ in range(rounds):
        for name, read in ways.items():
            began = time.process_time()
            read()
            best[name] = min(best[name], time.process_time() - began)
    sys.stdout.write(json.dumps({name: best["fastavro"] / seconds for name, seconds in best.items()}) + "\n")


if __name__ == "__main__":
    main()
