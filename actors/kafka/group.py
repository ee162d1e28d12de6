"""A member of an ordinary consumer group, and what it publishes: Kafka's side of actors/sinks.

`subscribe()` with rebalancing, read_committed, offsets committed by hand. librdkafka's own thread keeps the session alive;
whoever holds the member must poll within POLL_INTERVAL_MS.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import cast

from confluent_kafka import Consumer, KafkaError, KafkaException, Message, TopicPartition

from actors.errors import ReopenError
from actors.kafka.client import Cluster
from actors.kafka.consumer import FETCH_AGAIN_MS
from actors.kafka.delivery import PublishError
from actors.kafka.errors import kafka_error, translate
from actors.kafka.producer import Limits, ReliableProducer
from actors.sinks.journey import Header, Received
from schemas.topics import RETRY_BYTES_MAX

_LOG = logging.getLogger("chipquality.sinks")

SESSION_MS = 45_000  # without a heartbeat the group takes the partitions away
POLL_INTERVAL_MS = 300_000  # without a poll too: the longest that handling one record may take
QUEUE_KBYTES = 8 * 1024  # fetched and not yet taken
SEND_S = 30.0  # for one record to be acknowledged; without it the member starts anew

Place = tuple[str, int]  # topic, partition

_PASSING = frozenset(  # librdkafka goes on by itself
    {
        KafkaError._TRANSPORT,
        KafkaError._ALL_BROKERS_DOWN,
        KafkaError._RESOLVE,
        KafkaError._TIMED_OUT,
        KafkaError._MAX_POLL_EXCEEDED,
        KafkaError.UNKNOWN_TOPIC_OR_PART,
    }
)
_NO_LONGER_OURS = frozenset(  # somebody else has the partitions now: the records come again, there
    {
        KafkaError.ILLEGAL_GENERATION,
        KafkaError.UNKNOWN_MEMBER_ID,
        KafkaError.REBALANCE_IN_PROGRESS,
        KafkaError._ASSIGNMENT_LOST,
        KafkaError._NO_OFFSET,
    }
)


class GroupMember:
    """One member of a group over some topics. `leaving` is called with the partitions that are about to be taken away."""

    def __init__(
        self,
        cluster: Cluster,
        group: str,
        topics: Sequence[str],
        leaving: Callable[[Iterable[Place]], None],
        session_ms: int = SESSION_MS,
    ) -> None:
        self.group = group
        self.trouble: str | None = None  # what the connection last said; None once records arrive
        self.partitions: frozenset[Place] = frozenset()
        self._leaving = leaving
        settings = cluster.settings(
            group_id=group,
            group_protocol="classic",
            partition_assignment_strategy="cooperative-sticky",
            enable_auto_commit=False,
            enable_auto_offset_store=False,
            auto_offset_reset="earliest",
            isolation_level="read_committed",
            session_timeout_ms=session_ms,
            max_poll_interval_ms=max(POLL_INTERVAL_MS, session_ms),
            queued_max_messages_kbytes=QUEUE_KBYTES,
            fetch_queue_backoff_ms=FETCH_AGAIN_MS,
            fetch_wait_max_ms=100,
            allow_auto_create_topics=False,
        )
        self._consumer = Consumer({**settings, "error_cb": self._on_error})
        self._consumer.subscribe(list(topics), on_assign=self._on_assign, on_revoke=self._on_revoke)
        limits = Limits(record_bytes_max=RETRY_BYTES_MAX, delivery_deadline_s=SEND_S, linger_ms=0)
        self._producer = ReliableProducer(
            cluster.bootstrap_servers, cluster.client, limits=limits, name=f"{group}-retries"
        )

    def poll(self, wait_s: float) -> Received | None:
        """Return the next record, waiting at most `wait_s` for it. Raises ReopenError, FencedError."""
        message = self._consumer.poll(wait_s)
        if message is None:
            return None
        error = message.error()
        if error is None:
            self.trouble = None
            return received(message)
        if error.code() not in _PASSING:
            raise translate(error, f"group {self.group}")
        self.trouble = error.str()
        return None

    def pause(self, place: Place) -> None:
        """Give no more records of a partition until `resume`."""
        self._consumer.pause([TopicPartition(*place)])

    def resume(self, place: Place) -> None:
        """Go on with a partition, behind the last record that it gave."""
        self._consumer.resume([TopicPartition(*place)])

    def commit(self, offsets: Mapping[Place, int]) -> None:
        """Commit next offsets. A partition that is no longer ours is passed over: whoever has it now gets the records again."""
        if not offsets:
            return
        places = [TopicPartition(*place, offset) for place, offset in offsets.items()]
        try:
            self._consumer.commit(offsets=places, asynchronous=False)
        except KafkaException as error:
            if kafka_error(error).code() not in _NO_LONGER_OURS:
                raise translate(error, f"commit of group {self.group}") from error
            _LOG.info("group %s: not committed, the partitions are another's now: %s", self.group, error)

    def send(self, topic: str, key: bytes | None, value: bytes | None, headers: Sequence[Header]) -> None:
        """Publish a record and wait until it is there. Raises RecordTooLargeError, ReopenError."""
        try:
            self._producer.send(topic, value, key, headers).result(2 * SEND_S)
        except PublishError as error:
            if error.code == "MSG_SIZE_TOO_LARGE":
                raise RecordTooLargeError(f"{topic}: {error}") from error
            raise ReopenError(f"{topic}: {error}") from error
        except TimeoutError as error:
            raise ReopenError(f"{topic}: {error}") from error

    def close(self) -> None:
        """Leave the group; what was not committed comes again."""
        self._consumer.close()
        self._producer.close(0.0)

    def _on_error(self, error: KafkaError) -> None:
        self.trouble = error.str()

    def _on_assign(self, _: Consumer, partitions: list[TopicPartition]) -> None:
        self.partitions |= {(tp.topic, tp.partition) for tp in partitions}

    def _on_revoke(self, consumer: Consumer, partitions: list[TopicPartition]) -> None:
        places = [(tp.topic, tp.partition) for tp in partitions]
        self._leaving(places)
        consumer.resume(partitions)  # a pause must not outlive the assignment
        self.partitions -= set(places)


class RecordTooLargeError(RuntimeError):
    """The record is larger than its topic takes."""


def received(message: Message) -> Received:
    """Return a message as a record."""
    headers = cast(list[tuple[str, str | bytes | None]], message.headers() or [])
    encoded = tuple((name, value.encode() if isinstance(value, str) else value) for name, value in headers)
    return Received(
        str(message.topic()),
        int(message.partition() or 0),
        int(message.offset() or 0),
        message.timestamp()[1],
        message.key(),
        message.value(),
        encoded,
    )
