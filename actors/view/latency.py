"""How long a row takes from the producer's clock to a `read_committed` reader, and how many rows a second.

Theory of operation
-------------------
Latencies are counted in 1 ms bins, one histogram per second of the window, and one more since a mark. A quantile is the upper
edge of the bin that holds it, so it is exact to 1 ms and never too small. Nothing is sampled and nothing grows.
Time is an argument everywhere.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

WINDOW_S = 10  # the window of quantiles and rates
LATENCY_MS_MAX = 20_000  # what takes longer is counted in the last bin

_BINS = LATENCY_MS_MAX + 1
QUANTILES = (0.5, 0.95, 0.99)


def quantiles(histogram: np.ndarray) -> dict[str, float | None]:
    """Return p50, p95 and p99 in ms of a (bins,) histogram of 1 ms bins; None where nothing was counted.

    >>> histogram = np.zeros(100, np.int64)
    >>> histogram[[4, 9]] = 99, 1
    >>> quantiles(histogram)
    {'p50': 5.0, 'p95': 5.0, 'p99': 5.0}
    """
    total = int(histogram.sum())
    if total == 0:
        return {f"p{round(100 * q)}": None for q in QUANTILES}
    cumulative = np.cumsum(histogram)
    found = np.searchsorted(cumulative, [np.ceil(q * total) for q in QUANTILES])
    return {f"p{round(100 * q)}": float(at) + 1.0 for q, at in zip(QUANTILES, found, strict=True)}


class Latencies(NamedTuple):
    """How many rows of a block took how long: counts[i] of them low_ms + i."""

    low_ms: int
    counts: np.ndarray  # (range of latencies,) int64


class LatencyWindow:
    """Latency quantiles and rows per second over the last `WINDOW_S` seconds, and latency quantiles since a mark."""

    def __init__(self) -> None:
        self._window = np.zeros((WINDOW_S, _BINS), np.int64)
        self._rows = np.zeros(WINDOW_S, np.int64)
        self._second = np.full(WINDOW_S, np.iinfo(np.int64).min)  # which second each slot holds
        self._since_mark = np.zeros(_BINS, np.int64)

    def _slot(self, now_ms: int) -> int:
        second = now_ms // 1000
        slot = int(second % WINDOW_S)
        if self._second[slot] != second:
            self._window[slot] = 0
            self._rows[slot] = 0
            self._second[slot] = second
        return slot

    def add_rows(self, rows: int, now_ms: int) -> None:
        """Count rows that arrived now."""
        self._rows[self._slot(now_ms)] += rows

    def add_latency(self, published_ms: np.ndarray, now_ms: int) -> Latencies | None:
        """Count the latency of rows that arrived now: now − published_ms, (n,) int64. Clocks that run ahead count as 0.

        Returns what was counted; None for no rows.
        """
        if not len(published_ms):
            return None
        latency = np.clip(now_ms - published_ms, 0, LATENCY_MS_MAX)
        low = int(latency.min())
        counts = np.bincount(latency - low)
        self._window[self._slot(now_ms), low : low + len(counts)] += counts
        self._since_mark[low : low + len(counts)] += counts
        return Latencies(low, counts)

    def mark(self) -> None:
        """Start the "since mark" histogram anew."""
        self._since_mark[:] = 0

    def summary(self, now_ms: int) -> dict[str, object]:
        """Return the quantiles in ms, how many rows they stand on, and rows/s over the whole seconds of the window."""
        second = now_ms // 1000
        live = (self._second > second - WINDOW_S) & (self._second <= second)
        whole = live & (self._second < second)  # the current second is not over
        in_window = self._window[live].sum(axis=0)
        seconds = max(1, second - int(self._second[whole].min())) if whole.any() else 1
        return {
            "window_s": WINDOW_S,
            "rows_per_s": round(float(self._rows[whole].sum()) / seconds, 1),
            "latency_ms": quantiles(in_window),
            "latency_rows": int(in_window.sum()),
            "since_mark_ms": quantiles(self._since_mark),
            "since_mark_rows": int(self._since_mark.sum()),
        }
