"""API keys: how one is made, what is kept of it, and how it is recognised. Pure: randomness and time are arguments.

A key is `cq_<id>_<secret>`: 64 random bits of name and 256 of secret. It is shown once. What is kept is HMAC-SHA-256 of it
under the server's secret, and a seal over the whole record. 256 random bits cannot be guessed, so a slow hash would buy nothing.
"""

from __future__ import annotations

import hmac
import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from cluster.access.grants import Grant, parse_all
from cluster.access.secret import Secret

PREFIX = "cq_"
ID_BYTES, SECRET_BYTES = 8, 32
NAME_CHARS_MAX = 100
DAY_MS = 24 * 60 * 60 * 1000
DAYS_MAX = 3650

_KEY = re.compile(rf"cq_([0-9a-f]{{{2 * ID_BYTES}}})_[0-9a-f]{{{2 * SECRET_BYTES}}}")

_SEALED = (  # a field that comes later is not of them: what was sealed before must stay valid
    "key_id", "name", "digest", "grants", "created_ms", "created_by", "expires_ms", "revoked_ms", "revoked_by",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Key:
    """What is kept of a key."""

    key_id: str
    name: str
    digest: bytes = field(repr=False)
    grants: tuple[Grant, ...]
    created_ms: int
    created_by: str
    expires_ms: int
    revoked_ms: int | None = None
    revoked_by: str = ""

    def live(self, now_ms: int) -> bool:
        """Tell whether it is worth something."""
        return self.revoked_ms is None and now_ms < self.expires_ms

    def revoked(self, by: str, now_ms: int) -> Key:
        """Return it revoked; one that is keeps when and by whom."""
        return self if self.revoked_ms is not None else replace(self, revoked_ms=now_ms, revoked_by=by)

    def is_what(self, name: str, grants: Sequence[str], days: float) -> bool:
        """Tell whether it is what was asked for so."""
        lasts_ms = self.expires_ms - self.created_ms
        return (self.name, self.grants, lasts_ms) == (name, parse_all(grants), _lasts_ms(days))

    def shown(self, now_ms: int) -> dict[str, Any]:
        """Return what the API and the command line say of it."""
        state = "revoked" if self.revoked_ms is not None else "live" if self.live(now_ms) else "expired"
        return {
            "id": self.key_id, "name": self.name, "state": state, "grants": [str(grant) for grant in self.grants],
            "created_ms": self.created_ms, "created_by": self.created_by, "expires_ms": self.expires_ms,
            "revoked_ms": self.revoked_ms, "revoked_by": self.revoked_by or None,
        }  # fmt: skip


@dataclass(frozen=True, slots=True)
class Minted:
    """A new key, and its text, which is never to be had again."""

    key: Key
    text: str = field(repr=False)


def mint(
    secret: Secret, name: str, grants: Sequence[str], days: float, by: str, now_ms: int, random: Callable[[int], bytes],
    key_id: str = "",
) -> Minted:  # fmt: skip
    """Make a key; `random(n)` gives n random bytes. Raises ValueError that says what is wrong. `key_id`: random unless given."""
    if not 1 <= len(name) <= NAME_CHARS_MAX or not name.isprintable() or name != name.strip():
        raise ValueError(f"name: 1 to {NAME_CHARS_MAX} printable characters, without blanks at the ends")
    if not 0 < days <= DAYS_MAX:
        raise ValueError(f"days: more than 0, at most {DAYS_MAX}; a key always expires")
    key_id = key_id or random(ID_BYTES).hex()
    text = f"{PREFIX}{key_id}_{random(SECRET_BYTES).hex()}"
    expires_ms = now_ms + _lasts_ms(days)
    key = Key(key_id, name, secret.mac("digest", text.encode()), parse_all(grants), now_ms, by, expires_ms)
    return Minted(key, text)


def _lasts_ms(days: float) -> int:
    return max(1, round(days * DAY_MS))


def id_of(text: str) -> str | None:
    """Return the id in a text that has the form of a key; None for another.

    >>> id_of("cq_0123456789abcdef_" + "0" * 64), id_of("cq_../_x")
    ('0123456789abcdef', None)
    """
    found = _KEY.fullmatch(text)
    return found and found[1]


def matches(secret: Secret, key: Key | None, text: str) -> bool:
    """Tell whether a text is this key; takes as long where there is no such key."""
    digest = secret.mac("digest", text.encode())
    return hmac.compare_digest(digest, key.digest if key else bytes(len(digest))) and key is not None


def to_record(secret: Secret, key: Key) -> dict[str, Any]:
    """Return the record of `schemas/avro/access_key.avsc`, sealed."""
    fields = {name: getattr(key, name) for name in _SEALED} | {"grants": [str(grant) for grant in key.grants]}
    return {**fields, "seal": _seal(secret, fields)}


def from_record(secret: Secret, record: Mapping[str, Any]) -> Key:
    """Return the key of a record. Raises ValueError if its seal is not ours: of another secret, or changed."""
    fields = {name: record[name] for name in _SEALED}
    if not hmac.compare_digest(_seal(secret, fields), bytes(record["seal"])):
        raise ValueError("its seal was not made with this secret, or it was changed")
    return Key(**{**fields, "digest": bytes(fields["digest"]), "grants": parse_all(fields["grants"])})


def _seal(secret: Secret, fields: Mapping[str, Any]) -> bytes:
    said = {name: bytes(value).hex() if name == "digest" else value for name, value in fields.items()}
    return secret.mac("seal", json.dumps(said, sort_keys=True).encode())
