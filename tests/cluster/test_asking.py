"""Many streams, few questions: pure, with a view that is a function."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from cluster.api.asking import FRAME_S, GROUPS, STEP_S, Frame, Shared, Wanted, next_beat_s
from cluster.api.problems import Unavailable
from cluster.api.stream import frames


class View:
    """Answers when it is told to."""

    def __init__(self) -> None:
        self.asked: list[tuple[str | None, Wanted]] = []
        self.fails = False
        self.open = asyncio.Event()

    async def __call__(self, since: str | None, wanted: Wanted) -> dict[str, Any]:
        self.asked.append((since, wanted))
        await self.open.wait()
        if self.fails:
            raise Unavailable("view", "gone")
        return {"vector": f"{since}+", "wanted": wanted}


async def everybody(shared: Shared, *asked: tuple[str | None, Wanted]) -> list[asyncio.Task[Frame]]:
    tasks = [asyncio.create_task(shared.frame(*one)) for one in asked]
    await asyncio.sleep(0)
    return tasks


def test_who_wants_the_same_shares_the_question_and_others_do_not() -> None:
    async def run() -> None:
        view = View()
        shared = Shared(view)
        tasks = await everybody(shared, ("1", None), ("1", None), ("1", "a"), ("2", None), ("1", ("a", "b")))
        view.open.set()
        found = [await task for task in tasks]
        assert view.asked == [("1", None), ("1", "a"), ("2", None), ("1", ("a", "b"))]
        assert found[0] is found[1]
        assert (found[2].vector, json.loads(found[2].text)["wanted"]) == ("1+", "a")
        await shared.frame("1", None)
        assert view.asked[-1] == ("1", None), "an answer serves those who waited for it, and nobody later"

    asyncio.run(run())


def test_one_who_leaves_takes_nothing_from_the_others_and_an_error_is_for_all() -> None:
    async def run() -> None:
        view = View()
        shared = Shared(view)
        left, stays = await everybody(shared, ("1", None), ("1", None))
        left.cancel()
        await asyncio.sleep(0)
        view.fails = True
        view.open.set()
        for task in (stays, *await everybody(shared, ("1", None))):
            with pytest.raises(Unavailable, match="gone"):
                await task
        assert len(view.asked) == 1

    asyncio.run(run())


def test_streams_are_spread_over_the_groups_and_the_first_places_are_taken_again() -> None:
    shared = Shared(View())
    held = [shared.group() for _ in range(2 * GROUPS)]
    assert [each.__enter__() for each in held] == [*range(GROUPS), *range(GROUPS)]
    held[3].__exit__(None, None, None)
    with shared.group() as group:
        assert group == 3


@pytest.mark.parametrize("group", range(GROUPS))
def test_a_group_keeps_its_beat_and_no_two_frames_are_closer(group: int) -> None:
    sent, beats = 0.013, []
    for _ in range(20):
        beat = next_beat_s(sent, group)
        assert FRAME_S - STEP_S <= round(beat - sent, 9) < 2 * FRAME_S
        beats.append(beat)
        sent = beat + 0.9 * STEP_S
    assert beats[-1] - beats[0] == pytest.approx(19 * FRAME_S)


def test_a_stream_tells_what_it_is_told_and_that_the_view_is_gone(monkeypatch: pytest.MonkeyPatch) -> None:
    from cluster.api import stream

    monkeypatch.setattr(stream, "QUIET_S", 0.01)

    async def run() -> None:
        view = View()
        view.open.set()
        found = frames(Shared(view), ["a", "a"], "1")
        assert (await anext(found)).retry
        assert (await anext(found)).id == "1+"
        view.fails = True
        assert (await anext(found)).event == "unavailable"
        view.fails = False
        assert (await anext(found)).id == "1++"
        assert view.asked == [("1", "a"), ("1+", "a"), ("1+", "a")]
        await found.aclose()

    asyncio.run(run())
