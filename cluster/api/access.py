"""What a route needs, and who asks for it.

Every route says what it needs, with `needs` or `open_to_all`; a test walks all routes and fails for one that says nothing.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple, Protocol

from fastapi import Depends, Request
from fastapi.dependencies.models import Dependant

from cluster.access.needs import BODY, QUERY, Action, Need, Resource
from cluster.access.tally import Refusal
from cluster.api.problems import Denied

__all__ = [
    "BODY",
    "CALLER",
    "QUERY",
    "Action",
    "Audit",
    "Caller",
    "Everybody",
    "Guard",
    "Need",
    "Resource",
    "Unrecorded",
    "declared",
    "denied",
    "judge_first",
    "needs",
    "open_to_all",
]
CALLER = "chipquality.caller"  # in the scope of a request whose caller is known
_JUDGED = "chipquality.judged"  # in the scope of a request: what was allowed, by need


class Caller(NamedTuple):
    """Who asks. `role` is the one under which this request is allowed."""

    name: str  # of the key, or the subject of a token
    role: str
    method: str = ""  # how it was proved: API_KEY, SESSION, OIDC
    key_id: str = ""  # of the key; of a session, the key that opened it; "" for a token
    session_id: str = ""
    address: str = ""  # where the request came from
    grants: tuple[Any, ...] = ()  # cluster.access.grants.Grant
    until_ms: int = 0  # what it shows is worth something until then, ms since the epoch; 0: always


class Guard(Protocol):
    """Who may do what."""

    async def allow(self, request: Request, need: Need, name: str) -> Caller:
        """Return who asks, if they may do this to what has this name. Raises Problem: 401 who are you, 403 you may not."""
        ...


class Audit(Protocol):
    """Where every change is recorded."""

    async def changed(self, caller: Caller, action: str, resource: str, before: Any, after: Any) -> None:
        """Record who changed what: `before` and `after` are what JSON can say. Raises Unavailable if it cannot be recorded."""
        ...

    def refused(self, refusal: Refusal) -> None:
        """Count a refusal, which is recorded soon. Never blocks."""
        ...


class Unrecorded:
    """An audit that keeps nothing."""

    async def changed(self, caller: Caller, action: str, resource: str, before: Any, after: Any) -> None:
        """Do nothing."""

    def refused(self, refusal: Refusal) -> None:
        """Do nothing."""


class Everybody:
    """A guard that lets everybody in."""

    async def allow(self, request: Request, need: Need, name: str) -> Caller:
        """Return a caller without a name."""
        return Caller("everybody", "admin")


def denied(caller: Caller, action: str, resource: str, reason: str, detail: str, **members: Any) -> Denied:
    """Return what to raise where a caller may not do something that a grant alone does not decide."""
    return Denied(detail, Refusal(caller.name, reason, caller.address, action, resource, caller.role), **members)


async def name_of(request: Request, parameter: str) -> str:
    """Return the name that a request gives for what it is about; empty, which is all, where it gives none."""
    if parameter.startswith(BODY):
        try:
            body = await request.json()
        except (ValueError, RecursionError):  # the route says what is wrong with it
            return ""
        name = body.get(parameter.removeprefix(BODY)) if isinstance(body, dict) else None
        return name if isinstance(name, str) else ""
    if parameter.startswith(QUERY):
        given = request.query_params.getlist(parameter.removeprefix(QUERY))
        return given[0] if len(given) == 1 else ""
    return str(request.path_params.get(parameter, ""))


def needs(resource: Resource, action: Action, parameter: str = "") -> Any:
    """Return a dependency that lets those in who may; its value is the Caller."""
    need = Need(resource, action, parameter)

    async def caller(request: Request) -> Caller:
        return await _allowed(request, need)

    caller.need = need  # type: ignore[attr-defined]  # for `judge_first`, and for the test that walks all routes
    return Depends(caller)


async def _allowed(request: Request, need: Need) -> Caller:
    """Return who asks; the guard is asked once."""
    judged: dict[Need, Caller] = request.scope.setdefault(_JUDGED, {})
    if need not in judged:
        guard: Guard = request.app.state.guard
        judged[need] = await guard.allow(request, need, await name_of(request, need.parameter))
    return judged[need]


def _open() -> None:
    """Let everybody in."""


_open.need = None  # type: ignore[attr-defined]
open_to_all = Depends(_open)


def declared(dependant: Dependant) -> Iterator[Need | None]:
    """Yield what a route and all it depends on say that they need; None: it is open."""
    call: Any = dependant.call
    if hasattr(call, "need"):
        yield call.need
    for part in dependant.dependencies:
        yield from declared(part)


async def _judge_first(request: Request) -> None:
    found = list(declared(request.scope["route"].dependant))
    if not found:
        caller = request.scope.get(CALLER) or Caller("anonymous", "")
        detail = "this route does not say what it needs, so nobody may use it"
        raise denied(caller, "any", request.scope["route"].path, "the route does not say what it needs", detail)
    for need in found:
        if need is not None:
            await _allowed(request, need)


judge_first = Depends(_judge_first)  # of the app: before anything else that a route depends on has looked at anything
