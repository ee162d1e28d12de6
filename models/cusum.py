"""Tabular CUSUM: small sustained shifts of the mean."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from models import phase_one
from models.detector import PARAMS, Column, Rule, SeriesBatch, Verdicts
from models.kernel import frozen, kernel
from models.phase_one import epoch, is_given, learn, reference

SIDES = ("both", "high", "low")


@kernel
def _loop(
    row: np.ndarray,
    value: np.ndarray,
    excluded: np.ndarray,
    params: np.ndarray,
    rows: int,
    d2_2: float,
    ends: np.ndarray,
    k: float,
    h: float,
    headstart: float,
    restart: bool,
    watched: int,
    at: np.ndarray,
    columns: tuple[np.ndarray, ...],
    out: np.ndarray,
    signal: np.ndarray,
    valid: np.ndarray,
) -> None:
    seen, mean, ranges, range_sum, last, epochs, high, low, high_rows, low_rows = columns
    given_mu, given_sigma = params["mu"], params["sigma"]
    for i in range(row.shape[0]):
        s, x = row[i], value[i]
        now = epoch(params, s, ends)
        if (excluded[i] and ends[2] != 0) or (is_given(x) and epochs[s] != now):
            epochs[s] = now
            high[s] = low[s] = last[s] = np.nan
        if excluded[i] or not is_given(x):
            continue
        known, mu, sigma = reference(given_mu[s], given_sigma[s], rows, d2_2, seen[s], mean[s], ranges[s], range_sum[s])
        if not known:
            learn(s, x, abs(x - last[s]), seen, mean, ranges, range_sum)
            last[s] = x
            continue
        limit = h * sigma
        if np.isnan(high[s]):
            high[s] = low[s] = headstart * limit
            high_rows[s] = low_rows[s] = 0
        if sigma <= 0.0:  # no sums then: only this row counts
            high[s] = low[s] = 0.0
        high[s] = max(0.0, high[s] + (x - (mu + k * sigma)))
        low[s] = max(0.0, low[s] + ((mu - k * sigma) - x))
        if at[0] >= 0:
            out[0, i, at[0]] = high[s]
            out[1, i, at[0]] = 0.0
            out[3, i, at[0]] = limit
        if at[1] >= 0:
            out[0, i, at[1]] = low[s]
            out[1, i, at[1]] = 0.0
            out[3, i, at[1]] = limit
        if at[2] >= 0:
            high_rows[s] = (high_rows[s] + 1) * int(high[s] > 0.0)
            out[0, i, at[2]] = high_rows[s]
        if at[3] >= 0:
            low_rows[s] = (low_rows[s] + 1) * int(low[s] > 0.0)
            out[0, i, at[3]] = low_rows[s]
        fired = (int(high[s] > limit) | int(low[s] > limit) << 1) & watched
        if restart and fired != 0:
            high[s] = low[s] = np.nan
        signal[i] = fired >> 1 if watched == 2 else fired
        valid[i] = True


def shifted_mean(chart: Cusum, verdicts: Verdicts, mu: float, sigma: float) -> np.ndarray:
    """Return (n,) estimates of the mean that the process has moved to, NaN where neither sum is above its limit.

    mu + k sigma + C+/N+ where C+ is above h sigma, mu − k sigma − C−/N− where C− is; where both are, the larger sum counts.
    N− and N+ rows before the signal is also where the shift began. `chart` has side "both" and its counters; else
    ValueError. A headstart is not taken out of the sums: the estimate is then too far off, at most by headstart h sigma/N.

    >>> from models import judge
    >>> chart = Cusum(counters=True)
    >>> v = judge(chart, [10.9, 9.33, 12.29, 11.5, 10.6, 11.08, 10.38, 11.62, 11.31], mu=10.0, sigma=1.0)
    >>> v.statistic[8], shifted_mean(chart, v, 10.0, 1.0)[8].round(2)  # Montgomery, table 9.2, samples 21 to 29
    (array([5.28, 0.  , 7.  , 0.  ]), np.float64(11.25))

    Reference: Montgomery, Introduction to SQC, 7th ed., eq. 9.5.
    """
    if not chart.counters or chart.side != "both":
        raise ValueError(
            f"counters = {chart.counters}, side = {chart.side!r}: the estimate needs both sums and counters"
        )
    high, low, high_rows, low_rows = verdicts.statistic.T
    with np.errstate(invalid="ignore", divide="ignore"):
        up = mu + chart.k * sigma + high / high_rows
        down = mu - chart.k * sigma - low / low_rows
        beyond = np.maximum(high, low) > chart.h * sigma
    return np.where(beyond, np.where(high >= low, up, down), np.nan)


@dataclass(frozen=True)
class Cusum:
    """Tabular CUSUM: finds small sustained shifts of the mean. k and h are in sigmas.

    Statistics "C+" and "C-", both ≥ 0 and in the unit of the value: C+ = max(0, C+ + x − (mu + k sigma)), C− likewise
    downward; a signal while one is above h sigma. There is no lower limit (NaN). mu and sigma are given, or learned
    from the first `phase_one_rows` rows (see `models.phase_one`), which have no statistic and are not valid.

    `side` "high" or "low" is the one-sided chart: that sum, its rule and nothing else. With `counters` the chart shows
    N+ and N− too (without limits): for how many judged rows in a row C+ or C− has been above 0. At a signal they say when
    the shift began, and `shifted_mean` where the mean is now.

    The sums go on after a signal, as in the books' tables; with `restart` both start again on the next row, so that a
    shift which is over does not signal for as long as it lasted.

    `headstart` is the part of h that both sums start with: none, or 0.5 as Lucas and Crosier recommend (fast initial
    response). It is used wherever sums start: with the first judged row, after what `window_ends` names, and after a
    `restart`, because a process that was just adjusted may still be off.

    - Missing or infinite value, excluded row: not judged, no part of any sum.
    - Sigma 0: nothing is summed; C+ and C− are the row's own distance from mu, both limits are 0; equal is in control,
      anything else is beyond.
    - `window_ends` names what starts the sums anew: "limits" (another version of them), "reset", "exclusion" (of a past
      point, or an excluded row).

    >>> from models import judge
    >>> montgomery_9_2 = [9.45, 7.99, 9.29, 11.66, 12.16, 10.18, 8.04, 11.46, 9.2, 10.34, 9.03, 11.47, 10.51, 9.4, 10.08,
    ...     9.37, 10.62, 10.31, 8.52, 10.84, 10.9, 9.33, 12.29, 11.5, 10.6, 11.08, 10.38, 11.62, 11.31, 10.52]
    >>> v = judge(Cusum(k=0.5, h=5.0), montgomery_9_2, mu=10.0, sigma=1.0)  # the mean moves to 11 after sample 20
    >>> np.flatnonzero(v.signal) + 1
    array([29, 30])
    >>> np.flatnonzero(judge(Cusum(headstart=0.5), montgomery_9_2[20:], mu=10.0, sigma=1.0).signal) + 21
    array([26, 27, 28, 29, 30])

    Reference: Montgomery, Introduction to SQC, 7th ed., §9.1.2, eq. 9.2–9.3, and §9.1.7; ISO 7870-4; headstart: Lucas and
    Crosier, Technometrics 24 (1982) 199–205.
    """

    k: float = 0.5
    h: float = 5.0
    phase_one_rows: int = 50
    restart: bool = False
    side: str = "both"  # of SIDES
    headstart: float | None = None  # a part of h; None: 0
    counters: bool = False
    window_ends: tuple[str, ...] = ("limits", "reset")

    name = "spc.cusum"
    version = 2

    def __post_init__(self) -> None:
        phase_one.checked_rows(self.phase_one_rows)
        phase_one.window_ends(self.window_ends)
        if self.side not in SIDES:
            raise ValueError(f"side = {self.side!r}: of {SIDES}")
        if not 0.0 <= self.k < np.inf:
            raise ValueError(f"k = {self.k}: at least 0 sigma")
        if not 0.0 < self.h < np.inf:
            raise ValueError(f"h = {self.h}: above 0 sigma")
        if self.headstart is not None and not 0.0 <= self.headstart < 1.0:
            raise ValueError(f"headstart = {self.headstart}: a part of h, at least 0 and below 1")

    @property
    def state(self) -> Mapping[str, Column]:
        """Return the sums of Phase I, C+ and C− (NaN: they start with the next row), and N+ and N− if shown."""
        sums = {"high": Column("f8", (), np.nan), "low": Column("f8", (), np.nan)}
        return {**phase_one.COLUMNS, **sums, "high_rows": Column("i8"), "low_rows": Column("i8")}

    @property
    def statistics(self) -> tuple[str, ...]:
        """Return the sums that the chart shows, and their counters."""
        signs = {"both": ("+", "-"), "high": ("+",), "low": ("-",)}[self.side]
        letters = ("C", "N") if self.counters else ("C",)
        return tuple(letter + sign for letter in letters for sign in signs)

    @property
    def rules(self) -> tuple[Rule, ...]:
        """Return one rule per side."""
        above = f"is above {self.h:g} sigma: the mean has moved"
        low = Rule("cusum_low", f"C- {above} down", "critical", int(self.side == "both"))
        high = Rule("cusum_high", f"C+ {above} up", "critical", 0)
        return {"both": (high, low), "high": (high,), "low": (low,)}[self.side]

    def update(self, state: Mapping[str, np.ndarray], batch: SeriesBatch) -> Verdicts:
        """Add each row to the sums of its series."""
        n = len(batch)
        shape = (4, n, len(self.statistics))
        out, signal, valid = np.full(shape, np.nan), np.zeros(n, np.uint32), np.zeros(n, np.bool_)
        places = [self.statistics.index(name) if name in self.statistics else -1 for name in ("C+", "C-", "N+", "N-")]
        _loop(
            frozen(batch.row, np.int32), frozen(batch.value, np.float64), frozen(batch.column("excluded"), np.bool_),
            frozen(batch.params, PARAMS), self.phase_one_rows, phase_one.moving_range_d2(None),
            phase_one.window_ends(self.window_ends), float(self.k), float(self.h), float(self.headstart or 0.0), self.restart,
            {"high": 1, "low": 2, "both": 3}[self.side], np.array(places, np.int64),
            tuple(state[name] for name in self.state), out, signal, valid,
        )  # fmt: skip
        return Verdicts(out[0], out[1], out[2], out[3], signal, valid)
