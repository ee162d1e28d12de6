"""The frame of a plain consumer: it hands records to what handles them, and sees to it that none is lost or in the way.

Theory of operation
-------------------
A `RetryingConsumer` is a member of an ordinary consumer group over a topic and its retry topics (actors/sinks/journey.py).
One record at a time:

1. a record of a retry topic that is not due yet is held, and its partition paused, until it is; so is a record whose schema the
   registry cannot name just now. Polling goes on: the group's session never runs out, other partitions flow;
2. a record that cannot be decoded is a dead letter at once: no later attempt would read it;
3. the handler gets it. `RetryLater` sends it to the next retry topic, or after the last attempt to the dead-letter topic; any
   other exception is a fault of the handler with this record: a dead letter at once, with its traceback;
4. its offset may be committed, because it is handled or stands, acknowledged, in another topic.

A failed record never blocks those behind it; it is handled after them, so a handler must not need their order. Delivery is
at-least-once: after a crash what was handled since the last commit comes again, and a record may stand twice in a retry topic.
Anything that goes wrong with the broker has one cure: leave the group, join it again, go on from what is committed.
"""

from __future__ import annotations

import logging
import threading
import time
import traceback
from collections import Counter
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple, Protocol

from actors.errors import FencedError, ReopenError
from actors.kafka.client import Cluster
from actors.kafka.group import SESSION_MS, GroupMember, Place, RecordTooLargeError
from actors.sinks.journey import (
    Again,
    Journey,
    Plan,
    Received,
    after_failure,
    dead_letter_fields,
    headers_of,
    journey_of,
    own_headers,
)
from schemas.batch import Reason
from schemas.decode import UnreadableRecord, decode_event
from schemas.encode import Encoder
from schemas.registry import Registry, RegistryUnavailable
from schemas.topics import schema_text, subject_of

_LOG = logging.getLogger("chipquality.sinks")

POLL_WAIT_S = 0.2
COMMIT_INTERVAL_S = 1.0  # between commits: what comes again after a crash
REGISTRY_RETRY_MS = 1_000  # a record whose schema cannot be asked for waits so long; it is no dead letter
REOPEN_WAIT_S, REOPEN_WAIT_MAX_S = 0.5, 30.0  # before joining again; doubled from failure to failure


class RetryLater(Exception):  # noqa: N818 - it is an instruction, not an error
    """Handling failed, and may succeed later. `rest` says what is still to be done; it comes back with the next attempt."""

    def __init__(self, detail: str, rest: str = "") -> None:
        super().__init__(detail)
        self.rest = rest


class Handles(Protocol):
    """What handles records. It must end well within POLL_INTERVAL_MS (actors/kafka/group.py)."""

    def handle(self, event: dict[str, Any], journey: Journey) -> None:
        """Handle one record. Raises RetryLater."""
        ...

    def tick(self) -> None:
        """Do what is due without a record; called after every poll."""
        ...

    def finish(self) -> None:
        """Do what is left: the program ends."""
        ...

    @property
    def holds(self) -> bool:
        """Tell whether something handled is not done yet: while it is so, nothing is committed."""
        ...


class _Held(NamedTuple):
    record: Received
    until_ms: int


def wall_ms() -> int:
    """Return the time, milliseconds since the epoch."""
    return time.time_ns() // 1_000_000


class RetryingConsumer:
    """One member at work. Call `step` again and again, then `close`; after an error `close` and make a new one."""

    def __init__(
        self,
        cluster: Cluster,
        plan: Plan,
        handler: Handles,
        *,
        now_ms: Callable[[], int] = wall_ms,
        session_ms: int = SESSION_MS,
    ) -> None:
        self.plan = plan
        self.handler = handler
        self.counts: Counter[str] = Counter()  # handled, retried, dead_lettered, waited_for_registry
        self._now_ms = now_ms
        self._registry = Registry(cluster.registry_url, cluster.registry_client)
        self._cluster = cluster
        self._encoder: Encoder | None = None
        self._held: dict[Place, _Held] = {}  # at most one a partition
        self._done: dict[Place, int] = {}  # next offsets to commit
        self._last_commit_ms = now_ms()
        self._member = GroupMember(cluster, plan.group, (plan.topic, *plan.retries), self._leave, session_ms)

    @property
    def waiting(self) -> int:
        """Return how many partitions wait for a record to be due, or for the registry."""
        return len(self._held)

    @property
    def partitions(self) -> frozenset[Place]:
        """Return the partitions that the group gave us."""
        return self._member.partitions

    @property
    def trouble(self) -> str | None:
        """Return what the connection last said; None while records flow."""
        return self._member.trouble

    def step(self, wait_s: float = POLL_WAIT_S) -> None:
        """Take what is due, then at most one further record. Raises ReopenError, FencedError."""
        now_ms = self._now_ms()
        for place, held in list(self._held.items()):
            if held.until_ms <= now_ms and self._held.pop(place, None) is not None:
                self._take(held.record)
                if place not in self._held:
                    self._member.resume(place)
        record = self._member.poll(wait_s)
        if record is not None:
            self._take(record)
        self.handler.tick()
        if self._now_ms() - self._last_commit_ms >= COMMIT_INTERVAL_S * 1000:
            self._commit()

    def close(self) -> None:
        """Finish and commit what is done, and leave the group."""
        try:
            self.handler.finish()
            self._commit()
        finally:
            self._member.close()

    def abandon(self) -> None:
        """Leave the group after an error; what was not committed comes again."""
        self._done.clear()
        self._member.close()

    def _take(self, record: Received) -> None:
        journey = journey_of(record, self.plan)
        if journey.due_ms > self._now_ms():
            self._hold(record, journey.due_ms)
            return
        try:
            event = decode_event(record.value, self._registry.schema)
        except RegistryUnavailable as error:
            _LOG.warning("%s:%d waits for the registry: %s", *record.place, error)
            self.counts["waited_for_registry"] += 1
            self._hold(record, self._now_ms() + REGISTRY_RETRY_MS)
            return
        except UnreadableRecord as error:
            tried = journey._replace(attempts=journey.attempts + 1)
            self._give_up(record, tried, error.reason, error.detail, "")
        else:
            self._handle(record, journey, event)
        self._done[record.place] = record.offset + 1

    def _handle(self, record: Received, journey: Journey, event: dict[str, Any]) -> None:
        try:
            self.handler.handle(event, journey)
        except RetryLater as error:
            self._again(record, journey, error)
        except Exception as error:  # noqa: BLE001 - any code may stand here; the record goes on as a dead letter with the trace
            tried = journey._replace(attempts=journey.attempts + 1)
            detail = f"{type(error).__name__}: {error}"
            self._give_up(record, tried, Reason.HANDLING_FAILED, detail, traceback.format_exc())
        else:
            self.counts["handled"] += 1

    def _again(self, record: Received, journey: Journey, error: RetryLater) -> None:
        after = after_failure(self.plan, journey, str(error), error.rest, self._now_ms())
        if isinstance(after, Again):
            try:
                headers = headers_of(after.journey, record.headers)
                self._member.send(after.topic, record.key, record.value, headers)
            except RecordTooLargeError as too_large:
                detail = f"{error}; and it cannot be tried again: {too_large}"
                self._give_up(record, after.journey, Reason.HANDLING_FAILED, detail, "")
            else:
                self.counts["retried"] += 1
                _LOG.info("%s: attempt %d: %s", journey.coordinates, after.journey.attempts, error)
            return
        trace = "".join(traceback.format_exception(error))
        self._give_up(record, after.journey, Reason.HANDLING_FAILED, str(error), trace)

    def _give_up(self, record: Received, journey: Journey, reason: Reason, detail: str, trace: str) -> None:
        fields = dead_letter_fields(record, journey, self.plan.group, reason, detail, trace)
        value = self._letters().encode(fields)
        self._member.send(self.plan.dead_letters, journey.coordinates.encode(), value, own_headers(record.headers))
        self.counts["dead_lettered"] += 1
        _LOG.warning("%s is a dead letter after attempt %d: %s", journey.coordinates, journey.attempts, detail)

    def _letters(self) -> Encoder:
        """Return the encoder of dead letters; the first needs the registry. Raises ReopenError if it does not answer."""
        if self._encoder is None:
            subject = subject_of(self.plan.dead_letters, "dead_letter")
            try:
                self._encoder = Encoder("dead_letter", self._registry.register(subject, schema_text("dead_letter")))
            except RegistryUnavailable as error:
                raise ReopenError(f"{self.plan.dead_letters}: {error}") from error
        return self._encoder

    def _hold(self, record: Received, until_ms: int) -> None:
        self._member.pause(record.place)
        self._held[record.place] = _Held(record, until_ms)

    def _commit(self) -> None:
        self._last_commit_ms = self._now_ms()
        if self._done and not self.handler.holds:
            done, self._done = self._done, {}
            self._member.commit(done)

    def _leave(self, places: Iterable[Place]) -> None:
        """Commit what is done of partitions that are taken away; forget what is held of them: their next owner gets it."""
        self._commit()
        for place in places:
            self._held.pop(place, None)
            self._done.pop(place, None)


def run(make: Callable[[], RetryingConsumer], stop: threading.Event) -> None:
    """Consume until `stop` is set; after an error of the broker join again, waiting longer from failure to failure."""
    wait_s = REOPEN_WAIT_S
    while not stop.is_set():
        consumer = make()
        try:
            while not stop.is_set():
                consumer.step()
                if consumer.counts:
                    wait_s = REOPEN_WAIT_S
            consumer.close()
        except (ReopenError, FencedError) as error:
            _LOG.warning("group %s joins again in %.1f s: %s", consumer.plan.group, wait_s, error)
            consumer.abandon()
            stop.wait(wait_s)
            wait_s = min(2 * wait_s, REOPEN_WAIT_MAX_S)
