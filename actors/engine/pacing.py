"""When snapshots are taken, how fast they are written, and how long a replay could take: pure, the clock is an argument.

Theory of operation
-------------------
A snapshot costs what the dirty pages weigh, not what has changed in them: 10,000 rows a second over a million series touch every
page between two snapshots, and all 170 MB go out again. So the traffic is bounded, and the spacing follows from it:

- a snapshot begins `interval_s` after the last one began, but not before that one was written;
- it is written at `bytes_per_s` on average, in pieces beside the steps: in any stretch of t seconds at most
  `bytes_per_s` · t + `BURST_BYTES`, and a page. A small one goes at once.

A recovery folds what came since the snapshot that was named last. At worst the owner dies just before the next one is named: then
that is max(i, w) + w seconds of input, where i is the interval and w = bytes / bytes_per_s the time that a snapshot is written
for. `replay_worst_s` is the rows of that time at the present rate, or those that are there to be folded again already if they are
more, over the rate at which steps and replays have folded. A partition that was taken over may bring such rows: no snapshot has
them yet, and the next owner would fold them as this one did.
"""

from __future__ import annotations

from actors.engine.snapshot import TRANSACTION_BYTES_MAX

SNAPSHOT_BYTES_PER_S = (
    16 * 1024 * 1024
)  # a tenth of what one disk or a gigabit network takes, with three replicas under a half
BURST_BYTES = TRANSACTION_BYTES_MAX  # what may go at once after a pause
_KEPT = 0.98  # of what was measured, from step to step: rates are of the last fifty steps or so


class SnapshotPacer:
    """The snapshots of one slot.

    >>> pacer = SnapshotPacer(bytes_per_s=1_000_000, interval_s=5.0, now=0.0)
    >>> pacer.due(4.9), pacer.due(5.0)
    (False, True)
    >>> pacer.begin(5.0)
    >>> pacer.allowance(5.0) == BURST_BYTES
    True
    >>> pacer.wrote(BURST_BYTES)
    >>> pacer.allowance(5.0), pacer.allowance(6.0)
    (0, 1000000)
    """

    def __init__(self, bytes_per_s: int, interval_s: float, now: float) -> None:
        self.bytes_per_s = bytes_per_s
        self.interval_s = interval_s
        self._begun = self._seen = self._stepped = now
        self._under_way = False
        self._room = float(BURST_BYTES)
        self._bytes = 0  # of the last snapshot that was named, or of this one if it is more already
        self._writing = 0  # written of the one under way
        self._rows_since = self._rows_since_begun = 0  # since the snapshot named last; since the one under way began
        self._rows = self._wall_s = 0.0  # of steps, decayed: the present rate
        self._folded = self._busy_s = 0.0  # of steps and replays, decayed: how fast a replay is

    def start(self, now: float) -> None:
        """Begin to count time: the slot is open now, after it may have stood by for hours."""
        self._begun = self._seen = self._stepped = now

    def due(self, now: float) -> bool:
        """Say whether a snapshot should begin."""
        return not self._under_way and now - self._begun >= self.interval_s

    def begin(self, now: float) -> None:
        """Note that a snapshot has been copied out."""
        self._begun, self._under_way, self._writing, self._rows_since_begun = now, True, 0, 0

    def allowance(self, now: float) -> int:
        """Return how many bytes may go into the transaction of this step."""
        self._room = min(float(BURST_BYTES), self._room + max(0.0, now - self._seen) * self.bytes_per_s)
        self._seen = max(now, self._seen)
        return max(0, int(self._room))

    def wrote(self, size: int) -> None:
        """Note that so many bytes of a snapshot have gone into a transaction."""
        self._room -= size
        self._writing += size
        self._bytes = max(self._bytes, self._writing)

    def named(self) -> None:
        """Note that all of the snapshot is written."""
        if self._under_way:
            self._under_way, self._bytes, self._rows_since = False, self._writing, self._rows_since_begun

    def replayed(self, rows: int, busy_s: float) -> None:
        """Note rows that were folded again for a partition that comes, and the time that decoding and judging them took."""
        if rows:  # what takes time without any says nothing about a replay
            self._folded = self._folded * _KEPT + rows
            self._busy_s = self._busy_s * _KEPT + busy_s

    def came(self, rows: int) -> None:
        """Note a partition that was taken over, with so many rows since its snapshot. One that is under way has none of them."""
        self._rows_since += rows
        self._rows_since_begun += rows

    def stepped(self, rows: int, busy_s: float, now: float) -> None:
        """Note a step: the rows that it folded, and the time that decoding and judging took."""
        self.came(rows)
        self.replayed(rows, busy_s)
        self._rows = self._rows * _KEPT + rows
        self._wall_s = self._wall_s * _KEPT + max(0.0, now - self._stepped)
        self._stepped = max(now, self._stepped)

    @property
    def rows_since(self) -> int:
        """Return how many rows a recovery would fold again now."""
        return self._rows_since

    @property
    def replay_worst_s(self) -> float:
        """Return how long a recovery could fold again, in seconds; 0.0 as long as nothing was folded."""
        if not self._folded:
            return 0.0
        writing_s = self._bytes / self.bytes_per_s if self._bytes > BURST_BYTES else 0.0
        rate = self._rows / self._wall_s if self._wall_s else 0.0
        coming = rate * (max(self.interval_s, writing_s) + writing_s)
        return max(coming, self._rows_since) * self._busy_s / self._folded
