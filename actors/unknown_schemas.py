"""Partitions with a record in front whose schema cannot be looked up because the registry is away.

Its absence is no property of a record, so the record is no dead letter: the partition is not polled until the registry has
answered. It is asked in the background; the slot goes on with its other partitions, and with what stands before the record.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass

from actors.log import Clock, Log
from schemas.batch import RawBatch, cut
from schemas.decode import UnreadableRecord
from schemas.reading import schema_id_of
from schemas.registry import RegistryUnavailable

_LOG = logging.getLogger("chipquality.slot")

REGISTRY_RETRY_S = 1.0  # between two questions for one schema


@dataclass
class _Waiting:
    schema_id: int | None
    ask_at: float
    asked: Future[bool] | None = None


class UnknownSchemas:
    """The partitions of a slot that wait for the registry."""

    def __init__(self, log: Log, clock: Clock, look_up: Callable[[int], object]) -> None:
        self._log = log
        self._clock = clock
        self._look_up = look_up  # raises RegistryUnavailable, or LookupError for an id that nobody knows
        self._waiting: dict[int, _Waiting] = {}

    @property
    def partitions(self) -> list[int]:
        """Return the partitions that wait."""
        return sorted(self._waiting)

    def put_aside(self, raw: RawBatch, error: RegistryUnavailable) -> RawBatch | None:
        """Let the partition wait; return the records before the first one of the unknown schema, None if there are none."""
        _LOG.warning("%s:%d: waiting for the registry: %s", raw.topic, raw.partition, error)
        self._waiting[raw.partition] = _Waiting(error.schema_id, self._clock.now())
        row = next((i for i, value in enumerate(raw.values) if _id(value) == error.schema_id), 0)
        return cut(raw, [int(raw.offset[row])])[0] if row else None

    def known_again(self) -> list[int]:
        """Return the partitions that need not wait any more: read them again from where their folds stand."""
        free = [partition for partition, waiting in self._waiting.items() if self._answered(partition, waiting)]
        for partition in free:
            del self._waiting[partition]
        return free

    def forget(self, partition: int) -> None:
        """Drop a partition that is not ours any more."""
        self._waiting.pop(partition, None)

    def _answered(self, partition: int, waiting: _Waiting) -> bool:
        schema_id = waiting.schema_id
        if waiting.asked is None:
            if self._clock.now() >= waiting.ask_at:
                waiting.asked = self._log.background(lambda: self._ask(schema_id))
            return False
        if not waiting.asked.done():
            return False
        if waiting.asked.result():
            return True
        waiting.asked, waiting.ask_at = None, self._clock.now() + REGISTRY_RETRY_S
        return False

    def _ask(self, schema_id: int | None) -> bool:
        """Say whether the registry answers; what it says of the schema, the decoder will ask again."""
        try:
            if schema_id is not None:
                self._look_up(schema_id)
        except RegistryUnavailable:
            return False
        except LookupError:
            return True
        return True


def _id(value: bytes | None) -> int | None:
    try:
        return schema_id_of(value)
    except UnreadableRecord:
        return None
