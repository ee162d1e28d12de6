"""Reading a log from its end back, as far as is wanted: what is new is asked for more often than what is old."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

from actors.errors import ReopenError
from actors.kafka.changes import Changes
from actors.kafka.client import Cluster
from actors.kafka.letters import read_spans
from actors.sinks.journey import Received

FIRST_OFFSETS = 250  # of each partition; every look back is twice as long as the one before
LOOK_OFFSETS_MAX = 4_000
LOOK_BYTES = 32 * 1024 * 1024  # a look that gave so much, over all partitions, is not followed by a longer one


class CutShortError(ReopenError):
    """What was wanted stands further back than was looked. What was yielded before is right."""


def newest_first(
    cluster: Cluster, topic: str, offsets_max: int, deadline: float, wanted: Callable[[int], bool]
) -> Iterator[tuple[int, list[Received]]]:
    """Yield partition and records of a topic, look by look from the last stable offset back; within a look in offset order.

    A partition is read on as long as it is `wanted`; each record comes once. Raises CutShortError at the end if partitions are
    wanted further back than `offsets_max` (markers and aborted records count), or if it is later than `deadline`
    (time.monotonic).
    """
    changes = Changes(cluster.bootstrap_servers, cluster.client)
    bounds = changes.bounds([(topic, partition) for partition in changes.partitions(topic)], "read_committed")
    first = {place: max(low, end - offsets_max) for place, (low, end) in bounds.items()}
    ends = {place: end for place, (low, end) in bounds.items() if low < end and wanted(place[1])}
    offsets, capped = FIRST_OFFSETS, False
    while ends:
        left_s = deadline - time.monotonic()
        if left_s <= 0:
            raise CutShortError(f"{topic} could not be read back far enough in time")
        spans = {place: (max(first[place], end - offsets), end) for place, end in ends.items()}
        size = 0
        for (_, partition), found in read_spans(cluster, spans, left_s).items():
            size += sum(len(record.value or b"") for record in found)
            yield partition, found
        capped |= any(low == first[place] > bounds[place][0] and wanted(place[1]) for place, (low, _) in spans.items())
        ends = {place: low for place, (low, _) in spans.items() if low > first[place] and wanted(place[1])}
        if size < LOOK_BYTES:
            offsets = min(2 * offsets, LOOK_OFFSETS_MAX)
    if capped:
        raise CutShortError(f"{topic} goes on further back than {offsets_max:,} offsets of a partition")
