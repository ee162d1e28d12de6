"""A topic, its retry topics and its dead letters on the real broker, and a handler that fails when it is told to."""

from __future__ import annotations

import threading
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from confluent_kafka import Producer
from confluent_kafka.admin import AdminClient, NewTopic

from actors.kafka.client import Cluster
from actors.kafka.consumer import Offsets, read_to_end
from actors.sinks.journey import Journey, Plan
from actors.sinks.retrying import Handles, RetryingConsumer, RetryLater, run
from cluster.local import Endpoints
from schemas.decode import decode_event
from schemas.encode import Encoder
from schemas.registry import Registry
from schemas.topics import RETRY_BYTES_MAX, schema_text

CALL_S = 20.0


class Scripted:
    """Handles records, failing as `faults` says: event id → exceptions, one an attempt."""

    def __init__(self, **faults: list[Exception]) -> None:
        self.faults = faults
        self.calls: list[tuple[str, int]] = []  # event id, attempts before
        self.rests: list[str] = []
        self.holds = False
        self.ticks = 0

    def handle(self, event: dict[str, Any], journey: Journey) -> None:
        name = event["event_id"]
        self.calls.append((name, journey.attempts))
        self.rests.append(journey.rest)
        if self.faults.get(name):
            raise self.faults[name].pop(0)

    def tick(self) -> None:
        self.ticks += 1

    def finish(self) -> None:
        self.ticks += 1

    def done(self, name: str) -> bool:
        return name in {call for call, _ in self.calls} and not self.faults.get(name)


class GroupLine:
    """Topics of its own; system events in, whatever the handler does out."""

    def __init__(
        self, endpoints: Endpoints, delays_s: Sequence[float], record: str = "system", partitions: int = 1
    ) -> None:
        self.cluster = Cluster(endpoints.bootstrap_servers, endpoints.registry_url)
        self.plan = Plan(f"g{(unique := uuid.uuid4().hex[:8])}", f"sink-{unique}", tuple(delays_s))
        self.partitions = partitions
        large = {"max.message.bytes": str(RETRY_BYTES_MAX)}
        new = [
            NewTopic(self.plan.topic, partitions, 1),
            *(NewTopic(topic, 1, 1, config=large) for topic in self.plan.retries),
            NewTopic(self.plan.dead_letters, 1, 1),
        ]
        self.admin = AdminClient({"bootstrap.servers": endpoints.bootstrap_servers})
        for future in self.admin.create_topics(new).values():
            future.result(CALL_S)
        self.registry = Registry(endpoints.registry_url)
        self.encoder = Encoder(record, self.registry.register(f"{self.plan.topic}-value", schema_text(record)))
        self.producer = Producer({"bootstrap.servers": endpoints.bootstrap_servers, "linger.ms": 0})
        self.offsets = Offsets(self.cluster)

    def event(self, name: str, **further: Any) -> bytes:
        record = {"event_id": name, "event_type": "SERVICE_HEALTH", "timestamp": 1, "service": "s", **further}
        return self.encoder.encode(record)

    def write(self, *values: bytes | None, headers: Any = None, partition: int = 0) -> None:
        for value in values:
            self.producer.produce(self.plan.topic, value, b"key", partition, headers=headers)
        assert self.producer.flush(CALL_S) == 0

    @contextmanager
    def consuming(
        self, handler: Handles, cluster: Cluster | None = None, **further: Any
    ) -> Iterator[list[RetryingConsumer]]:
        """Run a member beside the test; yields the list of those that were made, the newest last."""
        made: list[RetryingConsumer] = []
        stop = threading.Event()

        def make() -> RetryingConsumer:
            made.append(RetryingConsumer(cluster or self.cluster, self.plan, handler, **further))
            return made[-1]

        thread = threading.Thread(target=run, args=(make, stop))
        thread.start()
        try:
            yield made
        finally:
            stop.set()
            thread.join(30)
            assert not thread.is_alive()

    def letters(self) -> list[dict[str, Any]]:
        ends = self.offsets.end(self.plan.dead_letters, [0])
        records = read_to_end(self.cluster, "reader", self.plan.dead_letters, ends, CALL_S)[0]
        return [{"kafka_key": key, **decode_event(value, self.registry.schema)} for key, value in records]

    def committed(self) -> dict[tuple[str, int], int]:
        from confluent_kafka import ConsumerGroupTopicPartitions

        asked = [ConsumerGroupTopicPartitions(self.plan.group)]
        found = self.admin.list_consumer_group_offsets(asked)[self.plan.group].result(CALL_S)
        ours = (self.plan.topic, *self.plan.retries)
        return {(tp.topic, tp.partition): tp.offset for tp in found.topic_partitions if tp.topic in ours}


def later(detail: str, rest: str = "") -> RetryLater:
    return RetryLater(detail, rest)
