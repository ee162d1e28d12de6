"""Reading output topics for the page: an assign-only, read_committed consumer that starts some way back from the end.

Nothing is ever committed: what the page shows is rebuilt from the topics, so a view that died starts again from what is retained.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from confluent_kafka import Consumer, KafkaError, KafkaException, TopicPartition

from actors.errors import ReopenError
from actors.kafka.client import Cluster
from actors.kafka.consumer import FETCH_AGAIN_MS, Offsets
from actors.kafka.errors import translate, translated

CALL_TIMEOUT_S = 10.0  # of one request to the broker
QUEUE_KBYTES = 16 * 1024  # fetched and not yet taken
_PASSING = frozenset({KafkaError._TRANSPORT, KafkaError._ALL_BROKERS_DOWN, KafkaError._RESOLVE, KafkaError._TIMED_OUT})

Place = tuple[str, int]  # topic, partition


class ViewRecord(NamedTuple):
    """One committed record of an output topic."""

    topic: str
    partition: int
    offset: int
    timestamp_ms: int
    value: bytes | None


class ViewPolled(NamedTuple):
    """What one poll brought."""

    records: list[ViewRecord]
    positions: dict[Place, int]  # ends of partitions that were reached


class ViewConsumer:
    """Reads all partitions of some topics. Close it."""

    def __init__(self, cluster: Cluster, group: str) -> None:
        self.trouble: str | None = None  # what the broker connection last said; None once records or ends arrive
        self._offsets = Offsets(cluster)
        self._consumer = Consumer(
            cluster.settings(
                group_id=group,  # librdkafka wants one; nothing joins it and nothing is committed
                group_protocol="classic",
                enable_auto_commit=False,
                enable_auto_offset_store=False,
                auto_offset_reset="earliest",  # retention may overtake a slow reader: the chain of offsets shows it
                isolation_level="read_committed",
                enable_partition_eof=True,
                queued_max_messages_kbytes=QUEUE_KBYTES,
                fetch_wait_max_ms=100,
                fetch_error_backoff_ms=50,
                fetch_queue_backoff_ms=FETCH_AGAIN_MS,
            )
        )

    def begin(self, back: Mapping[str, int], positions: Mapping[Place, int]) -> dict[Place, int]:
        """Assign every partition of the topics: at its position if it has one, else `back[topic]` offsets before its end.

        Returns the ends: what lies before them was written before this reader began. Raises ReopenError if the broker does
        not answer or a topic is not there.
        """
        ends: dict[Place, int] = {}
        starts = []
        for topic, offsets_back in back.items():
            partitions = self._partitions(topic)
            first, end = self._offsets.first(topic, partitions), self._offsets.end(topic, partitions, committed=True)
            for partition in partitions:
                place = (topic, partition)
                ends[place] = end[partition]
                start = positions.get(place, max(first[partition], end[partition] - offsets_back))
                starts.append(TopicPartition(topic, partition, start))
        self._consumer.assign(starts)
        return ends

    def _partitions(self, topic: str) -> list[int]:
        with translated(f"describe {topic}"):
            described = self._consumer.list_topics(topic, timeout=CALL_TIMEOUT_S).topics[topic]
        if described.error is not None:
            raise ReopenError(f"topic {topic}: {described.error.str()}")
        return sorted(described.partitions)

    def poll(self, records_max: int, wait_s: float) -> ViewPolled:
        """Return at once what is there, or wait at most `wait_s` for the first record."""
        first = self._consumer.poll(wait_s)
        if first is None:
            return ViewPolled([], {})
        records: list[ViewRecord] = []
        positions: dict[Place, int] = {}
        for message in [first, *self._consumer.consume(records_max - 1, 0)]:
            error = message.error()
            if error is None:
                records.append(
                    ViewRecord(
                        str(message.topic()), int(message.partition() or 0), int(message.offset() or 0),
                        message.timestamp()[1], message.value(),
                    )
                )  # fmt: skip
            elif error.code() == KafkaError._PARTITION_EOF:
                positions[str(message.topic()), int(message.partition() or 0)] = int(message.offset() or 0)
            elif error.code() in _PASSING:  # librdkafka reconnects by itself
                self.trouble = error.str()
            else:
                raise translate(error, "consume output topics")
        if records or positions:
            self.trouble = None
        return ViewPolled(records, positions)

    def again(self, place: Place, offset: int) -> None:
        """Read a partition again from an offset."""
        try:
            self._consumer.seek(TopicPartition(*place, offset))
        except KafkaException as error:
            raise translate(error, f"seek {place[0]}") from error

    def close(self) -> None:
        """Leave; nothing is committed."""
        self._consumer.close()
