"""Whether a pipeline says that it is ready: the route `/events/health` of the API, with the facts of the real stack."""

from __future__ import annotations

import asyncio
from types import TracebackType
from typing import Any, NamedTuple

import httpx

from actors import view
from cluster.api.app import build_api
from cluster.api.facts import ClusterFacts
from tests.faults.line import FaultLine

TIMEOUT_S = 60.0  # longer than all of its parts may take


class Answer(NamedTuple):
    """What it has said."""

    status: int  # of HTTP
    body: dict[str, Any]

    @property
    def ready(self) -> bool:
        """Whether everything works."""
        return self.status == httpx.codes.OK and bool(self.body["ready"])

    def failing(self) -> dict[str, str]:
        """Return what is wrong, by part."""
        return {part: said["reason"] for part, said in self.body["dependencies"].items() if not said["ok"]}


class Readiness:
    """The API of a line, without its web server, and the view that it asks. A context manager."""

    def __init__(self, line: FaultLine) -> None:
        self._line = line
        self._runner = asyncio.Runner()
        self._app = build_api(ClusterFacts(line.cluster, line.name))

    def __enter__(self) -> Readiness:
        """Start the view."""
        topics = self._line.topics
        view.start(
            self._line.cluster,
            self._line.name,
            sources=view.Sources(topics.charts, topics.alerts, (topics.dead_letters,)),
        )
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End the view."""
        view.stop(self._line.name)
        self._runner.close()

    def ask(self) -> Answer:
        """Ask `GET /events/health`."""
        return self._runner.run(self._ask())

    async def _ask(self) -> Answer:
        transport = httpx.ASGITransport(app=self._app)
        async with httpx.AsyncClient(transport=transport, base_url="http://api", timeout=TIMEOUT_S) as client:
            answer = await client.get("/events/health")
        return Answer(answer.status_code, answer.json())
