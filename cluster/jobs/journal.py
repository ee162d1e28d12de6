"""Jobs, runs and aliases as `quality.jobs` keeps them (actors/ledger.py); the key of a record says which it is."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from typing import Any

from actors.engine.position import Encodes
from actors.ledger import Ledger
from actors.log import Entry, Log
from cluster.jobs.alias import Alias
from cluster.jobs.book import Change, Item
from cluster.jobs.job import Job
from cluster.jobs.run import Run
from schemas.decode import UnreadableRecord

_LOG = logging.getLogger("chipquality.jobs")
RECORDS: Mapping[type, str] = {Job: "job", Run: "job_run", Alias: "job_alias"}
_OF_KEY: Mapping[str, type[Job] | type[Run] | type[Alias]] = {"job": Job, "run": Run, "alias": Alias}


class Journal:
    """Where the jobs of one pipeline are kept. `encoders`: by the record's name."""

    def __init__(
        self,
        log: Log,
        pipeline: str,
        topic: str,
        encoders: Mapping[str, Encodes],
        read: Callable[[bytes], dict[str, Any]],
    ) -> None:
        self.pipeline = pipeline
        self._ledger = Ledger(log, f"{pipeline}-jobs", topic)
        self._encoders = encoders
        self._read = read

    def load(self) -> list[Item]:
        """Return all there is, having fenced whoever wrote before. Raises ReopenError, RegistryUnavailable."""
        return [
            found
            for key, value in self._ledger.load()
            if value is not None and (found := self._item(key, value)) is not None
        ]

    def write(self, change: Change) -> None:
        """Write a change, all or nothing. Raises ReopenError, FencedError."""
        entries: list[Entry] = [(self._key(item), None) for item in change.gone]
        for item in change.put:
            fields = item.to_record() | {"pipeline": self.pipeline}
            entries.append((self._key(item), self._encoders[RECORDS[type(item)]].encode(fields)))
        self._ledger.write(entries)

    def close(self) -> None:
        """Leave."""
        self._ledger.close()

    def _key(self, item: Item) -> bytes:
        if isinstance(item, Job):
            return f"job|{self.pipeline}|{item.name}".encode()
        return (
            f"run|{self.pipeline}|{item.id}".encode()
            if isinstance(item, Run)
            else f"alias|{self.pipeline}|{item.job}".encode()
        )

    def _item(self, key: bytes, value: bytes) -> Item | None:
        """Return what a record says; None if it is another pipeline's, or cannot be read: it is left where it is."""
        kind, _, rest = key.decode(errors="replace").partition("|")
        if not rest.startswith(f"{self.pipeline}|"):
            return None
        try:
            fields = dict(self._read(value))
            fields.pop("pipeline")
            return _OF_KEY[kind].of_record(fields)
        except (UnreadableRecord, ValueError, KeyError, TypeError) as error:
            _LOG.error("%s: record %r is left out: %s", self._ledger.topic, key, error)
            return None
