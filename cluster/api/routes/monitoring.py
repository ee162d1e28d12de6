"""What there is and how it does: health, topics, consumers."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query
from fastapi.responses import JSONResponse

from cluster.api.access import needs, open_to_all
from cluster.api.problems import DOCUMENTED, Problem, Unavailable
from cluster.api.routes.common import PAGE_SIZE_MAX
from cluster.api.stream import FactsOf
from schemas.topics import TOPICS

router = APIRouter(prefix="/events", tags=["monitoring"], responses=DOCUMENTED)


async def _probe(ask: Callable[[], Awaitable[str]]) -> dict[str, Any]:
    """Ask a dependency how it does; its answer is the reason."""
    began = time.perf_counter()
    try:
        reason, ok = await ask(), True
    except Unavailable as error:
        reason, ok = error.detail, False
    return {"ok": ok, "reason": reason, "ms": round((time.perf_counter() - began) * 1000, 1)}


@router.get("/health", dependencies=[open_to_all], summary="Is it alive, is it ready, and if not, which part is it")
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


@router.get(
    "/topics",
    dependencies=[needs("topics", "read")],
    summary="The topics: what they carry, and where their partitions stand",
)
async def topics(facts: FactsOf) -> dict[str, Any]:
    """List every topic of Kafka that is ours, with what the code says about it and what the broker says."""
    found = {topic["name"]: topic for topic in await facts.topics()}
    items = []
    for name, topic in TOPICS.items():
        broker = found.get(name)
        said = {"name": name, "doc": topic.doc, "key": topic.key, "writers": topic.writers, "readers": topic.readers}
        items.append(said | {"exists": broker is not None, "partitions": broker["partitions"] if broker else []})
    return {"items": items, "total": len(items)}


@router.get(
    "/consumers",
    dependencies=[needs("consumers", "read")],
    summary="Consumer groups and owners: how far each is, per partition",
)
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
