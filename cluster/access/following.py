"""Following `quality.access`: one consumer per replica of the API, so that all see a new or revoked key within a second.

Theory of operation
-------------------
A thread reads the topic to its end, then takes what comes. Every CONTACT_S it asks the broker for the topic's end and reads up to
it: that is the proof that nothing was missed. Whatever goes wrong has one cure: begin again, from the first record, into a new
book that replaces the old one when it is complete. Meanwhile the old one counts, for STALE_S at most: a replica that is cut off
from Kafka does not go on believing in keys that may have been revoked.

Another replica may have made a key, and told it, before this one has read it. So before a key that is not in the book is refused,
a proof is asked for: it comes within POLL_S, and one serves all who wait.
"""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections.abc import Callable

from actors.errors import FencedError, ReopenError
from actors.follower import Follower
from actors.kafka.client import Cluster
from actors.kafka.log import KafkaLog
from cluster.access.book import Book
from cluster.access.secret import Secret
from cluster.api.problems import Unavailable
from schemas.decode import decode_event
from schemas.registry import Registry, RegistryUnavailable
from schemas.topics import ACCESS

POLL_S = 0.2
PROVE_S = 2.0  # for a proof that is asked for
PROVING_MAX = 50  # who wait for one at once; who comes then has what is known
LOOK_S = 0.01
CONTACT_S = 5.0  # between two proofs that all was read
STALE_S = 60.0  # without one; then no key is believed
RETRY_S = 0.5
GROUP = "chipquality-access"  # librdkafka wants one; nothing joins it and nothing is committed

_LOG = logging.getLogger("chipquality.access")


class Following(threading.Thread):
    """Keeps a book up to date until `stop`."""

    def __init__(
        self, cluster: Cluster, secret: Secret, *, topic: str = ACCESS, clock: Callable[[], float] = time.monotonic
    ) -> None:
        super().__init__(name="access", daemon=True)
        self.trouble: str | None = "keys are not read yet"
        self._cluster, self._secret, self._topic, self._clock = cluster, secret, topic, clock
        self._registry = Registry(cluster.registry_url, cluster.registry_client)
        self._book: Book | None = None
        self._proved_s = 0.0
        self._over = threading.Event()
        self._doubted = threading.Event()  # somebody waits for a proof
        self._proving = 0

    @property
    def book(self) -> Book:
        """Return what is known. Raises Unavailable before it is, and when it is too old to be believed."""
        if self._book is None:
            raise Unavailable("keys", self.trouble or "not read yet")
        if self._clock() - self._proved_s > STALE_S:
            raise Unavailable("keys", f"nothing heard of {self._topic} for {STALE_S:g} s: {self.trouble}")
        return self._book

    def how(self) -> str:
        """Return how it does, in words. Raises Unavailable if keys are not known, or the thread has ended."""
        keys = len(self.book.listed())
        if not self.is_alive():
            raise Unavailable("access", "nobody follows the keys any more: this process must start again")
        trouble = f"; {self.trouble}" if self.trouble else ""
        return f"{keys} keys, all read {self._clock() - self._proved_s:.0f} s ago{trouble}"

    def wait(self, timeout_s: float) -> bool:
        """Wait until the keys are known; return whether they are."""
        deadline = self._clock() + timeout_s
        while self._book is None and self._clock() < deadline:
            self._over.wait(POLL_S / 10)
        return self._book is not None

    async def proved(self) -> bool:
        """Wait until all that was written before this call has been read; False: it is not known whether it has."""
        if self._proving >= PROVING_MAX:
            return False
        asked_s = self._clock()
        self._proving += 1
        try:
            while self._proved_s < asked_s and self._clock() - asked_s < PROVE_S:
                self._doubted.set()
                await asyncio.sleep(LOOK_S)
        finally:
            self._proving -= 1
        return self._proved_s >= asked_s

    def stop(self) -> None:
        """End the thread; returns when it has ended."""
        self._over.set()
        if self.is_alive():
            self.join(timeout=30)

    def run(self) -> None:
        """Follow until stopped."""
        while not self._over.is_set():
            try:
                self._follow()
            except (ReopenError, FencedError, RegistryUnavailable) as error:
                self.trouble = str(error)
                _LOG.warning("%s: begins again: %s", self._topic, error)
                self._over.wait(RETRY_S)
            except Exception as error:  # noqa: BLE001 - without this thread keys count that were revoked, and then none
                self.trouble = f"{type(error).__name__}: {error}"
                _LOG.exception("%s: begins again", self._topic)
                self._over.wait(RETRY_S)

    def _follow(self) -> None:
        log = KafkaLog(self._cluster)
        follower = Follower(log, GROUP, self._topic)
        book = Book(self._secret)
        try:
            while not self._over.is_set():
                self._doubted.clear()
                asked_s = self._clock()
                book.take(follower.catch_up(), self._read)
                self._book, self._proved_s, self.trouble = book, asked_s, None
                while not (self._over.is_set() or self._doubted.is_set()) and self._clock() - asked_s < CONTACT_S:
                    book.take(follower.poll(POLL_S), self._read)
        finally:
            follower.close()
            log.close()

    def _read(self, value: bytes) -> dict[str, object]:
        return decode_event(value, self._registry.schema)


def read_book(cluster: Cluster, secret: Secret, topic: str = ACCESS) -> Book:
    """Return what is known now, read once. Raises ReopenError, RegistryUnavailable."""
    registry = Registry(cluster.registry_url, cluster.registry_client)
    log = KafkaLog(cluster)
    follower = Follower(log, GROUP, topic)
    book = Book(secret)
    try:
        book.take(follower.catch_up(), lambda value: decode_event(value, registry.schema))
    finally:
        follower.close()
        log.close()
    return book
