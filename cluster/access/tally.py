"""Refusals, counted: the first of a kind is told at once, further ones once a minute as one summary. Pure: time is an argument.

However many come, at most TOLD_BURST and then TOLD_PER_S events a second are told, and KINDS_MAX kinds are told apart; what is
more is counted together.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from typing import NamedTuple

from cluster.access.rates import Buckets

WINDOW_S = 60.0
KINDS_MAX = 1_000
TOLD_PER_S, TOLD_BURST = 2.0, 50.0
SUMMARIES_AT_ONCE = 20  # of one call of `due`
EVERYTHING_ELSE = "several"


class Refusal(NamedTuple):
    """Who was refused what, and why. `action` is empty where somebody was not let in at all."""

    user: str
    reason: str
    address: str = ""
    action: str = ""
    resource: str = ""
    role: str = ""
    method: str = ""  # how he tried to prove who he is


class Told(NamedTuple):
    """One event for the audit trail: a refusal, how often, and whether it stands for several."""

    refusal: Refusal
    times: int
    summary: bool


@dataclass
class _Counted:
    since_s: float
    count: int = 0  # not told yet


@dataclass
class Tally:
    """Counts refusals. Thread-safe."""

    _kinds: dict[Refusal, _Counted] = field(default_factory=dict)
    _ready: list[Told] = field(default_factory=list)
    _bucket: Buckets = field(default_factory=lambda: Buckets(TOLD_PER_S, TOLD_BURST))
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def add(self, refusal: Refusal, now_s: float) -> None:
        """Count one."""
        with self._lock:
            counted = self._kinds.get(refusal)
            if counted is None and len(self._kinds) >= KINDS_MAX:
                refusal = Refusal(
                    EVERYTHING_ELSE, "more kinds of refusals than are told apart", action=refusal.action and "any"
                )
                counted = self._kinds.get(refusal)
            if counted is not None:
                counted.count += 1
                return
            told = self._bucket.take("", now_s) == 0
            self._kinds[refusal] = _Counted(now_s, 0 if told else 1)
            if told:
                self._ready.append(Told(refusal, 1, summary=False))

    def due(self, now_s: float, *, rest: bool = False) -> list[Told]:
        """Return what is to be told now; with `rest`, all that is counted."""
        with self._lock:
            told, self._ready = self._ready, []
            ended = [kind for kind, counted in self._kinds.items() if rest or now_s - counted.since_s >= WINDOW_S]
            for kind in ended if rest else ended[:SUMMARIES_AT_ONCE]:
                counted = self._kinds[kind]
                if counted.count and not rest and self._bucket.take("", now_s):
                    break  # the next call goes on
                del self._kinds[kind]
                if counted.count:
                    told.append(Told(kind, counted.count, summary=True))
            return told
