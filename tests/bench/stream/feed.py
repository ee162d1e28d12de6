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

from schemas.encode import Encoder
from tests.bench.stream.batches import Appender
from tests.bench.stream.data import Draws, batches
from tests.bench.stream.progress import progress

TICK_S = 0.004  # between two appends, at a rate
BATCH = 500  # records of a partition at once, where the lag is given
LOOK_S = 0.1  # between two looks at what was consumed
WAIT_S = 0.0005


class Feed:
    """Writes until it is told to end."""

    def __init__(self, asked: dict[str, Any]) -> None:
        self._asked = asked
        rate, partitions = asked["rate"], asked["partitions"]
        size = max(1, round(rate * TICK_S / partitions)) if rate else BATCH
        self._turns = cycle(batches(Encoder("measurement", asked["schema_id"]), asked["series"], partitions, size))
        self._draws = Draws()
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
        with Appender(self._asked["bootstrap"], self._asked["topic"]) as appender:
            for turn in self._turns:
                count = sum(batch.count for batch in turn)
                while True:
                    wanted = int((time.monotonic() - began) * rate) if rate else self.consumed + lag
                    if self.over.is_set() or wanted >= self.written + count:
                        break
                    self.over.wait(WAIT_S)
                if self.over.is_set():
                    return
                for batch in turn:
                    batch.stamp(self._draws.take(batch.count))
                appender.append(dict(enumerate(turn)))
                self.written += count


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
