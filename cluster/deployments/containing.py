"""When a deployed detector is switched off, and why: read from what its pipeline's processes say of themselves. Pure.

Off at once: it raised (the engine has switched it off on a partition, with the traceback); it cannot be loaded; a step took
longer than its limit; a partition of it is in quarantine. Off at the second time within CRASH_WINDOW_S: its process ended, which
once may be a fault of the machine. Off after START_S: it never came up.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

CRASHES_MAX = 2  # ends of its process
CRASH_WINDOW_S = 120.0
START_S = 180.0  # to be live, on a machine that is busy
_GUEST_FAILED = "GuestFailed: "
_GONE = "a detector actor is gone"


class Failure(NamedTuple):
    """Why a deployment is off."""

    reason: str  # a line
    traceback: str = ""


@dataclass
class Watched:
    """What was seen of a deployment's pipeline since it was started."""

    started_s: float
    lived: bool = False
    ends: list[float] = field(default_factory=list)  # when its detector's process was seen to have ended
    _counted: tuple[int, int] = (-1, -1)  # incarnation and openings of the owner whose last error was looked at

    def failure(self, said: Mapping[str, Any], now_s: float) -> Failure | None:
        """Return why it has to be off, by what its supervisor says; None: it has not."""
        for owner in said["owners"]:
            found = _raised(owner) or self._broke(owner, now_s) or _quarantined(owner)
            if found is not None:
                return found
            self.lived = self.lived or owner.get("state") == "live"
        if not self.lived and now_s - self.started_s > START_S:
            why = said.get("trouble") or _last_error(said) or "nothing is said why"
            return Failure(f"it was not live within {START_S:g} s: {why}")
        return None

    def _broke(self, owner: Mapping[str, Any], now_s: float) -> Failure | None:
        error = str(owner.get("last_error") or "")
        if error.startswith(_GUEST_FAILED):
            reason, _, detail = error.removeprefix(_GUEST_FAILED).partition("\n")
            return Failure(reason, detail)
        at = owner.get("incarnation", 0), owner.get("reopened", 0)
        if _GONE in error and at != self._counted:
            self._counted = at
            self.ends = [*(end for end in self.ends if now_s - end < CRASH_WINDOW_S), now_s]
            if len(self.ends) >= CRASHES_MAX:
                return Failure(f"its process ended {len(self.ends)} times", error)
        return None


def _raised(owner: Mapping[str, Any]) -> Failure | None:
    for partition, said in sorted(owner.get("partitions", {}).items()):
        for detector in said.get("disabled", ()):
            told = owner.get("failures", {}).get(detector, "")
            last = said.get("disabled_why", {}).get(detector, "") or told.strip().rpartition("\n")[2]
            return Failure(f"it raised on partition {partition}: {last}", told or last)
    return None


def _quarantined(owner: Mapping[str, Any]) -> Failure | None:
    for partition, why in sorted(owner.get("quarantined", {}).items()):
        return Failure(f"partition {partition} is in quarantine: {why}")
    return None


def _last_error(said: Mapping[str, Any]) -> str:
    return "; ".join(str(owner["last_error"]) for owner in said["owners"] if owner.get("last_error"))
