"""Single vectors, looked up in their topic by partition and offset: what a chart of vectors does not carry."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from actors.kafka.client import Cluster
from actors.kafka.consumer import Offsets
from actors.kafka.letters import fetch
from actors.producers.measurement import key_of_measured
from schemas.decode import UnreadableRecord, decode_event
from schemas.registry import Registry


class VectorRecord(NamedTuple):
    """One vector as it was published."""

    series: str
    names: tuple[str, ...]  # p characteristics
    value: np.ndarray  # (p,) float64, NaN = missing
    event_time_ms: int
    lot: str
    wafer: str


class NoVectorError(ValueError):
    """There is no such vector; the message says why."""


class VectorRecords:
    """Looks vectors up."""

    def __init__(self, cluster: Cluster, topic: str) -> None:
        self.topic = topic
        self._cluster = cluster
        self._offsets = Offsets(cluster)
        self._registry = Registry(cluster.registry_url, cluster.registry_client)

    def at(self, partition: int, offset: int) -> VectorRecord:
        """Return the vector at a place. Raises NoVectorError, ReopenError, RegistryUnavailable."""
        place = (self.topic, partition, offset)
        end = self._offsets.end(self.topic, [partition])[
            partition
        ]  # a fetch beyond it would wait for what may still come
        found = fetch(self._cluster, [place])[place] if offset < end else None
        if found is None:
            raise NoVectorError(f"{self.topic}:{partition}:{offset} is not retained any more, or never was")
        try:
            event: dict[str, Any] = decode_event(found.value, self._registry.schema)
        except UnreadableRecord as error:
            raise NoVectorError(f"{self.topic}:{partition}:{offset} cannot be read: {error}") from error
        if "vector" not in event:
            raise NoVectorError(f"{self.topic}:{partition}:{offset} is no vector")
        return VectorRecord(
            key_of_measured(event),
            tuple(event["characteristics"]),
            np.array(event["values"], np.float64),  # None: NaN
            event["timestamp"],
            event["lot"] or "",
            event["wafer"] or "",
        )
