"""The notifier on the real broker, against a real webhook: failing, healing, giving up; as a loop and as a Ray actor."""

from __future__ import annotations

import time

import pytest
import ray

from actors.kafka.client import Cluster
from actors.sinks.notify import NotifierLoop, NotifyTask, start_notifier, stop_notifier, try_routes
from actors.sinks.routes import Route, mark
from cluster.local import Endpoints
from tests.actors.sinks.alert_records import alert
from tests.actors.sinks.group_line import GroupLine
from tests.actors.sinks.webhook import Webhook
from tests.integration.line import wait_for

pytestmark = pytest.mark.kafka


def test_a_failing_webhook_is_tried_again_and_then_given_up(stack: Endpoints) -> None:
    line = GroupLine(stack, delays_s=(0.2, 0.4), record="alert")
    with Webhook() as hook:
        routes = (
            Route("chat", (hook.url("chat"), hook.url("second")), severities=("critical",), allow_private=True),
            Route("dead", (hook.url("dead"),), severities=("warning",), allow_private=True),
        )
        hook.answers = {"/chat": [503, 503], "/dead": [500] * 99}
        line.write(*[line.encoder.encode(alert(ident)) for ident in ("a1", "a1")])
        line.write(line.encoder.encode(alert("w1", severity="WARNING")))
        loop = NotifierLoop(NotifyTask(line.cluster, routes, plan=line.plan))
        loop.start()
        wait_for(lambda: loop.status()["records"].get("dead_lettered") == 1, "dead letter")
        wait_for(lambda: len(hook.titles("chat")) == 1, "told at the third attempt")
        wait_for(lambda: loop.status()["records"]["handled"] == 2, "handled")
        told = loop.status()
        assert loop.stop()
        assert hook.titles("chat") == hook.titles("second") == ["CRITICAL: nelson_1 on ETCH-07|B|POLY|4200|CD"]
        assert hook.refused == ["/chat", "/dead", "/chat", "/dead", "/dead"]
    assert told["records"] == {"retried": 4, "handled": 2, "dead_lettered": 1}
    assert told["messages"] == {"sent": 2, "failed": 5, "duplicates": 1}
    assert (told["routes"], told["waiting"], told["trouble"]) == (["chat", "dead"], 0, None)
    assert len(told["partitions"]) == 3
    [letter] = line.letters()
    assert (letter["reason"], letter["attempts"], letter["offset"]) == ("handling_failed", 3, 2)
    assert letter["detail"].startswith(f"dead/{mark(routes[1].urls[0])}: ")
    assert "500" in letter["detail"]


def test_as_a_ray_actor_that_was_killed(stack: Endpoints, ray_cluster: None) -> None:
    line = GroupLine(stack, delays_s=(0.2,), record="alert")
    with Webhook() as hook:
        task = NotifyTask(line.cluster, (Route("chat", (hook.url("chat"),), allow_private=True),), plan=line.plan)
        name = f"notifier:{line.plan.topic}"
        handle = start_notifier(task, name)
        line.write(line.encoder.encode(alert("a1")))
        wait_for(lambda: len(hook.posts) == 1, "told")
        wait_for(lambda: line.committed().get((line.plan.topic, 0)) == 1, "committed")
        ray.kill(handle, no_restart=False)

        def is_back() -> bool:
            try:
                return bool(ray.get(handle.status.remote(), timeout=30)["partitions"])
            except ray.exceptions.RayActorError:
                return False

        wait_for(is_back, "Ray started it again, and it is in the group", 100)
        line.write(line.encoder.encode(alert("a2")))
        wait_for(lambda: len(hook.posts) == 2, "told by the one that Ray started again")
        told = {"sent": 1}  # counted after the post
        wait_for(lambda: ray.get(handle.status.remote(), timeout=30)["messages"] == told, "one, by this process")
        stop_notifier(name)
        stop_notifier(name)


def test_every_destination_is_tried(stack: Endpoints) -> None:
    with Webhook() as hook:
        hook.answers = {"/bad": [404]}
        routes = [
            Route("a", (hook.url("good"), hook.url("bad")), allow_private=True),
            Route("b", ("json://127.0.0.1:1/x",), allow_private=True),
        ]
        began = time.monotonic()
        told = try_routes(routes)
        assert time.monotonic() - began < 15
    good, bad, absent = (told[str(to)] for route in routes for to in route.destinations())
    assert good is None
    assert "404" in str(bad)
    assert absent
    assert hook.titles("good") == ["chipquality: test"]


def test_without_a_broker_it_says_so(stack: Endpoints) -> None:
    route = Route("a", ("json://127.0.0.1:1",), allow_private=True)
    loop = NotifierLoop(NotifyTask(Cluster("127.0.0.1:1", stack.registry_url), (route,)))
    loop.start()
    wait_for(lambda: loop.status()["trouble"] is not None, "trouble")
    assert loop.stop()
