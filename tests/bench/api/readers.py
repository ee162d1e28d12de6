"""Readers of the stream in a process of their own: alerts only, and a wall of live charts. A line on standard input ends them.

`python -m tests.bench.api.readers '{"host": …, "port": …, "key": …, "readers": 100, "wall": [series, …]}'` prints `ready` when
all have had a frame; `begin` and `end` on standard input bound what is measured; then a line of JSON says what came.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlencode

LINE_BYTES_MAX = 32 * 1024 * 1024  # of a frame
READY_S = 120.0


@dataclass
class Reader:
    """One stream."""

    head: bytes
    at: list[float] = field(default_factory=list)  # when frames came, s
    bytes: int = 0
    broken: str = ""
    points: int = 0

    async def run(self, host: str, port: int) -> None:
        """Read until cancelled."""
        reader, writer = await asyncio.open_connection(host, port, limit=LINE_BYTES_MAX)
        writer.write(self.head)
        status = (await reader.readline()).decode().strip()
        if " 200 " not in f"{status} ":
            self.broken = status
            return
        while line := await reader.readline():
            self.bytes += len(line)
            if line.startswith(b"event: update"):
                self.at.append(time.monotonic())
            elif line.startswith(b"event: unavailable"):
                self.broken = "unavailable"
            elif line.startswith(b"data: ") and b'"charts": [{' in line[:50]:
                self.points += line.count(b'"event_time_ms"')
        self.broken = "ended"

    def told(self, begin: float, end: float) -> dict[str, Any]:
        """Return frames, the longest wait for one, and the most that came within a second."""
        at = [time_s for time_s in self.at if begin <= time_s <= end]
        waits = [b - a for a, b in zip([begin, *at], [*at, end], strict=True)]
        most = max((sum(0 <= other - time_s < 1.0 for other in at) for time_s in at), default=0)
        return {"frames": len(at), "gap_ms": max(waits) * 1000, "most_in_a_second": most, "broken": self.broken}


def head(asked: dict[str, Any], series: list[str]) -> bytes:
    """Return a request for the stream."""
    query = urlencode([("series", one) for one in series])
    return (
        f"GET /stream{'?' if query else ''}{query} HTTP/1.1\r\nHost: {asked['host']}:{asked['port']}\r\n"
        f"Authorization: Bearer {asked['key']}\r\nAccept: text/event-stream\r\n\r\n"
    ).encode()


async def read(asked: dict[str, Any]) -> None:
    """Open all, measure between `begin` and `end`, tell."""
    readers = [Reader(head(asked, [])) for _ in range(asked["readers"])]
    readers += [Reader(head(asked, asked["wall"]))] if asked["wall"] else []
    tasks = [asyncio.create_task(reader.run(asked["host"], asked["port"])) for reader in readers]
    deadline = time.monotonic() + READY_S
    while not all(reader.at for reader in readers) and time.monotonic() < deadline:
        await asyncio.sleep(0.05)
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    await asyncio.to_thread(sys.stdin.readline)
    begin, before = time.monotonic(), sum(reader.bytes for reader in readers)
    await asyncio.to_thread(sys.stdin.readline)
    end, after = time.monotonic(), sum(reader.bytes for reader in readers)
    told = [reader.told(begin, end) for reader in readers]
    said = {"seconds": end - begin, "bytes_per_s": (after - before) / (end - begin)}
    sys.stdout.write(json.dumps({**said, "readers": told[: asked["readers"]], "wall": told[asked["readers"] :]}) + "\n")
    sys.stdout.flush()
    for task in tasks:
        task.cancel()


if __name__ == "__main__":
    asyncio.run(read(json.loads(sys.argv[1])))
