"""Kafka as a slot sees it: the ports of actors/log.py on confluent_kafka's clients, and the clock of this machine."""

from __future__ import annotations

import time
from collections import defaultdict, deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import TypeVar

from confluent_kafka import Consumer

from actors.kafka.client import Cluster
from actors.kafka.consumer import STATE_FETCH_BYTES, Offsets, PartitionReader, assign_only, read_with
from actors.kafka.transaction import TransactionalWriter
from actors.log import Entry

T = TypeVar("T")

KEPT_MAX = 2  # consumers of a group that wait for the next question
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
    """A Kafka cluster.

    Short questions (reading a topic to its end, committed offsets) are asked by consumers that are kept for the next one: a new
    one connects to every broker first, and a slot that opens asks half a dozen, beside a line that leaves it little time.

    With `lumps` its readers have brokers send seldom and much: for those whose verdicts nobody waits for.
    """

    def __init__(self, cluster: Cluster, *, lumps: bool = False) -> None:
        self._cluster = cluster
        self._lumps = lumps
        self._offsets = Offsets(cluster)
        self._kept: dict[str, deque[Consumer]] = defaultdict(
            lambda: deque(maxlen=KEPT_MAX)
        )  # by group; free to be used
        self._threads = ThreadPoolExecutor(BACKGROUND_THREADS, thread_name_prefix="log")

    def writer(self, transactional_id: str) -> TransactionalWriter:
        """Return a new producer of this id, not opened yet."""
        return TransactionalWriter(self._cluster, transactional_id)

    def reader(self, group: str, topic: str) -> PartitionReader:
        """Return a new consumer."""
        return PartitionReader(
            self._cluster, group, topic, consumer=assign_only(self._cluster, group, lumps=self._lumps)
        )

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
        first = self.first(topic, ends)
        with self._asking(group, topic) as reader:
            return read_with(reader, first, ends, timeout_s, newest=newest)

    def committed(self, group: str, topic: str, partitions: Iterable[int]) -> dict[int, int | None]:
        """Return the group's committed offsets; None where there is none. Waits out a transaction that is being ended."""
        with self._asking(group, topic) as reader:
            return reader.committed(partitions)

    @contextmanager
    def _asking(self, group: str, topic: str) -> Iterator[PartitionReader]:
        """Lend a consumer; one with which something went wrong is not used again."""
        kept = self._kept[group]
        try:
            consumer = kept.pop()
        except IndexError:
            consumer = assign_only(self._cluster, group, STATE_FETCH_BYTES)
        try:
            yield PartitionReader(self._cluster, group, topic, consumer=consumer)
            consumer.unassign()
        except BaseException:
            consumer.close()
            raise
        if len(kept) < KEPT_MAX:
            kept.append(consumer)
        else:
            consumer.close()

    def background(self, work: Callable[[], T]) -> Future[T]:
        """Do something that only reads on another thread."""
        return self._threads.submit(work)

    def renew(self) -> None:
        """Connect anew: a broker that is silent never comes up for a new client, which so asks it nothing but what it leads."""
        self._offsets.renew()
        self._close_kept()

    def _close_kept(self) -> None:
        for kept in self._kept.values():
            while kept:
                kept.pop().close()

    def close(self) -> None:
        """Close the consumers that are kept; what runs in the background goes on to its end."""
        self._threads.shutdown(wait=False, cancel_futures=True)
        self._close_kept()
