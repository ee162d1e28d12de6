"""Kill what outlives us: Ray's agents go on for a minute after a driver that was killed with SIGKILL.

Processes that we start, and those that they start, inherit a mark in their environment. A small process of its own holds the
reading end of a pipe whose writing end only we have; when we end, however that happens, the pipe closes, and it kills every
process that still bears the mark. Linux only: elsewhere there is no /proc, and nothing is killed.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
import uuid
from pathlib import Path

MARK = "CHIPQUALITY_RUN"
SCANS_MAX = 50
SCAN_S = 0.1
CLEAN_SCANS = 3  # in a row: a process may be between fork and exec while we look


def start_reaper() -> subprocess.Popen[bytes]:
    """Mark what is started from now on, and start the process that kills it when this one has ended."""
    mark = uuid.uuid4().hex
    reaper = subprocess.Popen(
        [sys.executable, "-I", "-S", __file__, mark],
        stdin=subprocess.PIPE,
        start_new_session=True,  # a Ctrl-C in the terminal is for us, not for it
    )
    os.environ[MARK] = mark
    return reaper


def bearing(mark: str, proc: Path = Path("/proc")) -> list[int]:
    """Return the process ids whose environment has the mark."""
    wanted = f"{MARK}={mark}".encode()
    found = []
    for folder in proc.glob("[0-9]*"):
        try:
            if wanted in (folder / "environ").read_bytes():
                found.append(int(folder.name))
        except OSError:  # it has ended, or it is not ours
            continue
    return found


def reap(mark: str) -> None:
    """Kill what bears the mark until nothing does."""
    clean = 0
    for _ in range(SCANS_MAX):
        left = bearing(mark)
        clean = 0 if left else clean + 1
        if clean == CLEAN_SCANS:
            return
        for pid in left:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                continue
        time.sleep(SCAN_S)


if __name__ == "__main__":
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    sys.stdin.buffer.read()
    reap(sys.argv[1])
