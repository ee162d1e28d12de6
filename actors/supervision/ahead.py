"""What a pipeline starts for the next fault, one process after the other, while nothing else goes on.

First a standby beside every owner, then processes on nodes where the pipeline has no slot (warm.py). A start costs more than a
second of a core, which an opening, a hand-over or a slot that catches up has more need of.
"""

from __future__ import annotations

import logging
from collections.abc import Collection, Sequence
from typing import Any

from ray.actor import ActorHandle

from actors.deal import Seat
from actors.pipeline import Pipeline
from actors.supervision import places
from actors.supervision.places import Member
from actors.supervision.warm import Warmer

_LOG = logging.getLogger("chipquality.supervisor")

SETTLED_S = 2.0  # for which all is live and nothing moves, before anything is started
STANDBY_AGAIN_S = 10.0  # between two starts of a process that stands by for a seat
NODES_EVERY_S = 5.0  # between two looks at which nodes there are


class Ahead:
    """Starts ahead for one pipeline. Call `tend` all the time; it waits for nothing."""

    def __init__(self, pipeline: Pipeline) -> None:
        self.pipeline = pipeline
        self.warmer = Warmer(pipeline)
        self._not_before = 0.0
        self._standby_after: dict[Seat, float] = {}  # when one may be started again
        self._nodes_due = 0.0
        self._raylets: dict[str, str] = {}

    def tend(
        self, settled: bool, lacking: Sequence[Member], there: Collection[Member], ours: Collection[str], now: float
    ) -> dict[Member, ActorHandle[Any]]:
        """Start what is due; return the standby that was started, if one was.

        lacking: standbys that have not said that they stand by; there: processes that were started; ours: ids of the nodes on
        which the pipeline has slots.
        """
        if not settled:
            self._not_before = now + SETTLED_S
        if not settled or now < self._not_before or any(now < self._standby_after.get(m.seat, now) for m in lacking):
            return {}  # of which the last: one is starting
        missing = [member for member in lacking if member not in there]
        if missing:
            return self._start(missing[0], now)
        self.warmer.tend({node: raylet for node, raylet in self._nodes(now).items() if node not in ours}, now)
        return {}

    def forget(self, seat: Seat) -> None:
        """The seat is no more."""
        self._standby_after.pop(seat, None)

    def _start(self, member: Member, now: float) -> dict[Member, ActorHandle[Any]]:
        self._standby_after[member.seat] = now + STANDBY_AGAIN_S
        try:
            return {member: places.start_beside(self.pipeline, member)}
        except ValueError as error:
            _LOG.warning("%s %s has no standby: %s", self.pipeline.name, member.seat, error)
            return {}

    def _nodes(self, now: float) -> dict[str, str]:
        if now >= self._nodes_due:
            self._nodes_due, self._raylets = now + NODES_EVERY_S, places.raylets()
        return self._raylets
