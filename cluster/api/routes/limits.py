"""Limits and their versions, exclusions, resets: what `chipquality limits` does, with two people where two are wanted.

A change is published to the control topic; each partition of the pipeline makes it at an input offset and says where. So what
changes something answers 202: `made` has the partitions that have made it within MADE_WAIT_S, GET /limits/{change_id} those that
come later.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Annotated, Any, Literal, NamedTuple, TypeVar

from fastapi import APIRouter, Query, Request, Response
from fastapi import Path as PathParameter
from pydantic import BaseModel, ConfigDict, Field

from actors import cursors
from actors.control_desk import Made
from actors.kafka.history import Bound
from actors.limit_desk import ROWS_MAX, LimitDesk, Span, Study, before_and_after, facts_of, facts_of_proposal
from cluster.api.access import Caller, denied, needs
from cluster.api.carrying_out import IdempotencyKey
from cluster.api.desks import ANSWER_S, Desk
from cluster.api.etags import IfMatch, IfNoneMatch, is_held, tag_of_content, tags_in
from cluster.api.once import ident_of, known
from cluster.api.problems import DOCUMENTED, Problem, answers
from cluster.api.quality import QualityOf
from cluster.api.routes.common import NOT_FOUND, PAGE_SIZE, Cursor, Limit
from cluster.api.stream import SERIES_KEY_MAX
from models.limit_proposal import Proposal
from models.limit_versions import (
    NAME_CHARS_MAX,
    TEXT_CHARS_MAX,
    Change,
    ChangeRefused,
    Kind,
    NoSuchChange,
    OwnChangeRefused,
    State,
    excluded,
)

MADE_WAIT_S = 1.0  # how long the answer to a change waits for the partitions to make it
MADE_READ_S = 5.0  # how long a question reads on in what the partitions say they have made
HISTORY_S = 60.0  # for reading history
EXCLUDE_MAX = 1_000  # offsets that one study leaves out
OFFSET_MAX = 2**63 - 1
PARTITION_MAX = 2**31 - 1

T = TypeVar("T")

router = APIRouter(tags=["quality"], responses=DOCUMENTED)

SeriesPath = Annotated[str, PathParameter(max_length=SERIES_KEY_MAX, description="the series' key, percent-encoded")]
ChangeId = Annotated[str, PathParameter(max_length=NAME_CHARS_MAX, description="`change_id` of the change")]
Number = Annotated[float, Field(allow_inf_nan=False)]
Text = Annotated[str, Field(min_length=1, max_length=TEXT_CHARS_MAX)]
Series = Annotated[str, Field(min_length=1, max_length=SERIES_KEY_MAX, description="series key")]
Partition = Annotated[
    int | None, Field(ge=0, le=PARTITION_MAX, description="input partition, if the series stands in several")
]
Place = Annotated[
    Annotated[int, Field(ge=0, le=OFFSET_MAX)] | Annotated[str, Field(max_length=40)],
    Field(description="an input offset, or an event time (ISO 8601)"),
]


class _Body(BaseModel):
    model_config = ConfigDict(extra="forbid", populate_by_name=True)


class Given(_Body):
    """Limits that are said by hand; null takes one back, what is not named stays."""

    mu: Number | None = None
    sigma: Number | None = None
    lsl: Number | None = None
    usl: Number | None = None
    target: Number | None = None


class ProposalAsked(_Body):
    """New limits for a series: by a Phase I study of its history, by hand, or both."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {"series": "ETCH-07|B|P1|4200|CD", "reason": "after the new resist", "rows": 200},
                {"series": "ETCH-07|B|P1|4200|CD", "reason": "tighter specification", "given": {"usl": 55.0}},
            ]
        }
    )

    series: Series
    reason: Text
    partition: Partition = None
    rows: int | None = Field(None, ge=2, le=ROWS_MAX, description="newest rows to look at; 100 unless `from` is given")
    since: Place | None = Field(None, alias="from")
    until: Place | None = Field(None, alias="to")
    given: Given = Given()
    study: bool | None = Field(None, description="compute mu and sigma; not said: unless a limit is given")
    estimator: str | None = Field(None, max_length=40, description="of sigma; see models/estimators.py")
    rules: list[Annotated[int, Field(ge=1, le=8)]] = Field(
        [1], max_length=8, description="Nelson rules by which the study takes points out"
    )
    exclude: list[Annotated[int, Field(ge=0, le=OFFSET_MAX)]] = Field(
        [], max_length=EXCLUDE_MAX, description="offsets to leave out of this study"
    )


class ApprovalAsked(_Body):
    """From when on the change holds."""

    model_config = ConfigDict(json_schema_extra={"examples": [{}, {"effective_from": "2026-06-01T06:00:00Z"}]})

    effective_from: str | None = Field(
        None, max_length=40, description="an event time (ISO 8601); at once unless given"
    )
    series: Series | None = Field(
        None, description="whose change it is; whoever may change the limits of some series only says it"
    )


class ExclusionAsked(_Body):
    """A past measurement with an assignable cause: it does not count when limits are computed."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [{"series": "ETCH-07|B|P1|4200|CD", "offset": 4711, "comment": "the probe touched the wafer"}]
        }
    )

    series: Series
    partition: Partition = None
    offset: int = Field(ge=0, le=OFFSET_MAX, description="its input offset")
    comment: Text


class ResetAsked(_Body):
    """Why a series' charts start anew."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"reason": "new focus ring"}]})

    reason: Text
    partition: Partition = None


# ---- looking


@router.get(
    "/limits",
    dependencies=[needs("limits", "read", "query.series")],
    responses={304: {"description": "Not Modified: you have it already"}},
    summary="Changes: versions of limits, exclusions, resets",
)
async def limits(
    quality: QualityOf,
    response: Response,
    limit: Limit = PAGE_SIZE,
    cursor: Cursor = None,
    series: Annotated[str | None, Query(max_length=SERIES_KEY_MAX, description="of exactly this series key")] = None,
    kind: Annotated[
        Literal["LIMITS", "RESET", "EXCLUDE", "INCLUDE"] | None, Query(description="what is changed")
    ] = None,
    state: Annotated[
        Literal["PROPOSED", "APPLIED"] | None, Query(description="whether somebody has approved it")
    ] = None,
    if_none_match: IfNoneMatch = None,
) -> Any:
    """List changes, newest first: who, why, from when on, and at which offset each partition made them.

    `made_known` false: what the partitions have made is still being read; ask again.
    """
    edge = _edge(cursor)
    changes, made, known = await quality.limits.ask(_look(series))
    items = sorted(
        (
            (_sorting(change, number), _item(change, number, made.get(change.change_id, [])))
            for change in changes
            if kind in (None, change.kind.value) and state in (None, change.state.value)
            for number, share in enumerate(change.changes)
            if series in (None, share.series)
        ),
        key=lambda one: one[0],
        reverse=True,
    )
    items = [one for one in items if edge is None or one[0] < edge]
    more = cursors.encode(items[limit - 1][0]) if len(items) > limit else None
    page = {"items": [item for _, item in items[:limit]], "next": more, "made_known": known}
    tag = tag_of_content(page)
    response.headers["ETag"] = tag
    return Response(status_code=304, headers={"ETag": tag}) if is_held(if_none_match, tag) else page


@router.get(
    "/limits/{change_id}",
    dependencies=[needs("limits", "read")],
    responses=NOT_FOUND,
    summary="One change, and where it was made",
)
async def change(quality: QualityOf, response: Response, change_id: ChangeId) -> dict[str, Any]:
    """Return a change. `made` has the partitions that have made it, `not_made` those that have not yet."""
    changes, made, known = await quality.limits.ask(_look(None))
    found = next((change for change in changes if change.change_id == change_id), None)
    if found is None:
        raise Problem(404, f"no change {change_id[:200]!r}; GET /limits lists what there is")
    said = _told(found, made.get(change_id, []), made_known=known)
    response.headers["ETag"] = _tag(found)
    return said


@router.get(
    "/exclusions", dependencies=[needs("limits", "read", "query.series")], summary="Measurements that do not count"
)
async def exclusions(
    quality: QualityOf,
    series: Annotated[str, Query(max_length=SERIES_KEY_MAX, description="series key")],
    limit: Limit = PAGE_SIZE,
    cursor: Cursor = None,
) -> dict[str, Any]:
    """List what is excluded of a series now, newest first, with who said so and why."""
    edge = _edge(cursor)
    changes = await quality.limits.ask(lambda desk: desk.changes(series))
    found = [
        ((change.approved_ms or 0, f"{partition}:{offset}"), change, partition, offset)
        for (partition, offset), change in excluded(changes, series).items()
    ]
    found = sorted((one for one in found if edge is None or one[0] < edge), key=lambda one: one[0], reverse=True)
    items = [
        {
            "series": series,
            "partition": partition,
            "offset": offset,
            "comment": change.reason,
            "by": change.author,
            "at_ms": change.approved_ms,
            "change_id": change.change_id,
        }
        for _, change, partition, offset in found[:limit]
    ]
    return {"items": items, "next": cursors.encode(found[limit - 1][0]) if len(found) > limit else None}


# ---- changing


@router.post("/limits/proposals", status_code=201, summary="Propose the next version of a series' limits")
async def propose(
    request: Request,
    response: Response,
    quality: QualityOf,
    caller: Annotated[Caller, needs("limits", "write", "body.series")],
    asked: ProposalAsked,
    idempotency_key: IdempotencyKey = "",
) -> dict[str, Any]:
    """Compute limits from history (a Phase I study), or take them as given; nothing takes effect before somebody approves it.

    The answer has what holds now (`old`), what would hold (`new`), and which points were left out and why (`removed`).
    """
    if asked.rows is not None and asked.since is not None:
        raise Problem(422, "rows and from exclude each other")
    span = Span(asked.series, asked.partition, asked.rows, bound_of("from", asked.since), bound_of("to", asked.until))
    study = Study(asked.given.model_dump(exclude_unset=True), asked.study, asked.estimator, asked.rules, asked.exclude)
    ident = ident_of(caller.name, idempotency_key, ["limits.propose", asked.model_dump(mode="json")])

    def do(desk: LimitDesk) -> tuple[Change, Proposal | None]:
        before = known(desk, ident)
        if before is not None:
            return before, None
        return desk.propose(span, study, caller.name, asked.reason, _now_ms(), ident)

    made, proposal = await _refusing(quality.history, do, 422, HISTORY_S)
    if proposal is None:
        said = facts_of(made, []) | {"new": made.changes[0].limits._asdict(), "repeated": True}
    else:
        said = facts_of_proposal(made, proposal) | {"repeated": False}
        after = {"change_id": made.change_id} | said["new"]
        await request.app.state.audit.changed(caller, "limits.propose", f"series {asked.series}", said["old"], after)
    response.headers["Location"] = f"/limits/{made.change_id}"
    response.headers["ETag"] = _tag(made)
    return said


@router.post(
    "/limits/{change_id}/approve",
    status_code=202,
    responses=answers(404, 409, 412),
    summary="Have a proposed change take effect",
)
async def approve(
    request: Request,
    response: Response,
    quality: QualityOf,
    caller: Annotated[Caller, needs("limits", "write", "body.series")],
    change_id: ChangeId,
    asked: ApprovalAsked,
    if_match: IfMatch = None,
) -> dict[str, Any]:
    """Approve a change: somebody else than its author does, an admin excepted. It holds at once, or from an event time on.

    Refused (409) if another version was approved since it was proposed, or it was approved before.
    """
    from_ms = None if asked.effective_from is None else _time_ms("effective_from", asked.effective_from)

    def do(desk: LimitDesk) -> _Done:
        before = next((one for one in desk.changes() if one.change_id == change_id), None)
        if before is not None and asked.series is not None and {s.series for s in before.changes} != {asked.series}:
            raise Problem(404, "no such change of this series; GET /limits?series= lists what there is")
        seen = None if if_match is None or if_match.strip() == "*" else tags_in(if_match)
        if before is not None and seen is not None and _tag(before).strip('"') not in seen:
            raise Problem(412, f"change {change_id[:200]} is not what you have seen: look at it again")
        own = caller.role == "admin"
        try:
            return _Done(*desk.approve(change_id, caller.name, _now_ms(), from_ms, own=own, wait_s=MADE_WAIT_S))
        except OwnChangeRefused as error:
            raise denied(caller, "limits.approve", change_id, "it is his own proposal", str(error)) from error

    return await _changed(request, response, caller, "limits.approve", await _refusing(quality.limits, do, 409))


@router.post("/exclusions", status_code=202, responses=answers(409), summary="Exclude a measurement")
async def exclude(
    request: Request,
    response: Response,
    quality: QualityOf,
    caller: Annotated[Caller, needs("limits", "write", "body.series")],
    asked: ExclusionAsked,
    idempotency_key: IdempotencyKey = "",
) -> dict[str, Any]:
    """Have a past measurement not count when limits are computed. What was judged stays as it was said."""
    place = asked.series, asked.offset, asked.partition
    done = await _count(quality, caller, Kind.EXCLUDE, *place, asked.comment, idempotency_key)
    return await _changed(request, response, caller, "exclusions.add", done)


@router.delete(
    "/exclusions/{series:path}/{partition}/{offset}",
    status_code=202,
    responses=answers(409),
    summary="Take an exclusion back",
)
async def include(
    request: Request,
    response: Response,
    quality: QualityOf,
    caller: Annotated[Caller, needs("limits", "write", "series")],
    series: SeriesPath,
    partition: Annotated[int, PathParameter(ge=0, le=PARTITION_MAX, description="input partition")],
    offset: Annotated[int, PathParameter(ge=0, le=OFFSET_MAX, description="its input offset")],
    comment: Annotated[str, Query(min_length=1, max_length=TEXT_CHARS_MAX, description="why it counts again")],
    idempotency_key: IdempotencyKey = "",
) -> dict[str, Any]:
    """Have a measurement count again."""
    done = await _count(quality, caller, Kind.INCLUDE, series, offset, partition, comment, idempotency_key)
    return await _changed(request, response, caller, "exclusions.remove", done)


@router.post("/series/{series:path}/reset", status_code=202, summary="Start a series' charts anew")
async def reset(
    request: Request,
    response: Response,
    quality: QualityOf,
    caller: Annotated[Caller, needs("limits", "write", "series")],
    series: SeriesPath,
    asked: ResetAsked,
    idempotency_key: IdempotencyKey = "",
) -> dict[str, Any]:
    """Have a series' charts start their windows and sums anew, as after a repair; its limits stay."""
    ident = ident_of(caller.name, idempotency_key, ["series.reset", series, asked.model_dump()])

    def do(desk: LimitDesk) -> _Done:
        return _before(desk, ident) or _Done(
            *desk.reset(series, asked.partition, caller.name, asked.reason, _now_ms(), MADE_WAIT_S, ident)
        )

    return await _changed(
        request, response, caller, "series.reset", await _refusing(quality.limits, do, 422, HISTORY_S)
    )


# ---- what they share


class _Done(NamedTuple):
    """A change that was published, and where it was made so far; `repeated`: it was published before, by the same key."""

    change: Change
    made: Mapping[int, Made | None]
    repeated: bool = False
    made_known: bool = True


def _before(desk: LimitDesk, ident: str) -> _Done | None:
    """Return what the same request with the same key has done; None: nothing yet."""
    change = known(desk, ident)
    if change is None:
        return None
    made = {entry.partition: entry for entry in desk.made(MADE_READ_S).get(ident, [])}
    return _Done(change, made, repeated=True, made_known=desk.control.made_known)


async def _count(
    quality: QualityOf, caller: Caller, kind: Kind, series: str, offset: int, partition: int | None, comment: str, key: str
) -> _Done:  # fmt: skip
    ident = ident_of(caller.name, key, [kind.value, series, offset, partition, comment])

    def do(desk: LimitDesk) -> _Done:
        return _before(desk, ident) or _Done(
            *desk.count(kind, series, offset, partition, caller.name, comment, _now_ms(), MADE_WAIT_S, ident)
        )

    return await _refusing(quality.limits, do, 409, HISTORY_S)


async def _refusing(desk: Desk[LimitDesk], do: Callable[[LimitDesk], T], status: int, timeout_s: float = ANSWER_S) -> T:
    """Ask a desk; what it refuses is a problem of this status, unless it says what else it is."""
    try:
        return await desk.ask(do, timeout_s)
    except NoSuchChange as error:
        raise Problem(404, "no such change; GET /limits lists what there is") from error
    except ChangeRefused as error:
        raise Problem(status, str(error).replace("--", "")) from error  # options of the command have dashes


async def _changed(request: Request, response: Response, caller: Caller, action: str, done: _Done) -> dict[str, Any]:
    """Record a change that was published, and tell where it was made so far."""
    change = done.change
    if not done.repeated:
        resource = f"series {change.changes[0].series}"
        await request.app.state.audit.changed(caller, action, resource, *before_and_after(change))
    response.headers["Location"] = f"/limits/{change.change_id}"
    made = [entry for entry in done.made.values() if entry is not None]
    return _told(change, made, made_known=done.made_known) | {"repeated": done.repeated}


def _told(change: Change, made: Sequence[Made], *, made_known: bool) -> dict[str, Any]:
    there = {entry.partition for entry in made}
    waiting = (
        [] if change.state is State.PROPOSED else [s.partition for s in change.changes if s.partition not in there]
    )
    return {
        **facts_of(change, []),
        "made": _made(made),
        "not_made": sorted(set(waiting)),
        "made_known": made_known,
    }


def _made(made: Sequence[Made]) -> list[dict[str, int]]:
    return [{"partition": entry.partition, "offset": entry.applied.at_offset} for entry in made]


def _look(series: str | None) -> Callable[[LimitDesk], tuple[list[Change], Mapping[str, list[Made]], bool]]:
    def look(desk: LimitDesk) -> tuple[list[Change], Mapping[str, list[Made]], bool]:
        changes = desk.changes(series)
        return changes, desk.made(MADE_READ_S), desk.control.made_known

    return look


def _sorting(change: Change, number: int) -> tuple[int, str]:
    return (change.approved_ms or change.created_ms, f"{change.change_id}/{number:06d}")


def _item(change: Change, number: int, made: Sequence[Made]) -> dict[str, Any]:
    """Return one series' share of a change."""
    share = change.changes[number]
    return {
        "change_id": change.change_id,
        "kind": change.kind.value,
        "state": change.state.value,
        "series": share.series,
        "partition": share.partition,
        "offset": share.offset,
        "limits_version": share.limits_version or None,
        **share.limits._asdict(),
        "author": change.author,
        "approver": change.approver,
        "reason": change.reason,
        "basis": change.basis,
        "created_ms": change.created_ms,
        "approved_ms": change.approved_ms,
        "effective_from_ms": change.effective_from_ms,
        "made": _made([entry for entry in made if entry.partition == share.partition]),
    }


def _tag(change: Change) -> str:
    return tag_of_content([change.change_id, change.state.value, change.approved_ms])


def _edge(cursor: str | None) -> tuple[Any, ...] | None:
    try:
        return cursors.decode(cursor, cursors.number_and_text) if cursor else None
    except ValueError as error:
        raise Problem(422, f"cursor: {error}") from error


def bound_of(name: str, place: int | str | None) -> Bound | None:
    """Return where history begins or ends. Raises Problem 422, naming the parameter, for a time that is none."""
    if place is None:
        return None
    if isinstance(place, int):
        return Bound(offset=place)
    return Bound(time_ms=_time_ms(name, place))


def _time_ms(name: str, text: str) -> int:
    try:
        when = datetime.fromisoformat(text)
        ms = round((when if when.tzinfo else when.replace(tzinfo=UTC)).timestamp() * 1000)
    except (ValueError, OverflowError) as error:
        raise Problem(422, f"{name}: no time as ISO 8601 has it, e.g. 2026-05-04T12:00:00Z") from error
    return ms


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
