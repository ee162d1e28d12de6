"""ChartView: the Ray actor that holds what the page shows, and answers questions about it.

It stands outside the data path: it reads the output topics like anyone else could, and if it dies Ray starts it again and it
reads them again. Its name is "view:<pipeline>" in the namespace "chipquality".
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

from ray.actor import ActorHandle

from actors.detached import connected, detached, end
from actors.engine.judge import matches
from actors.kafka.client import Cluster
from actors.switching import switch_soon
from actors.view import vector as vectors
from actors.view.alert_book import Chosen
from actors.view.board import Board
from actors.view.gauges import ViewGauges
from actors.view.inspections import DEFECTS_BY
from actors.view.reader import Reader, Sources

CHANGES_WAIT_S_MAX = 10.0  # of one long poll
CALLS_MAX = 1_000  # long polls at once; further ones wait
CPUS = 0.05
GAUGES_S = 2.0
STOP_S = 10.0

T = TypeVar("T")


def view_name(pipeline: str) -> str:
    """Return the actor's name."""
    return f"view:{pipeline}"


class ChartView:
    """Newest points of every series, newest alerts, counts and latencies of one pipeline."""

    def __init__(
        self,
        cluster: Cluster,
        pipeline: str,
        sources: Sources,
        notes: tuple[str, ...] = (),
        also: tuple[str, ...] = (),
    ) -> None:
        switch_soon()
        self._board = Board(pipeline, also=also)
        self._lock = threading.Lock()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._arrival = asyncio.Event()
        self._notes = notes
        self._reader = Reader(cluster, sources, self._board, self._lock, self._arrived)
        self._reader.start()
        self._over = threading.Event()
        threading.Thread(target=self._report, name="view-gauges", daemon=True).start()

    def _arrived(self) -> None:
        """Wake the long polls; called by the reader's thread."""
        loop = self._loop
        if loop is not None:
            loop.call_soon_threadsafe(self._wake)

    def _wake(self) -> None:
        arrival, self._arrival = self._arrival, asyncio.Event()
        arrival.set()

    def _ask(self, question: Callable[[Board], T]) -> T:
        with self._lock:
            return question(self._board)

    def _summary(self) -> dict[str, Any]:
        said = self._ask(lambda board: board.summary(_now_ms()))
        alive = self._reader.is_alive()
        return said | {
            "reader": {
                "alive": alive,
                "caught_up": self._reader.caught_up,
                "trouble": self._reader.trouble if alive else "the reading thread has ended",
            },
            "notes": list(self._notes),
        }

    def _report(self) -> None:
        """Tell Ray's metrics how the board stands, until stopped."""
        gauges = ViewGauges(self._board.pipeline)
        while not self._over.wait(GAUGES_S):
            gauges.set(self._summary())

    async def ready(self) -> str:
        """Return the name, once the actor answers."""
        return view_name(self._board.pipeline)

    async def summary(self) -> dict[str, Any]:
        """Return counts per input partition, rates, latencies, alerts, dead letters, and how the reader does."""
        return self._summary()

    async def throughput(self, window_s: int) -> dict[str, Any]:
        """Return rows a second over time, of all partitions and of each; see Counts.rates."""
        return self._ask(lambda board: board.rows.rates(window_s, _now_ms()))

    async def latencies(self, window_s: int) -> dict[str, Any]:
        """Return quantiles by stage and over time; see StageLatencies.over."""
        return self._ask(lambda board: board.stages.over(window_s, _now_ms()))

    async def dead_letters(self, window_s: int) -> dict[str, int]:
        """Return how many dead letters were written in the window, by reason."""
        return self._ask(lambda board: board.dead_letters_lately.over(window_s, _now_ms()))

    async def mark(self) -> None:
        """Start the "since mark" latencies anew."""
        with self._lock:
            self._board.latency.mark()

    async def series(self, limit: int, search: str = "", after: str | None = None) -> dict[str, Any]:
        """Return a page of series; see Board.series."""
        return self._ask(lambda board: board.series(limit, search=search, after=after))

    async def matching(self, patterns: Sequence[str]) -> tuple[int, int]:
        """Return how many of the series that are held patterns name, and how many are held."""

        def count(board: Board) -> tuple[int, int]:
            keys = board.rings.keys
            return sum(matches(key, patterns) for key in keys), len(keys)

        return self._ask(count)

    async def chart(self, series: str, points: int) -> dict[str, Any]:
        """Return the chart of a series; see Board.chart."""
        return self._ask(lambda board: board.chart(series, points))

    async def alerts(self, limit: int, chosen: Mapping[str, str | None], before: str | None = None) -> dict[str, Any]:
        """Return a page of alerts, newest first; `chosen` are fields of alert_book.Chosen."""
        which = Chosen(**chosen)
        items, more = self._ask(lambda board: board.alerts.newest(limit, which, before=before))
        return {"items": items, "next": more}

    async def alert(self, alert_id: str, version: int = 0, timeout_s: float = 0.0) -> dict[str, Any] | None:
        """Return an alert with its life, waiting at most `timeout_s` until that has this version; None: it is not kept."""
        await self._until(lambda board: board.alerts.version(alert_id) >= version, timeout_s)
        return self._ask(lambda board: board.alerts.one(alert_id))

    async def pareto(self, by: str, since_ms: int, limit: int, chosen: Mapping[str, str | None]) -> dict[str, Any]:
        """Return a Pareto table of alerts or of defects, by one of alert_book.PARETO_BY or inspections.DEFECTS_BY."""
        if by in DEFECTS_BY:
            return self._ask(lambda board: board.inspections.pareto(by, since_ms, limit))
        which = Chosen(**chosen)
        return self._ask(lambda board: board.alerts.pareto(by, since_ms, limit, which))

    async def inspections(self, limit: int, before: str | None = None) -> dict[str, Any]:
        """Return a page of inspections, newest first."""
        return self._ask(lambda board: board.inspections.newest(limit, before))

    async def wafer_map(self, inspection: str = "", lot: str = "", wafer: str = "") -> dict[str, Any] | None:
        """Return the defects of an inspection, or of all inspections of a wafer; None: none is kept."""
        if inspection:
            return self._ask(lambda board: board.inspections.map(inspection))
        return self._ask(lambda board: board.inspections.wafer(lot, wafer))

    async def _until(self, condition: Callable[[Board], bool], timeout_s: float) -> None:
        """Wait until the board is so, or the time is over."""
        self._loop = asyncio.get_running_loop()
        deadline = self._loop.time() + min(timeout_s, CHANGES_WAIT_S_MAX)
        while True:
            arrival = self._arrival  # before looking: what comes meanwhile sets it
            if self._ask(condition) or self._loop.time() >= deadline:
                return
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(arrival.wait(), max(0.001, deadline - self._loop.time()))

    async def detectors(self) -> list[dict[str, Any]]:
        """Return the detectors whose verdicts are held; see Board.detectors."""
        return self._ask(lambda board: board.detectors())

    async def changes(self, since: str | None, series: str | Sequence[str] | None, timeout_s: float) -> dict[str, Any]:
        """Return what came since a vector of offsets, waiting for it at most `timeout_s`; None = from now on.

        `series`: one (Board.changes) or several (Board.changes_of_many).
        """
        self._loop = asyncio.get_running_loop()
        deadline = self._loop.time() + min(timeout_s, CHANGES_WAIT_S_MAX)
        seen = None if since is None else vectors.parse(since)
        while True:
            arrival = self._arrival  # before looking: what comes meanwhile sets it
            with self._lock:
                start = seen or {topic: dict(at) for topic, at in self._board.position.items()}
                if self._board.has_changes(start, series) or since is None or self._loop.time() >= deadline:
                    if series is None or isinstance(series, str):
                        said = self._board.changes(start, series, _now_ms())
                    else:
                        said = self._board.changes_of_many(start, series, _now_ms())
                    return said | {"notes": list(self._notes)}
            left = deadline - self._loop.time()
            try:
                await asyncio.wait_for(arrival.wait(), max(0.001, left))
            except TimeoutError:
                continue

    async def stop(self) -> None:
        """End the threads."""
        self._over.set()
        await asyncio.to_thread(self._reader.stop)


def _now_ms() -> int:
    return int(time.time() * 1000)


def start(
    cluster: Cluster,
    pipeline: str,
    *,
    sources: Sources | None = None,
    notes: tuple[str, ...] = (),
    also: tuple[str, ...] = (),
) -> ActorHandle[Any]:
    """Start the view of a pipeline, and of those `also` shown, or return the one that runs. Ray starts it again if it dies."""
    settings = cluster, pipeline, sources or Sources(), notes, also
    return detached(ChartView, view_name(pipeline), *settings, calls_max=CALLS_MAX, cpus=CPUS)


def connect(pipeline: str) -> ActorHandle[Any]:
    """Return the running view of a pipeline. Raises ValueError if there is none."""
    return connected(view_name(pipeline))


def stop(pipeline: str) -> None:
    """End the view of a pipeline, if there is one."""
    end(view_name(pipeline), STOP_S)
