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

from actors.follower import Follower
from actors.log import Log
from models.limit_versions import Change, ChangeRefused, from_record
from schemas.decode import UnreadableRecord
from schemas.registry import RegistryUnavailable

_LOG = logging.getLogger("chipquality.control")


class ControlReader:
    """A consumer of the control topic. Call `catch_up` first, then `poll` as often as you like. Close it."""

    def __init__(self, log: Log, group: str, topic: str, read: Callable[[bytes], dict[str, Any]]) -> None:
        self.topic = topic
        self._decode_value = read
        self._follower = Follower(log, group, topic)
        self._read: deque[bytes] = deque()  # and not decoded yet

    def catch_up(self) -> list[Change]:
        """Return the changes that have come since the last call, up to the end that the topic has now; all the first time.

        Raises ReopenError, RegistryUnavailable.
        """
        self._read.extend(value for _, value in self._follower.catch_up() if value is not None)
        return self._decode()

    def poll(self, wait_s: float = 0.0) -> list[Change]:
        """Return the changes that have come, waiting at most `wait_s` for them. Raises ReopenError."""
        self._read.extend(value for _, value in self._follower.poll(wait_s) if value is not None)
        try:
            return self._decode()
        except RegistryUnavailable as error:
            _LOG.warning("%s: %d records wait for the registry: %s", self.topic, len(self._read), error)
            return []

    def close(self) -> None:
        """Leave."""
        self._follower.close()

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
