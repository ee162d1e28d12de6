"""Families in Ray actors: a lost one goes to the spare, an owner that comes back finds them, and none of it changes an output."""

from __future__ import annotations

import os
import signal
import uuid
from collections.abc import Iterator
from typing import Any

import numpy as np
import psutil
import pytest
import ray
from ray.util import placement_group, remove_placement_group
from ray.util.scheduling_strategies import PlacementGroupSchedulingStrategy

from actors import actor_hosts
from actors.actor_hosts import Cast, InActors
from actors.deal import Seat
from actors.engine.family import Work
from actors.errors import ReopenError
from actors.hosts import InOwner, Judged, Opening
from models.builtin import FAMILIES
from tests.actors.engine.test_judge import batch_of
from tests.integration.line import wait_for

ROWS = 40
CPUS = 0.1
STARTS = {family: FAMILIES[family](10) for family in ("spc", "drift")}


@pytest.fixture
def hosts(ray_cluster: None, monkeypatch: pytest.MonkeyPatch) -> Iterator[InActors]:
    """Families in actors, which end with this process; their spare is started and asked at once."""
    monkeypatch.setattr(actor_hosts, "SPARE_AFTER_S", 0.0)
    monkeypatch.setattr(actor_hosts, "SPARE_ASK_S", 0.1)
    hosts = InActors(Cast(f"t{uuid.uuid4().hex[:8]}", Seat(0, 1), STARTS, 20, CPUS), 30.0)
    hosts.reset()
    yield hosts
    hosts.close()
    wait_for(lambda: not any(map(psutil.pid_exists, hosts.pids().values())), "the actors have ended")


def judged(hosts: InActors | InOwner, emit: bool = True) -> Judged:
    """Open a partition anew and judge a batch."""
    hosts.drop(0)
    hosts.open(Opening("fab", 0, (), (), frozenset()))
    values = np.random.default_rng(1).normal(10, 1, ROWS) + np.where(np.arange(ROWS) > ROWS - 8, 6, 0)
    return hosts.judge([Work(0, 1, 0, batch_of(values, [0] * ROWS), ("E1|CD",), emit)], False)()


def spare_of(hosts: InActors, *others: int | None) -> int:
    """Return the process id of a spare that is none of these, when it is there."""

    def there() -> bool:
        judged(hosts)
        hosts.tend()
        return hosts.spare_pid() not in (None, *others)

    wait_for(there, "a spare is there")
    return hosts.spare_pid() or 0


def kill(pid: int) -> None:
    os.kill(pid, signal.SIGKILL)


def test_a_family_that_is_lost_goes_to_the_spare(hosts: InActors) -> None:
    before = hosts.pids()
    judged(hosts, emit=False)
    assert hosts._crew._keeper is None, "an opening starts no spare"
    spare = spare_of(hosts)
    assert spare not in before.values()
    kill(before["spc"])
    with pytest.raises(ReopenError, match="gone or slow"):
        judged(hosts)
    hosts.reset()
    assert hosts.pids() == {"spc": spare, "drift": before["drift"]}
    undisturbed = judged(InOwner(hosts.cast.pipeline, STARTS, 20))
    assert judged(hosts) == undisturbed
    assert any(output.alerts for output in undisturbed.outputs[0]), "there is something to compare"
    second = spare_of(hosts, spare)
    kill(second)
    third = spare_of(hosts, second)  # nothing has told the slot
    os.kill(third, signal.SIGSTOP)
    kill(hosts.pids()["drift"])
    hosts.reset()  # the spare hangs: a new process has the family
    assert hosts.pids()["drift"] not in (before["drift"], third)
    assert hosts.pids()["spc"] == spare
    assert judged(hosts) == undisturbed
    wait_for(lambda: not psutil.pid_exists(third), "the one that hung is gone")
    successor = InActors(hosts.cast, 30.0)
    successor.reset()
    assert successor.pids() == hosts.pids()
    with pytest.raises(ReopenError, match="another owner"):
        judged(hosts)
    assert judged(successor) == undisturbed
    successor.close()


def test_an_owner_that_comes_back_finds_them_in_its_placement_group(ray_cluster: None) -> None:
    name = f"t{uuid.uuid4().hex[:8]}"
    group = placement_group([{"CPU": 0.5 + CPUS * len(STARTS)}], lifetime="detached")

    @ray.remote(num_cpus=0.5, max_restarts=0)
    class Owner:
        def __init__(self) -> None:
            actor_hosts.SPARE_AFTER_S = 0.0
            self.hosts = InActors(Cast(name, Seat(0, 1), STARTS, 20, CPUS), 30.0)

        def pids(self) -> tuple[int, dict[str, int], int]:
            self.hosts.reset()
            return os.getpid(), self.hosts.pids(), spare_of(self.hosts)

    def start() -> Any:
        return Owner.options(scheduling_strategy=PlacementGroupSchedulingStrategy(group)).remote()

    try:
        owner = start()
        pid, *before = ray.get(owner.pids.remote())
        kill(pid)
        successor = start()
        other, *after = ray.get(successor.pids.remote())
    finally:
        remove_placement_group(group)
    assert other != pid
    assert after == before
    families, spare = after
    wait_for(lambda: not any(map(psutil.pid_exists, (*families.values(), spare))), "they end with the group")
