"""Kafka as a slot sees it: the ports of actors/log.py on confluent_kafka's clients, and the clock of this machine."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

from actors.kafka.client import Cluster
from actors.kafka.consumer import Offsets, PartitionReader, read_to_end
from actors.kafka.transaction import TransactionalWriter
from actors.log import Entry

T = TypeVar("T")

BACKGROUND_THREADS = 4  # a look at the state of partitions, questions to the registry; more of them wait


class SystemClock:
    """The machine's monotonic clock."""

    def now(self) -> float:
        """Return seconds since some beginning."""
        return time.monotonic()

    def sleep(self, seconds: float) -> None:
        """Let so much time pass."""
        time.sleep(seconds)


class KafkaLog:
    """A Kafka cluster."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self._offsets = Offsets(cluster)
        self._threads = ThreadPoolExecutor(BACKGROUND_THREADS, thread_name_prefix="log")

    def writer(self, transactional_id: str) -> TransactionalWriter:
        """Return a new producer of this id, not opened yet."""
        return TransactionalWriter(self._cluster, transactional_id)

    def reader(self, group: str, topic: str) -> PartitionReader:
        """Return a new consumer."""
        return PartitionReader(self._cluster, group, topic)

    def first(self, topic: str, partitions: Iterable[int]) -> dict[int, int]:
        """Return the first retained offset of each partition."""
        return self._offsets.first(topic, partitions)

    def end(self, topic: str, partitions: Iterable[int]) -> dict[int, int]:
        """Return the high watermark of each partition."""
        return self._offsets.end(topic, partitions)

    def read_to_end(
        self, group: str, topic: str, ends: Mapping[int, int], timeout_s: float, *, newest: bool = False
    ) -> dict[int, list[Entry]]:
        """Read partitions from their first record to the given high watermarks, committed records only."""
        return read_to_end(self._cluster, group, topic, ends, timeout_s, newest=newest)

    def background(self, work: Callable[[], T]) -> Future[T]:
        """Do something that only reads on another thread."""
        return self._threads.submit(work)
