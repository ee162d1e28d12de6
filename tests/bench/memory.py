"""What the product takes of memory while nothing comes in: proportional set size, by kind of process.

    .venv/bin/python -m tests.bench.memory

All that `chipquality run` starts on one machine with the usual configuration: broker, registry, Ray, its pipelines with a standby
and a spare each, view, API, page. Shared pages count by their share (PSS), so that the sum is what the machine gives.
"""

from __future__ import annotations

import os
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

import psutil

from cluster.config import Config, load
from cluster.local.preflight import free_ports
from cluster.product import Product
from tests.bench.figures import Figure

IDLE_S = 60.0  # that it is left alone before each of two looks
GROWS_MAX = 1.05


def idle(config: Config) -> tuple[Counter[str], Counter[str]]:
    """Return MiB by kind of process, when everything has started and after some time."""
    with Product(config, _told):
        time.sleep(IDLE_S)  # standbys, spares and processes ahead come one after the other
        first = taken()
        time.sleep(IDLE_S)  # nothing is waited for: this is the time that is measured
        return first, taken()


def _told(what: str, took_s: float) -> None:
    sys.stderr.write(f"{what}: {took_s:.1f} s\n")


def taken() -> Counter[str]:
    """Return MiB that this process and all that it has started take, by kind."""
    found: Counter[str] = Counter()
    for process in [psutil.Process(), *psutil.Process().children(recursive=True)]:
        try:
            found[kind(process)] += process.memory_full_info().pss / 2**20  # type: ignore[assignment]  # adds floats too
        except psutil.NoSuchProcess:  # it has ended since
            continue
    return found


def kind(process: psutil.Process) -> str:
    """Say what a process is."""
    command = process.cmdline()
    line = " ".join(command)
    if process.pid == os.getpid():
        return "the command itself"
    if command and command[0].startswith("ray::"):
        return command[0].partition(" ")[0].removeprefix("ray::").partition(".")[0]
    if "java" in line:
        return "broker" if "kafka.Kafka" in line else "registry"
    program = next(
        (Path(part).name for part in command if "/ray/" in part and part.endswith((".py", "_server", "raylet"))), ""
    )
    return f"Ray: {program or 'others'}"


def figures() -> list[Figure]:
    """Return the sum, and whether it grows."""
    with tempfile.TemporaryDirectory() as folder:
        kafka, registry, serve, dashboard = free_ports(4)
        usual = load()
        config = usual.model_copy(
            update={
                "local": usual.local.model_copy(
                    update={"directory": Path(folder), "kafka_port": kafka, "registry_port": registry}
                ),
                "serve": usual.serve.model_copy(update={"port": serve}),
                "ray": usual.ray.model_copy(update={"dashboard_port": dashboard}),
            }
        )
        first, last = idle(config)
    for name, mib in last.most_common():
        sys.stderr.write(f"{name:<40}{mib:>8,.0f} MiB\n")
    whole = sum(last.values())
    return [
        Figure("memory of an idle stack", whole, unit="MiB"),
        Figure(f"the same, {IDLE_S:.0f} s later", whole / sum(first.values()), GROWS_MAX, at_most=True),
    ]


if __name__ == "__main__":
    sys.stdout.writelines(f"{figure}\n" for figure in figures())
