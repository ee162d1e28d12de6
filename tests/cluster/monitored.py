"""The API in this process, over the real Kafka and registry; what needs Ray (supervisor, view) is answered here."""

from __future__ import annotations

import asyncio
import time
import uuid
from collections.abc import Sequence
from typing import Any

import httpx
from confluent_kafka import Consumer, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic

from actors.kafka.client import Cluster
from actors.view.board import Board
from cluster.access.tally import Refusal
from cluster.api.access import Caller
from cluster.api.app import build_api
from cluster.api.facts import ClusterFacts
from cluster.api.problems import Unavailable
from cluster.local import Endpoints

CALL_S = 20.0


class Here(ClusterFacts):
    """Facts of a cluster without Ray."""

    def __init__(self, cluster: Cluster, pipeline: str) -> None:
        super().__init__(cluster, pipeline)
        self.board = Board(pipeline)
        self.status: dict[str, Any] | None = None  # what the supervisor says
        self.others: dict[str, dict[str, Any] | None] | None = {}

    async def view(self, method: str, *arguments: Any) -> Any:
        board, now_ms = self.board, int(time.time() * 1000)
        said = {
            "summary": lambda: board.summary(now_ms) | {"reader": {"trouble": None, "caught_up": True}},
            "throughput": lambda window_s: board.rows.rates(window_s, now_ms),
            "latencies": lambda window_s: board.stages.over(window_s, now_ms),
            "dead_letters": lambda window_s: board.dead_letters_lately.over(window_s, now_ms),
        }[method]
        return said(*arguments)

    async def owners(self) -> dict[str, Any]:
        if self.status is None:
            raise Unavailable("owners", f"no actor supervisor:{self.pipeline} runs")
        return self.status

    async def other_pipelines(self) -> dict[str, dict[str, Any] | None]:
        if self.others is None:
            raise Unavailable("owners", "no Ray")
        return self.others


class Recorded:
    """An audit that keeps what it is told."""

    def __init__(self) -> None:
        self.changes: list[tuple[str, str, Any, Any]] = []
        self.refusals: list[Refusal] = []

    def refused(self, refusal: Refusal) -> None:
        self.refusals.append(refusal)

    async def changed(self, caller: Caller, action: str, resource: str, before: Any, after: Any) -> None:
        self.changes.append((action, resource, before, after))


class Monitored:
    """The API, and a Kafka to do something in."""

    def __init__(self, endpoints: Endpoints) -> None:
        self.mark = f"m{uuid.uuid4().hex[:8]}"
        self.cluster = Cluster(endpoints.bootstrap_servers, endpoints.registry_url)
        self.facts = Here(self.cluster, f"{self.mark}-pipeline")
        self.app = build_api(self.facts)
        self.audit = self.app.state.audit = Recorded()
        self.admin = AdminClient({"bootstrap.servers": endpoints.bootstrap_servers})

    def ask(self, method: str, path: str, **more: Any) -> httpx.Response:
        async def asked() -> httpx.Response:
            transport = httpx.ASGITransport(self.app, raise_app_exceptions=False)
            async with httpx.AsyncClient(transport=transport, base_url="http://api") as client:
                return await client.request(method, path, **more)

        return asyncio.run(asked())

    def get(self, path: str, **parameters: Any) -> Any:
        answer = self.ask("GET", path, params=parameters)
        assert answer.status_code == 200, answer.text
        return answer.json()

    def topic(self, name: str, partitions: int = 2, **config: str) -> str:
        """Make a topic under a name of this test's own; underscores of a setting stand for dots."""
        full = f"{self.mark}.{name}"
        settings = {key.replace("_", "."): value for key, value in config.items()}
        self.admin.create_topics([NewTopic(full, partitions, 1, config=settings)])[full].result(CALL_S)
        return full

    def publish(self, topic: str, records: Sequence[int], transactional_id: str | None = None) -> None:
        """Publish so many records to each partition."""
        settings: dict[str, Any] = {"bootstrap.servers": self.cluster.bootstrap_servers, "linger.ms": 0}
        refused: list[Any] = []
        producer = Producer(settings | ({"transactional.id": transactional_id} if transactional_id else {}))
        if transactional_id:
            producer.init_transactions(CALL_S)
            producer.begin_transaction()
        for partition, count in enumerate(records):
            for i in range(count):
                producer.produce(
                    topic, b"x" * 100, str(i), partition, on_delivery=lambda error, _: error and refused.append(error)
                )
        assert producer.flush(CALL_S) == 0
        assert not refused
        if transactional_id:
            producer.commit_transaction(CALL_S)

    def commit(self, group: str, topic: str, offsets: Sequence[int]) -> None:
        """Commit an offset of each partition."""
        consumer = Consumer({"bootstrap.servers": self.cluster.bootstrap_servers, "group.id": group})
        places = [TopicPartition(topic, partition, offset) for partition, offset in enumerate(offsets)]
        consumer.commit(offsets=places, asynchronous=False)
        consumer.close()
