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
from tests.faults.watched import WatchedLog

HELD_MAX_S = 8.0  # shorter than a transaction may last; a process that is stopped meanwhile goes on at once


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
        self._asked.write_text(step)

    def held(self) -> int | None:
        """Return the id of the process that waits; None: none does yet."""
        return int(self._held.read_text()) if self._held.exists() else None

    def release(self) -> None:
        """Let it go on."""
        self._released.touch()

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
        self._wait_if_held(step)
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

    def _wait_if_held(self, step: str) -> None:
        if not self._asked.exists() or self._asked.read_text() != step:
            return
        mine = self._held.with_suffix(f".{os.getpid()}")
        mine.write_text(str(os.getpid()))
        try:
            self._asked.unlink()
        except FileNotFoundError:
            return  # another process was first
        mine.rename(self._held)
        deadline = time.monotonic() + HELD_MAX_S
        while not self._released.exists() and time.monotonic() < deadline:
            time.sleep(0.001)

    def _note(self, attempt: Attempt) -> None:
        with self._notes(os.getpid()).open("a") as file:
            file.write(json.dumps(attempt) + "\n")

    @property
    def _asked(self) -> Path:
        return Path(self.folder) / "asked"

    @property
    def _held(self) -> Path:
        return Path(self.folder) / "held"

    @property
    def _released(self) -> Path:
        return Path(self.folder) / "released"

    def _notes(self, pid: int) -> Path:
        return Path(self.folder) / f"writes-{pid}"
