"""Events of any category as plain data, from outside: validated all, then sent, each to its topic under its key.

Theory of operation
-------------------
An event is a mapping with the fields of its category's schema. `event_id`, `timestamp` and what has a default may be left out. Of
many events nothing is sent if one is wrong, and the errors name the event and the field. An event whose `event_id` is known from
before (the newest KNOWN_MAX in this process) is the same event: it is not sent a second time, and has the place it had; with
other content it is refused. Beyond that, and after a restart, `pipeline.dedupe_window` recognises it (docs/arrivals.md).
"""

from __future__ import annotations

import hashlib
import json
import uuid
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from actors.kafka.client import Cluster
from actors.kafka.delivery import Delivery
from actors.kafka.producer import Limits
from actors.producers.category import CategoryPublisher
from actors.producers.inspection import InspectionPublisher
from actors.producers.manufacturing import ManufacturingPublisher
from actors.producers.measurement import check_measured, key_of_measured, record_of_measured
from actors.producers.ml import MlPublisher
from actors.producers.publisher import Publisher
from actors.producers.quality import QualityPublisher
from actors.producers.system import SystemPublisher
from actors.producers.trace import CORRELATION_ID_CHARS_MAX
from actors.producers.user import UserPublisher
from schemas.framing import EncodeError
from schemas.registry import Registry
from schemas.topics import MEASUREMENTS, VECTORS, load

KNOWN_MAX = 20_000  # newest event ids that are recognised
ERRORS_MAX = 20  # told of one request
RECORD_BYTES_MAX = 900_000  # of one event, so that a broker of Kafka's defaults takes it
SEND_WAIT_S = 1.0  # for room in the buffer
DELIVERY_S = 10.0

MEASUREMENT, USER = "measurement", "user"
_PUBLISHERS: Mapping[str, type[CategoryPublisher]] = {
    "manufacturing": ManufacturingPublisher,
    "inspection": InspectionPublisher,
    "quality": QualityPublisher,
    USER: UserPublisher,
    "system": SystemPublisher,
    "ml": MlPublisher,
}
CATEGORIES = (MEASUREMENT, *_PUBLISHERS)
OURS = frozenset(
    {"AUDIT_RECORDED", "AUTHORISATION_GRANTED", "AUTHORISATION_DENIED"}
)  # said of what they did, by who did it
PUBLISHED_BY = "published_by"  # in the metadata of a user event: who published it from outside; ours never have it


class Wrong(NamedTuple):
    """What is wrong with an event of a request."""

    event: int  # which one, from 0
    field: str
    detail: str


class WrongEventsError(ValueError):
    """Nothing was sent; `wrong` says why, the first ERRORS_MAX."""

    def __init__(self, wrong: Sequence[Wrong]) -> None:
        super().__init__("; ".join(f"event {one.event}: {one.field}: {one.detail}" for one in wrong[:3]))
        self.wrong = tuple(wrong)


@dataclass(frozen=True, slots=True)
class Sent:
    """An event on its way."""

    event_id: str
    topic: str
    delivery: Delivery
    repeated: bool  # known from before: not sent again


class _Ready(NamedTuple):
    event_id: str
    topic: str
    key: str
    value: bytes
    digest: bytes


class EventDesk:
    """Publishes events over one Publisher. One thread at a time uses it."""

    def __init__(self, publisher: Publisher, *, known_max: int = KNOWN_MAX) -> None:
        self.publisher = publisher
        self.known_max = known_max
        self._categories = {name: kind(publisher) for name, kind in _PUBLISHERS.items()}
        self._known: OrderedDict[tuple[str, str], tuple[bytes, Sent]] = OrderedDict()

    def send(self, category: str, events: Sequence[Mapping[str, Any]], by: str = "") -> list[Sent]:
        """Validate events and hand them to Kafka; their deliveries tell what becomes of them.

        A user event says `by` whom it was published, whatever it says itself: it must not pass for one of ours.

        Raises WrongEventsError; BackpressureError if there is no room; RegistryUnavailable.
        """
        ready: list[_Ready] = []
        wrong: list[Wrong] = []
        for number, event in enumerate(events):
            try:
                ready.append(self._ready(category, event, by))
            except EncodeError as error:
                self.publisher.count_invalid()
                wrong.append(Wrong(number, error.field, error.message))
                if len(wrong) >= ERRORS_MAX:
                    break
        if wrong:
            raise WrongEventsError(wrong)
        return [self._send(one) for one in ready]

    def close(self) -> None:
        """Deliver what is buffered, and leave."""
        self.publisher.close()

    def _ready(self, category: str, event: Mapping[str, Any], by: str) -> _Ready:
        if not isinstance(event, Mapping):
            raise EncodeError("", f"an event is an object with fields, not {type(event).__name__}")
        given = "event_id" in event
        event_id = event["event_id"] if given else str(uuid.uuid4())
        if not isinstance(event_id, str) or not 0 < len(event_id) <= CORRELATION_ID_CHARS_MAX:
            raise EncodeError("event_id", f"a text of 1 to {CORRELATION_ID_CHARS_MAX} characters")
        record = {"timestamp": int(self.publisher.clock() * 1000), **event, "event_id": event_id}
        if category == USER:
            record = _marked(record, by)
        topic, name, check, key_of = self._kind(category, record)
        _no_unknown(name, record)
        value = self.publisher.encode(topic, name, record)
        check({**_defaults(name), **record})
        if len(value) > RECORD_BYTES_MAX:
            raise EncodeError("", f"the event has {len(value)} bytes; at most {RECORD_BYTES_MAX}")
        digest = hashlib.blake2b(json.dumps(event, sort_keys=True).encode(), digest_size=16).digest()
        self._same(topic, event_id, digest)
        return _Ready(event_id, topic, key_of(record), value, digest)

    def _kind(
        self, category: str, record: Mapping[str, Any]
    ) -> tuple[str, str, Callable[[Mapping[str, Any]], None], Callable[[Mapping[str, Any]], str]]:
        """Return topic, schema, further checks and key of an event."""
        if category == MEASUREMENT:
            name = record_of_measured(record)
            return (VECTORS if name == "vector_measurement" else MEASUREMENTS), name, check_measured, key_of_measured
        publisher = self._categories[category]
        if record.get("event_type") in OURS:
            raise EncodeError("event_type", f"{record['event_type']} is written by this API itself, of what it did")
        return publisher.topic, publisher.record, publisher.check, lambda said: str(said[publisher.key_field])

    def _same(self, topic: str, event_id: str, digest: bytes) -> Sent | None:
        """Return the event of this id if it was sent before. Raises EncodeError if it had other content."""
        known = self._known.get((topic, event_id))
        if known is None:
            return None
        before, sent = known
        if sent.delivery.failure is not None:  # whoever sends it again sends it anew
            del self._known[topic, event_id]
            return None
        if before != digest:
            raise EncodeError("event_id", "an event of this id and with other content was published before")
        return sent

    def _send(self, one: _Ready) -> Sent:
        before = self._same(one.topic, one.event_id, one.digest)
        if before is not None:
            return Sent(one.event_id, one.topic, before.delivery, repeated=True)
        delivery = self.publisher.publish_encoded(one.topic, one.value, one.key, correlation_id=one.event_id)
        sent = Sent(one.event_id, one.topic, delivery, repeated=False)
        self._known[one.topic, one.event_id] = one.digest, sent
        while len(self._known) > self.known_max:
            self._known.popitem(last=False)
        return sent


def _marked(record: Mapping[str, Any], by: str) -> dict[str, Any]:
    """Return a user event that says who published it.

    >>> _marked({"metadata": {"published_by": "eve", "a": "b"}}, "ann")
    {'metadata': {'published_by': 'ann', 'a': 'b'}}
    """
    given = record.get("metadata", {})
    return {**record, "metadata": {**given, PUBLISHED_BY: by} if isinstance(given, Mapping) else given}


def _defaults(name: str) -> dict[str, Any]:
    return {field["name"]: field["default"] for field in load(name)["fields"] if "default" in field}


def _no_unknown(name: str, record: Mapping[str, Any]) -> None:
    """Refuse the symbol that stands for what is newer than a reader: nobody means it."""
    for field in load(name)["fields"]:
        kinds = field["type"] if isinstance(field["type"], list) else [field["type"]]
        for kind in kinds:
            if isinstance(kind, dict) and kind["type"] == "enum" and record.get(field["name"]) == "UNKNOWN":
                known = ", ".join(symbol for symbol in kind["symbols"] if symbol != "UNKNOWN")
                raise EncodeError(field["name"], f"UNKNOWN is never written; one of {known}")


def event_desk(cluster: Cluster) -> EventDesk:
    """Return the desk of a cluster."""
    registry = Registry(cluster.registry_url, cluster.registry_client)
    limits = Limits(backpressure_wait_s=SEND_WAIT_S, delivery_deadline_s=DELIVERY_S, linger_ms=1)
    publisher = Publisher(cluster.bootstrap_servers, registry, cluster.client, limits=limits, name="chipquality-api")
    return EventDesk(publisher)
