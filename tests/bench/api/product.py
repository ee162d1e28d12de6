"""The product with a stream through it, for the benchmark: on ports of its own, with an ingress of choice."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil

from cluster.config import AccessConfig, Config, LocalConfig, PipelineConfig, RayConfig, ServeConfig, load
from cluster.local.preflight import free_ports
from cluster.product import Product
from schemas.registry import Registry
from schemas.topics import MEASUREMENTS, schema_text, subject_of
from tests.bench.api.asking import Target

END_S = 60.0
HAPROXY_MIN_DRAIN_S = "1"  # a replica waits so long for load balancers to leave it; 30 by default


def configured(folder: Path, replicas: int, hosting: str) -> Config:
    """Return settings that are in nobody's way."""
    kafka, registry, dashboard, port = free_ports(4)
    fast = AccessConfig(
        requests_per_s=1e6, requests_burst=1_000_000, address_requests_per_s=1e6, address_requests_burst=1_000_000,
        streams_max=1_000,
    )  # fmt: skip
    return load(
        local=LocalConfig(directory=folder, kafka_port=kafka, registry_port=registry),
        ray=RayConfig(dashboard_port=dashboard),
        serve=ServeConfig(port=port, replicas=replicas),
        access=fast,
        pipeline=PipelineConfig(hosting=hosting),
    )


def by_haproxy(binary: Path, folder: Path) -> dict[str, str]:
    """Return what makes Ray Serve answer by HAProxy: for the environment in which Ray starts.

    Its metrics port is bound on all interfaces, whatever `serve.host` says (haproxy_templates.py of Ray 2.60).
    """
    [metrics] = free_ports(1)
    return {
        "RAY_SERVE_ENABLE_HA_PROXY": "1",
        "RAY_SERVE_ENABLE_DIRECT_INGRESS": "1",
        "RAY_SERVE_DIRECT_INGRESS_MIN_DRAINING_PERIOD_S": HAPROXY_MIN_DRAIN_S,
        "RAY_SERVE_HAPROXY_BINARY_PATH": str(binary),
        "RAY_SERVE_HAPROXY_METRICS_PORT": str(metrics),
        "RAY_SERVE_HAPROXY_NBTHREAD": str(os.cpu_count() or 1),
        "RAY_SERVE_HAPROXY_CONFIG_FILE_LOC": str(folder / "haproxy.cfg"),
        "RAY_SERVE_HAPROXY_SOCKET_PATH": str(folder / "admin.sock"),
        "RAY_SERVE_HAPROXY_SERVER_STATE_BASE": str(folder),
        "RAY_SERVE_HAPROXY_SERVER_STATE_FILE": str(folder / "server-state"),
    }


@contextmanager
def streaming(product: Product, rate: int, series: int) -> Iterator[None]:
    """Have measurements of many series come in at a rate, from a process of their own."""
    cluster = product.cluster
    registry = Registry(cluster.registry_url, cluster.registry_client)
    asked = {
        "bootstrap": cluster.bootstrap_servers,
        "topic": MEASUREMENTS,
        "group": product.config.pipeline.name,
        "out": "",
        "partitions": product.config.kafka.input_partitions,
        "series": series,
        "schema_id": registry.register(subject_of(MEASUREMENTS, "measurement"), schema_text("measurement")),
        "lag": 0,
        "rate": rate,
    }
    feed = subprocess.Popen(
        [sys.executable, "-m", "tests.bench.stream.feed", json.dumps(asked)],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        text=True,
    )
    try:
        yield
    finally:
        feed.communicate("\n", timeout=END_S)


def target_of(product: Product) -> Target:
    """Return where the API is, with the key that was made for an admin."""
    serve = product.config.serve
    return Target(serve.host, serve.port, product.first_key)


class Spent:
    """Processor time and memory of the processes below this one, by name."""

    def __init__(self) -> None:
        self._before = self._now()

    def told(self, seconds: float) -> dict[str, dict[str, float]]:
        """Return the share of a core since this was made, and MiB of its own, of each that took a hundredth of one."""
        found: dict[str, dict[str, float]] = {}
        for process, (name, spent) in self._now().items():
            share = (spent - self._before.get(process, (name, 0.0))[1]) / seconds
            if share >= 0.01 and process.is_running():
                said = found.setdefault(name, {"cores": 0.0, "mib": 0.0, "processes": 0})
                said["cores"] += round(share, 3)
                said["mib"] += round(process.memory_full_info().uss / 2**20)
                said["processes"] += 1
        return found

    def _now(self) -> dict[psutil.Process, tuple[str, float]]:
        found = {}
        for process in psutil.Process().children(recursive=True):
            try:
                with process.oneshot():
                    times = process.cpu_times()
                    found[process] = (_name(process.cmdline()), times.user + times.system)
            except psutil.NoSuchProcess:
                continue
        return found


def _name(command: list[str]) -> str:
    """Return what a process is: an actor's name, or its program.

    >>> _name(["ray::ServeReplica:api:x"]), _name(["/usr/bin/java", "-cp", "x", "kafka.Kafka"]), _name(["python", "-m", "a.b"])
    ('ray::ServeReplica:api:x', 'kafka.Kafka', 'a.b')
    """
    whole = " ".join(command)
    if whole.startswith("ray::"):
        return whole.split(".")[0].split(" ")[0]
    for part in command:
        if part.startswith(("kafka.", "tests.", "a.b")):
            return part
    return Path(command[0]).name if command else "?"
