"""Desks: one question at a time, a bounded queue, an answer in time or 503."""

from __future__ import annotations

import asyncio
import threading

import pytest

from actors.errors import ConfigError, ReopenError
from cluster.api.desks import Desk
from cluster.api.etags import is_held, tags_in, version_seen
from cluster.api.problems import Problem, Unavailable


def test_the_thing_is_made_once_and_left_in_the_end() -> None:
    made: list[str] = []
    left: list[str] = []

    def make() -> str:
        made.append("x")
        return "thing"

    desk = Desk("part", make, left.append)

    async def ask() -> list[str]:
        return await asyncio.gather(*(desk.ask(lambda thing, n=n: f"{thing}{n}") for n in range(3)))

    assert asyncio.run(ask()) == ["thing0", "thing1", "thing2"]
    desk.close()
    assert (made, left) == (["x"], ["thing"])


def test_a_full_queue_and_a_slow_answer_are_503() -> None:
    go = threading.Event()
    desk = Desk("part", lambda: go, waiting_max=2)

    async def ask() -> list[object]:
        slow = asyncio.create_task(desk.ask(lambda event: event.wait(20), 0.2))
        waits = asyncio.create_task(desk.ask(lambda event: event.is_set(), 5))
        await asyncio.sleep(0)
        with pytest.raises(Unavailable, match="part: 2 requests wait already"):
            await desk.ask(lambda event: None)
        with pytest.raises(Unavailable, match=r"part: no answer within 0.2 s"):
            await slow
        go.set()
        return [await waits]

    assert asyncio.run(ask()) == [True]
    desk.close()


def test_what_goes_wrong_is_503_and_what_is_refused_is_not() -> None:
    def fails(error: Exception) -> object:
        def question(_: object) -> object:
            raise error

        return asyncio.run(desk.ask(question))

    desk = Desk("part", lambda: None)
    for error in (ConfigError("no topic"), ReopenError("no answer")):
        with pytest.raises(Unavailable, match=str(error)):
            fails(error)
    with pytest.raises(ValueError, match="refused"):
        fails(ValueError("refused"))
    desk.close()


def test_tags() -> None:
    assert tags_in('"a",  W/"b"') == {"a", "b"}
    assert version_seen(" * ", what="alert") is None
    assert is_held("*", '"x"')
    assert not is_held('"y"', '"x"')
    with pytest.raises(Problem) as told:
        version_seen(None, what="alert")
    assert told.value.status == 428
    for text, status in (("3", 422), ('"x"', 412), ('"1", "2"', 412), ('"1234567890"', 412)):
        with pytest.raises(Problem) as told:
            version_seen(text, what="alert")
        assert told.value.status == status
