"""How a consumer of a partition does, from a window of what was seen of it: Burrow's rules, without thresholds. No I/O, no clock.

Theory of operation
-------------------
A lag is a number, and no number of records is too many as such: what tells is how it moves. Burrow (LinkedIn) judges the last
commits of a consumer, each with the lag that it left (its wiki, "Consumer Lag Evaluation Rules"; its source,
`CachingEvaluator`).
It reads commits from `__consumer_offsets`; we ask Kafka for committed offsets every few seconds, and a *move*, an offset that is
another than the time before, is the commit that we see. What that changes:

- A commit of the same offset again cannot be told from no commit. So what tells STALLED (somebody is there, and does not get on)
  from STOPPED (nobody is there) is whether the group has members, or a pipeline its owners.
- Moves before the consumer was last caught up are forgotten: the rhythm of a quiet hour says nothing about now.

The rules, the first that fits:

1. the end is not known, as where the topic is gone: UNKNOWN;
2. nothing lags: OK;
3. the offset went back, and has not come to where it was: REWIND (Burrow's pull request 716);
4. fewer samples than the window has: UNKNOWN;
5. it was caught up within the window: OK (Burrow's rule 1);
6. it has not moved for longer than both the window and the span of its moves: STALLED or STOPPED (rules 3 and 4);
7. fewer moves than it takes to see a trend: UNKNOWN;
8. no move left a smaller lag than the one before: WARNING (rule 5); else OK.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from itertools import pairwise
from typing import NamedTuple

SAMPLES = 10  # of the window
MOVES_MAX = 10  # moves remembered; Burrow's default too
MOVES_MIN = 5  # moves that make a trend
ENDS_MAX = 128  # ends of a partition remembered; older ones ever farther apart


class Status(StrEnum):
    """How a consumer does."""

    OK = "OK"
    UNKNOWN = "UNKNOWN"
    WARNING = "WARNING"
    STALLED = "STALLED"
    STOPPED = "STOPPED"
    REWIND = "REWIND"


_WORSE = (Status.OK, Status.UNKNOWN, Status.WARNING, Status.STALLED, Status.STOPPED, Status.REWIND)


class Verdict(NamedTuple):
    """A status, and in a sentence why."""

    status: Status
    why: str


class Sample(NamedTuple):
    """What Kafka said at a moment. `end` None: it did not say."""

    at_ms: int
    committed: int
    end: int | None

    @property
    def lag(self) -> int | None:
        """Records between the committed offset and the end; 0 where the end was asked for first."""
        return None if self.end is None else max(0, self.end - self.committed)


class Move(NamedTuple):
    """A committed offset that was another than the time before, and the lag that it left."""

    at_ms: int
    committed: int
    lag: int


@dataclass(slots=True)
class Watched:
    """What was seen of one group on one partition.

    >>> watched = Watched()
    >>> for second in range(10):
    ...     watched.add(Sample(second * 1000, committed=40 + second, end=50 + 2 * second))
    >>> watched.judge(present=True)
    Verdict(status=<Status.WARNING: 'WARNING'>, why='it moves, and its lag has not become smaller: 10 to 19 records in 9 s')
    """

    samples: deque[Sample] = field(default_factory=lambda: deque(maxlen=SAMPLES))
    moves: deque[Move] = field(default_factory=lambda: deque(maxlen=MOVES_MAX))
    peak: int = -1  # the largest committed offset, until it is reached again after a rewind

    def add(self, sample: Sample) -> None:
        """Take a sample in; they come in order of time."""
        before = self.samples[-1].committed if self.samples else None
        self.samples.append(sample)
        if before is None or sample.committed >= self.peak:
            self.peak = sample.committed
        lag = sample.lag
        if lag is None:
            return
        if lag == 0:
            self.moves.clear()
        if before is None or lag == 0 or sample.committed != before:
            self.moves.append(Move(sample.at_ms, sample.committed, lag))

    def judge(self, *, present: bool) -> Verdict:
        """Return how it does. `present`: somebody is there to move on, a member of the group or an owner of the pipeline."""
        if not self.samples or self.samples[-1].lag is None:
            return Verdict(Status.UNKNOWN, "the end of the partition is not known")
        newest = self.samples[-1]
        if newest.lag == 0:
            return Verdict(Status.OK, "caught up")
        if newest.committed < self.peak:
            return Verdict(
                Status.REWIND, f"it went back: from {self.peak} to {newest.committed}, and is not there again"
            )
        if len(self.samples) < SAMPLES:
            return Verdict(Status.UNKNOWN, f"{len(self.samples)} of {SAMPLES} samples are there")
        if any(sample.lag == 0 for sample in self.samples):
            return Verdict(Status.OK, "it was caught up within the window")
        return self._standing(newest, present=present) or self._trend()

    def _standing(self, newest: Sample, *, present: bool) -> Verdict | None:
        last, first = self.moves[-1].at_ms, self.moves[0].at_ms
        still_ms = newest.at_ms - last
        if still_ms <= last - first or any(sample.committed != newest.committed for sample in self.samples):
            return None
        what = f"it stands at {newest.committed} for {still_ms / 1000:.0f} s, {newest.lag} records behind"
        if present:
            return Verdict(Status.STALLED, f"{what}, though somebody is there")
        return Verdict(Status.STOPPED, f"{what}, and nobody is there")

    def _trend(self) -> Verdict:
        if len(self.moves) < MOVES_MIN:
            return Verdict(Status.UNKNOWN, f"{len(self.moves)} moves were seen; {MOVES_MIN} make a trend")
        first, last = self.moves[0], self.moves[-1]
        if any(later.lag < earlier.lag for earlier, later in pairwise(self.moves)):
            return Verdict(Status.OK, "it moves, and its lag has become smaller in between")
        span = f"{first.lag} to {last.lag} records in {(last.at_ms - first.at_ms) / 1000:.0f} s"
        return Verdict(Status.WARNING, f"it moves, and its lag has not become smaller: {span}")


def worst(verdicts: Sequence[Verdict]) -> Verdict:
    """Return the worst verdict, the first of several; OK of none.

    >>> worst([Verdict(Status.OK, "a"), Verdict(Status.STOPPED, "b"), Verdict(Status.WARNING, "c")]).why
    'b'
    """
    return max(
        verdicts, key=lambda verdict: _WORSE.index(verdict.status), default=Verdict(Status.OK, "nothing to read")
    )


class Ends:
    """The ends of one partition over time, bounded: when it is full, every other one of the older half is forgotten.

    >>> ends = Ends()
    >>> ends.add(10_000, 100)
    >>> ends.add(20_000, 200)
    >>> ends.lag_s(committed=150, now_ms=21_000)
    6.0
    """

    def __init__(self) -> None:
        self._at_ms: list[int] = []
        self._end: list[int] = []

    def add(self, at_ms: int, end: int) -> None:
        """Take an end in; a topic that was made anew, whose end is smaller, begins anew."""
        if self._end and end < self._end[-1]:
            self._at_ms.clear()
            self._end.clear()
        if len(self._end) >= 2 and end == self._end[-1] == self._end[-2]:
            self._at_ms[-1] = at_ms  # an idle partition: when it came there, and that it is there still
            return
        if len(self._end) >= ENDS_MAX:
            del self._at_ms[1 : ENDS_MAX // 2 : 2], self._end[1 : ENDS_MAX // 2 : 2]
        self._at_ms.append(at_ms)
        self._end.append(end)

    def lag_s(self, committed: int, now_ms: int) -> float | None:
        """Return how long ago the end was where the consumer is, between two ends by a straight line; None: not known.

        What the consumer has not read yet was written since then. 0 where it has read all; None where it is farther behind
        than ends were recorded, or nothing is recorded.
        """
        if not self._end or committed < self._end[0]:
            return None
        if committed >= self._end[-1]:
            return 0.0
        after = bisect_right(self._end, committed)
        (at, end), (next_at, next_end) = [(self._at_ms[i], self._end[i]) for i in (after - 1, after)]
        reached_ms = at + (next_at - at) * (committed - end) / (next_end - end)
        return max(0.0, (now_ms - reached_ms) / 1000)

    def rate(self, window_s: float, now_ms: int) -> tuple[float, float] | None:
        """Return offsets a second over at most `window_s`, and over how many seconds that is; None: not known."""
        if not self._end:
            return None
        from_ms = max(self._at_ms[0], now_ms - round(window_s * 1000))
        seconds = (self._at_ms[-1] - from_ms) / 1000
        return ((self._end[-1] - self._end_at(from_ms)) / seconds, seconds) if seconds > 0 else None

    def _end_at(self, at_ms: int) -> float:
        """Return where the end was at a time within what is recorded, between two ends by a straight line."""
        after = bisect_right(self._at_ms, at_ms)
        (at, end), (next_at, next_end) = [(self._at_ms[i], self._end[i]) for i in (after - 1, after)]
        return end + (next_end - end) * (at_ms - at) / (next_at - at)
