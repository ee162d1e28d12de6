"""The supervisor of one pipeline: a thin actor around the decisions. All of Ray's calls about owners are made here.

Detached, without CPUs of its own, not on the head where there are other nodes. It asks every owner how it is, tells the
decisions what it heard, and does what they say. If it dies, Ray starts it again, and it reads the deal and finds its owners by
their names. If Ray's head is gone it waits; owners go on without it.

The time of the decisions is the time in which it listens. To change the deal, to place an owner or to ask Ray's head for a name
may take many seconds, in which nobody is asked how it is; so may a pause of its process. Owners would seem silent for as long,
and all of them would be replaced. So a stretch in which it did nothing counts as `DEAF_S` at most.
"""

from __future__ import annotations

import logging
import os
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable
from typing import Any

import ray
from ray.actor import ActorHandle
from ray.exceptions import ActorUnavailableError, GetTimeoutError, RayActorError, RayError, RayTaskError

from actors.calls import answer
from actors.deal import Deal, Dealer, DealFollower, Seat, check_slots
from actors.errors import ConfigError, FencedError, ReopenError
from actors.names import LOG_FORMAT
from actors.partition_owner import STANDBY, STOP_TIMEOUT_S
from actors.pipeline import Pipeline
from actors.supervision import places
from actors.supervision.ahead import Ahead
from actors.supervision.decisions import (
    ENDED,
    Ask,
    Booted,
    ChangeDeal,
    DealSeen,
    End,
    Event,
    Heard,
    Instruction,
    ScaleWanted,
    Start,
    Supervision,
    Ticked,
    Unheard,
)
from actors.supervision.places import Member
from actors.surroundings import Codec
from schemas.registry import RegistryUnavailable

_LOG = logging.getLogger("chipquality.supervisor")

TICK_S = 0.25
DEAF_S = 1.0  # of the decisions' time, at most, between two of its looks at the clock
ASK_TIMEOUT_S = 2.0  # for an owner to say how it is
CALL_TIMEOUT_S = 10.0
RETRY_S = 1.0  # after the broker or the registry did not answer
EVENTS_MAX = 1_000
LOST = (ReopenError, FencedError, RegistryUnavailable)


class SupervisorLoop:
    """Drives the decisions about one pipeline, on a thread of its own."""

    def __init__(self, pipeline: Pipeline, clock: Callable[[], float] = time.monotonic) -> None:
        self.pipeline = pipeline
        self.trouble = ""  # why something wanted is not done, in a line
        self._clock = clock
        self._time_s, self._looked = 0.0, clock()  # of the decisions; when the clock was looked at last
        self._supervision = Supervision(pipeline.slots)
        self._statuses: dict[Seat, dict[str, Any]] = {}
        self._handles: dict[Member, ActorHandle[Any]] = {}
        self._asked: dict[Member, tuple[Any, float]] = {}  # call under way, since when
        self._speakers: dict[Seat, Member] = {}  # who said last how the seat's owner is
        self._standing: dict[Member, bool] = {}  # by and ready to take over: whether it answered what it was asked last
        self._silent: dict[int, str] = {}  # slot → node of its owner that said nothing and is replaced
        self._ahead = Ahead(pipeline)
        self._wishes: deque[int] = deque(maxlen=EVENTS_MAX)
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, name=f"supervisor-{pipeline.name}", daemon=True)

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def scale(self, slots: int) -> None:
        """Want another number of slots. Raises ConfigError for one that cannot be."""
        check_slots(slots, len(self.pipeline.partitions))
        self._wishes.append(slots)

    def status(self) -> dict[str, Any]:
        """Return the deal as it is known here, and what every owner said last."""
        deal = self._supervision.deal
        owners = self._supervision.owners
        return {
            "pipeline": self.pipeline.name,
            "deal": deal.number if deal else 0,
            "slots": deal.slots if deal else 0,
            "balanced": bool(deal and deal.is_balanced),
            "trouble": self.trouble,
            "warm": self._ahead.warmer.ready(),
            "owners": [
                self._statuses.get(seat, _blank(self.pipeline.name, seat))
                | ({"state": known.state} if (known := owners.get(seat)) and known.state == "gone" else {})
                | {"standby": any(answers and m.seat == seat for m, answers in self._standing.copy().items())}
                for seat in (deal.seats() if deal else ())
            ],
        }

    def stop(self) -> list[dict[str, Any]]:
        """Let every owner commit a snapshot, end them; return their last statuses."""
        self._over.set()
        self._thread.join(CALL_TIMEOUT_S)
        return places.stop_owners(self.pipeline.name, STOP_TIMEOUT_S + CALL_TIMEOUT_S)

    # ---- the loop

    def _run(self) -> None:
        while not self._over.is_set():
            try:
                self._live()
            except (*LOST, RayError, ConfigError) as error:
                self._troubled(error)
            except Exception as error:  # noqa: BLE001 - without its thread the actor looks alive, and replaces nobody
                _LOG.exception("supervisor of %s", self.pipeline.name)
                self._troubled(error)

    def _troubled(self, error: Exception) -> None:
        self.trouble = f"{type(error).__name__}: {error}"
        _LOG.warning("supervisor of %s starts again: %s", self.pipeline.name, self.trouble)
        self._over.wait(RETRY_S)

    def _now(self) -> float:
        looked, self._looked = self._looked, self._clock()
        self._time_s += min(self._looked - looked, DEAF_S)
        return self._time_s

    def _live(self) -> None:
        """Boot, then tick until told to stop or something breaks."""
        pipeline = self.pipeline
        log, codec = pipeline.log(pipeline.cluster), Codec.of(pipeline)
        name, topic = pipeline.name, pipeline.topics.deals
        follower = DealFollower(log, name, topic, codec.read)
        dealer = Dealer(log, name, topic, codec.encoders["deal"], codec.read, follower)
        try:
            deal = _checked(follower.catch_up(), pipeline)
            self._supervision = Supervision(pipeline.slots, wanted=self._supervision.wanted)
            self._handles = places.members(pipeline.name)
            self._asked, self._standing = {}, {}
            self._speakers = {member.seat: member for member in self._handles if member.other not in self._handles}
            present = frozenset(member.seat for member in self._handles) | places.placed(pipeline.name)
            self._take(Booted(deal, present, self._now()), dealer)
            self.trouble = ""
            told = deal
            while not self._over.wait(TICK_S):
                follower.poll()
                if follower.deal is not None and follower.deal != told:  # read just now, or by the dealer
                    told = follower.deal
                    self._take(DealSeen(told, False, self._now()), dealer)
                while self._wishes:
                    self._take(ScaleWanted(self._wishes.popleft(), self._now()), dealer)
                for event in self._ask_owners():
                    self._take(event, dealer)
                self._take(Ticked(self._now()), dealer)
                if pipeline.standby:
                    self._prepare()
        finally:
            follower.close()
            log.close()

    def _take(self, event: Event, dealer: Dealer) -> None:
        instructions = deque(self._supervision.on(event))
        while instructions and not self._over.is_set():
            instructions.extend(self._do(instructions.popleft(), dealer))

    def _do(self, instruction: Instruction, dealer: Dealer) -> list[Instruction]:
        match instruction:
            case ChangeDeal():
                return self._change(instruction, dealer)
            case Start(seat):
                return self._start(seat)
            case End(seat):
                self._forget(seat)
                places.end(self.pipeline.name, seat)
        return []

    def _change(self, change: ChangeDeal, dealer: Dealer) -> list[Instruction]:
        pipeline = self.pipeline
        if change.ask is Ask.RENEW:
            change = change._replace(seats=tuple(seat for seat in change.seats if not self._pass_turn(seat)))
            self._note_silent(change.seats)
            if not change.seats:
                return self._supervision.failed(self._now())  # it need not be changed
        read: list[Deal | None] = []

        def made(deal: Deal | None) -> Deal | None:
            read.append(deal)
            return change.made(deal, pipeline.name, len(pipeline.partitions))

        try:
            deal = dealer.change(made)
        except LOST as error:
            self.trouble = f"the deal cannot be changed: {error}"
            _LOG.warning("%s: %s", pipeline.name, self.trouble)
            return self._supervision.failed(self._now())
        if deal is None:
            return []
        _LOG.info("%s: %s: deal %d", pipeline.name, change, deal.number)
        self.trouble = ""
        return self._supervision.on(DealSeen(deal, deal != read[-1], self._now()))

    def _note_silent(self, seats: Iterable[Seat]) -> None:
        """Note the nodes of owners that say nothing, and that Ray has not seen end: the whole node may be frozen."""
        for seat in seats:
            owner, node = self._supervision.owners.get(seat), self._statuses.get(seat, {}).get("node")
            if owner is not None and owner.state not in ENDED | {"gone"} and node:
                self._silent[seat.slot] = node

    def _pass_turn(self, seat: Seat) -> bool:
        """Let the process that stands by end one that is silent, or whose loop is over: it has the turn then, and the seat.

        Ray asks a process first before it ends it, and waits 5 s for one that is stopped. If nothing comes of it, the seat stays
        silent, and is renewed.
        """
        speaker = self._speakers.get(seat, Member(seat))
        beside = self._handles.get(speaker.other)
        if beside is None or speaker not in self._handles or not self._standing.get(speaker.other, False):
            return False
        _LOG.warning("%s %s: %s is ended, the other process takes over", self.pipeline.name, seat, speaker.role)
        beside.take_over.remote()
        self._handles.pop(speaker)
        self._asked.pop(speaker, None)
        self._supervision.on(Unheard(seat, gone=False, restarting=True, now=self._now()))
        return True

    def _start(self, seat: Seat) -> list[Instruction]:
        try:
            silent = {node} if (node := self._silent.pop(seat.slot, None)) else frozenset()
            self._handles[Member(seat)] = places.start(self.pipeline, seat, silent)
        except ConfigError as error:
            self.trouble = str(error)
            return self._supervision.on(Unheard(seat, gone=True, restarting=False, now=self._now()))
        return []

    def _forget(self, seat: Seat) -> None:
        self._statuses.pop(seat, None)
        self._speakers.pop(seat, None)
        self._ahead.forget(seat)
        for member in (Member(seat), Member(seat).other):
            self._handles.pop(member, None)
            self._asked.pop(member, None)
            self._standing.pop(member, None)

    # ---- asking

    def _ask_owners(self) -> list[Event]:
        """Ask every process how it is, without waiting; return what has come of the questions."""
        events: list[Event | None] = []
        for seat in list(self._supervision.owners):
            speaker = self._speakers.get(seat, Member(seat))
            events.append(self._of_the_seat(speaker, self._ask(speaker)))
            if speaker.other in self._handles:
                events.append(self._of_the_seat(speaker.other, self._ask(speaker.other)))
        return [event for event in events if event is not None]

    def _of_the_seat(self, member: Member, event: Heard | Unheard | None) -> Heard | Unheard | None:
        """Return what an answer of one of a seat's processes, or its silence, says of the seat's owner; None for nothing.

        The one that works speaks for the seat. If it is gone while the other stands by, the other takes over, also one that is
        too busy to answer just now: the owner is being started again.
        """
        if event is None:
            return None
        speaker = self._speakers.get(member.seat, Member(member.seat))
        if isinstance(event, Heard) and event.state == STANDBY:
            self._standing[member] = True
            return None
        if isinstance(event, Heard):
            self._standing.pop(member, None)
            self._speakers[member.seat] = member
            return event
        if event.gone:
            self._standing.pop(member, None)
        elif member in self._standing:
            self._standing[member] = False
        if member != speaker:
            return None
        if member.other not in self._standing:
            return event
        return event._replace(gone=False, restarting=True) if event.gone else None

    def _ask(self, member: Member) -> Heard | Unheard | None:
        """Ask, or see whether there is an answer to what was asked."""
        seat, now = member.seat, self._now()
        call, since = self._asked.get(member, (None, now))
        if call is None:
            handle = self._handles.get(member) or places.find(self.pipeline.name, member)
            if handle is None:
                return Unheard(seat, gone=True, restarting=False, now=now)
            self._handles[member] = handle
            self._asked[member] = (handle.status.remote(), now)
        elif ray.wait([call], timeout=0)[0]:
            del self._asked[member]
            return self._heard(member, call)
        elif now - since > ASK_TIMEOUT_S:
            del self._asked[member]
            return Unheard(seat, gone=False, restarting=False, now=now)
        return None

    def _heard(self, member: Member, call: Any) -> Heard | Unheard:
        seat = member.seat
        try:
            status: dict[str, Any] = answer(call, ASK_TIMEOUT_S)
        except (ActorUnavailableError, GetTimeoutError):
            return Unheard(seat, gone=False, restarting=True, now=self._now())
        except RayActorError:
            self._handles.pop(member, None)
            return Unheard(seat, gone=True, restarting=False, now=self._now())
        except (
            RayTaskError
        ) as error:  # one owner that cannot say how it is must not keep us from the others: it is silent
            _LOG.warning("%s %s cannot say how it is: %s", self.pipeline.name, seat, error)
            return Unheard(seat, gone=False, restarting=False, now=self._now())
        if status["state"] != STANDBY:
            self._statuses[seat] = status
        return Heard(seat, status["state"], self._now())

    # ---- what is started ahead

    def _prepare(self) -> None:
        deal, now = self._supervision.deal, self._now()
        seats = deal.seats() if deal else ()
        standbys = [self._speakers.get(seat, Member(seat)).other for seat in seats]
        lacking = [member for member in standbys if not self._standing.get(member, False)]
        ours = {str(said.get("node", "")) for said in self._statuses.values()}
        self._handles |= self._ahead.tend(self._is_settled(), lacking, self._handles, ours, now)

    def _is_settled(self) -> bool:
        """Say whether every owner is live, follows the deal, and has all that it gives."""
        deal, owners = self._supervision.deal, self._supervision.owners
        if deal is None or not deal.is_balanced:
            return False
        said = [self._statuses.get(seat, {}) for seat in deal.seats()]
        live = all(seat in owners and owners[seat].state == "live" for seat in deal.seats())
        return live and all(owner.get("deal") == deal.number and not owner.get("arriving") for owner in said)


@ray.remote
class Supervisor:
    """The supervisor of one pipeline as a detached, named actor."""

    def __init__(self, pipeline: Pipeline) -> None:
        logging.basicConfig(level=logging.INFO, format=LOG_FORMAT)
        self._loop = SupervisorLoop(pipeline)
        self._loop.start()

    def __repr__(self) -> str:
        """Name the pipeline in the Ray dashboard and in logs."""
        return f"supervisor:{self._loop.pipeline.name}"

    def status(self) -> dict[str, Any]:
        """Return the deal, and what every owner said last."""
        return self._loop.status()

    def pid(self) -> int:
        """Return the process id."""
        return os.getpid()

    def pipeline(self) -> Pipeline:
        """Return the pipeline that it supervises: its topics, and the detectors that judge it."""
        return self._loop.pipeline

    def scale(self, slots: int) -> None:
        """Want another number of slots."""
        self._loop.scale(slots)

    def stop(self) -> list[dict[str, Any]]:
        """Stop every owner in order; return their last statuses."""
        return self._loop.stop()


def _blank(pipeline: str, seat: Seat) -> dict[str, Any]:
    return {
        "pipeline": pipeline,
        "slot": seat.slot,
        "incarnation": seat.incarnation,
        "state": "starting",
        "reopened": 0,
        "partitions": {},
    }


def _checked(deal: Deal | None, pipeline: Pipeline) -> Deal | None:
    if deal is not None and len(deal.shares) != len(pipeline.partitions):
        raise ConfigError(
            f"{pipeline.input_topic} has {len(pipeline.partitions)} partitions, the deal of {pipeline.name} "
            f"{len(deal.shares)}: keyed topics do not grow in place"
        )
    return deal
