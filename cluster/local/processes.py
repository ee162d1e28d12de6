"""One subprocess with a log file, a health check and a clean stop.

*Theory of operation.* A child is bound to us: when we die, however we die, the kernel kills it (`die_with_parent`). The
kernel means the thread that forked, not the process, so every child is forked by one thread that lives as long as the
process. A child is in a session of its own, because Ctrl-C in a terminal goes to every process of the foreground group:
we stop our children, in order, and nobody else does. What must outlive us (`chipquality local up`) is not bound, and is
found again by pid and start time (running.py).

Rules of this file: every wait has a deadline and ends at once when the child dies; an error shows the last lines of the
log and the log's path.
"""

from __future__ import annotations

import contextlib
import os
import queue
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import Future
from dataclasses import dataclass, field
from pathlib import Path

from cluster.local import die_with_parent
from cluster.local.errors import LocalStackError
from cluster.local.preflight import MIB, free_bytes

POLL_S = 0.03
LOG_BYTES_MAX = 20 * 1024 * 1024  # a longer log is put aside at the next start; one old log is kept
TAIL_LINES = 8
TAIL_BYTES = 64 * 1024

_Job = tuple[Callable[[], "subprocess.Popen[bytes]"], "Future[subprocess.Popen[bytes]]"]


class _Forker:
    """The one thread that forks; see the theory above."""

    def __init__(self) -> None:
        self._jobs: queue.SimpleQueue[_Job] = queue.SimpleQueue()
        self._lock = threading.Lock()
        self._pid = 0  # of the process that the thread lives in: a fork of us starts its own

    def __call__(self, fork: Callable[[], subprocess.Popen[bytes]]) -> subprocess.Popen[bytes]:
        with self._lock:
            if self._pid != os.getpid():
                self._jobs = queue.SimpleQueue()
                threading.Thread(target=self._work, args=(self._jobs,), name="forker", daemon=True).start()
                self._pid = os.getpid()
        done: Future[subprocess.Popen[bytes]] = Future()
        self._jobs.put((fork, done))
        return done.result()

    @staticmethod
    def _work(jobs: queue.SimpleQueue[_Job]) -> None:
        while True:
            fork, done = jobs.get()
            try:
                done.set_result(fork())
            except OSError as error:
                done.set_exception(error)


_fork = _Forker()


@dataclass(frozen=True)
class Command:
    """What to run, and where its output goes (appended)."""

    name: str
    argv: tuple[str, ...]
    log: Path
    folder: Path
    environment: Mapping[str, str] = field(default_factory=dict)  # on top of ours


class Child:
    """A running process. `bound`: it dies with us."""

    def __init__(self, command: Command, *, bound: bool = True) -> None:
        self.command = command
        command.log.parent.mkdir(parents=True, exist_ok=True)
        if command.log.exists() and command.log.stat().st_size > LOG_BYTES_MAX:
            command.log.replace(command.log.with_suffix(".log.1"))
        self._log_start = command.log.stat().st_size if command.log.exists() else 0
        launcher = (sys.executable, "-I", "-S", die_with_parent.__file__, str(os.getpid())) if bound else ()

        def start() -> subprocess.Popen[bytes]:
            with command.log.open("ab") as log:
                return subprocess.Popen(
                    (*launcher, *command.argv),
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=subprocess.STDOUT,
                    cwd=command.folder,
                    env={**os.environ, **command.environment},
                    start_new_session=True,
                )

        try:
            self._process = _fork(start)
        except OSError as error:
            raise LocalStackError(f"{command.name} cannot be started: {error}") from error

    @property
    def name(self) -> str:
        """What a person calls it: "broker-1", "registry"."""
        return self.command.name

    @property
    def pid(self) -> int:
        """The process id."""
        return self._process.pid

    @property
    def exit_code(self) -> int | None:
        """None while it runs; negative = killed by that signal."""
        return self._process.poll()

    def output(self, bytes_max: int = LOG_BYTES_MAX) -> str:
        """Return what it has written since this start, at most the last so many bytes."""
        with self.command.log.open("rb") as log:
            size = log.seek(0, os.SEEK_END)
            log.seek(max(self._log_start, size - bytes_max))
            return log.read().decode("utf-8", "replace")

    def failure(self, what: str) -> LocalStackError:
        """Return the error that says what happened, with the last lines of the log and its path."""
        lines = [line.strip() for line in self.output(TAIL_BYTES).splitlines() if line.strip()]
        tail = " | ".join(lines[-TAIL_LINES:]) or "(empty)"
        full = "; the disk is full" if free_bytes(self.command.log.parent) < MIB else ""
        return LocalStackError(f"{self.name} {what}{full}; log {self.command.log} ends: {tail}")

    def check(self) -> None:
        """Raise LocalStackError if it is dead."""
        if self.exit_code is not None:
            raise self.failure(f"died (exit code {self.exit_code})")

    def wait_until(self, condition: Callable[[], bool], deadline_s: float) -> None:
        """Wait until the condition holds. Raises LocalStackError if the child dies first, or at the deadline."""
        end = time.monotonic() + deadline_s
        while not condition():
            self.check()
            if time.monotonic() > end:
                raise self.failure(f"is not up after {deadline_s:.0f} s")
            self.wait(POLL_S)

    def wait_exit(self, deadline_s: float) -> None:
        """Wait until it ends by itself. Raises LocalStackError if it fails; kills it at the deadline."""
        if not self.wait(deadline_s):
            self.kill()
            raise self.failure(f"is not done after {deadline_s:.0f} s")
        if self.exit_code != 0:
            raise self.failure(f"failed (exit code {self.exit_code})")

    def wait(self, seconds: float) -> bool:
        """Return whether it has ended, after at most so long."""
        try:
            self._process.wait(seconds)
        except subprocess.TimeoutExpired:
            return False
        return True

    def terminate(self) -> None:
        """Ask it to stop."""
        self._process.terminate()

    def kill(self) -> None:
        """End it at once, and wait until it is gone."""
        self._process.kill()
        self._process.wait()

    def leave(self) -> None:
        """Let it run on without us."""
        self._process.returncode = 0


def stop_all(children: Iterable[Child], grace_s: float) -> None:
    """Stop them together: TERM, and after the grace KILL. Interrupted, it kills them and passes the interrupt on."""
    left = list(children)
    end = time.monotonic() + grace_s
    try:
        for child in left:
            child.terminate()
        for child in left:
            child.wait(max(0.0, end - time.monotonic()))
    finally:
        for child in left:
            with contextlib.suppress(ProcessLookupError):
                child.kill()
