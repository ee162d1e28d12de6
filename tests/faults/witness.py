"""A log whose owners note every attempt to write, and what came of it, in a file of their process: a zombie's too.

One of them can be held before a step of a transaction, so that it is stopped there for sure. Times are of time.monotonic(), which
on Linux is the same clock in all processes.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from confluent_kafka import KafkaError

from actors.kafka.client import Cluster
from tests.faults.once import Once
from tests.faults.watched import WatchedLog


class Attempt(NamedTuple):
    """One step of a transaction of one process, or a record of it."""

    step: str  # "produce", which hands records over; "record", which says what came of one; "send offsets"; "commit"
    began: float
    ended: float | None  # None: the process ended first
    raised: str  # "": nothing

    @property
    def succeeded(self) -> bool:
        """Whether something was written. What is handed over is not: each record tells."""
        return self.ended is not None and not self.raised and self.step != "produce"


@dataclass(frozen=True)
class Witness:
    """Makes the log of a pipeline: `Pipeline(log=Witness(folder))`. It travels to Ray."""

    folder: str

    def __call__(self, cluster: Cluster) -> WatchedLog:
        """Return the log."""
        return WatchedLog(cluster, self)

    def hold(self, step: str) -> None:
        """From now on the first that comes to this step waits before it, until it is released."""
        self._once.ask(step)

    def held(self) -> int | None:
        """Return the id of the process that waits; None: none does yet."""
        said = self._once.said()
        return None if said is None else int(said)

    def release(self) -> None:
        """Let it go on."""
        self._once.release()

    def attempts(self, pid: int, since: float) -> list[Attempt]:
        """Return what a process has tried since then, and what it was in the middle of."""
        found: dict[float, Attempt] = {}
        noted = self._notes(pid).read_text() if self._notes(pid).exists() else ""
        for line in noted.split("\n")[:-1]:  # the last may not be whole yet
            attempt = Attempt(*json.loads(line))
            found[attempt.began] = attempt
        return [attempt for attempt in found.values() if attempt.ended is None or attempt.ended >= since]

    # ---- in the process that writes

    @contextmanager
    def during(self, step: str) -> Iterator[None]:
        """Note the step before it is tried, and what came of it."""
        if self._once.is_asked(step) and self._once.first(str(os.getpid())):
            self._once.wait()
        began = time.monotonic()
        self._note(Attempt(step, began, None, ""))
        try:
            yield
        except BaseException as error:
            self._note(Attempt(step, began, time.monotonic(), f"{type(error).__name__}: {error}"))
            raise
        self._note(Attempt(step, began, time.monotonic(), ""))

    def delivered(self, error: KafkaError | None) -> None:
        """Note what became of a record."""
        now = time.monotonic()
        self._note(Attempt("record", now, now, error.name() if error is not None else ""))

    def polled(self) -> None:
        """What is read is no attempt to write."""

    def _note(self, attempt: Attempt) -> None:
        with self._notes(os.getpid()).open("a") as file:
            file.write(json.dumps(attempt) + "\n")

    @property
    def _once(self) -> Once:
        return Once(self.folder)

    def _notes(self, pid: int) -> Path:
        return Path(self.folder) / f"writes-{pid}"
