"""What a supervisor does: events in, instructions out. No clock, no Ray, no Kafka.

Theory of operation
-------------------
The supervisor is there for liveness only. Safety never depends on it: an owner acts on the committed deal and is fenced by its
successor, so a supervisor that is late, doubled or wrong costs time and nothing else.

    Booted ─▶ ChangeDeal(first) ─▶ DealSeen ─▶ Start(seat) ─▶ Heard, Heard, … ─▶ (silence) ─▶ ChangeDeal(renew) ─▶ DealSeen ─▶ …

Rules of this file:

- an owner is started only for a seat that a deal of ours has just named, so that no two owners of one seat are ever started; an
  owner that is there already, under its seat's name, is kept;
- a seat without an owner, or whose owner says nothing for `SILENT_S`, is renewed: a deal with a new incarnation of the slot. One
  that Ray is starting again (`Unheard` with `restarting`) gets `RESTART_S`, one that was just started `START_S`, one that only
  another supervisor can have started `AWAITED_S` to be there at all: that supervisor may be dead, or we ourselves, when we
  did not learn that our deal was committed;
- a slot that is renewed again and again waits longer each time, up to `BACKOFF_MAX_S`, and its owner is given more time to
  start and to answer, up to `PATIENCE_MAX` times as much: on a machine that is too busy, replacing owners makes it worse;
- more slots: first they are named and started, one after the other, because a start takes seconds of a core that the slots which
  work have to share; every partition stays where it is; when all of them are live, the partitions are dealt out evenly;
- owners that the deal does not name are ended: at once if they are of an older incarnation; those of a slot that was scaled away
  when they have handed over, or after `HAND_OVER_S`;
- what is asked of the deal is a function of the deal that is read when it is carried out: another supervisor may have been first.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import StrEnum
from typing import NamedTuple

from actors.deal import Deal, Seat

SILENT_S = 3.0  # without an answer from a live owner
RESTART_S = 10.0  # while Ray says that it is starting the process again
START_S = 90.0  # from the start of an owner to its first answer: a node has to be found, a process started, which takes half a
#                 minute on a machine that is too busy; Ray itself replaces one that does not register within 60 s
AWAITED_S = 15.0  # for an owner that another supervisor starts to be there: it may have to find a node for it first
HAND_OVER_S = 20.0  # for the owner of a slot that was scaled away to hand its partitions over
BACKOFF_FIRST_S = 1.0
BACKOFF_MAX_S = 30.0
PATIENCE_MAX = 8
CALM_S = 60.0  # after so long without a renewal a slot is as new

ENDED = frozenset({"superseded", "retired", "stopped", "failed"})  # states of an owner whose loop is over


class Booted(NamedTuple):
    """The supervisor has read the deal (None: there is none) and found these owners in Ray."""

    deal: Deal | None
    present: frozenset[Seat]
    now: float


class Heard(NamedTuple):
    """An owner has answered: with its state ("opening", "live", "failed", …)."""

    seat: Seat
    state: str
    now: float


class Unheard(NamedTuple):
    """An owner has not answered. `gone`: Ray knows no such actor, or says that it is dead; `restarting`: that it will be back."""

    seat: Seat
    gone: bool
    restarting: bool
    now: float


class DealSeen(NamedTuple):
    """The deal as it is committed. `ours`: we have just committed it."""

    deal: Deal
    ours: bool
    now: float


class Ticked(NamedTuple):
    """Time has passed."""

    now: float


class ScaleWanted(NamedTuple):
    """A person wants another number of slots."""

    slots: int
    now: float


class Ask(StrEnum):
    """What is to be done to the deal."""

    FIRST = "first"
    RENEW = "renew"
    WIDEN = "widen"
    BALANCE = "balance"
    SCALE = "scale"


class ChangeDeal(NamedTuple):
    """Change the deal: make the first one with `value` slots, renew the seats, have `value` slots and leave partitions where they
    are, deal them out evenly, or have `value` slots and deal them out."""

    ask: Ask
    value: int = 0
    seats: tuple[Seat, ...] = ()

    def made(self, deal: Deal | None, pipeline: str, partitions: int) -> Deal | None:
        """Return what it makes of the deal that is committed; the deal itself where it is done already."""
        if deal is None:
            return Deal.first(pipeline, partitions, self.value) if self.ask is Ask.FIRST else None
        if self.ask in {Ask.SCALE, Ask.WIDEN} and deal.slots == self.value:
            return deal
        if self.ask is Ask.SCALE:
            return deal.scaled(self.value)
        if self.ask is Ask.WIDEN:
            return deal.widened(self.value)
        if self.ask is Ask.BALANCE:
            return deal.balanced()
        number = deal.number
        for seat in self.seats if self.ask is Ask.RENEW else ():
            if deal.names(seat) and seat.slot < deal.slots:
                deal = deal.renewed(seat.slot)
        return deal._replace(number=min(deal.number, number + 1))


class Start(NamedTuple):
    """Start the owner of a seat."""

    seat: Seat


class End(NamedTuple):
    """End the owner of a seat, if there is one."""

    seat: Seat


Event = Booted | Heard | Unheard | DealSeen | Ticked | ScaleWanted
Instruction = ChangeDeal | Start | End


@dataclass
class _Owner:
    """What is known of the owner of one seat."""

    patient_until: float  # it need not answer before
    state: str = "starting"  # "awaited": by another supervisor
    leave_by: float | None = None  # it hands over: the deal has no such slot any more


@dataclass
class _Slot:
    """How often a slot was renewed of late."""

    renewed_at: float = float("-inf")
    backoff_s: float = BACKOFF_FIRST_S
    patience: int = 1


@dataclass
class Supervision:
    """The decisions about one pipeline. `slots`: wanted at the first deal."""

    slots: int
    deal: Deal | None = None
    owners: dict[Seat, _Owner] = field(default_factory=dict)
    wanted: int | None = None  # slots that a person wants and the deal has not yet
    _slots: dict[int, _Slot] = field(default_factory=dict)
    _asked: bool = False  # a change of the deal is being carried out
    _ask_again_at: float = float("-inf")  # for a renewal, after a change that failed

    def on(self, event: Event) -> list[Instruction]:
        """Take one event; return what to do, in order."""
        match event:
            case Booted(deal, present, now):
                self.deal = deal
                self.owners = {seat: _Owner(now + RESTART_S) for seat in present}
            case Heard(seat, state, now):
                if seat in self.owners:
                    self.owners[seat].patient_until = now + SILENT_S * self._patience(seat)
                    self.owners[seat].state = state
            case Unheard(seat, gone, restarting, now):
                owner = self.owners.get(seat)
                if owner is not None and gone and owner.state != "awaited":
                    owner.patient_until, owner.state = now, "gone"
                elif owner is not None and not gone and owner.state == "awaited":
                    owner.patient_until, owner.state = now + START_S * self._patience(seat), "starting"
                elif owner is not None and restarting and owner.state != "restarting":
                    owner.patient_until = now + RESTART_S * self._patience(seat)
                    owner.state = "restarting"
            case DealSeen(deal, ours, now):
                return self._deal_seen(deal, ours, now)
            case ScaleWanted(slots, _):
                self.wanted = slots
            case Ticked():
                pass
        return self._look(event.now)

    def failed(self, now: float) -> list[Instruction]:
        """A change of the deal could not be carried out: its outcome is unknown. It is asked for again if still needed."""
        self._asked, self._ask_again_at = False, now + BACKOFF_FIRST_S
        return self._look(now)

    def _deal_seen(self, deal: Deal, ours: bool, now: float) -> list[Instruction]:
        old, self.deal = self.deal, deal
        self._asked = False  # also where another supervisor had done it already: the answer is a deal that is not ours
        if old is not None and deal.number < old.number:
            self.deal = old
            return []
        ends = list(self._end_others(deal, now))  # first: a new owner may need the place of the old one
        starts: list[Instruction] = []
        for seat in deal.seats():
            new = old is None or not old.names(seat) or seat.slot >= old.slots
            if new and seat not in self.owners:
                if ours and old is not None and seat.slot < old.slots:
                    self._renewed(seat.slot, now)
                patience_s = START_S * self._patience(seat) if ours else AWAITED_S
                self.owners[seat] = _Owner(now + patience_s, "starting" if ours else "awaited")
                starts += [Start(seat)] if ours else []
        return [*ends, *starts, *self._look(now)]

    def _look(self, now: float) -> list[Instruction]:
        """Compare what there is with what the deal names."""
        ends = list(self._end_others(self.deal, now)) if self.deal is not None else []
        change = self._change_wanted(now) if not self._asked and now >= self._ask_again_at else None
        if change is None:
            return ends
        self._asked = True
        return [*ends, change]

    def _change_wanted(self, now: float) -> ChangeDeal | None:
        """Return what the deal lacks most."""
        deal = self.deal
        if deal is None:
            return ChangeDeal(Ask.FIRST, self.slots)
        if self.wanted == deal.slots:
            self.wanted = None
        if self.wanted is not None and self.wanted < deal.slots:
            return ChangeDeal(Ask.SCALE, self.wanted)
        lost = [seat for seat in deal.seats() if self._is_lost(seat, now)]
        due = tuple(seat for seat in lost if self._may_renew(seat.slot, now))
        if due:
            return ChangeDeal(Ask.RENEW, seats=due)
        if not all(self._is_live(seat) for seat in deal.seats()):
            return None
        if self.wanted is not None:
            return ChangeDeal(Ask.WIDEN, deal.slots + 1)
        return None if deal.is_balanced else ChangeDeal(Ask.BALANCE)

    def _end_others(self, deal: Deal, now: float) -> Iterator[Instruction]:
        for seat, owner in list(self.owners.items()):
            if deal.names(seat) and seat.slot < deal.slots:
                continue
            if deal.names(seat) and owner.state not in ENDED | {"gone"}:
                owner.leave_by = owner.leave_by or now + HAND_OVER_S
                if now < owner.leave_by:
                    continue
            del self.owners[seat]
            yield End(seat)

    def _is_live(self, seat: Seat) -> bool:
        owner = self.owners.get(seat)
        return owner is not None and owner.state == "live"

    def _is_lost(self, seat: Seat, now: float) -> bool:
        owner = self.owners.get(seat)
        return owner is None or owner.state in ENDED or now >= owner.patient_until

    def _may_renew(self, slot: int, now: float) -> bool:
        known = self._slots.setdefault(slot, _Slot())
        if now - known.renewed_at > CALM_S * known.patience:
            known.backoff_s, known.patience = BACKOFF_FIRST_S, 1
        return now - known.renewed_at >= known.backoff_s

    def _renewed(self, slot: int, now: float) -> None:
        known = self._slots.setdefault(slot, _Slot())
        if now - known.renewed_at <= CALM_S * known.patience:
            known.backoff_s = min(2 * known.backoff_s, BACKOFF_MAX_S)
            known.patience = min(2 * known.patience, PATIENCE_MAX)
        known.renewed_at = now

    def _patience(self, seat: Seat) -> int:
        return self._slots.setdefault(seat.slot, _Slot()).patience
