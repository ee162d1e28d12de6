"""The pipeline in real Ray: owners and detector actors killed in mid-stream, outputs as if nothing had happened."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator

import pytest
import ray

from actors import supervisor
from actors.pipeline import NAMESPACE
from cluster.local.stack import Endpoints
from tests.integration.line import TestLine, same_as_undisturbed
from tests.integration.test_slot import run_to_end


@pytest.fixture
def line(stack: Endpoints, ray_cluster: None) -> Iterator[TestLine]:
    """A pipeline in Ray, families in actors, live."""
    line = TestLine(stack, settings={"hosting": "actor", "snapshot_interval_ms": 400})
    supervisor.start_pipeline(line.pipeline())
    supervisor.wait_live(line.name)
    yield line
    supervisor.stop_pipeline(line.name)


def kill(pid: int) -> None:
    os.kill(pid, signal.SIGKILL)


def test_stream_through_actors(line: TestLine) -> None:
    line.write_noise(200)
    line.wait_done()
    same_as_undisturbed(line, run_to_end)


def test_kill_9_of_the_owner_in_mid_stream(line: TestLine) -> None:
    line.write_noise(150)
    pid = supervisor.wait_status(line.name, lambda s: s.get("rows", 0) > 50, 60)["pid"]
    kill(pid)
    line.write_noise(150, seed=2)
    status = supervisor.wait_status(line.name, lambda s: s["state"] == "live" and s["pid"] != pid, 60)
    line.wait_done()
    assert status["pid"] != pid
    same_as_undisturbed(line, run_to_end)


def test_kill_9_of_a_detector_actor_in_mid_stream(line: TestLine) -> None:
    line.write_noise(150)
    line.wait_done()
    owner = ray.get_actor(supervisor.owner_name(line.name), NAMESPACE)
    pids = ray.get(owner.detector_pids.remote())
    assert sorted(pids) == ["anomaly", "capability", "drift", "spc"]
    kill(pids["spc"])
    line.write_noise(150, seed=2)
    supervisor.wait_status(line.name, lambda s: s["reopened"] >= 1 and s["state"] == "live", 60)
    line.wait_done()
    assert "spc" in ray.get(owner.detector_pids.remote())
    same_as_undisturbed(line, run_to_end)


def test_a_stopped_pipeline_resumes_where_it_stopped(line: TestLine) -> None:
    line.write_noise(50)
    line.wait_done()
    stopped = supervisor.stop_pipeline(line.name)
    assert stopped is not None
    assert stopped["state"] == "stopped"
    line.write_noise(50, seed=2)
    supervisor.start_pipeline(line.pipeline())
    supervisor.wait_live(line.name)
    line.wait_done()
    (status,) = [s for s in supervisor.list_pipelines() if s["pipeline"] == line.name]
    assert (status["rows"], status["replayed"]) == (100, 0)
    same_as_undisturbed(line, run_to_end)


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
