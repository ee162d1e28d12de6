"""The product in a process of its own, as a user starts it."""

from __future__ import annotations

import os
import re
import socket
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil

from cluster.local.preflight import free_ports

PROGRAM = Path(sys.executable).parent / "chipquality"
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


@contextmanager
def run_in(folder: Path) -> Iterator[Running]:
    """Give a demo to start; whatever it has started is gone afterwards."""
    demo = Running(folder)
    yield demo
    for process in demo.started():
        process.kill()
