"""The quality routes in this process, over a line on the real broker: an owner that judges, a view that reads, the API's app."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

import httpx
import numpy as np
from confluent_kafka.admin import NewTopic
from fastapi import FastAPI, Request

from actors.engine.judge import Assignment
from actors.partition_owner import OwnerLoop
from actors.view import ChartView, Sources
from cluster.access.tally import Refusal
from cluster.api.access import Caller, Need
from cluster.api.app import build_api
from cluster.api.facts import ClusterFacts
from cluster.api.quality import Quality, QualitySettings
from cluster.local import Endpoints
from models.individuals import IndividualsChart
from models.pca import PcaChart, fit_pca
from schemas.topics import INSPECTION, VECTORS
from tests.cluster.served import wait_for
from tests.fixtures_stack import prepared
from tests.integration.line import TestLine

T = TypeVar("T")

NAMES = ("flow", "power", "pressure")
_TRAIN = np.random.default_rng(3).normal(size=(60, 3)) @ np.array([[1.0, 0.9, 0.0], [0.0, 0.3, 0.0], [0.0, 0.0, 1.0]])
CHART = PcaChart(fit_pca(_TRAIN, components=2, names=NAMES))  # of vectors


class AsSaid:
    """A guard that believes what a header says: "name role"."""

    async def allow(self, request: Request, need: Need, name: str) -> Caller:
        who, _, role = request.headers.get("x-caller", "ada operator").partition(" ")
        return Caller(who, role)


class Recorded:
    """An audit that keeps what it is told."""

    def __init__(self) -> None:
        self.told: list[tuple[str, str, str, Any, Any]] = []
        self.refusals: list[Refusal] = []

    def refused(self, refusal: Refusal) -> None:
        self.refusals.append(refusal)

    async def changed(self, caller: Caller, action: str, resource: str, before: Any, after: Any) -> None:
        json.dumps([before, after])
        self.told.append((caller.name, action, resource, before, after))


class Here(ClusterFacts):
    """The API's facts, with the view in this process instead of a Ray actor."""

    def __init__(self, line: TestLine, view: ChartView) -> None:
        super().__init__(line.cluster, line.name)
        self.chart_view = view

    async def view(self, method: str, *arguments: Any) -> Any:
        return await getattr(self.chart_view, method)(*arguments)


class QualityLine:
    """What the tests talk to. `get` and the like answer as httpx does; `who` is "name role"."""

    def __init__(self, line: TestLine, sources: Sources, view: ChartView, app: FastAPI, audit: Recorded) -> None:
        self.line, self.sources, self.view, self.app, self.audit = line, sources, view, app, audit
        self._runner = asyncio.Runner()

    def ask(self, method: str, path: str, who: str = "ada operator", **further: Any) -> httpx.Response:
        headers = {"x-caller": who, **further.pop("headers", {})}

        async def asked() -> httpx.Response:
            transport = httpx.ASGITransport(self.app, raise_app_exceptions=False)
            async with httpx.AsyncClient(transport=transport, base_url="http://api", timeout=60) as http:
                return await http.request(method, path, headers=headers, **further)

        return self.run(asked())

    def run(self, awaited: Coroutine[Any, Any, T]) -> T:
        """Wait for something, always on the same loop: the view wakes who waits there."""
        return self._runner.run(awaited)

    def close(self) -> None:
        self._runner.close()

    def get(self, path: str, expect: int = 200, **params: Any) -> Any:
        answer = self.ask("GET", path, params=params)
        assert answer.status_code == expect, answer.text
        return answer.json()

    def post(self, path: str, body: Any, status: int, who: str = "ada operator", **headers: str) -> Any:
        answer = self.ask("POST", path, who, json=body, headers={k.replace("_", "-"): v for k, v in headers.items()})
        assert answer.status_code == status, answer.text
        return answer.json()

    def wait(self, condition: Callable[[], Any], what: str) -> Any:
        return wait_for(condition, what, 60)

    def alert(self, number: int = 0) -> dict[str, Any]:
        """Return an alert that the line has raised, the newest first."""
        return self.wait(lambda: self.get("/alerts", limit=100)["items"][number:], f"alert {number}")[0]


@contextmanager
def quality_line(stack: Endpoints) -> Iterator[QualityLine]:
    """Run a line of two partitions with one chart, and the app over it; series s0 has two wild values and so alerts."""
    prepared(stack)
    line = TestLine(stack, families={"spc": (IndividualsChart(10),)})
    actions = f"{line.name}.actions"
    new = [NewTopic(actions, 1, 1, config={"cleanup.policy": "compact"})]
    for future in line.admin.create_topics(new).values():
        future.result(20)
    sources = Sources(
        line.topics.charts, line.topics.alerts, (line.topics.dead_letters,), lives=actions, inspections=INSPECTION
    )
    vectors = {"multivariate": (Assignment(CHART),)}
    settings = QualitySettings(line.name, line.input, line.topics.state, line.topics.control, actions, VECTORS, vectors)
    view, quality, audit = ChartView(line.cluster, line.name, sources), Quality(line.cluster, settings), Recorded()
    app = build_api(Here(line, view), desks=quality)
    app.state.guard, app.state.audit = AsSaid(), audit
    loop = OwnerLoop(line.pipeline(), line.deal().seats()[0])
    loop.start()
    try:
        wait_for(lambda: loop.state == "live", "live")
        made = QualityLine(line, sources, view, app, audit)
        values = [10.0 + (n % 5 - 2) / 10 for n in range(40)]
        values[20], values[30] = 60.0, -40.0
        line.write(1, [line.measurement("s0", x, n) for n, x in enumerate(values)])
        line.write(0, [line.measurement("s1", 5.0 + n % 2, n) for n in range(12)])
        line.wait_done()
        made.alert(2)
        yield made
        made.run(view.stop())
        made.close()
    finally:
        quality.close()
        assert loop.stop()
