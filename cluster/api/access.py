"""What a route needs, and who asks for it.

Every route says what it needs, with `needs` or `open_to_all`; a test walks all routes and fails for one that says nothing.
"""

from __future__ import annotations

from typing import Any, Literal, NamedTuple, Protocol

from fastapi import Depends, Request

Action = Literal["read", "write", "manage"]
Resource = Literal[
    "topics", "consumers", "schemas", "metrics", "dead-letters", "pipelines", "operations",
    "charts", "limits", "alerts", "events", "keys", "audit",
]  # fmt: skip


class Need(NamedTuple):
    """An action on a resource; `parameter`: of the path, that names which one, empty where it is about all of them."""

    resource: Resource
    action: Action
    parameter: str = ""


class Caller(NamedTuple):
    """Who asks."""

    name: str  # of the key, or the subject of a token
    role: str


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


class Unrecorded:
    """An audit that keeps nothing."""

    async def changed(self, caller: Caller, action: str, resource: str, before: Any, after: Any) -> None:
        """Do nothing."""


class Everybody:
    """A guard that lets everybody in."""

    async def allow(self, request: Request, need: Need, name: str) -> Caller:
        """Return a caller without a name."""
        return Caller("everybody", "admin")


def needs(resource: Resource, action: Action, parameter: str = "") -> Any:
    """Return a dependency that lets those in who may; its value is the Caller."""
    need = Need(resource, action, parameter)

    async def caller(request: Request) -> Caller:
        guard: Guard = request.app.state.guard
        return await guard.allow(request, need, str(request.path_params.get(parameter, "")))

    caller.need = need  # type: ignore[attr-defined]  # for the test that walks all routes
    return Depends(caller)


def _open() -> None:
    """Let everybody in."""


_open.need = None  # type: ignore[attr-defined]
open_to_all = Depends(_open)
