"""What the tests of the deployed API and page talk to."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import httpx

from cluster.access.secret import Secret
from cluster.access.sessions import COOKIE
from tests.cluster.output_line import OutputLine


def free_port() -> int:
    """Return a port that nobody listens on just now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def wait_for(condition: Callable[[], Any], what: str, timeout_s: float = 100.0) -> Any:
    """Return the first true answer; fail the test with `what` if there is none in time."""
    deadline = time.monotonic() + timeout_s
    while not (found := condition()):
        assert time.monotonic() < deadline, f"{what}: not within {timeout_s} s"
        time.sleep(0.02)
    return found


@dataclass
class Served:
    """What the tests talk to."""

    line: OutputLine
    url: str
    port: int
    http: httpx.Client
    secret: Secret
    key: str  # of an admin

    def headers(self) -> dict[str, str]:
        """Return what shows the key."""
        return {"Authorization": f"Bearer {self.key}"}

    def cookie(self) -> dict[str, str]:
        """Return a session's cookie, as a browser context takes it."""
        answer = httpx.post(f"{self.url}session", json={"key": self.key})
        assert answer.status_code == 200, answer.text
        return {"name": COOKIE, "value": answer.cookies[COOKIE], "url": self.url}

    def get(self, path: str, **parameters: Any) -> Any:
        answer = self.http.get(path, params=parameters)
        assert answer.status_code == 200, answer.text
        return answer.json()

    def summary(self) -> Any:
        return self.get("/status")

    def read_up_to(self, next_offset: int) -> None:
        """Wait until the view has read every family up to an input offset."""

        def done() -> bool:
            partitions = self.summary()["partitions"].values()
            families = [family for partition in partitions for family in partition["families"].values()]
            return len(families) >= len(self.line.folds) and all(f["next_offset"] >= next_offset for f in families)

        wait_for(done, f"the view reads up to {next_offset}")
