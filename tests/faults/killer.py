"""A log whose writer or reader kills its own process at one step of the transaction, once, when it is armed.

Both the arming and the shot are files in a folder that this machine's processes share; whoever renames the one to the other dies.
Times are of time.monotonic(), which on Linux is the same clock in all processes.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from actors.engine.position import Record
from actors.kafka.client import Cluster
from actors.kafka.consumer import PartitionReader
from actors.kafka.log import KafkaLog
from actors.kafka.transaction import TransactionalWriter

RELEASE_TIMEOUT_S = 8.0  # shorter than a transaction may last


@dataclass(frozen=True)
class KillAt:
    """Makes the log of a pipeline: `Pipeline(log=KillAt(folder, "after produce"))`. It travels to Ray."""

    folder: str
    step: str  # "after poll", "after produce", "after send offsets", "before commit", "after commit"
    waits: bool = False  # before it dies, until it is released: something else may happen at that very moment

    def __call__(self, cluster: Cluster) -> KafkaLog:
        """Return the log."""
        return _Log(cluster, self)

    def arm(self) -> None:
        """From now on the first to come to the step dies."""
        self._armed.touch()

    def fired_at(self) -> float | None:
        """Return when somebody died; None: not yet."""
        return float(self._fired.read_text()) if self._fired.exists() else None

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


class _Log(KafkaLog):
    def __init__(self, cluster: Cluster, killer: KillAt) -> None:
        super().__init__(cluster)
        self._killer = killer

    def writer(self, transactional_id: str) -> TransactionalWriter:
        if transactional_id.endswith("-supervisor"):
            return super().writer(transactional_id)
        writer = _Writer(self._cluster, transactional_id)
        writer.killer = self._killer
        return writer

    def reader(self, group: str, topic: str) -> PartitionReader:
        reader = _Reader(self._cluster, group, topic)
        reader.killer = self._killer
        return reader


class _Writer(TransactionalWriter):
    killer: KillAt

    def _produce_all(self, records: Sequence[Record]) -> None:
        super()._produce_all(records)
        self.killer.reached("after produce")

    def _send_offsets(self, topic: str, offsets: Mapping[int, int], group_metadata: object) -> None:
        super()._send_offsets(topic, offsets, group_metadata)
        self.killer.reached("after send offsets")

    def _end(self) -> None:
        self.killer.reached("before commit")
        super()._end()
        self.killer.reached("after commit")


class _Reader(PartitionReader):
    killer: KillAt

    def poll(self, rows_max: int, wait_s: float) -> Any:
        polled = super().poll(rows_max, wait_s)
        if any(len(batch) for batch in polled.batches):
            self.killer.reached("after poll")
        return polled
