"""The thread that follows the output topics and keeps the board up to date.

Theory of operation
-------------------
One thread reads `quality.charts`, `quality.alerts`, the lives of alerts, inspections and the dead-letter topics, read_committed,
by assignment. At the start it goes back a bounded way, so that a view that died is full again within seconds. Whatever goes wrong
with the broker has one cure: close the consumer and begin again at the board's own position. A record that cannot be read is
counted, never raised. If the registry cannot name a schema just now, the partition is read again from that record later.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from actors.errors import FencedError, ReopenError
from actors.kafka.client import Cluster
from actors.kafka.view_consumer import Place, ViewConsumer, ViewRecord
from actors.view import vector as vectors
from actors.view.board import Board
from models.alert_life import from_record
from schemas.charts import unpack
from schemas.decode import decode_event
from schemas.registry import Registry, RegistryUnavailable, UnknownSchema

CHART_RECORDS_BACK = 5_000  # offsets per partition that a new view reads back
ALERT_RECORDS_BACK = 50_000
DEAD_LETTER_RECORDS_BACK = 50_000
LIFE_RECORDS_BACK = 200_000  # of a compacted topic: all of it, unless more alerts than that have been worked on
INSPECTION_RECORDS_BACK = 10_000
POLL_RECORDS_MAX = 200
POLL_WAIT_S = 0.02
RETRY_S = 0.5  # after the broker or the registry did not answer

_LOG = logging.getLogger("chipquality.view")


@dataclass(frozen=True, slots=True)
class Sources:
    """Which topics a view reads."""

    charts: str = "quality.charts"
    alerts: str = "quality.alerts"
    dead_letters: tuple[str, ...] = ("fab.measurements.dlq",)
    lives: str | None = None  # of alerts; None: what people do about them is not shown
    inspections: str | None = None  # None: there are no wafer maps

    def back(self) -> dict[str, int]:
        """Return how many offsets before the end each topic is read from."""
        return {
            self.charts: CHART_RECORDS_BACK,
            self.alerts: ALERT_RECORDS_BACK,
            **dict.fromkeys(self.dead_letters, DEAD_LETTER_RECORDS_BACK),
            **({self.lives: LIFE_RECORDS_BACK} if self.lives else {}),
            **({self.inspections: INSPECTION_RECORDS_BACK} if self.inspections else {}),
        }


class Reader(threading.Thread):
    """Follows the topics until `stop`. All access to the board goes through `lock`."""

    def __init__(
        self, cluster: Cluster, sources: Sources, board: Board, lock: threading.Lock, arrived: Callable[[], None]
    ) -> None:
        super().__init__(name="view-reader", daemon=True)
        self.trouble: str | None = "starting"  # why nothing is read just now; None = reading
        # from before the first record on: nobody is told that he is ahead of what is still to be read
        board.caught_up = False
        self._cluster, self._sources, self._board, self._lock, self._arrived = cluster, sources, board, lock, arrived
        self._registry = Registry(cluster.registry_url, cluster.registry_client)
        self._positions: dict[Place, int] = {}
        self._behind: dict[Place, int] = {}  # partitions not caught up → the end to reach
        self._over = threading.Event()

    @property
    def caught_up(self) -> bool:
        """Say whether what was there at the start is read."""
        return self._board.caught_up

    def stop(self) -> None:
        """End the thread; returns when it has ended."""
        self._over.set()
        self.join(timeout=30)

    def run(self) -> None:
        """Read until stopped; begin again after any error of the broker."""
        while not self._over.is_set():
            try:
                self._follow()
            except (ReopenError, FencedError) as error:
                self.trouble = str(error)
                _LOG.warning("view of %s begins again: %s", self._board.pipeline, error)
                self._over.wait(RETRY_S)

    def _follow(self) -> None:
        consumer = ViewConsumer(self._cluster, f"{self._board.pipeline}-view")
        try:
            ends = consumer.begin(self._sources.back(), self._positions)
            if not self.caught_up:
                self._behind = {place: end for place, end in ends.items() if end > self._positions.get(place, 0)}
            self.trouble = None
            while not self._over.is_set():
                polled = consumer.poll(POLL_RECORDS_MAX, POLL_WAIT_S)
                again = self._take(polled.records, int(time.time() * 1000))
                self._reached(polled.positions, again)
                self.trouble = consumer.trouble
                for place, offset in again.items():
                    self.trouble = f"schema registry does not answer at {self._cluster.registry_url}"
                    consumer.again(place, offset)
                if again:
                    self._over.wait(RETRY_S)
                if polled.records:
                    self._arrived()
        finally:
            consumer.close()

    def _take(self, records: Sequence[ViewRecord], now_ms: int) -> dict[Place, int]:
        """Take records in; return the partitions that must be read again, and from where."""
        again: dict[Place, int] = {}
        for record in records:
            place = (record.topic, record.partition)
            if place in again:
                continue
            try:
                if record.topic == self._sources.charts:
                    self._chart(record, now_ms)
                else:
                    self._event(record)
            except RegistryUnavailable:
                again[place] = record.offset
                continue
            except (ValueError, KeyError, TypeError, AttributeError, LookupError, UnknownSchema) as error:
                with self._lock:
                    self._board.unreadable += 1
                _LOG.warning("%s[%d]@%d cannot be read: %s", *record[:3], error)
            self._positions[place] = record.offset + 1
        return again

    def _chart(self, record: ViewRecord, now_ms: int) -> None:
        block = unpack(record.value or b"")
        if not self._board.shows(block.pipeline):
            return
        live = (record.topic, record.partition) not in self._behind
        with self._lock:
            self._board.add_block(block, record.partition, record.offset, now_ms, live, record.timestamp_ms)

    def _event(self, record: ViewRecord) -> None:
        event: dict[str, Any] = decode_event(record.value or b"", self._registry.schema)
        with self._lock:
            if record.topic == self._sources.lives:
                self._board.add_life(from_record(event), record.partition, record.offset)
            elif record.topic == self._sources.inspections:
                self._board.inspections.add(event, record.timestamp_ms)
            elif record.topic != self._sources.alerts:
                self._board.add_dead_letter(str(event["reason"]), record.timestamp_ms)
            elif self._board.shows(event["pipeline"]):
                self._board.add_alert(event, record.partition, record.offset, record.timestamp_ms)

    def _reached(self, ends: dict[Place, int], again: dict[Place, int]) -> None:
        """Note how far was read, over the gaps that a transactional log has."""
        for place, offset in ends.items():
            if place not in again:
                self._positions[place] = max(offset, self._positions.get(place, 0))
        if self._behind:
            self._behind = {p: end for p, end in self._behind.items() if self._positions.get(p, 0) < end}
        short: dict[str | None, str] = {
            self._sources.charts: vectors.CHARTS,
            self._sources.alerts: vectors.ALERTS,
            self._sources.lives: vectors.LIVES,
        }
        with self._lock:
            self._board.caught_up = not self._behind
            for (topic, partition), offset in self._positions.items():
                if topic in short:
                    self._board.read(short[topic], partition, offset)
