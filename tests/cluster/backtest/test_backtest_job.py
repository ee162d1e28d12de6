"""`chipquality backtest` as a job of a Ray cluster: by Ray's own Jobs API, and stopped with the command."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import psutil
import pytest
from ray.job_submission import JobStatus

from cluster.backtest import job
from cluster.backtest.plan import Wish
from cluster.config import load
from cluster.local.stack import Endpoints
from cluster.ray_address import jobs_of
from tests.cluster.backtest.backtest_line import BacktestLine, run, under_way
from tests.cluster.backtest.test_backtest_command import mine  # noqa: F401 - a fixture

pytestmark = pytest.mark.processes

HEAD = """
import sys
import ray
from cluster.ray_address import agent_on_a_free_port
with agent_on_a_free_port():
    ray.init(address="local", _node_ip_address="127.0.0.1", num_cpus=2, include_dashboard=True, dashboard_host="127.0.0.1",
             dashboard_port=0, object_store_memory=100 * 1024 * 1024, log_to_driver=False)
print("address", ray.get_runtime_context().gcs_address, flush=True)
sys.stdin.read()
"""


@pytest.fixture(scope="module")
def head() -> Iterator[str]:
    """A Ray with its dashboard, which has the Jobs API."""
    process = subprocess.Popen([sys.executable, "-c", HEAD], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    address = next(line.split()[1] for line in process.stdout if line.startswith("address "))
    yield address
    process.communicate("")


@pytest.fixture(scope="module")
def line(stack: Endpoints) -> BacktestLine:
    return BacktestLine(stack)


def newest(head: str) -> Any:
    return max(jobs_of(load(), head).list_jobs(), key=lambda job: job.start_time or 0)


def test_a_job_says_what_the_command_itself_says(line: BacktestLine, head: str, tmp_path: Path, mine: str) -> None:  # noqa: F811
    shared = (f"{mine}:Raises", "-o", "json", "--labels", line.labels(tmp_path / "labels.csv"))
    result = run(line, *shared, "--address", head, "--report", "job")
    assert Path("job/report.json").exists(), result.output
    assert result.exit_code == 1, "the detector raised"
    here = run(line, *shared, "--local", "--report", "here")
    reports = [json.loads(Path(name, "report.json").read_text()) for name in ("job", "here")]
    for report in reports:
        report.pop("seconds")
        report["failures"] = [x | {"detail": x["detail"].splitlines()[-1]} for x in report["failures"]]  # paths differ
    assert reports[0] == reports[1], here.output
    told = newest(head)
    assert told.status == JobStatus.SUCCEEDED
    assert told.entrypoint.endswith(f" {head}"), "by itself a job takes the newest Ray of the machine"
    assert told.metadata == {"kind": "backtest", "detector": f"{mine}:Raises", "topic": line.input}
    assert sorted(path.name for path in Path().iterdir() if path.is_dir() and path.name != "__pycache__") == [
        "here",
        "job",
    ]


def test_control_c_stops_the_job(line: BacktestLine, head: str, tmp_path: Path, mine: str) -> None:  # noqa: F811
    with under_way(line, f"{mine}:Loops", "--address", head) as process:
        workers = [
            each
            for each in psutil.process_iter(["cmdline"])
            if f"backtest:{line.input}" in " ".join(each.info["cmdline"] or [])
        ]
        os.kill(process.pid, signal.SIGINT)
        _, err = process.communicate(timeout=60)
    assert process.returncode == 130, err
    assert newest(head).status == JobStatus.STOPPED
    _, alive = psutil.wait_procs(workers, 10)
    assert len(workers) == 2
    assert alive == []
    assert not list(Path().glob("backtest*"))


def asked(line: BacktestLine, part: Path, **wish: Any) -> None:
    offsets = {"offsets": {"0": 0, "1": 0}}
    bounds = {"since": offsets, "until": {"offsets": {"0": 9, "1": 9}}, "warm_from": offsets}
    part.mkdir()
    whole = {**asdict(Wish("spc.ewma", line.input)), **bounds, **wish}
    said = {"wish": whole, "folder": str(part.with_name("out")), "cluster": asdict(line.cluster), "arrivals": {}}
    (part / job.TASK).write_text(json.dumps(said))


def test_what_hinders_a_job_is_told_to_the_command(line: BacktestLine, tmp_path: Path) -> None:
    part = tmp_path / "out.job"
    asked(line, part, topic="absent")
    assert job.carry_out_asked(part) == 2
    outcome = json.loads((part / job.OUTCOME).read_text())
    assert outcome["exit"] == 2
    assert "there is no topic absent" in outcome["why"]
    assert not (part / job.TASK).exists(), "it may hold a password"
    with pytest.raises(job.Refused, match="no topic absent"):
        job._raise_outcome(part, False, lambda: "", "job-1")
    (part / job.OUTCOME).unlink()
    with pytest.raises(job.BacktestFailed, match="job job-1 has died; its log ends with: the end"):
        job._raise_outcome(part, False, lambda: "the end\n", "job-1")
    (part / job.OUTCOME).write_text(json.dumps({"exit": 1, "why": "the registry is away"}))
    with pytest.raises(job.BacktestFailed, match="the registry is away"):
        job._raise_outcome(part, False, lambda: "", "job-1")


def test_a_module_that_travels(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = tmp_path / "mine_of_several"
    (package / "__pycache__").mkdir(parents=True)
    for name in ("__init__.py", "inner.py", "__pycache__/x.pyc"):
        (package / name).write_text("")
    job.copy_module(package, tmp_path / "there")
    assert sorted(path.name for path in (tmp_path / "there").rglob("*.*")) == ["__init__.py", "inner.py"]
    job.copy_module(None, tmp_path / "nowhere")
    assert not (tmp_path / "nowhere").exists()
    monkeypatch.setattr(job, "MODULE_BYTES_MAX", -1)
    with pytest.raises(job.Refused, match="more than -1 bytes"):
        job.copy_module(package, tmp_path / "again")


def test_what_ray_makes_of_a_job_that_it_does_not_take() -> None:
    class Client:
        def submit_job(self, **_: Any) -> None:
            raise RuntimeError("no\nroom")

        def stop_job(self, _: str) -> None:
            raise RuntimeError("there is none")

    with pytest.raises(job.BacktestFailed, match="Ray takes no job: no room"):
        job._submit(Client())
    job.stop(Client(), "backtest-1")


def test_a_cluster_that_has_just_been_started_is_asked_again(monkeypatch: pytest.MonkeyPatch) -> None:
    class Client:
        asked = 0

        def submit_job(self, **_: Any) -> None:
            self.asked += 1
            if self.asked < 3:
                raise RuntimeError(f"status code 500: {job.NO_AGENT} to submit job")

    monkeypatch.setattr(job, "LOOK_S", 0.001)
    client = Client()
    job._submit(client)
    assert client.asked == 3
