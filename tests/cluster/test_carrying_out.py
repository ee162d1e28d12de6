"""What a question that blocks may come to, and what the API makes of it: plain calls."""

from __future__ import annotations

import asyncio
import time
from typing import Annotated, Any

import httpx
import pytest
import ray
from fastapi import Request, Response

from actors.errors import ConfigError, ReopenError
from actors.kafka.client import Cluster
from cluster.api.access import Caller, needs
from cluster.api.app import build_api
from cluster.api.carrying_out import Change, Dangerous, Management, at_once
from cluster.api.problems import Problem
from cluster.operations.errors import Absent, Conflict, Invalid, TooMany
from cluster.operations.plans import Plan
from schemas.registry import RegistryUnavailable
from tests.cluster.access.conftest import NothingRuns
from tests.cluster.quality_line import AsSaid, Recorded


def asked(error: Exception, timeout_s: float = 20.0) -> Problem:
    def fail() -> None:
        raise error

    with pytest.raises(Problem) as raised:
        asyncio.run(Management(Cluster(""), "quality").blocking(fail, timeout_s))
    return raised.value


@pytest.mark.parametrize(
    ("error", "status", "detail"),
    [
        (Invalid("no"), 422, "no"),
        (Absent("none"), 404, "none"),
        (Conflict("used"), 409, "used"),
        (TooMany("4 run"), 429, "4 run"),
        (ReopenError("no broker"), 503, "kafka: no broker"),
        (ConfigError("kafka.x"), 503, "kafka: kafka.x"),
        (RegistryUnavailable("away"), 503, "registry: away"),
        (ray.exceptions.GetTimeoutError("no answer"), 503, "ray: no answer"),
        (TimeoutError(), 503, "kafka: no answer within 20 s"),
    ],
)
def test_every_error_is_a_problem_that_names_the_part(error: Exception, status: int, detail: str) -> None:
    problem = asked(error)
    assert (problem.status, problem.detail) == (status, detail)


def test_a_question_that_takes_too_long_is_given_up() -> None:
    with pytest.raises(Problem) as raised:
        asyncio.run(Management(Cluster(""), "quality").blocking(lambda: time.sleep(0.2), 0.05))
    assert raised.value.detail == "kafka: no answer within 0.05 s"


class Answers(Management):
    """Management whose operations actor answers with what was given."""

    def __init__(self, **answers: Any) -> None:
        super().__init__(Cluster(""), "quality")
        self.answers = answers

    async def operations(self, method: str, *arguments: Any) -> Any:
        if isinstance(self.answers[method], Exception):
            raise self.answers[method]
        return self.answers[method]


def change(method: str, path: str, **answers: Any) -> tuple[httpx.Response, list[tuple[Any, ...]]]:
    """Ask an app whose plans are always the same; return its answer and what the audit was told."""
    app = build_api(NothingRuns())
    app.state.guard, app.state.audit, app.state.management = AsSaid(), Recorded(), Answers(**answers)

    @app.post("/made-up")
    async def made_up(request: Request, caller: Annotated[Caller, needs("topics", "write")]) -> Response:
        plan = Plan("delete", "topic t", {"topic": "t"})
        return await at_once(request, caller, Change("topics.delete", "topic t", lambda: plan, {}), "")

    async def ask() -> httpx.Response:
        transport = httpx.ASGITransport(app)
        async with httpx.AsyncClient(transport=transport, base_url="http://api") as http:
            return await http.request(method, path)

    return asyncio.run(ask()), app.state.audit.told


@pytest.mark.slow
@pytest.mark.parametrize("status", [409, 429, 503])
def test_what_was_not_begun_or_cancelled_is_not_recorded(status: int) -> None:
    answer, told = change("POST", "/made-up", begin=Problem(status, "no"))
    assert (answer.status_code, told) == (status, [])
    answer, told = change("DELETE", "/operations/7", get={"state": "running"}, cancel=Problem(status, "no"))
    assert (answer.status_code, told) == (status, [])


def test_what_was_begun_or_cancelled_is_recorded_with_its_operation() -> None:
    plan = {"kind": "delete", "subject": "topic t", "topic": "t", "estimate": {}}
    answer, told = change("POST", "/made-up", begin={"id": "7", "plan": plan})
    assert (answer.status_code, answer.headers["location"]) == (202, "/operations/7")
    assert told == [("ada", "topics.delete", "topic t", None, {"operation": "7", "plan": plan})]
    answer, told = change("DELETE", "/operations/7", get={"state": "running"}, cancel={"state": "running"})
    assert answer.status_code == 202
    assert told == [("ada", "operations.cancel", "operation 7", {"state": "running"}, {"state": "running"})]


@pytest.mark.parametrize(
    "said", [{}, {"dry_run": True, "plan_hash": "0" * 16}, {"plan_hash": "x"}, {"plan_hash": "0" * 17}]
)
def test_a_dangerous_request_says_one_of_both(said: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"plan_hash|String should match"):
        Dangerous.model_validate(said)
