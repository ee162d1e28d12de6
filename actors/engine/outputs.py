"""Are the outputs of a pipeline whole? Every row once, every incident opened once, nothing that the position does not know of.

Theory of operation
-------------------
`OutputsCheck` is fed what readers of `read_committed` topics see, in log order, and says at the end what does not fit:

- a chart block covers the input offsets from `first_offset` to `next_offset`, and the next block of the same partition and
  family begins where it ended: else there is a gap, or an overlap (rows that stand twice);
- an alert opens once, and closes at most once and after it opened; a dead letter stands once;
- a detector that the position says is off has no alert from there on, and nothing says that it failed anywhere else: alerts that
  were seen of a torn step need not come again when the step is taken again in another cut, in which a detector fails or does not;
- each family's blocks end where the position stands; so does the committed offset; pages are not newer than their snapshot.

A pipeline that runs moves while it is read. So a `Standing` holds two positions, read before the outputs and after them: what
lies between the two may be there or not.

Rules of this file: memory is bounded. One number pair is kept per chain, the last offset of dead letters per partition, the last
alert and two offsets per detector and partition, and the state of at most `ALERTS_MAX` alerts, of which the oldest are forgotten
first. Only what is retained is checked: the oldest block of a chain may begin anywhere.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, NamedTuple

from actors.engine.alert_records import DETECTOR_ERROR
from actors.engine.position import DISABLED, Position
from schemas.charts import ChartStep

ALERTS_MAX = 1_000_000  # whose state is remembered, about 150 bytes each
PROBLEMS_MAX = 1_000  # told one by one; all are counted
_OPEN, _CLOSED = 1, 2  # bits: which records of an alert were seen


class Kind(StrEnum):
    """What can be wrong. The value is what a report shows."""

    GAP = "gap"
    OVERLAP = "overlap"
    BEHIND = "behind the position"
    BEYOND = "beyond the position"
    TORN = "position and committed offset differ"
    LOST = "position lost"
    STATE = "state does not fit together"
    ALERT_TWICE = "alert twice"
    ALERT_UNOPENED = "alert closed and never opened"
    ALERT_OFF = "alert of a detector that was off"
    ERROR_UNKNOWN = "detector error that the position does not know of"
    LETTER_TWICE = "dead letter twice"
    ASIDE_TWICE = "set aside twice"
    UNREADABLE = "unreadable"


class Problem(NamedTuple):
    """One thing that is wrong on one partition."""

    kind: Kind
    partition: int
    what: str


class Standing(NamedTuple):
    """Where a partition stands by its state."""

    before: Position | None  # read before the outputs
    after: Position | None  # and after them
    committed: int | None = None  # the group's offset, read between the outputs and `after`
    error: str = ""  # why the state could not be read as one


@dataclass(slots=True)
class Chain:
    """The blocks of one family on one partition."""

    first_offset: int  # where what is retained begins
    next_offset: int
    blocks: int = 0


class Last(NamedTuple):
    """The alert record of a detector that reaches farthest into the input."""

    offset: int
    named: str


@dataclass(slots=True)
class OutputsCheck:
    """Takes what is read, and tells what does not fit."""

    pipeline: str
    topic: str  # input topic
    families: Collection[str] = ()  # that run now: only their blocks must reach the position; empty: all that are seen
    chains: dict[tuple[int, str], Chain] = field(default_factory=dict)
    alerts: dict[int, int] = field(default_factory=dict)  # partition → records
    letters: dict[int, int] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)
    problem_count: int = 0
    forgotten: int = 0  # alerts
    _seen: dict[bytes, int] = field(default_factory=dict)  # alert id → which of its records
    _reach: dict[tuple[int, str], int] = field(default_factory=dict)  # (partition, what) → largest input offset
    _last: dict[tuple[int, str], Last] = field(default_factory=dict)  # by partition and detector
    _failed: dict[tuple[int, str], tuple[int, int]] = field(default_factory=dict)  # the same → first, last offset

    def chart(self, step: ChartStep) -> None:
        """Take a block, in the order of its partition."""
        if (step.pipeline, step.topic) != (self.pipeline, self.topic):
            return
        place = step.partition, step.family
        chain = self.chains.get(place)
        if chain is None:
            chain = self.chains[place] = Chain(step.first_offset, step.first_offset)
        if step.first_offset > chain.next_offset:
            self._report(
                Kind.GAP, step.partition, f"{step.family}: no block from {chain.next_offset} to {step.first_offset}"
            )
        elif step.first_offset < chain.next_offset:
            end = min(chain.next_offset, step.next_offset)
            self._report(
                Kind.OVERLAP, step.partition, f"{step.family}: rows from {step.first_offset} to {end} stand twice"
            )
        chain.next_offset = max(chain.next_offset, step.next_offset)
        chain.blocks += 1

    def alert(self, alert: Mapping[str, Any], *, whole: bool) -> None:
        """Take an alert record; `whole`: nothing before it was deleted from its partition of the topic."""
        if (alert["pipeline"], alert["topic"]) != (self.pipeline, self.topic):
            return
        partition, ident = alert["partition"], bytes.fromhex(alert["alert_id"])
        self.alerts[partition] = self.alerts.get(partition, 0) + 1
        self._reached(partition, "alerts", reached(alert))
        record = _OPEN if alert["state"] == "OPEN" else _CLOSED
        known = self._seen.pop(ident, 0)  # and put back last: the oldest are forgotten first
        named = f"{alert['rule']} of {alert['detector']} on {alert['series'] or 'the partition'}, {alert['alert_id']}"
        if known & record:
            self._report(Kind.ALERT_TWICE, partition, f"{named}: {alert['state']} stands twice")
        elif record == _CLOSED and not known and whole and not self.forgotten:
            self._report(Kind.ALERT_UNOPENED, partition, named)
        self._note(alert, named)
        self._seen[ident] = known | record
        while len(self._seen) > ALERTS_MAX:
            del self._seen[next(iter(self._seen))]
            self.forgotten += 1

    def _note(self, alert: Mapping[str, Any], named: str) -> None:
        """Keep what tells whether the detector was off."""
        of, offset = (alert["partition"], alert["detector"]), reached(alert)
        if alert["rule"] == DETECTOR_ERROR and not alert["series"]:
            first, last = self._failed.get(of, (offset, offset))
            self._failed[of] = min(first, offset), max(last, offset)
        elif of not in self._last or offset > self._last[of].offset:
            self._last[of] = Last(offset, named)

    def letter(self, letter: Mapping[str, Any]) -> None:
        """Take a dead letter, in the order of its partition. Steps write them in the order of the input."""
        partition = letter["partition"]
        if self._once("dead letters", Kind.LETTER_TWICE, letter):
            self.letters[partition] = self.letters.get(partition, 0) + 1

    def set_aside(self, letter: Mapping[str, Any]) -> None:
        """Take a record that came twice or too late, in the order of its partition."""
        self._once("set aside", Kind.ASIDE_TWICE, letter)

    def _once(self, what: str, kind: Kind, letter: Mapping[str, Any]) -> bool:
        if (letter["source"], letter["topic"]) != (self.pipeline, self.topic):
            return False
        partition, offset = letter["partition"], letter["offset"]
        if offset <= self._reach.get((partition, what), -1):
            self._report(kind, partition, f"offset {offset}")
        self._reached(partition, what, offset)
        return True

    def conclude(self, standings: Mapping[int, Standing]) -> list[Problem]:
        """Compare with where the partitions stand; return the problems, at most PROBLEMS_MAX, by partition."""
        for partition, standing in sorted(standings.items()):
            self._stand(partition, standing)
        self.problems.sort(key=lambda problem: problem.partition)
        return self.problems

    def _stand(self, partition: int, standing: Standing) -> None:
        before, after, committed, error = standing
        if error:
            self._report(Kind.STATE, partition, error)
        if after is None:
            if committed is not None:
                self._report(Kind.LOST, partition, f"offset {committed} is committed and there is no position record")
            return
        low = 0 if before is None else before.next_offset
        if committed is not None and not low <= committed <= after.next_offset:
            self._report(Kind.TORN, partition, f"committed offset {committed}, position {after.next_offset}")
        for (of, family), chain in sorted(self.chains.items()):
            if of == partition and chain.next_offset < low and (not self.families or family in self.families):
                self._report(Kind.BEHIND, partition, f"{family}: ends at {chain.next_offset}, the position is {low}")
            if of == partition and chain.next_offset > after.next_offset:
                self._beyond(partition, family, chain.next_offset, after)
        for (of, what), offset in sorted(self._reach.items()):
            if of == partition and offset >= after.next_offset:
                self._beyond(partition, what, offset, after)
        self._stand_off(partition, after)

    def _stand_off(self, partition: int, position: Position) -> None:
        """Compare alerts with the detectors that are off."""
        off = {entry.subject: entry.at_offset for entry in position.applied if entry.kind == DISABLED}
        for (of, detector), last in sorted(self._last.items()):
            if of == partition and detector in off and last.offset >= off[detector]:
                self._report(Kind.ALERT_OFF, partition, f"{last.named}: at {last.offset}, off from {off[detector]} on")
        for (of, detector), offsets in sorted(self._failed.items()):
            for offset in sorted(set(offsets)):
                if of == partition and offset < position.next_offset and off.get(detector) != offset:
                    where = f"off from {off[detector]} on" if detector in off else "not off"
                    self._report(Kind.ERROR_UNKNOWN, partition, f"{detector}: failed at {offset}, and is {where}")

    def _beyond(self, partition: int, what: str, offset: int, position: Position) -> None:
        self._report(Kind.BEYOND, partition, f"{what}: up to {offset}, the position is {position.next_offset}")

    def _reached(self, partition: int, what: str, offset: int) -> None:
        self._reach[partition, what] = max(offset, self._reach.get((partition, what), -1))

    def _report(self, kind: Kind, partition: int, what: str) -> None:
        self.problem_count += 1
        if len(self.problems) < PROBLEMS_MAX:
            self.problems.append(Problem(kind, partition, what))


def reached(alert: Mapping[str, Any]) -> int:
    """Return the input offset of the row that caused an alert record.

    >>> reached({"state": "CLOSED", "opened_offset": 3, "closed_offset": 9}), reached({"state": "OPEN", "opened_offset": 3})
    (9, 3)
    """
    return int(alert["closed_offset"] if alert["state"] == "CLOSED" else alert["opened_offset"])
