"""What changes much: replay, reset, deleting topics, scaling. Planned, applied by the plan's hash, followed as operations."""

from __future__ import annotations

from typing import Annotated, Any, Self

from fastapi import APIRouter, Body, Request
from fastapi import Path as PathParameter
from fastapi.responses import JSONResponse
from pydantic import BaseModel, ConfigDict, Field, model_validator

from cluster.api.access import Caller, needs
from cluster.api.bounds import AnyBound, Since, Until, bound
from cluster.api.carrying_out import (
    ACCEPTED,
    Change,
    Dangerous,
    IdempotencyKey,
    at_once,
    carry_out,
    management_of,
)
from cluster.api.problems import DOCUMENTED
from cluster.api.routes.common import NOT_FOUND

router = APIRouter(tags=["management"], responses={**DOCUMENTED, **ACCEPTED, **NOT_FOUND})

NAME_MAX = 249  # characters of a topic's or a group's name, as Kafka has it
SLOTS_MAX = 10_000

Name = Annotated[str, Field(min_length=1, max_length=NAME_MAX)]


class Replay(Dangerous):
    """Which stretch of which pipeline's input is judged again, and into which topics."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {"pipeline": "quality", "output": "june", "from": {"time": "2026-06-01T12:00:00Z"}, "dry_run": True},
                {"pipeline": "quality", "output": "june", "from": {"offset": {"0": 400}}, "dry_run": True},
                {"pipeline": "quality", "output": "june", "from": "earliest", "plan_hash": "3f0c9a51d2e4b768"},
            ]
        }
    )

    pipeline: Annotated[str, Field(min_length=1, max_length=60, description="that runs; its detectors judge")]
    since: Annotated[Since, Field(alias="from", description="the first that is judged")]
    to: Annotated[Until, Field(description="the first that is not judged any more")] = "latest"
    output: Annotated[
        str, Field(pattern=r"^[a-z][a-z0-9-]{0,30}$", description="makes <output>.charts, .alerts, .dlq, .state")
    ]


class Reset(Dangerous):
    """Which consumer group is set to where."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {"group": "warehouse", "to": "earliest", "dry_run": True},
                {
                    "group": "warehouse",
                    "topic": "quality.alerts",
                    "to": {"time": "2026-06-01T12:00:00Z"},
                    "dry_run": True,
                },
            ]
        }
    )

    group: Name | None = None
    pipeline: Name | None = Field(None, description="is refused, with the reason and the way: a replay")
    topic: Name | None = Field(None, description="unless given, every topic that the group has committed offsets on")
    to: AnyBound

    @model_validator(mode="after")
    def _one_name(self) -> Self:
        if (self.group is None) == (self.pipeline is None):
            raise ValueError("either group or pipeline")
        return self


class Deletion(Dangerous):
    """A topic is deleted with all of its records."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"dry_run": True}, {"plan_hash": "3f0c9a51d2e4b768"}]})


class Scale(BaseModel):
    """Over how many slots a pipeline is spread."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"examples": [{"slots": 4}]})

    slots: Annotated[int, Field(ge=1, le=SLOTS_MAX, description="owners that share the partitions")]


def _asked(body: Dangerous) -> dict[str, Any]:
    """Return what a request asks for, apart from whether it is a dry run."""
    return body.model_dump(mode="json", by_alias=True, exclude={"dry_run", "plan_hash"})


@router.post("/events/replay", summary="Judge a stretch of a topic again, into topics of its own")
async def replay(
    request: Request,
    body: Replay,
    caller: Annotated[Caller, needs("pipelines", "manage", "body.pipeline")],
    idempotency_key: IdempotencyKey = "",
) -> JSONResponse:
    """Judge what stands between two offsets or times with a running pipeline's detectors, next to the live line.

    The verdicts are those of a fold of the stretch from its beginning: every series begins in Phase I. The live pipeline, its
    topics and its group are not touched.
    """
    from cluster.operations.replay import ReplayWish, replay_plan  # noqa: PLC0415 - it needs Ray's and Kafka's clients

    management = management_of(request)
    wish = ReplayWish(body.pipeline, body.output, bound(body.since), bound(body.to))
    change = Change(
        "replay.begin",
        f"pipeline {body.pipeline}",
        lambda: replay_plan(management.cluster, wish),
        _asked(body),
    )
    return await carry_out(request, caller, change, body, idempotency_key)


@router.post("/events/reset", summary="Set the committed offsets of a consumer group")
async def reset(
    request: Request,
    body: Reset,
    caller: Annotated[Caller, needs("consumers", "manage", "body.group")],
    idempotency_key: IdempotencyKey = "",
) -> JSONResponse:
    """Set a group without members to the earliest, the latest, an offset or a time. A pipeline is never reset: replay it."""
    from cluster.operations.reset import ResetWish, reset_plan  # noqa: PLC0415

    management = management_of(request)
    wish = ResetWish(bound(body.to), body.group or "", body.pipeline or "", body.topic)
    name = f"group {body.group}" if body.group else f"pipeline {body.pipeline}"
    change = Change("consumers.reset", name, lambda: reset_plan(management.cluster, wish), _asked(body))
    return await carry_out(request, caller, change, body, idempotency_key)


@router.delete("/events/topics/{name}", summary="Delete a topic")
async def delete_topic(
    request: Request,
    name: Annotated[str, PathParameter(min_length=1, max_length=NAME_MAX, description="the topic's name")],
    body: Annotated[Deletion, Body()],
    caller: Annotated[Caller, needs("topics", "manage", "name")],
    idempotency_key: IdempotencyKey = "",
) -> JSONResponse:
    """Delete a topic that a replay has made, or one that is not ours. Topics that the product stands on are refused."""
    from cluster.operations.delete import delete_plan  # noqa: PLC0415

    management = management_of(request)
    change = Change("topics.delete", f"topic {name}", lambda: delete_plan(management.cluster, name), {"topic": name})
    return await carry_out(request, caller, change, body, idempotency_key)


@router.post("/pipelines/{name}/scale", status_code=202, summary="Spread a pipeline over another number of slots")
async def scale(
    request: Request,
    name: Annotated[str, PathParameter(min_length=1, max_length=60, description="the pipeline's name")],
    body: Scale,
    caller: Annotated[Caller, needs("pipelines", "write", "name")],
    idempotency_key: IdempotencyKey = "",
) -> JSONResponse:
    """Have so many slots, without a stop; partitions that need not move stay. The operation ends when all are live."""
    from cluster.operations.scale import scale_plan  # noqa: PLC0415

    asked = {"pipeline": name, "slots": body.slots}
    change = Change("pipelines.scale", f"pipeline {name}", lambda: scale_plan(name, body.slots), asked)
    return await at_once(request, caller, change, idempotency_key)
