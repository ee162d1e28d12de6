"""Publishing of events: validated against the schema of their category, keyed, acknowledged by Kafka before the answer."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from typing import Annotated, Any

from fastapi import APIRouter, Request
from fastapi import Path as PathParameter

from actors.producers.events import CATEGORIES
from cluster.api.access import Caller, needs
from cluster.api.problems import DOCUMENTED, Problem, Unavailable, answers, sayable
from cluster.api.quality import QualityOf

EVENTS_MAX = 500  # of one request
BODY_BYTES_MAX = 2 * 1024 * 1024
FIELD_CHARS = 200  # of a detail that names what was sent


router = APIRouter(tags=["quality"], responses=DOCUMENTED)

_EVENT = {"type": "object", "description": "fields of the category's schema; event_id and timestamp may be left out"}
_BODY = {
    "requestBody": {
        "required": True,
        "content": {
            "application/json": {
                "schema": {
                    "type": "object",
                    "additionalProperties": False,
                    "minProperties": 1,
                    "maxProperties": 1,
                    "properties": {
                        "event": _EVENT,
                        "events": {"type": "array", "items": _EVENT, "minItems": 1, "maxItems": EVENTS_MAX},
                    },
                },
                "examples": {
                    "measurement": {
                        "value": {"event": {"equipment": "ETCH-07", "characteristic": "CD", "value": 45.2, "unit": "nm"}}
                    },
                    "inspection": {
                        "value": {
                            "event": {
                                "event_type": "DEFECT_DETECTED", "inspection_id": "I-1", "batch_id": "B-7",
                                "chip_id": "C-42", "inspection_type": "AOI", "status": "IN_PROGRESS",
                                "defects": [
                                    {"defect_type": "SCRATCH", "severity": "MAJOR", "confidence": 0.93,
                                     "location": "x=12.5 y=3.1"}
                                ],
                                "metadata": {"lot": "L-1", "wafer": "W-3"},
                            }
                        }
                    },
                },
            }
        },
    }
}  # fmt: skip


@router.post(
    "/events/{category}",
    status_code=202,
    responses=answers(413),
    openapi_extra=_BODY,
    summary="Publish events of a category",
)
async def publish(
    request: Request,
    quality: QualityOf,
    caller: Annotated[Caller, needs("events", "write", "category")],
    category: Annotated[str, PathParameter(json_schema_extra={"enum": list(CATEGORIES)}, description="of the events")],
) -> dict[str, Any]:
    """Publish one `event`, or up to 500 `events`; the answer says where each stands, once Kafka has acknowledged all.

    A measurement has `value`, or `values` and `period_us` (samples of one series), or `vector`, `characteristics` and `values`.
    If one event is wrong none is published (422 names the event and the field). With an `event_id` of your own, the same event
    again is published once. 503: not all were acknowledged in time; `items` says which, and the same request again is safe for
    events with an `event_id`.
    """
    if (
        category not in CATEGORIES
    ):  # no pattern or convertor of the path: Ray Serve's proxy builds all routes anew with each
        detail = f"there is no category {sayable(category)}: it is one of {', '.join(CATEGORIES)}"  # request if it knows one not
        raise Problem(404, detail)
    events, single = _events(await _body(request))
    outcome = await quality.publish(category, events, caller.name)
    if outcome.missing is not None:
        raise Unavailable(*outcome.missing)
    if outcome.wrong:
        wrong = [
            {"event": one.event, "field": sayable(one.field), "detail": sayable(one.detail)} for one in outcome.wrong
        ]
        first = f"event {wrong[0]['event']}: {wrong[0]['field']}: {wrong[0]['detail']}"
        raise Problem(422, f"nothing was published: {first}", errors=wrong)
    items = outcome.items
    failed = [item for item in items if "error" in item]
    new = sum(not item["repeated"] for item in items)
    if new:
        topics = sorted({item["topic"] for item in items})
        told = {"events": new, "failed": len(failed), "first": items[0]}
        await request.app.state.audit.changed(caller, "events.publish", f"topic {', '.join(topics)}", None, told)
    if failed:
        raise Problem(
            503,
            f"{len(failed)} of {len(items)} events were not acknowledged: {failed[0]['error']}",
            part="kafka",
            items=items,
        )
    return items[0] if single else {"items": items}


async def _body(request: Request) -> bytes:
    """Return the body. Raises Problem 413 as soon as it is too long."""
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > BODY_BYTES_MAX:
            raise Problem(413, f"the body is longer than {BODY_BYTES_MAX} bytes: send fewer events at once")
    return bytes(body)


def _events(body: bytes) -> tuple[Sequence[Mapping[str, Any]], bool]:
    """Return the events of a body, and whether it is a single one. Raises Problem 422."""
    try:
        asked = json.loads(body, parse_float=_finite, parse_constant=_finite)
    except RecursionError as error:
        raise Problem(422, "the body is nested too deeply") from error
    except ValueError as error:  # UnicodeDecodeError too, and numbers of more digits than Python reads
        raise Problem(422, f"the body is not JSON: {str(error)[:FIELD_CHARS]}") from error
    if not isinstance(asked, dict) or set(asked) not in ({"event"}, {"events"}):
        raise Problem(422, 'an object with "event", or with "events", is wanted')
    if "event" in asked:
        return [asked["event"]], True
    events = asked["events"]
    if not isinstance(events, list) or not 0 < len(events) <= EVENTS_MAX:
        raise Problem(422, f"events: 1 to {EVENTS_MAX} of them, in a list")
    return events, False


def _finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise ValueError(f"{text[:40]} is not a finite number; null says that a value is missing")
    return number
