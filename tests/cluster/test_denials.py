"""Every 403 is a denial, and every denial is told to the audit trail, wherever it is said."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Annotated, Any

import httpx

from cluster.access.tally import Refusal
from cluster.api.access import Caller, denied, needs
from cluster.api.app import build_api
from tests.cluster.access.conftest import NothingRuns
from tests.cluster.quality_line import AsSaid, Recorded

CLUSTER = Path(__file__).resolve().parents[2] / "cluster"


def test_nothing_answers_403_but_a_denial() -> None:
    said = [path for path in CLUSTER.rglob("*.py") if "Problem(403" in path.read_text() or ": 403," in path.read_text()]
    assert said == []


def test_a_denial_is_told_and_so_is_a_route_that_says_nothing() -> None:
    app = build_api(NothingRuns())
    app.state.guard, app.state.audit = AsSaid(), Recorded()

    @app.post("/made-up/{name}")
    async def made_up(name: str, caller: Annotated[Caller, needs("alerts", "write")]) -> None:
        raise denied(caller, "alerts.close", name, "somebody else has it", "bo has it", ground="person")

    @app.get("/unsaid")
    async def unsaid() -> None: ...

    async def ask(method: str, path: str) -> httpx.Response:
        transport = httpx.ASGITransport(app)
        async with httpx.AsyncClient(transport=transport, base_url="http://api") as http:
            return await http.request(method, path, headers={"x-caller": "ada operator"})

    answer = asyncio.run(ask("POST", "/made-up/a1"))
    said: dict[str, Any] = answer.json()
    assert (answer.status_code, said["detail"], said["ground"]) == (403, "bo has it", "person")
    assert asyncio.run(ask("GET", "/unsaid")).status_code == 403
    assert app.state.audit.refusals == [
        Refusal("ada", "somebody else has it", "", "alerts.close", "a1", "operator"),
        Refusal("anonymous", "the route does not say what it needs", "", "any", "/unsaid"),
    ]
