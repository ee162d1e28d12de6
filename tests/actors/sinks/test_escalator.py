"""The escalation on the real broker: once for an alert, over restarts, and told on the routes that want it."""

from __future__ import annotations

import uuid
from typing import Any

import pytest
from confluent_kafka import Producer
from confluent_kafka.admin import AdminClient, NewTopic

from actors.alert_desk import Wanted, alert_desk
from actors.kafka.client import Cluster
from actors.sinks.escalator import EscalationTask, EscalatorLoop
from actors.sinks.journey import Plan
from actors.sinks.routes import Route
from cluster.local import Endpoints
from models.alert_life import About, Action, Kind
from schemas.encode import Encoder
from schemas.registry import Registry
from schemas.topics import schema_text
from tests.actors.sinks.alert_records import alert
from tests.actors.sinks.webhook import Webhook
from tests.integration.line import wait_for

pytestmark = pytest.mark.kafka

RAISED_MS = 1_700_000_000_000


class Floor:
    """Topics of its own, and a clock that the test moves."""

    def __init__(self, stack: Endpoints, routes: tuple[Route, ...]) -> None:
        name = f"e{uuid.uuid4().hex[:8]}"
        self.now_ms = RAISED_MS
        self.cluster = Cluster(stack.bootstrap_servers, stack.registry_url)
        self.plan = Plan(f"{name}.actions", f"{name}-escalation", (0.2,))
        self.task = EscalationTask(
            self.cluster,
            {"critical": 900.0},
            routes=routes,
            notify_stale_s=10**9,
            alerts=f"{name}.alerts",
            plan=self.plan,
        )
        topics = (self.task.alerts, self.plan.topic, *self.plan.retries, self.plan.dead_letters)
        admin = AdminClient({"bootstrap.servers": stack.bootstrap_servers})
        for future in admin.create_topics([NewTopic(topic, 1, 1) for topic in topics]).values():
            future.result(20)
        registry = Registry(stack.registry_url)
        self.encoder = Encoder("alert", registry.register(f"{self.task.alerts}-value", schema_text("alert")))
        self.producer = Producer({"bootstrap.servers": stack.bootstrap_servers, "linger.ms": 0})

    def raise_alert(self, name: str, at_ms: int = RAISED_MS, **fields: Any) -> None:
        value = self.encoder.encode({**alert(name), **fields})
        self.producer.produce(self.task.alerts, value, name.encode(), timestamp=at_ms)
        assert self.producer.flush(20) == 0

    def loop(self) -> EscalatorLoop:
        made = EscalatorLoop(self.task, now_ms=lambda: self.now_ms)
        made.start()
        wait_for(lambda: made.status()["trouble"] is None, "it has read what was there")
        return made


def test_once_over_restarts_and_told(stack: Endpoints) -> None:
    with Webhook() as hook:
        floor = Floor(
            stack,
            (
                Route("boss", (hook.url("boss"),), states=("escalated",), allow_private=True),
                Route("all", (hook.url("all"),), allow_private=True),
            ),
        )
        floor.raise_alert("a1")
        floor.raise_alert("taken")
        floor.raise_alert("warns", severity="WARNING")
        floor.producer.produce(floor.task.alerts, b"no Avro")
        desk = alert_desk(floor.cluster, floor.plan.topic)
        about = About("quality", "t", 0, "s", "d", "r", "CRITICAL", 1, RAISED_MS)
        desk.act(Wanted("taken", about, Action(Kind.ACKNOWLEDGE, "ada", RAISED_MS, "x")))
        first = floor.loop()
        floor.now_ms += 899_000
        wait_for(lambda: first.status()["waiting"] == 1, "only one waits")
        assert first.status()["counts"] == {"unreadable": 1}
        floor.now_ms += 2_000
        wait_for(lambda: first.status()["counts"].get("escalated") == 1, "it is escalated")
        wait_for(lambda: bool(hook.posts), "the route is told")
        assert first.stop()
        second = floor.loop()
        floor.raise_alert("a2", floor.now_ms)
        floor.now_ms += 1_000_000
        wait_for(lambda: second.status()["counts"].get("escalated") == 1, "the next one")
        wait_for(lambda: len(hook.posts) == 2, "told too")
        said = second.status()
        assert (said["waiting"], said["notices"]["routes"]) == (0, ["boss"])
        assert second.stop()
        assert [path for path, _ in hook.posts] == ["/boss", "/boss"]
        assert {body["title"] for _, body in hook.posts} == {
            "CRITICAL, not acknowledged: nelson_1 on ETCH-07|B|POLY|4200|CD"
        }
        lives = {life.alert_id: life for life in desk.lives()}
        assert {name: [entry.action.value for entry in life.history] for name, life in lives.items()} == {
            "a1": ["escalated"], "a2": ["escalated"], "taken": ["acknowledge"],
        }  # fmt: skip
        assert lives["a1"].escalated_ms == RAISED_MS + 901_000
        desk.act(Wanted("a1", lives["a1"].about, Action(Kind.ACKNOWLEDGE, "ada", floor.now_ms, "y"), expected=1))
        desk.close()


def test_without_its_topics_it_says_so_and_goes_on_trying(stack: Endpoints) -> None:
    cluster = Cluster(stack.bootstrap_servers, stack.registry_url)
    loop = EscalatorLoop(EscalationTask(cluster, {"critical": 1.0}, alerts="nowhere"))
    loop.start()
    wait_for(lambda: "topic nowhere" in str(loop.status()["trouble"]), "trouble is told")
    assert loop.stop()
