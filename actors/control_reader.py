"""Reading the control topic: to its end when a slot opens, then what has come since, without waiting.

A record that cannot be read, or says what may not be, is logged and left out: it must not stop the line. It takes effect nowhere,
which its author sees, because `chipquality limits` waits until the partitions have written that it did. While the registry is
away, records wait here, and the line goes on.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable
from typing import Any

from actors.errors import ReopenError
from actors.log import Log
from models.limit_versions import Change, ChangeRefused, from_record
from schemas.decode import UnreadableRecord
from schemas.registry import RegistryUnavailable

_LOG = logging.getLogger("chipquality.control")

RECORDS_MAX = 1_000  # of one poll
READ_TIMEOUT_S = 60.0  # for reading the topic to its end
_PARTITION = 0  # the only one: all see the changes in one order


class ControlReader:
    """A consumer of the control topic. Call `open` once, then `poll` as often as you like. Close it."""

    def __init__(self, log: Log, group: str, topic: str, read: Callable[[bytes], dict[str, Any]]) -> None:
        self.topic = topic
        self.next_offset = 0
        self._log = log
        self._group = group
        self._decode_value = read
        self._reader = log.reader(group, topic)
        self._read: deque[bytes] = deque()  # and not decoded yet

    def open(self) -> list[Change]:
        """Return the changes that there are, in log order; go on from there. Raises ReopenError, RegistryUnavailable."""
        ends = self._log.end(self.topic, [_PARTITION])
        records = self._log.read_to_end(self._group, self.topic, ends, READ_TIMEOUT_S)[_PARTITION]
        self.next_offset = ends[_PARTITION]
        self._reader.assign(ends)
        self._read.extend(value for _, value in records if value is not None)
        return self._decode()

    def poll(self, wait_s: float = 0.0) -> list[Change]:
        """Return the changes that have come, waiting at most `wait_s` for them. Raises ReopenError."""
        polled = self._reader.poll(RECORDS_MAX, wait_s)
        for why in polled.lost.values():
            raise ReopenError(f"{self.topic}: {why}")
        for raw in polled.batches:
            self._read.extend(value for value in raw.values if value is not None)
            self.next_offset = raw.next_offset
        try:
            return self._decode()
        except RegistryUnavailable as error:
            _LOG.warning("%s: %d records wait for the registry: %s", self.topic, len(self._read), error)
            return []

    def close(self) -> None:
        """Leave."""
        self._reader.close()

    def _decode(self) -> list[Change]:
        """Decode all that was read, or nothing of it."""
        found: list[Change] = []
        for value in self._read:
            try:
                found.append(from_record(self._decode_value(value)))
            except (UnreadableRecord, ChangeRefused, KeyError, TypeError) as error:
                _LOG.error("%s: a record is left out: %s", self.topic, error)
        self._read.clear()
        return found
