"""A backtest as a Ray Job: submitted by Ray's Jobs API, seen in Ray's dashboard, stopped with whoever waits for it.

The command and the job share a folder beside the report's. In it lie, until the job has ended: what is asked (`task.json`,
readable by its owner only, because it may hold Kafka's password; gone as soon as the job has read it), how far it is
(`progress.json`), what has come of it if it is no report (`outcome.json`), and the module of the detector, if that is not
installed (`modules`): the job and its tasks have it last on their path. Ray's `py_modules` would do, but its Jobs API takes no
single file.
"""

from __future__ import annotations

import json
import os
import shlex
import shutil
import sys
import time
import uuid
from collections.abc import Callable, Mapping
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import Any

import ray
from ray.job_submission import JobStatus

from actors.engine.arrivals import Arrivals
from actors.errors import ConfigError, FencedError, ReopenError
from actors.kafka.client import Cluster
from actors.names import NAMESPACE
from cluster.backtest.on_ray import on_ray
from cluster.backtest.plan import BacktestPlan, Wish, own_module, plan_of
from cluster.backtest.running import BacktestFailed, carry_out, part_of, require_new
from cluster.config import VectorsConfig
from cluster.operations.bounds import Bound
from cluster.operations.errors import Invalid, Refused
from models.catalogue import ARTEFACTS
from schemas.registry import RegistryUnavailable

LOOK_S = 0.3  # between two looks at a job
JOB = ".job"  # after the folder's name
SUBMIT_S = 30.0  # for a cluster to take a job
NO_AGENT = "No available agent"  # what Ray says until it does
STOP_S = 30.0  # for a job to end after it was stopped
LOG_CHARS = 2_000  # of a job's log that are told where it died
TASK, PROGRESS, OUTCOME, MODULES = "task.json", "progress.json", "outcome.json", "modules"
MODULE_BYTES_MAX = 64 * 1024 * 1024  # of a module that travels
FAILED, REFUSED = 1, 2


def submit_and_follow(
    client: Any, plan: BacktestPlan, folder: Path, tell: Callable[[int, str], None], address: str | None = None
) -> dict[str, Any]:
    """Have the cluster of a JobSubmissionClient carry a plan out; return what report.json says.

    `address`: of that cluster, "host:port"; without it the job takes what Ray tells it, which is the newest Ray of the machine.

    Whatever ends this, KeyboardInterrupt above all, stops the job, waits until it has ended, and removes what it left.
    Raises Refused, BacktestFailed.
    """
    require_new(folder)
    part = folder.with_name(folder.name + JOB)
    part.mkdir(parents=True, mode=0o700)
    submission = f"backtest-{uuid.uuid4().hex[:12]}"
    begun = False
    try:
        _write(part / TASK, json.dumps(_asked(plan, folder)))
        copy_module(own_module(plan.wish), part / MODULES)
        begun = True
        _submit(
            client,
            entrypoint=shlex.join(_command(part, address)),
            submission_id=submission,
            metadata={"kind": "backtest", "detector": plan.wish.target[:200], "topic": plan.wish.topic},
        )
        while not (status := client.get_job_status(submission)).is_terminal():
            tell(*_progress(part, f"job {submission}: {str(status.value).lower()}"))
            time.sleep(LOOK_S)
        begun = False
        _raise_outcome(part, status == JobStatus.SUCCEEDED, lambda: client.get_job_logs(submission), submission)
        if not (folder / "report.json").exists():
            raise BacktestFailed(
                f"{folder} is not to be seen here: --report must be a folder that the cluster's head sees, too"
            )
        tell(plan.records, "done")
        found: dict[str, Any] = json.loads((folder / "report.json").read_text())
        return found
    finally:
        if begun:
            stop(client, submission)
        for left in (part, part_of(folder)):
            shutil.rmtree(left, ignore_errors=True)


def _command(part: Path, address: str | None) -> list[str]:
    return [sys.executable, "-m", "cluster.backtest.job", str(part.resolve()), *([address] if address else [])]


def _submit(client: Any, **job: Any) -> None:
    """Submit a job; a cluster that has just been started takes none for some seconds. Raises BacktestFailed."""
    deadline = time.monotonic() + SUBMIT_S
    while True:
        try:
            client.submit_job(**job)
            return
        except (RuntimeError, ValueError, OSError) as error:  # what Ray's client makes of all that may go wrong
            if NO_AGENT not in str(error) or time.monotonic() > deadline:
                raise BacktestFailed(f"Ray takes no job: {' '.join(str(error).split())[:300]}") from error
            time.sleep(LOOK_S)


def copy_module(module: Path | None, folder: Path) -> None:
    """Copy a module's file or folder to where the job finds it. Raises Invalid for one that is too large to travel."""
    if module is None:
        return
    files = [module] if module.is_file() else [path for path in module.rglob("*") if path.is_file()]
    if sum(path.stat().st_size for path in files) > MODULE_BYTES_MAX:
        raise Invalid(
            f"{module} has more than {MODULE_BYTES_MAX} bytes: install it in the cluster, or make it a package"
        )
    folder.mkdir()
    if module.is_file():
        shutil.copy(module, folder)
    else:
        shutil.copytree(module, folder / module.name, ignore=shutil.ignore_patterns("__pycache__", ".*"))


def stop(client: Any, submission: str) -> None:
    """Stop a job, and wait until it has ended, STOP_S at most."""
    try:
        client.stop_job(submission)
    except RuntimeError:  # it was not there yet
        return
    deadline = time.monotonic() + STOP_S
    while not client.get_job_status(submission).is_terminal() and time.monotonic() < deadline:
        time.sleep(LOOK_S)


def _asked(plan: BacktestPlan, folder: Path) -> dict[str, Any]:
    """Return a plan as the job needs it: with offsets, so that it judges what was planned."""
    cluster, stretch = plan.pipeline.cluster, plan.stretch
    wish = replace(
        plan.wish,
        labels=None if plan.wish.labels is None else str(Path(plan.wish.labels).resolve()),
        parameters={name: _absolute(name, value) for name, value in (plan.wish.parameters or {}).items()},
        package=None if plan.wish.package is None else str(Path(plan.wish.package).resolve()),
        vector=None if plan.pipeline.vector is None else plan.pipeline.vector.name,
        since=Bound(offsets=dict(plan.since)),
        until=Bound(offsets=dict(stretch.until)),
        warm_from=Bound(offsets=dict(stretch.starts)),
    )
    return {
        "wish": asdict(wish),
        "folder": str(folder.resolve()),
        "cluster": asdict(cluster),
        "arrivals": asdict(plan.pipeline.arrivals),
    }


def _absolute(name: str, value: Any) -> Any:
    """Return a parameter that means the same wherever it is read: artefacts are given by their paths."""
    return str(Path(value).resolve()) if name in ARTEFACTS and isinstance(value, str) else value


def _progress(part: Path, otherwise: str) -> tuple[int, str]:
    try:
        said = json.loads((part / PROGRESS).read_text())
    except FileNotFoundError:
        return 0, otherwise
    return said["done"], said["what"]


def _raise_outcome(part: Path, succeeded: bool, logs: Callable[[], str], submission: str) -> None:
    """Raise what has come of a job that is no report."""
    outcome = part / OUTCOME
    if outcome.exists():
        said = json.loads(outcome.read_text())
        raise (Refused if said["exit"] == REFUSED else BacktestFailed)(said["why"])
    if not succeeded:
        raise BacktestFailed(
            f"job {submission} has died; its log ends with: {logs()[-LOG_CHARS:].strip() or 'nothing'}"
        )


def _write(path: Path, text: str) -> None:
    """Write a file that is there whole or not at all, readable by its owner only."""
    new = path.with_suffix(".new")
    with os.fdopen(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
        file.write(text)
    new.replace(path)


# ---- in the job


def _bound(said: Mapping[str, Any] | None) -> Bound | None:
    if said is None:
        return None
    offsets = {int(partition): offset for partition, offset in said["offsets"].items()}
    return Bound(offsets=offsets)


def carry_out_asked(part: Path) -> int:
    """Do what `task.json` asks for, in the cluster of this process; return the exit code."""
    task = part / TASK
    asked = json.loads(task.read_text())
    task.unlink()
    modules = str(part / MODULES)
    sys.path.append(modules)
    try:
        wish = asked["wish"]
        bounds = {name: _bound(wish[name]) for name in ("since", "until", "warm_from")}
        plan = plan_of(
            Wish(**{**wish, **bounds, "series": tuple(wish["series"])}),
            Cluster(**asked["cluster"]),
            VectorsConfig(),
            Arrivals(**asked["arrivals"]),
        )
        carry_out(plan, Path(asked["folder"]), partial(on_ray, modules=modules), _Teller(part))
    except (Refused, ConfigError) as error:
        return _end(part, str(error), REFUSED)
    except (BacktestFailed, ReopenError, FencedError, RegistryUnavailable) as error:
        return _end(part, str(error), FAILED)
    return 0


class _Teller:
    """Writes how far it is, not too often."""

    def __init__(self, part: Path) -> None:
        self._path = part / PROGRESS
        self._at = 0.0

    def __call__(self, done: int, what: str) -> None:
        if time.monotonic() - self._at > LOOK_S:
            self._at = time.monotonic()
            _write(self._path, json.dumps({"done": done, "what": what}))


def _end(part: Path, why: str, code: int) -> int:
    sys.stdout.write(f"{why}\n")
    _write(part / OUTCOME, json.dumps({"why": why, "exit": code}))
    return code


def main() -> int:
    """Connect to the cluster whose job this is."""
    address = sys.argv[2] if len(sys.argv) > 2 else None
    ray.init(address=address, namespace=NAMESPACE, log_to_driver=False)
    return carry_out_asked(Path(sys.argv[1]))


if __name__ == "__main__":
    sys.exit(main())
