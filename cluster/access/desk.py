"""Making and revoking keys, ending sessions: each is a record of `quality.access`, seen acknowledged before it counts."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from actors.producers.publisher import Publisher
from cluster.access.book import KEYS_MAX, Book, key_name, session_name
from cluster.access.keys import DAY_MS, Key, Minted, mint, to_record
from cluster.access.sessions import Session
from schemas.topics import ACCESS

PUBLISH_S = 10.0
FORGOTTEN_AT_ONCE = (
    10  # ended sessions that are over, each time that one ends: the topic does not grow with every sign-out
)
FIRST_DAYS = 90.0  # of the key that `chipquality run` makes when there is none for an admin


class Refused(ValueError):  # noqa: N818 - an answer
    """A key cannot be made so."""


class Taken(Refused):
    """It could be made another time: the name is in use, or there are too many."""


@dataclass(frozen=True)
class Desk:
    """Writes to the topic. Every call blocks, PUBLISH_S at most; raises PublishError, RegistryUnavailable."""

    publisher: Publisher
    now_ms: Callable[[], int]
    topic: str = ACCESS
    random: Callable[[int], bytes] = secrets.token_bytes

    def create(self, book: Book, name: str, grants: Sequence[str], days: float, by: str, key_id: str = "") -> Minted:
        """Make a key. Raises Refused: bad grants, a name that a live key has, too many keys. `key_id`: a new one unless given."""
        now_ms = self.now_ms()
        if any(key.name == name and key.live(now_ms) for key in book.listed()):
            raise Taken(f"there is a live key with the name {name[:60]!r}: revoke it, or choose another name")
        try:
            minted = mint(book.secret, name, grants, days, by, now_ms, self.random, key_id)
        except ValueError as error:
            raise Refused(str(error)) from error
        if len(book.listed()) >= KEYS_MAX:
            worthless = book.worthless(now_ms)
            if not worthless:
                raise Taken(f"there are {KEYS_MAX} live keys: revoke some")
            self._forget(key_name(worthless[0].key_id))
        self._write(book, minted.key)
        return minted

    def revoke(self, book: Book, key_id: str, by: str) -> Key | None:
        """Revoke a key; a second time changes nothing. None: there is none of this id."""
        key = book.get(key_id)
        if key is None:
            return None
        revoked = key.revoked(by, self.now_ms())
        if revoked is not key:
            self._write(book, revoked)
        return revoked

    def end(self, book: Book, session: Session) -> None:
        """End a session everywhere: a copy of its cookie is worth nothing either."""
        now_ms = self.now_ms()
        record = {"session_id": session.session_id, "ended_ms": now_ms, "expires_ms": session.expires_ms}
        self._publish("access_session", record, session_name(session.session_id))
        for session_id in book.over(now_ms, FORGOTTEN_AT_ONCE):
            self._forget(session_name(session_id))

    def first(self, book: Book) -> Minted | None:
        """Make a key for an admin, if there is no live one that may do everything; None: there is."""
        now_ms = self.now_ms()
        if any(str(grant) == "admin" for key in book.listed() if key.live(now_ms) for grant in key.grants):
            return None
        name = f"first-{now_ms // DAY_MS}-{self.random(3).hex()}"
        return self.create(book, name, ["admin"], FIRST_DAYS, "chipquality run")

    def _write(self, book: Book, key: Key) -> None:
        self._publish("access_key", to_record(book.secret, key), key_name(key.key_id))

    def _publish(self, record_name: str, record: dict[str, Any], key: str) -> None:
        self.publisher.publish(self.topic, record_name, record, key=key).result(PUBLISH_S)

    def _forget(self, name: str) -> None:
        self.publisher.send_raw(self.topic, None, name.encode()).result(PUBLISH_S)
