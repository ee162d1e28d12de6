"""What becomes of a record that was given to a producer: delivered, or failed, with the errors that say why."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from confluent_kafka import KafkaError, Message

    from actors.kafka.producer import ReliableProducer

FAILURES_MAX = 100  # failures kept in full per batch; further ones are counted

Headers = Sequence[tuple[str, str | bytes | None]]


class PublishError(RuntimeError):
    """A record was not delivered: which topic, Kafka's name of the error, and what became of its dead letter."""

    def __init__(
        self,
        message: str,
        *,
        topic: str = "",
        code: str = "",
        dead_letter: str = "",
        failures: tuple[PublishError, ...] = (),
    ) -> None:
        super().__init__(message)
        self.topic = topic
        self.code = code  # e.g. MSG_SIZE_TOO_LARGE, _MSG_TIMED_OUT
        self.dead_letter = dead_letter  # "topic[partition]@offset" where it was written; "" if it was not
        self.failures = failures  # of a batch: the first FAILURES_MAX


class BackpressureError(PublishError):
    """The buffer stayed full for the whole wait: the broker does not keep up, or is gone. The record was not taken."""

    def __init__(self, message: str, *, topic: str = "", sent: int = 0, delivery: BatchDelivery | None = None) -> None:
        super().__init__(message, topic=topic, code="_QUEUE_FULL")
        self.sent = sent  # of a batch: this many records were taken before; go on with records[sent:]
        self.delivery = delivery  # of a batch: the outcome of those


class ClosedError(PublishError):
    """The producer is closed or closing; the record was not taken."""


class UndeliveredError(PublishError):
    """`close` gave up with `count` records not acknowledged. Those in flight may still have reached the broker."""

    def __init__(self, message: str, *, count: int = 0) -> None:
        super().__init__(message)
        self.count = count


class BrokerUnavailableError(PublishError):
    """No broker answers at the address given."""


@dataclass(frozen=True, slots=True)
class Failure:
    """A record that will not be delivered, as the failure hook sees it."""

    topic: str
    key: bytes | None
    value: bytes | None
    headers: Headers
    code: str
    text: str
    too_large: bool
    unreachable: bool  # the deadline passed while no broker answered: writing elsewhere is hopeless too
    purged: bool  # given up by close


Settle = Callable[[PublishError], None]
FailureHook = Callable[[Failure, Settle], None]  # must call Settle exactly once, now or later, from any thread


class Delivery:
    """The outcome of one record, when it is known: a small future."""

    __slots__ = ("_error", "_offset", "_partition", "_producer", "_then", "headers")

    def __init__(self, producer: ReliableProducer, headers: Headers, then: Callable[[Delivery], None] | None) -> None:
        self.headers = headers
        self._producer = producer
        self._then = then
        self._partition = -1
        self._offset = -1
        self._error: PublishError | None = None

    @property
    def done(self) -> bool:
        """Tell whether the outcome is known."""
        return self._offset >= 0 or self._error is not None

    @property
    def failure(self) -> PublishError | None:
        """Return why it failed; None as long as it has not."""
        return self._error

    def result(self, timeout_s: float | None = None) -> tuple[int, int]:
        """Return (partition, offset). Raises PublishError if it failed, TimeoutError if nothing is known in time.

        Without a timeout it still ends: every record is settled by the delivery deadline, or twice that if its dead
        letter waits too.
        """
        if not self._producer.wait_until(lambda: self.done, timeout_s):
            raise TimeoutError(f"no outcome within {timeout_s:g} s")
        if self._error is not None:
            raise self._error
        return self._partition, self._offset

    def report(self, error: KafkaError | None, message: Message) -> None:
        """Receive librdkafka's delivery report; on the poll thread."""
        self._producer.settle(self, error, message)

    def delivered(self, partition: int, offset: int) -> None:
        """Settle as delivered."""
        self._partition = partition
        self._offset = offset
        if self._then is not None:
            self._then(self)

    def failed(self, error: PublishError) -> None:
        """Settle as failed."""
        self._error = error
        if self._then is not None:
            self._then(self)


class BatchDelivery:
    """The outcome of the records of one batch, counted; failures are kept, successes are not."""

    __slots__ = ("_delivered_count", "_failed_count", "_failures", "_lock", "_producer", "headers", "records")

    def __init__(self, producer: ReliableProducer, headers: Headers, records: int) -> None:
        self.headers = headers
        self.records = records
        self._producer = producer
        self._lock = threading.Lock()  # failures come from the poll thread and from that of the dead letters
        self._delivered_count = 0
        self._failed_count = 0
        self._failures: list[PublishError] = []

    @property
    def open(self) -> int:
        """Records whose outcome is not known yet."""
        return self.records - self._delivered_count - self._failed_count

    @property
    def done(self) -> bool:
        """Tell whether all outcomes are known."""
        return self.open <= 0

    def result(self, timeout_s: float | None = None) -> int:
        """Return the number of records delivered: all. Raises PublishError with `.failures`, or TimeoutError."""
        if not self._producer.wait_until(lambda: self.done, timeout_s):
            raise TimeoutError(f"{self.open} of {self.records} records have no outcome within {timeout_s:g} s")
        if self._failures:
            first = self._failures[0]
            raise PublishError(
                f"{self._failed_count} of {self.records} records were not delivered; the first: {first}",
                topic=first.topic,
                code=first.code,
                dead_letter=first.dead_letter,
                failures=tuple(self._failures),
            )
        return self._delivered_count

    def report(self, error: KafkaError | None, message: Message) -> None:
        """Receive librdkafka's delivery report; on the poll thread."""
        self._producer.settle(self, error, message)

    def delivered(self, partition: int, offset: int) -> None:
        """Settle one record as delivered."""
        self._delivered_count += 1

    def failed(self, error: PublishError) -> None:
        """Settle one record as failed."""
        with self._lock:
            self._failed_count += 1
            if len(self._failures) < FAILURES_MAX:
                self._failures.append(error)
