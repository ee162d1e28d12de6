"""Who asks, and may he? The `Guard` of the product: keys, sessions and tokens, judged by grants. Default: no.

Rules of this file: one request shows one thing, and a header counts before a cookie; what is shown and is not worth anything is
refused, also where less would do; the answer never says what was wrong with it, the audit trail does.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from math import ceil
from typing import Any

from fastapi import Request
from starlette.datastructures import Headers
from starlette.types import Scope

from cluster.access import sessions
from cluster.access.audit import AuditTrail
from cluster.access.book import Book
from cluster.access.following import Following
from cluster.access.grants import role_of, role_under, strongest
from cluster.access.keys import PREFIX, Key, id_of
from cluster.access.needs import Need
from cluster.access.rates import Buckets
from cluster.access.secret import Secret
from cluster.access.tally import Refusal
from cluster.access.tokens import FetchError, TokenRefused, Tokens
from cluster.api.access import CALLER, Caller, denied
from cluster.api.problems import Denied, Problem, Unavailable

CREDENTIAL_CHARS_MAX = 8_200
SHOWN_CHARS = 100  # of a name that the caller sent, in an answer
FAILURES_PER_S, FAILURES_BURST = 1.0, 30.0  # of one address: what was shown was worth nothing
ANONYMOUS, UNKNOWN = "anonymous", "unknown"


class Unidentified(Problem):
    """401. `refusal` is for the audit trail; `shown`: something was shown, and it is worth nothing."""

    def __init__(self, detail: str, refusal: Refusal, *, shown: bool) -> None:
        super().__init__(401, detail)
        self.refusal, self.shown = refusal, shown


class KeyGuard:
    """The product's `Guard`."""

    def __init__(
        self,
        following: Following,
        audit: AuditTrail,
        secret: Secret,
        tokens: Tokens | None,
        *,
        public_origin: str | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.audit, self.secret = audit, secret
        self._following, self._tokens, self._clock = following, tokens, clock
        self._public_origin = public_origin
        self._failures = Buckets(FAILURES_PER_S, FAILURES_BURST)

    def now_ms(self) -> int:
        """Return the time, ms since the epoch."""
        return int(self._clock() * 1000)

    async def allow(self, request: Request, need: Need, name: str) -> Caller:
        """Return who asks, if they may do this to what has this name. Raises Problem: 401 who are you, 403 you may not.

        What is no reading is recorded before it is done; raises Unavailable if it cannot be.
        """
        caller = request.scope.get(CALLER) or await self.identify(request.scope)
        role = role_under(caller.grants, need, name)
        if role is None:
            what = f"{need.resource}{f' {name[:SHOWN_CHARS]!r}' if name else ''}"
            detail = f"{caller.name} may not {need.action} {what}: that takes the role {role_of(need)} for it"
            raise denied(caller, f"{need.resource}.{need.action}", name, "no grant allows it", detail)
        allowed = caller._replace(role=role)
        if need.action != "read" and need.resource != "session":
            await self.audit.granted(allowed, need, name, f"{request.method} {request.url.path}")
        return allowed

    async def identify(self, scope: Scope) -> Caller:
        """Return who asks. Raises Unidentified, Denied for a request of another site, Unavailable."""
        headers = Headers(scope=scope)
        shown = headers.getlist("authorization")
        address = address_of(scope)
        if shown:
            return await self._by_header(shown, address)
        session = cookie_of(headers)
        if session is None:
            refusal = Refusal(ANONYMOUS, "nothing shown", address, "any", "any")
            raise Unidentified("show a key: Authorization: Bearer cq_…, or sign in on the page", refusal, shown=False)
        caller = self._by_cookie(session, address)
        if scope["method"] not in sessions.SAFE_METHODS and not self.from_our_page(scope):
            raise Denied(
                "a request with a cookie that changes something must come from our own page",
                Refusal(caller.name, "another site's request", address, "any", "any", method="SESSION"),
            )
        return caller

    def failed(self, error: Unidentified) -> Problem:
        """Record that somebody was not let in; return what to answer: 429 where one address shows too much of no worth.

        Who shows what is worth something is never kept out by it.
        """
        self.audit.refused(error.refusal)
        wait_s = self._failures.take(error.refusal.address, self._clock()) if error.shown else 0.0
        return slow_down(wait_s, "from this address with what is worth nothing") if wait_s else error

    def stands(self, caller: Caller) -> bool:
        """Tell whether what a caller has shown is still worth something."""
        now_ms = self.now_ms()
        if caller.until_ms and now_ms >= caller.until_ms:
            return False
        if not caller.key_id:
            return True
        try:
            book = self._following.book
        except Unavailable:
            return False
        session = sessions.Session(caller.session_id, caller.key_id, caller.until_ms)
        return book.holds(session, now_ms) is not None

    async def key(self, text: str, address: str) -> Key:
        """Return the live key that a text is. Raises Unidentified, Unavailable."""
        book = self._following.book
        key = book.find(text, self.now_ms()) if len(text) <= CREDENTIAL_CHARS_MAX else None
        if key is None and self._may_be_new(book, text, address) and await self._following.proved():
            book = self._following.book
            key = book.find(text, self.now_ms())
        if key is None:
            user = book.name_of(text) or UNKNOWN
            raise _worthless(Refusal(user, "no live key", address, method="API_KEY"))
        return key

    def _may_be_new(self, book: Book, text: str, address: str) -> bool:
        """Tell whether a text may be a key that another replica has made just now; not from where there were many of no worth."""
        key_id = id_of(text)
        return key_id is not None and book.get(key_id) is None and not self._failures.wait_s(address, self._clock())

    def from_our_page(self, scope: Scope) -> bool:
        """Tell whether a browser sent this from our own page."""
        headers = Headers(scope=scope)
        origin = self._public_origin or f"{scope.get('scheme', 'http')}://{headers.get('host', '')}"
        return sessions.from_our_page(headers, origin)

    async def _by_header(self, shown: list[str], address: str) -> Caller:
        scheme, _, text = shown[0].partition(" ")
        text = text.strip()
        if len(shown) > 1 or scheme.lower() != "bearer" or not text or len(text) > CREDENTIAL_CHARS_MAX:
            raise _worthless(Refusal(UNKNOWN, "no single bearer credential", address, method="UNKNOWN"))
        if text.startswith(PREFIX) or self._tokens is None:
            return caller_of(await self.key(text, address), "API_KEY", address)
        try:
            subject = await self._tokens.read(text)
        except TokenRefused as error:
            raise _worthless(Refusal(UNKNOWN, str(error), address, method="OIDC")) from error
        except FetchError as error:
            raise Unavailable("issuer", str(error)) from error
        return Caller(
            subject.name, strongest(subject.grants), "OIDC", "", "", address, subject.grants, subject.expires_ms
        )

    def _by_cookie(self, cookie: str, address: str) -> Caller:
        now_ms = self.now_ms()
        session = sessions.read(self.secret, cookie, now_ms)
        key = self._following.book.holds(session, now_ms) if session else None
        if session is None or key is None:
            raise _worthless(Refusal(UNKNOWN, "no live session", address, method="SESSION"))
        caller = caller_of(key, "SESSION", address)
        return caller._replace(session_id=session.session_id, until_ms=session.expires_ms)


def slow_down(wait_s: float, what: str) -> Problem:
    """Return 429 with when to come again."""
    return Problem(429, f"too many requests {what}: wait {wait_s:.1f} s", retry_after_s=max(1, ceil(wait_s)))


def _worthless(refusal: Refusal) -> Unidentified:
    return Unidentified("what you show is worth nothing here: wrong, expired or revoked", refusal, shown=True)


def caller_of(key: Key, method: str, address: str) -> Caller:
    """Return who shows a key."""
    return Caller(key.name, strongest(key.grants), method, key.key_id, "", address, key.grants, key.expires_ms)


def address_of(scope: Mapping[str, Any]) -> str:
    """Return where a request comes from; behind a proxy, the proxy."""
    client = scope.get("client")
    return str(client[0]) if client else ""


def cookie_of(headers: Headers) -> str | None:
    """Return our cookie's value; of several, none counts."""
    found = [value for header in headers.getlist("cookie") for value in _values(header)]
    return found[0] if len(found) == 1 else None


def _values(header: str) -> list[str]:
    pairs = (part.strip().partition("=") for part in header.split(";"))
    return [value for name, _, value in pairs if name == sessions.COOKIE]
