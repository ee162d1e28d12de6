"""OIDC: who a JWT says that asks, and what he may. The issuer's keys are fetched by URL, and fetched again when they change.

Rules of this file: the algorithm is one of those configured, all asymmetric, never what the token alone says; issuer, audience
and times are always checked; a key is found by its `kid` only. A token that the issuer has taken back counts until it expires.
"""

from __future__ import annotations

import asyncio
import json
import logging
import time
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from http.client import HTTPException
from typing import Any, NamedTuple, NoReturn

import jwt
from jwt.exceptions import InvalidKeyError, InvalidTokenError, PyJWKError

from cluster.access.grants import Grant, parse_all

TOKEN_CHARS_MAX = 8_000
FETCH_TIMEOUT_S = 5.0
FETCH_BYTES_MAX = 512 * 1024
KEYS_MAX = 100  # of one issuer
KEEP_S = 300.0  # after so long they are fetched again: a key that the issuer has withdrawn counts no longer
AGAIN_S = 10.0  # between two fetches at least: unknown kids do not make us flood the issuer
STALE_S = 3600.0  # without a successful fetch; then no token is believed
REQUIRED = ("exp", "iat", "iss", "aud", "sub")
SUBJECT_CHARS_MAX = 200

_ASYMMETRIC = frozenset({"RSA", "EC", "OKP"})
_LOG = logging.getLogger("chipquality.access")

Fetch = Callable[[str], bytes]  # raises FetchError


class TokenRefused(ValueError):  # noqa: N818 - an answer
    """The token shows nothing; what is known of why."""


class FetchError(RuntimeError):
    """The issuer's keys cannot be had."""


@dataclass(frozen=True)
class Issuer:
    """Whose tokens are believed, and what their claims mean."""

    issuer: str
    audience: str
    jwks_url: str
    algorithms: tuple[str, ...]
    leeway_s: float = 30.0
    roles_claim: str = "roles"  # a dot goes deeper: realm_access.roles
    roles: Mapping[str, tuple[str, ...]] = field(default_factory=dict)  # value of the claim → grants
    required: tuple[str, ...] = ()  # further claims that must be there


@dataclass(frozen=True)
class Subject:
    """Whom a token names."""

    name: str
    grants: tuple[Grant, ...]
    expires_ms: int


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *_: Any) -> NoReturn:
        raise FetchError("it redirects: give the address itself")


def fetch_document(url: str) -> bytes:
    """Fetch a small document; no redirect, with limits. Raises FetchError."""
    try:
        with urllib.request.build_opener(_NoRedirect).open(url, timeout=FETCH_TIMEOUT_S) as answer:
            body: bytes = answer.read(FETCH_BYTES_MAX + 1)
    except (OSError, HTTPException, ValueError) as error:
        raise FetchError(f"{type(error).__name__}: {error}") from error
    if len(body) > FETCH_BYTES_MAX:
        raise FetchError(f"more than {FETCH_BYTES_MAX} bytes")
    return body


class PublicKey(NamedTuple):
    """A key that signs."""

    key: Any  # of cryptography
    algorithm: str | None  # the only one that it may be used with, if the issuer says one


class IssuerKeys:
    """The issuer's public keys by kid. Who asks for a known one never waits: what is older than KEEP_S is fetched beside."""

    def __init__(self, url: str, fetch: Fetch = fetch_document, clock: Callable[[], float] = time.monotonic) -> None:
        self.url, self._fetch, self._clock = url, fetch, clock
        self.trouble: str | None = None
        self._keys: dict[str, PublicKey] = {}
        self._fetched_s = self._tried_s = float("-inf")
        self._fetching: asyncio.Task[None] | None = None

    async def get(self, kid: str) -> PublicKey | None:
        """Return a key; None: the issuer has none of this name. Raises FetchError if nothing is known that may be believed."""
        now_s = self._clock()
        if kid not in self._keys or now_s - self._fetched_s > KEEP_S:
            fetching = self._again(now_s)
            if fetching is not None and (kid not in self._keys or now_s - self._fetched_s > STALE_S):
                await asyncio.shield(fetching)
        if self._clock() - self._fetched_s > STALE_S:
            raise FetchError(f"no keys of the issuer: {self.trouble}")
        return self._keys.get(kid)

    def _again(self, now_s: float) -> asyncio.Task[None] | None:
        """Return the fetch that is under way, begun now unless the last one was just before."""
        if self._fetching is not None and not self._fetching.done():
            return self._fetching
        if now_s - self._tried_s <= AGAIN_S:
            return None
        self._tried_s = now_s
        self._fetching = asyncio.create_task(self._take(now_s))
        return self._fetching

    async def _take(self, now_s: float) -> None:
        try:
            self._keys = dict(_usable(json.loads(await asyncio.to_thread(self._fetch, self.url))))
        except (FetchError, ValueError) as error:
            self.trouble = str(error)[:200]
            _LOG.warning("keys of the issuer cannot be fetched: %s", self.trouble)
        else:
            self._fetched_s, self.trouble = now_s, None


def _usable(document: Any) -> Iterator[tuple[str, PublicKey]]:
    """Yield the public keys of a JWKS that sign and have a name. Raises ValueError for another document."""
    listed = document.get("keys") if isinstance(document, dict) else None
    if not isinstance(listed, list) or len(listed) > KEYS_MAX:
        raise ValueError(f"no JWKS, or one with more than {KEYS_MAX} keys")
    for one in listed:
        if isinstance(one, dict) and isinstance(one.get("kid"), str) and one.get("use", "sig") == "sig":
            try:
                key = jwt.PyJWK(one)
            except (PyJWKError, InvalidKeyError):  # of a kind that we do not know
                continue
            if key.key_type in _ASYMMETRIC:
                yield one["kid"], PublicKey(key.key, one.get("alg"))


class Tokens:
    """Judges tokens of one issuer."""

    def __init__(self, issuer: Issuer, keys: IssuerKeys | None = None) -> None:
        self.issuer = issuer
        self.keys = keys or IssuerKeys(issuer.jwks_url)
        self._grants = {value: parse_all(texts) for value, texts in issuer.roles.items()}

    async def read(self, token: str) -> Subject:
        """Return whom a token names. Raises TokenRefused, FetchError."""
        if len(token) > TOKEN_CHARS_MAX:
            raise TokenRefused(f"longer than {TOKEN_CHARS_MAX} characters")
        try:
            header = jwt.get_unverified_header(token)
            algorithm, kid = header.get("alg"), header.get("kid")
            if algorithm not in self.issuer.algorithms:
                raise TokenRefused("its algorithm is none that is allowed")
            if not isinstance(kid, str):
                raise TokenRefused("it names no key (kid)")
            key = await self.keys.get(kid)
            if key is None:
                raise TokenRefused("the issuer has no key of this kid")
            if key.algorithm not in (None, algorithm):
                raise TokenRefused("its algorithm is not that of the key")
            claims = jwt.decode(
                token,
                key.key,
                algorithms=[algorithm],
                issuer=self.issuer.issuer,
                audience=self.issuer.audience,
                leeway=self.issuer.leeway_s,
                options={"require": [*REQUIRED, *self.issuer.required]},
            )
        except (
            InvalidTokenError,
            InvalidKeyError,
            TypeError,
        ) as error:  # TypeError: a key of another kind than the algorithm's
            raise TokenRefused(f"{type(error).__name__}: {error}"[:200]) from error
        return self._subject(claims)

    def _subject(self, claims: Mapping[str, Any]) -> Subject:
        name = claims["sub"]
        if not isinstance(name, str) or not name or len(name) > SUBJECT_CHARS_MAX or not name.isprintable():
            raise TokenRefused("its subject is no name")
        grants = [grant for value in _texts(claims, self.issuer.roles_claim) for grant in self._grants.get(value, ())]
        return Subject(name, tuple(dict.fromkeys(grants)), int((claims["exp"] + self.issuer.leeway_s) * 1000))


def _texts(claims: Mapping[str, Any], path: str) -> list[str]:
    """Return the texts of a claim, which is a text or a list of them; a dot in `path` goes deeper.

    >>> _texts({"realm_access": {"roles": ["a", 7]}, "roles": "b"}, "realm_access.roles"), _texts({"roles": "b"}, "roles")
    (['a'], ['b'])
    """
    found: Any = claims.get(path, claims)  # a claim's name may be an address with dots
    for part in [] if path in claims else path.split("."):
        found = found.get(part) if isinstance(found, Mapping) else None
    listed = [found] if isinstance(found, str) else found if isinstance(found, list) else []
    return [value for value in listed if isinstance(value, str)]
