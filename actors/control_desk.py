"""Where people make changes: what there is, what took effect where, and publishing a change until the partitions have made it."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import Any, NamedTuple, Self

from actors.control_reader import ControlReader
from actors.engine.control import AppliedChange
from actors.engine.position import CHANGE_KEY
from actors.errors import ConfigError, FencedError, ReopenError
from actors.kafka.admin import Admin
from actors.kafka.client import Cluster
from actors.kafka.consumer import STATE_FETCH_BYTES, Offsets, PartitionReader
from actors.kafka.history import HistoryReader
from actors.kafka.log import KafkaLog
from actors.producers.publisher import Publisher
from models.limit_versions import Change, checked, newest, to_record
from schemas.batch import RawBatch
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
        self._log = KafkaLog(cluster)
        self._reader: ControlReader | None = None
        self._found: list[Change] = []  # by the reader so far
        self._state = AppliedLog(cluster, self._group, places.state, self._registry.schema)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Leave."""
        self._drop_reader()
        self._log.close()
        self._publisher.close()

    def changes(self) -> dict[str, Change]:
        """Return the pipeline's changes by id, in the order of their application (models.limit_versions.newest)."""
        if self._reader is None:
            self._partitions(self.places.control)
            schema = self._registry.schema
            self._reader = ControlReader(self._log, self._group, self.places.control, lambda v: decode_event(v, schema))
        try:
            self._found += self._reader.catch_up()
        except (ReopenError, FencedError):
            self._drop_reader()
            raise
        ours = (self.places.pipeline, self.places.input)
        return newest(change for change in self._found if (change.pipeline, change.topic) == ours)

    def _drop_reader(self) -> None:
        if self._reader is not None:
            self._reader.close()
        self._reader, self._found = None, []

    def made(self, budget_s: float = READ_TIMEOUT_S) -> list[Made]:
        """Return every change that took effect, partition by partition, in order; reads what has come since the last call.

        `made_known` tells whether that was all; the next call goes on.
        """
        self._state.read_on(self._ends(), budget_s)
        return sorted(self._state.made, key=lambda made: made.partition)

    @property
    def made_known(self) -> bool:
        """Tell whether `made` has read to the end."""
        return self._state.complete

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
        schema = self._registry.schema
        try:
            reader.assign({partition: ends[partition] for partition in waiting})
            self.publish(change)
            deadline = clock() + timeout_s
            while None in waiting.values() and clock() < deadline:
                for raw in reader.poll(_POLL_ROWS, 0.05).batches:
                    for applied in applied_in(zip(raw.keys, raw.values, strict=True), schema, self.places.state):
                        if applied.change.change_id == change.change_id:
                            waiting[raw.partition] = Made(raw.partition, applied)
        finally:
            reader.close()
        return waiting

    def _ends(self) -> dict[int, int]:
        return Offsets(self._cluster).end(self.places.state, self._partitions(self.places.state))

    def _partitions(self, topic: str) -> list[int]:
        found: list[dict[str, Any]] = Admin(self._cluster.bootstrap_servers, self._cluster.client).topics([topic])
        if not found:
            raise ConfigError(f"there is no topic {topic}: `chipquality topics apply` makes it")
        return [part["partition"] for part in found[0]["partitions"]]


class AppliedLog:
    """The changes that the partitions of a state topic say they have made, read from where it was left the last time.

    A state topic is mostly pages of detectors' state, which are passed over: reading it all takes a while, once.
    """

    def __init__(self, cluster: Cluster, group: str, topic: str, schema_of: Callable[[int], Any]) -> None:
        self.topic = topic
        self.made: list[Made] = []
        self.complete = False  # read to the end that it had
        self._cluster, self._group, self._schema_of = cluster, group, schema_of
        self._positions: dict[int, int] = {}
        self._known: set[tuple[int, str]] = set()

    def read_on(self, ends: Mapping[int, int], budget_s: float) -> None:
        """Read up to these ends, or as far as the time goes. Raises ReopenError."""
        if new := [partition for partition in ends if partition not in self._positions]:
            self._positions |= Offsets(self._cluster).first(self.topic, new)
        behind = {partition for partition, end in ends.items() if self._positions[partition] < end}
        self.complete = not behind
        if self.complete:
            return
        deadline = time.monotonic() + budget_s
        reader = PartitionReader(self._cluster, self._group, self.topic, STATE_FETCH_BYTES)
        try:
            reader.assign({partition: self._positions[partition] for partition in behind})
            while behind and time.monotonic() < deadline:
                polled = reader.poll(_POLL_ROWS, 0.05)
                for partition, why in polled.lost.items():  # compacted or deleted under us: begin with what there is
                    del self._positions[partition]
                    raise ReopenError(f"{self.topic}:{partition}: {why}")
                for raw in polled.batches:
                    self._take(raw)
                    if raw.next_offset >= ends.get(raw.partition, 0):
                        behind.discard(raw.partition)
        finally:
            reader.close()
        self.complete = not behind

    def _take(self, raw: RawBatch) -> None:
        for applied in applied_in(zip(raw.keys, raw.values, strict=True), self._schema_of, self.topic):
            name = (raw.partition, applied.change.change_id)
            if name not in self._known:
                self._known.add(name)
                self.made.append(Made(raw.partition, applied))
        self._positions[raw.partition] = raw.next_offset


def applied_in(
    records: Iterable[tuple[bytes | None, bytes | None]], schema_of: Callable[[int], Any], topic: str
) -> Iterable[AppliedChange]:
    """Yield the applied changes among records of a state topic. Raises ReopenError for one that cannot be read."""
    for key, value in records:
        if value is not None and (key or b"").startswith(CHANGE_KEY):
            try:
                yield AppliedChange.of(decode_event(value, schema_of))
            except (UnreadableRecord, ValueError) as error:
                raise ReopenError(f"{topic}: {(key or b'').decode()}: {error}") from error
