"""Processes started ahead on other nodes: how many, where, and what happens when a raylet does not answer."""

from __future__ import annotations

import grpc
import psutil
import ray

from actors.engine.fold import Topics
from actors.kafka.client import Cluster
from actors.pipeline import Pipeline
from actors.supervision.warm import COMES_S, EVERY_S, NODES_MAX, Noted, Raylets, Warmer
from models.builtin import FAMILIES
from tests.integration.line import wait_for


class Asked(Raylets):
    """Notes which raylets were asked for a process; each is there `takes` looks later. Every `forgets`-th is forgotten."""

    def __init__(self, takes: int = 1, forgets: int = 10**9) -> None:
        self.started: list[str] = []
        self.takes, self.forgets = takes, forgets
        self._coming: dict[str, list[int]] = {}  # looks until each process is there

    def start_process(self, raylet: str) -> None:
        self.started.append(raylet)
        if len(self.started) % self.forgets:
            self._coming.setdefault(raylet, []).append(self.takes)

    def processes(self, raylet: str) -> frozenset[int]:
        coming = self._coming[raylet] = [looks - 1 for looks in self._coming.get(raylet, ())]
        return frozenset(n for n, looks in enumerate(coming) if looks <= 0)

    def there(self, raylet: str) -> int:
        return len(self._coming[raylet])


class Slate(Noted):
    """Keeps what is noted in memory."""

    def __init__(self) -> None:
        self.written: dict[str, int] = {}

    def recall(self) -> dict[str, int]:
        return self.written

    def note(self, there: dict[str, int]) -> None:
        self.written = dict(there)


def pipeline(hosting: str) -> Pipeline:
    return Pipeline(
        "p", Cluster(""), "fab", (0,), Topics("charts", "alerts", "dead", "state"),
        dict.fromkeys(FAMILIES, ()), {}, hosting=hosting, code_version="1",  # type: ignore[arg-type]
    )  # fmt: skip


def rounds(warmer: Warmer, nodes: dict[str, str], count: int) -> None:
    for n in range(count):
        warmer.tend(nodes, n * EVERY_S)


def test_every_other_node_gets_the_processes_of_one_slot_one_at_a_time() -> None:
    raylets = Asked(takes=3)
    warmer = Warmer(pipeline("actor"), raylets, Slate())
    nodes = {"a": "host-a:1", "b": "host-b:1"}
    rounds(warmer, nodes, 3)
    assert raylets.started == ["host-a:1"], "a raylet forgets what is more than one core's worth"
    rounds(warmer, nodes, 60)
    of_one_slot = 1 + len(FAMILIES)
    assert sorted(raylets.started) == ["host-a:1"] * of_one_slot + ["host-b:1"] * of_one_slot
    assert warmer.ready() == {"a": of_one_slot, "b": of_one_slot}


def test_a_process_that_was_forgotten_is_asked_for_again() -> None:
    raylets = Asked(forgets=2)
    warmer = Warmer(pipeline("actor"), raylets, Slate())
    rounds(warmer, {"a": "host-a:1"}, round(20 * COMES_S / EVERY_S))
    of_one_slot = 1 + len(FAMILIES)
    assert raylets.there("host-a:1") == of_one_slot
    assert len(raylets.started) > of_one_slot
    assert warmer.ready() == {"a": of_one_slot}


def test_a_node_that_had_a_slot_of_ours_in_between_is_asked_again() -> None:
    raylets = Asked()
    warmer = Warmer(pipeline("owner"), raylets, Slate())
    rounds(warmer, {"a": "host-a:1"}, 3)
    assert warmer.ready() == {"a": 1}
    warmer.tend({}, 10.0)
    assert warmer.ready() == {}
    warmer.tend({"a": "host-a:1"}, 20.0)
    assert raylets.started == ["host-a:1"] * 2


def test_the_next_supervisor_asks_for_no_more() -> None:
    raylets = Asked()
    slate = Slate()
    rounds(Warmer(pipeline("actor"), raylets, slate), {"a": "host-a:1"}, 4)
    rounds(Warmer(pipeline("actor"), raylets, slate), {"a": "host-a:1"}, 60)
    assert len(raylets.started) == 1 + len(FAMILIES)


def test_what_is_noted_is_in_ray(ray_cluster: None) -> None:
    assert Noted("p1").recall() == {}
    Noted("p1").note({"a": 2})
    assert Noted("p1").recall() == {"a": 2}
    assert Noted("p2").recall() == {}


def test_there_are_limits() -> None:
    raylets = Asked()
    warmer = Warmer(pipeline("owner"), raylets, Slate())
    rounds(warmer, {f"n{n}": f"host-{n}:1" for n in range(2 * NODES_MAX)}, 60)
    assert len(set(raylets.started)) == len(raylets.started) == NODES_MAX


def test_a_raylet_that_refuses_is_not_asked_again_and_again() -> None:
    asked: list[str] = []

    class Refusing(Asked):
        def start_process(self, raylet: str) -> None:
            asked.append(raylet)
            raise grpc.RpcError("unavailable")

    rounds(Warmer(pipeline("actor"), Refusing(), Slate()), {"a": "host-a:1"}, 5)
    assert asked == ["host-a:1"]


def test_a_real_raylet_starts_a_process(ray_cluster: None) -> None:
    (node,) = ray.nodes()
    raylet, raylets = f"{node['NodeManagerAddress']}:{node['NodeManagerPort']}", Raylets()
    before = raylets.processes(raylet)
    raylets.start_process(raylet)
    wait_for(lambda: bool(raylets.processes(raylet) - before), "one process more")
    (more,) = raylets.processes(raylet) - before
    assert psutil.Process(more).cmdline()[0].strip() == "ray::IDLE"
