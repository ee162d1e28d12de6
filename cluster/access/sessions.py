"""Sessions of the page: a signed cookie that names a key, and ends when the key does. Pure: randomness and time are arguments.

The cookie is `<payload>.<signature>`: base64 of JSON with the session's random name, the id of its key and when it ends; and
HMAC-SHA-256 of that. It holds no key. Signing in always makes a new session: one that somebody has planted is not taken over.
"""

from __future__ import annotations

import base64
import hmac
import json
from collections.abc import Callable, Mapping
from typing import NamedTuple

from cluster.access.secret import Secret

COOKIE = "cq_session"
COOKIE_CHARS_MAX = 1_000
SESSION_ID_BYTES = 16
SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})


class Session(NamedTuple):
    """Who is signed in, and until when."""

    session_id: str
    key_id: str
    expires_ms: int


def begin(key_id: str, key_expires_ms: int, now_ms: int, session_ms: int, random: Callable[[int], bytes]) -> Session:
    """Return a new session: it ends after `session_ms`, or with its key."""
    return Session(random(SESSION_ID_BYTES).hex(), key_id, min(now_ms + session_ms, key_expires_ms))


def cookie_of(secret: Secret, session: Session) -> str:
    """Return the cookie's value.

    >>> secret = Secret("0123456789abcdef0123456789abcdef")
    >>> session = Session("5e", "6b", 1_000)
    >>> read(secret, cookie_of(secret, session), 999) == session, read(secret, cookie_of(secret, session), 1_000)
    (True, None)
    """
    payload = base64.urlsafe_b64encode(json.dumps(list(session)).encode())
    return f"{payload.decode()}.{secret.mac('session', payload).hex()}"


def read(secret: Secret, cookie: str, now_ms: int) -> Session | None:
    """Return the session of a cookie; None if it is not ours, was changed, or has ended."""
    payload, _, signature = cookie.partition(".")
    if len(cookie) > COOKIE_CHARS_MAX or not cookie.isascii():
        return None
    if not hmac.compare_digest(secret.mac("session", payload.encode()).hex(), signature):
        return None
    session = Session(*json.loads(base64.urlsafe_b64decode(payload)))
    return session if now_ms < session.expires_ms else None


def set_cookie(value: str, max_age_s: int, *, secure: bool) -> str:
    """Return the header that sets the cookie; no script can read it, and no other site can make a browser send it."""
    return f"{COOKIE}={value}; Path=/; Max-Age={max_age_s}; HttpOnly; SameSite=Strict{'; Secure' if secure else ''}"


def from_our_page(headers: Mapping[str, str], origin: str) -> bool:
    """Tell whether a browser sent a request from our own page (`origin`): a request with a cookie that changes something is
    taken only then.

    >>> from_our_page({"sec-fetch-site": "same-origin"}, "http://h"), from_our_page({"sec-fetch-site": "same-site"}, "http://h")
    (True, False)
    >>> from_our_page({"origin": "http://h"}, "http://h"), from_our_page({"origin": "null"}, "http://h"), from_our_page({}, "http://h")
    (True, False, False)
    """
    site, said = headers.get("sec-fetch-site"), headers.get("origin")
    return (site is not None or said is not None) and site in (None, "same-origin") and said in (None, origin)
