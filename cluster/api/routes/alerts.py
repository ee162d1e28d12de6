"""Alerts, what people do about them, and what there is most of."""

from __future__ import annotations

import hashlib
import time
import uuid
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Header, Query, Request, Response
from fastapi import Path as PathParameter
from pydantic import BaseModel, ConfigDict, Field

from actors.alert_desk import AlertDesk, RefusedError, StaleError, Wanted
from actors.view.inspections import DEFECTS_BY
from cluster.api.access import Caller, denied, needs
from cluster.api.etags import IfMatch, tag_of_version, version_seen
from cluster.api.facts import Facts
from cluster.api.problems import DOCUMENTED, Problem, answers
from cluster.api.quality import Quality, QualityOf
from cluster.api.routes.common import NOT_FOUND, PAGE_SIZE, PAGE_SIZE_MAX, Cursor, Limit, paged
from cluster.api.stream import SERIES_KEY_MAX, FactsOf
from models.alert_life import NAME_CHARS_MAX, STEPS_MAX, TEXT_CHARS_MAX, About, Action, Kind, Life, StepKind, to_json
from schemas.topics import LIFE_DAYS

ALERT_ID_CHARS_MAX = 100
KEY_CHARS_MAX = 200
SEEN_S = 2.0  # how long an answer waits for the view to have read what was just done; then it is told all the same
PARETO_SIZE = 20
WINDOW_S_MAX = LIFE_DAYS * 24 * 3600
FILTER_CHARS_MAX = 300
_STATUS_OF = {"state": 409, "input": 422, "room": 409}  # of a refusal, by its ground; "person" is a denial

router = APIRouter(tags=["quality"], responses=DOCUMENTED)

AlertId = Annotated[str, PathParameter(max_length=ALERT_ID_CHARS_MAX, description="`alert_id` of the alert")]
Name = Annotated[str | None, Query(max_length=FILTER_CHARS_MAX, description="of exactly this name")]
Status = Annotated[
    Literal["open", "acknowledged", "caused", "in_ocap", "closed"] | None,
    Query(description="how far people are with it"),
]
State = Annotated[Literal["OPEN", "CLOSED"] | None, Query(description="whether the signal goes on")]
Severity = Annotated[Literal["WARNING", "CRITICAL"] | None, Query(description="how urgent it is")]
ParetoBy = Literal[
    "rule", "detector", "tool", "characteristic", "lot", "severity", "cause", "status",
    "defect_type", "defect_severity", "inspection_type",
]  # fmt: skip
SeriesKey = Annotated[str | None, Query(max_length=SERIES_KEY_MAX, description="of exactly this series key")]


class ActionAsked(BaseModel):
    """What somebody does about an alert."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={
            "examples": [
                {"action": "acknowledge"},
                {"action": "assign_cause", "cause": "worn focus ring"},
                {"action": "ocap_step", "kind": "terminator", "text": "change the focus ring"},
                {"action": "ocap_step", "step": 1, "text": "changed, S/N 4711"},
                {"action": "close", "text": "wafers 4 to 7 measured again: good"},
            ]
        },
    )

    action: Literal["acknowledge", "assign_cause", "ocap_step", "close", "reopen", "comment"]
    text: str = Field("", max_length=TEXT_CHARS_MAX, description="in your words; for a planned step: what came of it")
    cause: str = Field("", max_length=TEXT_CHARS_MAX, description="of assign_cause: the assignable cause")
    step: int | None = Field(
        None, ge=1, le=STEPS_MAX, description="of ocap_step: the planned step that is done, from 1; none: plan another"
    )
    kind: Literal["checkpoint", "terminator"] = Field(
        "checkpoint", description="of a new step: it looks for the cause, or takes it away"
    )
    done: bool = Field(False, description="of a new step: it is done already")


@router.get("/alerts", dependencies=[needs("alerts", "read")], summary="The newest alerts, and what is done about them")
async def alerts(
    facts: FactsOf,
    limit: Limit = PAGE_SIZE,
    cursor: Cursor = None,
    state: State = None,
    series: SeriesKey = None,
    status: Status = None,
    severity: Severity = None,
    detector: Name = None,
    tool: Name = None,
) -> dict[str, Any]:
    """List alerts, newest raised first. `next` is the cursor of the next page; none = this is the last.

    `state` is the signal's: the pipeline closes it after enough clean rows. `life` is what people do; the two are told side by
    side. Of a history a list has the newest actions, GET /alerts/{alert_id} all.
    """
    chosen = {
        "state": state, "series": series, "status": status, "severity": severity, "detector": detector, "tool": tool,
    }  # fmt: skip
    return await paged(facts.view("alerts", limit, chosen, cursor))


@router.get(
    "/alerts/{alert_id}",
    dependencies=[needs("alerts", "read", "alert_id")],
    responses=NOT_FOUND,
    summary="One alert with its whole life",
)
async def alert(facts: FactsOf, quality: QualityOf, response: Response, alert_id: AlertId) -> dict[str, Any]:
    """Return an alert. Its `ETag` is the version of its life: send it as `If-Match` with what you do about it."""
    found: dict[str, Any] | None = await facts.view("alert", alert_id)
    if found is None:  # forgotten by the view; what people did about it stays
        found = _of_life(await _life(quality, alert_id))
    response.headers["ETag"] = tag_of_version(found["life"]["version"])
    return found


@router.post(
    "/alerts/{alert_id}/actions",
    responses=answers(404, 409, 412, 428),
    summary="Do something about an alert",
)
async def act(
    request: Request,
    response: Response,
    facts: FactsOf,
    quality: QualityOf,
    caller: Annotated[Caller, needs("alerts", "write", "alert_id")],
    alert_id: AlertId,
    asked: ActionAsked,
    if_match: IfMatch = None,
    idempotency_key: Annotated[
        str | None, Header(max_length=KEY_CHARS_MAX, description="the same key again is the same action, taken once")
    ] = None,
) -> dict[str, Any]:
    """Acknowledge, name the assignable cause, work through the OCAP, close, reopen, comment; see docs/alerts.md.

    `If-Match` says which version you have seen (a comment needs none): if somebody was quicker you get 412 and nothing is
    changed. The answer is the alert as it is then. 409: not in this state; 403: somebody else has it.
    """
    expected = None if asked.action == "comment" and if_match is None else version_seen(if_match, what="alert")
    about = await _about(facts, quality, alert_id)
    wanted = Wanted(alert_id, about, _action(caller, alert_id, asked, idempotency_key), expected)

    def do(desk: AlertDesk) -> tuple[Life | None, Life]:
        return desk.act(wanted)

    try:
        before, after = await quality.alerts.ask(do)
    except StaleError as error:
        found = 0 if error.life is None else error.life.version
        raise Problem(412, str(error), version=found, life=to_json(error.life)) from error
    except RefusedError as error:
        ground, reason = error.refused.ground, error.refused.reason
        if ground == "person":
            raise denied(
                caller, f"alerts.{asked.action}", alert_id, "somebody else has it", reason, ground=ground
            ) from error
        raise Problem(_STATUS_OF[ground], reason, ground=ground) from error
    if before != after:
        told = (to_json(before, 1), to_json(after, 1))
        await request.app.state.audit.changed(caller, f"alerts.{asked.action}", f"alert {alert_id}", *told)
    response.headers["ETag"] = tag_of_version(after.version)
    seen: dict[str, Any] | None = await facts.view("alert", alert_id, after.version, SEEN_S)
    if seen is None:
        return _of_life(after)
    return seen if seen["life"]["version"] >= after.version else seen | {"life": to_json(after)}


@router.get("/pareto", dependencies=[needs("alerts", "read")], summary="What there is most of: signals, or defects")
async def pareto(
    facts: FactsOf,
    by: Annotated[ParetoBy, Query(description="what is counted apart")],
    window_s: Annotated[
        int | None, Query(ge=1, le=WINDOW_S_MAX, description="raised within this time; not said: all that are held")
    ] = None,
    limit: Annotated[int, Query(ge=1, le=PAGE_SIZE_MAX, description="rows of the table")] = PARETO_SIZE,
    state: State = None,
    series: SeriesKey = None,
    status: Status = None,
    severity: Severity = None,
    detector: Name = None,
    tool: Name = None,
) -> dict[str, Any]:
    """Return counts of alerts (or, by defect_type, defect_severity and inspection_type, of defects), largest first.

    `share` is of the total, `cumulative` the share up to and with that row, `other` what is in none of the rows.
    """
    since_ms = 0 if window_s is None else time.time_ns() // 1_000_000 - 1000 * window_s
    chosen = {
        "state": state, "series": series, "status": status, "severity": severity, "detector": detector, "tool": tool,
    }  # fmt: skip
    if by in DEFECTS_BY and any(value is not None for value in chosen.values()):
        raise Problem(422, f"by={by} counts defects of inspections: state, series and the like are of alerts")
    found: dict[str, Any] = await facts.view("pareto", by, since_ms, limit, chosen)
    return {"by": by, "counts": "defects" if by in DEFECTS_BY else "alerts", "window_s": window_s, **found}


def _action(caller: Caller, alert_id: str, asked: ActionAsked, key: str | None) -> Action:
    """Return what the caller does; with a key of theirs, an action that is the same one when it is sent again."""
    ident = uuid.uuid4().hex
    if key is not None:
        ident = hashlib.blake2b(f"{caller.name}\n{alert_id}\n{key}".encode(), digest_size=16).hexdigest()
    return Action(
        Kind(asked.action),
        caller.name[:NAME_CHARS_MAX],
        time.time_ns() // 1_000_000,
        ident,
        caller.role == "admin",
        asked.text,
        asked.cause,
        asked.step,
        StepKind(asked.kind),
        asked.done,
    )


async def _about(facts: Facts, quality: Quality, alert_id: str) -> About:
    """Return what an alert is, as its life keeps it. Raises Problem 404 if nobody knows of it."""
    found: dict[str, Any] | None = await facts.view("alert", alert_id)
    if found is not None:
        return About(**{name: found[name] for name in About._fields})
    return (await _life(quality, alert_id)).about


async def _life(quality: Quality, alert_id: str) -> Life:
    """Return the life of an alert that the view has forgotten. Raises Problem 404 if it has none."""
    life = await quality.alerts.ask(lambda desk: desk.life(alert_id))
    if life is None:
        raise Problem(404, f"no alert {alert_id[:200]!r} is held; GET /alerts lists those that are")
    return life


def _of_life(life: Life) -> dict[str, Any]:
    """Return an alert that only its life tells of."""
    return {"alert_id": life.alert_id, **life.about._asdict(), "state": None, "life": to_json(life)}
