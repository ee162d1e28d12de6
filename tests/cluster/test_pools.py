"""Threads of their own: what is given up keeps its thread, so no more run at once, and others have theirs."""

from __future__ import annotations

import asyncio
import threading
import time

import pytest

from actors.kafka.client import Cluster
from cluster.api import carrying_out
from cluster.api.carrying_out import Management
from cluster.api.pools import Pool
from cluster.api.problems import Problem, Unavailable


def test_a_question_that_was_given_up_keeps_its_thread() -> None:
    go, began = threading.Event(), []
    pool, other = Pool("plans", 1, waiting_max=2), Pool("registry", 1)

    def slow(name: str) -> str:
        began.append(name)
        assert go.wait(20)
        return name

    async def ask() -> list[str]:
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(pool.ask(lambda: slow("first")), 0.05)
        waiting = [pool.ask(lambda: slow("second"))]
        with pytest.raises(TimeoutError):  # has no thread yet: it is not asked at all
            await asyncio.wait_for(pool.ask(lambda: slow("third")), 0.05)
        waiting.append(pool.ask(lambda: slow("fourth")))
        with pytest.raises(Unavailable, match="plans: 3 requests are under way already"):
            pool.ask(lambda: slow("fifth"))
        assert (began, await other.ask(lambda: "at once")) == (["first"], "at once")
        go.set()
        return await asyncio.gather(*waiting)

    assert asyncio.run(ask()) == ["second", "fourth"]
    assert began == ["first", "second", "fourth"]
    assert asyncio.run(asyncio.wait_for(_value(pool), 10)) == 1


async def _value(pool: Pool) -> int:
    return await pool.ask(lambda: 1)


def test_plans_that_were_given_up_count_as_long_as_they_go_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(carrying_out, "PLANS_MAX", 1)
    go, began = threading.Event(), []

    def plan() -> None:
        began.append(time.monotonic())
        assert go.wait(20)

    async def ask() -> None:
        management = Management(Cluster(""), "quality")
        for _ in range(3):
            with pytest.raises(Problem, match=r"no answer within 0.05 s"):
                await management.blocking(plan, 0.05)
        assert len(began) == 1
        go.set()
        await management.blocking(lambda: None, 10)

    asyncio.run(ask())
    assert len(began) == 1
