"""The last quarter of an hour of what the view saw: rows by second and partition, latencies by stage, dead letters by reason.

Theory of operation
-------------------
Everything is a ring of counts over time; nothing is kept per row. Latencies are counted in bins that are 1 ms wide up to
`FINE_MS` and 2 % wide above, one histogram per `STEP_S`. A block's rows were all written at one time and read at another, so
its histogram by "since publishing" is one histogram, moved: `published → read` is counted once per row (LatencyWindow does that
anyway), and `published → written` and `written → read` cost the same for a block however many rows it has.

| stage | from | to |
|---|---|---|
| read | the producer's clock | a read_committed reader has it |
| written | the producer's clock | the owner writes the block: polled, decoded, judged, and the step before committed |
| visible | the owner writes the block | a read_committed reader has it: it was committed and fetched |

Time is an argument everywhere.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from actors.view.latency import LATENCY_MS_MAX, QUANTILES, Latencies

WINDOW_S = 900  # that is remembered
STEP_S = 5  # of one latency histogram
NAMES_MAX = 1_024  # partitions, or reasons, that are told apart; further ones are counted together
POINTS_MAX = 180  # of a series over time
POINT_S_MAX = -(-WINDOW_S // POINTS_MAX)  # what a point of a rate is over
OTHERS = "others"
FINE_MS = 100  # bins are 1 ms wide up to here, and 2 % wide above

STAGES = ("read", "written", "visible")
_RATIO = 1.02


def _edges() -> np.ndarray:
    """Return the upper edges of the bins, (bins,) float64, ms."""
    coarse = np.ceil(np.log(LATENCY_MS_MAX / FINE_MS) / np.log(_RATIO))
    return np.concatenate((np.arange(1.0, FINE_MS + 1), FINE_MS * _RATIO ** np.arange(1, coarse + 1)))


EDGES_MS = _edges()
_BIN_OF_MS = np.searchsorted(EDGES_MS, np.arange(LATENCY_MS_MAX + 1), side="right").clip(max=len(EDGES_MS) - 1)


def quantiles(histogram: np.ndarray) -> dict[str, float | int | None]:
    """Return p50, p95, p99 in ms of a (bins,) histogram, each the upper edge of its bin, and the count n.

    >>> quantiles(np.bincount([4, 4, 4, 250], minlength=len(EDGES_MS)))["p50"]
    5.0
    """
    n = int(histogram.sum())
    if n == 0:
        return {**{f"p{round(100 * q)}": None for q in QUANTILES}, "n": 0}
    at = np.searchsorted(np.cumsum(histogram), [np.ceil(q * n) for q in QUANTILES])
    return {
        **{f"p{round(100 * q)}": round(float(EDGES_MS[i]), 1) for q, i in zip(QUANTILES, at, strict=True)},
        "n": n,
    }


class Slots:
    """Which stretch of time each slot of a ring holds."""

    def __init__(self, slots: int, step_s: int) -> None:
        self.slots, self.step_s = slots, step_s
        self.holds = np.full(slots, np.iinfo(np.int64).min)  # (slots,) number of the stretch since the epoch

    def take(self, at_ms: int) -> tuple[int, bool] | None:
        """Return the slot of a time, and whether it must be emptied first; None: the time is older than the ring."""
        stretch = at_ms // (1000 * self.step_s)
        slot = int(stretch % self.slots)
        if stretch < self.holds[slot]:
            return None
        is_new = bool(stretch > self.holds[slot])
        self.holds[slot] = stretch
        return slot, is_new

    def last(self, count: int, now_ms: int) -> tuple[np.ndarray, np.ndarray]:
        """Return when each of the last whole stretches began, in ms, and its slot, −1 = nothing is held.

        (count + 1,) both: the last is that of the stretch that is not over.
        """
        stretch = now_ms // (1000 * self.step_s) - np.arange(count, -1, -1)
        slot = stretch % self.slots
        return stretch * 1000 * self.step_s, np.where(self.holds[slot] == stretch, slot, -1)


class Counts:
    """Counts by name and second, over WINDOW_S."""

    def __init__(self) -> None:
        self._slots = Slots(WINDOW_S + POINT_S_MAX, 1)  # the newest point is not over
        self._of: dict[str, np.ndarray] = {}  # name → (slots,) int64

    def add(self, name: str, count: int, at_ms: int) -> None:
        """Count something at a time."""
        taken = self._slots.take(at_ms)
        if taken is None:
            return
        slot, is_new = taken
        if is_new:
            for ring in self._of.values():
                ring[slot] = 0
        if name not in self._of:
            name = name if len(self._of) < NAMES_MAX else OTHERS
            self._of.setdefault(name, np.zeros(self._slots.slots, np.int64))
        self._of[name][slot] += count

    def over(self, window_s: int, now_ms: int) -> dict[str, int]:
        """Return the sum of each name over the last whole seconds and the one that is not over; none where it is 0."""
        _, slot = self._slots.last(min(window_s, WINDOW_S), now_ms)
        sums = {name: int(ring[slot[slot >= 0]].sum()) for name, ring in sorted(self._of.items())}
        return {name: count for name, count in sums.items() if count}

    def rates(self, window_s: int, now_ms: int) -> dict[str, Any]:
        """Return counts a second over time, of all names and of each: at most POINTS_MAX points, the oldest first."""
        step_s = -(-min(window_s, WINDOW_S) // POINTS_MAX)
        points = min(window_s, WINDOW_S) // step_s
        whole_ms = now_ms // (1000 * step_s) * 1000 * step_s  # so that a point stays what it was
        at_ms, slot = (each[:-1] for each in self._slots.last(points * step_s, whole_ms))
        by_name = {}
        for name, ring in sorted(self._of.items()):
            seconds = np.where(slot >= 0, ring[slot], 0)
            if seconds.any():
                by_name[name] = np.round(seconds.reshape(points, step_s).sum(axis=1) / step_s, 2)
        total = sum(by_name.values(), np.zeros(points))
        return {
            "step_s": step_s,
            "at": at_ms[::step_s].tolist(),
            "per_s": np.round(total, 2).tolist(),
            "by_name": {name: each.tolist() for name, each in by_name.items()},
        }


class StageLatencies:
    """Histograms of the latencies of STAGES, one per STEP_S, over WINDOW_S."""

    def __init__(self) -> None:
        self._slots = Slots(WINDOW_S // STEP_S + 1, STEP_S)
        self._counts = np.zeros((len(STAGES), self._slots.slots, len(EDGES_MS)), np.int64)

    def add(self, latencies: Latencies, now_ms: int, written_ms: int | None) -> None:
        """Count a block's rows, read now and written at `written_ms`; None: that is not known."""
        taken = self._slots.take(now_ms)
        if taken is None:
            return
        slot, is_new = taken
        if is_new:
            self._counts[:, slot] = 0
        self._count(0, slot, latencies, 0)
        if written_ms is not None:
            visible_ms = max(0, now_ms - written_ms)
            self._count(1, slot, latencies, visible_ms)
            self._counts[2, slot, _BIN_OF_MS[min(visible_ms, LATENCY_MS_MAX)]] += int(latencies.counts.sum())

    def _count(self, stage: int, slot: int, latencies: Latencies, less_ms: int) -> None:
        ms = np.clip(latencies.low_ms + np.arange(len(latencies.counts)) - less_ms, 0, LATENCY_MS_MAX)
        np.add.at(self._counts[stage, slot], _BIN_OF_MS[ms], latencies.counts)

    def over(self, window_s: int, now_ms: int) -> dict[str, Any]:
        """Return quantiles of each stage, and p95 of "read" over time, of whole steps; None: no rows."""
        at_ms, slot = self._slots.last(max(1, min(window_s, WINDOW_S) // STEP_S), now_ms)
        held = slot >= 0
        p95 = [
            quantiles(self._counts[0, each])["p95"] if there else None
            for each, there in zip(slot[:-1].tolist(), held[:-1].tolist(), strict=True)
        ]
        stages = {name: quantiles(self._counts[stage, slot[held]].sum(axis=0)) for stage, name in enumerate(STAGES)}
        return {"stages": stages, "series": {"step_s": STEP_S, "at": at_ms[:-1].tolist(), "p95": p95}}
