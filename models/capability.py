"""Running capability indices: how the process fits between its specification limits."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from models.detector import PARAMS, Column, Rule, SeriesBatch, Verdicts
from models.kernel import frozen, kernel
from models.phase_one import is_given, moving_range_d2


@kernel
def indices(mean: float, sigma: float, lsl: float, usl: float) -> tuple[float, float]:
    """Return (Cp, Cpk) for a sigma within, or (Pp, Ppk) for an overall one. NaN where there is none.

    A limit that is NaN is not there: Cp then is NaN, and Cpk is that of the one limit. Sigma 0 has no index.

    >>> indices(16.0, 2.0, 8.0, 20.0)  # NIST/SEMATECH e-Handbook 6.1.6
    (1.0, 0.6666666666666666)
    """
    if not sigma > 0.0:
        return np.nan, np.nan
    upper = (usl - mean) / (3.0 * sigma)
    lower = (mean - lsl) / (3.0 * sigma)
    if np.isnan(lsl):
        return np.nan, upper
    if np.isnan(usl):
        return np.nan, lower
    return (usl - lsl) / (6.0 * sigma), min(upper, lower)


@kernel
def _limit(given: float, carried: float, latest: np.ndarray, s: int) -> float:
    """Return the limit in force: the given one, else the latest that a row carried."""
    if is_given(carried):
        latest[s] = carried
    return given if is_given(given) else latest[s]


@kernel
def _loop(
    row: np.ndarray,
    value: np.ndarray,
    row_lsl: np.ndarray,
    row_usl: np.ndarray,
    params: np.ndarray,
    min_rows: int,
    cpk_min: float,
    d2_2: float,
    columns: tuple[np.ndarray, ...],
    out: np.ndarray,
    signal: np.ndarray,
    valid: np.ndarray,
) -> None:
    rows, mean, squares, range_sum, last, lsl, usl = columns
    given_lsl, given_usl = params["lsl"], params["usl"]
    for i in range(row.shape[0]):
        s, x = row[i], value[i]
        if not is_given(x):
            continue
        low = _limit(given_lsl[s], row_lsl[i], lsl, s)
        high = _limit(given_usl[s], row_usl[i], usl, s)
        rows[s] += 1
        n = rows[s]
        from_mean = x - mean[s]
        mean[s] += from_mean / n
        squares[s] += from_mean * (x - mean[s])
        if n > 1:
            range_sum[s] += abs(x - last[s])
        last[s] = x
        if n < 2 or (np.isnan(low) and np.isnan(high)):
            continue
        out[0, i, 0], out[0, i, 1] = indices(mean[s], range_sum[s] / (n - 1) / d2_2, low, high)
        out[0, i, 2], out[0, i, 3] = indices(mean[s], math.sqrt(squares[s] / (n - 1)), low, high)
        if n >= min_rows:
            valid[i] = True
            out[2, i, 1] = cpk_min
            if range_sum[s] > 0.0:
                signal[i] = int(out[0, i, 1] < cpk_min)
            else:
                signal[i] = int(mean[s] < low or mean[s] > high)


@dataclass(frozen=True)
class Capability:
    """Cp and Cpk (within), Pp and Ppk (overall) of all rows of a series so far; a signal while Cpk is below `cpk_min`.

    Sigma within is MRbar/d2(2), overall the standard deviation with n − 1 by Welford's update. Specification limits are
    those of `params`, each for itself if it is finite, else the latest that the rows carried in `columns["lsl"]` and
    `["usl"]`; a limit that is not given (NaN) or infinite is none, and one limit alone gives Cpk and Ppk only. Indices
    are shown from the second row on and judged from row `min_rows` on: they scatter widely for few rows (±18 % at 95 %
    for 60 rows). The lower limit drawn for Cpk is `cpk_min`.

    - Missing or infinite value: not judged, state untouched, limits that it carries not taken.
    - No specification limits: no index, not judged.
    - Sigma 0: no index; a value within the specification limits (or on one) is in control, one outside signals.
    - Another `limits_version`: the sums go on; they are the process's, not the limits'.

    >>> from models import judge
    >>> v = judge(Capability(min_rows=3), [14.0, 16.0, 18.0], lsl=8.0, usl=20.0)
    >>> v.statistic[2].round(4), v.signal
    (array([1.1284, 0.7523, 1.    , 0.6667]), array([0, 0, 1], dtype=uint32))

    Reference: ISO 22514-2; AIAG SPC, 2nd ed.; Welford, Technometrics 4 (1962) 419.
    """

    min_rows: int = 30
    cpk_min: float = 1.0
    d2_digits: int | None = None  # None: exact

    name = "capability.running"
    version = 1
    statistics = ("Cp", "Cpk", "Pp", "Ppk")

    def __post_init__(self) -> None:
        if self.min_rows < 2:
            raise ValueError(f"min_rows = {self.min_rows}: a sigma needs at least 2")

    @property
    def state(self) -> Mapping[str, Column]:
        """Return the running sums and the latest specification limits."""
        return {
            "rows": Column("i8"),
            "mean": Column("f8"),
            "squares": Column("f8"),  # sum of squared deviations from the mean
            "range_sum": Column("f8"),
            "last": Column("f8"),
            "lsl": Column("f8", (), np.nan),
            "usl": Column("f8", (), np.nan),
        }

    @property
    def rules(self) -> tuple[Rule, ...]:
        """Return the one rule."""
        return (Rule("cpk_below_minimum", f"Cpk is below {self.cpk_min:g}", "warning", 1),)

    def update(self, state: Mapping[str, np.ndarray], batch: SeriesBatch) -> Verdicts:
        """Add each row to its series, and give the indices of all rows so far."""
        n = len(batch)
        out, signal, valid = np.full((4, n, 4), np.nan), np.zeros(n, np.uint32), np.zeros(n, np.bool_)
        none = np.full(n, np.nan)
        _loop(
            frozen(batch.row, np.int32), frozen(batch.value, np.float64),
            frozen(batch.columns.get("lsl", none), np.float64), frozen(batch.columns.get("usl", none), np.float64),
            frozen(batch.params, PARAMS), self.min_rows, float(self.cpk_min), moving_range_d2(self.d2_digits),
            tuple(state[name] for name in self.state), out, signal, valid,
        )  # fmt: skip
        return Verdicts(out[0], out[1], out[2], out[3], signal, valid)
