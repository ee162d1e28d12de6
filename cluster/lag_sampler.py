"""Samples of all consumer groups and of the ends of all partitions: what lag status, lag in seconds and rates are made of.

The API's replica takes one every SAMPLE_S, whether anybody asks or not; a command takes a few and ends.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from actors.errors import FencedError, ReopenError
from actors.kafka.admin import Admin
from actors.kafka.client import Cluster
from actors.kafka.rest import look
from actors.kafka.survey import ends_of
from actors.lag_status import SAMPLES
from actors.lag_watch import LagWatch
from cluster.consumers_told import consumers
from cluster.lag_history import LagHistory

SAMPLE_S = 5.0  # between two samples
WINDOW_S = SAMPLE_S * (SAMPLES - 1)  # that a status stands on

_LOG = logging.getLogger("chipquality.lag")


class Lags:
    """What was sampled, and what it tells. Thread-safe."""

    def __init__(self, admin: Admin, cluster: Cluster) -> None:
        self._admin, self._cluster = admin, cluster
        self._watch = LagWatch()
        self._history = LagHistory()
        self._lock = threading.Lock()

    def take(self, at_ms: int, only: str | None = None) -> list[dict[str, Any]]:
        """Take a sample, of one group or of all; return it as `Admin.groups` does. Raises ReopenError if Kafka is silent."""
        groups = self._admin.groups(only)
        ends = ends_of(self._admin.topics())
        with self._lock:
            self._watch.add(groups, ends, at_ms)
            self._history.add(groups, at_ms)
            rests = self._watch.rests()
        if rests:
            looked = look(self._cluster, rests)
            with self._lock:
                self._watch.looked(looked.empty, looked.full)
        return groups

    def consumers(
        self, groups: Sequence[Mapping[str, Any]], pipelines: Mapping[str, Mapping[str, Any] | None], now_ms: int
    ) -> list[dict[str, Any]]:
        """Return groups with their status; see cluster/consumers_told.py."""
        with self._lock:
            return consumers(groups, self._watch, pipelines, now_ms)

    def history(self, group: str, window_s: int, now_ms: int) -> dict[str, list[Any]] | None:
        """Return a group's lag over time; see LagHistory.over."""
        with self._lock:
            return self._history.over(group, window_s, now_ms)

    def rate(self, topic: str, partitions: Iterable[int], now_ms: int) -> dict[str, float] | None:
        """Return offsets a second that come into a topic; see LagWatch.rate."""
        with self._lock:
            return self._watch.rate(topic, partitions, now_ms)


class Sampler(threading.Thread):
    """Does something every SAMPLE_S until stopped; what Kafka does not answer is tried again at the next turn."""

    def __init__(self, take: Callable[[int], object], every_s: float = SAMPLE_S) -> None:
        super().__init__(name="lag-sampler", daemon=True)
        self.trouble: str | None = None  # why the last sample is missing
        self._take, self._every_s = take, every_s
        self._over = threading.Event()

    def run(self) -> None:
        """Sample until stopped."""
        while not self._over.is_set():
            try:
                self._take(int(time.time() * 1000))
                self.trouble = None
            except (ReopenError, FencedError) as error:
                if self.trouble is None:  # once for an outage
                    _LOG.warning("no sample of lags: %s", error)
                self.trouble = str(error)
            self._over.wait(self._every_s)

    def stop(self) -> None:
        """End the thread after the sample that is under way."""
        self._over.set()
