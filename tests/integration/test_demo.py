"""`chipquality demo` as a user runs it: it counts right, it stops in every way, and it leaves nothing behind."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.parse
import urllib.request
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

import cluster.demo
from cluster.local import Endpoints, LocalStack
from cluster.local.preflight import free_ports

pytestmark = pytest.mark.processes

PROGRAM = Path(sys.executable).parent / "chipquality"
SECOM = Path(cluster.demo.__file__).parent / "data" / "secom.parquet"
START_S = 200.0  # of a demo beside all other tests: nothing is promised here
STOP_S = 40.0


class Running:
    """A demo in a process of its own, with ports and folders of its own, and a mark in the environment of all it starts."""

    def __init__(self, folder: Path) -> None:
        self.mark = f"CHIPQUALITY_TEST_MARK={uuid.uuid4().hex}"
        self.ports = dict(zip(("kafka", "registry", "serve", "dashboard"), free_ports(4), strict=True))
        self.error_file = folder / "stderr"
        name, _, value = self.mark.partition("=")
        self.environment = os.environ | {
            name: value,
            "CHIPQUALITY_LOCAL__DIRECTORY": str(folder / "local"),
            "CHIPQUALITY_LOCAL__KAFKA_PORT": str(self.ports["kafka"]),
            "CHIPQUALITY_LOCAL__REGISTRY_PORT": str(self.ports["registry"]),
            "CHIPQUALITY_SERVE__PORT": str(self.ports["serve"]),
            "CHIPQUALITY_RAY__DASHBOARD_PORT": str(self.ports["dashboard"]),
            "CHIPQUALITY_PIPELINE__STANDBY": "false",  # but for the whole demo: each is two processes more
        }
        self.process: subprocess.Popen[str] | None = None
        self.seen: set[psutil.Process] = (
            set()
        )  # titles of Ray's processes overwrite environments: a mark alone misses some

    def start(self, *command: str) -> subprocess.Popen[str]:
        with self.error_file.open("w") as errors:
            self.process = subprocess.Popen(
                command, stdout=subprocess.PIPE, stderr=errors, env=self.environment, text=True, start_new_session=True
            )
        return self.process

    def wait_for_text(self, text: str) -> None:
        assert self.process is not None
        until(lambda: text in self.error_file.read_text() or self.process.poll() is not None, f"{text!r}", START_S)
        assert text in self.error_file.read_text(), self.error_file.read_text()
        self.seen.update(psutil.Process(self.process.pid).children(recursive=True))

    def key(self) -> str:
        """Return the key in the address that was printed."""
        found = re.findall(r"#key=(cq_\w+)", self.error_file.read_text())
        assert len(found) == 1, "shown once"
        return str(found[0])

    def started(self) -> list[psutil.Process]:
        """Return every living process that has our mark in its environment."""
        found = [process for process in self.seen if lives(process)]
        for process in psutil.process_iter():
            try:
                environment = Path(f"/proc/{process.pid}/environ").read_bytes()
            except OSError:  # it has ended, or is not ours
                continue
            if self.mark.encode() in environment and lives(process):
                found.append(process)
        return found

    def left_nothing(self) -> None:
        """Assert that all processes end and all ports are free."""
        until(
            lambda: not self.started(), "no process is left", STOP_S, lambda: str([p.cmdline() for p in self.started()])
        )
        for name, port in self.ports.items():
            with socket.socket() as probe:
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                probe.bind(("127.0.0.1", port))  # raises if the port is taken
                assert probe.getsockname()[1] == port, name


def lives(process: psutil.Process) -> bool:
    """Say whether a process runs; it may end while it is asked."""
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def until(condition: Callable[[], bool], what: str, seconds: float, more: Callable[[], str] = str) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"{what}: not within {seconds} s {more()}"
        time.sleep(0.05)


@pytest.fixture
def running(tmp_path: Path) -> Iterator[Running]:
    demo = Running(tmp_path)
    yield demo
    for process in demo.started():
        process.kill()


@pytest.mark.timeout(480)
def test_once_counts_right_and_says_so_in_one_line(running: Running) -> None:
    del running.environment["CHIPQUALITY_PIPELINE__STANDBY"]
    process = running.start(str(PROGRAM), "demo", "--once", "--wafers", "40", "--paced-s", "2")
    out, _ = process.communicate(timeout=220)
    text = running.error_file.read_text()
    assert process.returncode == 0, text
    result = json.loads(out.splitlines()[-1])
    assert list(result) == [
        "produced", "judged", "missing", "dead_lettered", "set_aside", "alerts", "events_per_s", "p95_ms_at_10k", "page_up_s",
    ]  # fmt: skip
    assert result["produced"] == result["judged"] + result["missing"] + result["dead_lettered"] + result["set_aside"]
    assert result["set_aside"] == 0
    assert result["produced"] == 40 * 590 + 9 + 20_000
    assert result["dead_lettered"] == 9
    assert result["missing"] > 0
    for shown in ("broker-1", "registry", "Ray", "pipeline", "API and page", "Made up by the demo", "judging"):
        assert shown in text
    running.left_nothing()


@pytest.mark.timeout(480)
def test_your_own_kafka_registry_and_ray_are_used_and_left_as_they_were(
    running: Running, tmp_path: Path, local_cache: Path
) -> None:
    head = running.start(
        str(PROGRAM.parent / "ray"), "start", "--head", "--block", "--node-ip-address=127.0.0.1", "--num-cpus=4",
        f"--port={running.ports['dashboard']}", "--include-dashboard=false", "--object-store-memory=200000000",
    )  # fmt: skip
    until(lambda: listens(running.ports["dashboard"]), "Ray's head listens", START_S)
    ours = {process.pid for process in running.started()}
    with LocalStack(tmp_path / "theirs", local_cache) as theirs:
        _demo_on(running, theirs.endpoints)
    assert ours <= {process.pid for process in running.started()}, "what was there goes on"
    head.terminate()
    head.wait(STOP_S)


def _demo_on(running: Running, theirs: Endpoints) -> None:
    pipeline = f"own-{uuid.uuid4().hex[:6]}"
    running.environment |= {
        "CHIPQUALITY_KAFKA__BOOTSTRAP_SERVERS": theirs.bootstrap_servers,
        "CHIPQUALITY_KAFKA__PARTITIONS": "2",
        "CHIPQUALITY_REGISTRY__URL": theirs.registry_url,
        "CHIPQUALITY_RAY__ADDRESS": f"127.0.0.1:{running.ports['dashboard']}",
        "CHIPQUALITY_PIPELINE__NAME": pipeline,
        "CHIPQUALITY_ACCESS__SECRET": uuid.uuid4().hex,
    }
    demo = running.start(str(PROGRAM), "demo", "--once", "--wafers", "8", "--paced-s", "1")
    out, _ = demo.communicate(timeout=200)
    text = running.error_file.read_text()
    assert demo.returncode == 0, text
    assert "broker and registry: yours" in text
    assert "broker-1" not in text
    result = json.loads(out.splitlines()[-1])
    assert result["produced"] == 8 * 590 + 9 + 10_000


def listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


@pytest.mark.timeout(480)
def test_ctrl_c_stops_everything_and_vectors_were_judged(running: Running, tmp_path: Path) -> None:
    model = tmp_path / "secom.npz"
    fit = [
        str(PROGRAM),
        "fit",
        "pca",
        str(model),
        "--from",
        str(SECOM),
        "--columns",
        "f*",
        "--rows",
        "0:100",
        "--components",
        "10",
    ]
    subprocess.run(fit, check=True, timeout=60)
    running.environment["CHIPQUALITY_VECTORS__VECTOR"] = "wafer"
    running.environment["CHIPQUALITY_VECTORS__DETECTORS"] = json.dumps(
        [{"detector": "multivariate.pca", "parameters": {"model": str(model)}}]
    )
    process = running.start(str(PROGRAM), "demo", "--wafers-per-s", "20")
    running.wait_for_text("alerts")  # the live line
    key = running.key()
    until(lambda: judged_vectors(running.ports["serve"], key) >= 20, "vectors are judged", START_S)
    list_keys = [str(PROGRAM), "keys", "list", "--output", "json"]
    listed = subprocess.run(list_keys, env=running.environment, stdout=subprocess.PIPE, timeout=60, check=True)
    [first] = json.loads(listed.stdout)
    assert (first["grants"], first["state"], first["id"] in key) == (["admin"], "live", True)
    assert key not in (Path(running.environment["CHIPQUALITY_LOCAL__DIRECTORY"]) / "logs" / "product.log").read_text()
    assert len(running.started()) > 5
    process.send_signal(signal.SIGINT)
    assert process.wait(STOP_S) == 0, running.error_file.read_text()
    assert "stopped" in running.error_file.read_text()
    running.left_nothing()


def judged_vectors(port: int, key: str) -> int:
    """Return how many wafers the page shows as judged by T² and Q."""
    series = urllib.parse.quote("DEMO-TOOL-1||SECOM||wafer", safe="")
    headers = {"Authorization": f"Bearer {key}"}
    asked = urllib.request.Request(f"http://127.0.0.1:{port}/charts/{series}", headers=headers)
    try:
        with urllib.request.urlopen(asked, timeout=20) as answer:  # noqa: S310 - our own address
            chart = json.loads(answer.read())
    except urllib.error.HTTPError:
        return 0
    [pca] = chart["detectors"]
    assert [statistic["name"] for statistic in pca["statistics"]] == ["T2", "Q"]
    return sum(pca["valid"])


@pytest.mark.timeout(480)
def test_a_second_ctrl_c_stops_at_once(running: Running) -> None:
    process = running.start(str(PROGRAM), "demo")
    running.wait_for_text("topics and schemas")
    process.send_signal(signal.SIGINT)
    running.wait_for_text("stopping")
    process.send_signal(signal.SIGINT)
    assert process.wait(STOP_S) in (0, 130)
    running.left_nothing()


@pytest.mark.timeout(480)
def test_a_killed_demo_leaves_nothing(running: Running) -> None:
    process = running.start(str(PROGRAM), "demo")
    running.wait_for_text("topics and schemas")
    process.kill()
    process.wait(STOP_S)
    running.left_nothing()


@pytest.mark.timeout(480)
def test_a_killed_parent_stops_the_demo(running: Running) -> None:
    parent = running.start("sh", "-c", f"{PROGRAM} demo; true")  # `; true`: the shell stays the parent
    running.wait_for_text("topics and schemas")
    parent.kill()
    parent.wait(STOP_S)
    running.left_nothing()


@pytest.mark.timeout(480)
def test_run_serves_without_a_line_until_it_is_stopped(running: Running) -> None:
    process = running.start(str(PROGRAM), "run")
    running.wait_for_text("API")
    running.wait_for_text("/docs")
    with urllib.request.urlopen(f"http://127.0.0.1:{running.ports['serve']}/events/health", timeout=20) as answer:
        assert json.loads(answer.read())["ready"] is True
    process.send_signal(signal.SIGTERM)
    assert process.wait(STOP_S) == 0
    running.left_nothing()


@pytest.mark.parametrize("name", ["kafka", "serve", "dashboard"])
def test_a_taken_port_is_one_clear_line(running: Running, name: str) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", running.ports[name]))
        taken.listen()
        process = running.start(str(PROGRAM), "demo")
        assert process.wait(60) == 2
    (line,) = [
        text
        for text in running.error_file.read_text().splitlines()
        if text.startswith("chipquality: ") and "port" in text
    ]
    setting = {"kafka": "local.kafka_port", "serve": "serve.port", "dashboard": "ray.dashboard_port"}[name]
    assert f"port {running.ports[name]}" in line
    assert setting in line
    running.left_nothing()
