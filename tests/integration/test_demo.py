"""`chipquality demo` as a user runs it: it counts right, it stops in every way, and it leaves nothing behind."""

from __future__ import annotations

import json
import signal
import socket
import subprocess
import urllib.error
import urllib.parse
import urllib.request
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

import cluster.demo
from cluster.local import Endpoints, LocalStack
from tests.integration.running import PROGRAM, START_S, STOP_S, Running, run_in, until

pytestmark = pytest.mark.processes

SECOM = Path(cluster.demo.__file__).parent / "data" / "secom.parquet"


@pytest.fixture
def running(tmp_path: Path) -> Iterator[Running]:
    with run_in(tmp_path) as demo:
        yield demo


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
    broker = next(each for each in running.started() if "kafka.Kafka" in each.cmdline())
    broker.suspend()
    try:
        running.wait_for_text("no figures just now")
    finally:
        broker.resume()
    until(lambda: "alerts" in running.error_file.read_text().rpartition("no figures")[2], "figures are back", START_S)
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
