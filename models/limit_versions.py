"""Changes that people make to how series are judged: limit versions, resets, exclusions. Pure functions over their log.

Theory of operation
-------------------
A `Change` is proposed, then applied (approved) under the same id; who did either, why and from when on stands in it. What it
does to each series it names is a `SeriesChange`. Kinds:

- LIMITS: a new version of a series' limits. A version is whole: what it does not give (None) is not given any more, and is
  learned by the charts or carried by the rows again. So a version means the same whatever stood before it.
- RESET: charts start anew, as after a repair of the tool.
- EXCLUDE: a past measurement has an assignable cause and does not count when limits are computed; INCLUDE takes that back.

All of them act from an input offset on, which the pipeline writes down. What was judged before stays as it was said: the past
is judged again only by a reprocessing run.

Versions are numbered from 1 in the order in which they were applied. A proposal carries the number that it will have; if another
version got that number meanwhile, it was computed from limits that do not hold any more, and is refused.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, NamedTuple

from models.detector import GIVEN

SERIES_PER_CHANGE_MAX = 1_000  # so that one change is one record, far below a broker's default of 1 MiB
TEXT_CHARS_MAX = 2_000  # of a reason or a basis
NAME_CHARS_MAX = 200  # of an author or an id


class Kind(StrEnum):
    """What a change is."""

    LIMITS = "LIMITS"
    RESET = "RESET"
    EXCLUDE = "EXCLUDE"
    INCLUDE = "INCLUDE"


class State(StrEnum):
    """How far a change is."""

    PROPOSED = "PROPOSED"
    APPLIED = "APPLIED"


class ChangeRefused(ValueError):  # noqa: N818 - an answer
    """The change may not be made; the message says why, in one line."""


class OwnChangeRefused(ChangeRefused):
    """Two people are wanted: one who proposes, one who approves."""


class NoSuchChange(ChangeRefused):
    """There is no change of this id."""


class Limits(NamedTuple):
    """One version of a series' limits, in the unit of its values; None: not given."""

    mu: float | None = None
    sigma: float | None = None
    lsl: float | None = None
    usl: float | None = None
    target: float | None = None


class SeriesChange(NamedTuple):
    """What a change does to one series."""

    series: str
    partition: int  # of the input topic, that holds the series
    limits: Limits = Limits()  # of LIMITS
    limits_version: int = 0  # of LIMITS: the number that it gets, counted from 1
    offset: int | None = None  # of EXCLUDE and INCLUDE: of the measurement


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """A change as it stands in the control topic."""

    change_id: str
    kind: Kind
    state: State
    pipeline: str
    topic: str  # input topic that partitions and offsets are of
    author: str
    reason: str
    created_ms: int
    approver: str | None = None
    approved_ms: int | None = None
    effective_from_ms: int | None = None  # event time; None: at once
    basis: str = ""  # what limits were computed from, what was left out and why
    changes: tuple[SeriesChange, ...]


class LimitVersion(NamedTuple):
    """One version of one series' limits, and the change that made it."""

    number: int
    share: SeriesChange
    change: Change


def checked(change: Change) -> Change:
    """Return the change if it may stand in the log. Raises ChangeRefused.

    >>> bad = SeriesChange("E1|A|R|10|CD", 0, Limits(mu=10.0, sigma=-1.0), limits_version=1)
    >>> checked(Change(change_id="c1", kind=Kind.LIMITS, state=State.PROPOSED, pipeline="quality", topic="fab.measurements",
    ...                author="ada", reason="new resist", created_ms=0, changes=(bad,)))
    Traceback (most recent call last):
    models.limit_versions.ChangeRefused: E1|A|R|10|CD: sigma = -1.0 is below 0
    """
    for name in ("change_id", "author", "pipeline", "topic"):
        _text(name, getattr(change, name), NAME_CHARS_MAX)
    _text("reason", change.reason, TEXT_CHARS_MAX)
    if change.state is State.APPLIED:
        _text("approver", change.approver or "", NAME_CHARS_MAX)
    if not 0 < len(change.changes) <= SERIES_PER_CHANGE_MAX:
        raise ChangeRefused(f"{len(change.changes)} series in one change: at least 1, at most {SERIES_PER_CHANGE_MAX}")
    places = [(share.series, share.partition, share.offset) for share in change.changes]
    if len(set(places)) < len(places):
        raise ChangeRefused("a series stands twice in one change")
    for share in change.changes:
        _check_share(change.kind, share)
    return change


def _text(name: str, text: str, most: int) -> None:
    if not text.strip():
        raise ChangeRefused(f"{name} is empty")
    if len(text) > most:
        raise ChangeRefused(f"{name} has {len(text)} characters; at most {most}")


def _check_share(kind: Kind, share: SeriesChange) -> None:
    limits, who = share.limits, share.series
    if not who or share.partition < 0:
        raise ChangeRefused(f"series {who!r} in partition {share.partition}: there is no such place")
    if kind in (Kind.EXCLUDE, Kind.INCLUDE):
        if share.offset is None or share.offset < 0:
            raise ChangeRefused(f"{who}: offset = {share.offset}: which measurement is meant?")
    elif share.offset is not None:
        raise ChangeRefused(f"{who}: a {kind.lower()} change has no offset")
    if kind is not Kind.LIMITS:
        if limits != Limits():
            raise ChangeRefused(f"{who}: a change of kind {kind.lower()} brings no limits")
        return
    if share.limits_version < 1:
        raise ChangeRefused(f"{who}: limits_version = {share.limits_version}: versions count from 1")
    check_limits(limits, who)


def check_limits(limits: Limits, who: str) -> None:
    """Raise ChangeRefused, which names series `who`, for limits that nothing can be judged by."""
    for name, value in limits._asdict().items():
        if value is not None and not math.isfinite(value):
            raise ChangeRefused(f"{who}: {name} = {value} is not a finite number")
    if limits.sigma is not None and limits.sigma < 0:
        raise ChangeRefused(f"{who}: sigma = {limits.sigma} is below 0")
    if limits.lsl is not None and limits.usl is not None and limits.lsl >= limits.usl:
        raise ChangeRefused(f"{who}: lsl = {limits.lsl} is not below usl = {limits.usl}")


_COUNTER = {
    Kind.LIMITS: "limits_version",
    Kind.RESET: "resets",
    Kind.EXCLUDE: "exclusions",
    Kind.INCLUDE: "exclusions",
}


def effect(kind: Kind, share: SeriesChange) -> tuple[str, tuple[float, ...] | None]:
    """Return what a change does to the PARAMS of a series: the counter that it raises, and new values of GIVEN or None.

    >>> effect(Kind.LIMITS, SeriesChange("s", 0, Limits(mu=10.0, sigma=1.0), 1))
    ('limits_version', (10.0, 1.0, nan, nan, nan))
    >>> effect(Kind.EXCLUDE, SeriesChange("s", 0, offset=17))
    ('exclusions', None)
    """
    if kind is not Kind.LIMITS:
        return _COUNTER[kind], None
    given = (getattr(share.limits, name) for name in GIVEN)
    return _COUNTER[kind], tuple(math.nan if value is None else float(value) for value in given)


# ---- the log


def newest(changes: Iterable[Change]) -> dict[str, Change]:
    """Fold records of the control topic, in log order, to change id → change: what is applied stays as it was applied.

    Ids stand in the order of their application, those only proposed last.
    """
    found: dict[str, Change] = {}
    for change in changes:
        before = found.get(change.change_id)
        if before is None or before.state is not State.APPLIED:
            found.pop(change.change_id, None)
            found[change.change_id] = change
    applied = {key: change for key, change in found.items() if change.state is State.APPLIED}
    return applied | found


def versions(changes: Iterable[Change], series: str) -> list[LimitVersion]:
    """Return the applied limit versions of a series, oldest first, from changes in the order of their application."""
    found: list[LimitVersion] = []
    for change in changes:
        if change.state is State.APPLIED and change.kind is Kind.LIMITS:
            shares = [share for share in change.changes if share.series == series]
            if shares:
                found.append(LimitVersion(len(found) + 1, shares[0], change))
    return found


def excluded(changes: Iterable[Change], series: str) -> dict[tuple[int, int], Change]:
    """Return what does not count of a series: (partition, offset) → the change that excluded it."""
    found: dict[tuple[int, int], Change] = {}
    for change in changes:
        if change.state is not State.APPLIED or change.kind not in (Kind.EXCLUDE, Kind.INCLUDE):
            continue
        for share in change.changes:
            if share.series == series and share.offset is not None:
                found.pop((share.partition, share.offset), None)
                if change.kind is Kind.EXCLUDE:
                    found[share.partition, share.offset] = change
    return found


def approved(
    changes: Mapping[str, Change],
    change_id: str,
    approver: str,
    now_ms: int,
    effective_from_ms: int | None,
    *,
    own: bool = True,
) -> Change:
    """Return a proposed change as applied by `approver`. Raises ChangeRefused if there is none, or it may not be applied.

    `changes` are what `newest` gives; unless `own`, somebody else than its author must approve it (OwnChangeRefused).
    """
    change = changes.get(change_id)
    if change is None:
        raise NoSuchChange(f"no change {change_id}: `chipquality limits list` shows what there is")
    if change.state is State.APPLIED:
        raise ChangeRefused(f"change {change_id} is already applied, by {change.approver}")
    if not own and approver == change.author:
        raise OwnChangeRefused(f"change {change_id} is your own: somebody else approves it")
    if change.kind is Kind.LIMITS:
        for share in change.changes:
            held = versions(changes.values(), share.series)
            if len(held) >= share.limits_version:
                since = held[share.limits_version - 1].change
                raise ChangeRefused(
                    f"change {change_id} was proposed as version {share.limits_version} of {share.series}; change "
                    f"{since.change_id} has become that since: propose again"
                )
    return checked(
        dataclasses.replace(
            change, state=State.APPLIED, approver=approver, approved_ms=now_ms, effective_from_ms=effective_from_ms
        )
    )


# ---- on the wire


def share_to_record(share: SeriesChange) -> dict[str, Any]:
    """Return the fields of a SeriesChange as the schemas `control` and `applied_change` have them."""
    fields = share._asdict()
    limits: Limits = fields.pop("limits")
    return fields | limits._asdict()


def share_of(fields: Mapping[str, Any]) -> SeriesChange:
    """Return the SeriesChange that `share_to_record` wrote."""
    limits = Limits(**{name: fields[name] for name in Limits._fields})
    return SeriesChange(fields["series"], fields["partition"], limits, fields["limits_version"], fields["offset"])


def to_record(change: Change) -> dict[str, Any]:
    """Return the fields of the schema `control`."""
    fields = {part.name: getattr(change, part.name) for part in dataclasses.fields(change)}
    return fields | {
        "kind": change.kind.value,
        "state": change.state.value,
        "changes": [share_to_record(share) for share in change.changes],
    }


def from_record(fields: Mapping[str, Any]) -> Change:
    """Return the change of a record of the schema `control`. Raises ChangeRefused if it may not stand in the log."""
    if fields["kind"] not in {*Kind} or fields["state"] not in {*State}:
        raise ChangeRefused(f"change {fields['change_id']} is of a kind or state that this version does not know")
    shares = tuple(share_of(share) for share in fields["changes"])
    return checked(
        Change(**{**fields, "kind": Kind(fields["kind"]), "state": State(fields["state"]), "changes": shares})
    )
