"""Generalised extreme studentized deviate (ESD): how many outliers there are, up to a number."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
from scipy import stats

from models import refractory as silence
from models.detector import PARAMS, Column, Rule, SeriesBatch, Verdicts
from models.judging import as_values
from models.kernel import frozen, kernel
from models.phase_one import epoch, is_given, window_ends
from models.refractory import admit

WINDOW_MAX = 4_096  # values per series: 32 KiB of state


class Esd(NamedTuple):
    """What the test says of n values, with r = max_outliers."""

    statistic: np.ndarray  # (r,) R_i: the largest |x − mean|/s once the i − 1 values before have been taken away
    critical: np.ndarray  # (r,) λ_i
    removed: np.ndarray  # (r,) int64: the index of the i-th value taken away; of ties the first
    outliers: np.ndarray  # int64, ascending: the indices of the values that are outliers


def critical_values(n: int, max_outliers: int, alpha: float = 0.05) -> np.ndarray:
    """Return λ_1 … λ_r for n values, r = max_outliers: (r,). Rosner 1983, eq. 2.5.

    >>> critical_values(54, 3).round(3)  # NIST/SEMATECH e-Handbook, §1.3.5.17.3
    array([3.159, 3.151, 3.144])
    """
    if not 1 <= max_outliers <= n - 2:
        raise ValueError(f"max_outliers = {max_outliers}: 1 to n − 2 of n = {n} values")
    if not 0.0 < alpha < 1.0:
        raise ValueError(f"alpha = {alpha}: a probability between 0 and 1")
    left = n - np.arange(max_outliers)  # values when the i-th is looked for
    t = stats.t.ppf(1.0 - alpha / (2.0 * left), left - 2)
    return np.asarray((left - 1) * t / np.sqrt((left - 2 + t * t) * left))


def generalised_esd(values: Any, max_outliers: int, alpha: float = 0.05) -> Esd:
    """Test values (n,) for up to `max_outliers` outliers at level `alpha`: "there are none" is rejected by chance that often.

    The value furthest from the mean is taken away, r times. The number of outliers is the largest i with R_i > λ_i, also
    where an earlier R is not: outliers mask each other. Rosner's λ is accurate for n ≥ 25, and tolerably so from 15.

    Raises ValueError for a missing or infinite value, fewer than r + 2 values, or an alpha that is no probability.

    >>> generalised_esd([1.0, 1.2, 0.9, 1.1, 1.0, 0.8, 1.1, 9.0, 1.0, 0.9, 1.2, 1.1, 8.0, 0.9, 1.0], 3).outliers
    array([ 7, 12])

    Reference: Rosner, Percentage Points for a Generalized ESD Many-Outlier Procedure, Technometrics 25 (1983) 165–172.
    """
    x = as_values(values)
    if x.ndim != 1 or not np.isfinite(x).all():
        raise ValueError(f"values of shape {x.shape}: one column of finite numbers is wanted")
    critical = critical_values(len(x), max_outliers, alpha)
    statistic, removed = np.empty(max_outliers), np.empty(max_outliers, np.int64)
    left = np.arange(len(x))
    for i in range(max_outliers):
        distance = np.abs(x[left] - x[left].mean())
        furthest = int(distance.argmax())
        sigma = x[left].std(ddof=1)
        statistic[i] = distance[furthest] / sigma if sigma > 0.0 else 0.0
        removed[i] = left[furthest]
        left = np.delete(left, furthest)
    beyond = np.flatnonzero(statistic > critical)
    return Esd(statistic, critical, removed, np.sort(removed[: beyond[-1] + 1 if len(beyond) else 0]))


@lru_cache(maxsize=32)
def _table(window: int, min_rows: int, max_outliers: int, alpha: float) -> np.ndarray:
    """Return λ of every number of values that a window may hold: (window + 1, r + 1), column i for the i + 1-th value."""
    table = np.full((window + 1, max_outliers + 1), np.nan)
    for n in range(min_rows, window + 1):
        table[n] = critical_values(n, max_outliers + 1, alpha)
    table.flags.writeable = False
    return table


@kernel
def _moments(ordered: np.ndarray, low: int, high: int) -> tuple[float, float]:
    """Return the mean and s of ordered[low:high]; s is 0 where all are equal, whatever rounding says."""
    n = high - low
    mean = 0.0
    for j in range(low, high):
        mean += ordered[j]
    mean /= n
    squares = 0.0
    for j in range(low, high):
        squares += (ordered[j] - mean) ** 2
    return mean, (np.sqrt(squares / (n - 1)) if ordered[low] < ordered[high - 1] else 0.0)


@kernel
def _test(ordered: np.ndarray, n: int, critical: np.ndarray, at: np.ndarray) -> tuple[int, int, int]:
    """Return (outliers, low, high) of n ascending values: those left are ordered[low:high]; `at` is scratch, (r + 1,).

    The value furthest from the mean is the first or the last of those left.
    """
    low, high, outliers = 0, n, 0
    at[0] = 0
    for i in range(at.shape[0] - 1):
        mean, sigma = _moments(ordered, low, high)
        if sigma <= 0.0:
            break
        below, above = mean - ordered[low], ordered[high - 1] - mean
        if below >= above:
            low += 1
        else:
            high -= 1
        at[i + 1] = low
        if max(below, above) / sigma > critical[i]:
            outliers = i + 1
    low = at[outliers]
    return outliers, low, n - outliers + low


@kernel
def _loop(
    row: np.ndarray,
    value: np.ndarray,
    excluded: np.ndarray,
    params: np.ndarray,
    ends: np.ndarray,
    min_rows: int,
    refractory: int,
    critical: np.ndarray,
    columns: tuple[np.ndarray, ...],
    ordered: np.ndarray,
    at: np.ndarray,
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
        ring[s, rows[s] % window] = x
        rows[s] += 1
        n = min(rows[s], window)
        if n < min_rows:
            continue
        ordered[:n] = ring[s, :n]
        ordered[:n].sort()
        outliers, low, high = _test(ordered, n, critical[n], at)
        above = high < n and x >= ordered[high]
        below = low > 0 and x <= ordered[low - 1]
        step = outliers
        if above:  # judged beside those left: the first of its side takes its place
            ordered[high] = x
            high, step = high + 1, outliers - 1
        elif below:
            ordered[low - 1] = x
            low, step = low - 1, outliers - 1
        mean, sigma = _moments(ordered, low, high)
        out[0, i, 0] = (x - mean) / sigma if sigma > 0.0 else 0.0
        out[1, i, 0] = 0.0
        out[2, i, 0] = -critical[n, step]
        out[3, i, 0] = critical[n, step]
        signal[i] = admit(s, int(above) | int(below) << 1, refractory, silent)
        valid[i] = True


@dataclass(frozen=True)
class SlidingEsd:
    """Generalised ESD on the last `window` values of a series: a row signals if it is itself one of the outliers found.

    Statistic "R" = (x − mean)/s, where mean and s are those of the row and of all values of the window that are no outliers;
    the limits are ± λ of that step of the test. Unlike a z against all values, other outliers in the window do not hide the
    row; unlike the median's, up to `max_outliers` are looked for, at a level. The level is that of one window: windows of
    successive rows overlap, so that about alpha/n of the rows signal by chance, not alpha.

    Judged from `min_rows` values on, the row's own among them. After a signal none is given on the next `refractory` rows
    (see `models.refractory`). Given mu and sigma are not used. In rare cases, with outliers on both sides, R of a row that
    signals is just inside the limits: the test looks at the values one by one, and the sides were not yet free of outliers.

    - Missing or infinite value, excluded row: not judged, state untouched.
    - All values equal: R is 0, in control.
    - Equal values are outliers together or not at all: a row equal to one that the test took away is taken away as well.
    - A reset empties the window; a change of limits or the exclusion of a past row does not, unless `window_ends` says so.

    >>> from models import judge
    >>> v = judge(SlidingEsd(window=20, min_rows=15, max_outliers=2), [*[1.0, 1.2, 0.9, 1.1] * 4, 3.0, 1.1, -1.0])
    >>> v.statistic[15:, 0].round(2), v.signal[15:]
    (array([ 0.43,  3.78,  0.42, -3.91]), array([0, 1, 0, 2], dtype=uint32))

    Reference: Rosner, Technometrics 25 (1983) 165–172.
    """

    window: int = 60
    max_outliers: int = 5
    alpha: float = 0.05
    min_rows: int = 25
    refractory: int = 0
    window_ends: tuple[str, ...] = ("reset",)

    name = "anomaly.esd"
    version = 1
    statistics = ("R",)

    def __post_init__(self) -> None:
        silence.checked(self.refractory)
        window_ends(self.window_ends)
        if not 15 <= self.min_rows <= self.window <= WINDOW_MAX:
            raise ValueError(f"15 ≤ min_rows = {self.min_rows} ≤ window = {self.window} ≤ {WINDOW_MAX} does not hold")
        if not 1 <= self.max_outliers <= self.min_rows // 2:
            raise ValueError(f"max_outliers = {self.max_outliers}: 1 to half of min_rows = {self.min_rows}")
        if not 0.0 < self.alpha < 1.0:
            raise ValueError(f"alpha = {self.alpha}: a probability between 0 and 1")

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
            Rule("esd_above", f"an outlier of the last {self.window} values, above the others (alpha {self.alpha:g})"),
            Rule("esd_below", f"an outlier of the last {self.window} values, below the others (alpha {self.alpha:g})"),
        )

    def update(self, state: Mapping[str, np.ndarray], batch: SeriesBatch) -> Verdicts:
        """Test the window that ends with each row."""
        n = len(batch)
        out, signal, valid = np.full((4, n, 1), np.nan), np.zeros(n, np.uint32), np.zeros(n, np.bool_)
        _loop(
            frozen(batch.row, np.int32), frozen(batch.value, np.float64), frozen(batch.column("excluded"), np.bool_),
            frozen(batch.params, PARAMS), window_ends(self.window_ends), self.min_rows, self.refractory,
            _table(self.window, self.min_rows, self.max_outliers, self.alpha),
            tuple(state[name] for name in self.state), np.empty(self.window), np.empty(self.max_outliers + 1, np.int64),
            out, signal, valid,
        )  # fmt: skip
        return Verdicts(out[0], out[1], out[2], out[3], signal, valid)
