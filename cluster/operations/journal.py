"""The operations as `quality.operations` keeps them: one compacted topic of one partition, a record for each.

Written in transactions of the id `<pipeline>-operations`, so that of two actors by that name, should there ever be two for a
moment, one at a time writes. Not thread-safe: one thread writes.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from typing import Any

from actors.engine.position import Encodes, Record
from actors.errors import FencedError, ReopenError
from actors.follower import PARTITION
from actors.log import Log, Writer
from cluster.operations.operation import Operation
from schemas.decode import UnreadableRecord

_LOG = logging.getLogger("chipquality.operations")

READ_TIMEOUT_S = 30.0


class Journal:
    """Where the operations of one pipeline are kept."""

    def __init__(
        self, log: Log, pipeline: str, topic: str, encoder: Encodes, read: Callable[[bytes], dict[str, Any]]
    ) -> None:
        self.pipeline = pipeline
        self.topic = topic
        self._log = log
        self._encoder = encoder
        self._read = read
        self._writer: Writer | None = None

    def load(self) -> list[Operation]:
        """Return all operations that are kept, having fenced whoever wrote before. Raises ReopenError, RegistryUnavailable."""
        self._open()
        ends = self._log.end(self.topic, [PARTITION])
        name = f"{self.pipeline}-operations"
        records = self._log.read_to_end(name, self.topic, ends, READ_TIMEOUT_S, newest=True)[PARTITION]
        return [found for _, value in records if value is not None and (found := self._operation(value)) is not None]

    def write(self, operations: Iterable[Operation], forgotten: Iterable[str] = ()) -> None:
        """Write records, and delete those of others, all or nothing. Raises ReopenError, FencedError: then do it again."""
        records = [Record(self.topic, PARTITION, name.encode(), None) for name in forgotten]
        records += [
            Record(self.topic, PARTITION, op.id.encode(), self._encoder.encode(op.to_record())) for op in operations
        ]
        if not records:
            return
        writer = self._writer or self._open()
        try:
            writer.commit(records, "", {}, None).result()
        except (ReopenError, FencedError):
            self._writer = None
            writer.abandon()
            raise

    def close(self) -> None:
        """Leave."""
        if self._writer is not None:
            self._writer.close()
            self._writer = None

    def _open(self) -> Writer:
        if self._writer is not None:
            self._writer.abandon()
            self._writer = None
        writer = self._log.writer(f"{self.pipeline}-operations")
        try:
            writer.open()
        except (ReopenError, FencedError):
            writer.abandon()
            raise
        self._writer = writer
        return writer

    def _operation(self, value: bytes) -> Operation | None:
        """Return what a record says; None if it is another pipeline's, or cannot be read: it is left where it is."""
        try:
            fields = self._read(value)
            return Operation.of_record(fields) if fields["pipeline"] == self.pipeline else None
        except (UnreadableRecord, ValueError, KeyError, TypeError) as error:
            _LOG.error("%s: a record is left out: %s", self.topic, error)
            return None
