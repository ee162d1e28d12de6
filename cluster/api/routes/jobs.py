"""Scheduled jobs: define, run, cancel, look at. See docs/jobs.md."""

from __future__ import annotations

import asyncio
import re
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query, Request
from fastapi import Path as PathParameter
from fastapi.responses import JSONResponse
from pydantic import BaseModel, ConfigDict, Field, JsonValue

from cluster.api.access import Caller, needs
from cluster.api.carrying_out import ACTOR_TIMEOUT_S, answered
from cluster.api.problems import DOCUMENTED, Problem, Unavailable
from cluster.api.routes.common import NOT_FOUND, PAGE_SIZE, Cursor, Limit, paged
from cluster.api.stream import facts_of
from cluster.jobs.job import BACKOFF_MAX_S, CATCH_UP_MAX, RETRIES_MAX, TIMEOUT_MAX_S, CatchUp, Job

router = APIRouter(prefix="/jobs", tags=["jobs"], responses={**DOCUMENTED, **NOT_FOUND})

RUN_ID_MAX = 64
Name = Annotated[str, PathParameter(pattern=r"^[a-z][a-z0-9-]{0,30}$", description="of a job")]


class Definition(BaseModel):
    """What a job does, when, and how patiently."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={
            "examples": [
                {
                    "kind": "rejudge",
                    "parameters": {"last_s": 86_400, "detectors": [{"detector": "spc.ewma", "series": "*"}]},
                    "cron": "30 2 * * *",
                    "zone": "Europe/Berlin",
                    "catch_up": "last",
                },
                {"kind": "train", "parameters": {"model": "pca", "vector": "wafer"}},
            ]
        },
    )

    kind: Literal["rejudge", "limits", "train"]
    parameters: dict[str, JsonValue] = Field(
        default_factory=dict, max_length=50, description="of the kind: docs/jobs.md"
    )
    cron: str = Field("", max_length=200, description="minute hour day month weekday; empty: only by hand")
    zone: str = Field("UTC", max_length=60, description="time zone that the schedule is of, e.g. Europe/Berlin")
    catch_up: CatchUp = Field(CatchUp.last, description="what becomes of missed times")
    catch_up_max: int = Field(10, ge=1, le=CATCH_UP_MAX, description="how many missed times are run, with all")
    retries: int = Field(3, ge=0, le=RETRIES_MAX)
    backoff_s: float = Field(
        30.0, ge=0, le=BACKOFF_MAX_S, description="before the first retry; then twice as long each time"
    )
    timeout_s: float = Field(3600.0, ge=1, le=TIMEOUT_MAX_S, description="of one attempt")


@router.get("", dependencies=[needs("jobs", "read")], summary="The jobs, by name, with when each is due next")
async def jobs(request: Request, limit: Limit = PAGE_SIZE, cursor: Cursor = None) -> dict[str, Any]:
    """List jobs, each with its newest run and the current version of what it makes."""
    return await paged(_asked(request, "page", limit, cursor))


@router.get("/{name}", dependencies=[needs("jobs", "read", "name")], summary="One job")
async def job(request: Request, name: Name) -> dict[str, Any]:
    """Return a job, when it is due next, its newest run, its current version."""
    found: dict[str, Any] = await _asked(request, "get", name)
    return found


@router.put("/{name}", summary="Define a job, or define it anew")
async def schedule(
    request: Request, name: Name, body: Definition, caller: Annotated[Caller, needs("jobs", "manage", "name")]
) -> dict[str, Any]:
    """Have a job from now on; what was due before does not count. A run that is under way goes on as it was."""
    before = await _before(request, name)
    wanted = Job(name, by=caller.name, **body.model_dump())
    await request.app.state.audit.changed(caller, "jobs.schedule", f"job {name}", before, body.model_dump(mode="json"))
    told: dict[str, Any] = await _asked(request, "schedule", wanted)
    return told


@router.delete("/{name}", summary="Remove a job")
async def remove(
    request: Request, name: Name, caller: Annotated[Caller, needs("jobs", "manage", "name")]
) -> dict[str, Any]:
    """Have a job no more, nor its history. What it has made stays, and so does which version is the current one."""
    before: dict[str, Any] = await _asked(request, "get", name)
    await request.app.state.audit.changed(caller, "jobs.remove", f"job {name}", before, None)
    told: dict[str, Any] = await _asked(request, "remove", name)
    return told


@router.post("/{name}/runs", status_code=202, summary="Run a job now")
async def run(request: Request, name: Name, caller: Annotated[Caller, needs("jobs", "write", "name")]) -> JSONResponse:
    """Run a job now, whatever its schedule; 409 while a run of it is under way. Poll `Location`."""
    await request.app.state.audit.changed(caller, "jobs.run", f"job {name}", None, None)
    told: dict[str, Any] = await _asked(request, "start", name, caller.name)
    return JSONResponse(told, 202, {"Location": f"/jobs/{name}/runs?limit=1"})


@router.get("/{name}/runs", dependencies=[needs("jobs", "read", "name")], summary="The runs of a job, the newest first")
async def history(request: Request, name: Name, limit: Limit = PAGE_SIZE, cursor: Cursor = None) -> dict[str, Any]:
    """List the runs that are kept, with how they stand and what has come of them."""
    return await paged(_asked(request, "history", name, limit, cursor))


@router.delete("/{name}/runs", status_code=202, summary="Cancel the run of a job that is under way")
async def cancel(
    request: Request,
    name: Name,
    caller: Annotated[Caller, needs("jobs", "write", "name")],
    run_id: Annotated[
        str | None, Query(alias="id", max_length=RUN_ID_MAX, description="only if it is this one")
    ] = None,
) -> dict[str, Any]:
    """Have the run end where it can stop in order: it is told to, and ended if it does not within seconds."""
    if run_id is not None and not re.fullmatch(rf"{name}-\d{{8}}T\d{{6,9}}Z", run_id):
        raise Problem(422, "id: this is no run of that job")
    await request.app.state.audit.changed(caller, "jobs.cancel", f"job {name}", None, {"id": run_id})
    told: dict[str, Any] = await _asked(request, "cancel", run_id or name)
    return told


@router.get(
    "/{name}/current", dependencies=[needs("jobs", "read", "name")], summary="The current version of what a job makes"
)
async def current(request: Request, name: Name) -> dict[str, Any]:
    """Return the newest version that is whole: its topics, or the artefact. Ask again; do not guess names."""
    found: dict[str, Any] = await _asked(request, "current", name)
    return found


async def _before(request: Request, name: str) -> Any:
    try:
        return await _asked(request, "get", name)
    except Problem as problem:
        if problem.status != 404:
            raise
        return None


async def _asked(request: Request, method: str, *arguments: Any) -> Any:
    """Ask the scheduler, which the product has started. Raises Problem; ValueError for a bad cursor."""
    from cluster.jobs.actor import running  # noqa: PLC0415 - it needs Kafka's clients

    try:
        handle = await asyncio.to_thread(running, facts_of(request).pipeline)
    except ValueError as error:
        raise Unavailable("jobs", "the scheduler does not run") from error
    return await answered("jobs", asyncio.wait_for(getattr(handle, method).remote(*arguments), ACTOR_TIMEOUT_S))
