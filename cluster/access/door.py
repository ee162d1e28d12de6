"""What every request passes first: sizes, rates, who asks; and what holds while it is answered. ASGI middleware.

Theory of operation
-------------------
The door knows nothing of routes but which paths are open (they hold no data): whoever asks for anything else must be known,
whether or not a route is there and says what it needs. So a route that forgets to say it is not open to all. What the caller may
do is judged later, by the route's need. A stream is looked at with every piece that it sends: it ends when its caller's key is
revoked, his session ends, or his token expires.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from cluster.access.guard import KeyGuard, Unidentified, address_of, slow_down
from cluster.access.rates import Buckets, Streams
from cluster.api.access import CALLER, Caller
from cluster.api.problems import Denied, Problem, respond

HEADER_BYTES_MAX = 64 * 1024  # of all headers; the vector of a stream's Last-Event-ID is the largest
TARGET_BYTES_MAX = 64 * 1024  # of path and query, percent-encoded
OPEN_PATHS = frozenset(
    {("GET", "/"), ("GET", "/docs"), ("GET", "/favicon.ico"), ("GET", "/events/health"), ("POST", "/session")}
)
OPEN_FOLDER = "/web/"
TELL_MORE = frozenset({"/", "/events/health"})  # open, and they tell more to whom is known


@dataclass(frozen=True)
class DoorLimits:
    """How much one may ask; see AccessConfig."""

    requests_per_s: float
    requests_burst: int
    address_requests_per_s: float
    address_requests_burst: int
    body_bytes_max: int
    streams_max: int


class _Ended(Exception):  # noqa: N818 - no error
    """The answer was ended by us."""


class Door:
    """ASGI middleware. `everything_closed`: of the stream's app, which has no open paths."""

    def __init__(
        self,
        app: ASGIApp,
        guard: KeyGuard,
        limits: DoorLimits,
        *,
        everything_closed: bool = False,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.app, self._guard, self._limits, self._clock = app, guard, limits, clock
        self._everything_closed = everything_closed
        self._callers = Buckets(limits.requests_per_s, limits.requests_burst)
        self._addresses = Buckets(limits.address_requests_per_s, limits.address_requests_burst)
        self._streams = Streams(limits.streams_max)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one connection; there are no WebSockets here."""
        if scope["type"] != "http":
            if scope["type"] == "websocket":
                await send({"type": "websocket.close", "code": 1008})
                return
            await self.app(scope, receive, send)
            return
        try:
            self._check_sizes(scope)
            caller = await self._who(scope)
        except Problem as problem:
            if isinstance(problem, Denied):
                self._guard.audit.refused(problem.refusal)
            answer = respond(problem.status, problem.detail, scope["path"], **problem.members)
            await answer(scope, receive, send)
            return
        if caller is not None:
            scope[CALLER] = caller
        await self._pass(scope, receive, send, caller)

    def _check_sizes(self, scope: Scope) -> None:
        if sum(len(name) + len(value) for name, value in scope["headers"]) > HEADER_BYTES_MAX:
            raise Problem(431, f"headers of more than {HEADER_BYTES_MAX} bytes")
        if len(scope.get("raw_path") or b"") + len(scope.get("query_string", b"")) > TARGET_BYTES_MAX:
            raise Problem(414, f"an address of more than {TARGET_BYTES_MAX} bytes")
        length = Headers(scope=scope).get("content-length", "0")
        if not (length.isascii() and length.isdigit()):
            raise Problem(400, "Content-Length is no number")
        if len(length) > 18 or int(length) > self._limits.body_bytes_max:
            raise Problem(413, f"a body of more than {self._limits.body_bytes_max} bytes")

    async def _who(self, scope: Scope) -> Caller | None:
        """Return who asks; None where nobody need be known. Raises Problem: who are you, or not so fast."""
        now_s = self._clock()
        if wait_s := self._addresses.take(address_of(scope), now_s):
            raise slow_down(wait_s, "from this address")
        is_open = self._is_open(scope)
        if is_open and scope["path"] not in TELL_MORE:
            return None
        try:
            caller = await self._guard.identify(scope)
        except Problem as error:
            if is_open:
                return None
            raise (self._guard.failed(error) if isinstance(error, Unidentified) else error) from None
        if wait_s := self._callers.take(name_of(caller), now_s):
            raise slow_down(wait_s, "by this caller")
        return caller

    def _is_open(self, scope: Scope) -> bool:
        if self._everything_closed:
            return False
        method, path = ("GET" if scope["method"] == "HEAD" else scope["method"]), scope["path"]
        return (method, path) in OPEN_PATHS or (method == "GET" and path.startswith(OPEN_FOLDER))

    async def _pass(self, scope: Scope, receive: Receive, send: Send, caller: Caller | None) -> None:
        name = name_of(caller) if caller else ""
        streaming = ended = False

        async def send_while_it_stands(message: Message) -> None:
            nonlocal streaming, ended
            if message["type"] == "http.response.start" and caller is not None and _is_stream(message):
                if not self._streams.open(name):
                    ended = True
                    detail = f"{self._limits.streams_max} streams are open already: close one"
                    await respond(429, detail, scope["path"], retry_after_s=1)(scope, receive, send)
                    raise _Ended
                streaming = True
            elif streaming and caller is not None and not self._guard.stands(caller):
                ended = True
                await send({"type": "http.response.body", "body": b"", "more_body": False})
                raise _Ended
            await send(message)

        try:
            await self.app(scope, self._bounded(receive), send_while_it_stands)
        except Exception:
            if not ended:
                raise
        finally:
            if streaming:
                self._streams.close(name)

    def _bounded(self, receive: Receive) -> Receive:
        """Return what receives a body of so many bytes at most, also where its length was not told."""
        taken = 0

        async def receive_bounded() -> Message:
            nonlocal taken
            message = await receive()
            taken += len(message.get("body", b"")) if message["type"] == "http.request" else 0
            if taken > self._limits.body_bytes_max:
                raise HTTPException(413, f"a body of more than {self._limits.body_bytes_max} bytes")
            return message

        return receive_bounded


def _is_stream(message: Message) -> bool:
    headers: Any = message.get("headers", ())
    return any(name.lower() == b"content-type" and value.startswith(b"text/event-stream") for name, value in headers)


def name_of(caller: Caller) -> str:
    """Return what callers are told apart by; no subject of a token has the name of a key's."""
    return f"key {caller.key_id}" if caller.key_id else f"subject {caller.name}"
