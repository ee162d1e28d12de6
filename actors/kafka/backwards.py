"""Reading a log from its end back, as far as is wanted: what is new is asked for more often than what is old."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from actors.kafka.changes import Changes
from actors.kafka.client import Cluster
from actors.kafka.letters import read_spans
from actors.sinks.journey import Received

FIRST_RECORDS = 1_000  # of each partition; every look back is twice as long as the one before
LOOK_RECORDS_MAX = 16_000
LOOK_S = 30.0  # for one look, over all partitions


def newest_first(
    cluster: Cluster, topic: str, records_max: int, wanted: Callable[[int], bool]
) -> Iterator[tuple[int, list[Received]]]:
    """Yield partition and records of a topic, look by look from the last stable offset back; within a look in offset order.

    A partition is read on as long as it is `wanted`, and no further than `records_max` offsets; each record comes once.
    Raises ReopenError if a look is not answered within LOOK_S.
    """
    changes = Changes(cluster.bootstrap_servers, cluster.client)
    bounds = changes.bounds([(topic, partition) for partition in changes.partitions(topic)], "read_committed")
    first = {place: max(low, end - records_max) for place, (low, end) in bounds.items()}
    ends = {place: end for place, (low, end) in bounds.items() if low < end and wanted(place[1])}
    records = FIRST_RECORDS
    while ends:
        spans = {place: (max(first[place], end - records), end) for place, end in ends.items()}
        for (_, partition), found in read_spans(cluster, spans, LOOK_S).items():
            yield partition, found
        ends = {place: low for place, (low, _) in spans.items() if low > first[place] and wanted(place[1])}
        records = min(2 * records, LOOK_RECORDS_MAX)
