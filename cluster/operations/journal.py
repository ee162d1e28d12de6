"""A pipeline's operations as `quality.operations` keeps them, its deployments likewise: a compacted topic (actors/ledger.py)."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Generic, NamedTuple, TypeVar

from actors.engine.position import Encodes
from actors.kafka.client import Cluster
from actors.kafka.log import KafkaLog
from actors.ledger import Ledger
from actors.log import Entry, Log
from schemas.decode import UnreadableRecord, decode_event
from schemas.encode import Encoder
from schemas.registry import Registry
from schemas.topics import load, schema_text, subject_of

_LOG = logging.getLogger("chipquality.operations")

R = TypeVar("R")


class Form(NamedTuple, Generic[R]):
    """How what is kept becomes a record, and comes back from it."""

    what: str  # "operations"
    key_of: Callable[[R], str]
    to_record: Callable[[R], dict[str, Any]]
    of_record: Callable[[Mapping[str, Any]], R]  # raises ValueError for what this version does not know


class Journal(Generic[R]):
    """Where what one pipeline has of a kind is kept; written in transactions of the id `<pipeline>-<what>`."""

    def __init__(
        self,
        log: Log,
        pipeline: str,
        topic: str,
        encoder: Encodes,
        read: Callable[[bytes], dict[str, Any]],
        form: Form[R],
    ) -> None:
        self.pipeline = pipeline
        self._form = form
        self._ledger = Ledger(log, f"{pipeline}-{form.what}", topic)
        self._encoder = encoder
        self._read = read

    def load(self) -> list[R]:
        """Return all that are kept, having fenced whoever wrote before. Raises ReopenError, RegistryUnavailable."""
        entries = self._ledger.load()
        return [found for _, value in entries if value is not None and (found := self._kept(value)) is not None]

    def write(self, kept: Iterable[R], forgotten: Iterable[str] = ()) -> None:
        """Write records, and delete those of others, all or nothing. Raises ReopenError, FencedError: then do it again."""
        form = self._form
        entries: list[Entry] = [(name.encode(), None) for name in forgotten]
        entries += [(form.key_of(each).encode(), self._encoder.encode(form.to_record(each))) for each in kept]
        self._ledger.write(entries)

    def close(self) -> None:
        """Leave."""
        self._ledger.close()

    def _kept(self, value: bytes) -> R | None:
        """Return what a record says; None if it is another pipeline's, or cannot be read: it is left where it is."""
        try:
            fields = self._read(value)
            return self._form.of_record(fields) if fields["pipeline"] == self.pipeline else None
        except (UnreadableRecord, ValueError, KeyError, TypeError) as error:
            _LOG.error("%s: a record is left out: %s", self._ledger.topic, error)
            return None


def journal(cluster: Cluster, pipeline: str, topic: str, record: str, form: Form[R]) -> Journal[R]:
    """Return the journal of a pipeline in a topic of Kafka. Raises RegistryUnavailable, SchemaRefused."""
    registry = Registry(cluster.registry_url, cluster.registry_client)
    schema_id = registry.register(subject_of(topic, record), schema_text(record))
    ours = {schema_id: load(record)}
    return Journal(
        KafkaLog(cluster),
        pipeline,
        topic,
        Encoder(record, schema_id),
        lambda value: decode_event(value, lambda wanted: ours.get(wanted) or registry.schema(wanted)),
        form,
    )
