"""What shows that a pipeline is under control: a change of the deal is asked for, committed and carried out.

An answer shows nothing: a supervisor answers before it has read the deal, and what it says it may have from memory. So one slot
more is asked for. It has no partitions at first, and every partition stays where it is: the owner that works does no more than
follow the deal. Before the new slot is live, and would be given partitions, it is taken back and its process ended: the rest of
its start would take seconds of a core, which the line does without.
"""

from __future__ import annotations

import contextlib
import time

import ray

from actors import supervisor
from actors.names import NAMESPACE
from actors.supervision import places
from tests.faults import steering

ASK_AGAIN_S = 1.0  # what was asked of a supervisor that ends is forgotten
GIVEN_BACK_S = 60.0  # for the deal to be as it was


class Control:
    """Whether somebody is in control of a pipeline that is calm. Make it before the fault, `undo` when control is back."""

    def __init__(self, name: str) -> None:
        said = supervisor.status(name)
        self._name, self._slots, self._deal = name, said["slots"], said["deal"]
        self._asked_at = float("-inf")
        self._seen: dict[str, float] = {}  # time.monotonic() of what was seen first

    def is_back(self) -> bool:
        """Ask for one slot more, and say whether it is there: committed, followed by who works, its own owner started.

        Raises what `steering.UNREACHABLE` has. Asks Ray's GCS each time: names are listed there, not kept by who asks.
        """
        if not places.named(supervisor.supervisor_name(self._name)):
            return False
        self._see("names listed")
        said = supervisor.status(self._name)
        self._see("supervisor answers")
        if said["slots"] <= self._slots:
            if time.monotonic() - self._asked_at > ASK_AGAIN_S:
                self._asked_at = time.monotonic()
                self._scale(self._slots + 1)
            return False
        owners = steering.owners(self._name)
        working = [owner for owner in owners if owner.get("slot", self._slots) < self._slots]
        follow = [owner.get("deal", 0) > self._deal for owner in working]
        if follow and all(follow):
            self._see("deal followed")
        if any(owner.get("slot") == self._slots for owner in owners):
            self._see("owner started")
        return {"deal followed", "owner started"} <= self._seen.keys()

    def parts(self, since: float) -> dict[str, float]:
        """Return when each part was seen first, s."""
        return {what: round(at - since, 2) for what, at in self._seen.items()}

    def undo(self) -> None:
        """Have as many slots as before, and end the new one's owner."""
        self._scale(self._slots)
        steering.wait(self._is_undone, f"{self._slots} slots again", GIVEN_BACK_S)
        for seat in {member.seat for member in places.members(self._name) if member.seat.slot >= self._slots}:
            places.end(self._name, seat)

    def _see(self, what: str) -> None:
        self._seen.setdefault(what, time.monotonic())

    def _is_undone(self) -> bool:
        with contextlib.suppress(*steering.UNREACHABLE):
            return bool(supervisor.status(self._name)["slots"] == self._slots)
        return False

    def _scale(self, slots: int) -> None:
        handle = ray.get_actor(supervisor.supervisor_name(self._name), NAMESPACE)
        ray.get(handle.scale.remote(slots), timeout=steering.CALL_TIMEOUT_S)
