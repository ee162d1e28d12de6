"""Partitions on their way to a slot: from the deal that gives them to the fold that stands where the broker says.

Theory of operation
-------------------
For each partition of a share, in this order (ARCHITECTURE: "every fault has one cure"):

1. **look**: the high watermark of the state partition, read_uncommitted; the state up to it, read_committed (the last stable
   offset hangs below an open transaction, and the end of a transaction is acknowledged before its markers are written); the
   committed offsets; the first retained input offset; the newest chart block. If the high watermark has moved meanwhile,
   somebody wrote, and the parts need not agree: look again. In the background: other partitions of the slot go on;
2. **may we?** The position names us since the deal that gave us the partition: yes. Else another slot holds it: look again
   until it has handed over; after `HANDOVER_S` **fence** the ids of all that may hold it, read the deal again, look again, and
   take it if our share of it is still the same (actors/deal.py says why this is safe);
3. **claim**: a position that names us, if it does not yet. Where the parts of the log do not agree: quarantine;
4. **replay**: families opened from the pages; the input from the snapshot to the position folded again with outputs suppressed,
   detectors switched off and changes made at the offsets at which they were (actors/engine/replay.py), some records at a time;
5. live: the fold is the slot's.

`advance` does a bit of that and returns; nothing in it waits longer than it is told to.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field

from actors.deal import Dealer, Seat, Share
from actors.engine.control import PartitionChange
from actors.engine.family import configured
from actors.engine.fold import PartitionFold, Step
from actors.engine.position import Position, StateImage
from actors.engine.replay import Piece, Replay
from actors.engine.snapshot import Snapshot
from actors.errors import ReopenError, StateError
from actors.hosts import Hosts, Opening
from actors.log import Reader
from actors.looks import Look, Looked, Looks
from actors.pipeline import Pipeline
from actors.surroundings import Surroundings
from schemas.batch import RawBatch, after
from schemas.registry import RegistryUnavailable

_LOG = logging.getLogger("chipquality.slot")

STATE_TIMEOUT_S = 60.0  # for reading the state partitions to their end
HANDOVER_S = 3.0  # for the old owner to hand a partition over, after which it is fenced
LOOK_AGAIN_S = 0.05  # between two looks at a partition that is not handed over yet
REPLAY_IDLE_S = 30.0  # a replay that gets no record for so long is given up and tried again
REGISTRY_RETRY_S = 1.0  # between attempts while the registry is away; the records wait, they are no dead letters


@dataclass
class Arrival:
    """A partition that is dealt to us and not live yet."""

    share: Share
    wait_until: float
    others: frozenset[int] = frozenset()  # slots that may hold it
    seen_seq: int | None = None  # of the position by which it was handed over, when we looked last
    seen_end: int | None = None  # of the state, when we looked last and others held it
    replay: Replay | None = None
    fold: PartitionFold | None = None
    last_record: float = 0.0
    again: bool = False  # a replay of it has stood still before

    def __str__(self) -> str:
        """Say what it waits for."""
        if self.replay is not None:
            return f"replays {self.replay.at} to {self.replay.target.next_offset}"
        return f"waits for {sorted(self.others)}" if self.others else "reads its state"


@dataclass
class TakeOver:
    """All partitions that are on their way to a slot. `claims` are positions that the slot has to commit, with their offsets."""

    pipeline: Pipeline
    seat: Seat
    hosts: Hosts
    around: Surroundings
    dealer: Dealer
    arriving: dict[int, Arrival] = field(default_factory=dict)
    quarantined: dict[int, str] = field(default_factory=dict)
    state_ends: dict[int, int] = field(default_factory=dict)  # of the state of those that a look put in quarantine
    without_state: dict[int, tuple[str, ...]] = field(default_factory=dict)
    claims: list[Position] = field(default_factory=list)
    fenced_others: bool = False  # for some of the claims
    replayed: int = 0  # records
    replay_s: float = 0.0  # that decoding and judging them took
    _deal_number: int = 0
    _looking: Future[Looked] | None = None
    _look_at: float = 0.0
    _reader: Reader | None = None  # of replays

    def __post_init__(self) -> None:
        self._looks = Looks(self.pipeline, self.around, self.dealer)

    def follow(self, shares: Mapping[int, Share], deal_number: int) -> None:
        """Take the shares that a deal gives us; forget what it does not."""
        now = self.around.clock.now()
        self._deal_number = deal_number
        for partition in [p for p, arrival in self.arriving.items() if shares.get(p) != arrival.share]:
            self._drop(partition)
        for partition, share in shares.items():
            if partition not in self.arriving:
                others = frozenset(share.past) - {self.seat.slot}
                self.arriving[partition] = Arrival(share, now + HANDOVER_S, others)

    def look_ahead(self) -> None:
        """Start to look, in the background, while the families are not there yet."""
        if self._looking is None:
            self._start_look()

    def advance(self, wait_s: float) -> list[PartitionFold]:
        """Go on with what is under way, waiting at most `wait_s`; return the folds that are live now."""
        if self._looking is None:
            self._start_look()
        looking = self._looking
        if looking is not None:
            self._finish_look(looking, wait_s)
        replaying = [arrival for arrival in self.arriving.values() if arrival.replay is not None]
        if replaying:
            self._replay(wait_s)
        elif looking is None and self.arriving:  # nothing to do before the next look
            self.around.clock.sleep(min(wait_s, max(0.0, self._look_at - self.around.clock.now())))
        came = [p for p, arrival in self.arriving.items() if arrival.replay is not None and arrival.replay.done]
        return [self._arrive(partition) for partition in came]

    @property
    def waits_for_others(self) -> bool:
        """Say whether nothing can be done but wait until other slots hand over."""
        return all(arrival.replay is None and arrival.others for arrival in self.arriving.values())

    def close(self) -> None:
        """Leave."""
        if self._reader is not None:
            self._reader.close()
            self._reader = None

    # ---- looking

    def _start_look(self) -> None:
        wanted = [partition for partition, arrival in self.arriving.items() if arrival.replay is None]
        now = self.around.clock.now()
        if not wanted or now < self._look_at:
            return
        overdue = {slot for p in wanted if now >= self.arriving[p].wait_until for slot in self.arriving[p].others}
        hurried = any(self.arriving[p].others for p in wanted) and not overdue
        timeout_s = HANDOVER_S if hurried else STATE_TIMEOUT_S
        seen = {} if overdue else {p: self.arriving[p].seen_end for p in wanted}
        self._looking = self.around.log.background(lambda: self._looks.look(wanted, sorted(overdue), timeout_s, seen))

    def _finish_look(self, looking: Future[Looked], wait_s: float) -> None:
        again_s = LOOK_AGAIN_S
        found: Mapping[int, Look] = {}
        try:
            looked = looking.result(wait_s)
            found = looked.found
        except TimeoutError:
            if not looking.done():
                return
            raise
        except RegistryUnavailable as error:
            _LOG.warning("waiting for the registry: %s", error)
            again_s = REGISTRY_RETRY_S
        except ReopenError as error:
            if not any(arrival.others for arrival in self.arriving.values()):
                raise
            _LOG.warning("%s: another slot has not handed over: %s", self.pipeline.name, error)  # it will be fenced
        self._looking = None
        self._look_at = self.around.clock.now() + again_s
        for partition, look in found.items():
            arrival = self.arriving.get(partition)
            if arrival is not None and arrival.replay is None:
                self._decide(partition, arrival, look, looked)

    def _decide(self, partition: int, arrival: Arrival, look: Look, looked: Looked) -> None:
        """Take the partition if it is ours to take."""
        image = look.image
        if not self._handed_over(arrival, image, look.end):
            fenced = looked.deal is not None and arrival.others <= looked.fenced
            if not fenced or looked.deal is None or looked.deal.shares[partition] != arrival.share:
                return  # a deal that has changed reaches us by the slot
            self.fenced_others = True
        try:
            if isinstance(image, StateError):
                raise image
            look.check(image, partition)
            self._take(partition, arrival, image, look.first)
            self.state_ends.pop(partition, None)
        except StateError as error:
            self.state_ends[partition] = look.end
            self.hosts.drop(partition)  # one family may have opened it before another refused
            self._quarantine(partition, str(error))

    def _handed_over(self, arrival: Arrival, image: StateImage | StateError, end: int) -> bool:
        """Say whether nobody else can write this partition; note who might.

        One that another slot has handed over is looked at twice: the first look may have ended in the middle of the transaction.
        """
        position = None if isinstance(image, StateError) else image.position
        share, us = arrival.share, self.seat.slot
        if position is not None and position.slot == us and position.deal >= share.since:
            seen, arrival.seen_seq = arrival.seen_seq, position.seq
            return not share.past or seen == position.seq
        holders = set(share.past) | ({position.slot} if position is not None and position.deal else set())
        arrival.others = frozenset(holders - {us})
        arrival.seen_end = end if arrival.others else None
        return not arrival.others

    # ---- taking

    def _take(self, partition: int, arrival: Arrival, image: StateImage, first: int) -> None:
        pipeline, seat = self.pipeline, self.seat
        position = image.position or Position(
            pipeline.input_topic, partition, first, 0, first, 0, pipeline.code_version
        )
        disabled = frozenset(position.disabled_before(position.snapshot_offset))
        opening = Opening(pipeline.input_topic, partition, image.series, tuple(image.pages), disabled)
        without_state = self.hosts.open(opening)
        if without_state:
            self.without_state[partition] = without_state
            _LOG.warning("%s:%d: no state for %s: Phase I", pipeline.input_topic, partition, ", ".join(without_state))
        claimed = image.position is not None and position.slot == seat.slot and position.deal >= arrival.share.since
        if not claimed:
            position = position._replace(slot=seat.slot, deal=self._deal_number)
        start = position._replace(next_offset=position.snapshot_offset, code_version=pipeline.code_version)
        arrival.fold = PartitionFold(
            pipeline.name,
            start,
            image.series,
            self.around.codec.decoder,
            self.around.codec.encoders,
            pipeline.topics,
            image.changes,
            pipeline.arrivals,
            image.pages,
            Snapshot(image, configured(pipeline.families)),
        )
        if not claimed:
            self.claims.append(position)
        arrival.replay = Replay(position, image.changes)
        arrival.last_record = self.around.clock.now()
        if not arrival.replay.done:
            self._replays().add({partition: arrival.replay.at})

    def _replays(self) -> Reader:
        if self._reader is None:
            self._reader = self.around.log.reader(self.pipeline.name, self.pipeline.input_topic)
        return self._reader

    # ---- replaying

    def _replay(self, wait_s: float) -> None:
        """Fold some of the input between snapshot and position again, writing nothing."""
        behind = {p: a for p, a in self.arriving.items() if a.replay is not None and not a.replay.done}
        if not behind:
            return
        polled = self._replays().poll(self.pipeline.step_rows_max, wait_s)
        now = self.around.clock.now()
        for partition, why in polled.lost.items():
            if partition in behind:
                self._quarantine(partition, f"replay: {why}")
        for raw in polled.batches:
            arrival = self.arriving.get(raw.partition)
            if arrival is None or arrival.replay is None or arrival.fold is None:
                continue
            arrival.last_record = now
            for piece in arrival.replay.pieces(raw):
                self._again(arrival.fold, piece)
            if arrival.replay.done:
                self._replays().remove([raw.partition])
        idle = [p for p, a in behind.items() if p in self.arriving and now - a.last_record > REPLAY_IDLE_S]
        if idle:
            self._begin_anew(idle, now)

    def _begin_anew(self, idle: Iterable[int], now: float) -> None:
        """Look again, and replay with a new consumer: the broker was away, or ours does not find it.

        Where the broker has answered the second look and still no record comes, the input is shorter than it was.
        """
        for partition in idle:
            share, again = self.arriving[partition].share, self.arriving[partition].again
            if again:
                self._quarantine(partition, f"replay: no record for {REPLAY_IDLE_S:.0f} s, twice")
            else:
                _LOG.warning("%s:%d: no record to replay came", self.pipeline.input_topic, partition)
                self._drop(partition)
                self.arriving[partition] = Arrival(share, now + HANDOVER_S, frozenset(share.past), again=True)
        self.close()
        behind = {p: a.replay.at for p, a in self.arriving.items() if a.replay is not None and not a.replay.done}
        self._replays().add(behind)

    def _again(self, fold: PartitionFold, piece: Piece) -> None:
        for detector in piece.disabled:
            self.hosts.disable(piece.raw.partition, detector)
        rest: RawBatch | None = piece.raw
        changes: Sequence[PartitionChange] = piece.changes
        while rest is not None:
            started, step = self._begun(fold, rest, changes)
            self.hosts.judge([step.work], snapshot=False)()
            fold.replayed(step)
            self.replay_s += self.around.clock.now() - started
            rest, changes = after(rest, step.work.batch.next_offset), ()
        self.replayed += len(piece.raw)

    def _begun(self, fold: PartitionFold, raw: RawBatch, changes: Sequence[PartitionChange]) -> tuple[float, Step]:
        """Return the step of the next records, as many as go into one, and when it began; wait for the registry."""
        while True:
            started = self.around.clock.now()
            try:
                return started, fold.begin(raw, changes, emit=False, rows_max=self.pipeline.step_samples_max)
            except RegistryUnavailable as error:
                if self.around.should_stop():
                    raise
                _LOG.warning("waiting for the registry: %s", error)
                self.around.clock.sleep(REGISTRY_RETRY_S)

    def _arrive(self, partition: int) -> PartitionFold:
        arrival = self.arriving.pop(partition)
        assert arrival.fold is not None and arrival.replay is not None  # noqa: S101, PT018 - for mypy: it is replayed
        rest = arrival.replay.rest()
        if rest is not None:
            self._again(arrival.fold, rest)
        return arrival.fold

    # ---- not taking

    def _drop(self, partition: int) -> None:
        arrival = self.arriving.pop(partition)
        if arrival.replay is not None:
            if not arrival.replay.done:
                self._replays().remove([partition])
            self.hosts.drop(partition)

    def _quarantine(self, partition: int, why: str) -> None:
        _LOG.error("%s:%d quarantined: %s", self.pipeline.input_topic, partition, why)
        if partition in self.arriving:
            self._drop(partition)
        self.quarantined[partition] = why
