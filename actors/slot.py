"""A slot: the fold of some partitions, joined to Kafka by one transaction per step.

Theory of operation
-------------------
Opening, in this order (ARCHITECTURE: "every fault has one cure"):

1. `init_transactions()`: fences the old owner, aborts what it left open;
2. the high watermarks of the state partitions, read_uncommitted;
3. the state, read_committed, until the position reaches them (the last stable offset hangs below an open transaction, and the
   end of a transaction is acknowledged before its markers are written);
4. the committed offsets; one that differs from the position record is a torn transaction: quarantine;
5. families opened from the pages; the input from the snapshot to the position folded again with outputs suppressed, detectors
   switched off and changes made at the offsets at which they were (actors/engine/replay.py);
6. the control topic, from its first record to its end: what was not made yet waits for the first step;
7. live.

A step: poll, decode, all families, one transaction. What the control topic has brought for a partition is made at its next
step, an empty one if no record has come (actors/engine/control.py). The next step is computed while the last one commits. If
anything raises ReopenError or FencedError the slot is abandoned and a new one opened; a StateError quarantines its partition.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field

import numpy as np

from actors.engine.control import PartitionChange, Waiting
from actors.engine.fold import Decodes, PartitionFold, Step
from actors.engine.position import Encodes, Position, Record, StateImage, position_record, read_image
from actors.engine.replay import Piece, Replay
from actors.errors import StateError
from actors.hosts import Hosts, Opening
from actors.kafka.consumer import Offsets, PartitionReader, read_to_end
from actors.kafka.control_reader import ControlReader
from actors.kafka.transaction import TransactionalWriter
from actors.pipeline import Pipeline
from schemas.batch import RawBatch
from schemas.decode import MeasurementDecoder, decode_event
from schemas.decode_vectors import VectorDecoder
from schemas.encode import Encoder
from schemas.registry import Registry, RegistryUnavailable

_LOG = logging.getLogger("chipquality.slot")

STATE_TIMEOUT_S = 60.0  # for reading the state partitions to their end
REPLAY_IDLE_S = 30.0  # a replay that gets no record for so long is given up and tried again
RECOMMIT_S = 3600.0  # committed offsets of an idle group expire: they are committed again
REGISTRY_RETRY_S = 1.0  # between attempts while the registry is away; the records wait, they are no dead letters
POLL_WAIT_MIN_S = 0.002


@dataclass
class SlotStatus:
    """What the slot tells of itself; counts are of this incarnation."""

    rows: int = 0
    missing: int = 0
    dead_lettered: int = 0
    steps: int = 0
    step_ms: float = 0.0
    commit_ms: float = 0.0
    replayed: int = 0
    changes: int = 0  # of limits, resets, exclusions, that took effect on a partition
    changes_waiting: int = 0  # for a partition's event time, or for its next step
    quarantined: dict[int, str] = field(default_factory=dict)
    without_state: dict[int, tuple[str, ...]] = field(default_factory=dict)  # detectors that began in Phase I


class Slot:
    """The partitions of one slot, from opening to closing. After an error: `abandon`, and make a new one."""

    def __init__(self, pipeline: Pipeline, hosts: Hosts, should_stop: Callable[[], bool] = lambda: False) -> None:
        self.pipeline = pipeline
        self.hosts = hosts
        self.status = SlotStatus()
        self.folds: dict[int, PartitionFold] = {}
        self._should_stop = should_stop
        cluster = pipeline.cluster
        self._writer = TransactionalWriter(cluster, pipeline.transactional_id)
        self._reader = PartitionReader(cluster, pipeline.name, pipeline.input_topic)
        self._registry = Registry(cluster.registry_url, cluster.registry_client)
        self._decoder = _decoder(pipeline, self._registry)
        self._encoders: Mapping[str, Encodes] = {
            name: Encoder(name, schema_id) for name, schema_id in pipeline.schema_ids.items()
        }
        self._offsets = Offsets(cluster)
        self._waiting = Waiting(pipeline.name, pipeline.input_topic, pipeline.partitions)
        self._control = (
            ControlReader(cluster, pipeline.name, pipeline.topics.control, self._registry.schema)
            if pipeline.topics.control
            else None
        )
        self._commit: Future[None] | None = None
        self._last_step = self._last_snapshot = self._last_commit = time.monotonic()

    # ---- opening

    def open(self) -> None:
        """Take the partitions over and bring every fold to where the broker says it stands."""
        pipeline = self.pipeline
        self._writer.open()
        ends = self._offsets.end(pipeline.topics.state, pipeline.partitions)
        records = read_to_end(pipeline.cluster, pipeline.name, pipeline.topics.state, ends, STATE_TIMEOUT_S)
        committed = self._reader.committed(pipeline.partitions)
        first = self._offsets.first(pipeline.input_topic, pipeline.partitions)
        fresh: list[Record] = []
        replays: dict[int, Replay] = {}
        for partition in pipeline.partitions:
            try:
                image = read_image(records[partition], lambda value: decode_event(value, self._registry.schema))
                _check(image, committed[partition], first[partition], partition)
                position = image.position or self._fresh(partition, first[partition])
                if image.position is None:
                    fresh.append(position_record(pipeline.topics.state, position, self._encoders))
                self._restore(position, image)
                replays[partition] = Replay(position, image.changes)
            except StateError as error:
                self._quarantine(partition, str(error))
        self._replay(replays)
        if self._control is not None:
            self._waiting.take(self._control.open())
        if fresh:
            self._submit(fresh)
        self._resume()

    def _fresh(self, partition: int, first: int) -> Position:
        return Position(self.pipeline.input_topic, partition, first, 0, first, 0, self.pipeline.code_version)

    def _restore(self, position: Position, image: StateImage) -> None:
        pipeline, partition = self.pipeline, position.partition
        disabled = frozenset(position.disabled_before(position.snapshot_offset))
        opening = Opening(pipeline.input_topic, partition, image.series, tuple(image.pages), disabled)
        without_state = self.hosts.open(opening)
        if without_state:
            self.status.without_state[partition] = without_state
            _LOG.warning("%s:%d: no state for %s: Phase I", pipeline.input_topic, partition, ", ".join(without_state))
        start = position._replace(next_offset=position.snapshot_offset, code_version=pipeline.code_version)
        self.folds[partition] = PartitionFold(
            pipeline.name,
            start,
            image.series,
            self._decoder,
            self._encoders,
            pipeline.topics,
            image.changes,
        )

    def _replay(self, replays: Mapping[int, Replay]) -> None:
        """Fold the input between snapshot and position again, writing nothing."""
        behind = {partition: replay for partition, replay in replays.items() if not replay.done}
        if behind:
            self._reader.assign({partition: replay.at for partition, replay in behind.items()})
        last_record = time.monotonic()
        while behind and not self._should_stop():
            polled = self._reader.poll(self.pipeline.step_rows_max, 0.1)
            for partition, why in polled.lost.items():
                self._quarantine(partition, f"replay: {why}")
                behind.pop(partition, None)
            for raw in polled.batches:
                if raw.partition in behind:
                    last_record = time.monotonic()
                    for piece in behind[raw.partition].pieces(raw):
                        self._again(piece)
                    if behind[raw.partition].done:
                        del behind[raw.partition]
            if time.monotonic() - last_record > REPLAY_IDLE_S:
                for partition in behind:
                    self._quarantine(partition, f"replay: no record for {REPLAY_IDLE_S:.0f} s")
                break
        for partition, replay in replays.items():
            rest = replay.rest()
            if rest is not None and partition in self.folds and replay.done:
                self._again(rest)

    def _again(self, piece: Piece) -> None:
        raw = piece.raw
        fold = self.folds[raw.partition]
        for detector in piece.disabled:
            self.hosts.disable(raw.partition, detector)
        step = self._begin(fold, raw, piece.changes, emit=False)
        self.hosts.judge([step.work], snapshot=False)()
        fold.replayed(step)
        self.status.replayed += len(raw)

    def _resume(self) -> None:
        self._reader.assign({partition: fold.position.next_offset for partition, fold in self.folds.items()})

    def _quarantine(self, partition: int, why: str) -> None:
        _LOG.error("%s:%d quarantined: %s", self.pipeline.input_topic, partition, why)
        self.status.quarantined[partition] = why
        self.folds.pop(partition, None)

    # ---- stepping

    def step(self) -> int:
        """Take one step; return how many records it had. Raises ReopenError or FencedError: abandon the slot then."""
        now = time.monotonic()
        wait = max(POLL_WAIT_MIN_S, self._last_step + self.pipeline.commit_interval_ms / 1000 - now)
        polled = self._reader.poll(self.pipeline.step_rows_max, wait)
        started = self._last_step = time.monotonic()
        if polled.lost:
            for partition, why in polled.lost.items():
                self._quarantine(partition, why)
            self._resume()
        batches = [raw for raw in polled.batches if self._is_news(raw)]
        due = self._due()
        snapshot = started - self._last_snapshot >= self.pipeline.snapshot_interval_ms / 1000
        if not batches and not snapshot and not due:
            self._settle(block=False)
            return 0
        records, rows = self._judge(batches, snapshot, due)
        if records or started - self._last_commit > RECOMMIT_S:
            self.status.step_ms = (time.monotonic() - started) * 1000
            self._submit(records)
        if snapshot:
            self._last_snapshot = started
        return rows

    def _is_news(self, raw: RawBatch) -> bool:
        fold = self.folds.get(raw.partition)
        return fold is not None and raw.next_offset > fold.position.next_offset

    def _due(self) -> dict[int, list[PartitionChange]]:
        """Return the changes that partitions have to make now."""
        if self._control is None:
            return {}
        self._waiting.take(self._control.poll())
        due = {
            partition: changes
            for partition, fold in self.folds.items()
            if (changes := self._waiting.due(partition, fold.changes_made, fold.position.event_time_ms))
        }
        self.status.changes_waiting = len(self._waiting)
        return due

    def _judge(
        self, batches: list[RawBatch], snapshot: bool, due: Mapping[int, list[PartitionChange]]
    ) -> tuple[list[Record], int]:
        """Fold the batches, and every partition with a change; with `snapshot`, every one that has moved since its last."""
        present = {raw.partition for raw in batches}
        batches = batches + [
            _empty(fold.position)
            for partition, fold in self.folds.items()
            if partition not in present
            and (partition in due or (snapshot and fold.position.seq > fold.position.snapshot_seq))
        ]
        if not batches:
            return [], 0
        steps = [self._begin(self.folds[raw.partition], raw, due.get(raw.partition, ()), emit=True) for raw in batches]
        judged = self.hosts.judge([step.work for step in steps], snapshot)()
        records: list[Record] = []
        for step in steps:
            partition = step.work.partition
            pages = judged.pages.get(partition, []) if snapshot else None
            records += self.folds[partition].conclude(step, judged.outputs[partition], pages)
            self.status.rows += len(step.work.batch)
            self.status.missing += int(np.isnan(step.work.batch.value).sum())
            self.status.dead_lettered += len(step.rejects)
            self.status.changes += len(step.changes)
        self.status.steps += 1
        return records, sum(len(raw) for raw in batches)

    def _begin(self, fold: PartitionFold, raw: RawBatch, changes: Sequence[PartitionChange], *, emit: bool) -> Step:
        """Decode; while the registry is away, wait: its absence is no property of a record."""
        while True:
            try:
                return fold.begin(raw, changes, emit=emit)
            except RegistryUnavailable as error:
                if self._should_stop():
                    raise
                _LOG.warning("waiting for the registry: %s", error)
                time.sleep(REGISTRY_RETRY_S)

    def _submit(self, records: list[Record]) -> None:
        self._settle(block=True)
        offsets = {partition: fold.position.next_offset for partition, fold in self.folds.items()}
        self._commit = self._writer.commit(records, self.pipeline.input_topic, offsets, self._reader.group_metadata())
        self._last_commit = time.monotonic()

    def _settle(self, *, block: bool) -> None:
        """See the last commit succeed, or raise what it raised."""
        if self._commit is not None and (block or self._commit.done()):
            self._commit.result()
            self._commit = None
            self.status.commit_ms = self._writer.last_commit_s * 1000

    # ---- closing

    def close(self) -> None:
        """Commit a snapshot, so that nothing need be replayed, and end."""
        records, _ = self._judge([], snapshot=True, due={})
        if records:
            self._submit(records)
        self._settle(block=True)
        self._writer.close()
        self._close_readers()
        self.hosts.close()

    def abandon(self) -> None:
        """Leave everything behind; the broker has what was committed."""
        self._writer.abandon()
        self._close_readers()
        self.hosts.close()

    def _close_readers(self) -> None:
        self._reader.close()
        if self._control is not None:
            self._control.close()


def _decoder(pipeline: Pipeline, registry: Registry) -> Decodes:
    if pipeline.vector is None:
        return MeasurementDecoder(registry.schema)
    return VectorDecoder(registry.schema, *pipeline.vector)


def _empty(position: Position) -> RawBatch:
    none = np.zeros(0, np.int64)
    return RawBatch(position.topic, position.partition, none, none, [], [], position.next_offset)


def _check(image: StateImage, committed: int | None, first: int, partition: int) -> None:
    """Raise StateError where the log's parts do not agree."""
    position = image.position
    if position is None:
        if committed is not None:
            raise StateError(f"offset {committed} is committed but there is no position record: state is lost")
        return
    if committed is not None and committed != position.next_offset:
        raise StateError(f"torn transaction: committed offset {committed}, position {position.next_offset}")
    if position.snapshot_offset < min(first, position.next_offset):
        raise StateError(
            f"input of partition {partition} before {first} is gone; the snapshot stands at {position.snapshot_offset}"
        )
