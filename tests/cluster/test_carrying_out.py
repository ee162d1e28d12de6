"""What a question that blocks may come to, and what the API makes of it: plain calls."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import pytest
import ray

from actors.errors import ConfigError, ReopenError
from actors.kafka.client import Cluster
from cluster.api.carrying_out import Dangerous, Management
from cluster.api.problems import Problem
from cluster.operations.errors import Absent, Conflict, Invalid, TooMany
from schemas.registry import RegistryUnavailable


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


@pytest.mark.parametrize(
    "said", [{}, {"dry_run": True, "plan_hash": "0" * 16}, {"plan_hash": "x"}, {"plan_hash": "0" * 17}]
)
def test_a_dangerous_request_says_one_of_both(said: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"plan_hash|String should match"):
        Dangerous.model_validate(said)
