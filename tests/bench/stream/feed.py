"""A producer in a process of its own: at a rate, or as fast as it is consumed, so that the lag stays where it is.

`python -m tests.bench.stream.feed '{"bootstrap": …}'`; a line on standard input ends it. Every second it prints a line of JSON:
how many records it has written, and how many of them were consumed.
"""

from __future__ import annotations

import json
import sys
import threading
import time
from itertools import cycle
from typing import Any

from confluent_kafka import Producer

from schemas.encode import Encoder
from tests.bench.stream.data import measurements
from tests.bench.stream.progress import progress

BATCH = 500  # records between two looks at the clock
LOOK_S = 0.1  # between two looks at what was consumed


class Feed:
    """Writes until it is told to end."""

    def __init__(self, asked: dict[str, Any]) -> None:
        self._asked = asked
        self._producer = Producer(
            {
                "bootstrap.servers": asked["bootstrap"],
                "linger.ms": 20 if asked["lag"] else 5,
                "batch.size": 512 * 1024,
                "queue.buffering.max.messages": 1_000_000,
                "partitioner": "murmur2_random",
            }
        )
        self._records = cycle(measurements(Encoder("measurement", asked["schema_id"]), asked["series"]))
        self.written = 0
        self.consumed = 0
        self.over = threading.Event()

    def watch(self) -> None:
        """Look at what was consumed, and tell."""
        look = progress(self._asked)
        told = 0.0
        while not self.over.wait(LOOK_S):
            self.consumed = look()
            if time.monotonic() - told >= 1.0:
                told = time.monotonic()
                sys.stdout.write(json.dumps({"at": told, "written": self.written, "consumed": self.consumed}) + "\n")
                sys.stdout.flush()

    def run(self) -> None:
        """Write."""
        rate, lag = self._asked["rate"], self._asked["lag"]
        began = time.monotonic()
        while not self.over.is_set():
            wanted = int((time.monotonic() - began) * rate) if rate else self.consumed + lag
            due = wanted - self.written
            if due <= 0:
                self._producer.poll(0.002)
                continue
            for _ in range(min(due, BATCH)):
                key, value = next(self._records)
                self._produce(key, value)
            self._producer.poll(0)
        self._producer.flush(30)

    def _produce(self, key: bytes, value: bytes) -> None:
        while True:
            try:
                self._producer.produce(self._asked["topic"], value, key)
                self.written += 1
                return
            except BufferError:
                self._producer.poll(0.01)


def main() -> None:
    """Feed until a line comes."""
    feed = Feed(json.loads(sys.argv[1]))
    threads = [threading.Thread(target=feed.watch), threading.Thread(target=feed.run)]
    for thread in threads:
        thread.start()
    sys.stdin.readline()
    feed.over.set()
    for thread in threads:
        thread.join()


if __name__ == "__main__":
    main()
