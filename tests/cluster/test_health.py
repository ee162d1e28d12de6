"""Readiness asks its parts at once: a part that is slow to say that it is dead does not hold up what the others say."""

from __future__ import annotations

import asyncio
import json
import threading
from typing import Any

import pytest
from fastapi import FastAPI, Request

from actors.errors import ReopenError
from cluster.api import facts as facts_module
from cluster.api import health as health_module
from cluster.api.facts import Kept
from cluster.api.health import KEEP_S, Health
from cluster.api.problems import Problem, Unavailable
from cluster.api.routes.monitoring import health

LIVE = {"slot": 0, "state": "live", "partitions": {"0": {}, "1": {}}}


class AllAtOnce:
    """Facts that are told only when every part has been asked."""

    pipeline = "quality"

    def __init__(self, kafka: str | None = None, topics: list[dict[str, Any]] | None = None) -> None:
        self._asked = asyncio.Barrier(4)
        self._kafka = kafka
        self._topics = topics or [{"name": "quality.events"}]

    async def view(self, method: str, *_: Any) -> Any:
        assert method == "summary"
        await self._asked.wait()
        return {"reader": {"trouble": None, "caught_up": True}}

    async def owners(self) -> dict[str, Any]:
        await self._asked.wait()
        return {"owners": [LIVE], "slots": 1, "deal": 3, "trouble": None}

    async def topics(self) -> list[dict[str, Any]]:
        await self._asked.wait()
        if self._kafka:
            raise Unavailable("kafka", self._kafka)
        return self._topics

    async def groups(self) -> list[dict[str, Any]]:
        raise AssertionError("readiness does not need the groups")

    async def registry(self) -> int:
        await self._asked.wait()
        return 7


def asking() -> Request:
    """Return a request of an app without access control."""
    app = FastAPI()
    app.state.access = None
    return Request({"type": "http", "app": app})


def _ask(kafka: str | None = None, topics: list[dict[str, Any]] | None = None) -> Any:
    async def asked() -> Any:
        return await asyncio.wait_for(health(asking(), AllAtOnce(kafka, topics), "ready"), 10)

    return asyncio.run(asked())


def test_the_parts_are_asked_at_once() -> None:
    said = json.loads(_ask().body)
    assert said["ready"]
    assert {name: part["reason"] for name, part in said["dependencies"].items()} == {
        "kafka": "1 topics",
        "registry": "7 subjects",
        "owners": "1 slots live, 2 partitions, deal 3",
        "view": "reading",
    }


def test_the_part_that_fails_is_named_and_the_others_are_told() -> None:
    with pytest.raises(Problem) as refused:
        _ask("no broker answers")
    assert refused.value.status == 503
    assert refused.value.detail == "not ready: kafka: no broker answers"
    assert [name for name, part in refused.value.members["dependencies"].items() if part["ok"]] == [
        "registry",
        "owners",
        "view",
    ]


def test_partitions_that_nobody_can_read_are_named() -> None:
    partitions = [{"partition": p, "leader": 1 if p == 0 else -1} for p in range(9)]
    with pytest.raises(Problem) as refused:
        _ask(topics=[{"name": "a", "partitions": partitions[:1]}, {"name": "b", "partitions": partitions}])
    assert refused.value.detail == (
        "not ready: kafka: no leader for b:1, b:2, b:3, b:4, b:5 and 3 more: their brokers are down, or their disks have failed"
    )


def test_a_part_that_does_not_answer_is_said_in_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(health_module, "HEALTH_S", 0.05)

    class Slow(AllAtOnce):
        async def registry(self) -> int:
            await super().registry()
            await asyncio.sleep(60)
            return 7

    async def asked() -> Any:
        return await asyncio.wait_for(health(asking(), Slow(), "ready"), 10)

    with pytest.raises(Problem) as refused:
        asyncio.run(asked())
    assert refused.value.detail == "not ready: registry: no answer within 0.05 s"


def test_the_parts_are_asked_once_a_second_however_many_ask() -> None:
    now, asked = [0.0], []

    async def part() -> str:
        asked.append(now[0])
        await asyncio.sleep(0)
        return "well"

    async def ask() -> None:
        health = Health({"part": part}, lambda: now[0])
        for at_s in (0.0, KEEP_S, KEEP_S + 0.1):
            now[0] = at_s
            said = await asyncio.gather(*(health.parts() for _ in range(20)))
            assert {each["part"]["reason"] for each in said} == {"well"}

    asyncio.run(ask())
    assert asked == [0.0, KEEP_S + 0.1]


def test_a_question_is_under_way_once_however_many_have_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(facts_module, "KAFKA_TIMEOUT_S", 0.05)
    may_answer = threading.Event()
    asked = []

    def ask() -> str:
        asked.append(1)
        assert may_answer.wait(10)
        if len(asked) == 1:
            raise ReopenError("broken")
        return "said"

    async def asking() -> None:
        kept = Kept(ask, "kafka")
        for _ in range(3):
            with pytest.raises(Unavailable, match="no answer within"):
                await kept.get()
        may_answer.set()
        monkeypatch.setattr(facts_module, "KAFKA_TIMEOUT_S", 10.0)
        with pytest.raises(Unavailable, match="kafka: broken"):
            await kept.get()
        assert [await kept.get(), await kept.get()] == ["said", "said"]

    asyncio.run(asking())
    assert len(asked) == 2
