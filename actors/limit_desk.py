"""What people do to limits: propose, approve, reset, exclude and take back. The commands and the API do it here, and only here.

Everything is decided on the changes that the control topic has at that moment (models/limit_versions.py, and
models/limit_proposal.py), and refused with ChangeRefused, which says why in one line.
"""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from actors.control_desk import READ_TIMEOUT_S, ControlDesk, Made
from actors.kafka.history import Bound, History
from models.capability_report import Specification
from models.limit_proposal import Proposal, propose
from models.limit_versions import (
    Change,
    ChangeRefused,
    Kind,
    Limits,
    SeriesChange,
    State,
    approved,
    excluded,
    versions,
)

ROWS = 100  # of history, unless told otherwise
ROWS_MAX = 100_000
_ESTIMATORS = {"mr": "moving_range", "r": "range"}  # short for


class Span(NamedTuple):
    """Which rows of a series: the last `rows` up to `until`, or all from `since` on."""

    series: str
    partition: int | None = None  # None: the only one that has it
    rows: int | None = None  # None: ROWS, unless `since` is given
    since: Bound | None = None
    until: Bound | None = None


class Study(NamedTuple):
    """How limits are found: those `given` (None takes one back), and mu and sigma by a Phase I study of the history."""

    given: dict[str, float | None]
    wanted: bool | None = None  # None: if nothing is given, or something is said of the history
    estimator: str | None = None
    rules: Sequence[int] = (1,)
    exclude: Sequence[int] = ()


class LimitDesk:
    """The changes of one pipeline, as people make them."""

    def __init__(self, control: ControlDesk) -> None:
        self.control = control

    def close(self) -> None:
        """Leave."""
        self.control.close()

    def rows(self, span: Span) -> History:
        """Return the rows. Raises ChangeRefused."""
        if span.rows is not None and span.since is not None:
            raise ChangeRefused("--rows and --from exclude each other")
        return self.control.history.rows(
            span.series, partition=span.partition, rows=span.rows or ROWS, since=span.since, until=span.until
        )

    def propose(
        self, span: Span, study: Study, author: str, reason: str, now_ms: int, change_id: str = ""
    ) -> tuple[Change, Proposal]:
        """Propose the next version of a series' limits, and publish it. Nothing takes effect before somebody approves it.

        `change_id`: the id that it gets; a new one unless given. So in what follows.
        """
        history = self.rows(span)
        said = bool(span.rows or span.since or span.until or study.exclude or study.estimator)
        proposal = propose(
            span.series, history.partition, history.offset, history.value, self.control.changes().values(),
            given=study.given, study=(not study.given or said) if study.wanted is None else study.wanted,
            estimator=_ESTIMATORS.get(study.estimator or "", study.estimator), subgroup=history.subgroup,
            rules=study.rules, exclude=study.exclude,
        )  # fmt: skip
        change = self._new(Kind.LIMITS, author, reason, proposal.share, now_ms, change_id, proposal.basis())
        self.control.publish(change)
        return change, proposal

    def approve(
        self, change_id: str, approver: str, now_ms: int, effective_from_ms: int | None, *, own: bool, wait_s: float
    ) -> tuple[Change, dict[int, Made | None]]:
        """Approve a proposed change, publish it, and wait until its partitions have made it; None for those that have not.

        `own`: the approver may be its author.
        """
        change = approved(self.control.changes(), change_id, approver, now_ms, effective_from_ms, own=own)
        return change, self.control.apply(change, wait_s)

    def reset(
        self,
        series: str,
        partition: int | None,
        author: str,
        reason: str,
        now_ms: int,
        wait_s: float,
        change_id: str = "",
    ) -> tuple[Change, dict[int, Made | None]]:
        """Have a series' charts start anew; its limits stay."""
        found = self.control.history.rows(series, partition=partition, rows=1)
        share = SeriesChange(series, found.partition)
        return self._at_once(Kind.RESET, author, reason, share, now_ms, wait_s, change_id)

    def count(
        self,
        kind: Kind,
        series: str,
        offset: int,
        partition: int | None,
        author: str,
        reason: str,
        now_ms: int,
        wait_s: float,
        change_id: str = "",
    ) -> tuple[Change, dict[int, Made | None]]:
        """Exclude a past measurement, or include it again."""
        found = self.control.history.at(series, offset, partition)
        out = excluded(self.control.changes().values(), series).get((found.partition, offset))
        if kind is Kind.EXCLUDE and out is not None:
            raise ChangeRefused(f"offset {offset} of {series} is already excluded, by {out.author}: {out.reason}")
        if kind is Kind.INCLUDE and out is None:
            raise ChangeRefused(f"offset {offset} of {series} is not excluded")
        share = SeriesChange(series, found.partition, offset=offset)
        return self._at_once(kind, author, reason, share, now_ms, wait_s, change_id)

    def changes(self, series: str | None = None) -> list[Change]:
        """Return all changes, or those of a series, in the order of their application."""
        return [
            change
            for change in self.control.changes().values()
            if series is None or series in {share.series for share in change.changes}
        ]

    def made(self, budget_s: float = READ_TIMEOUT_S) -> dict[str, list[Made]]:
        """Return where each change took effect, by its id; see ControlDesk.made."""
        found: dict[str, list[Made]] = {}
        for entry in self.control.made(budget_s):
            found.setdefault(entry.applied.change.change_id, []).append(entry)
        return found

    def _new(
        self, kind: Kind, author: str, reason: str, share: SeriesChange, now_ms: int, change_id: str, basis: str = ""
    ) -> Change:
        return Change(
            change_id=change_id or uuid.uuid4().hex[:12],
            kind=kind,
            state=State.PROPOSED,
            pipeline=self.control.places.pipeline,
            topic=self.control.places.input,
            author=author,
            reason=reason,
            created_ms=now_ms,
            basis=basis,
            changes=(share,),
        )

    def _at_once(
        self, kind: Kind, author: str, reason: str, share: SeriesChange, now_ms: int, wait_s: float, change_id: str
    ) -> tuple[Change, dict[int, Made | None]]:
        new = self._new(kind, author, reason, share, now_ms, change_id)
        change = approved({new.change_id: new}, new.change_id, author, now_ms, None)
        return change, self.control.apply(change, wait_s)


def counted(found: History, changes: Sequence[Change]) -> tuple[np.ndarray, int]:
    """Return the values of a history, NaN where a measurement does not count, and how many these are."""
    out = [offset for partition, offset in excluded(changes, found.series) if partition == found.partition]
    gone = np.isin(found.offset, out)
    return np.where(gone, np.nan, found.value), int((gone & ~np.isnan(found.value)).sum())


def specification_of(
    found: History, changes: Sequence[Change], given: Specification
) -> tuple[Specification, int | None]:
    """Return the specification limits of a series, and the number of its version that holds; None: none was approved.

    Each by itself: as given, else as approved, else the newest that a row of the history carries.
    """
    held = versions(changes, found.series)
    approved_limits = held[-1].share.limits if held else Limits()

    def one(name: str) -> float | None:
        said = getattr(given, name)
        number = getattr(approved_limits, name) if said is None else said
        if number is not None:
            return float(number)
        carried: np.ndarray = getattr(found, name)
        there = carried[np.isfinite(carried)]
        return float(there[-1]) if len(there) else None

    return Specification(one("lsl"), one("usl"), one("target")), held[-1].number if held else None


def facts_of(change: Change, made: Sequence[Made]) -> dict[str, Any]:
    """Return a change as JSON has it, with where it took effect."""
    return {
        "change_id": change.change_id,
        "kind": change.kind.value,
        "state": change.state.value,
        "author": change.author,
        "reason": change.reason,
        "created_ms": change.created_ms,
        "approver": change.approver,
        "approved_ms": change.approved_ms,
        "effective_from_ms": change.effective_from_ms,
        "basis": change.basis,
        "changes": [
            {"series": share.series, "partition": share.partition, "offset": share.offset}
            | ({"version": share.limits_version} | share.limits._asdict() if change.kind is Kind.LIMITS else {})
            for share in change.changes
        ],
        "made": [{"partition": entry.partition, "at_offset": entry.applied.at_offset} for entry in made],
    }


def before_and_after(change: Change) -> tuple[dict[str, Any] | None, dict[str, Any]]:
    """Return a change that was approved as it was before (None: it was not there) and as it is now."""
    facts = facts_of(change, [])
    return (facts | {"state": State.PROPOSED.value, "approver": None} if change.kind is Kind.LIMITS else None), facts


def facts_of_proposal(change: Change, proposal: Proposal) -> dict[str, Any]:
    """Return a proposal as JSON has it: the change, what holds now beside what would hold, and what was left out."""
    old = proposal.old.share.limits if proposal.old else None
    return facts_of(change, []) | {
        "old": dict.fromkeys(proposal.share.limits._fields) if old is None else old._asdict(),
        "new": proposal.share.limits._asdict(),
        "rows": proposal.rows,
        "missing": proposal.missing,
        "first_offset": proposal.span[0],
        "last_offset": proposal.span[1],
        "removed": [point._asdict() for point in proposal.removed],
        "complete": proposal.study is None or proposal.study.complete,
    }
