"""Whether a package can be deployed: examined in a process of its own, which is ended when it takes too long.

Theory of operation
-------------------
`examine` installs what the package needs, starts a process (actors/packages/examining.py), and listens to what it says.
Each phase has a limit of time, after which the process ends itself and says where it was; if it does not, it is killed,
with all that it has started. Whatever a package does, the answer is an `Examined`: a failure is a value, with phase, reason
and traceback.

`examine_on` does the same on a node of the cluster: what deploys need not stand where detectors run.
"""

from __future__ import annotations

import json
import os
import queue
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import IO, Any

import ray
from ray.exceptions import RayError

from actors.calls import answer
from actors.packages.cache import cache_folder
from actors.packages.compiling import COMPILE_S
from actors.packages.errors import DETAIL_CHARS, PackageRefused
from actors.packages.examined import Check, Cost, Examined, Failure, stretched_of
from actors.packages.examining import CHECK_STEPS, Job
from actors.packages.limits import ONE_THREAD, Limits
from actors.packages.loading import installed
from actors.packages.package import Package
from actors.packages.packaged import Packaged
from actors.packages.recorded import ROWS_MAX, STEP_ROWS
from actors.packages.requirements import INSTALL_S
from actors.packages.store import PackageStore
from models.checks import CHECKS

START_S = 60.0  # for the process, and our own imports
GRACE_S = 1.0  # after its limit, for a phase to say where it hangs
MESSAGE_BYTES_MAX = 1024 * 1024
MESSAGES_MAX = 1_000
_BOOT = "import json, sys; sys.path[:] = json.loads(sys.argv[1]); from actors.packages.examining import main; main()"


def examine(
    store: PackageStore,
    digest: str,
    target: str | None = None,
    parameters: Mapping[str, Any] | None = None,
    limits: Limits | None = None,
    stretch: bytes | None = None,
    cache: Path | None = None,
) -> Examined:
    """Examine a stored package in a process of its own on this machine.

    target: an entry point's name, or "module:Class"; None: the only one. stretch: recorded rows as Parquet or CSV
    (actors/packages/recorded.py). Never raises for what the package is or does.
    """
    cache, limits, given = cache or cache_folder(), limits or Limits(), dict(parameters or {})
    found = Examined(digest, target or "")
    try:
        json.dumps(given)
        package = Package.get(store, digest)
        found = replace(found, target=package.target_of(target))
    except (PackageRefused, TypeError) as error:
        return _refused(found, "package", error)
    try:
        installed(package.requires, cache)
    except PackageRefused as error:
        return _refused(found, "requirements", error)
    with tempfile.TemporaryDirectory(prefix="chipquality-examine-") as folder:
        rows = Path(folder, "rows")
        if stretch is not None:
            rows.write_bytes(stretch)
        hangs = str(Path(folder, "hangs"))
        where = str(rows) if stretch is not None else None
        job = Job(store.url, digest, found.target, given, limits, str(cache), hangs, where)
        return _Watch(found, job, Path(folder)).result()


def time_limit_s(limits: Limits, *, with_stretch: bool) -> float:
    """Return how long an examination takes at most."""
    phases = 2 * limits.load_s + (len(CHECKS) + 2) * CHECK_STEPS * limits.step_s
    steps = -(-ROWS_MAX // STEP_ROWS) * limits.step_s if with_stretch else 0.0
    return START_S + INSTALL_S + COMPILE_S + phases + steps


def examine_on(
    store: PackageStore,
    digest: str,
    target: str | None = None,
    parameters: Mapping[str, Any] | None = None,
    limits: Limits | None = None,
    stretch: bytes | None = None,
) -> Examined:
    """Examine a stored package on a node of the Ray that this process is connected to. Never raises for what the package does."""
    limits = limits or Limits()
    call = _remotely.options(num_cpus=limits.cpus).remote(store, digest, target, parameters, limits, stretch)
    try:
        found: Examined = answer(call, time_limit_s(limits, with_stretch=stretch is not None))
    except RayError as error:
        ray.cancel(call, force=True)
        return _refused(Examined(digest, target or ""), "start", error)
    return found


@ray.remote(max_calls=1, max_retries=0)
def _remotely(*arguments: Any) -> Examined:
    return examine(*arguments)


def _refused(found: Examined, phase: str, error: Exception) -> Examined:
    return replace(found, failure=Failure(phase, str(error), getattr(error, "detail", "")))


class _Watch:
    """One process that examines, until it has ended."""

    def __init__(self, found: Examined, job: Job, folder: Path) -> None:
        self._found = found
        self._job = job
        self._folder = folder
        self._phase, self._limit_s = "start", START_S
        self._messages: queue.Queue[str | None] = queue.Queue(MESSAGES_MAX)
        self._done = False

    def result(self) -> Examined:
        """Start it, listen, end it."""
        printed = self._folder / "printed"
        with printed.open("wb") as said:
            process = subprocess.Popen(
                [sys.executable, "-P", "-c", _BOOT, json.dumps(_paths())],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=said,
                cwd=self._folder,
                env={**os.environ, **ONE_THREAD},
                start_new_session=True,
                text=True,
            )
        assert process.stdin is not None  # noqa: S101 - for mypy
        assert process.stdout is not None  # noqa: S101 - for mypy
        threading.Thread(target=self._listen, args=(process.stdout,), daemon=True).start()
        try:
            process.stdin.write(self._job.to_json() + "\n")
            process.stdin.close()
            in_time = self._follow()
        except BrokenPipeError:
            in_time = True
        finally:
            _end(process)
        if self._found.failure is None and not self._done:
            self._found = replace(self._found, failure=self._ended(process, printed, in_time=in_time))
        return self._found

    def _listen(self, out: IO[str]) -> None:
        while line := out.readline(MESSAGE_BYTES_MAX):
            self._messages.put(line)
        self._messages.put(None)

    def _follow(self) -> bool:
        """Take what it says until it ends; False if it takes too long."""
        until = time.monotonic() + START_S
        at_last = time.monotonic() + time_limit_s(self._job.limits, with_stretch=self._job.stretch is not None)
        while True:
            try:
                line = self._messages.get(timeout=max(0.0, min(until, at_last) - time.monotonic()))
            except queue.Empty:
                return False
            if line is None:
                return True
            try:
                until = self._take(json.loads(line)) or until
            except (ValueError, KeyError, TypeError, AttributeError) as error:
                self._fail(f"the process says what cannot be read: {error}")
                return True
            if self._done:
                return True

    def _take(self, message: Mapping[str, Any]) -> float | None:
        """Take one message; return until when the next one must be there, where it says so."""
        ((kind, said),) = message.items()
        found = self._found
        if kind == "phase":
            self._phase, self._limit_s = str(said["name"]), float(said["limit_s"])
            longest_s = max(COMPILE_S, self._job.limits.load_s, CHECK_STEPS * self._job.limits.step_s)
            return time.monotonic() + min(self._limit_s, longest_s) + GRACE_S
        if kind == "packaged":
            self._found = replace(found, packaged=Packaged.of_json(said))
        elif kind == "check":
            self._found = replace(found, checks=(*found.checks, Check(**said)))
        elif kind == "cost":
            self._found = replace(found, cost=Cost(**said))
        elif kind == "stretch":
            self._found = replace(found, stretch=stretched_of(said))
        elif kind == "failure" and found.failure is None:
            self._found = replace(found, failure=Failure(**said))
        self._done = kind == "done"
        return None

    def _fail(self, reason: str) -> None:
        if self._found.failure is None:
            self._found = replace(self._found, failure=Failure(self._phase, reason))

    def _ended(self, process: subprocess.Popen[str], printed: Path, *, in_time: bool) -> Failure:
        """Say why it has ended without having said it."""
        hangs = Path(self._job.hangs)
        where = hangs.read_text(errors="replace")[:DETAIL_CHARS] if hangs.exists() else ""
        if where or not in_time:
            return Failure(
                self._phase, f"{self._phase}: not done within {self._limit_s:g} s; the process was ended", where
            )
        code = process.returncode
        how = f"by signal {signal.Signals(-code).name}" if code < 0 else f"with exit code {code}"
        with printed.open("rb") as file:
            file.seek(max(0, printed.stat().st_size - DETAIL_CHARS))
            said = file.read().decode(errors="replace")
        return Failure(self._phase, f"{self._phase}: the process ended {how}", said)


def _paths() -> list[str]:
    """Return where the process imports from: as we do, but for the working directory, in which anything may lie."""
    ours = str(Path(__file__).resolve().parents[2])
    here = {"", str(Path.cwd())}
    return list(dict.fromkeys([*(path for path in sys.path if path not in here), ours]))


def _end(process: subprocess.Popen[str]) -> None:
    """End a process and what it has started; one that is ending by itself is given a moment."""
    with suppress(subprocess.TimeoutExpired):
        process.wait(GRACE_S)
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
