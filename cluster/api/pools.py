"""Threads for questions that block, of their own for each kind: one that is slow takes no thread of another's.

A question that nobody waits for any more keeps its thread until it has ended, so as many run at once as there are threads,
whatever is given up meanwhile. The threads of `asyncio.to_thread` are few and everybody's.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, TypeVar

from cluster.api.problems import Unavailable

WAITING_MAX = 32  # questions that wait for a thread; the next gets 503

R = TypeVar("R")


class Pool:
    """So many threads for what `part` names."""

    def __init__(self, part: str, threads: int, waiting_max: int = WAITING_MAX) -> None:
        self.part = part
        self._most = threads + waiting_max
        self._threads = ThreadPoolExecutor(threads, thread_name_prefix=f"pool-{part}")
        self._under_way = 0
        self._lock = threading.Lock()

    def ask(self, question: Callable[[], R]) -> asyncio.Future[R]:
        """Return the answer, to be awaited; one that has not begun when it is cancelled is not asked. Raises Unavailable."""
        with self._lock:
            if self._under_way >= self._most:
                raise Unavailable(self.part, f"{self._under_way} requests are under way already; try again")
            self._under_way += 1
        answer = self._threads.submit(question)
        answer.add_done_callback(self._ended)
        return asyncio.wrap_future(answer)

    def _ended(self, _: Future[Any]) -> None:
        with self._lock:
            self._under_way -= 1
