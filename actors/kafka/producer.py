"""The one Kafka producer of the publishers: idempotent, bounded, every outcome told to whoever sent the record.

Theory of operation
-------------------
librdkafka buffers, batches, compresses, retries and keeps order (idempotent, acks=all). This file adds the rest:
1. *One thread polls.* Delivery reports run on the poll thread, whoever sends, so counters need no lock there.
2. *A full buffer is waited for, not dropped.* `send` blocks until there is room or `backpressure_wait_s` is over.
3. *Every record is settled exactly once*: delivered, or failed with a reason. `buffered` is what is not settled yet;
   `drain` waits for zero, and `close` tells how many were not delivered instead of forgetting them.
4. *A future costs little.* A `Delivery` has slots and no lock of its own; waiters share the producer's condition, and
   the poll thread touches it only while somebody waits.

`Producer.produce_batch` is not used: in confluent-kafka 2.16 it takes no headers, so neither correlation nor trace
would travel; a loop over `produce` with one callback for the batch costs about 2 µs more per record.
"""

from __future__ import annotations

import math
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from confluent_kafka import KafkaError, KafkaException, Message
from confluent_kafka import Producer as Client

from actors.errors import ConfigError
from actors.kafka.client import Cluster
from actors.kafka.delivery import (
    BackpressureError,
    BatchDelivery,
    BrokerUnavailableError,
    ClosedError,
    Delivery,
    Failure,
    FailureHook,
    Headers,
    PublishError,
    UndeliveredError,
)
from actors.kafka.errors import kafka_error

POLL_WAIT_S = 0.1  # the poll thread looks this often whether it shall stop
SPACE_WAIT_S = 0.02  # what a missed wake-up of a sender costs at most
SETTLE_WAIT_S = 5.0  # after a purge all reports are local: this is never reached
LATENCIES_MAX = 4096  # newest delivery latencies kept for p50 and p95
TOPIC_WAIT_MS = 5000  # how long a topic that the broker does not know is waited for

_PURGED = frozenset({KafkaError._PURGE_QUEUE, KafkaError._PURGE_INFLIGHT})
_FIXED = {
    "enable.idempotence": "true",
    "acks": "all",
    "partitioner": "murmur2_random",  # as Java's clients: a key is in the same partition whoever writes it
}
_SAME = {"acks": {"-1"}, "enable.idempotence": {"1"}}  # other spellings of the same


@dataclass(frozen=True, slots=True)
class Limits:
    """What bounds a producer, in records, bytes and time."""

    buffer_records_max: int = 100_000
    buffer_bytes_max: int = 64 * 1024 * 1024
    record_bytes_max: int = 1_000_000  # at most the topic's max.message.bytes: the broker refuses whole batches
    backpressure_wait_s: float = 30.0  # how long `send` waits for room
    delivery_deadline_s: float = 30.0  # retries end here: librdkafka's delivery.timeout.ms
    linger_ms: int = 5  # how long a record waits for company

    @property
    def patience_s(self) -> float:
        """How long it takes at most until every record has its outcome: its deadline, then that of its dead letter."""
        return 2 * self.delivery_deadline_s + 1


@dataclass(frozen=True, slots=True)
class ProducerMetrics:
    """Counts since the start; latency from `send` to the acknowledgement, over the newest LATENCIES_MAX deliveries."""

    published: int  # taken by send
    delivered: int  # acknowledged by all in-sync replicas
    failed: int  # settled with an error
    bytes: int  # of keys and values taken, before compression
    buffered: int  # taken and not settled yet
    backpressure_waits: int  # times a send found the buffer full
    latency_p50_ms: float  # NaN before the first delivery
    latency_p95_ms: float


class _Record(NamedTuple):
    topic: str
    value: bytes | None
    key: bytes | None
    headers: Headers
    timestamp_ms: int


class ReliableProducer:
    """An idempotent producer of bytes; `Publisher` puts schemas, trace headers and dead letters on top of it.

    `client` holds librdkafka's further settings (security and the like). Raises ConfigError for one that it does not
    know, or that would weaken what is promised here. It starts without a broker; `check` tells whether one answers.
    """

    def __init__(
        self,
        bootstrap: str,
        client: Mapping[str, str] | None = None,
        *,
        limits: Limits | None = None,
        name: str = "chipquality",
        on_failure: FailureHook | None = None,
    ) -> None:
        self.bootstrap = bootstrap
        self.limits = limits or Limits()
        self._on_failure = on_failure
        self._changed = threading.Condition(threading.Lock())
        self._waiters = 0
        self._published = self._failed_count = self._bytes = self._waits = 0  # under the lock
        self._delivered_count = 0  # poll thread only
        self._latencies: deque[float] = deque(maxlen=LATENCIES_MAX)  # seconds; poll thread only
        self._unreachable = False  # no broker has answered since the last delivery
        self._transport_error = ""
        self._refusing = self._closed = self._stop = False
        settings = _settings(Cluster(bootstrap, client=client or {}), self.limits, name)
        try:
            self._client = Client({**settings, "error_cb": self._connection_error})
        except KafkaException as error:
            raise ConfigError(f"kafka.client: {kafka_error(error).str()}") from error
        self._thread = threading.Thread(target=self._poll, name=f"{name}-poll", daemon=True)
        self._thread.start()

    def send(
        self,
        topic: str,
        value: bytes | None,
        key: bytes | None = None,
        headers: Headers = (),
        timestamp_ms: int = 0,
        *,
        then: Callable[[Delivery], None] | None = None,
        wait_s: float | None = None,
    ) -> Delivery:
        """Take one record; return its Delivery. `timestamp_ms` is Kafka's (0: now).

        Raises BackpressureError if the buffer stays full, and ClosedError; all else reaches the Delivery. `then` is
        called with it once, on a producer's thread: it must be short and must not raise.
        """
        delivery = Delivery(self, headers, then)
        self._take(topic, 1, len(value or b"") + len(key or b""))
        self._produce(_Record(topic, value, key, headers, timestamp_ms), delivery, self._deadline(wait_s))
        return delivery

    def send_batch(
        self, topic: str, values: Sequence[bytes], keys: Sequence[bytes], headers: Headers = (), timestamp_ms: int = 0
    ) -> BatchDelivery:
        """Take many records of one topic in order; return their common outcome.

        Raises BackpressureError, whose `sent` and `delivery` say what was taken before the buffer stayed full, and
        ClosedError.
        """
        if len(values) != len(keys):
            raise ValueError(f"{len(values)} values and {len(keys)} keys")
        delivery = BatchDelivery(self, headers, len(values))
        self._take(topic, len(values), sum(map(len, values)) + sum(map(len, keys)))
        produce, report, common = self._client.produce, delivery.report, [*headers]
        deadline = self._deadline(None)
        sent = 0
        try:
            for value, key in zip(values, keys, strict=True):
                try:
                    produce(topic, value, key, on_delivery=report, timestamp=timestamp_ms, headers=common)
                except (BufferError, KafkaException):
                    self._produce(_Record(topic, value, key, headers, timestamp_ms), delivery, deadline)
                sent += 1
        except PublishError as error:
            delivery.records = sent
            self._untake(len(values) - sent - 1)  # _produce gave back its own
            if isinstance(error, BackpressureError):
                raise BackpressureError(str(error), topic=topic, sent=sent, delivery=delivery) from error
            raise
        return delivery

    def wait_until(self, condition: Callable[[], bool], timeout_s: float | None) -> bool:
        """Wait until `condition`, looked at whenever something was settled; return whether it came true in time."""
        if condition():
            return True
        with self._changed:
            self._waiters += 1  # before looking: a report that comes after the look sees a waiter, and wakes it
            try:
                return self._changed.wait_for(condition, timeout_s)
            finally:
                self._waiters -= 1

    def drain(self, timeout_s: float) -> int:
        """Wait until everything taken is settled; return the number that is not after `timeout_s`."""
        self.wait_until(lambda: self.buffered == 0, timeout_s)
        return self.buffered

    def refuse(self) -> None:
        """Take no more; what was taken goes on."""
        with self._changed:
            self._refusing = True

    def close(self, timeout_s: float | None = None) -> None:
        """Take no more, deliver what is buffered (default: within the deadlines), stop.

        Raises UndeliveredError with the number that is left. A second call does nothing.
        """
        with self._changed:
            if self._closed:
                return
            self._refusing = self._closed = True
        left = self.drain(self.limits.patience_s if timeout_s is None else timeout_s)
        self._stop = True  # a sender that waits for room gives up
        give_up = time.monotonic() + SETTLE_WAIT_S
        while self.buffered and time.monotonic() < give_up:
            self._client.purge()  # again, as long as a sender in the middle of a batch fills the room this makes
            self.drain(SPACE_WAIT_S)
        self._thread.join(SETTLE_WAIT_S)
        self._client.close()
        if left:
            raise UndeliveredError(
                f"closed with {left} records not acknowledged by {self.bootstrap}{self._why()}", count=left
            )

    def check(self, timeout_s: float = 5.0) -> None:
        """Ask the broker for its topics. Raises BrokerUnavailableError with one line that says where and why."""
        try:
            self._client.list_topics(timeout=timeout_s)
        except KafkaException as error:
            why = self._why() or f": {kafka_error(error).str()}"
            raise BrokerUnavailableError(
                f"no Kafka broker answers at {self.bootstrap} within {timeout_s:g} s{why}. "
                "Is it running, and is kafka.bootstrap_servers right?",
                code=kafka_error(error).name(),
            ) from error

    @property
    def buffered(self) -> int:
        """Records taken and not settled."""
        return self._published - self._delivered_count - self._failed_count

    def metrics(self) -> ProducerMetrics:
        """Return the counters as they are now."""
        latencies = sorted(self._latencies.copy())  # a copy is atomic: the poll thread goes on appending
        return ProducerMetrics(
            published=self._published,
            delivered=self._delivered_count,
            failed=self._failed_count,
            bytes=self._bytes,
            buffered=self.buffered,
            backpressure_waits=self._waits,
            latency_p50_ms=_quantile_ms(latencies, 0.50),
            latency_p95_ms=_quantile_ms(latencies, 0.95),
        )

    def settle(self, delivery: Delivery | BatchDelivery, error: KafkaError | None, message: Message) -> None:
        """Take one delivery report; on the poll thread."""
        if error is not None:
            self._fail(
                delivery, error, _Record(message.topic() or "", _raw(message.value()), _raw(message.key()), (), 0)
            )
            return
        latency = message.latency()
        if latency is not None:
            self._latencies.append(latency)
        self._unreachable = False
        delivery.delivered(message.partition() or 0, message.offset() or 0)
        self._delivered_count += 1

    def _take(self, topic: str, records: int, size: int) -> None:
        with self._changed:
            if self._refusing:
                raise ClosedError(f"{topic}: the publisher is closed", topic=topic)
            self._published += records
            self._bytes += size

    def _untake(self, records: int) -> None:
        with self._changed:
            self._published -= records
            self._changed.notify_all()

    def _deadline(self, wait_s: float | None) -> float:
        return time.monotonic() + (self.limits.backpressure_wait_s if wait_s is None else wait_s)

    def _produce(self, record: _Record, delivery: Delivery | BatchDelivery, deadline: float) -> None:
        """Hand one record to librdkafka, waiting for room; what it refuses for good fails as if the broker had."""
        topic, value, key, headers, timestamp_ms = record
        common = [*headers]
        while True:
            try:
                self._client.produce(
                    topic, value, key, on_delivery=delivery.report, timestamp=timestamp_ms, headers=common
                )
            except BufferError:
                self._wait_for_room(topic, deadline)
            except KafkaException as error:
                self._fail(delivery, kafka_error(error), record)
                return
            else:
                return

    def _wait_for_room(self, topic: str, deadline: float) -> None:
        remaining = deadline - time.monotonic()
        with self._changed:
            self._waits += 1
            if not self._stop and remaining > 0:
                self._waiters += 1
                self._changed.wait(min(remaining, SPACE_WAIT_S))
                self._waiters -= 1
                if not self._stop:
                    return
        self._untake(1)
        if self._stop:
            raise ClosedError(f"{topic}: closed while waiting for room in the buffer", topic=topic)
        limits = self.limits
        raise BackpressureError(
            f"{topic}: the buffer ({limits.buffer_records_max} records, {limits.buffer_bytes_max} bytes) stayed full"
            f"{self._why()}",
            topic=topic,
        )

    def _fail(self, delivery: Delivery | BatchDelivery, error: KafkaError, record: _Record) -> None:
        timed_out = error.code() == KafkaError._MSG_TIMED_OUT
        failure = Failure(
            topic=record.topic,
            key=record.key,
            value=record.value,
            headers=delivery.headers,
            code=error.name(),
            text=error.str() + (self._why() if timed_out else ""),
            too_large=error.code() == KafkaError.MSG_SIZE_TOO_LARGE,
            unreachable=timed_out and self._unreachable,
            purged=error.code() in _PURGED,
        )

        def settle(outcome: PublishError) -> None:
            delivery.failed(outcome)
            with self._changed:
                self._failed_count += 1
                self._changed.notify_all()

        if self._on_failure is None:
            settle(
                PublishError(f"{record.topic}: {failure.code}: {failure.text}", topic=record.topic, code=failure.code)
            )
        else:
            self._on_failure(failure, settle)

    def _poll(self) -> None:
        while not self._stop or self.buffered:
            if self._client.poll(POLL_WAIT_S) and self._waiters:
                with self._changed:
                    self._changed.notify_all()

    def _connection_error(self, error: KafkaError) -> None:
        """Remember what librdkafka says of its connections; it goes on trying. On the poll thread."""
        if error.code() == KafkaError._ALL_BROKERS_DOWN:
            self._unreachable = True
        else:
            self._transport_error = error.str()

    def _why(self) -> str:
        return f": {self._transport_error}" if self._unreachable and self._transport_error else ""


def _settings(cluster: Cluster, limits: Limits, name: str) -> dict[str, object]:
    for setting, value in _FIXED.items():
        given = str(cluster.client.get(setting, value)).lower()
        if given != value and given not in _SAME.get(setting, ()):
            raise ConfigError(f"kafka.client: {setting}={given}: a publisher needs {setting}={value}")
    deadline_ms = int(limits.delivery_deadline_s * 1000)
    defaults = {
        "client.id": name,
        "compression.type": "lz4",
        "linger.ms": limits.linger_ms,
        "queue.buffering.max.messages": limits.buffer_records_max,
        "queue.buffering.max.kbytes": max(1, limits.buffer_bytes_max // 1024),
        "message.max.bytes": limits.record_bytes_max,
        "delivery.timeout.ms": deadline_ms,
        "request.timeout.ms": min(10_000, deadline_ms),
        "topic.metadata.propagation.max.ms": min(TOPIC_WAIT_MS, deadline_ms // 2),
        "retry.backoff.ms": 50,
        "retry.backoff.max.ms": 1000,
    }
    return {**defaults, **cluster.settings(), **_FIXED}


def _raw(data: str | bytes | None) -> bytes | None:
    return data.encode() if isinstance(data, str) else data


def _quantile_ms(ordered: Sequence[float], q: float) -> float:
    """Return the q-quantile in ms of sorted seconds (nearest rank); NaN of none."""
    return ordered[max(0, math.ceil(q * len(ordered)) - 1)] * 1000.0 if ordered else math.nan
