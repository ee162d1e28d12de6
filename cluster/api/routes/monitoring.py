"""What there is and how it does: health, topics, consumers."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query
from fastapi import Path as PathParameter
from fastapi.responses import JSONResponse

from cluster import topics_told
from cluster.api.access import needs, open_to_all
from cluster.api.facts import Facts, within
from cluster.api.paging import page
from cluster.api.problems import DOCUMENTED, Problem, Unavailable
from cluster.api.routes.common import NOT_FOUND, PAGE_SIZE_MAX, Cursor, Limit
from cluster.api.stream import FactsOf
from cluster.consumers_told import order
from cluster.lag_sampler import WINDOW_S

HEALTH_S = 5.0  # that a part may take to say how it does
NAME_MAX = 249  # characters of a topic's name: Kafka's own limit
GROUP_MAX = 500  # characters of a group's name
NAMED_MAX = 5  # partitions that a reason names

router = APIRouter(prefix="/events", tags=["monitoring"], responses=DOCUMENTED)


async def _probe(part: str, ask: Callable[[], Awaitable[str]]) -> dict[str, Any]:
    """Ask a dependency how it does; its answer is the reason."""
    began = time.perf_counter()
    try:
        reason, ok = await within(ask(), HEALTH_S, part), True
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
        topics = await facts.topics()
        without = _without_leader(topics)
        if without:
            raise Unavailable("kafka", without)
        return f"{len(topics)} topics"

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
    parts = dict(zip(asked, await asyncio.gather(*(_probe(part, ask) for part, ask in asked.items())), strict=True))
    ready = all(part["ok"] for part in parts.values())
    said = {"live": True, "ready": ready, "pipeline": facts.pipeline, "dependencies": parts}
    if ready:
        return JSONResponse(said)
    failing = "; ".join(part["reason"] for part in parts.values() if not part["ok"])
    raise Problem(503, f"not ready: {failing}", **said)


def _without_leader(topics: Sequence[dict[str, Any]]) -> str:
    """Return which partitions nobody can write or read, in a sentence; nothing if there are none.

    Brokers are down, or the disk of a partition has failed: which of them, Kafka's log says, and no request that librdkafka has.
    """
    places = [
        f"{topic['name']}:{partition['partition']}"
        for topic in topics
        for partition in topic.get("partitions", ())
        if partition["leader"] < 0
    ]
    if not places:
        return ""
    more = f" and {len(places) - NAMED_MAX} more" if len(places) > NAMED_MAX else ""
    return f"no leader for {', '.join(places[:NAMED_MAX])}{more}: their brokers are down, or their disks have failed"


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
