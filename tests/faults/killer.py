"""A log whose writer or reader kills its own process at one step of the transaction, once, when it is armed.

Both the arming and the shot are files in a folder that this machine's processes share; whoever renames the one to the other dies.
Times are of time.monotonic(), which on Linux is the same clock in all processes.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from confluent_kafka import KafkaError

from actors.kafka.client import Cluster
from tests.faults.watched import WatchedLog

RELEASE_TIMEOUT_S = 8.0  # shorter than a transaction may last


@dataclass(frozen=True)
class KillAt:
    """Makes the log of a pipeline: `Pipeline(log=KillAt(folder, "after produce"))`. It travels to Ray."""

    folder: str
    step: str  # "after poll", "after produce", "after send offsets", "before commit", "after commit"
    waits: bool = False  # before it dies, until it is released: something else may happen at that very moment

    def __call__(self, cluster: Cluster) -> WatchedLog:
        """Return the log."""
        return WatchedLog(cluster, self)

    def arm(self) -> None:
        """From now on the first to come to the step dies."""
        self._armed.touch()

    def fired_at(self) -> float | None:
        """Return when somebody died; None: not yet."""
        return float(self._fired.read_text()) if self._fired.exists() else None

    @contextmanager
    def during(self, step: str) -> Iterator[None]:
        """Die before or after this step of a transaction, if that is the step."""
        self.reached(f"before {step}")
        yield
        self.reached(f"after {step}")

    def delivered(self, error: KafkaError | None) -> None:
        """Nothing dies of an answer."""

    def polled(self) -> None:
        """Die, if this is the step."""
        self.reached("after poll")

    def reached(self, step: str) -> None:
        """Die, if this is the step, and nobody has died of it."""
        if step == self.step and self._armed.exists():
            mine = self._fired.with_suffix(f".{os.getpid()}")
            mine.write_text(repr(time.monotonic()))
            try:
                self._armed.unlink()
            except FileNotFoundError:
                return  # another process was first
            mine.rename(self._fired)
            deadline = time.monotonic() + RELEASE_TIMEOUT_S
            while self.waits and not self._released.exists() and time.monotonic() < deadline:
                time.sleep(0.001)
            os.kill(os.getpid(), signal.SIGKILL)

    def release(self) -> None:
        """Let the one that waits die."""
        self._released.touch()

    @property
    def _released(self) -> Path:
        return Path(self.folder) / "released"

    @property
    def _armed(self) -> Path:
        return Path(self.folder) / "armed"

    @property
    def _fired(self) -> Path:
        return Path(self.folder) / "fired"
