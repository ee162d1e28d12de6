"""The operations as `quality.operations` keeps them: one compacted topic, a record for each (actors/ledger.py)."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from typing import Any

from actors.engine.position import Encodes
from actors.ledger import Ledger
from actors.log import Entry, Log
from cluster.operations.operation import Operation
from schemas.decode import UnreadableRecord

_LOG = logging.getLogger("chipquality.operations")


class Journal:
    """Where the operations of one pipeline are kept."""

    def __init__(
        self, log: Log, pipeline: str, topic: str, encoder: Encodes, read: Callable[[bytes], dict[str, Any]]
    ) -> None:
        self.pipeline = pipeline
        self._ledger = Ledger(log, f"{pipeline}-operations", topic)
        self._encoder = encoder
        self._read = read

    def load(self) -> list[Operation]:
        """Return all operations that are kept, having fenced whoever wrote before. Raises ReopenError, RegistryUnavailable."""
        entries = self._ledger.load()
        return [found for _, value in entries if value is not None and (found := self._operation(value)) is not None]

    def write(self, operations: Iterable[Operation], forgotten: Iterable[str] = ()) -> None:
        """Write records, and delete those of others, all or nothing. Raises ReopenError, FencedError: then do it again."""
        entries: list[Entry] = [(name.encode(), None) for name in forgotten]
        entries += [(op.id.encode(), self._encoder.encode(op.to_record())) for op in operations]
        self._ledger.write(entries)

    def close(self) -> None:
        """Leave."""
        self._ledger.close()

    def _operation(self, value: bytes) -> Operation | None:
        """Return what a record says; None if it is another pipeline's, or cannot be read: it is left where it is."""
        try:
            fields = self._read(value)
            return Operation.of_record(fields) if fields["pipeline"] == self.pipeline else None
        except (UnreadableRecord, ValueError, KeyError, TypeError) as error:
            _LOG.error("%s: a record is left out: %s", self._ledger.topic, error)
            return None
