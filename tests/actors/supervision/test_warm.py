"""Processes started ahead on other nodes: how many, where, and what happens when a raylet does not answer."""

from __future__ import annotations

import grpc
import ray

from actors.engine.fold import Topics
from actors.kafka.client import Cluster
from actors.pipeline import Pipeline
from actors.supervision.warm import COMES_S, EVERY_S, NODES_MAX, REFUSED_S, Raylets, Warmer
from models.builtin import FAMILIES
from tests.integration.line import wait_for


class Asked(Raylets):
    """Raylets of which each notes what it was asked for: a process is there `takes` looks later; every `forgets`-th never is."""

    def __init__(self, takes: int = 1, forgets: int = 10**9) -> None:
        self.started: list[str] = []
        self.takes, self.forgets = takes, forgets
        self.coming: dict[str, list[int]] = {}  # looks until each process is there

    def start_process(self, raylet: str) -> None:
        self.started.append(raylet)
        if len(self.started) % self.forgets:
            self.coming.setdefault(raylet, []).append(self.takes)

    def idle(self, raylet: str) -> int:
        coming = self.coming[raylet] = [looks - 1 for looks in self.coming.get(raylet, ())]
        return sum(looks <= 0 for looks in coming)


def pipeline(hosting: str) -> Pipeline:
    return Pipeline(
        "p", Cluster(""), "fab", (0,), Topics("charts", "alerts", "dead", "state"),
        dict.fromkeys(FAMILIES, ()), {}, hosting=hosting, code_version="1",  # type: ignore[arg-type]
    )  # fmt: skip


def rounds(warmer: Warmer, nodes: dict[str, str], count: int) -> None:
    for n in range(count):
        warmer.tend(nodes, n * EVERY_S)


OF_ONE_SLOT = 1 + len(FAMILIES)


def test_every_other_node_gets_the_processes_of_one_slot_one_at_a_time() -> None:
    raylets = Asked(takes=3)
    warmer = Warmer(pipeline("actor"), raylets)
    rounds(warmer, {"a": "host-a:1"}, 3)
    assert raylets.started == ["host-a:1"], "a raylet forgets what is more than one core's worth"
    rounds(warmer, {"a": "host-a:1", "b": "host-b:1"}, 60)
    assert sorted(raylets.started) == ["host-a:1"] * OF_ONE_SLOT + ["host-b:1"] * OF_ONE_SLOT
    assert warmer.ready() == {"a": OF_ONE_SLOT, "b": OF_ONE_SLOT}


def test_a_process_that_was_forgotten_is_asked_for_again() -> None:
    raylets = Asked(forgets=2)
    warmer = Warmer(pipeline("actor"), raylets)
    rounds(warmer, {"a": "host-a:1"}, round(20 * COMES_S / EVERY_S))
    assert len(raylets.coming["host-a:1"]) == OF_ONE_SLOT < len(raylets.started)
    assert warmer.ready() == {"a": OF_ONE_SLOT}


def test_processes_that_somebody_took_are_replaced_and_those_that_are_there_are_shared() -> None:
    raylets = Asked()
    rounds(Warmer(pipeline("actor"), raylets), {"a": "host-a:1"}, 60)
    next_one = Warmer(pipeline("actor"), raylets)  # of another pipeline, or the same pipeline's next supervisor
    rounds(next_one, {"a": "host-a:1"}, 60)
    assert len(raylets.started) == OF_ONE_SLOT
    del raylets.coming["host-a:1"][:2]
    rounds(next_one, {"a": "host-a:1"}, 120)
    assert len(raylets.started) == OF_ONE_SLOT + 2


def test_a_node_with_a_slot_of_ours_is_left_alone() -> None:
    raylets = Asked()
    warmer = Warmer(pipeline("owner"), raylets)
    rounds(warmer, {"a": "host-a:1"}, 3)
    assert warmer.ready() == {"a": 1}
    warmer.tend({}, 10.0)
    assert warmer.ready() == {}


def test_there_are_limits() -> None:
    raylets = Asked()
    warmer = Warmer(pipeline("owner"), raylets)
    rounds(warmer, {f"n{n}": f"host-{n}:1" for n in range(2 * NODES_MAX)}, 60)
    assert len(set(raylets.started)) == len(raylets.started) == NODES_MAX


def test_a_raylet_that_refuses_is_left_alone_for_a_while_and_holds_up_no_other() -> None:
    asked: list[str] = []

    class Refusing(Asked):
        def idle(self, raylet: str) -> int:
            asked.append(raylet)
            if raylet == "host-a:1":
                raise grpc.RpcError("unavailable")
            return super().idle(raylet)

    warmer = Warmer(pipeline("actor"), Refusing())
    rounds(warmer, {"a": "host-a:1", "b": "host-b:1"}, 30)
    assert asked.count("host-a:1") == 1
    assert warmer.ready() == {"a": 0, "b": OF_ONE_SLOT}
    warmer.tend({"a": "host-a:1", "b": "host-b:1"}, 2 * REFUSED_S)
    assert asked.count("host-a:1") == 2


def test_a_real_raylet_starts_a_process(ray_cluster: None) -> None:
    (node,) = ray.nodes()
    raylet, raylets = f"{node['NodeManagerAddress']}:{node['NodeManagerPort']}", Raylets()
    before = raylets.idle(raylet)
    raylets.start_process(raylet)
    wait_for(lambda: raylets.idle(raylet) > before, "one process more")
    busy = Busy.remote()
    assert ray.get(busy.there.remote())
    wait_for(lambda: raylets.idle(raylet) == before, "somebody has it")
    ray.kill(busy)


@ray.remote(num_cpus=0)
class Busy:
    """Has a process."""

    def there(self) -> bool:
        return True
