"""Tabular CUSUM: small sustained shifts of the mean."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from models import phase_one
from models.detector import PARAMS, Column, Rule, SeriesBatch, Verdicts
from models.kernel import frozen, kernel
from models.phase_one import is_given, learn, reference


@kernel
def _loop(
    row: np.ndarray,
    value: np.ndarray,
    params: np.ndarray,
    rows: int,
    d2_2: float,
    k: float,
    h: float,
    restart: bool,
    columns: tuple[np.ndarray, ...],
    out: np.ndarray,
    signal: np.ndarray,
    valid: np.ndarray,
) -> None:
    seen, mean, ranges, range_sum, last, version, high, low = columns
    given_mu, given_sigma, given_version = params["mu"], params["sigma"], params["limits_version"]
    for i in range(row.shape[0]):
        s, x = row[i], value[i]
        if not is_given(x):
            continue
        if version[s] != given_version[s]:
            version[s] = given_version[s]
            high[s] = low[s] = 0.0
            last[s] = np.nan
        known, mu, sigma = reference(given_mu[s], given_sigma[s], rows, d2_2, seen[s], mean[s], ranges[s], range_sum[s])
        if not known:
            learn(s, x, abs(x - last[s]), seen, mean, ranges, range_sum)
            last[s] = x
            continue
        if sigma <= 0.0:  # no sums then: only this row counts
            high[s] = low[s] = 0.0
        high[s] = max(0.0, high[s] + (x - (mu + k * sigma)))
        low[s] = max(0.0, low[s] + ((mu - k * sigma) - x))
        limit = h * sigma
        out[0, i, 0] = high[s]
        out[0, i, 1] = low[s]
        out[1, i] = 0.0
        out[3, i] = limit
        fired = int(high[s] > limit) | int(low[s] > limit) << 1
        if restart and fired != 0:
            high[s] = low[s] = 0.0
        signal[i] = fired
        valid[i] = True


@dataclass(frozen=True)
class Cusum:
    """Tabular two-sided CUSUM: finds small sustained shifts of the mean. k and h are in sigmas.

    Statistics "C+" and "C-", both ≥ 0 and in the unit of the value: C+ = max(0, C+ + x − (mu + k sigma)), C− likewise
    downward; a signal while one is above h sigma. There is no lower limit (NaN). mu and sigma are given, or learned
    from the first `phase_one_rows` rows (see `models.phase_one`), which have no statistic and are not valid.

    The sums go on after a signal, as in the books' tables; with `restart` both start again from 0 on the next row, so
    that a shift which is over does not signal for as long as it lasted.

    - Missing or infinite value: not judged, state untouched.
    - Sigma 0: nothing is summed; C+ and C− are the row's own distance from mu, both limits are 0; equal is in control,
      anything else is beyond.
    - Another `limits_version`: both sums start again from 0.

    >>> from models import judge
    >>> montgomery_9_2 = [9.45, 7.99, 9.29, 11.66, 12.16, 10.18, 8.04, 11.46, 9.2, 10.34, 9.03, 11.47, 10.51, 9.4, 10.08,
    ...     9.37, 10.62, 10.31, 8.52, 10.84, 10.9, 9.33, 12.29, 11.5, 10.6, 11.08, 10.38, 11.62, 11.31, 10.52]
    >>> v = judge(Cusum(k=0.5, h=5.0), montgomery_9_2, mu=10.0, sigma=1.0)  # the mean moves to 11 after sample 20
    >>> np.flatnonzero(v.signal) + 1
    array([29, 30])

    Reference: Montgomery, Introduction to SQC, 7th ed., §9.1.2, eq. 9.2–9.3; ISO 7870-4.
    """

    k: float = 0.5
    h: float = 5.0
    phase_one_rows: int = 50
    restart: bool = False

    name = "spc.cusum"
    version = 1
    statistics = ("C+", "C-")

    def __post_init__(self) -> None:
        phase_one.checked_rows(self.phase_one_rows)

    @property
    def state(self) -> Mapping[str, Column]:
        """Return the sums of Phase I, and C+ and C−."""
        return {**phase_one.COLUMNS, "high": Column("f8"), "low": Column("f8")}

    @property
    def rules(self) -> tuple[Rule, ...]:
        """Return one rule per side."""
        return (
            Rule("cusum_high", f"C+ is above {self.h:g} sigma: the mean has moved up", "critical", 0),
            Rule("cusum_low", f"C- is above {self.h:g} sigma: the mean has moved down", "critical", 1),
        )

    def update(self, state: Mapping[str, np.ndarray], batch: SeriesBatch) -> Verdicts:
        """Add each row to the sums of its series."""
        n = len(batch)
        out, signal, valid = np.full((4, n, 2), np.nan), np.zeros(n, np.uint32), np.zeros(n, np.bool_)
        _loop(
            frozen(batch.row, np.int32), frozen(batch.value, np.float64), frozen(batch.params, PARAMS),
            self.phase_one_rows, phase_one.moving_range_d2(None), float(self.k), float(self.h), self.restart,
            tuple(state[name] for name in self.state), out, signal, valid,
        )  # fmt: skip
        return Verdicts(out[0], out[1], out[2], out[3], signal, valid)
