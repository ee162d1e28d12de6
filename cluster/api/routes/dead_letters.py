"""Dead letters: what could not be processed and why, to browse, to look at, and to send on its way again."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Annotated, Any, Self, TypeVar

from fastapi import APIRouter, Depends, Query, Request
from fastapi import Path as PathParameter
from fastapi.responses import JSONResponse
from pydantic import BaseModel, ConfigDict, Field, model_validator

from actors import letter_desk
from actors.letter_desk import LetterDesk, RefusedError, since_ms
from actors.sinks.redrive import ADVICE, Filter, Letter, Redrives
from cluster.api.access import Caller, needs
from cluster.api.carrying_out import (
    ACCEPTED,
    Change,
    Dangerous,
    IdempotencyKey,
    Management,
    carry_out,
    management_of,
)
from cluster.api.problems import DOCUMENTED, Problem
from cluster.api.routes.common import NOT_FOUND, PAGE_SIZE, SEARCH_MAX, Cursor, Limit
from cluster.operations.bounds import OFFSET_MAX
from cluster.operations.errors import Invalid, Refused, shown
from cluster.operations.redrive import PLACES_MAX, RECORDS_MAX, RedriveWish, place_of, redrive_plan
from schemas.batch import Reason

router = APIRouter(prefix="/dead-letters", tags=["dead letters"], responses=DOCUMENTED)

LETTERS_TIMEOUT_S = 30.0  # for a page: a few windows, each with a timeout of its own
DETAIL_SHOWN = 500  # characters of a detail in a list
VALUE_SHOWN = 4_096  # bytes of a value and a key in full
NAME_MAX = 249
PLACE_MAX = 300
TIME_CHARS_MAX = 40
PARTITION_MAX = 2**31 - 1

T = TypeVar("T")
ManagementOf = Annotated[Management, Depends(management_of)]
TopicQuery = Annotated[
    str | None, Query(max_length=NAME_MAX, description="of records of this topic, or in this topic of dead letters")
]
SinceQuery = Annotated[
    str | None, Query(max_length=TIME_CHARS_MAX, description="written since: ISO 8601, or e.g. 30m, 12h, 7d ago")
]


class Chosen(BaseModel):
    """Which dead letters."""

    model_config = ConfigDict(extra="forbid")

    topic: str | None = Field(None, max_length=NAME_MAX)
    reason: Reason | None = None
    since: str | None = Field(None, max_length=TIME_CHARS_MAX, description="ISO 8601, or e.g. 30m, 12h, 7d ago")
    source: str | None = Field(None, max_length=NAME_MAX, description="pipeline, consumer group or publisher")
    partition: int | None = Field(None, ge=-1, le=PARTITION_MAX)
    search: str | None = Field(None, max_length=SEARCH_MAX)


class Redrive(Dangerous):
    """Which letters' records are published again: by where they stand, or by what they are."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {"places": ["fab.measurements.dlq:0:17"], "dry_run": True},
                {
                    "filter": {"topic": "fab.measurements", "reason": "malformed", "since": "12h"},
                    "max": 500,
                    "dry_run": True,
                },
                {"places": ["fab.measurements.dlq:0:17"], "plan_hash": "3f0c9a51d2e4b768"},
            ]
        }
    )

    places: list[Annotated[str, Field(max_length=PLACE_MAX)]] | None = Field(None, min_length=1, max_length=PLACES_MAX)
    filter: Chosen | None = None
    max: int = Field(100, ge=1, le=RECORDS_MAX, description="refuse if it would be more records")

    @model_validator(mode="after")
    def _one_way(self) -> Self:
        if (self.places is None) == (self.filter is None):
            raise ValueError("either places or filter")
        if self.filter is not None and self.filter == Chosen():
            raise ValueError("filter: say which")
        return self


def _filter(
    topic: str | None,
    reason: Reason | None,
    since: str | None,
    search: str | None,
    source: str | None = None,
    partition: int | None = None,
) -> Filter:
    """Return the filter that a request says. Raises RefusedError."""
    from_ms = None if since is None else since_ms(since, time.time_ns() // 1_000_000)
    return Filter(topic, None if reason is None else str(reason), from_ms, source, partition, text=search or None)


def _asking(ask: Callable[[], T]) -> Callable[[], T]:
    """Return a question whose refusals the API knows."""

    def asked() -> T:
        try:
            return ask()
        except RefusedError as error:
            raise Invalid(str(error)) from error

    return asked


@router.get("", dependencies=[needs("dead-letters", "read")], summary="Dead letters, the newest first")
async def letters(
    management: ManagementOf,
    limit: Limit = PAGE_SIZE,
    cursor: Cursor = None,
    topic: TopicQuery = None,
    reason: Annotated[Reason | None, Query(description="why it could not be processed")] = None,
    since: SinceQuery = None,
    search: Annotated[str | None, Query(max_length=SEARCH_MAX, description="that detail, key or value contain")] = None,
) -> dict[str, Any]:
    """List dead letters. Reading is bounded: a page may have fewer than `limit`, or none, and there is more if `next` is."""

    def ask() -> dict[str, Any]:
        desk = LetterDesk(management.cluster)
        try:
            found, more = desk.page(_filter(topic, reason, since, search), limit, cursor)
        except RefusedError:
            raise
        except ValueError as error:
            raise Invalid(f"cursor: {error}") from error
        redrives = desk.redrives() if found else Redrives()
        return {"items": [_item(letter, redrives) for letter in found], "next": more}

    return await management.blocking(_asking(ask), LETTERS_TIMEOUT_S)


@router.get("/summary", dependencies=[needs("dead-letters", "read")], summary="How many there are, by topic and reason")
async def summary(management: ManagementOf, topic: TopicQuery = None, since: SinceQuery = None) -> dict[str, Any]:
    """Count dead letters, of every partition the newest first; `complete` says whether all that are retained were."""

    def ask() -> dict[str, Any]:
        found = LetterDesk(management.cluster).summary(_filter(topic, None, since, None))
        items = [{"topic": name, "reason": why, "count": count} for (name, why), count in sorted(found.counts.items())]
        return {
            "items": items,
            "total": found.counts.total(),
            "complete": found.read >= found.retained,
            "read": found.read,
            "retained": found.retained,
            "oldest_ms": found.since_ms,
        }

    return await management.blocking(_asking(ask), LETTERS_TIMEOUT_S)


@router.get(
    "/{topic}/{partition}/{offset}",
    dependencies=[needs("dead-letters", "read", "topic")],
    responses=NOT_FOUND,
    summary="One dead letter in full",
)
async def letter(
    management: ManagementOf,
    topic: Annotated[str, PathParameter(max_length=NAME_MAX, description="of dead letters")],
    partition: Annotated[int, PathParameter(ge=0, le=PARTITION_MAX, description="of that topic")],
    offset: Annotated[int, PathParameter(ge=0, le=OFFSET_MAX - 1, description="of that partition")],
) -> dict[str, Any]:
    """Return a dead letter where it stands: why, its key and value as hexadecimal digits and as text, and what helps."""

    def ask() -> dict[str, Any] | None:
        if topic not in letter_desk.TARGETS:
            return None
        desk = LetterDesk(management.cluster)
        found = desk.letters_at([(topic, partition, offset)])[topic, partition, offset]
        return None if found is None else _in_full(desk, found)

    said = await management.blocking(ask, LETTERS_TIMEOUT_S)
    if said is None:
        place = shown(f"{topic}:{partition}:{offset}")
        raise Problem(404, f"no dead letter stands at {place}; GET /dead-letters lists what there is")
    return said


@router.post("/redrive", responses=ACCEPTED, summary="Publish the records of dead letters again")
async def redrive(
    request: Request,
    body: Redrive,
    caller: Annotated[Caller, needs("dead-letters", "write")],
    idempotency_key: IdempotencyKey = "",
) -> JSONResponse:
    """Send records on their way again, each letter at most once however often it is asked for (docs/dead-letters.md)."""
    management = management_of(request)
    try:
        wish = _wish(body)
    except (Refused, RefusedError) as error:
        raise Problem(422, str(error)) from error
    asked = body.model_dump(mode="json", exclude={"dry_run", "plan_hash"})
    plan = lambda: redrive_plan(management.cluster, wish)  # noqa: E731
    change = Change("dead-letters.redrive", "dead letters", plan, asked)
    return await carry_out(request, caller, change, body, idempotency_key)


def _wish(body: Redrive) -> RedriveWish:
    if body.places is not None:
        return RedriveWish(tuple(dict.fromkeys(place_of(text) for text in body.places)), None, body.max)
    said = body.filter or Chosen()
    chosen = _filter(said.topic, said.reason, said.since, said.search, said.source, said.partition)
    return RedriveWish((), chosen, body.max)


def _item(letter: Letter, redrives: Redrives) -> dict[str, Any]:
    fields = letter.fields
    return {
        "place": letter.place,
        "topic": fields["topic"],
        "partition": fields["partition"],
        "offset": fields["offset"],
        "reason": fields["reason"],
        "detail": " ".join(fields["detail"].split())[:DETAIL_SHOWN],
        "at_ms": letter.written_ms,
        "source": fields["source"],
        "attempts": fields["attempts"],
        "waits": redrives.of(letter) is None,
        "redriven": redrives.times(letter) + (redrives.of(letter) is not None),
        "bytes": len(fields["value"] or b""),
        "truncated": fields["truncated"],
    }


def _in_full(desk: LetterDesk, letter: Letter) -> dict[str, Any]:
    fields, redrives = letter.fields, desk.redrives()
    done = redrives.of(letter)
    return {
        **_item(letter, redrives),
        "detail": fields["detail"],
        "trace": fields["trace"],
        "published_ms": fields["timestamp_ms"],
        "advice": ADVICE.get(fields["reason"], ""),
        "redriven_to": None if done is None else f"{done['to_topic']}:{done['to_partition']}:{done['to_offset']}",
        "redriven_by": None if done is None else done["author"],
        "headers": {name: _text(value) for name, value in letter.headers},
        "key": _shown(fields["key"]),
        "value": _shown(fields["value"]),
        "decoded": desk.value_of(letter).get("value_decoded"),
    }


def _shown(data: bytes | None) -> dict[str, Any] | None:
    """Return bytes as hexadecimal digits and as text, the first VALUE_SHOWN of them."""
    if data is None:
        return None
    first = data[:VALUE_SHOWN]
    return {"hex": first.hex(" "), "text": _text(first), "bytes": len(data), "shown": len(first)}


def _text(data: bytes | None) -> str | None:
    return None if data is None else data.decode(errors="backslashreplace")
