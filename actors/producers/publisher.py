"""The publisher: records in, delivered events out, each with its schema, its key, its trace and its outcome.

Theory of operation
-------------------
1. *Validate, then send.* A record is encoded against its registered schema before anything leaves; `EncodeError` names
   the field. Of a batch with one bad record nothing is sent.
2. *One outcome.* `publish` returns a `Delivery`. It ends with (partition, offset), or with `PublishError` when retries
   within the deadline did not help; then the record stands in `<topic>.dlq`, and the error says where, or why not.
3. *Order.* Records of one key, published by one thread, stand in the log in that order: idempotent producer, one
   partition.
4. *Headers.* `correlation-id` and `traceparent` are always there.
5. *Nothing is lost by closing.* `close` delivers what is buffered, or raises with the number that it could not.
"""

from __future__ import annotations

import atexit
import contextlib
import threading
import time
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self

from actors.kafka.delivery import BatchDelivery, Delivery, UndeliveredError
from actors.kafka.producer import Limits, ProducerMetrics, ReliableProducer
from actors.producers.dead_letters import DeadLetters
from actors.producers.trace import trace_headers
from schemas.encode import Encoder
from schemas.framing import EncodeError
from schemas.registry import Registry
from schemas.topics import TOPICS, schema_text, subject_of

BATCH_RECORDS_MAX = 10_000  # a batch is encoded whole before it is sent

KeyOf = Callable[[Mapping[str, Any]], str]  # the key of a record; called when the record is known to be valid


@dataclass(frozen=True, slots=True)
class PublisherMetrics:
    """Counts since the start; `producer` has what Kafka's side says."""

    producer: ProducerMetrics
    invalid: int  # refusals by validation: of a record, or of a batch for one of its records; never sent
    dead_lettered: int  # records that failed and stand in their dead-letter topic


class Publisher:
    """Publishes Avro records; the categories' publishers sit on top of one. Thread-safe. Close it, or use `with`.

    `client` holds librdkafka's further settings; `clock` gives seconds since the epoch, for events that bring no time.
    Raises ConfigError for settings that are wrong. Only the first record of a topic needs the registry, and raises
    RegistryUnavailable (schemas/registry.py) if it does not answer.
    """

    def __init__(
        self,
        bootstrap: str,
        registry: Registry,
        client: Mapping[str, str] | None = None,
        *,
        limits: Limits | None = None,
        clock: Callable[[], float] = time.time,
        name: str = "chipquality-publisher",
    ) -> None:
        self.clock = clock
        self.limits = limits or Limits()
        self._registry = registry
        self._encoders: dict[tuple[str, str], Encoder] = {}
        self._lock = threading.Lock()
        self._closed = False
        self._invalid = 0
        self._dead_letters = DeadLetters(
            bootstrap,
            client or {},
            limits=self.limits,
            name=name,
            encode=lambda topic, record: self._encoders[topic, "dead_letter"].encode(record),
            topic_of=self._dead_letter_topic,
            clock=clock,
        )
        self._producer = ReliableProducer(
            bootstrap, client, limits=self.limits, name=name, on_failure=self._dead_letters.take
        )
        atexit.register(self.close)  # a program that ends without closing loses nothing either

    def publish(
        self,
        topic: str,
        record_name: str,
        record: Mapping[str, Any],
        *,
        key: str | KeyOf,
        correlation_id: str | None = None,
        traceparent: str | None = None,
        tracestate: str | None = None,
        timestamp_ms: int = 0,
    ) -> Delivery:
        """Validate, encode and take one record; return its outcome-to-be.

        `correlation_id` defaults to the record's event_id, `traceparent` to a new trace. `timestamp_ms` is Kafka's, the
        time of publishing (0: now); the time of the event is in the record.
        `key` is the Kafka key, or how to get it from the record once that is valid.

        Raises EncodeError that names the field, TraceError that names the header, BackpressureError if the buffer
        stays full, ClosedError after close. The record was not taken then.
        """
        headers = trace_headers(correlation_id or str(record.get("event_id") or uuid.uuid4()), traceparent, tracestate)
        try:
            value = self.encode(topic, record_name, record)
        except EncodeError:
            self.count_invalid()
            raise
        name = key if isinstance(key, str) else key(record)
        return self._producer.send(topic, value, name.encode(), headers, timestamp_ms)

    def encode(self, topic: str, record_name: str, record: Mapping[str, Any]) -> bytes:
        """Return a record as it would be sent: for `publish_encoded`, when all of several records are known to be valid.

        Raises EncodeError that names the field.
        """
        return self._encoder(topic, record_name).encode(record)

    def publish_encoded(self, topic: str, value: bytes, key: str, *, correlation_id: str) -> Delivery:
        """Take what `encode` returned; return its outcome-to-be. Raises BackpressureError, ClosedError, TraceError."""
        return self._producer.send(topic, value, key.encode(), trace_headers(correlation_id))

    def publish_batch(
        self,
        topic: str,
        record_name: str,
        records: Sequence[Mapping[str, Any]],
        *,
        key_of: KeyOf,
        correlation_id: str | None = None,
        traceparent: str | None = None,
        tracestate: str | None = None,
        timestamp_ms: int = 0,
    ) -> BatchDelivery:
        """Validate and encode up to BATCH_RECORDS_MAX records, then take them in order; return their common outcome.

        All of them carry the same headers. Raises as `publish` does; if one record is not valid none is sent, and the
        error also says which row it is. BackpressureError has `sent`: go on with records[sent:].
        """
        if len(records) > BATCH_RECORDS_MAX:
            raise ValueError(f"a batch of {len(records)} records: at most {BATCH_RECORDS_MAX}")
        encode = self._encoder(topic, record_name).encode
        headers = trace_headers(correlation_id or str(uuid.uuid4()), traceparent, tracestate)
        values: list[bytes] = []
        try:
            for record in records:
                values.append(encode(record))  # noqa: PERF401 - the error needs to know how far it came
        except EncodeError as error:
            self.count_invalid()
            error.add_note(f"row {len(values)} of the batch; nothing of it was sent")
            raise
        keys = [key_of(record).encode() for record in records]
        return self._producer.send_batch(topic, values, keys, headers, timestamp_ms)

    def send_raw(self, topic: str, value: bytes | None, key: bytes | None = None) -> Delivery:
        """Send bytes as they are, with no schema: for records already encoded, and for planting bad ones in a demo."""
        headers = trace_headers(str(uuid.uuid4()))
        return self._producer.send(topic, value, key, headers)

    @contextlib.contextmanager
    def counting_invalid(self) -> Iterator[None]:
        """Count a record that is refused inside the block: for checks that a schema cannot express."""
        try:
            yield
        except EncodeError:
            self.count_invalid()
            raise

    def check(self, timeout_s: float = 5.0) -> None:
        """Raise BrokerUnavailableError, in one line, if no broker answers."""
        self._producer.check(timeout_s)

    def flush(self, timeout_s: float | None = None) -> int:
        """Wait until all that was published has its outcome; return the number that has none after `timeout_s`."""
        return self._producer.drain(self.limits.patience_s if timeout_s is None else timeout_s)

    def close(self, timeout_s: float | None = None) -> None:
        """Take no more, deliver what is buffered within `timeout_s` (default: the deadlines), stop.

        Raises UndeliveredError with the number of records left without an outcome; their Deliveries fail now. A second
        call does nothing.
        """
        with self._lock:
            if self._closed:
                return
            self._closed = True
        atexit.unregister(self.close)
        self._producer.refuse()
        left = self._producer.drain(self.limits.patience_s if timeout_s is None else timeout_s)
        for close in (self._dead_letters.close, self._producer.close):  # what waits for its dead letter fails first
            with contextlib.suppress(UndeliveredError):
                close(0.0)
        if left:
            raise UndeliveredError(
                f"closed with {left} records that {self._producer.bootstrap} has not acknowledged", count=left
            )

    def metrics(self) -> PublisherMetrics:
        """Return the counters as they are now."""
        return PublisherMetrics(
            producer=self._producer.metrics(), invalid=self._invalid, dead_lettered=self._dead_letters.written
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def _encoder(self, topic: str, record_name: str) -> Encoder:
        """Return the encoder of a topic's record; the first call registers its schema, and that of the dead letters."""
        encoder = self._encoders.get((topic, record_name))
        if encoder is None:
            dead = self._dead_letter_topic(topic)
            if dead is not None and (dead, "dead_letter") not in self._encoders:
                self._register(dead, "dead_letter")
            encoder = self._register(topic, record_name)
        return encoder

    def _register(self, topic: str, record_name: str) -> Encoder:
        schema_id = self._registry.register(subject_of(topic, record_name), schema_text(record_name))
        encoder = self._encoders[topic, record_name] = Encoder(record_name, schema_id)
        return encoder

    def _dead_letter_topic(self, topic: str) -> str | None:
        known = TOPICS.get(topic)
        return known.dead_letters if known is not None else None

    def count_invalid(self) -> None:
        """Count one refusal."""
        with self._lock:
            self._invalid += 1
