"""A log whose owners are watched: before and after each step of their transactions, in their own process."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Any, Protocol, cast

from confluent_kafka import KafkaError, Producer

from actors.engine.position import Record
from actors.kafka.client import Cluster
from actors.kafka.consumer import PartitionReader
from actors.kafka.log import KafkaLog
from actors.kafka.transaction import TransactionalWriter


class Watch(Protocol):
    """Who watches. It is called on the thread that takes the step."""

    def during(self, step: str) -> AbstractContextManager[None]:
        """Surround a step of a transaction: "produce", "send offsets", "commit"."""
        ...

    def delivered(self, error: KafkaError | None) -> None:
        """The broker has answered a record that was written, or it was given up."""
        ...

    def polled(self) -> None:
        """Records have come."""
        ...


class WatchedLog(KafkaLog):
    """The log of a pipeline; the supervisor's transactions are not watched."""

    def __init__(self, cluster: Cluster, watch: Watch) -> None:
        super().__init__(cluster)
        self._watch = watch

    def writer(self, transactional_id: str) -> TransactionalWriter:
        """Return a new producer of this id, not opened yet."""
        if transactional_id.endswith("-supervisor"):
            return super().writer(transactional_id)
        return _Writer(self._cluster, transactional_id, self._watch)

    def reader(self, group: str, topic: str) -> PartitionReader:
        """Return a new consumer."""
        reader = _Reader(self._cluster, group, topic)
        reader.watch = self._watch
        return reader


class _Reporting:
    """A producer that says what becomes of each record. The writer itself does not ask: the transaction fails."""

    def __init__(self, producer: Any, watch: Watch) -> None:
        self._producer, self._watch = producer, watch

    def produce(self, *record: Any) -> None:
        self._producer.produce(*record, on_delivery=lambda error, _: self._watch.delivered(error))

    def __getattr__(self, name: str) -> Any:
        return getattr(self._producer, name)


class _Writer(TransactionalWriter):
    def __init__(self, cluster: Cluster, transactional_id: str, watch: Watch) -> None:
        super().__init__(cluster, transactional_id)
        self.watch = watch
        self._producer = cast(Producer, _Reporting(self._producer, watch))

    def _produce_all(self, records: Sequence[Record]) -> None:
        with self.watch.during("produce"):
            super()._produce_all(records)

    def _send_offsets(self, topic: str, offsets: Mapping[int, int], group_metadata: object) -> None:
        with self.watch.during("send offsets"):
            super()._send_offsets(topic, offsets, group_metadata)

    def _end(self) -> None:
        with self.watch.during("commit"):
            super()._end()


class _Reader(PartitionReader):
    watch: Watch

    def poll(self, rows_max: int, wait_s: float) -> Any:
        """Poll, and tell if there was something."""
        polled = super().poll(rows_max, wait_s)
        if any(len(batch) for batch in polled.batches):
            self.watch.polled()
        return polled
