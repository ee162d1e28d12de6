"""What a page asks: one request after the other at a pace, and as many as go."""

from __future__ import annotations

import http.client
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from urllib.parse import quote

import numpy as np

TIMEOUT_S = 20.0
PACE_S = 0.04  # between two requests of a page


@dataclass(frozen=True)
class Target:
    """Where the API is, and what shows who asks."""

    host: str
    port: int
    key: str

    def connect(self) -> http.client.HTTPConnection:
        """Return a connection, which is kept."""
        return http.client.HTTPConnection(self.host, self.port, timeout=TIMEOUT_S)

    def get(self, connection: http.client.HTTPConnection, path: str) -> tuple[int, bytes]:
        """Return status and body."""
        connection.request("GET", path, headers={"Authorization": f"Bearer {self.key}"})
        answer = connection.getresponse()
        return answer.status, answer.read()


def typical(series: str) -> list[str]:
    """Return the paths that an open page asks for: the view, the operations, the page itself answer."""
    return [
        "/status",
        "/charts?limit=50",
        f"/charts/{quote(series, safe='')}",
        "/alerts?limit=50",
        "/pareto?by=rule",
        "/detectors",
        "/events/throughput",
        "/events/latency",
        "/operations",
        "/session",
        "/web/app.js",
    ]


def of_kafka(series: str) -> list[str]:
    """Return paths for whose answer Kafka is asked, or a topic read to its end."""
    chart = quote(series, safe="")
    return [
        f"/capability/{chart}", f"/limits?series={chart}", "/dead-letters/summary",
        "/events/health", "/events/topics", "/events/consumers",
    ]  # fmt: skip


class Failed(RuntimeError):  # noqa: N818 - what it says is a result
    """An answer was not 200."""


def latencies(target: Target, paths: Sequence[str], seconds: float, pace_s: float = PACE_S) -> dict[str, np.ndarray]:
    """Ask for one path after the other at a pace; return (n,) float64 ms of each. Raises Failed."""
    found: dict[str, list[float]] = {path: [] for path in paths}
    connection, began, turn = target.connect(), time.monotonic(), 0
    while (asked := time.monotonic()) - began < seconds:
        path = paths[turn % len(paths)]
        status, body = target.get(connection, path)
        found[path].append((time.monotonic() - asked) * 1000)
        if status != 200:
            raise Failed(f"{path}: {status} {body[:200]!r}")
        turn += 1
        time.sleep(max(0.0, began + turn * pace_s - time.monotonic()))
    connection.close()
    return {path: np.array(each) for path, each in found.items()}


def per_second(target: Target, path: str, connections: int, seconds: float) -> float:
    """Return how many answers a second so many connections get, each asking again at once. Raises Failed."""
    counts, wrong = [0] * connections, []
    until = time.monotonic() + seconds

    def ask(number: int) -> None:
        connection = target.connect()
        while time.monotonic() < until:
            status, body = target.get(connection, path)
            if status != 200:
                wrong.append(f"{path}: {status} {body[:200]!r}")
                return
            counts[number] += 1
        connection.close()

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(connections)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if wrong:
        raise Failed(wrong[0])
    return sum(counts) / seconds
