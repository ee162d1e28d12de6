"""The folder of one stack: locked while it runs, its temporary data deleted at both ends, its kept data not mistaken."""

from __future__ import annotations

import fcntl
import shutil
from pathlib import Path
from typing import IO

from cluster.local import running
from cluster.local.errors import LocalStackError


class Claim:
    """The right to a folder. The kernel takes the lock back when we die.

    Raises LocalStackError if another stack runs there, or if it keeps the data of another number of brokers.
    """

    def __init__(self, directory: Path, *, keep_data: bool, brokers: int) -> None:
        self._directory = directory
        self._keep_data = keep_data
        self.data = directory / ("kept" if keep_data else "temporary")
        self._lock = _lock(directory)
        try:
            left = running.load(directory)
            if left and left.alive():
                raise LocalStackError(f"a local stack runs in {directory} already: `chipquality local down` stops it")
            self._prepare(brokers)
        except BaseException:
            self.hand_over()
            raise

    def _prepare(self, brokers: int) -> None:
        if not self._keep_data:
            shutil.rmtree(self.data, ignore_errors=True)
        self.data.mkdir(exist_ok=True)
        count = self.data / "brokers"
        if count.exists() and count.read_text() != str(brokers):
            raise LocalStackError(
                f"{self.data} keeps the data of {count.read_text()} broker(s), not of {brokers}: "
                f"start as many, or delete the folder"
            )
        count.write_text(str(brokers))

    def release(self) -> None:
        """Give the folder back, without temporary data."""
        if not self._keep_data:
            shutil.rmtree(self.data, ignore_errors=True)
        running.forget(self._directory)
        self.hand_over()

    def hand_over(self) -> None:
        """Let go of the lock: the state file says from now on that a stack runs here."""
        self._lock.close()


def _lock(directory: Path) -> IO[str]:
    try:
        directory.mkdir(parents=True, exist_ok=True)
        lock = (directory / "lock").open("w")
    except OSError as error:
        raise LocalStackError(f"local.directory = {directory}: {error.strerror}") from error
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        lock.close()
        raise LocalStackError(f"another local stack runs in {directory}: stop it, or set local.directory") from error
    return lock
