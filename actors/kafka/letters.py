"""What `chipquality dead-letters` asks of Kafka: dead letters, single records by their coordinates, and redrives."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator, Mapping, Sequence

from confluent_kafka import Consumer, KafkaError, KafkaException, Message, Producer, TopicPartition

from actors.errors import ReopenError
from actors.kafka.admin import Admin
from actors.kafka.client import Cluster
from actors.kafka.consumer import Offsets, assign_only
from actors.kafka.errors import translate, translated
from actors.kafka.group import received
from actors.sinks.journey import Received
from actors.sinks.redrive import Coordinates, Outgoing
from schemas.topics import RETRY_BYTES_MAX

CALL_TIMEOUT_S = 10.0
IDLE_S = 20.0  # without a record; then the broker is told to be silent
RECORDS_MAX = 200  # of one poll
FETCH_S = 5.0  # for one record by its coordinates
TRANSACTIONAL_ID = "chipquality-redrive"  # one for all: a second redrive at the same time fences the first
TRANSACTION_TIMEOUT_MS = 60_000
COMMIT_S = 30.0
Place = tuple[str, int]  # topic, partition

_GROUP = "chipquality-dead-letters"  # librdkafka wants one; nothing joins it and nothing is committed
_LOST = frozenset({KafkaError._AUTO_OFFSET_RESET, KafkaError.OFFSET_OUT_OF_RANGE})
_GONE = _LOST | {KafkaError._PARTITION_EOF}
_NO_PLACE = frozenset({KafkaError.UNKNOWN_TOPIC_OR_PART, KafkaError._UNKNOWN_TOPIC, KafkaError._UNKNOWN_PARTITION})
_PASSING = frozenset({KafkaError._TRANSPORT, KafkaError._ALL_BROKERS_DOWN, KafkaError._RESOLVE, KafkaError._TIMED_OUT})


def partitions_of(cluster: Cluster, topics: Sequence[str]) -> dict[str, list[int]]:
    """Return the partitions of those of the topics that exist. Raises ReopenError if no broker answers."""
    found = Admin(cluster.bootstrap_servers, cluster.client).topics(topics)
    return {topic["name"]: [part["partition"] for part in topic["partitions"]] for topic in found}


def read_records(cluster: Cluster, topic: str, partitions: Sequence[int], since_ms: int | None) -> Iterator[Received]:
    """Yield the committed records of a topic, oldest first per partition, up to where each partition ends now.

    `since_ms`: only those written since, by Kafka's timestamp. Raises ReopenError if the broker falls silent.
    """
    offsets = Offsets(cluster)
    ends, starts = offsets.end(topic, partitions), offsets.first(topic, partitions)
    consumer = assign_only(cluster, _GROUP)
    try:
        if since_ms is not None:
            asked = [TopicPartition(topic, partition, since_ms) for partition in partitions]
            for tp in consumer.offsets_for_times(asked, timeout=CALL_TIMEOUT_S):
                starts[tp.partition] = tp.offset if tp.offset >= 0 else ends[tp.partition]
        left = {partition for partition in partitions if starts[partition] < ends[partition]}
        consumer.assign([TopicPartition(topic, partition, starts[partition]) for partition in left])
        deadline = time.monotonic() + IDLE_S
        while left:
            for message in consumer.consume(RECORDS_MAX, 0.1):
                deadline = time.monotonic() + IDLE_S
                partition, at = int(message.partition() or 0), int(message.offset() or 0)
                if _is_record(message, topic):
                    yield received(message)
                    at += 1
                if at >= ends[partition]:
                    left.discard(partition)
            if left and time.monotonic() > deadline:
                raise ReopenError(f"{topic}: partitions {sorted(left)} do not answer for {IDLE_S:g} s")
    except KafkaException as error:
        raise translate(error, f"read {topic}") from error
    finally:
        consumer.close()


def read_spans(
    cluster: Cluster, spans: Mapping[Place, tuple[int, int]], timeout_s: float
) -> dict[Place, list[Received]]:
    """Return the committed records between offsets [first, end) of partitions, also of several topics, in offset order.

    What is not retained any more is left out. Raises ReopenError if they are not all read in time.
    """
    found: dict[Place, list[Received]] = {place: [] for place in spans}
    left = {place: end for place, (first, end) in spans.items() if first < end}
    consumer = assign_only(cluster, _GROUP)
    deadline = time.monotonic() + timeout_s
    try:
        consumer.assign([TopicPartition(*place, spans[place][0]) for place in left])
        while left:
            for message in consumer.consume(RECORDS_MAX, 0.05):
                place, at = (str(message.topic()), int(message.partition() or 0)), int(message.offset() or 0)
                if place not in left:
                    continue
                if _is_record(message, place[0]):
                    if at < left[place]:
                        found[place].append(received(message))
                    at += 1
                if at >= left[place] or _is_lost(message):
                    del left[place]
                    consumer.incremental_unassign([TopicPartition(*place)])  # what is newer need not be fetched
            if left and time.monotonic() > deadline:
                raise ReopenError(f"records of {sorted(left)[0][0]} are not read within {timeout_s:g} s")
    except KafkaException as error:
        raise translate(error, f"read {', '.join(sorted({topic for topic, _ in spans}))}") from error
    finally:
        consumer.close()
    return found


def _is_record(message: Message, topic: str) -> bool:
    error = message.error()
    if error is None:
        return True
    if error.code() not in _GONE | _PASSING:
        raise translate(error, f"read {topic}")
    return False


def _is_lost(message: Message) -> bool:
    """Say whether a partition does not go on: retention has taken what was to be read next."""
    error = message.error()
    return error is not None and error.code() in _LOST


def fetch(cluster: Cluster, places: Sequence[Coordinates]) -> dict[Coordinates, Received | None]:
    """Return single records by their coordinates; None for one that is not there (any more). Raises ReopenError."""
    if not places:
        return {}
    consumer = assign_only(cluster, _GROUP)
    try:
        with translated("read single records"):
            return {place: _fetch(consumer, place) for place in dict.fromkeys(places)}
    finally:
        consumer.close()


def _fetch(consumer: Consumer, place: Coordinates) -> Received | None:
    topic, partition, offset = place
    known = consumer.list_topics(topic, timeout=FETCH_S).topics[topic]
    if (
        known.error is not None or partition not in known.partitions
    ):  # an assigned consumer would wait for it in silence
        return None
    consumer.assign([TopicPartition(topic, partition, offset)])
    deadline = time.monotonic() + FETCH_S
    while time.monotonic() < deadline:
        message = consumer.poll(0.1)
        if message is None:
            continue
        error = message.error()
        if error is None:
            return received(message) if message.offset() == offset else None
        if error.code() in _GONE | _NO_PLACE:
            return None
        if error.code() not in _PASSING:
            raise translate(error, f"read {topic}:{partition}:{offset}")
    raise ReopenError(f"{topic}:{partition}:{offset}: no answer within {FETCH_S:g} s")


class RedriveWriter:
    """Publishes records again, and in the same transaction what was published where. `open`, `write` …, `close`.

    Opening fences every other redrive: what has been redriven is to be read after it. Any error ends this writer, and
    what it had under way is aborted.
    """

    def __init__(self, cluster: Cluster) -> None:
        settings = cluster.settings(
            transactional_id=TRANSACTIONAL_ID,
            transaction_timeout_ms=TRANSACTION_TIMEOUT_MS,
            linger_ms=0,
            partitioner="murmur2_random",
            message_max_bytes=RETRY_BYTES_MAX,
        )
        self._producer = Producer(settings)

    def open(self) -> None:
        """Fence every other redrive. Raises ReopenError, FencedError."""
        with translated("begin to redrive"):
            self._producer.init_transactions(COMMIT_S)

    def write(
        self, records: Sequence[Outgoing], marks_topic: str, mark_of: Callable[[Outgoing, int, int], bytes]
    ) -> list[tuple[int, int]]:
        """Publish all of the records, or none; return partition and offset of each. Raises ReopenError, FencedError."""
        places: dict[int, tuple[int, int]] = {}
        failed: list[KafkaError] = []

        def report(number: int) -> Callable[[KafkaError | None, Message], None]:
            def done(error: KafkaError | None, message: Message) -> None:
                if error is not None:
                    failed.append(error)
                else:
                    places[number] = (int(message.partition() or 0), int(message.offset() or 0))

            return done

        producer = self._producer
        try:
            producer.begin_transaction()
            for number, record in enumerate(records):
                producer.produce(
                    record.to_topic, record.value, record.key, headers=list(record.headers), on_delivery=report(number)
                )
                producer.poll(0)
            producer.flush(COMMIT_S)
            if failed or len(places) < len(records):
                why = failed[0].str() if failed else f"{len(records) - len(places)} records not acknowledged"
                producer.abort_transaction(COMMIT_S)
                raise ReopenError(f"nothing was redriven: {why}")
            for number, record in enumerate(records):
                producer.produce(marks_topic, mark_of(record, *places[number]), record.name.encode(), 0)
            producer.commit_transaction(COMMIT_S)
        except KafkaException as error:
            raise translate(error, "redrive") from error
        except SystemError as error:  # confluent-kafka 2.16 raises a fatal error in the middle of a delivery report
            if isinstance(error.__cause__, KafkaException):
                raise translate(error.__cause__, "redrive") from error
            raise
        return [places[number] for number in range(len(records))]

    def close(self) -> None:
        """End; what is under way is dropped."""
        with contextlib.suppress(KafkaException):  # one that was fenced says so once more
            self._producer.purge()
            self._producer.close()
