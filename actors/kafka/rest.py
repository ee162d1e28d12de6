"""Is there a record between a committed offset and the end, or only markers of transactions? Nothing is committed."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import NamedTuple

from confluent_kafka import Consumer, KafkaError, TopicPartition

from actors.kafka.client import Cluster
from actors.kafka.errors import translated

LOOK_S = 3.0  # for all partitions together
POLL_S = 0.2
FETCH_BYTES = 64 * 1024  # of a partition: a record is enough to know

Rest = tuple[str, int, int]  # topic, partition, committed offset


class Looked(NamedTuple):
    """What was found. What is in neither is not known: Kafka did not say in time, or a transaction is open there."""

    empty: dict[Rest, int]  # → the end up to which there is no record
    full: set[Rest]  # there is a record


def look(cluster: Cluster, rests: Mapping[Rest, int]) -> Looked:
    """Say which rests, each up to an end, hold a record that a read_committed reader is given. Raises ReopenError."""
    found = Looked({}, set())
    left = {(topic, partition): (committed, end) for (topic, partition, committed), end in rests.items()}
    with translated("look at what is left to read"):
        consumer = Consumer(
            cluster.settings(
                group_id="chipquality-monitoring",  # librdkafka wants one; nothing joins it and nothing is committed
                enable_auto_commit=False,
                enable_partition_eof=True,
                isolation_level="read_committed",
                auto_offset_reset="error",
                fetch_message_max_bytes=FETCH_BYTES,
                fetch_wait_max_ms=50,
            )
        )
        try:
            consumer.assign([TopicPartition(*place, committed) for place, (committed, _) in left.items()])
            deadline = time.monotonic() + LOOK_S
            while left and time.monotonic() < deadline:
                message = consumer.poll(POLL_S)
                if message is None:
                    continue
                place = (str(message.topic()), int(message.partition() or 0))
                error = message.error()
                if error is not None and error.code() != KafkaError._PARTITION_EOF:
                    continue  # of a connection, or of a partition that is gone: it stays unknown
                committed, end = left.pop(place, (-1, -1))
                consumer.pause([TopicPartition(*place)])
                if committed < 0:  # what was under way when it was paused
                    continue
                if error is None:
                    found.full.add((*place, committed))
                elif int(message.offset() or 0) >= end:
                    found.empty[*place, committed] = end
        finally:
            consumer.close()
    return found
