"""Publishing the events of a file through the categories' publishers, in the file's order, and knowing what was delivered."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable
from typing import Any

from actors.inputs.found import Found
from actors.kafka.delivery import BatchDelivery, PublishError
from actors.producers.events import EventDesk
from actors.producers.measurement import MeasurementPublisher
from actors.producers.publisher import Publisher
from schemas.topics import INSPECTION, MEASUREMENTS

BATCH_ROWS = 1_000
BATCHES_OPEN_MAX = 50  # not acknowledged yet
SENT_OPEN_MAX = 5_000  # further events that are not
DELIVERY_S = 90.0  # for what was sent, beyond which it counts as not delivered
TOPIC_OF = {"measurement": MEASUREMENTS, "inspection": INSPECTION}


class NotDeliveredError(RuntimeError):
    """Publishing ended in the middle; the message says how much was acknowledged."""


class Feed:
    """Publishes events over one Publisher. `delivered` counts what Kafka has acknowledged, by kind."""

    def __init__(self, publisher: Publisher, correlation_id: str) -> None:
        self._measurements = MeasurementPublisher(publisher)
        self._desk = EventDesk(publisher)
        self._correlation_id = correlation_id  # of the measurements: they belong to one file
        self._rows: list[dict[str, Any]] = []
        self._batches: deque[BatchDelivery] = deque()
        self._sent: deque[tuple[str, Any]] = deque()
        self.delivered = dict.fromkeys(TOPIC_OF, 0)

    def publish(self, events: Iterable[Found], progress: Callable[[int], None]) -> dict[str, int]:
        """Publish events, telling how many were taken; return how many were delivered, by kind. Raises NotDeliveredError."""
        try:
            for taken, found in enumerate(events, 1):
                self._take(found)
                progress(taken)
            self._flush()
            self._settle(0, 0)
        except (PublishError, TimeoutError) as error:
            told = ", ".join(f"{count:,} {kind}s" for kind, count in self.delivered.items())
            raise NotDeliveredError(f"{error}; acknowledged before: {told}") from error
        return self.delivered

    def _take(self, found: Found) -> None:
        if found.kind == "measurement" and "values" not in found.event:
            self._rows.append(found.event)
            if len(self._rows) >= BATCH_ROWS:
                self._flush()
                self._settle(BATCHES_OPEN_MAX, SENT_OPEN_MAX)
            return
        for sent in self._desk.send(found.kind, [found.event]):
            self._sent.append((found.kind, sent.delivery))
        self._settle(BATCHES_OPEN_MAX, SENT_OPEN_MAX)

    def _flush(self) -> None:
        if self._rows:
            batch = self._measurements.publish_batch(self._rows, correlation_id=self._correlation_id)
            self._batches.append(batch)
            self._rows = []

    def _settle(self, batches_max: int, sent_max: int) -> None:
        """See the oldest delivered until at most so many are open."""
        while len(self._batches) > batches_max:
            self.delivered["measurement"] += self._batches.popleft().result(DELIVERY_S)
        while len(self._sent) > sent_max:
            kind, delivery = self._sent.popleft()
            delivery.result(DELIVERY_S)
            self.delivered[kind] += 1
