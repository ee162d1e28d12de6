"""A slot: the fold of some partitions, joined to Kafka by one transaction per step.

Theory of operation
-------------------
Opening, in this order (ARCHITECTURE: "every fault has one cure"):

1. the deal names this incarnation, else end: nobody is fenced by an owner that is out of date;
2. `init_transactions()`: fences the older owner of the slot, aborts what it left open;
3. the deal again, to its end: what it gives us is what we take, and no more (actors/takeover.py says how: state, committed
   offsets, replay); the control topic, from its first record to its end: what was not made yet waits for the first step;
4. live.

A step: poll, decode (actors/intake.py), all families, one transaction. What the control topic has brought for a partition is
made at its next step, an empty one if no record has come (actors/engine/control.py). The next step is computed while the last
one commits. If anything raises ReopenError or FencedError the slot is abandoned and a new one opened; a StateError quarantines
its partition.

The deal is followed all the time. A partition that it gives to another slot is handed over at once: a snapshot whose position
names the new slot, and we write it no more. One that it gives to us is taken over beside the steps of the others.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from concurrent.futures import Future

import numpy as np

from actors.control_reader import ControlReader
from actors.deal import Deal, Dealer, DealFollower, Seat, require
from actors.engine.control import PartitionChange, Waiting
from actors.engine.fold import PartitionFold
from actors.engine.pacing import SnapshotPacer
from actors.engine.position import Position, Record, position_record
from actors.engine.snapshot import TRANSACTION_BYTES_MAX
from actors.errors import ReopenError, StateError
from actors.hosts import Hosts
from actors.intake import Intake
from actors.pipeline import Pipeline
from actors.quarantine import QuarantineWatch
from actors.slot_status import SlotStatus
from actors.step_pace import StepPace
from actors.step_size import StepSize
from actors.stopwatch import Stopwatch
from actors.surroundings import Surroundings
from actors.takeover import TakeOver
from actors.unknown_schemas import UnknownSchemas
from schemas.batch import RawBatch

_LOG = logging.getLogger("chipquality.slot")

RECOMMIT_S = 3600.0  # committed offsets of an idle group expire: they are committed again
POLL_WAIT_MIN_S = 0.002
# A commit gives up by itself after 3 s, but librdkafka's send_offsets_to_transaction does not keep to its timeout, and may never
# answer while a coordinator is away (its issues 5456 and 5511).
COMMIT_WAIT_S = 4.0
OPEN_POLL_S = 0.1  # of one look at what is being opened; bounds how late a stop is noticed

_NOTHING: Mapping[int, int] = {}


class Slot:
    """The partitions of one slot, from opening to closing. After an error: `abandon`, and make a new one."""

    def __init__(self, pipeline: Pipeline, seat: Seat, hosts: Hosts, around: Surroundings) -> None:
        self.pipeline = pipeline
        self.seat = seat
        self.hosts = hosts
        self.around = around
        self.folds: dict[int, PartitionFold] = {}
        self.retired = False  # the deal has no such slot any more, and all is handed over
        log, codec, name, topics = around.log, around.codec, pipeline.name, pipeline.topics
        dealer = Dealer(log, name, topics.deals, codec.encoders["deal"], codec.read)
        self._deals = DealFollower(log, name, topics.deals, codec.read)
        self._writer = log.writer(pipeline.transactional_id(seat.slot))
        self._reader = log.reader(name, pipeline.input_topic)
        self._takeover = TakeOver(pipeline, seat, hosts, around, dealer)
        self._quarantine_watch = QuarantineWatch(pipeline, around)
        self._waiting = Waiting(pipeline.changes_of or name, pipeline.input_topic, pipeline.partitions)
        self._control = ControlReader(log, name, topics.control, codec.read) if topics.control else None
        self.status = SlotStatus(quarantined=self._takeover.quarantined, without_state=self._takeover.without_state)
        self._size = StepSize(pipeline.step_rows_max, pipeline.step_samples_max)
        self._intake = Intake(self._reader, UnknownSchemas(log, around.clock, codec.look_up), self._size)
        self._pace = StepPace(pipeline.commit_interval_ms / 1000)
        self._commit: Future[None] | None = None
        self._last_step = self._last_commit = now = around.clock.now()
        self._pacer = SnapshotPacer(pipeline.snapshot_bytes_per_s, pipeline.snapshot_interval_ms / 1000, now)

    # ---- opening

    def prepare(self) -> None:
        """Connect to what `open` will ask, without fencing anybody or changing anything: for a process that stands by."""
        name, log = self.pipeline.name, self.around.log
        self._deals.catch_up()
        if self._control is not None:
            self._waiting.take(self._control.catch_up())
        log.committed(name, self.pipeline.input_topic, self.pipeline.partitions)
        log.end(self.pipeline.topics.state, self.pipeline.partitions)

    def open(self) -> None:
        """Take our partitions over and bring every fold to where the broker says it stands; go on without those that
        other slots have not handed over yet. Raises SupersededError if the deal names another incarnation of the slot.
        """
        now = self.around.clock.now
        watch = Stopwatch(now)
        families_ready = self.around.log.background(self.hosts.reset)
        require(self._deals.catch_up(), self.pipeline.name, self.seat)
        watch.lap("deal")
        self._writer.open()
        watch.lap("fencing")
        deal = require(self._deals.catch_up(), self.pipeline.name, self.seat)
        self._follow(deal)
        self._takeover.look_ahead()
        if self._control is not None:
            self._waiting.take(self._control.catch_up())
        watch.lap("deal again, control")
        families_ready.result()
        watch.lap("families")
        while not self._takeover.waits_for_others and not self.around.should_stop():
            self._advance(OPEN_POLL_S)
            self._follow_if_new()
        watch.lap("state, replay")
        self._pacer.start(now())
        _LOG.info("slot %d of %s opened: %s", self.seat.slot, self.pipeline.name, watch)

    def _follow_if_new(self) -> None:
        deal = self._deals.poll()
        if deal is not None:
            self._follow(deal)

    def _follow(self, deal: Deal) -> None:
        """Do as the deal says: hand over what it gives to others, take what it gives to us."""
        slot, known = self.seat.slot, require(deal, self.pipeline.name, self.seat)
        moved = {p: share.slot for p, share in enumerate(known.shares) if share.slot != slot and p in self.folds}
        if moved:
            self._hand_over(moved, deal.number)
        self.status.deal = deal.number
        ours = {p: share for p, share in enumerate(known.shares) if share.slot == slot}
        for partition in [p for p in self.status.quarantined if p not in ours]:
            del self.status.quarantined[partition]
        wanted = {p: share for p, share in ours.items() if p not in self.folds and p not in self.status.quarantined}
        self._takeover.follow(wanted, deal.number)
        self._tell_arriving()
        self.retired = slot >= known.slots

    def _hand_over(self, moved: Mapping[int, int], deal_number: int) -> None:
        """Commit a snapshot of these partitions that names the slot which has them now, and let them go."""
        for partition, slot in moved.items():
            fold = self.folds[partition]
            fold.position = fold.position._replace(slot=slot, deal=deal_number)
        records, _ = self._judge([_empty(self.folds[partition].position) for partition in moved], True, {})
        self._submit(records)
        self._let_go(moved)
        _LOG.info("slot %d hands over %s", self.seat.slot, dict(moved))

    def _let_go(self, partitions: Mapping[int, object]) -> None:
        self._reader.remove(partitions)
        for partition in partitions:
            self.folds.pop(partition, None)
            self._intake.forget(partition)
            self.status.without_state.pop(partition, None)
            self.hosts.drop(partition)

    def _advance(self, wait_s: float) -> None:
        """Go on with the partitions that are on their way."""
        replayed, replay_s = self._takeover.replayed, self._takeover.replay_s
        came = self._takeover.advance(wait_s)
        self._pacer.replayed(self._takeover.replayed - replayed, self._takeover.replay_s - replay_s)
        if self._takeover.claims:
            if self._takeover.fenced_others and not self.folds:
                self._renew_writer()
            self._claim(self._takeover.claims)
            self._takeover.claims, self._takeover.fenced_others = [], False
        self.status.replayed = self._takeover.replayed
        self._tell_arriving()
        if came:
            self._take_in(came)

    def _take_in(self, came: Sequence[PartitionFold]) -> None:
        """Have folds that are live now. What they folded again the next owner would have to, until there is a snapshot."""
        positions = [fold.position for fold in came]
        self.folds |= {fold.position.partition: fold for fold in came}
        self._reader.add({position.partition: position.next_offset for position in positions})
        self._pacer.came(sum(position.next_offset - position.snapshot_offset for position in positions))
        self.status.replay_worst_s = self._pacer.replay_worst_s

    def _tell_arriving(self) -> None:
        self.status.arriving = {partition: str(arrival) for partition, arrival in self._takeover.arriving.items()}

    def _claim(self, positions: Sequence[Position]) -> None:
        """Commit positions that name us, and their offsets: without an offset a torn first step could not be told."""
        state, encoders = self.pipeline.topics.state, self.around.codec.encoders
        records = [position_record(state, position, encoders) for position in positions]
        self._submit(records, {position.partition: position.next_offset for position in positions})

    def _renew_writer(self) -> None:
        """Have a producer of now, under the deal that we follow. Raises ReopenError if there is another deal.

        Two slots that wait for each other's partitions fence each other. One that holds nothing writes nothing, and hears of
        it only when it claims, after it has fenced the other: so both would go on for ever.
        """
        self._settle(block=True)
        self._writer.abandon()
        self._writer = self.around.log.writer(self.pipeline.transactional_id(self.seat.slot))
        self._writer.open()
        deal = require(self._deals.catch_up(), self.pipeline.name, self.seat)
        if deal.number != self.status.deal:
            raise ReopenError(f"deal {deal.number} came while partitions of deal {self.status.deal} were taken over")

    def _quarantine(self, partition: int, why: str) -> None:
        _LOG.error("%s:%d quarantined: %s", self.pipeline.input_topic, partition, why)
        self.status.quarantined[partition] = why
        self._let_go({partition: why})

    # ---- stepping

    def step(self) -> int:
        """Take one step; return how many records it had.

        Raises ReopenError, FencedError or SupersededError: abandon the slot then.
        """
        self.hosts.tend()
        self._follow_if_new()
        repaired = self._quarantine_watch.repaired(self.status.quarantined, self._takeover.state_ends)
        if repaired:
            raise ReopenError(f"partitions {repaired} are in quarantine and have new state: they were repaired")
        if self._takeover.arriving:
            self._advance(0.0 if self.folds else OPEN_POLL_S)
        wait = max(POLL_WAIT_MIN_S, self._last_step + self._pace.interval_s - self.around.clock.now())
        lost = self._intake.poll(wait)
        started = self._last_step = self.around.clock.now()
        for partition, why in lost.items():
            if partition in self.folds:
                self._quarantine(partition, why)
        self._intake.read_again(self.folds)
        self.status.waiting_for_registry = self._intake.waiting
        batches = self._intake.take(self.folds)
        due = self._due()
        snapshot = self._pacer.due(started)
        if not batches and not snapshot and not due and not self._writing():
            self._settle(block=False)
            return 0
        if snapshot:
            self._pacer.begin(started)
        room = self._pacer.allowance(started)
        before = self.status.records, self.status.rows
        records, rows = self._judge(batches, snapshot, due, room)
        records_now, rows_now = self.status.records - before[0], self.status.rows - before[1]
        busy_s = self.around.clock.now() - started
        self._size.took(records_now, rows_now, busy_s)
        if records_now:
            self._pace.took(busy_s)
        self._note_pace(rows, started)
        if records or started - self._last_commit > RECOMMIT_S:
            self.status.step_ms = (self.around.clock.now() - started) * 1000
            self._submit(records)
        else:
            self._settle(block=False)
        return rows

    def _writing(self) -> bool:
        """Say whether a snapshot is on its way to the log."""
        return any(fold.snapshot.under_way for fold in self.folds.values())

    def _note_pace(self, rows: int, started: float) -> None:
        """Tell the pacer of a step, and the status how long a replay could take."""
        if not self._writing():
            self._pacer.named()
        now = self.around.clock.now()
        self._pacer.stepped(rows, now - started, now)
        self.status.replay_worst_s = self._pacer.replay_worst_s

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
        self.status.changes_waiting = self._waiting.count(self.folds)
        return due

    def _judge(
        self,
        batches: list[RawBatch],
        snapshot: bool,
        due: Mapping[int, list[PartitionChange]],
        room: int = TRANSACTION_BYTES_MAX,
    ) -> tuple[list[Record], int]:
        """Fold the batches, and every partition with a change; with `snapshot`, every one that has moved since its last.

        `room`: bytes of snapshots that may go out with this step; partitions whose snapshot is on its way step for it too.
        """
        steps = self._intake.begin(self.folds, batches, due)
        present = {step.work.partition for step in steps}
        steps += [
            fold.begin(_empty(fold.position), due.get(partition, ()))
            for partition, fold in self.folds.items()
            if partition not in present
            and (
                partition in due
                or (snapshot and fold.position.seq > fold.position.snapshot_seq)
                or (room and fold.snapshot.under_way)
            )
        ]
        if not steps:
            return [], 0
        judged = self.hosts.judge([step.work for step in steps], snapshot)()
        records: list[Record] = []
        rows = 0
        for step in steps:
            partition = step.work.partition
            pages = judged.pages.get(partition, []) if snapshot else None
            fold = self.folds[partition]
            self.status.note_failures(judged.outputs[partition])
            before = fold.snapshot.bytes_written
            try:
                records += fold.conclude(step, judged.outputs[partition], pages, room)
            except StateError as error:
                self._quarantine(partition, str(error))
                continue
            written = fold.snapshot.bytes_written - before
            self._pacer.wrote(written)
            room = max(0, room - written)
            rows += self.status.add(step)
        self.status.steps += 1
        return records, rows

    def _submit(self, records: list[Record], claimed: Mapping[int, int] = _NOTHING) -> None:
        self._settle(block=True)
        offsets = {partition: fold.position.next_offset for partition, fold in self.folds.items()} | dict(claimed)
        self._commit = self._writer.commit(records, self.pipeline.input_topic, offsets, self._reader.group_metadata())
        self._last_commit = self.around.clock.now()

    def _settle(self, *, block: bool) -> None:
        """See the last commit succeed, or raise what it raised; give up one that is under way for too long."""
        left_s = self._last_commit + COMMIT_WAIT_S - self.around.clock.now()
        if self._commit is not None and (block or self._commit.done() or left_s < 0.0):
            try:
                self._commit.result(max(0.0, left_s))
            except TimeoutError as error:
                whose = f"transaction of {self.pipeline.transactional_id(self.seat.slot)}"
                raise ReopenError(f"{whose}: no answer within {COMMIT_WAIT_S:g} s") from error
            self._commit = None
            self.status.commit_ms = self._writer.last_commit_s * 1000

    # ---- closing

    def close(self) -> None:
        """Commit a snapshot, so that nothing need be replayed, and end."""
        records, _ = self._judge([], snapshot=True, due={})
        while records:
            self._submit(records)
            records = self._judge([], snapshot=False, due={})[0] if self._writing() else []
        self._settle(block=True)
        self._writer.close()
        self._close_readers()

    def abandon(self) -> None:
        """Leave everything behind; the broker has what was committed."""
        self._writer.abandon()
        self._close_readers()

    def _close_readers(self) -> None:
        self._reader.close()
        self._deals.close()
        self._takeover.close()
        if self._control is not None:
            self._control.close()


def _empty(position: Position) -> RawBatch:
    none = np.zeros(0, np.int64)
    return RawBatch(position.topic, position.partition, none, none, [], [], position.next_offset)
