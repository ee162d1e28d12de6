"""How long outputs stayed away: a tail reads the charts, read_committed, and notes when each step arrived.

Theory of operation
-------------------
Back within = the longest time, over all partitions, that a reader of `quality.charts` had to wait because of the fault. It is the
larger of two: from the fault to the first step that judged a record sent after it; and the longest gap between two steps of one
partition from the fault on. The second matters where records that were on their way still came out.
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise
from typing import NamedTuple

import pyarrow as pa
from confluent_kafka import KafkaError, TopicPartition

from tests.faults.producer import Sent
from tests.faults.reading import consumer, partitions_of


class Receipt(NamedTuple):
    """A step of one partition, as a reader saw it."""

    at: float  # time.monotonic()
    next_offset: int  # of the input


class Tail:
    """Follows the charts of one family on a thread of its own."""

    def __init__(self, bootstrap: str, topic: str, family: str) -> None:
        self._reader = consumer(bootstrap)
        self._suffix = f"/{family}".encode()
        self.partitions = partitions_of(self._reader, topic)
        self._reader.assign([TopicPartition(topic, partition, 0) for partition in self.partitions])
        self.receipts: dict[int, list[Receipt]] = {partition: [] for partition in self.partitions}
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="tail", daemon=True)
        self._thread.start()

    def reached(self, ends: Mapping[int, int]) -> bool:
        """Return whether every partition was judged to these input offsets."""
        return all(self.position(partition) >= end for partition, end in ends.items())

    def position(self, partition: int) -> int:
        """Return how far the partition was judged."""
        receipts = self.receipts[partition]
        return receipts[-1].next_offset if receipts else 0

    def total(self) -> int:
        """Return how far all partitions together were judged."""
        return sum(self.position(partition) for partition in self.partitions)

    def wait_until(self, ends: Mapping[int, int], timeout_s: float) -> bool:
        """Wait until everything up to these offsets was judged; return whether it was in time."""
        deadline = time.monotonic() + timeout_s
        while not self.reached(ends):
            if time.monotonic() > deadline:
                return False
            time.sleep(0.02)
        return True

    def close(self) -> None:
        """Stop following."""
        self._stop.set()
        self._thread.join()
        self._reader.close()

    def _run(self) -> None:
        while not self._stop.is_set():
            for message in self._reader.consume(500, 0.02):
                error = message.error()
                if error is None and (message.key() or b"").endswith(self._suffix):
                    receipt = Receipt(time.monotonic(), _next_offset(message.value()))
                    self.receipts[message.partition()].append(receipt)
                elif error is not None and error.fatal():
                    raise RuntimeError(f"the tail: {error.str()}")
                elif error is not None and error.code() == KafkaError._PARTITION_EOF:
                    continue  # the others pass: librdkafka tries again


def _next_offset(packed: bytes) -> int:
    with pa.ipc.open_stream(packed) as reader:
        return int(json.loads(reader.schema.metadata[b"chipquality"])["next_offset"])


def back_within(
    receipts: Mapping[int, Sequence[Receipt]], sent: Sent, fault_at: float, partitions: Iterable[int] | None = None
) -> float | None:
    """Return seconds; infinite if a partition has not come back, None if nothing was sent that could show it (theory: above).

    receipts: by partition.
    """
    first = sent.first_after(fault_at)
    worst = None
    for partition in first.keys() & set(receipts if partitions is None else partitions):
        came = (r.at for r in receipts[partition] if r.at >= fault_at and r.next_offset > first[partition])
        answered = next(came, float("inf"))
        worst = max(worst or 0.0, answered - fault_at, gap(receipts[partition], fault_at))
    return worst


def gap(receipts: Iterable[Receipt], since: float, until: float = float("inf")) -> float:
    """Return the longest time from `since` on between two receipts, the earlier of which came before `until`.

    >>> gap([Receipt(1.0, 1), Receipt(1.5, 2), Receipt(4.0, 3), Receipt(4.1, 4)], since=2.0)
    2.0
    """
    times = [receipt.at for receipt in receipts]
    return max((b - max(a, since) for a, b in pairwise(times) if b >= since and a <= until), default=0.0)
