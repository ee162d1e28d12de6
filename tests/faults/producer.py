"""The verifiable producer: it knows what it has sent, when, and what the broker has acknowledged, at which offset."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Sequence

import numpy as np
from confluent_kafka import KafkaError, Producer

from tests.faults.stream import Message

PACE_S = 0.01
MESSAGE_TIMEOUT_MS = 240_000  # longer than any fault: what is not acknowledged then is told as such


class Sent:
    """What became of each message, by its number; times are of time.monotonic(). It keeps some 30 bytes of each."""

    def __init__(self, messages: Sequence[Message]) -> None:
        n = len(messages)
        self.messages = messages
        self.partition = np.fromiter((message.partition for message in messages), np.int16, n)
        self.offset = np.full(n, -1, np.int64)  # -1: not acknowledged
        self.sent_at = np.full(n, np.nan)
        self.errors: Counter[str] = Counter()
        self.known: dict[bytes, int] = {}  # a number for every value that there is, of which there may be many copies
        known = self.known
        self.value = np.fromiter((known.setdefault(m.value, len(known)) for m in messages), np.int32, n)

    @property
    def acknowledged(self) -> int:
        """How many were acknowledged."""
        return int((self.offset >= 0).sum())

    def ends(self) -> dict[int, int]:
        """Return, by partition, the offset after the last acknowledged message."""
        wanted = self.offset >= 0
        partition, offset = self.partition[wanted], self.offset[wanted]
        return {int(p): int(offset[partition == p].max()) + 1 for p in np.unique(partition)}

    def first_after(self, moment: float) -> dict[int, int]:
        """Return, by partition, the offset of the first acknowledged message that was sent at `moment` or later."""
        found: dict[int, int] = {}
        after = np.flatnonzero((self.sent_at >= moment) & (self.offset >= 0))
        for partition in np.unique(self.partition[after]).tolist():
            found[partition] = int(self.offset[after[self.partition[after] == partition]].min())
        return found


class VerifiableProducer:
    """Sends messages at a steady rate on a thread of its own; an idempotent producer, acknowledged by all replicas."""

    def __init__(self, bootstrap: str, topic: str, messages: Sequence[Message], rate: float) -> None:
        self.sent = Sent(messages)
        self.rate = rate  # records/s; may be changed while it runs
        self.limit = len(messages)  # how many to hand over for now; may be raised while it runs
        self._topic = topic
        self._done = 0
        self._stop = threading.Event()
        self._producer = Producer(
            {
                "bootstrap.servers": bootstrap,
                "enable.idempotence": True,
                "linger.ms": 100,  # with 20, five requests are often in flight, and librdkafka spins until one is answered
                "message.timeout.ms": MESSAGE_TIMEOUT_MS,
                "queue.buffering.max.messages": 2_000_000,
                "queue.buffering.max.kbytes": 1_000_000,
                "socket.timeout.ms": 6_000,
                "reconnect.backoff.max.ms": 500,
                "retry.backoff.max.ms": 500,
                "log_level": 2,
            }
        )
        self._thread = threading.Thread(target=self._run, name="verifiable-producer", daemon=True)

    @property
    def done(self) -> int:
        """How many messages were handed over."""
        return self._done

    def start(self) -> None:
        """Begin to send."""
        self._thread.start()

    def wait_sent(self, count: int, timeout_s: float = 300.0) -> None:
        """Wait until so many messages were handed over."""
        deadline = time.monotonic() + timeout_s
        while self._done < min(count, len(self.sent.messages)):
            if time.monotonic() > deadline or not self._thread.is_alive():
                raise TimeoutError(f"{self._done} of {count} records were sent in {timeout_s} s")
            time.sleep(0.005)

    def wait_acknowledged(self, timeout_s: float) -> None:
        """Wait until all that was handed over is acknowledged."""
        deadline = time.monotonic() + timeout_s
        while self.sent.acknowledged < self._done:
            if time.monotonic() > deadline:
                raise TimeoutError(f"{self.sent.acknowledged} of {self._done} records acknowledged in {timeout_s} s")
            time.sleep(0.01)

    def end_here(self) -> None:
        """Send no more than what was handed over."""
        self._stop.set()

    def finish(self, timeout_s: float) -> Sent:
        """Wait until everything was sent and acknowledged, or given up; return what became of it."""
        deadline = time.monotonic() + timeout_s
        self._thread.join(timeout_s)
        if self._thread.is_alive():
            self._stop.set()
            self._thread.join()
        self._producer.flush(max(0.1, deadline - time.monotonic()))
        return self.sent

    def stop(self) -> None:
        """Send no more."""
        self._stop.set()
        if self._thread.ident is not None:
            self._thread.join()
        self._producer.purge()
        self._producer.flush(5)

    def _run(self) -> None:
        messages, last, due = self.sent.messages, time.monotonic(), 1.0
        while self._done < len(messages) and not self._stop.is_set():
            now = time.monotonic()
            due = min(len(messages), self.limit, due + (now - last) * self.rate)
            last = now
            while self._done < due and self._hand_over(self._done):
                self._done += 1
            self._producer.poll(0)
            self._stop.wait(
                PACE_S
            )  # to wait in `poll` would wake at every answer: half a core, which the line has to do without

    def _hand_over(self, number: int) -> bool:
        message = self.sent.messages[number]
        self.sent.sent_at[number] = time.monotonic()

        def answered(error: KafkaError | None, record: object) -> None:
            if error is not None:
                self.sent.errors[error.name()] += 1
            else:
                self.sent.offset[number] = record.offset()  # type: ignore[attr-defined]

        try:
            self._producer.produce(self._topic, message.value, message.key, message.partition, on_delivery=answered)
        except BufferError:
            return False
        return True
