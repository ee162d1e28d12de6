"""What is known of one operation, as it is kept in `quality.operations` and as it is told."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, NamedTuple

LINE_MAX = 500  # characters of an error, and of what is done just now
KEY_MAX = 200  # characters of an idempotency key


class State(StrEnum):
    """How an operation stands."""

    running = "running"
    done = "done"
    failed = "failed"
    cancelled = "cancelled"


class Request(NamedTuple):
    """What somebody asks for."""

    kind: str
    subject: str
    plan: Mapping[str, Any]
    plan_hash: str
    by: str
    key: str = ""  # idempotency key; empty: none
    request_hash: str = ""


@dataclass(frozen=True, slots=True)
class Operation:
    """An operation at one moment."""

    id: str
    pipeline: str
    kind: str
    subject: str
    started_ms: int
    by: str
    plan: Mapping[str, Any]
    plan_hash: str
    key: str = ""
    request_hash: str = ""
    state: State = State.running
    done: int = 0
    of: int = 0  # 0: not known yet
    what: str = ""
    error: str | None = None
    ended_ms: int | None = None

    @property
    def progress(self) -> float:
        """Return how far it is, from 0 to 1."""
        if self.state is State.done:
            return 1.0
        return min(1.0, self.done / self.of) if self.of > 0 else 0.0

    def told(self) -> dict[str, Any]:
        """Return it as the API and the commands tell it."""
        return {
            "id": self.id,
            "kind": self.kind,
            "subject": self.subject,
            "state": self.state.value,
            "progress": round(self.progress, 4),
            "done": self.done,
            "of": self.of,
            "what": self.what,
            "error": self.error,
            "started_ms": self.started_ms,
            "ended_ms": self.ended_ms,
            "by": self.by,
            "plan": dict(self.plan),
            "plan_hash": self.plan_hash,
        }

    def to_record(self) -> dict[str, Any]:
        """Return the fields of schemas/avro/operation.avsc."""
        return {
            "id": self.id,
            "pipeline": self.pipeline,
            "kind": self.kind,
            "subject": self.subject,
            "state": self.state.name.upper(),
            "done": self.done,
            "of": self.of,
            "what": self.what,
            "error": self.error,
            "started_ms": self.started_ms,
            "ended_ms": self.ended_ms,
            "by": self.by,
            "plan": json.dumps(self.plan, separators=(",", ":"), ensure_ascii=False),
            "plan_hash": self.plan_hash,
            "idempotency_key": self.key,
            "request_hash": self.request_hash,
        }

    @classmethod
    def of_record(cls, fields: Mapping[str, Any]) -> Operation:
        """Return what `to_record` wrote. Raises ValueError for a state that this version does not know."""
        given = dict(fields)
        return cls(
            state=State(given.pop("state").lower()),
            plan=json.loads(given.pop("plan")),
            key=given.pop("idempotency_key"),
            **given,
        )


def one_line(text: str) -> str:
    """Return a text as one line of bounded length.

    >>> one_line("it  broke:\\n  here")
    'it broke: here'
    """
    return " ".join(text.split())[:LINE_MAX]
