"""Repair of a torn partition: planned from what the log says, then written in one transaction that fences the owner.

Theory of operation
-------------------
`plan` writes nothing. It reads the newest chart blocks, the state with all retained versions, the committed offsets, the alerts
and dead letters of the step; `actors/engine/torn.py` says what is wrong; the step is folded again from the image before it, and
what cannot be seen of it is what the plan holds. `apply` then opens a producer with the slot's transactional id, which fences the
owner, sees that nothing was written since the plan was made, and commits. So either all of the repair stands in the log, or
nothing.

The owner opens its slot again by itself, because it was fenced or because it sees that a quarantined partition has got new state
(actors/quarantine.py). It may come back while a repair is being written and fence that one: the repair then looks again, and
tries again at most `ATTEMPTS_MAX` times.
"""

from __future__ import annotations

import logging
from collections import Counter, defaultdict, deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from actors.deal import Dealer
from actors.engine.control import PartitionChange
from actors.engine.fold import PartitionFold
from actors.engine.outputs import reached
from actors.engine.position import Position, Record, StateImage, position_record
from actors.engine.replay import Piece, Replay
from actors.engine.snapshot import Snapshot
from actors.engine.torn import (
    BLOCKS_KEPT,
    Block,
    BlockPlace,
    Cure,
    Diagnosis,
    Outputs,
    diagnose,
    missing,
    placed,
    reach,
    refused,
    restored,
)
from actors.errors import FencedError, ReopenError, StateError
from actors.hosts import Hosts, Opening
from actors.outputs_check import STATE_TIMEOUT_S, read_alerts, read_charts, read_letters
from actors.pipeline import Pipeline
from actors.surroundings import Surroundings
from schemas.batch import RawBatch, after, cut, joined
from schemas.charts import ChartStep

_LOG = logging.getLogger("chipquality.repair")

ATTEMPTS_MAX = 5  # to commit a repair, each with a new producer
COMMIT_TIMEOUT_S = 30.0  # more than a writer takes to give up
RETRY_S = 0.1
LOOKS_MAX = 3  # at a partition whose state moves while it is looked at: it is alive, and a torn one is in quarantine
INPUT_IDLE_S = 30.0  # without a record of the step
SNAPSHOT_BYTES_MAX = 1 << 30  # of a repair's; only a snapshot of one transaction overwrites pages, so it is as small
OUTPUTS_MAX = 200_000  # alerts and dead letters of one step
REBUILD = "the step gives something else than it gave: run the version and the detectors that wrote it, then repair"


@dataclass(frozen=True)
class Plan:
    """What a repair of one partition writes."""

    diagnosis: Diagnosis
    position: Position | None = None  # after the repair
    records: tuple[Record, ...] = ()
    state_end: int = 0  # of the state partition, when this was planned

    @property
    def partition(self) -> int:
        """Return the input partition."""
        return self.diagnosis.partition

    def writes(self, pipeline: Pipeline) -> dict[str, int]:
        """Return how many records of which kind the repair writes."""
        topics = pipeline.topics
        kinds = {topics.charts: "chart blocks", topics.alerts: "alerts", topics.dead_letters: "dead letters"}
        return dict(Counter(kinds.get(record.topic, "state records") for record in self.records))

    def to_json(self, pipeline: Pipeline) -> dict[str, Any]:
        """Return the plan as JSON knows it."""
        found = self.diagnosis
        return {
            "partition": self.partition,
            "cure": found.cure.value,
            "why": found.why,
            "way": found.way,
            "first_offset": found.start if found.cure is Cure.COMPLETE else None,
            "next_offset": None if self.position is None else self.position.next_offset,
            "writes": self.writes(pipeline),
        }


# ---- planning


def plan(pipeline: Pipeline, around: Surroundings, hosts: Hosts, partitions: Iterable[int] | None = None) -> list[Plan]:
    """Say what is wrong with partitions and what a repair would write. Raises ReopenError where the log cannot be read."""
    asked = list(pipeline.partitions if partitions is None else partitions)
    plans: dict[int, Plan] = {}
    moving = asked
    for _ in range(LOOKS_MAX):
        ends = around.log.end(pipeline.topics.state, moving)
        found, seen = _looked(pipeline, around, moving)
        after = around.log.end(pipeline.topics.state, moving)
        for partition, each in found.items():
            if each.cure is Cure.NOTHING or ends[partition] == after[partition]:
                plans[partition] = _planned(pipeline, around, hosts, each, seen[partition], ends[partition])
        moving = [partition for partition in moving if partition not in plans]
        if not moving:
            break
    for partition in moving:
        plans[partition] = Plan(Diagnosis(partition, Cure.NOTHING, "its steps are committed all the time"))
    return [plans[partition] for partition in asked]


def _looked(
    pipeline: Pipeline, around: Surroundings, partitions: Sequence[int]
) -> tuple[dict[int, Diagnosis], dict[int, Outputs]]:
    """Return what seems to be wrong. That holds only for partitions whose state has not moved meanwhile."""
    blocks = _newest_blocks(pipeline, around, partitions)
    found = {partition: _look(pipeline, around, partition, blocks[partition]) for partition in partitions}
    seen = _outputs(pipeline, around, found, blocks)
    return {partition: reach(each, seen[partition]) for partition, each in found.items()}, seen


def _newest_blocks(
    pipeline: Pipeline, around: Surroundings, partitions: Iterable[int]
) -> dict[int, dict[str, deque[Block]]]:
    newest: dict[int, dict[str, deque[Block]]] = {partition: {} for partition in partitions}

    def take(step: ChartStep, packed: bytes) -> None:
        newest[step.partition].setdefault(step.family, deque(maxlen=BLOCKS_KEPT)).append(Block(step, packed))

    read_charts(pipeline, around, newest, take)
    return newest


def _look(pipeline: Pipeline, around: Surroundings, partition: int, blocks: Mapping[str, Sequence[Block]]) -> Diagnosis:
    """Return what is wrong with a partition, as far as state, offset and blocks tell."""
    topic = pipeline.topics.state
    ends = around.log.end(topic, [partition])
    entries = around.log.read_to_end(pipeline.name, topic, ends, STATE_TIMEOUT_S)[partition]
    committed = around.log.committed(pipeline.name, pipeline.input_topic, [partition])[partition]
    first = around.log.first(pipeline.input_topic, [partition])[partition]
    return diagnose(partition, entries, committed, blocks, first, around.codec.read)


def _outputs(
    pipeline: Pipeline,
    around: Surroundings,
    found: Mapping[int, Diagnosis],
    blocks: Mapping[int, Mapping[str, Iterable[Block]]],
) -> dict[int, Outputs]:
    """Return what can be seen of the steps in question."""
    since = {p: f.start for p, f in found.items() if f.cure in {Cure.COMPLETE, Cure.NOTHING}}
    alerts: defaultdict[int, dict[tuple[str, str], int]] = defaultdict(dict)
    letters: defaultdict[int, set[int]] = defaultdict(set)
    aside: defaultdict[int, set[int]] = defaultdict(set)

    def bounded(partition: int) -> None:
        if len(alerts[partition]) + len(letters[partition]) + len(aside[partition]) > OUTPUTS_MAX:
            raise ReopenError(f"partition {partition}: more than {OUTPUTS_MAX} outputs beyond {since[partition]}")

    def take_alert(alert: dict[str, Any], _: bool) -> None:
        partition, offset = alert["partition"], reached(alert)
        if partition in since and offset >= since[partition]:
            alerts[partition][alert["alert_id"], alert["state"]] = offset
            bounded(partition)

    def take_letter(into: defaultdict[int, set[int]], letter: dict[str, Any]) -> None:
        partition, offset = letter["partition"], letter["offset"]
        if partition in since and offset >= since[partition]:
            into[partition].add(offset)
            bounded(partition)

    read_alerts(pipeline, around, take_alert)
    topics = pipeline.topics
    read_letters(pipeline, around, topics.dead_letters, found, partial(take_letter, letters))
    if topics.late:
        read_letters(pipeline, around, topics.late, found, partial(take_letter, aside))
    return {
        partition: Outputs(
            alerts[partition],
            frozenset(letters[partition]),
            frozenset(aside[partition]),
            _of_step(each, [block for kept in blocks[partition].values() for block in kept]),
        )
        for partition, each in found.items()
    }


def _of_step(found: Diagnosis, blocks: Iterable[Block]) -> dict[BlockPlace, bytes]:
    """Return the blocks of the step in question."""
    ours = [block for block in blocks if block.step.seq == found.seq and block.step.first_offset >= found.start]
    return dict(zip(placed(block.step for block in ours), (block.packed for block in ours), strict=True))


def _planned(
    pipeline: Pipeline, around: Surroundings, hosts: Hosts, found: Diagnosis, seen: Outputs, state_end: int
) -> Plan:
    """Return the plan for a diagnosis; where the step folded again is not the one that was, a refusal."""
    position = found.position
    if found.cure is Cure.OFFSET and position is not None:
        record = position_record(
            pipeline.topics.state, position, around.codec.encoders
        )  # so that the owner looks again
        return Plan(found, position, (record,), state_end)
    if found.cure is not Cure.COMPLETE or found.before is None or found.end is None:
        return Plan(found)
    ends: list[tuple[int, int | None]] = [(found.end, None)]  # and how many rows there may be at most
    if (position is None or position.seq < found.seq) and not seen.blocks:  # the end is a guess: the step was longer
        there = around.log.end(pipeline.input_topic, [found.partition])[found.partition]
        ends.append((min(found.start + pipeline.step_rows_max, there), pipeline.step_samples_max))
    why = ""
    for end, rows_max in ends:
        wanted = found._replace(end=end)
        try:
            return _completed(pipeline, around, hosts, wanted, found.before, seen, state_end, rows_max)
        except StateError as error:
            why = why or str(error)
        finally:
            hosts.drop(found.partition)
    return Plan(refused(found, why, REBUILD))


def _completed(
    pipeline: Pipeline,
    around: Surroundings,
    hosts: Hosts,
    found: Diagnosis,
    before: StateImage,
    seen: Outputs,
    state_end: int,
    rows_max: int | None,
) -> Plan:
    """Fold the step again. Raises StateError if that does not give what can be seen."""
    refold = _Refold(pipeline, around, hosts, found, before)
    records = refold.run(rows_max)
    lacking = missing(records, seen, pipeline.topics, around.codec.read)
    after, position = refold.fold.position, found.position
    state = [record for record in records if record.topic == pipeline.topics.state]
    state = restored(found, state, pipeline.topics.state, around.codec.encoders) + state
    if position is not None and position.seq == found.seq:  # all of its state can be seen
        if after.applied != position.applied:
            raise StateError(f"detectors off were {position.applied} and are {after.applied}")
        after, state = position, [position_record(pipeline.topics.state, position, around.codec.encoders)]
    return Plan(found, after, (*state, *lacking), state_end)


class _Refold:
    """Folds one step again, from the state before it."""

    def __init__(
        self, pipeline: Pipeline, around: Surroundings, hosts: Hosts, found: Diagnosis, before: StateImage
    ) -> None:
        self._pipeline = pipeline
        self._around = around
        self._hosts = hosts
        self._found = found
        position = before.position
        assert position is not None  # noqa: S101 - for mypy: a diagnosis to complete has one
        self._replay = Replay(position, before.changes)
        disabled = frozenset(position.disabled_before(position.snapshot_offset))
        hosts.open(Opening(pipeline.input_topic, found.partition, before.series, tuple(before.pages), disabled))
        newest = found.position or position
        start = position._replace(
            next_offset=position.snapshot_offset,
            code_version=pipeline.code_version,
            slot=newest.slot,
            deal=newest.deal,
        )
        codec = around.codec
        self.fold = PartitionFold(
            pipeline.name,
            start,
            before.series,
            codec.decoder,
            codec.encoders,
            pipeline.topics,
            before.changes,
            pipeline.arrivals,
            before.pages,
            Snapshot(before),
        )

    def run(self, rows_max: int | None) -> list[Record]:
        """Return all that the step's transaction had to hold, at most `rows_max` rows. Raises StateError if the input is gone."""
        found = self._found
        end = found.start if found.end is None else found.end
        parts: list[RawBatch] = []
        at = found.start
        if self._replay.at < end:
            for raw in self._input(self._replay.at, end):
                for piece in self._replay.pieces(raw):
                    self._again(piece)
                for part in cut(raw, {found.start, end}):
                    if at < part.next_offset <= end:
                        parts.append(part)
                        at = part.next_offset
        rest = self._replay.rest()
        if rest is not None:
            self._again(rest)
        whole = joined(self._pipeline.input_topic, found.partition, parts, end)
        step = self.fold.begin(whole, found.changes, rows_max=rows_max)
        judged = self._hosts.judge([step.work], snapshot=found.rewrite)()
        pages = judged.pages.get(found.partition, []) if found.rewrite else None
        return self.fold.conclude(step, judged.outputs[found.partition], pages, SNAPSHOT_BYTES_MAX)

    def _again(self, piece: Piece) -> None:
        for detector in piece.disabled:
            self._hosts.disable(piece.raw.partition, detector)
        rest: RawBatch | None = piece.raw
        changes: Sequence[PartitionChange] = piece.changes
        while rest is not None:
            step = self.fold.begin(rest, changes, emit=False, rows_max=self._pipeline.step_samples_max)
            self._hosts.judge([step.work], snapshot=False)()
            self.fold.replayed(step)
            rest, changes = after(rest, step.work.batch.next_offset), ()

    def _input(self, start: int, end: int) -> Iterable[RawBatch]:
        """Yield the input until `end` is reached."""
        partition, clock = self._found.partition, self._around.clock
        reader = self._around.log.reader(self._pipeline.name, self._pipeline.input_topic)
        moved = clock.now()
        try:
            reader.assign({partition: start})
            while start < end:
                polled = reader.poll(self._pipeline.step_rows_max, 0.1)
                for why in polled.lost.values():
                    raise StateError(f"input from {start}: {why}")
                for raw in polled.batches:
                    moved, start = clock.now(), raw.next_offset
                    yield raw
                if clock.now() - moved > INPUT_IDLE_S:
                    raise ReopenError(f"input of partition {partition}: no record from {start} in {INPUT_IDLE_S:.0f} s")
        finally:
            reader.close()


# ---- writing


def apply(pipeline: Pipeline, around: Surroundings, hosts: Hosts, plans: Iterable[Plan]) -> list[Plan]:
    """Write the plans; return what holds afterwards, by partition: what was written, or a new plan that needs nothing.

    Raises ReopenError when it could not be written in ATTEMPTS_MAX attempts; then nothing of it stands in the log.
    """
    done: list[Plan] = []
    by_slot: defaultdict[int, list[Plan]] = defaultdict(list)
    slots = _slots(pipeline, around)
    for each in plans:
        if each.records and each.position is not None:
            by_slot[slots.get(each.partition, each.position.slot)].append(each)
        else:
            done.append(each)
    for slot, wanted in by_slot.items():
        done += _apply(pipeline, around, hosts, slot, wanted)
    return sorted(done, key=lambda each: each.partition)


def _slots(pipeline: Pipeline, around: Surroundings) -> dict[int, int]:
    """Return which slot has which partition; empty if none was dealt yet."""
    if not pipeline.topics.deals:
        return {}
    codec = around.codec
    deal = Dealer(around.log, pipeline.name, pipeline.topics.deals, codec.encoders["deal"], codec.read).read()
    return {} if deal is None else {partition: share.slot for partition, share in enumerate(deal.shares)}


def _apply(pipeline: Pipeline, around: Surroundings, hosts: Hosts, slot: int, wanted: list[Plan]) -> list[Plan]:
    done: list[Plan] = []
    last: Exception | None = None
    for _ in range(ATTEMPTS_MAX):
        try:
            if _write(pipeline, around, slot, wanted):
                return done + wanted
        except (ReopenError, FencedError) as error:  # the owner came back, or what came of it is unknown: look again
            _LOG.warning("%s: repair: %s", pipeline.name, error)
            last = error
        around.clock.sleep(RETRY_S)
        again = plan(pipeline, around, hosts, [each.partition for each in wanted])
        done += [each for each in again if not each.records]
        wanted = [each for each in again if each.records]
        if not wanted:
            return done
    raise ReopenError(f"{pipeline.name}: not repaired in {ATTEMPTS_MAX} attempts: {last}")


def _write(pipeline: Pipeline, around: Surroundings, slot: int, wanted: Sequence[Plan]) -> bool:
    """Fence the owner of a slot and commit; return False, having written nothing, if a partition has moved since."""
    topic = pipeline.topics.state
    reader = around.log.reader(pipeline.name, pipeline.input_topic)
    writer = around.log.writer(pipeline.transactional_id(slot))
    try:
        writer.open()
        ends = around.log.end(topic, [each.partition for each in wanted])
        if any(ends[each.partition] != each.state_end for each in wanted):
            return False
        records = [record for each in wanted for record in each.records]
        offsets = {each.partition: each.position.next_offset for each in wanted if each.position is not None}
        writer.commit(records, pipeline.input_topic, offsets, reader.group_metadata()).result(COMMIT_TIMEOUT_S)
        return True
    finally:
        writer.abandon()
        reader.close()
