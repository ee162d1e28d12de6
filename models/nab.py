"""The score of the Numenta Anomaly Benchmark (NAB): how early and how quietly a detector finds labelled anomalies.

Theory of operation
-------------------
A file is a series of n rows with anomaly windows around its labelled anomalies. Every row has a worth, what an alarm there
counts (`row_worth`):

- In a window, 2/(1 + e^(5y)) − 1 over its value at y = −1, where y is the place in the window: −1 on its first row, close
  to 0 on its last. Only the earliest alarm in a window counts. An early one is worth 1, a late one next to nothing.
- Outside, the false-positive weight times 2/(1 + e^(5y)) − 1, where y is the distance from the end of the window before,
  in widths of that window: close behind a window an alarm costs little, further on the whole weight. Before any window,
  and from y = 3 on, exactly the whole weight.
- A window without an alarm costs the false-negative weight.
- In the probationary period, the first 15 % of the rows but at most 750, nothing counts.

The score of a corpus is 100 (raw − null)/(perfect − null): raw is the sum over all files, null that of a detector which
never speaks, perfect one point for every window. So null scores 0 and a perfect detector 100; a noisy one is below 0.

Lavin and Ahmad print the sigmoid without saying where in a window its argument is 0 and how it is scaled; the numbers
published for detectors come from Numenta's program (NAB 1.1), and this module agrees with that.

Reference: Lavin and Ahmad, Evaluating Real-Time Anomaly Detection Algorithms: the Numenta Anomaly Benchmark, ICMLA 2015,
§III, eq. 1–3.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import NamedTuple

import numpy as np

PROBATION_SHARE = 0.15  # of a file's rows
PROBATION_ROWS_MAX = 750  # 15 % of 5,000
_STEEPNESS = 5.0
_FAR = 3.0  # window widths behind a window; from there on a false alarm costs its whole weight


class Profile(NamedTuple):
    """What an application pays: weights of a window found, of a false alarm and of a window missed."""

    found: float = 1.0
    false_alarm: float = 0.11
    missed: float = 1.0


PROFILES: Mapping[str, Profile] = MappingProxyType(
    {
        "standard": Profile(),
        "reward_low_FP_rate": Profile(false_alarm=0.22),
        "reward_low_FN_rate": Profile(missed=2.0),
    }
)
"""The three profiles of NAB 1.1, by their names there."""


class FileScore(NamedTuple):
    """The score of one file, or of several added up with `total`."""

    raw: float
    null: float  # what a detector that never speaks gets
    perfect: float  # what one alarm on the first row of every window gets
    windows: int
    found: int
    false_alarms: int  # alarm rows outside the windows and the probationary period

    @property
    def normalised(self) -> float:
        """Return 100 (raw − null)/(perfect − null); NaN for a file without windows."""
        span = self.perfect - self.null
        return 100.0 * (self.raw - self.null) / span if span > 0.0 else float("nan")


def probation_rows(n: int) -> int:
    """Return how many rows at the start of a file of n rows do not count.

    >>> probation_rows(4032), probation_rows(22695)
    (604, 750)
    """
    return int(min(PROBATION_SHARE * n // 1.0, PROBATION_ROWS_MAX))


def sigmoid(place: np.ndarray) -> np.ndarray:
    """Return 2/(1 + e^(5 place)) − 1: +1 far before, 0 at place 0, −1 far behind."""
    return np.asarray(2.0 / (1.0 + np.exp(_STEEPNESS * np.asarray(place, np.float64))) - 1.0)


def window_rows(time: np.ndarray, limits: Iterable[tuple[float, float]]) -> np.ndarray:
    """Return the first and the last row of each window: (k, 2) int64.

    `time` is (n,), ascending, in the unit of `limits`, the pairs of the first and the last time of a window. Of rows with
    the same time the first counts. Raises ValueError for a window that has no row.
    """
    rows = []
    for first, last in limits:
        start, end = int(np.searchsorted(time, first)), int(np.searchsorted(time, last))
        if end == len(time) or time[end] != last:
            end -= 1
        if start > end:
            raise ValueError(f"window {first} to {last} has no row between {time[:1]} and {time[-1:]}")
        rows.append((start, end))
    return np.array(rows, np.int64).reshape(-1, 2)


def row_worth(n: int, windows: np.ndarray, profile: Profile = PROFILES["standard"]) -> np.ndarray:
    """Return what an alarm at each row counts: (n,) float64. Windows (k, 2): first and last row, in order, not overlapping."""
    row = np.arange(n, dtype=np.float64)
    worth = np.full(n, -profile.false_alarm)
    for k, (first, last) in enumerate(windows):
        width = float(last - first + 1)
        inside = slice(int(first), int(last) + 1)
        worth[inside] = profile.found * sigmoid((row[inside] - last - 1.0) / width) / sigmoid(np.array(-1.0))
        behind = slice(int(last) + 1, int(windows[k + 1, 0]) if k + 1 < len(windows) else n)
        with np.errstate(divide="ignore"):
            place = (row[behind] - last) / (width - 1.0)
        worth[behind] = profile.false_alarm * np.where(place >= _FAR, -1.0, sigmoid(np.minimum(place, _FAR)))
    return worth


def score_file(
    alarm: np.ndarray,
    windows: np.ndarray,
    profile: Profile = PROFILES["standard"],
    probation: int | None = None,
) -> FileScore:
    """Score the alarms (n,) bool of one file. `probation` is in rows; by default the benchmark's.

    >>> alarm = np.zeros(200, bool)
    >>> alarm[[100, 150]] = True  # the first row of the window, and a false alarm
    >>> s = score_file(alarm, np.array([[100, 119]]))
    >>> s.found, s.false_alarms, round(s.normalised, 2)
    (1, 1, 94.5)
    """
    alarm = np.asarray(alarm, bool)
    n = len(alarm)
    probation = probation_rows(n) if probation is None else probation
    worth = row_worth(n, windows, profile)
    counts = alarm & (np.arange(n) >= probation)
    outside = counts.copy()
    raw = null = 0.0
    found = 0
    for first, last in windows:
        outside[first : last + 1] = False
        if last < probation:
            continue
        null -= profile.missed
        hits = np.flatnonzero(counts[first : last + 1])
        raw += float(worth[first + hits[0]]) if len(hits) else -profile.missed
        found += bool(len(hits))
    raw += float(worth[outside].sum())
    return FileScore(raw, null, profile.found * len(windows), len(windows), found, int(outside.sum()))


def total(scores: Iterable[FileScore]) -> FileScore:
    """Add files up: the corpus' score is `total(scores).normalised`."""
    raw = null = perfect = 0.0
    windows = found = false_alarms = 0
    for score in scores:
        raw, null, perfect = raw + score.raw, null + score.null, perfect + score.perfect
        windows, found = windows + score.windows, found + score.found
        false_alarms += score.false_alarms
    return FileScore(raw, null, perfect, windows, found, false_alarms)
