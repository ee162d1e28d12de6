"""The records of a run: numbered, hashed, made from a seed, with as much trouble in them as a case asks for."""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from schemas.batch import series_key
from schemas.encode import Encoder

START_MS = 1_700_000_000_000  # event time of record 0
EVERY_MS = 10  # event time between records
OVERSIZED_BYTES = 100_000  # more than a dead letter keeps
SAMPLES_MAX = 200  # of a record
UNKNOWN_ID = 0x7FFFFFF0
WRONG_TYPES = """{"type": "record", "name": "Measurement", "namespace": "com.chipquality.events.measurement", "fields": [
    {"name": "event_id", "type": "string"}, {"name": "equipment", "type": "string"},
    {"name": "characteristic", "type": "string"}, {"name": "timestamp", "type": "long"},
    {"name": "value", "type": "string"}]}"""  # a value that is a text cannot be read as ours
POISONS = ("truncated", "garbage", "unknown id", "wrong types", "oversized")


@dataclass(frozen=True)
class Trouble:
    """What is wrong with a stream. Shares are of all records."""

    poison: float = 0.0
    duplicates: float = 0.0  # sent again, some records later
    reordered: float = 0.0  # sent up to `displaced` records late
    displaced: int = 500
    second_schema_from: float = 1.0  # from this part of the stream on, an id that no owner has seen
    skew_ms: int = 0  # every tool's clock is wrong by up to so much, either way
    arrays: float = 0.0  # have up to SAMPLES_MAX samples in one record, a millisecond apart


class Message(NamedTuple):
    """One record to send."""

    partition: int
    key: bytes
    value: bytes
    poison: str = ""


class Encoders(NamedTuple):
    """Of good records, and of those whose types are not ours."""

    good: Encoder
    second: Encoder  # the same schema under another id
    wrong_schema_id: int
    arrays: Encoder | None = None  # of records of many samples, where a stream has such


def make(
    encoders: Encoders, records: int, partitions: int, seed: int, trouble: Trouble, series: int = 64
) -> list[Message]:
    """Return the messages in the order in which they are sent; the same for the same arguments.

    Series i is in partition i modulo `partitions`. 2 % of the values are excursions and 3 % are missing.
    """
    random = np.random.default_rng(seed)
    which = random.integers(0, series, records)
    value = random.normal(10, 1, records)
    value[random.random(records) < 0.02] += 6
    missing = random.random(records) < 0.03
    poisoned = random.random(records) < trouble.poison
    skew = random.integers(-trouble.skew_ms, trouble.skew_ms + 1, series)
    samples = _samples(np.random.default_rng([seed, 1]), records, trouble.arrays)
    keys = [series_key(f"ETCH-{i:02d}", "A", "R", "10", "CD") for i in range(series)]
    messages = []
    for n in range(records):
        i = int(which[n])
        fields = {
            "timestamp": START_MS + n * EVERY_MS + int(skew[i]),
            "equipment": f"ETCH-{i:02d}", "chamber": "A", "recipe": "R", "operation": "10", "characteristic": "CD",
            "lot": f"L{n // 500}", "wafer": f"W{n // 20}", "value": None if missing[n] else float(value[n]),
            "unit": "nm", "lsl": 4.0, "usl": 16.0, "target": 10.0,
        }  # fmt: skip
        encoder = encoders.good if n < records * trouble.second_schema_from else encoders.second
        if n in samples and encoders.arrays is not None:
            encoder, first = encoders.arrays, fields.pop("value")
            fields |= {"values": [first, *samples[n]], "period_us": 1_000}
        good = encoder.encode({"event_id": _identity(n, fields), **fields})
        kind = POISONS[n % len(POISONS)] if poisoned[n] else ""
        value_sent = _poison(kind, good, n, random, encoders.wrong_schema_id) if kind else good
        messages.append(Message(i % partitions, keys[i].encode(), value_sent, kind))
    return _disorder(messages, trouble, random)


def _samples(random: np.random.Generator, records: int, share: float) -> dict[int, list[float | None]]:
    """Return the further samples of the records that have many; 2 % are excursions and 3 % are missing."""
    found: dict[int, list[float | None]] = {}
    for n in np.flatnonzero(random.random(records) < share).tolist():
        value = random.normal(10, 1, int(random.integers(1, SAMPLES_MAX)))
        value[random.random(len(value)) < 0.02] += 6
        found[n] = [None if random.random() < 0.03 else float(x) for x in value]
    return found


def _identity(number: int, fields: dict[str, object]) -> str:
    digest = hashlib.blake2b(repr((number, sorted(fields.items()))).encode(), digest_size=8).hexdigest()
    return f"{number:08d}-{digest}"


def _poison(kind: str, good: bytes, number: int, random: np.random.Generator, wrong_id: int) -> bytes:
    noise = struct.pack(">q", number) + random.bytes(24)
    if kind == "truncated":
        return good[: 5 + 30 + int(random.integers(0, 20))]  # behind the event id, so that it stays unique
    if kind == "garbage":
        return b"\x01" + noise
    if kind == "unknown id":
        return struct.pack(">bI", 0, UNKNOWN_ID) + good[5:]
    if kind == "wrong types":
        return struct.pack(">bI", 0, wrong_id) + good[5:]
    return b"\x02" + noise + b"x" * OVERSIZED_BYTES


def _disorder(messages: list[Message], trouble: Trouble, random: np.random.Generator) -> list[Message]:
    n = len(messages)
    place = np.arange(n, dtype=np.float64)
    late = random.random(n) < trouble.reordered
    place[late] += random.integers(1, trouble.displaced + 1, int(late.sum()))
    again = np.flatnonzero(random.random(n) < trouble.duplicates)
    places = np.concatenate([place, again + random.integers(1, trouble.displaced + 1, len(again)) + 0.5])
    origin = np.concatenate([np.arange(n), again])
    return [messages[i] for i in origin[np.argsort(places, kind="stable")].tolist()]


def poisoned(messages: Sequence[Message]) -> int:
    """Return how many of the messages are poison."""
    return sum(1 for message in messages if message.poison)
