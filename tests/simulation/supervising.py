"""One life of a supervisor in the simulation: what actors/supervision/actor.py does with Ray, done with the world."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from actors.deal import Deal, Dealer, DealFollower, Seat
from actors.errors import FencedError, ReopenError
from actors.supervision import decisions
from actors.supervision.decisions import ChangeDeal, End, Instruction, Start, Supervision
from tests.simulation import line
from tests.simulation.model import ModelLog

if TYPE_CHECKING:
    from tests.simulation.world import World

TICK_S = 1.0


@dataclass
class Supervisor:
    """One life of a supervisor: the real decisions, the real dealer; starting and ending owners is the world's."""

    world: World
    log: ModelLog
    supervision: Supervision = field(init=False)
    dealer: Dealer = field(init=False)

    def live(self) -> None:
        world = self.world
        codec, name, topic = line.codec(), world.pipeline.name, line.TOPICS.deals
        follower = DealFollower(self.log, name, topic, codec.read)
        self.dealer = Dealer(self.log, name, topic, codec.encoders["deal"], codec.read, follower)
        self.supervision = Supervision(world.pipeline.slots)
        deal = follower.catch_up()
        self._take(decisions.Booted(deal, frozenset(world.owners), self._now()))
        told = deal
        while True:
            world.scheduler.sleep(TICK_S)
            follower.poll()
            if follower.deal is not None and follower.deal != told:
                told = follower.deal
                self._take(decisions.DealSeen(told, False, self._now()))
            while world.wishes:
                self._take(world.wishes.popleft())
            for seat in list(self.supervision.owners):
                self._take(self._asked(seat))
            self._take(decisions.Ticked(self._now()))

    def _now(self) -> float:
        return self.world.scheduler.now()

    def _asked(self, seat: Seat) -> decisions.Event:
        owner, now = self.world.owners.get(seat), self._now()
        if owner is None or owner.process.dead:
            return decisions.Unheard(seat, gone=True, restarting=False, now=now)
        if owner.process.frozen_until > now:
            return decisions.Unheard(seat, gone=False, restarting=False, now=now)
        return decisions.Heard(seat, owner.state, now)

    def _take(self, event: decisions.Event) -> None:
        instructions = deque(self.supervision.on(event))
        while instructions:
            instructions.extend(self._do(instructions.popleft()))

    def _do(self, instruction: Instruction) -> list[Instruction]:
        match instruction:
            case ChangeDeal():
                return self._change(instruction)
            case Start(seat):
                self.world._start_owner(seat)
            case End(seat):
                self.world._end_owner(seat)
        return []

    def _change(self, change: ChangeDeal) -> list[Instruction]:
        read: list[Deal | None] = []

        def made(deal: Deal | None) -> Deal | None:
            read.append(deal)
            return change.made(deal, self.world.pipeline.name, self.world.scenario.partitions)

        try:
            deal = self.dealer.change(made)
        except (ReopenError, FencedError) as error:
            if isinstance(error, FencedError):
                self.world.met["supervisor fenced"] += 1
            return self.supervision.failed(self._now())
        if deal is None:
            return []
        self.world.scheduler.note("deal", str(deal))
        before = read[-1]
        if before is not None and before.slots != deal.slots:
            self.world.met["scale: up" if deal.slots > before.slots else "scale: down"] += 1
        return self.supervision.on(decisions.DealSeen(deal, deal != read[-1], self._now()))
