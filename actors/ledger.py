"""A compacted topic of one partition that one writer at a time keeps: what there is, by key, all or nothing.

Written in transactions of one id, so that of two writers by that name, should there ever be two for a moment, one at a time
writes. Not thread-safe: one thread writes.
"""

from __future__ import annotations

from collections.abc import Sequence

from actors.engine.position import Record
from actors.errors import FencedError, ReopenError
from actors.follower import PARTITION
from actors.log import Entry, Log, Writer

READ_TIMEOUT_S = 30.0


class Ledger:
    """A topic and its writer, who is known by `name`."""

    def __init__(self, log: Log, name: str, topic: str) -> None:
        self.name = name
        self.topic = topic
        self._log = log
        self._writer: Writer | None = None

    def load(self) -> list[Entry]:
        """Return the newest entry of each key, having fenced whoever wrote before. Raises ReopenError."""
        self._open()
        ends = self._log.end(self.topic, [PARTITION])
        return self._log.read_to_end(self.name, self.topic, ends, READ_TIMEOUT_S, newest=True)[PARTITION]

    def write(self, entries: Sequence[Entry]) -> None:
        """Write entries, all or nothing; None deletes. Raises ReopenError, FencedError: then do it again."""
        if not entries:
            return
        writer = self._writer or self._open()
        records = [Record(self.topic, PARTITION, key, value) for key, value in entries]
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
        writer = self._log.writer(self.name)
        try:
            writer.open()
        except (ReopenError, FencedError):
            writer.abandon()
            raise
        self._writer = writer
        return writer
