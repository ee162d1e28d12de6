"""Figures: counts, rates, latencies, errors, and Prometheus."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable
from typing import Annotated, Any

from fastapi import APIRouter, Query
from fastapi.responses import Response

from actors.view.history import WINDOW_S
from cluster import errors_told, figures, metrics, stages_told
from cluster.api.access import needs
from cluster.api.problems import DOCUMENTED, Problem, Unavailable
from cluster.api.routes.common import NOT_FOUND
from cluster.api.stream import FactsOf
from cluster.lag_sampler import SAMPLE_S

GROUP_MAX = 500  # characters of a group's name

router = APIRouter(tags=["analytics"], responses=DOCUMENTED)

Window = Annotated[int, Query(ge=10, le=WINDOW_S, description="seconds up to now")]


async def _or_why(asked: Awaitable[Any]) -> tuple[Any, str | None]:
    """Return the answer, or why there is none."""
    try:
        return await asked, None
    except Unavailable as error:
        return None, error.detail


@router.get(
    "/metrics",
    dependencies=[needs("metrics", "read")],
    response_class=Response,
    responses={200: {"content": {"text/plain": {"schema": {"type": "string"}}}}},
    summary="Prometheus",
)
async def prometheus(facts: FactsOf) -> Response:
    """Return the pipeline's metrics in Prometheus' text format; a part that does not answer is left out and said so."""
    asked = (facts.view("summary"), facts.owners(), facts.groups())
    (summary, _), (owners, _), (groups, _) = await asyncio.gather(*map(_or_why, asked))
    text = metrics.exposition(summary, owners, groups)
    return Response(text, headers={"Content-Type": metrics.CONTENT_TYPE})


@router.get("/status", dependencies=[needs("metrics", "read")], summary="Counts, rates, latencies")
async def status(facts: FactsOf) -> dict[str, Any]:
    """Return what the page's header shows: counts per input partition, rates, latencies, how far was read."""
    found: dict[str, Any] = await facts.view("summary")
    return found


@router.get("/events/metrics", dependencies=[needs("metrics", "read")], summary="The key figures, with their units")
async def key_figures(facts: FactsOf) -> dict[str, Any]:
    """Return the key figures; `trouble` says why the figures of a part have no value."""
    asked = {"view": facts.view("summary"), "owners": facts.owners(), "kafka": facts.groups()}
    said = dict(zip(asked, await asyncio.gather(*map(_or_why, asked.values())), strict=True))
    parts = {part: answer for part, (answer, _) in said.items()}
    if parts["kafka"] is not None:
        parts["kafka"] = [group for group in parts["kafka"] if group["group"] == facts.pipeline]
    return {
        "at_ms": int(time.time() * 1000),
        "pipeline": facts.pipeline,
        "items": figures.told(parts),
        "trouble": {part: why for part, (_, why) in said.items() if why},
    }


@router.get("/events/throughput", dependencies=[needs("metrics", "read")], summary="Rows a second over time")
async def throughput(facts: FactsOf, window_s: Window = WINDOW_S) -> dict[str, Any]:
    """Return rows a second as a reader of the output sees them come, oldest first, of all and of each input partition."""
    said = await facts.view("throughput", window_s)
    return {
        "window_s": window_s,
        "step_s": said["step_s"],
        "at": said["at"],
        "rows_per_s": said["per_s"],
        "by_partition": said["by_name"],
    }


@router.get("/events/latency", dependencies=[needs("metrics", "read")], summary="Latency end to end and by stage")
async def latency(facts: FactsOf, window_s: Window = WINDOW_S) -> dict[str, Any]:
    """Return p50, p95 and p99 in ms, end to end and of each stage, and p95 over time; null where nothing was measured."""
    said = await facts.view("latencies", window_s)
    owners = facts.times.over(window_s, int(time.time() * 1000))
    return {"window_s": window_s, "unit": "ms", **stages_told.told(said, owners)}


@router.get(
    "/events/lag",
    dependencies=[needs("consumers", "read", "query.group")],
    responses=NOT_FOUND,
    summary="Lag over time",
)
async def lag(
    facts: FactsOf,
    group: Annotated[str | None, Query(max_length=GROUP_MAX, description="this pipeline's unless given")] = None,
    window_s: Window = WINDOW_S,
) -> dict[str, Any]:
    """Return a group's lag in records, oldest first, as it was sampled; null where it was not known.

    A replica of the API remembers what it has sampled itself, since it began.
    """
    name = facts.pipeline if group is None else group
    said = facts.lags.history(name, window_s, int(time.time() * 1000))
    if said is None and group is not None:
        raise Problem(404, f"no group {group[:200]!r} was sampled; GET /events/consumers lists those that are")
    return {"group": name, "window_s": window_s, "step_s": SAMPLE_S, **(said or {"at": [], "lag": []})}


@router.get("/events/errors", dependencies=[needs("metrics", "read")], summary="What went wrong, and how often")
async def errors(facts: FactsOf, window_s: Window = WINDOW_S) -> dict[str, Any]:
    """Return dead letters by reason, ever, within the window and a second; detectors that are off, partitions in quarantine.

    `unreadable`: records of the output topics that the view could not read. `owners_trouble`: why the owners said nothing.
    """
    summary, lately, (owners, why) = await asyncio.gather(
        facts.view("summary"), facts.view("dead_letters", window_s), _or_why(facts.owners())
    )
    return {**errors_told.told(summary, lately, owners, window_s), "owners_trouble": why}
