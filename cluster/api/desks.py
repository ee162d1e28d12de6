"""Blocking things behind the API that one request uses at a time: each has a thread of its own, a queue, and a timeout.

A `Desk` makes its thing at the first question and keeps it, so that consumers and producers stay connected. It has threads of its
own because a question may take seconds (a topic is read), and those of `asyncio.to_thread` are few and everybody's.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Generic, TypeVar

from actors.errors import ConfigError
from cluster.api.facts import within
from cluster.api.problems import Unavailable

WAITING_MAX = 32  # questions to a desk that wait, with the one that is answered; the next gets 503
ANSWER_S = 20.0  # of one question, the wait for its turn included

T = TypeVar("T")
R = TypeVar("R")


class Desk(Generic[T]):
    """One thing, and the thread that uses it. `part` names it where it does not answer; `leave` ends it."""

    def __init__(
        self,
        part: str,
        make: Callable[[], T],
        leave: Callable[[T], None] = lambda _: None,
        *,
        waiting_max: int = WAITING_MAX,
    ) -> None:
        self.part = part
        self.waiting_max = waiting_max
        self._make = make
        self._leave = leave
        self._thing: T | None = None
        self._waiting = 0
        self._pool = ThreadPoolExecutor(1, thread_name_prefix=f"desk-{part}")

    async def ask(self, question: Callable[[T], R], timeout_s: float = ANSWER_S) -> R:
        """Return the answer. Raises Unavailable if there is none in time, or the queue is full; ValueError passes through.

        A question that is being answered when its time is over is answered to its end, for nobody.
        """
        if self._waiting >= self.waiting_max:
            raise Unavailable(self.part, f"{self._waiting} requests wait already; try again")
        self._waiting += 1
        try:
            answer = asyncio.get_running_loop().run_in_executor(self._pool, self._answer, question)
            return await within(answer, timeout_s, self.part)
        except ConfigError as error:
            raise Unavailable(self.part, str(error)) from error
        finally:
            self._waiting -= 1

    def _answer(self, question: Callable[[T], R]) -> R:
        if self._thing is None:
            self._thing = self._make()
        return question(self._thing)

    def close(self) -> None:
        """End the thing and the thread."""

        def leave() -> None:
            if self._thing is not None:
                thing, self._thing = self._thing, None
                self._leave(thing)

        self._pool.submit(leave).result()
        self._pool.shutdown()
