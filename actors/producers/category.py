"""What the publishers of all categories share: the context of an event, and the way from a method to the topic."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

from actors.kafka.delivery import Delivery
from actors.producers.publisher import Publisher
from schemas.framing import EncodeError
from schemas.topics import TOPICS


@dataclass(frozen=True, slots=True, kw_only=True)
class Context:
    """What goes with an event and is not what happened: its identity, its time, whom it belongs to.

    >>> Context(correlation_id="lot-4711", timestamp_ms=1_700_000_000_000).metadata
    {}
    """

    event_id: str | None = None  # given, an event that is published again can be recognised; None: a new UUID
    timestamp_ms: int | None = None  # when it happened, ms since the epoch UTC; None: the publisher's clock
    correlation_id: str | None = None  # what it belongs to; None: the event_id
    traceparent: str | None = None  # W3C Trace Context; None: a new trace
    tracestate: str | None = None
    metadata: Mapping[str, str] = field(default_factory=dict)


NO_CONTEXT = Context()


class CategoryPublisher:
    """Base of the category publishers: one topic, one record, an event type per method, the key that `TOPICS` names.

    Raises KeyError for a subclass whose topic is not in `TOPICS`.
    """

    topic: ClassVar[str]
    record: ClassVar[str]  # name of the avsc

    def __init__(self, publisher: Publisher) -> None:
        self.publisher = publisher
        self.key_field = TOPICS[self.topic].key or ""

    def _emit(self, event_type: str, fields: Mapping[str, Any], context: Context) -> Delivery:
        """Publish one event. Raises what `Publisher.publish` raises."""
        with self.publisher.counting_invalid():
            self._check(fields)
        event_id = context.event_id or str(uuid.uuid4())
        timestamp_ms = context.timestamp_ms
        record = {
            **fields,
            "event_id": event_id,
            "event_type": event_type,
            "timestamp": int(self.publisher.clock() * 1000) if timestamp_ms is None else timestamp_ms,
            "metadata": dict(context.metadata),
        }
        return self.publisher.publish(
            self.topic,
            self.record,
            record,
            key=fields[self.key_field],
            correlation_id=context.correlation_id or event_id,
            traceparent=context.traceparent,
            tracestate=context.tracestate,
        )

    def check(self, fields: Mapping[str, Any]) -> None:
        """Check of a whole record what its schema cannot express. Raises EncodeError that names the field."""
        self._check(fields)

    def _check(self, fields: Mapping[str, Any]) -> None:
        """Check what a schema cannot express. Raises EncodeError that names the field."""
        key = fields[self.key_field]
        if not isinstance(key, str) or not key:
            raise EncodeError(self.key_field, f"is the key of {self.topic}, so a text that is not empty; not {key!r}")


def check_unit_interval(name: str, number: float | None) -> None:
    """Raise EncodeError that names the field if `number` lies outside [0, 1], or is NaN. None is not given.

    >>> check_unit_interval("confidence", 1.0)
    >>> check_unit_interval("confidence", 97.0)
    Traceback (most recent call last):
    schemas.framing.EncodeError: confidence: 97.0 is not from 0 to 1
    """
    if isinstance(number, int | float) and not 0.0 <= number <= 1.0:
        raise EncodeError(name, f"{number!r} is not from 0 to 1")
