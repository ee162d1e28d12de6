"""Processes started ahead on other nodes: how many, where, and what happens when a raylet does not answer."""

from __future__ import annotations

import grpc
import psutil
import ray

from actors.engine.fold import Topics
from actors.kafka.client import Cluster
from actors.pipeline import Pipeline
from actors.supervision.warm import EVERY_S, NODES_MAX, Noted, Warmer, start_process
from models.builtin import FAMILIES
from tests.integration.line import wait_for


class Slate(Noted):
    """Keeps what is noted in memory."""

    def __init__(self) -> None:
        self.written: dict[str, int] = {}

    def recall(self) -> dict[str, int]:
        return self.written

    def note(self, asked: dict[str, int]) -> None:
        self.written = dict(asked)


def pipeline(hosting: str) -> Pipeline:
    return Pipeline(
        "p", Cluster(""), "fab", (0,), Topics("charts", "alerts", "dead", "state"),
        dict.fromkeys(FAMILIES, ()), {}, hosting=hosting, code_version="1",  # type: ignore[arg-type]
    )  # fmt: skip


def rounds(warmer: Warmer, nodes: dict[str, str], count: int) -> None:
    for n in range(count):
        warmer.tend(nodes, n * EVERY_S)


def test_every_other_node_gets_the_processes_of_one_slot_one_at_a_time() -> None:
    started: list[str] = []
    warmer = Warmer(pipeline("actor"), started.append, Slate())
    nodes = {"a": "host-a:1", "b": "host-b:1"}
    warmer.tend(nodes, 0.0)
    warmer.tend(nodes, EVERY_S / 2)
    assert started == ["host-a:1"], "a raylet forgets what is more than one core's worth"
    rounds(warmer, nodes, 30)
    of_one_slot = 1 + len(FAMILIES)
    assert sorted(started) == ["host-a:1"] * of_one_slot + ["host-b:1"] * of_one_slot
    assert warmer.ready() == {"a": of_one_slot, "b": of_one_slot}


def test_a_node_that_had_a_slot_of_ours_in_between_is_asked_again() -> None:
    started: list[str] = []
    warmer = Warmer(pipeline("owner"), started.append, Slate())
    rounds(warmer, {"a": "host-a:1"}, 3)
    warmer.tend({}, 10.0)
    assert warmer.ready() == {}
    warmer.tend({"a": "host-a:1"}, 20.0)
    assert started == ["host-a:1"] * 2


def test_the_next_supervisor_asks_for_no_more() -> None:
    started: list[str] = []
    slate = Slate()
    rounds(Warmer(pipeline("actor"), started.append, slate), {"a": "host-a:1"}, 3)
    rounds(Warmer(pipeline("actor"), started.append, slate), {"a": "host-a:1"}, 30)
    assert len(started) == 1 + len(FAMILIES)


def test_what_is_noted_is_in_ray(ray_cluster: None) -> None:
    assert Noted("p1").recall() == {}
    Noted("p1").note({"a": 2})
    assert Noted("p1").recall() == {"a": 2}
    assert Noted("p2").recall() == {}


def test_there_are_limits() -> None:
    started: list[str] = []
    warmer = Warmer(pipeline("owner"), started.append, Slate())
    rounds(warmer, {f"n{n}": f"host-{n}:1" for n in range(2 * NODES_MAX)}, 30)
    assert len(set(started)) == len(started) == NODES_MAX


def test_a_raylet_that_refuses_is_not_asked_again_and_again() -> None:
    asked: list[str] = []

    def refuse(raylet: str) -> None:
        asked.append(raylet)
        raise grpc.RpcError("unavailable")

    rounds(Warmer(pipeline("actor"), refuse, Slate()), {"a": "host-a:1"}, 5)
    assert asked == ["host-a:1"]


def test_a_real_raylet_starts_a_process(ray_cluster: None) -> None:
    (node,) = ray.nodes()
    raylets = [p for p in psutil.Process().children(recursive=True) if p.name() == "raylet"]

    def workers() -> set[int]:
        return {child.pid for raylet in raylets for child in raylet.children()}

    before = workers()
    start_process(f"{node['NodeManagerAddress']}:{node['NodeManagerPort']}")
    wait_for(lambda: bool(workers() - before), "one process more")
    assert before <= workers()
