"""Readiness asks its parts at once: a part that is slow to say that it is dead does not hold up what the others say."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from cluster.api.problems import Problem, Unavailable
from cluster.api.routes.monitoring import health

LIVE = {"slot": 0, "state": "live", "partitions": {"0": {}, "1": {}}}


class AllAtOnce:
    """Facts that are told only when every part has been asked."""

    pipeline = "quality"

    def __init__(self, kafka: str | None = None) -> None:
        self._asked = asyncio.Barrier(4)
        self._kafka = kafka

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
        return [{"name": "quality.events"}]

    async def groups(self) -> list[dict[str, Any]]:
        raise AssertionError("readiness does not need the groups")

    async def registry(self) -> int:
        await self._asked.wait()
        return 7


def _ask(kafka: str | None = None) -> Any:
    async def asked() -> Any:
        return await asyncio.wait_for(health(AllAtOnce(kafka), "ready"), 10)

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
