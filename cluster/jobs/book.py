"""Jobs, runs and aliases of one pipeline, and what people and runs may do to them. Pure: time is an argument.

Every method that wants something changed returns the `Change`; who has written it applies it. Nothing is changed before.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any, NamedTuple

from cluster.jobs.alias import Alias
from cluster.jobs.job import Job, checked
from cluster.jobs.planner import begun
from cluster.jobs.run import NOTES_BYTES_MAX, WITH_RAY, Run, State, Trigger, Why
from cluster.operations.errors import Absent, Conflict, Invalid, TooMany, shown
from cluster.operations.operation import one_line

JOBS_MAX = 200
RUNS_MAX = 100  # of each job that are kept: those that have ended are forgotten from the oldest on
VERSIONS_MAX = 50  # of what a job makes that may be kept

Item = Job | Run | Alias


class NotWanted(Conflict):
    """An attempt is not wanted any more: it has ended for the scheduler, or another has begun."""


class Change(NamedTuple):
    """What is to be written."""

    put: tuple[Item, ...] = ()
    gone: tuple[Item, ...] = ()


NOTHING = Change()


class Book:
    """All that the topic has of one pipeline."""

    def __init__(self, items: Iterable[Item] = ()) -> None:
        self.jobs: dict[str, Job] = {}
        self.runs: dict[str, Run] = {}
        self.aliases: dict[str, Alias] = {}
        self.apply(Change(tuple(items)))

    def apply(self, change: Change) -> None:
        """Have a change."""
        for item in change.put:
            if isinstance(item, Job):
                self.jobs[item.name] = item
            elif isinstance(item, Run):
                self.runs[item.id] = item
            else:
                self.aliases[item.job] = item
        for item in change.gone:
            if isinstance(item, Job):
                self.jobs.pop(item.name, None)
            elif isinstance(item, Run):
                self.runs.pop(item.id, None)

    # ---- what people want

    def schedule(self, job: Job, now_ms: int) -> Change:
        """Have a job, or have it anew; what was due before this does not count. Raises Invalid, TooMany."""
        before = self.jobs.get(job.name)
        if before is None and len(self.jobs) >= JOBS_MAX:
            raise TooMany(f"there are {JOBS_MAX} jobs, which is as many as may be: remove one")
        return Change((checked(replace(job, revision=before.revision + 1 if before else 1, since_ms=now_ms), now_ms),))

    def remove(self, name: str) -> Change:
        """Have a job no more, nor its runs; what it made stays. Raises Absent, Conflict."""
        job = self.job(name)
        active = self.active(name)
        if active is not None:
            raise Conflict(f"run {active.id} is {active.state.value}: cancel it first")
        return Change(gone=(job, *self.of(name)))

    def run(self, name: str, by: str, now_ms: int) -> Run:
        """Return a new run of a job, now. Raises Absent, Conflict."""
        job = self.job(name)
        active = self.active(name)
        if active is not None:
            raise Conflict(f"run {active.id} is {active.state.value}: wait for it, or cancel it")
        runs = self.of(name)
        due_ms = max([now_ms, *(run.due_ms + 1 for run in runs if run.trigger is Trigger.hand)])
        alias = self.aliases.get(name)
        return begun(job, runs, due_ms, Trigger.hand, by, now_ms, least=alias.version if alias else 0)

    def cancel(self, name: str, now_ms: int) -> Change:
        """Have a run end, named by its id or by its job; one that has ended stays as it is. Raises Absent."""
        run = self.runs.get(name) or self.active(name)
        if run is None:
            self.job(name)
            raise Absent(f"no run of {shown(name)} is under way")
        if run.state is State.waiting:
            return Change((replace(run, state=State.cancelled, ended_ms=now_ms),))
        if run.state in WITH_RAY:
            return Change((replace(run, state=State.stopping, why=Why.cancelled),))
        return NOTHING

    # ---- what runs say

    def at_ray(self, submission_id: str) -> Run:
        """Return the run whose newest attempt this is. Raises NotWanted."""
        for run in self.runs.values():
            if run.state in WITH_RAY and run.submission_id == submission_id:
                return run
        raise NotWanted(f"{shown(submission_id)} is not wanted any more: it has ended, or another attempt has begun")

    def note(self, submission_id: str, notes: Mapping[str, Any]) -> Change:
        """Keep what the attempts after this one have to know. Raises NotWanted, Invalid."""
        run = self.at_ray(submission_id)
        return Change((replace(run, notes=_bounded({**run.notes, **notes})),))

    def swap(self, submission_id: str, made: Mapping[str, Any], keep: int, now_ms: int) -> Change:
        """Have what this run has made be the current version; versions beyond `keep` are noted as dropped. Raises NotWanted."""
        run = self.at_ray(submission_id)
        before = self.aliases.get(run.job)
        if before is not None and before.version >= run.number:
            return NOTHING  # it was swapped in by an attempt before
        versions = (*(before.versions if before else ()), run.number)
        kept = versions[-max(1, min(keep, VERSIONS_MAX)) :]
        dropped = [version for version in versions if version not in kept]
        alias = Alias(run.job, run.number, run.id, now_ms, _bounded(made), kept)
        return Change((alias, replace(run, notes=_bounded({**run.notes, "dropped": dropped}))))

    def finished(self, submission_id: str, what: str, result: Mapping[str, Any], now_ms: int) -> Change:
        """Have a run be done. Raises NotWanted, Invalid."""
        run = self.at_ray(submission_id)
        done = replace(
            run,
            state=State.done,
            ended_ms=now_ms,
            what=one_line(what),
            error=None,
            why=Why.none,
            result=_bounded(result),
        )
        return Change((done,))

    def failing(self, submission_id: str, error: str) -> Change:
        """Know why an attempt is about to end. Raises NotWanted."""
        return Change((replace(self.at_ray(submission_id), error=one_line(error)),))

    def told(self, submission_id: str, done: int, of: int, what: str) -> Run:
        """Return a run with how far it is. Raises NotWanted."""
        return replace(self.at_ray(submission_id), done=done, of=of, what=one_line(what))

    # ---- what there is

    def job(self, name: str) -> Job:
        """Return a job. Raises Absent."""
        found = self.jobs.get(name)
        if found is None:
            raise Absent(f"no job {shown(name)}; `chipquality job list` shows what there is")
        return found

    def of(self, name: str) -> list[Run]:
        """Return the runs of a job that are kept."""
        return [run for run in self.runs.values() if run.job == name]

    def active(self, name: str) -> Run | None:
        """Return the run of a job that has not ended."""
        return next((run for run in self.of(name) if run.active), None)

    def alias(self, name: str) -> Alias:
        """Return which version is the current one. Raises Absent."""
        found = self.aliases.get(name)
        if found is None:
            self.job(name)
            raise Absent(f"job {shown(name)} has made nothing whole yet")
        return found

    def surplus(self) -> Change:
        """Return the runs that are to be forgotten."""
        gone: list[Run] = []
        for name in self.jobs:
            ended = sorted((run for run in self.of(name) if not run.active), key=lambda run: run.due_ms)
            gone += ended[: max(0, len(self.of(name)) - RUNS_MAX)]
        return Change(gone=tuple(gone))

    def page(self, limit: int, cursor: str | None, now_ms: int) -> dict[str, Any]:
        """Return a page of jobs, by name, with when each is due next and how its newest run stands."""
        chosen = [self.jobs[name] for name in sorted(self.jobs) if cursor is None or name > cursor]
        items = [self.shown(job, now_ms) for job in chosen[:limit]]
        return {"items": items, "next": items[-1]["name"] if len(chosen) > limit else None}

    def shown(self, job: Job, now_ms: int) -> dict[str, Any]:
        """Return a job, when it is due next, its newest run, its current version."""
        runs = [run for run in self.of(job.name) if run.state is not State.skipped]
        newest = max(runs, key=lambda run: (run.active, run.due_ms), default=None)
        alias = self.aliases.get(job.name)
        return {
            **job.told(),
            "next_ms": job.schedule.after(now_ms) if job.schedule else None,
            "newest": newest.told() if newest else None,
            "current": alias.told() if alias else None,
        }

    def history(self, name: str, limit: int, cursor: str | None) -> dict[str, Any]:
        """Return a page of a job's runs, the newest first. Raises Absent; ValueError for a cursor that is none of ours."""
        self.job(name)
        before = None if cursor is None else _due_of(cursor)
        chosen = sorted(self.of(name), key=lambda run: run.due_ms, reverse=True)
        chosen = [run for run in chosen if before is None or run.due_ms < before]
        more = str(chosen[limit - 1].due_ms) if len(chosen) > limit else None
        return {"items": [run.told() for run in chosen[:limit]], "next": more}


def _due_of(cursor: str) -> int:
    if not cursor.isdecimal() or len(cursor) > 15:
        raise ValueError("it is none of this list's")
    return int(cursor)


def _bounded(value: Mapping[str, Any]) -> Mapping[str, Any]:
    try:
        size = len(json.dumps(value, allow_nan=False).encode())
    except (TypeError, ValueError) as error:
        raise Invalid(f"notes and results are plain JSON: {error}") from error
    if size > NOTES_BYTES_MAX:
        raise Invalid(f"notes or result of {size} bytes, more than {NOTES_BYTES_MAX}")
    return value
