"""What a publisher cannot deliver goes to `<topic>.dlq`, with the reason; the caller's Delivery fails all the same.

The dead letters have a producer of their own, made at the first failure: a full or broken main buffer does not hold
them up. A value is kept whole; of one that was refused for its size the first VALUE_PREFIX_BYTES are kept, and its true
size stands in `detail`.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from actors.kafka.delivery import Delivery, Failure, PublishError, Settle
from actors.kafka.producer import Limits, ReliableProducer
from schemas.batch import Reason
from schemas.framing import EncodeError

VALUE_PREFIX_BYTES = 64 * 1024
BUFFER_RECORDS_MAX = 10_000  # of dead letters under way; one more is not written, and its caller is told

Encode = Callable[[str, Mapping[str, Any]], bytes]  # (dead-letter topic, record) → value


class DeadLetters:
    """Writes dead letters of records that failed for good; settles each record when it knows what became of its own."""

    def __init__(
        self,
        bootstrap: str,
        client: Mapping[str, str],
        *,
        limits: Limits,
        name: str,
        encode: Encode,
        topic_of: Callable[[str], str | None],
        clock: Callable[[], float],
    ) -> None:
        self._bootstrap = bootstrap
        self._client = client
        self._limits = replace(
            limits,
            buffer_records_max=BUFFER_RECORDS_MAX,
            backpressure_wait_s=0.0,
            record_bytes_max=max(limits.record_bytes_max, 2 * VALUE_PREFIX_BYTES),
        )
        self._name = name
        self._encode = encode
        self._topic_of = topic_of
        self._clock = clock
        self._lock = threading.Lock()
        self._producer: ReliableProducer | None = None
        self._closed = False
        self.written = 0  # acknowledged

    def take(self, failure: Failure, settle: Settle) -> None:
        """Write the dead letter of `failure`, then settle it; it is settled at once if that cannot be. Never raises."""
        topic = self._topic_of(failure.topic)
        if failure.purged:
            settle(_error(failure, "", "given up when the publisher was closed"))
        elif topic is None:
            settle(_error(failure, "", "this topic has no dead-letter topic"))
        elif failure.unreachable:
            settle(_error(failure, "", "no dead letter either: no broker answers"))
        else:
            self._write(topic, failure, settle, prefix=failure.too_large)

    def close(self, timeout_s: float) -> None:
        """Deliver what is under way, take no more. Raises UndeliveredError with the number left."""
        with self._lock:
            self._closed = True
            producer = self._producer
        if producer is not None:
            producer.close(timeout_s)

    def _write(self, topic: str, failure: Failure, settle: Settle, *, prefix: bool) -> None:
        def known(delivery: Delivery) -> None:
            try:
                partition, offset = delivery.result(0)
            except PublishError as error:
                if error.code == "MSG_SIZE_TOO_LARGE" and not prefix:
                    self._write(topic, failure, settle, prefix=True)
                else:
                    settle(_error(failure, "", f"no dead letter either: {error}"))
                return
            with self._lock:
                self.written += 1
            settle(_error(failure, f"{topic}[{partition}]@{offset}", ""))

        try:
            value = self._encode(topic, self._record(failure, prefix=prefix))
            self._open().send(topic, value, failure.key, failure.headers, then=known)
        except (PublishError, EncodeError) as error:
            settle(_error(failure, "", f"no dead letter either: {error}"))

    def _open(self) -> ReliableProducer:
        with self._lock:
            if self._producer is None:
                if self._closed:
                    raise PublishError("the publisher is closed")
                self._producer = ReliableProducer(
                    self._bootstrap, self._client, limits=self._limits, name=f"{self._name}-dlq"
                )
            return self._producer

    def _record(self, failure: Failure, *, prefix: bool) -> dict[str, Any]:
        value, detail = failure.value, f"{failure.code}: {failure.text}"
        truncated = False
        if prefix and value is not None and len(value) > VALUE_PREFIX_BYTES:
            detail += f"; the value has {len(value)} bytes, of which the first {VALUE_PREFIX_BYTES} are kept"
            value, truncated = value[:VALUE_PREFIX_BYTES], True
        return {
            "topic": failure.topic,
            "partition": -1,
            "offset": -1,
            "timestamp_ms": int(self._clock() * 1000),
            "reason": Reason.PUBLISH_FAILED.value,
            "detail": detail,
            "key": failure.key,
            "value": value,
            "attempts": 1,
            "source": self._name,
            "truncated": truncated,
        }


def _error(failure: Failure, dead_letter: str, why: str) -> PublishError:
    told = f"dead letter at {dead_letter}" if dead_letter else why
    return PublishError(
        f"{failure.topic}: {failure.code}: {failure.text}; {told}",
        topic=failure.topic,
        code=failure.code,
        dead_letter=dead_letter,
    )
