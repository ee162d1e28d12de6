"""GET /stream: new points of a series, new alerts and the counts, as server-sent events.

Theory of operation
-------------------
The id of an event is the vector of Kafka offsets that the view had read. A browser that reconnects sends the last one, and gets
what came since; no server remembers it. A frame holds everything since the last frame, and there are at most four a second
(coalescing, not dropping). With nothing new there is a frame a second with the counts only, which also tells that the
connection is alive. The deployment is its own, so that open streams never starve a plain GET.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Sequence
from typing import Annotated

from fastapi import APIRouter, Depends, Header, Query, Request
from fastapi.sse import EventSourceResponse, ServerSentEvent
from pydantic import StringConstraints

from actors.view import vector as vectors
from cluster.api.access import needs
from cluster.api.asking import FRAME_S, STEP_S, Shared, next_beat_s
from cluster.api.facts import Facts, Views
from cluster.api.problems import DOCUMENTED, Problem, Unavailable

QUIET_S = 1.0  # at least one frame
RETRY_MS = 1_000  # after which a browser reconnects
SERIES_KEY_MAX = 2_000  # characters
STREAM_SERIES_MAX = 50  # of one stream: a wall of small charts

EventId = Annotated[str | None, Query(max_length=20_000, description="the vector that /charts/{series} answered")]
LastEventId = Annotated[str | None, Header(max_length=20_000, description="what a browser sends when it reconnects")]
Series = Annotated[
    list[Annotated[str, StringConstraints(max_length=SERIES_KEY_MAX)]] | None,
    Query(
        max_length=STREAM_SERIES_MAX,
        description="series whose points to send, given once for each; none: alerts only. "
        "A frame of several has `charts` in place of `points` and `detectors`, without histograms",
    ),
]


def facts_of(request: Request) -> Facts:
    """Return the facts that the app was built with."""
    facts: Facts = request.app.state.facts
    return facts


def views_of(request: Request) -> Views:
    """Return the facts that the stream was built with."""
    views: Views = request.app.state.facts
    return views


def shared_of(request: Request, views: Views) -> Shared:
    """Return the questions of all streams of this process."""
    state = request.app.state
    if not hasattr(state, "shared"):
        state.shared = Shared(lambda since, about: views.view("changes", since, about, QUIET_S - FRAME_S))
    shared: Shared = state.shared
    return shared


ViewsOf = Annotated[Views, Depends(views_of)]
FactsOf = Annotated[Facts, Depends(facts_of)]


def where_to_resume(since: EventId = None, last_event_id: LastEventId = None) -> str | None:
    """Return where the stream goes on: what the browser saw last, else what the caller asks for, else from now on."""
    chosen = last_event_id or since or None
    try:
        if chosen is not None:
            vectors.parse(chosen)
    except ValueError as error:
        raise Problem(422, str(error)) from error
    return chosen


async def frames(shared: Shared, series: Sequence[str], since: str | None) -> AsyncIterator[ServerSentEvent]:
    """Yield frames until the reader leaves. A view that is gone is said, and asked again."""
    wanted = tuple(dict.fromkeys(series))
    about = wanted if len(wanted) > 1 else next(iter(wanted), None)
    yield ServerSentEvent(retry=RETRY_MS, comment="chipquality")
    loop = asyncio.get_running_loop()
    with shared.group() as group:
        while True:
            began = loop.time()
            try:
                frame = await shared.frame(since, about)
            except Unavailable as error:
                yield ServerSentEvent(event="unavailable", raw_data=json.dumps({"detail": error.detail}))
                await asyncio.sleep(QUIET_S)
                continue
            if loop.time() - began > STEP_S:  # it was waited for, by others too
                await asyncio.sleep(group * STEP_S)
            since = frame.vector
            yield ServerSentEvent(event="update", id=since, raw_data=frame.text)
            await asyncio.sleep(next_beat_s(sent := loop.time(), group) - sent)


def stream_router(path: str) -> APIRouter:
    """Return the router with the stream at `path`."""
    router = APIRouter(tags=["stream"])

    @router.get(
        path,
        dependencies=[needs("charts", "read")],
        response_class=EventSourceResponse,
        responses=DOCUMENTED,
        summary="Live points and alerts",
    )
    async def stream(
        request: Request,
        facts: ViewsOf,
        since: Annotated[str | None, Depends(where_to_resume)],
        series: Series = None,
    ) -> AsyncIterator[ServerSentEvent]:
        """Send `update` events: new points of the series, new alerts, counts. The id is a vector of offsets; it resumes."""
        async for frame in frames(shared_of(request, facts), series or (), since):
            yield frame

    return router
