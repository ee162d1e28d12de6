"""What is known of keys and of sessions that ended early: the newest record of each, folded from `quality.access`. Pure.

Rules of this file: a key that was revoked stays so, whatever is written later, also where its record is deleted in between; a
record whose seal is not ours is left out and counted; nothing grows without a limit. What was read is all that a book knows: once
Kafka has compacted a deleted record away, a book that begins after that has not seen it.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from cluster.access.keys import Key, from_record, id_of, matches
from cluster.access.secret import Secret
from cluster.access.sessions import Session

_LOG = logging.getLogger("chipquality.access")

KEYS_MAX = 10_000
ENDED_SESSIONS_MAX = 100_000
DELETED_MAX = 100_000  # revoked keys whose records were deleted; those that were deleted first are forgotten
KEY, SESSION = "key|", "session|"  # before the id, in Kafka keys

Entry = tuple[bytes, bytes | None]


def key_name(key_id: str) -> str:
    """Return the Kafka key of a key's record."""
    return f"{KEY}{key_id}"


def session_name(session_id: str) -> str:
    """Return the Kafka key of the record of a session that ended."""
    return f"{SESSION}{session_id}"


def newest_first(key: Key) -> tuple[int, str]:
    """Return what a list of keys is sorted by."""
    return -key.created_ms, key.key_id


class Book:
    """Keys by id. One thread takes records in; others look things up."""

    def __init__(self, secret: Secret) -> None:
        self.secret = secret
        self.refused = 0  # records that were left out
        self._keys: dict[str, Key] = {}
        self._deleted: dict[str, None] = {}  # revoked keys whose records are gone
        self._ended: dict[str, int] = {}  # session → when it would have ended anyway, ms

    def take(self, entries: Iterable[Entry], read: Callable[[bytes], Mapping[str, Any]]) -> None:
        """Take records in, in log order; `read` decodes a value. Raises what `read` raises but ValueError and KeyError."""
        for key, value in entries:
            name = key.decode("utf-8", "replace")
            if value is None:
                self._forget(name)
                continue
            try:
                self._take(name, read(value))
            except (ValueError, KeyError, TypeError) as error:
                self.refused += 1
                _LOG.error("quality.access: record %.60r is left out: %s", name, error)

    def _take(self, name: str, record: Mapping[str, Any]) -> None:
        if name.startswith(SESSION):
            self._ended[name.removeprefix(SESSION)] = int(record["expires_ms"])
            while len(self._ended) > ENDED_SESSIONS_MAX:
                del self._ended[next(iter(self._ended))]
            return
        key = from_record(self.secret, record)
        if name != key_name(key.key_id):
            raise ValueError(f"it is of another key, {key.key_id}")
        known = self._keys.get(key.key_id)
        was_revoked = key.key_id in self._deleted or (known is not None and known.revoked_ms is not None)
        if was_revoked and key.revoked_ms is None:
            raise ValueError("this key was revoked before: it stays so")
        if known is None and len(self._keys) >= KEYS_MAX:
            raise ValueError(f"there are {KEYS_MAX} keys already")
        self._keys[key.key_id] = key

    def _forget(self, name: str) -> None:
        if name.startswith(KEY):
            gone = self._keys.pop(name.removeprefix(KEY), None)
            if gone is not None and gone.revoked_ms is not None:
                self._deleted[gone.key_id] = None
            while len(self._deleted) > DELETED_MAX:
                del self._deleted[next(iter(self._deleted))]
        else:
            self._ended.pop(name.removeprefix(SESSION), None)

    def find(self, text: str, now_ms: int) -> Key | None:
        """Return the live key that this text is; None: it is none."""
        key_id = id_of(text)
        key = self._keys.get(key_id) if key_id else None
        return key if matches(self.secret, key, text) and key is not None and key.live(now_ms) else None

    def live(self, key_id: str, now_ms: int) -> Key | None:
        """Return a key by its id if it is worth something."""
        key = self._keys.get(key_id)
        return key if key is not None and key.live(now_ms) else None

    def holds(self, session: Session, now_ms: int) -> Key | None:
        """Return the key of a session, if both are worth something."""
        return None if session.session_id in self._ended else self.live(session.key_id, now_ms)

    def get(self, key_id: str) -> Key | None:
        """Return a key by its id, whatever it is worth."""
        return self._keys.get(key_id)

    def name_of(self, text: str) -> str:
        """Return whose key this text claims to be, for the audit trail; empty: nobody's."""
        key = self._keys.get(id_of(text) or "")
        return key.name if key else ""

    def listed(self) -> list[Key]:
        """Return all keys, newest first."""
        return sorted(self._keys.values(), key=newest_first)

    def worthless(self, now_ms: int) -> list[Key]:
        """Return keys that are worth nothing, those that ended first in front."""
        ended = [key for key in list(self._keys.values()) if not key.live(now_ms)]
        return sorted(ended, key=lambda key: min(key.expires_ms, key.revoked_ms or key.expires_ms))

    def over(self, now_ms: int, most: int) -> list[str]:
        """Return ended sessions whose cookie has expired: nobody need know of them any more."""
        return [session_id for session_id, expires_ms in list(self._ended.items()) if expires_ms <= now_ms][:most]
