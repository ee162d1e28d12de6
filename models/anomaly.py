"""One odd row: a value far from the median of the rows before it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from models import refractory as silence
from models.detector import PARAMS, Column, Rule, SeriesBatch, Verdicts
from models.kernel import frozen, kernel
from models.phase_one import epoch, is_given, window_ends
from models.refractory import admit

WINDOW_MAX = 4_096  # values per series: 32 KiB of state
_MAD_TO_SIGMA = 1.482602218505602  # 1/Φ⁻¹(3/4): sigma = 1.4826 MAD for normal data
_MEAN_DEVIATION_TO_SIGMA = 1.2533141373155003  # √(π/2): sigma = 1.2533 mean |x − median|


@kernel
def _spread(ordered: np.ndarray, n: int, median: float) -> float:
    """Return sigma of the n values in `ordered` (ascending) about their median: from the MAD, else the mean deviation.

    Deviations grow from the middle outward on both sides; merging the two sides gives them in order, up to the middle
    one.
    """
    right = n // 2  # first value not below the middle
    left = right - 1
    deviation, before = 0.0, 0.0
    for _ in range(n // 2 + 1):
        below = median - ordered[left] if left >= 0 else np.inf
        above = ordered[right] - median if right < n else np.inf
        before = deviation
        if below <= above:
            deviation = below
            left -= 1
        else:
            deviation = above
            right += 1
    mad = deviation if n % 2 == 1 else 0.5 * (before + deviation)
    if mad > 0.0:
        return _MAD_TO_SIGMA * mad
    total = 0.0
    for i in range(n):
        total += abs(ordered[i] - median)
    return _MEAN_DEVIATION_TO_SIGMA * total / n


@kernel
def _loop(
    row: np.ndarray,
    value: np.ndarray,
    excluded: np.ndarray,
    params: np.ndarray,
    ends: np.ndarray,
    min_rows: int,
    threshold: float,
    refractory: int,
    columns: tuple[np.ndarray, ...],
    ordered: np.ndarray,
    out: np.ndarray,
    signal: np.ndarray,
    valid: np.ndarray,
) -> None:
    ring, rows, silent, since = columns
    window = ring.shape[1]
    for i in range(row.shape[0]):
        s, x = row[i], value[i]
        if excluded[i] or not is_given(x):
            continue
        now = epoch(params, s, ends)
        if since[s] != now:
            since[s] = now
            rows[s] = silent[s] = 0
        n = min(rows[s], window)
        if n >= min_rows:
            ordered[:n] = ring[s, :n]
            ordered[:n].sort()
            median = ordered[n // 2] if n % 2 == 1 else 0.5 * (ordered[n // 2 - 1] + ordered[n // 2])
            sigma = _spread(ordered, n, median)
            z, limit = x - median, 0.0
            if sigma > 0.0:
                z, limit = z / sigma, threshold
            out[0, i, 0] = z
            out[1, i, 0] = 0.0
            out[2, i, 0] = -limit
            out[3, i, 0] = limit
            signal[i] = admit(s, int(z > limit) | int(z < -limit) << 1, refractory, silent)
            valid[i] = True
        ring[s, rows[s] % window] = x
        rows[s] += 1


@dataclass(frozen=True)
class RobustZ:
    """Robust z of each row against the `window` values of its series before it; beyond ±threshold it signals.

    Statistic "z" = (x − median)/(1.4826 MAD), a number of sigmas.

    The row itself joins the window after it is judged, odd or not: the median stands up to half a window of odd rows.
    Judged from `min_rows` values on; before, there is no z, and rows are not valid. Given mu and sigma are not used.
    After a signal none is given on the next `refractory` rows (see `models.refractory`).

    - Missing or infinite value, excluded row: not judged, state untouched.
    - A reset empties the window; a change of limits or the exclusion of a past row does not, unless `window_ends` says so.
    - MAD 0 (more than half of the window equal): the mean absolute deviation takes its place, sigma = 1.2533 mean |x −
      median|.
    - That 0 as well (all equal): z is x − median in the value's unit and both limits are 0; equal is in control,
      anything else is beyond.

    >>> from models import judge
    >>> v = judge(RobustZ(window=10, min_rows=5), [10.0, 11.0, 9.0, 10.0, 12.0, 30.0, 10.0])
    >>> v.statistic[5:, 0].round(2), v.signal
    (array([13.49, -0.34]), array([0, 0, 0, 0, 0, 1, 0], dtype=uint32))

    Reference: Iglewicz and Hoaglin, How to Detect and Handle Outliers, ASQC 1993, §3 (threshold 3.5).
    """

    window: int = 50
    threshold: float = 3.5
    min_rows: int = 20
    refractory: int = 0
    window_ends: tuple[str, ...] = ("reset",)

    name = "anomaly.robust_z"
    version = 2
    statistics = ("z",)

    def __post_init__(self) -> None:
        silence.checked(self.refractory)
        window_ends(self.window_ends)
        if not self.threshold > 0:
            raise ValueError(f"threshold = {self.threshold}: a number of sigmas above 0")
        if not 3 <= self.min_rows <= self.window <= WINDOW_MAX:
            raise ValueError(f"3 ≤ min_rows = {self.min_rows} ≤ window = {self.window} ≤ {WINDOW_MAX} does not hold")

    @property
    def state(self) -> Mapping[str, Column]:
        """Return the ring of the last values and how many there were, the silence, and the epoch."""
        return {
            "ring": Column("f8", (self.window,)),
            "rows": Column("i8"),
            **silence.COLUMNS,
            "epoch": Column("i8", (), -1),
        }

    @property
    def rules(self) -> tuple[Rule, ...]:
        """Return one rule per side."""
        return (
            Rule("far_above", f"more than {self.threshold:g} robust sigmas above the median of the window"),
            Rule("far_below", f"more than {self.threshold:g} robust sigmas below the median of the window"),
        )

    def update(self, state: Mapping[str, np.ndarray], batch: SeriesBatch) -> Verdicts:
        """Judge each row by the rows before it."""
        n = len(batch)
        out, signal, valid = np.full((4, n, 1), np.nan), np.zeros(n, np.uint32), np.zeros(n, np.bool_)
        _loop(
            frozen(batch.row, np.int32), frozen(batch.value, np.float64), frozen(batch.column("excluded"), np.bool_),
            frozen(batch.params, PARAMS), window_ends(self.window_ends), self.min_rows, float(self.threshold),
            self.refractory, tuple(state[name] for name in self.state), np.empty(self.window), out, signal, valid,
        )  # fmt: skip
        return Verdicts(out[0], out[1], out[2], out[3], signal, valid)
