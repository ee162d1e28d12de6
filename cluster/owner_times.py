"""How long owners took for a step and a commit, as their statuses said at each sample: bounded, no clock."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

TIMES_MAX = 20_000  # of all owners: 100 slots for a quarter of an hour
PARTS = {"decode_and_judge": "step_ms", "commit": "commit_ms"}  # stage → name in an owner's status
QUANTILES = (50, 95, 99)


class OwnerTimes:
    """The newest times of all owners. A status says how long the last step took: a sample of it, not all steps."""

    def __init__(self, times_max: int = TIMES_MAX) -> None:
        self._times: deque[tuple[int, float, float]] = deque(maxlen=times_max)  # at_ms, step_ms, commit_ms

    def add(self, owners: Sequence[Mapping[str, Any]], at_ms: int) -> None:
        """Take statuses of owners in; one that has not stepped yet says nothing."""
        for owner in owners:
            if owner.get("step_ms"):
                self._times.append((at_ms, float(owner["step_ms"]), float(owner.get("commit_ms") or 0.0)))

    def over(self, window_s: int, now_ms: int) -> dict[str, dict[str, float | int | None]]:
        """Return p50, p95, p99 in ms and the count n of each part over a window.

        >>> times = OwnerTimes()
        >>> times.add([{"step_ms": 2.0, "commit_ms": 4.0}], at_ms=1_000)
        >>> times.over(10, now_ms=2_000)["commit"]
        {'p50': 4.0, 'p95': 4.0, 'p99': 4.0, 'n': 1}
        """
        rows = np.array([row[1:] for row in self._times if row[0] > now_ms - 1000 * window_s]).reshape(-1, len(PARTS))
        return {part: _quantiles(rows[:, at]) for at, part in enumerate(PARTS)}


def _quantiles(values: np.ndarray) -> dict[str, float | int | None]:
    if not len(values):
        return {**{f"p{q}": None for q in QUANTILES}, "n": 0}
    found = np.percentile(values, QUANTILES, method="inverted_cdf")
    return {**{f"p{q}": round(float(each), 2) for q, each in zip(QUANTILES, found, strict=True)}, "n": len(values)}
