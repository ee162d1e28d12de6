"""`chipquality local up | down | status`, as a person and as a program call them."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from typer.testing import CliRunner, Result

from cluster.commands.local import NOT_RUNNING, app
from cluster.local import broker, running
from cluster.local.preflight import LOOPBACK, free_ports
from cluster.local.processes import Child, Command

pytestmark = [pytest.mark.kafka, pytest.mark.processes]


@pytest.fixture
def directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, local_cache: Path) -> Iterator[Path]:
    """Settings of this test's own; what it leaves running is stopped."""
    folder = tmp_path / "work"
    for name, port in zip(("KAFKA", "REGISTRY"), free_ports(2), strict=True):
        monkeypatch.setenv(f"CHIPQUALITY_LOCAL__{name}_PORT", str(port))
    monkeypatch.setenv("CHIPQUALITY_LOCAL__DIRECTORY", str(folder))
    monkeypatch.setenv("CHIPQUALITY_LOCAL__CACHE", str(local_cache))
    monkeypatch.chdir(tmp_path)
    yield folder
    running.stop_in(folder)


def call(*arguments: str) -> Result:
    return CliRunner().invoke(app, arguments)


def test_up_status_down(directory: Path) -> None:
    assert call("status").exit_code == NOT_RUNNING
    up = call("up", "--keep-data", "--output", "json")
    assert up.exit_code == 0, up.output
    said = json.loads(up.output)
    assert said["how"] == "java"
    assert set(said["seconds"]) == {"jars", "class archives", "broker-1", "registry"}

    status = json.loads(call("status", "-o", "json").output)
    assert status["running"] is True
    assert status["answers"] == {said["bootstrap_servers"]: True, said["registry_url"]: True}
    assert set(status["pids"]) == {"broker-1", "registry"}
    assert f"pid {status['pids']['registry']}" in call("status").output

    again = call("up", "--keep-data")
    assert again.exit_code == 1
    assert again.stderr.strip() == f"a local stack runs in {directory} already: `chipquality local down` stops it"

    psutil.Process(status["pids"]["registry"]).kill()
    psutil.wait_procs([psutil.Process(status["pids"]["registry"])], timeout=10)
    partly = call("status")
    assert partly.exit_code == 1
    assert "registry         is gone" in partly.output
    assert "does not answer" in partly.output

    down = call("down", "-o", "json")
    assert json.loads(down.output) == {"stopped": ["broker-1"]}
    assert not psutil.pid_exists(status["pids"]["broker-1"])
    host, _, port = said["bootstrap_servers"].partition(":")
    assert not broker.answers(host, int(port))
    assert (directory / "kept" / "node-1").exists()

    after = call("status")
    assert (after.exit_code, after.output) == (NOT_RUNNING, "Nothing is running.\n")
    nothing = call("down")
    assert (nothing.exit_code, nothing.output) == (0, "Nothing was running.\n")


def test_text_for_a_person_and_temporary_data(directory: Path) -> None:
    up = call("up")
    assert up.exit_code == 0, up.output
    assert "Started with java; `chipquality local down` stops them." in up.output
    assert "broker-1" in up.output
    assert (directory / "temporary").exists()
    down = call("down")
    assert down.output == "Stopped registry, broker-1.\n"
    assert not (directory / "temporary").exists()


def test_a_start_that_was_killed_is_found_by_down(directory: Path) -> None:
    """The state file is there before anything answers; a pid that is another's now is left alone."""
    directory.mkdir()
    me = running.Process.of("broker-1", psutil.Process().pid)
    other = running.Process("registry", me.pid, me.started - 3600)
    running.Running("java", "", "", False, str(directory / "temporary"), (other,)).save(directory)
    assert other.find() is None
    assert me.find() is not None
    assert call("status").exit_code == NOT_RUNNING
    assert call("down").output == "Nothing was running.\n"
    assert running.load(directory) is None


def test_what_does_not_stop_is_killed(directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    directory.mkdir()
    script = "trap '' TERM; echo ready; while :; do sleep 0.02; done"
    child = Child(Command("broker-1", ("sh", "-c", script), directory / "log", directory))
    child.wait_until(lambda: "ready" in child.output(), 10.0)
    found = running.Process.of("broker-1", child.pid)
    running.Running("java", "", "", False, str(directory / "temporary"), (found,)).save(directory)
    monkeypatch.setattr(running, "STOP_GRACE_S", 0.3)
    assert call("down").output == "Stopped broker-1.\n"
    assert found.find() is None


def test_nothing_to_start(directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CHIPQUALITY_KAFKA__BOOTSTRAP_SERVERS", "kafka.example:9092")
    monkeypatch.setenv("CHIPQUALITY_REGISTRY__URL", "http://registry.example")
    up = call("up")
    assert up.exit_code == 0
    assert "kafka.example:9092" in up.output
    assert "nothing was started" in up.output
    assert not directory.exists()


def test_errors_are_one_line_on_standard_error(directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server((LOOPBACK, 0)) as taken:
        port = taken.getsockname()[1]
        monkeypatch.setenv("CHIPQUALITY_LOCAL__KAFKA_PORT", str(port))
        up = call("up")
    assert (up.exit_code, up.stdout) == (1, "")
    assert up.stderr.startswith(f"port {port} for the broker is taken")
    assert up.stderr.count("\n") == 1

    (directory / "running.json").write_text('{"how": "java"}')
    for command in ("up", "status", "down"):
        broken = call(command)
        assert broken.exit_code == 1
        assert "is no state file of ours" in broken.stderr
    (directory / "running.json").unlink()

    monkeypatch.setenv("CHIPQUALITY_LOCAL__KAFKA_PORT", "no")
    bad = call("status")
    assert bad.exit_code == 1
    assert "local.kafka_port" in bad.stderr
