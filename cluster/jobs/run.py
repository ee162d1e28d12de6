"""What is known of one run of a job, over all of its attempts. As it is kept in `quality.jobs`, and as it is told.

waiting ──▶ starting ──▶ running ──▶ done
   ▲            │            ├─────▶ failed       after as many retries as the job allows
   └────────────┴────────────┤
     a retry, or lost        └─▶ stopping ──▶ cancelled, or what a failure becomes after a timeout
skipped: nothing was run for a time that was missed.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from cluster.jobs.cron import stamp

NOTES_BYTES_MAX = 256 * 1024  # of what an attempt leaves for the next, as JSON; of a result likewise


class State(StrEnum):
    """How a run stands."""

    waiting = "waiting"  # for its time, or for others to end
    starting = "starting"  # Ray has been asked to run it, or is about to be
    running = "running"
    stopping = "stopping"  # Ray has been asked to stop it
    done = "done"
    failed = "failed"
    cancelled = "cancelled"
    skipped = "skipped"


WITH_RAY = frozenset({State.starting, State.running, State.stopping})
ACTIVE = WITH_RAY | {State.waiting}


class Trigger(StrEnum):
    """Why there is a run."""

    schedule = "schedule"
    hand = "hand"


class Why(StrEnum):
    """Why a run is stopped."""

    none = ""
    cancelled = "cancelled"
    timeout = "timeout"


@dataclass(frozen=True)
class Run:
    """A run at one moment."""

    job: str
    due_ms: int
    number: int  # of the runs of this job, from 1; 0: skipped
    trigger: Trigger
    kind: str
    parameters: Mapping[str, Any]  # as they were when it came to be
    by: str
    state: State = State.waiting
    at_ms: int = 0  # waiting: not before
    attempt: int = 0  # the newest, from 1
    failures: int = 0  # attempts that failed
    lost: int = 0  # attempts that ended with the Ray that ran them
    started_ms: int | None = None  # the newest attempt
    ended_ms: int | None = None
    why: Why = Why.none  # stopping
    done: int = 0
    of: int = 0
    what: str = ""
    error: str | None = None
    notes: Mapping[str, Any] = field(default_factory=dict)  # what attempts leave for those after them
    result: Mapping[str, Any] | None = None

    @property
    def id(self) -> str:
        """Return the run's id: the same time of the same job is the same run."""
        return f"{self.job}-{stamp(self.due_ms)}"

    @property
    def submission_id(self) -> str:
        """Return the id that Ray knows the newest attempt by: it takes each once."""
        return f"{self.id}-{self.attempt}"

    @property
    def active(self) -> bool:
        """Tell whether it has not ended."""
        return self.state in ACTIVE

    def told(self) -> dict[str, Any]:
        """Return it as the API and the commands tell it."""
        return {
            "id": self.id,
            "job": self.job,
            "kind": self.kind,
            "due_ms": self.due_ms,
            "number": self.number,
            "trigger": self.trigger.value,
            "by": self.by,
            "state": self.state.value,
            "progress": 1.0 if self.state is State.done else min(1.0, self.done / self.of) if self.of else 0.0,
            "what": self.what,
            "error": self.error,
            "attempt": self.attempt,
            "failures": self.failures,
            "lost": self.lost,
            "next_attempt_ms": self.at_ms if self.state is State.waiting else None,
            "started_ms": self.started_ms,
            "ended_ms": self.ended_ms,
            "submission_id": self.submission_id if self.attempt else None,
            "parameters": dict(self.parameters),
            "result": None if self.result is None else dict(self.result),
        }

    def to_record(self) -> dict[str, Any]:
        """Return the fields of schemas/avro/job_run.avsc."""
        plain = (
            "job",
            "due_ms",
            "number",
            "kind",
            "by",
            "at_ms",
            "attempt",
            "failures",
            "lost",
            "started_ms",
            "ended_ms",
        )
        return {
            **{name: getattr(self, name) for name in (*plain, "done", "of", "what", "error")},
            **{name: getattr(self, name).value for name in ("trigger", "state", "why")},
            **{name: _json(getattr(self, name)) for name in ("parameters", "notes", "result")},
        }

    @classmethod
    def of_record(cls, fields: Mapping[str, Any]) -> Run:
        """Return what `to_record` wrote. Raises ValueError for what this version does not know."""
        given = dict(fields)
        result = given.pop("result")
        return cls(
            trigger=Trigger(given.pop("trigger")),
            state=State(given.pop("state")),
            why=Why(given.pop("why")),
            parameters=json.loads(given.pop("parameters")),
            notes=json.loads(given.pop("notes")),
            result=None if result is None else json.loads(result),
            **given,
        )


def _json(value: Mapping[str, Any] | None) -> str | None:
    return None if value is None else json.dumps(value, separators=(",", ":"), ensure_ascii=False)
