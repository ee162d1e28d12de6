"""The API's routes: what is known of the events, alerts and charts, metrics, and the page. All read-only."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query
from fastapi import Path as PathParameter
from fastapi.responses import FileResponse, JSONResponse, Response
from starlette.staticfiles import StaticFiles

from cluster import metrics
from cluster.api.problems import DOCUMENTED, Problem, Unavailable
from cluster.api.stream import SERIES_KEY_MAX, FactsOf
from schemas.topics import TOPICS

PAGE_SIZE = 50
PAGE_SIZE_MAX = 500
POINTS_MAX = 500
CURSOR_MAX = 4_000  # characters
SEARCH_MAX = 200
WEB = Path(__file__).resolve().parent.parent / "web"

Limit = Annotated[int, Query(ge=1, le=PAGE_SIZE_MAX, description="items of a page")]
Cursor = Annotated[str | None, Query(max_length=CURSOR_MAX, description="`next` of the page before; opaque")]

NOT_FOUND: dict[int | str, dict[str, Any]] = {404: {"description": "Not Found"}}
events = APIRouter(prefix="/events", tags=["events"], responses=DOCUMENTED)
quality = APIRouter(tags=["quality"], responses=DOCUMENTED)
page = APIRouter(include_in_schema=False)


async def _probe(ask: Callable[[], Awaitable[str]]) -> dict[str, Any]:
    """Ask a dependency how it does; its answer is the reason."""
    began = time.perf_counter()
    try:
        reason, ok = await ask(), True
    except Unavailable as error:
        reason, ok = error.detail, False
    return {"ok": ok, "reason": reason, "ms": round((time.perf_counter() - began) * 1000, 1)}


@events.get("/health", summary="Is it alive, is it ready, and if not, which part is it")
async def health(
    facts: FactsOf,
    probe: Annotated[Literal["live", "ready"], Query(description="live: do not ask the parts")] = "ready",
) -> JSONResponse:
    """Answer 200 if everything works, 503 with each part's reason if not; `?probe=live` asks only this process."""
    if probe == "live":
        return JSONResponse({"live": True})

    async def kafka() -> str:
        return f"{len(await facts.topics())} topics"

    async def registry() -> str:
        return f"{await facts.registry()} subjects"

    async def owners() -> str:
        status = await facts.owners()
        unwell = [why for owner in status["owners"] if (why := _unwell(owner))]
        if unwell or not status["owners"]:
            raise Unavailable("owners", "; ".join(unwell) or status["trouble"] or "no slot is dealt yet")
        partitions = sum(len(owner["partitions"]) for owner in status["owners"])
        return f"{status['slots']} slots live, {partitions} partitions, deal {status['deal']}"

    async def view() -> str:
        reader = (await facts.view("summary"))["reader"]
        if reader["trouble"] or not reader["caught_up"]:
            raise Unavailable("view", reader["trouble"] or "it is still reading what was there before it")
        return "reading"

    asked = {"kafka": kafka, "registry": registry, "owners": owners, "view": view}
    parts = dict(zip(asked, await asyncio.gather(*map(_probe, asked.values())), strict=True))
    ready = all(part["ok"] for part in parts.values())
    said = {"live": True, "ready": ready, "pipeline": facts.pipeline, "dependencies": parts}
    if ready:
        return JSONResponse(said)
    failing = "; ".join(part["reason"] for part in parts.values() if not part["ok"])
    raise Problem(503, f"not ready: {failing}", **said)


def _unwell(owner: dict[str, Any]) -> str:
    """Return what is wrong with a slot in a line, nothing if it is live and none of its partitions is in quarantine."""
    quarantined = {p: said["quarantined"] for p, said in owner["partitions"].items() if said.get("quarantined")}
    if owner["state"] == "live" and not quarantined:
        return ""
    return (
        f"slot {owner['slot']}: {owner['state']}; quarantined: {quarantined}; {owner.get('last_error') or 'no error'}"
    )


@events.get("/topics", summary="The topics: what they carry, and where their partitions stand")
async def topics(facts: FactsOf) -> dict[str, Any]:
    """List every topic of Kafka that is ours, with what the code says about it and what the broker says."""
    found = {topic["name"]: topic for topic in await facts.topics()}
    items = []
    for name, topic in TOPICS.items():
        broker = found.get(name)
        said = {"name": name, "doc": topic.doc, "key": topic.key, "writers": topic.writers, "readers": topic.readers}
        items.append(said | {"exists": broker is not None, "partitions": broker["partitions"] if broker else []})
    return {"items": items, "total": len(items)}


@events.get("/consumers", summary="Consumer groups and owners: how far each is, per partition")
async def consumers(facts: FactsOf) -> dict[str, Any]:
    """List consumer groups with committed offset, end and lag per partition, the pipeline's own first, and its owners."""
    groups = sorted(await facts.groups(), key=lambda group: (group["group"] != facts.pipeline, group["group"]))
    try:
        owners, why = await facts.owners(), None
    except Unavailable as error:
        owners, why = None, error.detail
    lags = [
        partition["lag"] for group in groups if group["group"] == facts.pipeline for partition in group["partitions"]
    ]
    known = [lag for lag in lags if lag is not None]
    return {
        "pipeline": facts.pipeline,
        "lag": sum(known) if known else None,
        "items": groups[:PAGE_SIZE_MAX],
        "total": len(groups),
        "owners": owners["owners"] if owners else [],
        "deal": {name: owners[name] for name in ("deal", "slots")} if owners else None,
        "owners_trouble": why or (owners and owners["trouble"]) or None,
    }


@quality.get("/alerts", summary="The newest alerts")
async def alerts(
    facts: FactsOf,
    limit: Limit = PAGE_SIZE,
    cursor: Cursor = None,
    state: Annotated[Literal["OPEN", "CLOSED"] | None, Query()] = None,
    series: Annotated[str | None, Query(max_length=SERIES_KEY_MAX)] = None,
) -> dict[str, Any]:
    """List alerts, newest first. `next` is the cursor of the next page; none = this is the last."""
    return await _page(facts.view("alerts", limit, state, series, cursor))


@quality.get("/charts", summary="The series and how each does")
async def charts(
    facts: FactsOf,
    limit: Limit = PAGE_SIZE,
    cursor: Cursor = None,
    search: Annotated[str, Query(max_length=SEARCH_MAX, description="words that the series' key contains")] = "",
) -> dict[str, Any]:
    """List series, those with most open alerts first, then by name. `next` is the cursor of the next page."""
    return await _page(facts.view("series", limit, search, cursor))


async def _page(asked: Awaitable[Any]) -> dict[str, Any]:
    try:
        found: dict[str, Any] = await asked
    except ValueError as error:
        raise Problem(422, f"cursor: {error}") from error
    return found


@quality.get("/charts/{series:path}", responses=NOT_FOUND, summary="One series: points, limits, signals, capability")
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


@quality.get("/metrics", response_class=Response, summary="Prometheus")
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


@quality.get("/status", summary="Counts, rates, latencies")
async def status(facts: FactsOf) -> dict[str, Any]:
    """Return what the page's header shows: counts per input partition, rates, latencies, how far was read."""
    found: dict[str, Any] = await facts.view("summary")
    return found


@page.get("/")
async def index() -> FileResponse:
    """Return the page."""
    return FileResponse(WEB / "index.html")


@page.get("/docs")
async def docs() -> FileResponse:
    """Return the API's documentation, which also sends requests."""
    return FileResponse(WEB / "docs.html")


@page.get("/favicon.ico")
async def icon() -> FileResponse:
    """Return the icon."""
    return FileResponse(WEB / "icon.svg", media_type="image/svg+xml")


def static_files() -> StaticFiles:
    """Return the app that serves /web."""
    return StaticFiles(directory=WEB)
