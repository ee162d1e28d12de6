"""Where people make changes: what there is, what took effect where, and publishing a change until the partitions have made it."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from types import TracebackType
from typing import Any, NamedTuple, Self

from actors.control_reader import ControlReader
from actors.engine.control import AppliedChange
from actors.engine.position import CHANGE_KEY
from actors.errors import ConfigError, ReopenError
from actors.kafka.admin import Admin
from actors.kafka.client import Cluster
from actors.kafka.consumer import Offsets, PartitionReader, read_to_end
from actors.kafka.history import HistoryReader
from actors.kafka.log import KafkaLog
from actors.producers.publisher import Publisher
from models.limit_versions import Change, checked, newest, to_record
from schemas.decode import UnreadableRecord, decode_event
from schemas.registry import Registry

READ_TIMEOUT_S = 60.0
PUBLISH_TIMEOUT_S = 30.0
_POLL_ROWS = 1_000


@dataclass(frozen=True, slots=True)
class Places:
    """A pipeline's name and topics, as far as changes need them."""

    pipeline: str
    input: str
    state: str
    control: str


class Made(NamedTuple):
    """A change that took effect on a partition."""

    partition: int
    applied: AppliedChange


class ControlDesk:
    """The changes of one pipeline. Use as a context manager."""

    def __init__(self, cluster: Cluster, places: Places) -> None:
        self.places = places
        self._cluster = cluster
        self._group = f"{places.pipeline}-desk"  # nothing is committed
        self._registry = Registry(cluster.registry_url, cluster.registry_client)
        self._publisher = Publisher(
            cluster.bootstrap_servers, self._registry, cluster.client, name=f"{places.pipeline}-desk"
        )
        self.history = HistoryReader(cluster, self._group, places.input, self._registry.schema)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._publisher.close()

    def changes(self) -> dict[str, Change]:
        """Return the pipeline's changes by id, in the order of their application (models.limit_versions.newest)."""
        self._partitions(self.places.control)
        log = KafkaLog(self._cluster)
        reader = ControlReader(log, self._group, self.places.control, lambda v: decode_event(v, self._registry.schema))
        try:
            found = reader.catch_up()
        finally:
            reader.close()
            log.close()
        ours = (self.places.pipeline, self.places.input)
        return newest(change for change in found if (change.pipeline, change.topic) == ours)

    def made(self) -> list[Made]:
        """Return every change that took effect, partition by partition, in order."""
        ends = self._ends()
        records = read_to_end(self._cluster, self._group, self.places.state, ends, READ_TIMEOUT_S, newest=True)
        return [Made(partition, applied) for partition, listed in records.items() for applied in self._applied(listed)]

    def publish(self, change: Change) -> None:
        """Write a change to the control topic and see it acknowledged. Raises ChangeRefused, PublishError."""
        fields = to_record(checked(change))
        delivery = self._publisher.publish(self.places.control, "control", fields, key=change.change_id)
        delivery.result(PUBLISH_TIMEOUT_S)

    def apply(
        self, change: Change, timeout_s: float, clock: Callable[[], float] = time.monotonic
    ) -> dict[int, Made | None]:
        """Publish an applied change and wait until its partitions have made it; None for those that have not in time."""
        ends = self._ends()
        waiting: dict[int, Made | None] = {share.partition: None for share in change.changes}
        reader = PartitionReader(self._cluster, self._group, self.places.state)
        try:
            reader.assign({partition: ends[partition] for partition in waiting})
            self.publish(change)
            deadline = clock() + timeout_s
            while None in waiting.values() and clock() < deadline:
                for raw in reader.poll(_POLL_ROWS, 0.05).batches:
                    for applied in self._applied(zip(raw.keys, raw.values, strict=True)):
                        if applied.change.change_id == change.change_id:
                            waiting[raw.partition] = Made(raw.partition, applied)
        finally:
            reader.close()
        return waiting

    def _applied(self, records: Iterable[tuple[bytes | None, bytes | None]]) -> Iterable[AppliedChange]:
        for key, value in records:
            if value is not None and (key or b"").startswith(CHANGE_KEY):
                try:
                    yield AppliedChange.of(decode_event(value, self._registry.schema))
                except (UnreadableRecord, ValueError) as error:
                    raise ReopenError(f"{self.places.state}: {(key or b'').decode()}: {error}") from error

    def _ends(self) -> dict[int, int]:
        return Offsets(self._cluster).end(self.places.state, self._partitions(self.places.state))

    def _partitions(self, topic: str) -> list[int]:
        found: list[dict[str, Any]] = Admin(self._cluster.bootstrap_servers, self._cluster.client).topics([topic])
        if not found:
            raise ConfigError(f"there is no topic {topic}: `chipquality topics apply` makes it")
        return [part["partition"] for part in found[0]["partitions"]]
