"""The line under test: topics of its own on the three brokers, a pipeline over them, and what it has put out."""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, fields
from typing import Any

from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient, NewTopic

from actors.engine.fold import Topics
from actors.kafka.client import Cluster
from actors.pipeline import Pipeline
from cluster.local.stack import Endpoints
from models.builtin import FAMILIES
from schemas.charts import ChartBlock, unpack
from schemas.decode import decode_event
from schemas.encode import Encoder
from schemas.registry import Registry
from schemas.topics import schema_text
from tests.faults.reading import Entry, pieces
from tests.faults.stream import WRONG_TYPES, Encoders

PHASE_ONE_ROWS = 50
RECORDS = {  # what a pipeline writes, by the topic that it goes to
    "alert": "alerts",
    "dead_letter": "dead_letters",
    "position": "state",
    "page": "state",
    "series_page": "state",
    "applied_change": "state",
    "deal": "deals",
}
_LARGE = {"max.message.bytes": "8388608"}
_CALL_TIMEOUT_S = 60.0


def _renamed(schema: str, word: str) -> str:
    """Return the schema with another doc of the whole: the same bytes, and an id of its own."""
    return json.dumps(json.loads(schema) | {"doc": word})


@dataclass
class FaultLine:
    """One pipeline's topics, with replication 3 and 2 replicas in sync on three brokers."""

    endpoints: Endpoints
    partitions: int = 4
    replication: int = 3
    families: tuple[str, ...] = tuple(FAMILIES)
    settings: dict[str, Any] = field(default_factory=dict)  # of the pipeline

    def __post_init__(self) -> None:
        self.name = f"f{uuid.uuid4().hex[:8]}"
        self.cluster = Cluster(self.endpoints.bootstrap_servers, self.endpoints.registry_url)
        self.registry = Registry(self.endpoints.registry_url)
        self.input = f"{self.name}.in"
        self.topics = Topics(**{topic.name: f"{self.name}.{topic.name.replace('_', '-')}" for topic in fields(Topics)})
        self._admin = AdminClient({"bootstrap.servers": self.endpoints.bootstrap_servers, "log_level": 2})
        self._create()
        good = self.registry.register(f"{self.input}-value", schema_text("measurement"))
        wrong = self.registry.register(f"{self.name}.wrong-value", WRONG_TYPES)
        second = self.registry.register(f"{self.name}.second-value", _renamed(schema_text("measurement"), self.name))
        arrays = self.registry.register(f"{self.input}-arrays", schema_text("measurement_array"))
        self.encoders = Encoders(
            Encoder("measurement", good),
            Encoder("measurement", second),
            wrong,
            Encoder("measurement_array", arrays),
        )
        self.schema_ids = {
            record: self.registry.register(f"{getattr(self.topics, topic)}-{record}", schema_text(record))
            for record, topic in RECORDS.items()
        }

    def _create(self) -> None:
        compacted = {"cleanup.policy": "compact", "min.insync.replicas": str(min(2, self.replication))}
        kept = {"min.insync.replicas": str(min(2, self.replication)), **_LARGE}
        new = []
        for topic in fields(self.topics):
            one, compact = topic.name in {"control", "deals"}, topic.name in {"control", "deals", "state"}
            new.append(
                NewTopic(
                    getattr(self.topics, topic.name),
                    1 if one else self.partitions,
                    self.replication,
                    config=(compacted | _LARGE) if compact else kept,
                )
            )
        new.append(NewTopic(self.input, self.partitions, self.replication, config=kept))
        for future in self._admin.create_topics(new, request_timeout=_CALL_TIMEOUT_S).values():
            future.result(_CALL_TIMEOUT_S)

    def delete(self) -> None:
        """Delete the topics, so that the brokers stay light; what cannot be deleted stays."""
        names = [self.input, *(getattr(self.topics, topic.name) for topic in fields(self.topics))]
        for future in self._admin.delete_topics(names, request_timeout=_CALL_TIMEOUT_S).values():
            try:
                future.result(_CALL_TIMEOUT_S)
            except KafkaException:
                continue

    def pipeline(self, log: Callable[[Cluster], Any] | None = None) -> Pipeline:
        """Return the pipeline, of built-in families."""
        further = {} if log is None else {"log": log}
        return Pipeline(
            name=self.name,
            cluster=self.cluster,
            input_topic=self.input,
            partitions=tuple(range(self.partitions)),
            topics=self.topics,
            families={family: FAMILIES[family](PHASE_ONE_ROWS) for family in self.families},
            schema_ids=self.schema_ids,
            **{"snapshot_interval_ms": 2_000, "commit_interval_ms": 100, "standby": True, **self.settings, **further},
        )

    def leaders(self) -> dict[int, int]:
        """Return the broker that leads each partition of the input."""
        found = self._admin.list_topics(self.input, timeout=_CALL_TIMEOUT_S).topics[self.input].partitions
        return {partition: about.leader for partition, about in found.items()}

    def in_sync(self) -> bool:
        """Return whether every partition of the cluster has all its replicas in sync."""
        topics = self._admin.list_topics(timeout=_CALL_TIMEOUT_S).topics.values()
        return all(
            len(partition.isrs) == len(partition.replicas) and partition.leader >= 0
            for topic in topics
            for partition in topic.partitions.values()
        )

    def controller(self) -> int:
        """Return the node that is the active controller."""
        quorum = self._admin.describe_cluster(request_timeout=_CALL_TIMEOUT_S).result(_CALL_TIMEOUT_S).controller
        return int(quorum.id)

    # ---- what there is at the end

    def log(self, partition: int) -> Iterator[list[Entry]]:
        """Give a partition of the input as written, some records at a time."""
        return pieces(self.endpoints.bootstrap_servers, self.input, partition)

    def blocks(self, partition: int) -> Iterator[ChartBlock]:
        """Give the chart records of a partition in the order of its topic."""
        for entries in pieces(self.endpoints.bootstrap_servers, self.topics.charts, partition):
            yield from (unpack(entry.value or b"") for entry in entries)

    def events(self, topic: str, partition: int | None = None) -> Iterator[dict[str, Any]]:
        """Give the Avro records of a topic; those that came of one partition of the input."""
        for entries in pieces(self.endpoints.bootstrap_servers, topic):
            events = (decode_event(entry.value, self.registry.schema) for entry in entries if entry.value is not None)
            yield from (event for event in events if partition is None or event["partition"] == partition)
