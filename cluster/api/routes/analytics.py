"""Figures: counts, rates, latencies, and Prometheus."""

from __future__ import annotations

from collections.abc import Awaitable
from typing import Any

from fastapi import APIRouter
from fastapi.responses import Response

from cluster import metrics
from cluster.api.access import needs
from cluster.api.problems import DOCUMENTED, Unavailable
from cluster.api.stream import FactsOf

router = APIRouter(tags=["analytics"], responses=DOCUMENTED)


@router.get("/metrics", dependencies=[needs("metrics", "read")], response_class=Response, summary="Prometheus")
async def prometheus(facts: FactsOf) -> Response:
    """Return the pipeline's metrics in Prometheus' text format; a part that does not answer is left out and said so."""

    async def ask(asked: Awaitable[Any]) -> Any:
        try:
            return await asked
        except Unavailable:
            return None

    summary, owners = await ask(facts.view("summary")), await ask(facts.owners())
    text = metrics.exposition(summary, owners, await ask(facts.groups()))
    return Response(text, headers={"Content-Type": metrics.CONTENT_TYPE})


@router.get("/status", dependencies=[needs("metrics", "read")], summary="Counts, rates, latencies")
async def status(facts: FactsOf) -> dict[str, Any]:
    """Return what the page's header shows: counts per input partition, rates, latencies, how far was read."""
    found: dict[str, Any] = await facts.view("summary")
    return found
