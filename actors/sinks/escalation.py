"""Which alerts are escalated, and when: those that nobody has acknowledged in time. Pure: the time is an argument.

Theory of operation
-------------------
What waits is what the two topics say, and nothing else: an alert waits from its first record on, until its life is no longer open
or says that it was escalated. So a restart that reads the topics again knows the same. What is due is offered to whoever writes
lives (actors/alert_desk.py); the life's own record says that it was escalated, and refuses a second time, however many offer it.

An alert whose signal is over (closed by the pipeline) waits like any other: material was made while it signalled, and nobody has
looked at it. (Alarm management calls this "returned to normal, unacknowledged": ISA-18.2, IEC 62682.)

Rules of this file: what waits is bounded; what was due for longer than `stale_s` when it is first seen is left alone, because
whoever starts this on a topic of old alerts does not want all of them told.
"""

from __future__ import annotations

import heapq
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from models.alert_life import About, Kind, Life, Status

WAITING_MAX = 100_000  # alerts that wait; of more, the newest are counted and not escalated
LIVES_MAX = 200_000  # alerts known to be in somebody's hands, or escalated; the oldest are forgotten
STALE_S = 24 * 3600.0


class Waiting(NamedTuple):
    """An alert that nobody has acknowledged yet."""

    due_ms: int
    alert_id: str
    about: About


@dataclass
class Escalations:
    """What waits to be acknowledged. `after_s`: how long, by severity (lower case); None or absent: for ever."""

    after_s: Mapping[str, float | None]
    stale_s: float = STALE_S
    waiting_max: int = WAITING_MAX
    lives_max: int = LIVES_MAX
    left_out: int = 0  # there was no room
    stale: int = 0
    _waiting: dict[str, Waiting] = field(default_factory=dict, repr=False)
    _due: list[Waiting] = field(default_factory=list, repr=False)  # heap; may hold what waits no more
    _settled: dict[str, None] = field(default_factory=dict, repr=False)  # in somebody's hands, or escalated

    def __len__(self) -> int:
        """Return how many wait."""
        return len(self._waiting)

    def alert(self, record: Mapping[str, Any], written_ms: int, now_ms: int) -> None:
        """Take a record of the alert topic in; only that with which it opened counts."""
        alert_id = str(record["alert_id"])
        if record["state"] != "OPEN" or alert_id in self._settled or alert_id in self._waiting:
            return
        about = About(**{name: record[name] for name in About._fields if name != "raised_ms"}, raised_ms=written_ms)
        self._wait(alert_id, about, written_ms, now_ms)

    def life(self, life: Life, now_ms: int) -> None:
        """Take a record of a life in."""
        if life.status is Status.OPEN and life.escalated_ms is None:
            self._settled.pop(life.alert_id, None)
            since_ms = life.about.raised_ms
            reopened = [
                entry.at_ms for entry in life.history if entry.status is Status.OPEN and entry.action == "reopen"
            ]
            self._wait(life.alert_id, life.about, reopened[-1] if reopened else since_ms, now_ms)
            return
        self.settle(life.alert_id)

    def due(self, now_ms: int, most: int) -> list[Waiting]:
        """Return what is due, the longest due first, at most so many. It stays until its life says that it was escalated."""
        found: list[Waiting] = []
        while self._due and self._due[0].due_ms <= now_ms and len(found) < most:
            one = heapq.heappop(self._due)
            if self._waiting.get(one.alert_id) == one:
                found.append(one)
        for one in found:
            heapq.heappush(self._due, one)
        return found

    def settle(self, alert_id: str) -> None:
        """Take out what waits no more: it was escalated, or somebody was quicker."""
        self._waiting.pop(alert_id, None)
        self._settled[alert_id] = None
        while len(self._settled) > self.lives_max:
            del self._settled[next(iter(self._settled))]

    def _wait(self, alert_id: str, about: About, since_ms: int, now_ms: int) -> None:
        after_s = self.after_s.get(about.severity.lower())
        if after_s is None:
            return
        due_ms = since_ms + round(after_s * 1000)
        if now_ms - due_ms > self.stale_s * 1000:
            self.stale += 1
            self.settle(alert_id)
            return
        before, one = self._waiting.get(alert_id), Waiting(due_ms, alert_id, about)
        if before is None and len(self._waiting) >= self.waiting_max:
            self.left_out += 1
        elif before != one:
            self._waiting[alert_id] = one
            heapq.heappush(self._due, one)


def notice_of(life: Life) -> dict[str, Any] | None:
    """Return what the notifier tells of a life that was escalated just now, as an alert record of the state ESCALATED; else None.

    Only the record that the escalation itself wrote is told: whatever came after it somebody did who has seen the alert.
    """
    if not life.history or life.history[-1].action is not Kind.ESCALATED:
        return None
    about = life.about
    waited_s = max(0, (life.history[-1].at_ms - about.raised_ms) // 1000)
    return {
        "alert_id": life.alert_id,
        "state": "ESCALATED",
        "severity": about.severity,
        "series": about.series,
        "topic": about.topic,
        "partition": about.partition,
        "rule": about.rule,
        "rule_doc": f"nobody has acknowledged this alert for {waited_s} s",
        "detector": about.detector,
        "opened_offset": about.opened_offset,
        "opened_time": about.raised_ms,
        "rows": 0,
        "lot": "",
        "wafer": "",
        "detail": "",
        **dict.fromkeys(("value", "statistic", "centre", "lcl", "ucl")),
    }
