"""How the parts do that the API stands on: Kafka, the registry, the owners, the view, and the keys.

Anybody may ask, so all of them together are asked once within KEEP_S, however many ask; and who is not known is told which part
is not well, not why: the reasons name topics, places and numbers.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

from fastapi import Request

from cluster.access.wiring import Access
from cluster.api.access import CALLER
from cluster.api.facts import Facts, within
from cluster.api.problems import Unavailable

HEALTH_S = 5.0  # that a part may take to say how it does
KEEP_S = 1.0
NAMED_MAX = 5  # partitions that a reason names

Asked = Mapping[str, Callable[[], Awaitable[str]]]
Parts = dict[str, dict[str, Any]]


class Health:
    """What the parts said last."""

    def __init__(self, asked: Asked, clock: Callable[[], float] = time.monotonic) -> None:
        self._asked, self._clock = asked, clock
        self._said: Parts = {}
        self._at_s = float("-inf")
        self._under_way: asyncio.Task[Parts] | None = None

    async def parts(self) -> Parts:
        """Return of each part whether it is well, why, and how long it took to say so, in ms."""
        if self._clock() - self._at_s <= KEEP_S:
            return self._said
        if self._under_way is None or self._under_way.done():
            self._under_way = asyncio.create_task(self._ask())
        return await asyncio.shield(self._under_way)

    async def _ask(self) -> Parts:
        said = await asyncio.gather(*(_probe(part, ask) for part, ask in self._asked.items()))
        self._said, self._at_s = dict(zip(self._asked, said, strict=True)), self._clock()
        return self._said


def health_of(request: Request, facts: Facts) -> Health:
    """Return the one of the app."""
    found: Health | None = getattr(request.app.state, "health", None)
    if found is None:
        found = request.app.state.health = Health(asked_of(facts, request.app.state.access))
    return found


def told(parts: Parts, request: Request) -> Parts:
    """Return what whoever asks is told: with the reasons, if it is known who that is."""
    if request.app.state.access is None or CALLER in request.scope:
        return parts
    return {part: {name: value for name, value in said.items() if name != "reason"} for part, said in parts.items()}


def asked_of(facts: Facts, access: Access | None) -> Asked:
    """Return what each part is asked; it answers with the reason, or raises Unavailable."""

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

    asked: dict[str, Callable[[], Awaitable[str]]] = {
        "kafka": kafka, "registry": registry, "owners": owners, "view": view,
    }  # fmt: skip
    if access is not None:
        keys = access

        async def known() -> str:
            return keys.how()

        asked["access"] = known
    return asked


async def _probe(part: str, ask: Callable[[], Awaitable[str]]) -> dict[str, Any]:
    """Ask a part how it does; its answer is the reason."""
    began = time.perf_counter()
    try:
        reason, ok = await within(ask(), HEALTH_S, part), True
    except Unavailable as error:
        reason, ok = error.detail, False
    return {"ok": ok, "reason": reason, "ms": round((time.perf_counter() - began) * 1000, 1)}


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
