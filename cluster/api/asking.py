"""Questions of many streams to one view, each asked once.

Theory of operation
-------------------
Streams that have seen the same and show the same want the same answer. It is asked for once, and put into text once; who
comes while it is under way waits for that. Streams look in beats of FRAME_S, in GROUPS groups whose beats are evenly apart: those
of one group soon have seen the same, so that a hundred readers cost the view a few questions a beat. What wakes all of them at
once goes out to one group after the other: a hundred frames in one go would hold up everything else that the proxy passes on.
A stream that is alone is in the group that comes first, and waits for nothing.
"""

from __future__ import annotations

import asyncio
import json
import math
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

FRAME_S = 0.25  # a beat: at most four frames a second
GROUPS = 10  # of streams
STEP_S = FRAME_S / GROUPS  # between the beats of two groups

Wanted = str | tuple[str, ...] | None  # series
Ask = Callable[[str | None, Wanted], Awaitable[dict[str, Any]]]


class Frame(NamedTuple):
    """What the view has said: up to where, and as text."""

    vector: str
    text: str


class Shared:
    """The questions that are under way. `ask` raises Unavailable, for all who wait."""

    def __init__(self, ask: Ask) -> None:
        self._ask = ask
        self._under_way: dict[tuple[str | None, Wanted], asyncio.Task[Frame]] = {}
        self._streams = [0] * GROUPS

    @contextmanager
    def group(self) -> Iterator[int]:
        """Give a stream its group, for as long as it lives: the first of those with the fewest."""
        group = self._streams.index(min(self._streams))
        self._streams[group] += 1
        try:
            yield group
        finally:
            self._streams[group] -= 1

    async def frame(self, since: str | None, wanted: Wanted) -> Frame:
        """Return what came since a vector. Raises Unavailable."""
        key = (since, wanted)
        task = self._under_way.get(key)
        if task is None:
            task = self._under_way[key] = asyncio.create_task(self._fetch(since, wanted))
            task.add_done_callback(lambda done: self._over(key, done))
        return await asyncio.shield(task)

    async def _fetch(self, since: str | None, wanted: Wanted) -> Frame:
        said = await self._ask(since, wanted)
        return Frame(said["vector"], json.dumps(said, allow_nan=False))

    def _over(self, key: tuple[str | None, Wanted], task: asyncio.Task[Frame]) -> None:
        del self._under_way[key]
        if not task.cancelled():
            task.exception()  # those who waited have it; perhaps all have left


def next_beat_s(sent_s: float, group: int) -> float:
    """Return when a group looks next, after a frame was sent: FRAME_S later, or up to STEP_S sooner to be in the beat again.

    >>> [round(next_beat_s(sent_s, 0), 3) for sent_s in (0.0, 0.01, 0.03, 0.2)], next_beat_s(0.0, 5)
    ([0.25, 0.25, 0.5, 0.5], 0.375)
    """
    phase = group * STEP_S
    return math.ceil((sent_s + FRAME_S - STEP_S - phase) / FRAME_S) * FRAME_S + phase
