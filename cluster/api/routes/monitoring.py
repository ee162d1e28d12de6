"""What there is and how it does: health, topics, consumers."""

from __future__ import annotations

import asyncio
import time
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query, Request
from fastapi import Path as PathParameter
from fastapi.responses import JSONResponse

from cluster import topics_told
from cluster.api.access import needs, open_to_all
from cluster.api.facts import Facts
from cluster.api.health import health_of, told
from cluster.api.paging import page
from cluster.api.problems import DOCUMENTED, Problem, Unavailable
from cluster.api.routes.common import NOT_FOUND, PAGE_SIZE_MAX, Cursor, Limit
from cluster.api.stream import FactsOf
from cluster.consumers_told import order
from cluster.lag_sampler import WINDOW_S

NAME_MAX = 249  # characters of a topic's name: Kafka's own limit
GROUP_MAX = 500  # characters of a group's name

router = APIRouter(prefix="/events", tags=["monitoring"], responses=DOCUMENTED)


@router.get("/health", dependencies=[open_to_all], summary="Is it alive, is it ready, and if not, which part is it")
async def health(
    request: Request,
    facts: FactsOf,
    probe: Annotated[Literal["live", "ready"], Query(description="live: do not ask the parts")] = "ready",
) -> JSONResponse:
    """Answer 200 if everything works, 503 if not; `?probe=live` asks only this process.

    The reason of each part is for whoever shows a key. What was said is said again for a second.
    """
    if probe == "live":
        return JSONResponse({"live": True})

    parts = await health_of(request, facts).parts()
    failing = [part for part, said in parts.items() if not said["ok"]]
    shown = told(parts, request)
    said = {"live": True, "ready": not failing, "pipeline": facts.pipeline, "dependencies": shown}
    if not failing:
        return JSONResponse(said)
    reasons = (shown[part].get("reason", part) for part in failing)
    raise Problem(503, f"not ready: {'; '.join(reasons)}", **said)


@router.get(
    "/topics",
    dependencies=[needs("topics", "read")],
    summary="The topics: what they carry, and where their partitions stand",
)
async def topics(
    facts: FactsOf,
    limit: Limit = PAGE_SIZE_MAX,
    cursor: Cursor = None,
    internal: Annotated[bool, Query(description="Kafka's own topics too")] = False,
) -> dict[str, Any]:
    """List every topic of Kafka, ours first, with what the code says about it and what the broker says."""
    found, settings = await asyncio.gather(facts.topics(), facts.settings())
    listed = topics_told.listed(found, settings, internal=internal)
    at = {topic["name"]: i for i, topic in enumerate(listed)}
    return page(
        listed, lambda topic: (not topic["ours"], at[topic["name"]] if topic["ours"] else topic["name"]), limit, cursor
    )


@router.get(
    "/topics/{name}",
    dependencies=[needs("topics", "read", "name")],
    responses=NOT_FOUND,
    summary="One topic: partitions, rates, settings",
)
async def topic(
    facts: FactsOf, name: Annotated[str, PathParameter(max_length=NAME_MAX, description="the topic's name")]
) -> dict[str, Any]:
    """Return a topic with every setting, and what it would be if the topic did not say, and how much comes in."""
    found, settings = await asyncio.gather(facts.topics(), facts.settings())
    broker = next((each for each in found if each["name"] == name), None)
    told = topics_told.told(name, broker, settings.get(name, {}))
    if broker is None and not told["ours"]:
        raise Problem(404, f"no topic {name[:200]!r}; GET /events/topics lists what there is")
    numbers = [partition["partition"] for partition in told["partitions"]]
    rates = facts.lags.rate(name, numbers, int(time.time() * 1000))
    return {**told, "configs": settings.get(name, {}), "rates": rates}


@router.get(
    "/consumers",
    dependencies=[needs("consumers", "read")],
    summary="Consumer groups and pipelines: how far each is, per partition, and how it does",
)
async def consumers(facts: FactsOf, limit: Limit = PAGE_SIZE_MAX, cursor: Cursor = None) -> dict[str, Any]:
    """List consumer groups with lag and status, pipelines first, and the owners of this one.

    The status is Burrow's: from a window of samples, without thresholds; see docs/api.md.
    """
    groups, (owners, why), pipelines = await asyncio.gather(facts.groups(), _owners(facts), _others(facts))
    pipelines = {facts.pipeline: owners, **pipelines}
    told = facts.lags.consumers(groups, pipelines, int(time.time() * 1000))
    ours = next((group for group in told if group["group"] == facts.pipeline), None)
    return {
        "pipeline": facts.pipeline,
        "lag": ours["lag"] if ours else None,
        "window_s": WINDOW_S,
        **page(told, order(pipelines), limit, cursor),
        "owners": owners["owners"] if owners else [],
        "deal": {name: owners[name] for name in ("deal", "slots")} if owners else None,
        "owners_trouble": why or (owners and owners["trouble"]) or None,
    }


@router.get(
    "/consumers/{group:path}",
    dependencies=[needs("consumers", "read", "group")],
    responses=NOT_FOUND,
    summary="One consumer group or pipeline",
)
async def consumer(
    facts: FactsOf, group: Annotated[str, PathParameter(max_length=GROUP_MAX, description="the group's name")]
) -> dict[str, Any]:
    """Return a group with lag, status and owner of every partition."""
    groups, (owners, _), pipelines = await asyncio.gather(facts.groups(), _owners(facts), _others(facts))
    chosen = [each for each in groups if each["group"] == group]
    if not chosen:
        raise Problem(
            404, f"no group {group[:200]!r} has committed an offset; GET /events/consumers lists those that have"
        )
    return facts.lags.consumers(chosen, {facts.pipeline: owners, **pipelines}, int(time.time() * 1000))[0]


async def _owners(facts: Facts) -> tuple[dict[str, Any] | None, str | None]:
    """Return what the pipeline's supervisor says, or why it does not."""
    try:
        return await facts.owners(), None
    except Unavailable as error:
        return None, error.detail


async def _others(facts: Facts) -> dict[str, dict[str, Any] | None]:
    """Return what the supervisors of other pipelines say; nothing if Ray does not say which there are."""
    try:
        return await facts.other_pipelines()
    except Unavailable:
        return {}
