"""Reading a topic whole, with a consumer of its own: the checker shares no reading code with what it checks."""

from __future__ import annotations

import time
import uuid
from typing import NamedTuple

import numpy as np
from confluent_kafka import Consumer, KafkaError, TopicPartition

from schemas.batch import RawBatch

TIMEOUT_S = 90.0
_POLL_MESSAGES = 5_000


class Entry(NamedTuple):
    """One record of a topic."""

    offset: int
    timestamp_ms: int
    key: bytes | None
    value: bytes | None


def consumer(bootstrap: str, **further: object) -> Consumer:
    """Return an assign-only, read_committed consumer that commits nothing."""
    return Consumer(
        {
            "bootstrap.servers": bootstrap,
            "group.id": f"faults-{uuid.uuid4().hex[:8]}",
            "enable.auto.commit": False,
            "enable.auto.offset.store": False,
            "auto.offset.reset": "earliest",
            "isolation.level": "read_committed",
            "enable.partition.eof": True,
            "fetch.wait.max.ms": 50,
            "fetch.error.backoff.ms": 50,
            "reconnect.backoff.max.ms": 500,
            "socket.timeout.ms": 3_000,  # a broker that says nothing must not make the measurement wait
            "log_level": 2,
            **further,
        }
    )


def partitions_of(reader: Consumer, topic: str) -> list[int]:
    """Return the partition numbers of a topic."""
    return sorted(reader.list_topics(topic, 30).topics[topic].partitions)


def read_whole(bootstrap: str, topic: str, only: int | None = None) -> dict[int, list[Entry]]:
    """Return every committed record of a topic (or of one partition) by partition, up to the last stable offsets of now.

    Raises TimeoutError if a partition's end is not reached: nothing is taken for whole that is not.
    """
    reader = consumer(bootstrap)
    deadline = time.monotonic() + TIMEOUT_S
    try:
        partitions = partitions_of(reader, topic) if only is None else [only]
        found: dict[int, list[Entry]] = {partition: [] for partition in partitions}
        behind = set(partitions)
        reader.assign([TopicPartition(topic, partition, 0) for partition in partitions])
        while behind:
            for message in reader.consume(_POLL_MESSAGES, 0.1):
                error = message.error()
                if error is None:
                    entry = Entry(message.offset(), message.timestamp()[1], message.key(), message.value())
                    found[message.partition()].append(entry)
                elif error.code() == KafkaError._PARTITION_EOF:
                    behind.discard(message.partition())
            if time.monotonic() > deadline:
                raise TimeoutError(f"{topic}: partitions {sorted(behind)} not read to their end in {TIMEOUT_S} s")
        return found
    finally:
        reader.close()


def as_raw(topic: str, partition: int, entries: list[Entry]) -> RawBatch:
    """Return records of one partition as a slot's reader gives them."""
    n = len(entries)
    return RawBatch(
        topic=topic,
        partition=partition,
        offset=np.fromiter((entry.offset for entry in entries), np.int64, n),
        timestamp_ms=np.fromiter((entry.timestamp_ms for entry in entries), np.int64, n),
        keys=[entry.key for entry in entries],
        values=[entry.value for entry in entries],
        next_offset=entries[-1].offset + 1 if entries else 0,
    )
