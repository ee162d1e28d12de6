"""The transactional producer of a slot: one Kafka transaction per step, ended on a thread of its own.

A producer is used until its first error and never after it: whatever went wrong, the slot re-opens with a new one, whose
`init_transactions` fences this one and aborts what it left open. Every call has a timeout.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor

from confluent_kafka import KafkaException, Producer, TopicPartition

from actors.engine.position import Record
from actors.errors import ReopenError
from actors.kafka.client import Cluster
from actors.kafka.errors import translated

CONNECT_TIMEOUT_S = 1.0
INIT_TIMEOUT_S = 30.0
COMMIT_TIMEOUT_S = 3.0  # of a whole transaction; a slower one has an unknown outcome: the slot re-opens
LEFT_MIN_S = 0.1  # for one of its parts: a part that is short of time may still be answered at once
TRANSACTION_TIMEOUT_MS = 10_000  # after which the broker aborts what a dead owner left open
MESSAGE_BYTES_MAX = 8 * 1024 * 1024  # a step's packed charts; quality.charts allows as much


class TransactionalWriter:
    """The producer of one incarnation of a slot. `open` once, then `commit` steps, then `close` or `abandon`."""

    def __init__(self, cluster: Cluster, transactional_id: str) -> None:
        self.transactional_id = transactional_id
        self._producer = Producer(
            cluster.settings(
                transactional_id=transactional_id,
                transaction_timeout_ms=TRANSACTION_TIMEOUT_MS,
                retry_backoff_ms=10,
                linger_ms=0,
                compression_type="lz4",
                partitioner="murmur2_random",
                message_max_bytes=MESSAGE_BYTES_MAX,
            )
        )
        self._thread = ThreadPoolExecutor(1, thread_name_prefix=f"commit-{transactional_id}")
        self._connecting = self._thread.submit(self._connect)
        self.last_commit_s = 0.0
        self._over = False
        self._deadline = 0.0  # of the transaction under way

    def _connect(self) -> None:
        """Connect to a broker. `init_transactions` of a producer that is not connected looks again every 500 ms only."""
        with contextlib.suppress(KafkaException):  # whoever opens hears of it
            self._producer.list_topics(timeout=CONNECT_TIMEOUT_S)

    def open(self) -> None:
        """Fence every older producer of this id and abort its open transaction."""
        self._connecting.result()
        with translated(f"init_transactions of {self.transactional_id}"):
            self._producer.init_transactions(INIT_TIMEOUT_S)

    def commit(
        self, records: Sequence[Record], topic: str, offsets: Mapping[int, int], group_metadata: object
    ) -> Future[None]:
        """Write all records and the input offsets in one transaction, on the helper thread.

        The future raises ReopenError or FencedError; then this writer is done for.
        """
        return self._thread.submit(self._commit, records, topic, offsets, group_metadata)

    def _commit(
        self, records: Sequence[Record], topic: str, offsets: Mapping[int, int], group_metadata: object
    ) -> None:
        if self._over:
            raise ReopenError(
                f"transaction of {self.transactional_id}: this producer has had an error and is not used again"
            )
        self._over = True  # until the transaction is seen to succeed, and in time
        started = time.monotonic()
        self._deadline = started + COMMIT_TIMEOUT_S
        with translated(f"transaction of {self.transactional_id}"):
            self._produce_all(records)
            self._send_offsets(topic, offsets, group_metadata)
            self._end()
        took = time.monotonic() - started
        if took > COMMIT_TIMEOUT_S:  # its end may have been sent twice, and the second would tear the next transaction
            raise ReopenError(f"transaction of {self.transactional_id}: committed only after {took:.1f} s")
        self.last_commit_s = took
        self._over = False

    # The steps of a transaction, one method each: the fault matrix has a writer that dies before or after each of them.

    def _produce_all(self, records: Sequence[Record]) -> None:
        self._producer.begin_transaction()
        for record in records:
            self._produce(record)
        waiting = self._producer.flush(self._left_s())
        if waiting:
            raise ReopenError(
                f"transaction of {self.transactional_id}: {waiting} records not acknowledged in {COMMIT_TIMEOUT_S:g} s"
            )

    def _left_s(self) -> float:
        """Return how long the rest of the transaction may take; what comes later than that has an unknown outcome anyway."""
        return max(LEFT_MIN_S, self._deadline - time.monotonic())

    def _send_offsets(self, topic: str, offsets: Mapping[int, int], group_metadata: object) -> None:
        if not offsets:
            return
        positions = [TopicPartition(topic, partition, offset) for partition, offset in offsets.items()]
        self._producer.send_offsets_to_transaction(positions, group_metadata, self._left_s())

    def _end(self) -> None:
        self._producer.commit_transaction(self._left_s())

    def _produce(self, record: Record) -> None:
        while True:
            try:
                self._producer.produce(record.topic, record.value, record.key, record.partition)
            except BufferError:  # the queue is full: serve deliveries until there is room
                if time.monotonic() > self._deadline:
                    raise ReopenError(
                        f"transaction of {self.transactional_id}: no room in the producer's queue"
                    ) from None
                self._producer.poll(0.05)
            else:
                return

    def close(self) -> None:
        """End after the last commit was seen to succeed."""
        self._thread.shutdown(wait=True)
        self._producer.close()

    def abandon(self) -> None:
        """Leave this producer behind after an error: drop what it holds, end it off the caller's thread."""
        self._thread.shutdown(wait=False, cancel_futures=True)
        threading.Thread(target=self._drop, name=f"drop-{self.transactional_id}", daemon=True).start()

    def _drop(self) -> None:
        self._producer.purge(in_queue=True, in_flight=True, blocking=False)
        self._thread.shutdown(wait=True)
        with contextlib.suppress(KafkaException):  # one that was fenced says so once more
            self._producer.close()
