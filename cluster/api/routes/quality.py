"""What a quality engineer asks: alerts, series, charts."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query
from fastapi import Path as PathParameter

from cluster.api.access import needs
from cluster.api.problems import DOCUMENTED, Problem
from cluster.api.routes.common import NOT_FOUND, PAGE_SIZE, SEARCH_MAX, Cursor, Limit, paged
from cluster.api.stream import SERIES_KEY_MAX, FactsOf

POINTS_MAX = 500

router = APIRouter(tags=["quality"], responses=DOCUMENTED)


@router.get("/alerts", dependencies=[needs("alerts", "read")], summary="The newest alerts")
async def alerts(
    facts: FactsOf,
    limit: Limit = PAGE_SIZE,
    cursor: Cursor = None,
    state: Annotated[Literal["OPEN", "CLOSED"] | None, Query()] = None,
    series: Annotated[str | None, Query(max_length=SERIES_KEY_MAX)] = None,
) -> dict[str, Any]:
    """List alerts, newest first. `next` is the cursor of the next page; none = this is the last."""
    return await paged(facts.view("alerts", limit, state, series, cursor))


@router.get("/charts", dependencies=[needs("charts", "read")], summary="The series and how each does")
async def charts(
    facts: FactsOf,
    limit: Limit = PAGE_SIZE,
    cursor: Cursor = None,
    search: Annotated[str, Query(max_length=SEARCH_MAX, description="words that the series' key contains")] = "",
) -> dict[str, Any]:
    """List series, those with most open alerts first, then by name. `next` is the cursor of the next page."""
    return await paged(facts.view("series", limit, search, cursor))


@router.get(
    "/charts/{series:path}",
    dependencies=[needs("charts", "read", "series")],
    responses=NOT_FOUND,
    summary="One series: points, limits, signals, capability",
)
async def chart(
    facts: FactsOf,
    series: Annotated[str, PathParameter(max_length=SERIES_KEY_MAX, description="the series' key, percent-encoded")],
    points: Annotated[int, Query(ge=1, le=POINTS_MAX)] = POINTS_MAX,
) -> dict[str, Any]:
    """Return the newest points as every detector judged them; the limits are those of the verdicts, bit for bit.

    Points and detectors are columns, oldest first, joined by `offset`. Bit i of `signal` is `rules[i]`. null = none.
    """
    found: dict[str, Any] = await facts.view("chart", series, points)
    if not found["held"]:
        detail = f"no points of the series {series!r} are held; GET /charts lists what is"
        raise Problem(404, detail, series=series, vector=found["vector"])
    return found
