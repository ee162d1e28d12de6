"""Reading a topic to its end, with a consumer of its own: the checker shares no reading code with what it checks."""

from __future__ import annotations

import time
import uuid
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from confluent_kafka import Consumer, KafkaError, Message, TopicPartition

from schemas.batch import RawBatch

TIMEOUT_S = 90.0  # without a record
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


def pieces(bootstrap: str, topic: str, only: int | None = None) -> Iterator[list[Entry]]:
    """Give every committed record of a topic (or of one partition), some at a time, up to the last stable offsets of now.

    In a partition's order. Raises TimeoutError if the end of one is not reached: nothing is taken for whole that is not.
    """
    reader = consumer(bootstrap)
    try:
        behind = {only} if only is not None else set(partitions_of(reader, topic))
        reader.assign([TopicPartition(topic, partition, 0) for partition in behind])
        heard = time.monotonic()
        while behind:
            messages = reader.consume(_POLL_MESSAGES, 0.1)
            ended = {m.partition() for m in messages if _code(m) == KafkaError._PARTITION_EOF}
            found = [Entry(m.offset(), m.timestamp()[1], m.key(), m.value()) for m in messages if _code(m) is None]
            behind -= ended
            if found:
                yield found
            if found or ended:
                heard = time.monotonic()
            elif time.monotonic() - heard > TIMEOUT_S:
                raise TimeoutError(
                    f"{topic}: partitions {sorted(behind)} not read to their end: silent for {TIMEOUT_S} s"
                )
    finally:
        reader.close()


def _code(message: Message) -> int | None:
    error = message.error()
    return None if error is None else error.code()


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
