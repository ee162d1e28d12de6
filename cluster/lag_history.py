"""The lag of every group over the last quarter of an hour, sample by sample. Bounded; without I/O and without a clock."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence
from typing import Any

POINTS_MAX = 200  # of a group: more than there are samples in a window
GROUPS_MAX = 1_000  # further ones have no history


class LagHistory:
    """Lags by group, the newest last."""

    def __init__(self, points_max: int = POINTS_MAX, groups_max: int = GROUPS_MAX) -> None:
        self._points_max, self._groups_max = points_max, groups_max
        self._of: dict[str, deque[tuple[int, int | None]]] = {}

    def add(self, groups: Sequence[Mapping[str, Any]], at_ms: int) -> None:
        """Take a sample in: groups as `Admin.groups` tells them. What is gone is forgotten."""
        for gone in self._of.keys() - {group["group"] for group in groups}:
            del self._of[gone]
        for group in groups:
            lags = [standing["lag"] for standing in group["partitions"] if standing["lag"] is not None]
            if group["group"] in self._of or len(self._of) < self._groups_max:
                points = self._of.setdefault(group["group"], deque(maxlen=self._points_max))
                points.append((at_ms, sum(lags) if lags else None))

    def over(self, group: str, window_s: int, now_ms: int) -> dict[str, list[Any]] | None:
        """Return when samples were taken, ms, and the lag in records of each, null where it was not known; None: no such group.

        >>> history = LagHistory()
        >>> history.add([{"group": "g", "partitions": [{"lag": 3}, {"lag": None}]}], 7_000)
        >>> history.over("g", 10, 8_000), history.over("h", 10, 8_000)
        ({'at': [7000], 'lag': [3]}, None)
        """
        points = self._of.get(group)
        if points is None:
            return None
        within = [(at_ms, lag) for at_ms, lag in points if at_ms > now_ms - 1000 * window_s]
        return {"at": [at_ms for at_ms, _ in within], "lag": [lag for _, lag in within]}
