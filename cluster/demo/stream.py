"""The demo's line: publishing SECOM at a chosen speed, and the few bad records that are planted in it."""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

from actors.kafka.delivery import BatchDelivery, Delivery
from actors.producers.category import Context
from actors.producers.measurement import MeasurementPublisher
from actors.producers.publisher import BATCH_RECORDS_MAX, Publisher
from cluster.demo.secom import RECIPE, TOOL, Line, wafer_name, wafers
from schemas.batch import Reason
from schemas.encode import Encoder
from schemas.topics import MEASUREMENTS

DELIVERY_TIMEOUT_S = 60.0
PACED_TICK_S = 0.01  # the paced phase sends a small batch this often
UNKNOWN_SCHEMA_ID = 2_000_000_000


@dataclass(frozen=True)
class Planted:
    """A bad record that the demo wrote on purpose, and what must be said of it."""

    partition: int
    offset: int
    reason: Reason


@dataclass
class Counts:
    """What the line has done so far. Written by the streaming thread, read by the terminal's."""

    produced: int = 0
    wafers: int = 0
    planted: list[Planted] = field(default_factory=list)
    done: bool = False
    error: BaseException | None = None


class Streamer:
    """Publishes the line on a thread of its own. `stop` or the end of the data ends it; then everything is delivered."""

    def __init__(
        self, publisher: Publisher, encoder: Encoder, line: Line, stop: threading.Event, vector: str | None = None
    ) -> None:
        self.counts = Counts()
        self._vector = vector  # name under which each wafer is published as a vector too; None: not at all
        self._publisher = publisher
        self._encoder = encoder
        self._measurements = MeasurementPublisher(publisher)
        self._line = line
        self._stop = stop

    def start(self, wafers_per_s: float) -> threading.Thread:
        """Stream the line at a speed, on a thread."""
        thread = threading.Thread(target=self._guarded, args=(wafers_per_s,), name="line", daemon=True)
        thread.start()
        return thread

    def _guarded(self, wafers_per_s: float) -> None:
        try:
            self.at_speed(wafers_per_s)
        except BaseException as error:
            self.counts.error = error
            raise
        finally:
            self.counts.done = True

    def at_speed(self, wafers_per_s: float) -> None:
        """Stream every wafer once, `wafers_per_s` a second, spread evenly."""
        rows = len(self._line.sensors)
        self._paced(itertools.chain.from_iterable(wafers(self._line)), wafers_per_s * rows, None)

    def _publish_vectors(self, first: int, end: int) -> None:
        """Publish wafers `first` to `end` − 1 as vectors, if the product judges vectors."""
        for number in range(first, end if self._vector is not None else first):
            self._measurements.vector_measured(
                equipment=TOOL,
                recipe=RECIPE,
                vector=self._vector or "",
                characteristics=self._line.sensors,
                values=self._line.value[number].tolist(),
                wafer=wafer_name(number),
                context=Context(timestamp_ms=int(self._line.time_ms[number])),
            )

    def paced(self, events_per_s: float, seconds: float) -> None:
        """Stream further passes over the line at a steady rate for some seconds."""
        again = itertools.islice(wafers(self._line, passes=1_000_000), len(self._line.time_ms), None)
        self._paced(itertools.chain.from_iterable(again), events_per_s, seconds)

    def _paced(self, rows: Iterator[dict[str, Any]], events_per_s: float, seconds: float | None) -> None:
        started = time.monotonic()
        sent = 0
        total = None if seconds is None else int(events_per_s * seconds)
        deliveries: list[BatchDelivery] = []
        while not self._stop.is_set() and (total is None or sent < total):
            due = int((time.monotonic() - started) * events_per_s) + 1
            behind = min(due, total or due) - sent
            batch = list(itertools.islice(rows, min(behind, BATCH_RECORDS_MAX)))
            if batch:
                deliveries.append(self._measurements.publish_batch(batch))
                sent += len(batch)
                deliveries = self._settle(deliveries, 100)
            elif due > sent:
                break
            whole = sum(row["characteristic"] == self._line.sensors[-1] for row in batch)
            if total is None:
                self._publish_vectors(self.counts.wafers, self.counts.wafers + whole)
            self.counts.wafers += whole
            self._stop.wait(PACED_TICK_S)
        self._settle(deliveries, 0)

    def as_fast_as_it_goes(self, wafers_max: int | None = None) -> None:
        """Stream every wafer once without a pause; bad records are planted at three places on the way."""
        deliveries: list[BatchDelivery] = []
        count = min(len(self._line.time_ms), wafers_max or len(self._line.time_ms))
        places = {count // 4, count // 2, 3 * count // 4}
        for number, batch in enumerate(itertools.islice(wafers(self._line), count)):
            if self._stop.is_set():
                break
            if number in places:
                self.plant(batch[0])
            deliveries = self._settle([*deliveries, self._measurements.publish_batch(batch)], 100)
            self.counts.wafers += 1
        self._settle(deliveries, 0)

    def _settle(self, deliveries: list[BatchDelivery], keep: int) -> list[BatchDelivery]:
        """See the oldest batches delivered until at most `keep` are open; a failure is raised."""
        while len(deliveries) > keep:
            self.counts.produced += deliveries.pop(0).result(DELIVERY_TIMEOUT_S)
        return deliveries

    def plant(self, good: dict[str, Any]) -> None:
        """Write a truncated, a garbage and an unknown-schema record, and remember where they are."""
        whole = self._encoder.encode(good)
        bad = {
            Reason.MALFORMED: whole[: len(whole) // 2],
            Reason.NOT_AVRO: b"this is not Avro",
            Reason.UNKNOWN_SCHEMA: b"\x00" + UNKNOWN_SCHEMA_ID.to_bytes(4, "big") + whole[5:],
        }
        for reason, value in bad.items():
            delivery: Delivery = self._publisher.send_raw(MEASUREMENTS, value, key=f"planted-{reason.value}".encode())
            partition, offset = delivery.result(DELIVERY_TIMEOUT_S)
            self.counts.planted.append(Planted(partition, offset, reason))
            self.counts.produced += 1


def missing_letters(planted: Iterable[Planted], letters: Iterable[dict[str, Any]]) -> list[Planted]:
    """Return the planted records for which there is no dead letter with the same coordinates and reason."""
    found = {(letter["topic"], letter["partition"], letter["offset"], letter["reason"]) for letter in letters}
    return [bad for bad in planted if (MEASUREMENTS, bad.partition, bad.offset, bad.reason.value) not in found]
