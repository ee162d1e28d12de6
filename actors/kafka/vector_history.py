"""Past vectors of one name, read from their topic: what a job fits a model to."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from actors.errors import ConfigError
from actors.kafka.admin import Admin
from actors.kafka.client import Cluster
from actors.kafka.consumer import Offsets, read_to_end
from schemas.decode import decode_event
from schemas.resolution import UnreadableRecord

READ_TIMEOUT_S = 120.0
RECORDS_MAX = 500_000  # looked at, over all partitions; the newest


@dataclass(frozen=True)
class Vectors:
    """Rows of one vector in order of event time."""

    names: tuple[str, ...]  # p characteristics
    event_time_ms: np.ndarray  # (n,) int64
    value: np.ndarray  # (n, p) float64, NaN = missing
    left_out: int  # records of the vector that name other characteristics


def read_vectors(cluster: Cluster, group: str, topic: str, vector: str, schema_of: Callable[[int], Any]) -> Vectors:
    """Read the retained records of a vector. Raises ConfigError if there is no topic, or no record of this name in it."""
    found = Admin(cluster.bootstrap_servers, cluster.client).topics([topic])
    if not found:
        raise ConfigError(f"there is no topic {topic}: `chipquality topics apply` makes it")
    partitions = [part["partition"] for part in found[0]["partitions"]]
    offsets = Offsets(cluster)
    first, ends = offsets.first(topic, partitions), offsets.end(topic, partitions, committed=True)
    share = RECORDS_MAX // len(partitions)
    since = {partition: max(first[partition], ends[partition] - share) for partition in partitions}
    events, others = [], set()
    for records in read_to_end(cluster, group, topic, ends, READ_TIMEOUT_S, since).values():
        for _, value in records:
            event = _event(value, schema_of)
            if event is not None and event.get("vector") == vector:
                events.append(event)
            elif event is not None:
                others.add(str(event.get("vector")))
    if not events:
        there = f"; there are {', '.join(sorted(others)[:5])}" if others else ""
        raise ConfigError(f"no record of vector {vector!r} in {topic}{there}")
    events.sort(key=lambda event: event["timestamp"])
    names = tuple(events[-1]["characteristics"])
    same = [
        event for event in events if tuple(event["characteristics"]) == names and len(event["values"]) == len(names)
    ]
    return Vectors(
        names=names,
        event_time_ms=np.array([event["timestamp"] for event in same], np.int64),
        value=np.array([event["values"] for event in same], np.float64).reshape(len(same), len(names)),
        left_out=len(events) - len(same),
    )


def _event(value: bytes | None, schema_of: Callable[[int], Any]) -> dict[str, Any] | None:
    """Return a record, None if it cannot be read: the pipeline has it among its dead letters. RegistryUnavailable is raised."""
    try:
        return decode_event(value, schema_of)
    except UnreadableRecord:
        return None
