"""One deployed API and page for the tests of this folder, over one pipeline's output topics."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import httpx
import pytest
import ray

from actors import view
from cluster.api.app import deploy, undeploy
from cluster.config import ServeConfig, load
from cluster.local import Endpoints
from tests.cluster.output_line import OutputLine

NOTES = ("Test data <b>made up</b> by the test.",)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def wait_for(condition: Callable[[], Any], what: str, timeout_s: float = 30.0) -> Any:
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


@pytest.fixture(scope="session")
def served(stack: Endpoints, ray_cluster: None) -> Iterator[Served]:
    line = OutputLine(stack)
    handle = view.start(line.cluster, line.pipeline, sources=line.sources, notes=NOTES)
    port = free_port()
    config = load(serve=ServeConfig(port=port))
    url = deploy(config, line.pipeline, line.cluster)
    ray.get(handle.ready.remote(), timeout=60)
    with httpx.Client(base_url=url, timeout=20) as http:
        yield Served(line, url, port, http)
    undeploy()
    view.stop(line.pipeline)
