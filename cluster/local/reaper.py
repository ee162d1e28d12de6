"""Kill what outlives us: Ray's agents go on for a minute after a driver that was killed with SIGKILL.

A small process of its own holds the reading end of a pipe whose writing end only we have. While we live it notes our descendants;
when we end, however that happens, the pipe closes, and it kills those of them that are left. What was started in the last moment
is found by a mark in its environment (not by that alone: Ray's processes change their titles, which overwrites parts of it).
Linux only: elsewhere there is no /proc, and nothing is killed.
"""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
import time
import uuid
from pathlib import Path

MARK = "CHIPQUALITY_RUN"
NOTE_S = 0.25  # between two looks at our descendants
SCANS_MAX = 50
SCAN_S = 0.1
CLEAN_SCANS = 3  # in a row: a process may be between fork and exec while we look

PROC = Path("/proc")
Born = tuple[int, str]  # process id and start time: an id alone may be another process by now

_reapers: list[subprocess.Popen[bytes]] = []  # kept: a pipe that is garbage is closed


def start_reaper() -> subprocess.Popen[bytes]:
    """Mark what is started from now on, and start the process that kills it when this one has ended."""
    mark = uuid.uuid4().hex
    reaper = subprocess.Popen(
        [sys.executable, "-I", "-S", __file__, mark, str(os.getpid())],
        stdin=subprocess.PIPE,
        start_new_session=True,  # a Ctrl-C in the terminal is for us, not for it
    )
    _reapers.append(reaper)
    os.environ[MARK] = mark
    return reaper


def processes(proc: Path = PROC) -> dict[int, tuple[int, str]]:
    """Return the parent and the start time of every process."""
    found = {}
    for folder in proc.glob("[0-9]*"):
        try:
            after_name = (folder / "stat").read_text().rpartition(")")[2].split()
        except OSError:  # it has ended
            continue
        if after_name and after_name[0] != "Z":
            found[int(folder.name)] = (int(after_name[1]), after_name[19])
    return found


def descendants(roots: set[int], now: dict[int, tuple[int, str]]) -> set[Born]:
    """Return the processes that descend from `roots`, themselves left out."""
    found: set[Born] = set()
    parents = set(roots)
    while parents:
        children = {pid for pid, (parent, _) in now.items() if parent in parents}
        found |= {(pid, now[pid][1]) for pid in children}
        parents = children - roots
    return found


def bearing(mark: str, proc: Path = PROC) -> set[int]:
    """Return the process ids whose environment has the mark."""
    wanted = f"{MARK}={mark}".encode()
    found = set()
    for folder in proc.glob("[0-9]*"):
        try:
            if wanted in (folder / "environ").read_bytes():
                found.add(int(folder.name))
        except OSError:  # it has ended, or it is not ours
            continue
    return found


def left(mark: str, noted: set[Born]) -> set[int]:
    """Return the process ids of what was noted or bears the mark, with their descendants, and lives."""
    now = processes()
    roots = {pid for pid, born in noted if now.get(pid, (0, ""))[1] == born} | (bearing(mark) & now.keys())
    return (roots | {pid for pid, _ in descendants(roots, now)}) - {os.getpid()}


def reap(mark: str, noted: set[Born]) -> None:
    """Kill what is left until nothing is."""
    clean = 0
    for _ in range(SCANS_MAX):
        found = left(mark, noted)
        clean = 0 if found else clean + 1
        if clean == CLEAN_SCANS:
            return
        for pid in found:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                continue
        time.sleep(SCAN_S)


def watch(mark: str, parent: int) -> None:
    """Note the parent's descendants until the pipe closes; then kill those that are left."""
    noted: set[Born] = set()
    while not select.select([sys.stdin], [], [], NOTE_S)[0]:  # it becomes readable when it is closed
        now = processes()
        noted = {born for born in noted if now.get(born[0], (0, ""))[1] == born[1]} | descendants({parent}, now)
    me = os.getpid()
    reap(mark, {born for born in noted if born[0] != me})


if __name__ == "__main__":
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    watch(sys.argv[1], int(sys.argv[2]))
