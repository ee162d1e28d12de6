"""A log whose writer or reader kills its own process at one step of the transaction, once, when it is armed.

Times are of time.monotonic(), which on Linux is the same clock in all processes.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from confluent_kafka import KafkaError

from actors.kafka.client import Cluster
from tests.faults.once import Once
from tests.faults.watched import WatchedLog


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
        self._once.ask()

    def fired_at(self) -> float | None:
        """Return when somebody died; None: not yet."""
        said = self._once.said()
        return None if said is None else float(said)

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
        if step == self.step and self._once.is_asked() and self._once.first(repr(time.monotonic())):
            if self.waits:
                self._once.wait()
            os.kill(os.getpid(), signal.SIGKILL)

    def release(self) -> None:
        """Let the one that waits die."""
        self._once.release()

    @property
    def _once(self) -> Once:
        return Once(self.folder)
