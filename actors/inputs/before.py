"""Whether a file was imported before: its first and its last event, looked for by their ids in what a topic has newest."""

from __future__ import annotations

import time
from collections.abc import Collection

from actors.errors import ReopenError
from actors.kafka.admin import Admin
from actors.kafka.client import Cluster
from actors.kafka.consumer import Offsets, PartitionReader

LOOKED_AT_MAX = 500_000  # newest records of a topic
LOOK_S = 60.0
_POLL_ROWS = 10_000
_GROUP = "chipquality-import"  # nothing is committed


def known_before(cluster: Cluster, topic: str, event_ids: Collection[str]) -> set[str]:
    """Return which of these events stand in the newest LOOKED_AT_MAX records of a topic.

    Values are searched as bytes, not decoded: an id is 32 hex digits of a hash, and nothing else looks like it.
    Raises ReopenError if Kafka does not answer.
    """
    told = Admin(cluster.bootstrap_servers, dict(cluster.client)).topics([topic])
    partitions = [partition["partition"] for found in told for partition in found["partitions"]]
    if not partitions:
        return set()
    offsets = Offsets(cluster)
    first, end = offsets.first(topic, partitions), offsets.end(topic, partitions, committed=True)
    share = max(1, LOOKED_AT_MAX // len(partitions))
    return _search(cluster, topic, {p: (max(first[p], end[p] - share), end[p]) for p in partitions}, event_ids)


def _search(cluster: Cluster, topic: str, spans: dict[int, tuple[int, int]], event_ids: Collection[str]) -> set[str]:
    wanted = {event_id.encode(): event_id for event_id in event_ids}
    found: set[str] = set()
    left = {partition: end for partition, (begin, end) in spans.items() if begin < end}
    reader = PartitionReader(cluster, _GROUP, topic)
    deadline = time.monotonic() + LOOK_S
    try:
        reader.assign({partition: spans[partition][0] for partition in left})
        while left and len(found) < len(wanted):
            polled = reader.poll(_POLL_ROWS, 0.1)
            for partition, why in polled.lost.items():
                raise ReopenError(f"{topic}:{partition}: {why}")
            for batch in polled.batches:
                joined = b"\n".join(filter(None, batch.values))
                found |= {event_id for raw, event_id in wanted.items() if raw in joined}
                if batch.next_offset >= left.get(batch.partition, batch.next_offset + 1):
                    del left[batch.partition]
            if time.monotonic() > deadline:
                raise ReopenError(f"{topic}: its newest records were not read within {LOOK_S:g} s")
    finally:
        reader.close()
    return found
