"""Where a record of a plain consumer has been, and where it goes when handling it fails. Pure: no clock, no Kafka.

Theory of operation
-------------------
A record comes from its own topic, and after a failure from one retry topic after the other. Its value and key stay as they
came; where it came from, how often it was tried and when it is due stand in headers that begin with `chipquality-`.

    topic ──fails──▶ <topic>.retry.<group>.30s ──fails──▶ ….5m ──fails──▶ ….1h ──fails──▶ <topic>.<group>.dlq

Rules of this file: every retry topic has one delay, so its records are due in the order in which they stand; headers that
cannot be read make the record one of the topic it was found in, at its first attempt, never an error.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from schemas.batch import Reason
from schemas.topics import RETRY_DELAYS_S, group_dead_letter_topic, retry_topic

PREFIX = "chipquality-"
REDRIVEN, REDRIVEN_FROM = f"{PREFIX}redriven", f"{PREFIX}redriven-from"  # how often; the dead letter it was
ERROR_CHARS = 500  # of an error in a header
DETAIL_CHARS = 2_000  # of a detail in a dead letter
TRACE_CHARS = 8_000  # of a traceback in a dead letter: its end
BYTES_MAX = 64 * 1024  # of a key, and of a value, in a dead letter; the rest is by reference

Header = tuple[str, bytes | None]


class Received(NamedTuple):
    """A record as it came."""

    topic: str
    partition: int
    offset: int
    timestamp_ms: int
    key: bytes | None
    value: bytes | None
    headers: tuple[Header, ...] = ()

    @property
    def place(self) -> tuple[str, int]:
        """Return topic and partition."""
        return self.topic, self.partition


@dataclass(frozen=True)
class Plan:
    """Which topic a consumer group reads, how long it waits between attempts, and where it leaves what it gives up.

    >>> plan = Plan("quality.alerts", "notify", delays_s=(30, 300))
    >>> plan.retries, plan.dead_letters, plan.attempts_max
    (('quality.alerts.retry.notify.30s', 'quality.alerts.retry.notify.5m'), 'quality.alerts.notify.dlq', 3)
    """

    topic: str
    group: str
    delays_s: tuple[float, ...] = RETRY_DELAYS_S

    @property
    def retries(self) -> tuple[str, ...]:
        """Return the retry topics, shortest delay first."""
        return tuple(retry_topic(self.topic, self.group, delay_s) for delay_s in self.delays_s)

    @property
    def dead_letters(self) -> str:
        """Return the dead-letter topic."""
        return group_dead_letter_topic(self.topic, self.group)

    @property
    def attempts_max(self) -> int:
        """Return how often a record is tried before it is a dead letter."""
        return 1 + len(self.delays_s)


class Journey(NamedTuple):
    """Where a record comes from, and what has happened to it."""

    topic: str
    partition: int
    offset: int
    timestamp_ms: int
    attempts: int = 0  # made, and failed
    due_ms: int = 0  # not to be handled before; milliseconds since the epoch
    error: str = ""  # of the last attempt
    rest: str = ""  # what of it is still to be done, as the one who handled it said; empty: all
    redriven: int = 0  # how often it was published again from a dead letter

    @property
    def coordinates(self) -> str:
        """Return `topic:partition:offset` of the record itself."""
        return f"{self.topic}:{self.partition}:{self.offset}"


_TEXTS = ("topic", "error", "rest")
_NUMBERS = ("partition", "offset", "timestamp_ms", "attempts", "due_ms")


def journey_of(record: Received, plan: Plan) -> Journey:
    """Return what the headers of a record say; of a record in its own topic only how often it was redriven."""
    said = {name.removeprefix(PREFIX): value or b"" for name, value in record.headers if name.startswith(PREFIX)}
    redriven = said.get("redriven", b"")
    times = int(redriven) if redriven.isdigit() else 0
    own = Journey(record.topic, record.partition, record.offset, record.timestamp_ms, redriven=times)
    if record.topic not in plan.retries:
        return own
    try:
        texts = {name: said[name].decode() for name in _TEXTS}
        numbers = {name: int(said[name]) for name in _NUMBERS}
    except (KeyError, ValueError):
        return own
    return Journey(redriven=times, **texts, **numbers)  # type: ignore[arg-type]  # by name, as declared


def headers_of(journey: Journey, headers: Sequence[Header]) -> tuple[Header, ...]:
    """Return a record's own headers and those of its journey.

    >>> headers_of(Journey("t", 0, 7, 5, attempts=1), [("traceparent", b"00-1"), ("chipquality-due_ms", b"old")])[:2]
    (('traceparent', b'00-1'), ('chipquality-topic', b't'))
    """
    fields = journey._asdict()
    if not journey.redriven:
        del fields["redriven"]
    fields["error"] = journey.error[:ERROR_CHARS]
    ours = tuple((f"{PREFIX}{name}", str(value).encode()) for name, value in fields.items())
    return (*own_headers(headers), *ours)


def own_headers(headers: Sequence[Header]) -> tuple[Header, ...]:
    """Return the headers that are not ours."""
    return tuple(header for header in headers if not header[0].startswith(PREFIX))


class Again(NamedTuple):
    """Handle the record again, from this topic."""

    topic: str
    journey: Journey


class GiveUp(NamedTuple):
    """Leave the record in the dead-letter topic."""

    topic: str
    journey: Journey


def after_failure(plan: Plan, journey: Journey, error: str, rest: str, now_ms: int) -> Again | GiveUp:
    """Return where a record goes whose handling failed just now.

    >>> plan = Plan("t", "g", delays_s=(30,))
    >>> first = after_failure(plan, Journey("t", 0, 7, 5), "no answer", "", 1_000)
    >>> first.topic, first.journey.attempts, first.journey.due_ms
    ('t.retry.g.30s', 1, 31000)
    >>> after_failure(plan, first.journey, "no answer", "", 40_000).topic
    't.g.dlq'
    """
    attempts = journey.attempts + 1
    journey = journey._replace(attempts=attempts, error=error, rest=rest, due_ms=0)
    if attempts >= plan.attempts_max:
        return GiveUp(plan.dead_letters, journey)
    due_ms = now_ms + round(plan.delays_s[attempts - 1] * 1000)
    return Again(plan.retries[attempts - 1], journey._replace(due_ms=due_ms))


def dead_letter_fields(
    record: Received, journey: Journey, source: str, reason: Reason, detail: str, trace: str = ""
) -> dict[str, object]:
    """Return the fields of schemas/avro/dead_letter.avsc for a record that is given up."""
    key, value = record.key, record.value
    cut = [
        f"the first {BYTES_MAX} of {len(part)} bytes of the {name} are kept"
        for name, part in (("key", key), ("value", value))
        if part is not None and len(part) > BYTES_MAX
    ]
    return {
        "topic": journey.topic,
        "partition": journey.partition,
        "offset": journey.offset,
        "timestamp_ms": journey.timestamp_ms,
        "reason": reason.value,
        "detail": detail[:DETAIL_CHARS] + (f" ({'; '.join(cut)})" if cut else ""),
        "key": None if key is None else key[:BYTES_MAX],
        "value": None if value is None else value[:BYTES_MAX],
        "attempts": journey.attempts,
        "source": source,
        "trace": trace[-TRACE_CHARS:],
        "truncated": bool(cut),
        "redriven": journey.redriven,
    }
