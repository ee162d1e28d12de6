"""What people do about an alert: a pure state machine from actions to the alert's life, or to a refusal that says why.

Theory of operation
-------------------
An out-of-control signal is worth what is done about it. Montgomery's out-of-control action plan (OCAP) begins with the
activating event, which is the alert; goes through *checkpoints*, where possible assignable causes are looked for; and ends with
*terminators*, the actions that take the cause away. AIAG asks for the same on the chart itself: which cause was found, and what
was done.

    open ──acknowledge──▶ acknowledged ──assign_cause──▶ caused ──ocap_step──▶ in_ocap ──close──▶ closed
      ▲                        checkpoints                  └────────────close───────────────────▶   │
      └──────────────────────────────────────reopen──────────────────────────────────────────────────┘

| action | when | who | what it does |
|---|---|---|---|
| acknowledge | not closed | anybody | takes the alert, or takes it over from somebody else |
| assign_cause | from acknowledged on | who has it, or an admin | names the assignable cause, or another one |
| ocap_step | from acknowledged on; a terminator: once there is a cause | who has it, or an admin | plans a step, or does it |
| close | caused or in_ocap, all steps done | who has it, or an admin | ends it |
| reopen | closed | anybody, with the reason | begins anew; what was done stays |
| comment | always | anybody | says something |
| escalated | open, and never before | the escalation only | says that nobody acknowledged it in time |

The life is not the signal. A pipeline closes an alert after so many clean rows, whatever people do; people close its life,
whatever the rows do. Both are told side by side.

Rules of this file: no clock, no I/O; an action is added to the history or refused, never dropped; the history is bounded
(HISTORY_MAX), and the last RESERVED of it are for what brings an alert to its end, so that a full one can still be closed.

Reference: Montgomery, Introduction to SQC, 7th ed., §5.3 (OCAP); AIAG SPC, 2nd ed., ch. II; ISO 7870-1 (assignable causes).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from enum import StrEnum
from typing import Any, Literal, NamedTuple

HISTORY_MAX = 100  # actions of one alert
RESERVED = 8  # of them for acknowledge, first cause, close and escalated: four of them end an alert
STEPS_MAX = 40  # of one OCAP
TEXT_CHARS_MAX = 1_000  # of a text, a cause, a step
NAME_CHARS_MAX = 200  # of a person
ID_CHARS_MAX = 200  # of an action or an alert


class Status(StrEnum):
    """How far people are with an alert."""

    OPEN = "open"
    ACKNOWLEDGED = "acknowledged"
    CAUSED = "caused"
    IN_OCAP = "in_ocap"
    CLOSED = "closed"


class Kind(StrEnum):
    """What is done."""

    ACKNOWLEDGE = "acknowledge"
    ASSIGN_CAUSE = "assign_cause"
    OCAP_STEP = "ocap_step"
    CLOSE = "close"
    REOPEN = "reopen"
    COMMENT = "comment"
    ESCALATED = "escalated"


class StepKind(StrEnum):
    """What a step of an OCAP is."""

    CHECKPOINT = "checkpoint"  # looks for the cause
    TERMINATOR = "terminator"  # takes it away


class Step(NamedTuple):
    """One step of an OCAP."""

    kind: StepKind
    text: str
    done: bool
    by: str  # who did it, or planned it while it is not done
    at_ms: int
    finding: str = ""


class Entry(NamedTuple):
    """One action in the history."""

    action_id: str
    action: Kind
    by: str
    at_ms: int  # never before the one before
    status: Status  # after it
    text: str = ""
    cause: str | None = None
    step: int | None = None  # counted from 1


class About(NamedTuple):
    """What the alert is."""

    pipeline: str
    topic: str
    partition: int
    series: str
    detector: str
    rule: str
    severity: str
    opened_offset: int
    raised_ms: int  # when its first record was written


class Action(NamedTuple):
    """What somebody wants to do."""

    action: Kind
    by: str
    at_ms: int
    action_id: str
    admin: bool = False  # may work on what somebody else has
    text: str = ""
    cause: str = ""
    step: int | None = None  # of ocap_step: the planned one that is done; None: plan another
    step_kind: StepKind = StepKind.CHECKPOINT
    done: bool = False  # of a step that is planned: it is done already


class Refused(NamedTuple):
    """An action that is not taken, and why. `ground`: what it lacks."""

    ground: Literal["state", "person", "input", "room"]
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Life:
    """The life of one alert. `version` counts its actions; 0: nobody has done anything yet."""

    alert_id: str
    about: About
    version: int = 0
    status: Status = Status.OPEN
    assigned: str | None = None
    cause: str | None = None
    steps: tuple[Step, ...] = ()
    escalated_ms: int | None = None
    history: tuple[Entry, ...] = field(default=(), repr=False)

    def has(self, action_id: str) -> bool:
        """Tell whether an action is in the history."""
        return self.entry(action_id) is not None

    def entry(self, action_id: str) -> Entry | None:
        """Return an action of the history; None: it is not in it."""
        return next((entry for entry in self.history if entry.action_id == action_id), None)


def act(life: Life, action: Action) -> Life | Refused:
    """Return the life after an action, or why it is refused. An action that is in the history already changes nothing, and
    another one of the same id is refused.

    >>> about = About("quality", "fab.measurements", 0, "E1|A|R|10|CD", "spc.individuals@1-abc", "nelson_1", "CRITICAL", 7, 0)
    >>> life = act(Life(alert_id="a1", about=about), Action(Kind.ACKNOWLEDGE, "ada", 5_000, "x1"))
    >>> life.status.value, life.assigned, life.version
    ('acknowledged', 'ada', 1)
    >>> act(life, Action(Kind.CLOSE, "ada", 6_000, "x2")).reason
    'no assignable cause is named: assign one; where none was found, say that it is common cause'
    """
    if (known := life.entry(action.action_id)) is not None:
        return life if _is_it(life, known, action) else Refused("input", _OTHER)
    refused = _malformed(action) or _no_room(life, action) or _not_theirs(life, action)
    return refused or _TAKE[action.action](life, action)


_OTHER = "this key was used for another action on this alert: take a new key"


def _is_it(life: Life, known: Entry, action: Action) -> bool:
    """Tell whether an action is the one that the history knows by its id."""
    if (known.action, known.text) != (action.action, action.text):
        return False
    if action.action is Kind.ASSIGN_CAUSE:
        return known.cause == action.cause
    if action.action is not Kind.OCAP_STEP or known.step is None:
        return True
    if action.step is not None:
        return known.step == action.step
    planned = life.steps[known.step - 1]
    return (planned.text, planned.kind) == (action.text, action.step_kind)


def _malformed(action: Action) -> Refused | None:
    """Refuse what is no action of its kind, whatever the state."""
    for name, text, most in (
        ("text", action.text, TEXT_CHARS_MAX),
        ("cause", action.cause, TEXT_CHARS_MAX),
        ("by", action.by, NAME_CHARS_MAX),
        ("action_id", action.action_id, ID_CHARS_MAX),
    ):
        if len(text) > most:
            return Refused("input", f"{name} has {len(text)} characters; at most {most}")
    for name, text in (("by", action.by), ("action_id", action.action_id)):
        if not text.strip():
            return Refused("input", f"{name} is empty")
    plans = action.action is Kind.OCAP_STEP and action.step is None
    if (plans or action.action in (Kind.COMMENT, Kind.REOPEN)) and not action.text.strip():
        return Refused("input", f"{action.action} needs a text: {_WANTED[action.action]}")
    if action.action is Kind.ASSIGN_CAUSE and not action.cause.strip():
        return Refused("input", "assign_cause needs a cause; where none was found, say that it is common cause")
    return None


_WANTED = {Kind.OCAP_STEP: "what is to be done", Kind.COMMENT: "what is said", Kind.REOPEN: "why it is opened again"}


def _no_room(life: Life, action: Action) -> Refused | None:
    """Refuse what does not fit into the history; towards its end, whatever does not bring the alert to its own."""
    ends = action.action in (Kind.ACKNOWLEDGE, Kind.CLOSE, Kind.ESCALATED) or (
        action.action is Kind.ASSIGN_CAUSE and life.cause is None
    )
    takes_over = action.action is Kind.ACKNOWLEDGE and life.status is not Status.OPEN
    if len(life.history) >= HISTORY_MAX - (0 if ends and not takes_over else RESERVED):
        return Refused(
            "room",
            f"the history has {len(life.history)} of at most {HISTORY_MAX} actions: what is left is for closing it",
        )
    return None


_OWN = frozenset({Kind.ASSIGN_CAUSE, Kind.OCAP_STEP, Kind.CLOSE})  # of whoever has the alert


def _not_theirs(life: Life, action: Action) -> Refused | None:
    if action.action not in _OWN or action.admin or life.assigned in (None, action.by):
        return None
    return Refused("person", f"{life.assigned} has this alert: acknowledge it to take it over, or comment")


def _acknowledge(life: Life, action: Action) -> Life | Refused:
    if life.status is Status.CLOSED:
        return Refused("state", "it is closed: reopen it first")
    if life.assigned == action.by:
        return Refused("state", f"{action.by} has it already")
    status = Status.ACKNOWLEDGED if life.status is Status.OPEN else life.status
    return _with(life, action, status=status, assigned=action.by)


def _assign_cause(life: Life, action: Action) -> Life | Refused:
    if refused := _untouchable(life):
        return refused
    if life.cause == action.cause:
        return Refused("state", "this is its cause already")
    status = Status.CAUSED if life.status is Status.ACKNOWLEDGED else life.status
    return _with(life, action, status=status, cause=action.cause)


def _ocap_step(life: Life, action: Action) -> Life | Refused:
    if refused := _untouchable(life):
        return refused
    status = Status.ACKNOWLEDGED if life.status is Status.ACKNOWLEDGED else Status.IN_OCAP
    if action.step is not None:
        return _do_step(life, action, action.step, status)
    if action.step_kind is StepKind.TERMINATOR and life.cause is None:
        return Refused(
            "state",
            "no assignable cause is named yet: a terminator takes one away; plan a checkpoint, or assign a cause",
        )
    if len(life.steps) >= STEPS_MAX:
        return Refused("room", f"its OCAP has {STEPS_MAX} steps, and no more fit")
    step = Step(action.step_kind, action.text, action.done, action.by, _at(life, action))
    return _with(life, action, status=status, steps=(*life.steps, step), step=len(life.steps) + 1)


def _do_step(life: Life, action: Action, number: int, status: Status) -> Life | Refused:
    if not 1 <= number <= len(life.steps):
        return Refused("input", f"there is no step {number}: its OCAP has {len(life.steps)}")
    planned = life.steps[number - 1]
    if planned.done:
        return Refused("state", f"step {number} is done already, by {planned.by}")
    done = planned._replace(done=True, by=action.by, at_ms=_at(life, action), finding=action.text)
    steps = (*life.steps[: number - 1], done, *life.steps[number:])
    return _with(life, action, status=status, steps=steps, step=number)


def _close(life: Life, action: Action) -> Life | Refused:
    if refused := _untouchable(life):
        return refused
    if life.cause is None:
        return Refused(
            "state", "no assignable cause is named: assign one; where none was found, say that it is common cause"
        )
    left = [str(number) for number, step in enumerate(life.steps, start=1) if not step.done]
    if left and len(life.history) < HISTORY_MAX - RESERVED:  # else they could not be done any more
        return Refused("state", f"step {', '.join(left)} of its OCAP is not done")
    return _with(life, action, status=Status.CLOSED)


def _reopen(life: Life, action: Action) -> Life | Refused:
    if life.status is not Status.CLOSED:
        return Refused("state", f"it is {life.status}, not closed")
    return _with(life, action, status=Status.OPEN, assigned=None, cause=None)


def _comment(life: Life, action: Action) -> Life | Refused:
    return _with(life, action, status=life.status)


def _escalated(life: Life, action: Action) -> Life | Refused:
    if life.escalated_ms is not None:
        return Refused("state", "it was escalated before")
    if life.status is not Status.OPEN:
        return Refused("state", f"it is {life.status}, not open")
    return _with(life, action, status=life.status, escalated_ms=_at(life, action))


_TAKE = {
    Kind.ACKNOWLEDGE: _acknowledge,
    Kind.ASSIGN_CAUSE: _assign_cause,
    Kind.OCAP_STEP: _ocap_step,
    Kind.CLOSE: _close,
    Kind.REOPEN: _reopen,
    Kind.COMMENT: _comment,
    Kind.ESCALATED: _escalated,
}


def _untouchable(life: Life) -> Refused | None:
    """Refuse work on an alert that nobody has, or that is done with."""
    if life.status is Status.OPEN:
        return Refused("state", "nobody has acknowledged it yet: do that first")
    if life.status is Status.CLOSED:
        return Refused("state", "it is closed: reopen it first")
    return None


def _at(life: Life, action: Action) -> int:
    """Return when the action was: never before the last one, however clocks differ."""
    return max(action.at_ms, life.history[-1].at_ms if life.history else 0)


def _with(life: Life, action: Action, *, status: Status, step: int | None = None, **changed: Any) -> Life:
    named = action.cause if action.action is Kind.ASSIGN_CAUSE else None
    entry = Entry(action.action_id, action.action, action.by, _at(life, action), status, action.text, named, step)
    return replace(life, version=life.version + 1, status=status, history=(*life.history, entry), **changed)


# ---- as data


def to_record(life: Life) -> dict[str, Any]:
    """Return the fields of the schema `alert_life`."""
    return {
        **{part.name: getattr(life, part.name) for part in fields(life)},
        "about": life.about._asdict(),
        "status": life.status.name,
        "steps": [step._asdict() | {"kind": step.kind.name} for step in life.steps],
        "history": [
            entry._asdict() | {"action": entry.action.name, "status": entry.status.name} for entry in life.history
        ],
    }


def from_record(record: Mapping[str, Any]) -> Life:
    """Return the life of a record of the schema `alert_life`. Raises ValueError for what this version does not know."""
    try:
        return Life(
            alert_id=record["alert_id"],
            about=About(**record["about"]),
            version=record["version"],
            status=Status[record["status"]],
            assigned=record["assigned"],
            cause=record["cause"],
            steps=tuple(Step(**{**step, "kind": StepKind[step["kind"]]}) for step in record["steps"]),
            escalated_ms=record["escalated_ms"],
            history=tuple(
                Entry(**{**entry, "action": Kind[entry["action"]], "status": Status[entry["status"]]})
                for entry in record["history"]
            ),
        )
    except KeyError as error:
        raise ValueError(f"life of alert {record.get('alert_id')}: {error} is not known to this version") from error


def to_json(life: Life | None, newest: int = HISTORY_MAX) -> dict[str, Any]:
    """Return a life as the API tells it, with the `newest` actions of its history; None: nobody has done anything yet."""
    if life is None:
        return {"version": 0, "status": "open", "assigned": None, "cause": None, "steps": [], "escalated": None,
                "history": [], "history_total": 0}  # fmt: skip
    return {
        "version": life.version,
        "status": life.status.value,
        "assigned": life.assigned,
        "cause": life.cause,
        "steps": [step._asdict() | {"kind": step.kind.value} for step in life.steps],
        "escalated": life.escalated_ms,
        "history": [
            {name: getattr(entry, name) for name in ("action", "by", "at_ms", "text", "cause", "step", "status")}
            for entry in life.history[-newest:]
        ],
        "history_total": len(life.history),
    }
