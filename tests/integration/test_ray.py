"""The pipeline in real Ray: started, stopped, scaled; what happens when its processes are killed is in test_faults.py."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import psutil
import pytest
import ray
from ray.actor import ActorHandle

from actors import supervisor
from actors.deal import Seat
from actors.errors import ConfigError
from actors.names import NAMESPACE
from actors.supervision import places
from actors.supervision.places import Member
from cluster.local.stack import Endpoints
from models.builtin import FAMILIES
from schemas.charts import step_of
from tests.integration.line import WAIT_S, TestLine, same_as_undisturbed, wait_for, wait_owner
from tests.integration.test_slot import run_to_end

FEW = {family: FAMILIES[family](10) for family in ("spc", "drift")}  # every family is a process


@pytest.fixture
def line(stack: Endpoints, ray_cluster: None) -> Iterator[TestLine]:
    """A pipeline in Ray, families in actors, live."""
    line = TestLine(stack, families=FEW, settings={"hosting": "actor", "snapshot_interval_ms": 400})
    supervisor.start_pipeline(line.pipeline())
    supervisor.wait_live(line.name, WAIT_S)
    yield line
    supervisor.stop_pipeline(line.name)


def kill(pid: int) -> None:
    os.kill(pid, signal.SIGKILL)


def owner_of(line: TestLine) -> ActorHandle[Any]:
    """Return the actor that works, once it is live."""
    seat = wait_owner(line, lambda said: said["state"] == "live")
    return places.members(line.name)[Member(Seat(seat["slot"], seat["incarnation"]))]


def test_stream_through_actors(line: TestLine) -> None:
    line.write_noise(200)
    line.wait_done()
    same_as_undisturbed(line, run_to_end)


def test_a_stopped_pipeline_resumes_where_it_stopped(line: TestLine) -> None:
    line.write_noise(50)
    line.wait_done()
    (stopped,) = supervisor.stop_pipeline(line.name)
    assert stopped["state"] == "stopped"
    line.write_noise(50, seed=2)
    supervisor.start_pipeline(line.pipeline())
    supervisor.wait_live(line.name, WAIT_S)
    line.wait_done()
    owner = wait_owner(line, lambda s: s.get("rows") == 100)
    assert owner["replayed"] == 0
    assert line.name in [said["pipeline"] for said in supervisor.list_pipelines()]
    assert owner["incarnation"] == stopped["incarnation"] + 1  # one that Ray does not know is never started again
    same_as_undisturbed(line, run_to_end)


def test_scale_out_and_in_under_load(line: TestLine) -> None:
    line.write_noise(100)
    assert supervisor.scale(line.name, 2)["slots"] == 2
    line.write_noise(100, seed=2)
    line.wait_done()
    owners = supervisor.wait_live(line.name, WAIT_S)["owners"]
    assert [sorted(owner["partitions"]) for owner in owners] == [[0], [1]]
    with pytest.raises(ConfigError, match="3 slots: a pipeline of 2 partitions"):
        supervisor.scale(line.name, 3)
    assert supervisor.scale(line.name, 1)["slots"] == 1
    wait_for(
        lambda: list(places.members(line.name)) == [Member(Seat(0, owners[0]["incarnation"]))],
        "the other owner has ended",
    )
    line.write_noise(100, seed=3)
    line.wait_done()
    same_as_undisturbed(line, run_to_end)


def test_kill_9_of_the_supervisor_changes_nothing(line: TestLine, monkeypatch: pytest.MonkeyPatch) -> None:
    before = supervisor.status(line.name)
    handle = ray.get_actor(supervisor.supervisor_name(line.name), NAMESPACE)
    pid = ray.get(handle.pid.remote())
    os.kill(pid, signal.SIGSTOP)
    with monkeypatch.context() as hurried:
        hurried.setattr(supervisor, "CALL_TIMEOUT_S", 0.5)
        (listed,) = [said for said in supervisor.list_pipelines() if said["pipeline"] == line.name]
    assert "cannot be reached" in listed["trouble"]
    kill(pid)
    line.write_noise(100)
    line.wait_done()
    after = supervisor.wait_live(line.name, WAIT_S)
    assert after["deal"] == before["deal"]
    assert [owner["pid"] for owner in after["owners"]] == [owner["pid"] for owner in before["owners"]]
    same_as_undisturbed(line, run_to_end)


def test_a_stopped_owner_is_replaced_and_fenced(line: TestLine) -> None:
    before = wait_owner(line, lambda s: s["state"] == "live")
    os.kill(before["pid"], signal.SIGSTOP)
    line.write_noise(100)
    after = wait_owner(line, lambda s: s["state"] == "live" and s["incarnation"] > before["incarnation"])
    line.wait_done()
    assert after["pid"] != before["pid"]
    same_as_undisturbed(line, run_to_end)


def test_a_standby_takes_over_when_the_owner_is_killed(stack: Endpoints, ray_cluster: None) -> None:
    line = TestLine(stack, settings={"hosting": "owner", "standby": True, "snapshot_interval_ms": 400})
    supervisor.start_pipeline(line.pipeline())
    try:
        before = wait_owner(line, lambda said: said["state"] == "live" and said["standby"])
        first = places.members(line.name)
        assert set(first) == {Member(Seat(0, 1)), Member(Seat(0, 1)).other}
        line.write_noise(50)
        line.wait_done()
        pid = before["pid"]
        for seed in (2, 3):  # the second time that which has taken over: the one started last takes over from it
            kill(pid)
            line.write_noise(50, seed=seed)
            line.wait_done()
            after = wait_owner(line, lambda said: said["state"] == "live" and said["standby"])
            assert after["incarnation"] == 1, "the seat was never vacant"
            assert after["pid"] != pid
            assert after["last_error"].endswith(f"process {pid} ended; its standby took over"), (
                "who looks later sees it"
            )
            pid = after["pid"]
            if seed == 2:  # a supervisor that comes back finds out who of the two works
                kill(ray.get(ray.get_actor(supervisor.supervisor_name(line.name), NAMESPACE).pid.remote()))
    finally:
        (stopped,) = supervisor.stop_pipeline(line.name)
    assert stopped["state"] == "stopped"
    assert places.members(line.name) == {}
    same_as_undisturbed(line, run_to_end)


def test_a_detector_that_hangs_is_killed_and_its_step_judged_again(stack: Endpoints, ray_cluster: None) -> None:
    line = TestLine(
        stack, families=FEW, settings={"hosting": "actor", "step_timeout_s": 4.0, "snapshot_interval_ms": 400}
    )
    supervisor.start_pipeline(line.pipeline())
    try:
        supervisor.wait_live(line.name, WAIT_S)
        line.write_noise(50)
        line.wait_done()
        hung = next(iter(ray.get(owner_of(line).detector_pids.remote()).values()))
        os.kill(hung, signal.SIGSTOP)
        line.write_noise(50, seed=2)
        line.wait_done()
        after = wait_owner(line, lambda s: s["state"] == "live")
        assert after["reopened"] >= 1
        assert "gone or slow" in after["last_error"]
        wait_for(lambda: not psutil.pid_exists(hung), "the one that hung is gone")
    finally:
        supervisor.stop_pipeline(line.name)
    same_as_undisturbed(line, run_to_end)


def test_a_pipeline_that_stands_delays_no_other_that_writes_to_the_same_topics(
    line: TestLine, stack: Endpoints
) -> None:
    quick = TestLine(stack, families={"spc": FEW["spc"]}, settings={"hosting": "actor", "snapshot_interval_ms": 400})
    quick.topics = replace(quick.topics, charts=line.topics.charts, alerts=line.topics.alerts)
    supervisor.start_pipeline(quick.pipeline())
    try:
        supervisor.wait_live(quick.name, WAIT_S)
        line.write_noise(50)
        line.wait_done()
        standing = list(ray.get(owner_of(line).detector_pids.remote()).values())
        for pid in standing:
            os.kill(pid, signal.SIGSTOP)
        try:
            before = line.committed()
            line.write_noise(50, seed=2)
            quick.write_noise(200)
            quick.wait_done()
            seen = [
                step_of(value or b"") for records in quick.read(quick.topics.charts).values() for _, value in records
            ]
            ends = {step.partition: step.next_offset for step in seen if step.pipeline == quick.name}
            assert ends == dict.fromkeys(range(quick.partitions), 200)
            assert line.committed() == before
        finally:
            for pid in standing:
                os.kill(pid, signal.SIGCONT)
        line.wait_done()
    finally:
        supervisor.stop_pipeline(quick.name)


def test_the_workers_import_our_packages(ray_cluster: None) -> None:
    @ray.remote
    def where() -> list[str]:
        import actors
        import models
        import schemas

        return [next(iter(package.__path__)) for package in (schemas, models, actors)]

    import actors
    import models
    import schemas

    assert ray.get(where.remote()) == [next(iter(package.__path__)) for package in (schemas, models, actors)]
