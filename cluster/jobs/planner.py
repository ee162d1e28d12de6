"""What is to happen next: a pure function of the jobs, their runs, what Ray says of them, and the time.

Theory of operation
-------------------
The scheduler calls `plan` once a second, and after every change. It writes the runs that have changed, and only then does what
the plan wants done: so whatever happens, the topic knows at least as much as Ray. After a restart it begins with the topic, and
the next plan goes on from there:

- a run that was to be started, and of which Ray knows nothing, is submitted (again): by the same id, which Ray takes once;
- a run that was running, and of which Ray knows nothing, was lost with the Ray that ran it. It is submitted anew under the id of
  a further attempt; what the attempt before has noted is given to it;
- times that passed meanwhile are missed times.

A job has at most one run that has not ended. While there is one, nothing of that job is begun, so runs do not overlap; when it
has ended, the times that have passed since are missed times like any other, and the job's policy says what becomes of them. A
time is not missed for GRACE_S yet.

Rules of this file: no I/O, no clock.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from enum import StrEnum
from typing import NamedTuple

from cluster.jobs.job import BACKOFF_MAX_S, CatchUp, Job
from cluster.jobs.run import ACTIVE, WITH_RAY, Run, State, Trigger, Why

GRACE_S = 60.0  # so late a run is still on time
ATTEMPTS_MAX = 4  # runs that Ray has at once, over all jobs; further ones wait
START_S = 300.0  # for Ray to take a submission; then it counts as a failure
LOST_MAX = 10  # attempts of one run that are lost with their Ray


class Sight(StrEnum):
    """What Ray says of a submission."""

    absent = "absent"  # it does not know it
    alive = "alive"
    succeeded = "succeeded"
    failed = "failed"
    stopped = "stopped"


class Seen(NamedTuple):
    """What Ray says of a submission, in its words."""

    sight: Sight
    message: str = ""


class Do(NamedTuple):
    """What Ray is to be asked."""

    what: str  # "submit" or "stop"
    run: Run


class Plan(NamedTuple):
    """What has changed, to be written; then what is to be done."""

    runs: list[Run]
    does: list[Do]


def plan(jobs: Iterable[Job], runs: Iterable[Run], seen: Mapping[str, Seen] | None, now_ms: int) -> Plan:
    """Return what is next. `seen`: by submission id; None: Ray does not answer, and what it has is left as it is."""
    defined = {job.name: job for job in jobs}
    known = [run for run in runs if run.job in defined]
    changed: list[Run] = []
    does: list[Do] = []
    at_ray = 0
    for run in known:
        if run.state not in WITH_RAY:
            continue
        now, do = run, None
        if seen is not None and run.submission_id in seen:
            now, do = _seen(run, seen[run.submission_id], defined[run.job], now_ms)
        if now != run:
            changed.append(now)
        if do is not None:
            does.append(Do(do, now))
        at_ray += now.state in WITH_RAY
    left = {run.id: run for run in known} | {run.id: run for run in changed}
    for new in _due(defined, left.values(), now_ms):
        changed.append(new)
        left[new.id] = new
    waiting = [run for run in left.values() if run.state is State.waiting and run.at_ms <= now_ms]
    for run in sorted(waiting, key=lambda run: (run.at_ms, run.id))[: max(0, ATTEMPTS_MAX - at_ray)]:
        begun = replace(
            run, state=State.starting, attempt=run.attempt + 1, started_ms=now_ms, error=None, done=0, of=0, what=""
        )
        changed = [one for one in changed if one.id != run.id] + [begun]
        does.append(Do("submit", begun))
    return Plan(changed, does)


def _seen(run: Run, said: Seen, job: Job, now_ms: int) -> tuple[Run, str | None]:
    """Return what becomes of a run that Ray has, and what Ray is to be asked."""
    if said.sight is Sight.alive:
        return _alive(run, job, now_ms)
    if said.sight is Sight.absent and run.state is State.starting:
        if now_ms - (run.started_ms or now_ms) < START_S * 1000:
            return run, "submit"
        return failed(run, job, f"Ray has not taken it within {START_S:g} s", now_ms), None
    return _over(run, said, job, now_ms), None


def _over(run: Run, said: Seen, job: Job, now_ms: int) -> Run:
    """Return what becomes of a run whose attempt is over."""
    if run.state is State.stopping:
        if run.why is Why.cancelled:
            return replace(run, state=State.cancelled, ended_ms=now_ms, error=None)
        return failed(run, job, f"not done within {job.timeout_s:g} s", now_ms)
    if said.sight is Sight.absent:
        return _lost(run, now_ms)
    if said.sight is Sight.stopped:
        return replace(run, state=State.cancelled, ended_ms=now_ms, error="stopped in Ray")
    silent = "it ended without saying what has come of it"
    return failed(run, job, run.error or (silent if said.sight is Sight.succeeded else said.message), now_ms)


def _alive(run: Run, job: Job, now_ms: int) -> tuple[Run, str | None]:
    if run.state is State.stopping:
        return run, "stop"  # again: it may not have been heard
    now = replace(run, state=State.running)
    if now_ms - (run.started_ms or now_ms) >= job.timeout_s * 1000:
        return replace(now, state=State.stopping, why=Why.timeout), "stop"
    return now, None


def failed(run: Run, job: Job, error: str, now_ms: int) -> Run:
    """Return a run whose attempt has failed: it waits for the next, or has failed for good."""
    failures = run.failures + 1
    if failures > job.retries:
        return replace(run, state=State.failed, failures=failures, ended_ms=now_ms, error=error, why=Why.none)
    wait_s = min(job.backoff_s * 2.0 ** (failures - 1), BACKOFF_MAX_S)
    at_ms = now_ms + round(wait_s * 1000)
    return replace(run, state=State.waiting, failures=failures, at_ms=at_ms, error=error, why=Why.none)


def _lost(run: Run, now_ms: int) -> Run:
    error = "its Ray has ended"
    if run.lost >= LOST_MAX:
        return replace(run, state=State.failed, ended_ms=now_ms, error=error)
    return replace(run, state=State.waiting, lost=run.lost + 1, at_ms=now_ms, error=error)


# ---- what is due


class Due(NamedTuple):
    """Which time is to be run, and up to which times are passed over."""

    begin_ms: int | None
    skip_ms: int | None


def _due(jobs: Mapping[str, Job], runs: Iterable[Run], now_ms: int) -> list[Run]:
    """Return the runs that come to be."""
    found: list[Run] = []
    of: dict[str, list[Run]] = {name: [] for name in jobs}
    for run in runs:
        if run.job in of:
            of[run.job].append(run)
    for job in jobs.values():
        if job.schedule is None or any(run.state in ACTIVE for run in of[job.name]):
            continue
        begin_ms, skip_ms = due(job, of[job.name], now_ms)
        if skip_ms is not None:
            found.append(skipped(job, skip_ms, now_ms))
        if begin_ms is not None:
            found.append(begun(job, of[job.name], begin_ms, Trigger.schedule, job.by, now_ms))
    return found


def due(job: Job, runs: Iterable[Run], now_ms: int) -> Due:
    """Return what is due of a job of which nothing runs."""
    assert job.schedule is not None  # noqa: S101 - for mypy: who asks has looked
    since = max((run.due_ms for run in runs if run.trigger is Trigger.schedule), default=0)
    most = job.catch_up_max if job.catch_up is CatchUp.all else 1
    times = job.schedule.newest(max(since, job.since_ms), now_ms, most + 1)
    if not times:
        return Due(None, None)
    kept = times[-most:]
    if job.catch_up is CatchUp.none and kept[0] < now_ms - GRACE_S * 1000:
        return Due(None, kept[0])
    return Due(kept[0], times[0] if len(times) > most else None)


def begun(job: Job, runs: Iterable[Run], due_ms: int, trigger: Trigger, by: str, now_ms: int, least: int = 0) -> Run:
    """Return a new run of a job; its number is above those of all others, and above `least`."""
    number = 1 + max((run.number for run in runs), default=0)
    return Run(job.name, due_ms, max(number, least + 1), trigger, job.kind, job.parameters, by, at_ms=now_ms)


def skipped(job: Job, due_ms: int, now_ms: int) -> Run:
    """Return what says that nothing was run for a time, nor for those before it."""
    what = "missed: nothing is run for this time, nor for what was missed before it"
    return Run(
        job.name, due_ms, 0, Trigger.schedule, job.kind, job.parameters, job.by,
        state=State.skipped, ended_ms=now_ms, what=what,
    )  # fmt: skip
