"""Something that the first process to come does, and no other: files in a folder that this machine's processes share."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from pathlib import Path

HELD_MAX_S = 8.0  # shorter than a transaction may last; a process that is stopped meanwhile goes on at once


@dataclass(frozen=True)
class Once:
    """Asked for by one process, done by another, which may wait until it is released. It travels to Ray."""

    folder: str

    def ask(self, what: str = "") -> None:
        """From now on the first that comes to this does it."""
        self._file("asked").write_text(what)

    def is_asked(self, what: str = "") -> bool:
        """Return whether this is asked for, and nobody has come."""
        try:
            return self._file("asked").read_text() == what
        except FileNotFoundError:  # nobody asks, or another process was first
            return False

    def first(self, says: str) -> bool:
        """Return whether nobody was first before; what it says is for `said`."""
        mine = self._file(f"said.{os.getpid()}")
        mine.write_text(says)
        try:
            self._file("asked").unlink()
        except FileNotFoundError:
            return False
        mine.rename(self._file("said"))
        return True

    def said(self) -> str | None:
        """Return what the first one said; None: nobody has come."""
        return self._file("said").read_text() if self._file("said").exists() else None

    def wait(self) -> None:
        """Wait until it is released, HELD_MAX_S at most."""
        deadline = time.monotonic() + HELD_MAX_S
        while not self._file("released").exists() and time.monotonic() < deadline:
            time.sleep(0.001)

    def release(self) -> None:
        """Let the one that waits go on."""
        self._file("released").touch()

    def _file(self, name: str) -> Path:
        return Path(self.folder) / name
