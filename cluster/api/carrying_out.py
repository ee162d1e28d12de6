"""How a route does something dangerous: a dry run answers the plan; the plan's hash applies it, as an operation.

    POST … {"dry_run": true, …}            → 200 {"plan": …, "plan_hash": "…"}
    POST … {"plan_hash": "…", …}           → 202, Location: /operations/<id>; 409 with the plan as it is now, if it is another
    … with Idempotency-Key: k, once more   → 202, the same operation; 422 if the request is another

A plan is computed in a thread, because Kafka's clients block. The operations are those of the actor "operations:<pipeline>".
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Annotated, Any, NamedTuple, Self, TypeVar

from fastapi import Header, Request
from fastapi.responses import JSONResponse
from pydantic import BaseModel, ConfigDict, Field, model_validator

from actors.errors import ConfigError
from actors.kafka.client import Cluster
from cluster.api.access import Caller
from cluster.api.pools import Pool
from cluster.api.problems import Problem, Unavailable, answers
from cluster.api.stream import facts_of
from cluster.operations.errors import Refused
from cluster.operations.operation import KEY_MAX
from cluster.operations.operation import Request as Asked
from cluster.operations.plans import HASH_CHARS, Plan, digest
from schemas.registry import RegistryUnavailable

PLAN_TIMEOUT_S = 60.0
PLANS_MAX = 4  # computed at once, also those that are given up; further ones wait
CONNECTING_MAX = 2  # likewise: the operations actor is looked for
ACTOR_TIMEOUT_S = 35.0  # more than the actor takes to start, or to find that it cannot keep an operation

IdempotencyKey = Annotated[
    str,
    Header(
        max_length=KEY_MAX,
        pattern=r"^[\x21-\x7e]*$",
        description="the same key and request again is the same operation; any text that was not used before",
    ),
]
ACCEPTED: dict[int | str, dict[str, Any]] = {
    202: {
        "description": "Accepted: poll the operation at `Location`",
        "headers": {"Location": {"description": "path of the operation", "schema": {"type": "string"}}},
    },
    **answers(409),  # it cannot be done as things stand, or the plan has another hash now
}

T = TypeVar("T")


class Dangerous(BaseModel):
    """What every dangerous request says: whether it only wants the plan, or which plan it applies."""

    model_config = ConfigDict(extra="forbid", populate_by_name=True)

    dry_run: Annotated[bool, Field(description="answer the plan, do nothing")] = False
    plan_hash: Annotated[
        str | None,
        Field(pattern=rf"^[0-9a-f]{{{HASH_CHARS}}}$", description="apply this plan, if it is still the same"),
    ] = None

    @model_validator(mode="after")
    def _one_of_both(self) -> Self:
        if self.dry_run == (self.plan_hash is not None):
            raise ValueError("either dry_run: true, or the plan_hash that a dry run has answered")
        return self


class Change(NamedTuple):
    """What a route is asked to do."""

    action: str  # as the audit calls it, e.g. "topics.delete"
    resource: str  # likewise, e.g. "topic june.charts"
    plan: Callable[[], Plan]  # blocks; raises Refused and what Kafka's clients raise
    asked: dict[str, Any]  # JSON: by which the same request is known


class Management:
    """What the routes that change something ask: plans, and the operations actor."""

    def __init__(self, cluster: Cluster, pipeline: str) -> None:
        self.cluster = cluster
        self.pipeline = pipeline
        self._planning = Pool("plans", PLANS_MAX)
        self._connecting = Pool("operations", CONNECTING_MAX)

    async def blocking(self, ask: Callable[[], T], timeout_s: float = PLAN_TIMEOUT_S) -> T:
        """Do in a thread what blocks. Raises Problem."""
        import ray  # noqa: PLC0415 - see cluster/api/facts.py

        try:
            async with asyncio.timeout(timeout_s):
                return await self._planning.ask(ask)
        except Refused as error:
            raise Problem(error.status, str(error)) from error
        except ray.exceptions.RayError as error:
            raise Unavailable("ray", (str(error).splitlines() or [type(error).__name__])[-1]) from error
        except TimeoutError as error:
            raise Unavailable("kafka", f"no answer within {timeout_s:g} s") from error
        except RegistryUnavailable as error:
            raise Unavailable("registry", str(error)) from error
        except (RuntimeError, OSError, ConfigError) as error:  # ReopenError, FencedError
            raise Unavailable("kafka", str(error)) from error

    async def operations(self, method: str, *arguments: Any) -> Any:
        """Ask the operations actor, which is started if it does not run. Raises Problem; ValueError for a bad cursor."""
        from cluster.operations.actor import connect  # noqa: PLC0415 - it needs Kafka's clients

        async def call() -> Any:
            handle = await self._connecting.ask(lambda: connect(self.cluster, self.pipeline))
            return await asyncio.wait_for(getattr(handle, method).remote(*arguments), ACTOR_TIMEOUT_S)

        return await answered("operations", call())


async def answered(part: str, call: Awaitable[T]) -> T:
    """Wait for what one of our actors answers. What it refuses is a Problem; a ValueError (a bad cursor) passes through."""
    import ray  # noqa: PLC0415 - the API's document has no use for it

    try:
        return await call
    except ray.exceptions.RayTaskError as error:
        cause = error.cause
        if isinstance(cause, Refused):
            raise Problem(cause.status, str(cause)) from error
        if isinstance(cause, ValueError):
            raise cause from error
        if isinstance(cause, RuntimeError):
            raise Unavailable(part, str(cause)) from error
        raise
    except (ray.exceptions.RayError, TimeoutError) as error:
        raise Unavailable(part, "the actor is starting, or does not answer") from error


def management_of(request: Request) -> Management:
    """Return the one of the app."""
    found: Management | None = getattr(request.app.state, "management", None)
    if found is None:
        facts = facts_of(request)
        found = request.app.state.management = Management(facts.cluster, facts.pipeline)
    return found


async def carry_out(request: Request, caller: Caller, change: Change, body: Dangerous, key: str) -> JSONResponse:
    """Answer the plan, or apply it. Raises Problem."""
    management = management_of(request)
    if body.dry_run:
        plan = await management.blocking(change.plan)
        return JSONResponse(await management.blocking(plan.told))
    return await _begin(request, caller, change, key, body.plan_hash)


async def at_once(request: Request, caller: Caller, change: Change, key: str) -> JSONResponse:
    """Begin an operation that needs no dry run. Raises Problem."""
    return await _begin(request, caller, change, key, None)


async def _begin(request: Request, caller: Caller, change: Change, key: str, plan_hash: str | None) -> JSONResponse:
    management = management_of(request)
    request_hash = digest({"action": change.action, "plan_hash": plan_hash, "asked": change.asked})
    if key:
        known = await management.operations("known", caller.name, key, request_hash)
        if known is not None:
            return _accepted(known)
    plan = await management.blocking(change.plan)
    if plan_hash not in (None, plan.hash):
        detail = "the plan as it is now has another hash, and nothing was done: look at it, then apply it by that one"
        raise Problem(409, detail, **plan.told())
    told = await management.blocking(plan.to_json)
    asked = Asked(plan.kind, plan.subject, told, plan.hash, caller.name, key, request_hash)
    begun = await management.operations("begin", asked)
    after = {"operation": begun["id"], "plan": told}
    await request.app.state.audit.changed(caller, change.action, change.resource, None, after)
    return _accepted(begun)


def _accepted(operation: dict[str, Any]) -> JSONResponse:
    return JSONResponse(operation, 202, {"Location": f"/operations/{operation['id']}"})
