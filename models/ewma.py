"""Exponentially weighted moving average: small shifts, with a memory that fades."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from models import phase_one
from models.detector import PARAMS, Column, Rule, SeriesBatch, Verdicts
from models.kernel import frozen, kernel
from models.phase_one import epoch, is_given, learn, reference


@kernel
def _loop(
    row: np.ndarray,
    value: np.ndarray,
    excluded: np.ndarray,
    params: np.ndarray,
    rows: int,
    d2_2: float,
    ends: np.ndarray,
    weight: float,
    width: float,
    steady: bool,
    columns: tuple[np.ndarray, ...],
    out: np.ndarray,
    signal: np.ndarray,
    valid: np.ndarray,
) -> None:
    seen, mean, ranges, range_sum, last, epochs, average, start = columns
    given_mu, given_sigma = params["mu"], params["sigma"]
    for i in range(row.shape[0]):
        s, x = row[i], value[i]
        now = epoch(params, s, ends)
        if (excluded[i] and ends[2] != 0) or (is_given(x) and epochs[s] != now):
            epochs[s] = now
            start[s] = 1.0
            last[s] = np.nan
        if excluded[i] or not is_given(x):
            continue
        known, mu, sigma = reference(given_mu[s], given_sigma[s], rows, d2_2, seen[s], mean[s], ranges[s], range_sum[s])
        if not known:
            learn(s, x, abs(x - last[s]), seen, mean, ranges, range_sum)
            last[s] = x
            continue
        if start[s] == 1.0:
            average[s] = mu
        average[s] = weight * x + (1.0 - weight) * average[s] if sigma > 0.0 else x
        start[s] *= (1.0 - weight) * (1.0 - weight)
        half = width * sigma * math.sqrt(weight / (2.0 - weight) * (1.0 if steady else 1.0 - start[s]))
        out[0, i, 0] = average[s]
        out[1, i, 0] = mu
        out[2, i, 0] = mu - half
        out[3, i, 0] = mu + half
        signal[i] = int(average[s] > mu + half) | int(average[s] < mu - half) << 1
        valid[i] = True


@dataclass(frozen=True)
class Ewma:
    """EWMA chart: z = weight x + (1 − weight) z, from z = mu, with limits at `width` standard deviations of z.

    Statistic "z" in the unit of the value. The limits widen from the first row to their final width,
    mu ± width sigma √(weight/(2 − weight) (1 − (1 − weight)^2t)); with `steady` they have it from the start. mu and
    sigma are given, or learned from the first `phase_one_rows` rows (see `models.phase_one`), which have no statistic
    and are not valid.

    - Missing or infinite value, excluded row: not judged, no part of the average.
    - Sigma 0: z is the value itself and the limits fall on the centre line; equal is in control, anything else is
      beyond.
    - `window_ends` names what starts the average again from mu, and the limits from their first width: "limits" (another
      version of them), "reset", "exclusion" (of a past point, or an excluded row).

    >>> from models import judge
    >>> v = judge(Ewma(weight=0.1, width=2.7), [9.45, 7.99, 9.29], mu=10.0, sigma=1.0)  # Montgomery, table 9.10
    >>> v.statistic[:, 0].round(5), v.ucl[:, 0].round(5)
    (array([9.945  , 9.7495 , 9.70355]), array([10.27   , 10.36325, 10.424  ]))

    Reference: Montgomery, Introduction to SQC, 7th ed., §9.2, eq. 9.22–9.26; ISO 7870-6.
    """

    weight: float = 0.2
    width: float = 2.962  # ARL 500 in control for weight 0.2 and steady limits
    phase_one_rows: int = 50
    steady: bool = False
    window_ends: tuple[str, ...] = ("limits", "reset")

    name = "spc.ewma"
    version = 2
    statistics = ("z",)

    def __post_init__(self) -> None:
        phase_one.checked_rows(self.phase_one_rows)
        phase_one.window_ends(self.window_ends)
        if not 0.0 < self.weight <= 1.0:
            raise ValueError(f"weight = {self.weight}: above 0 and at most 1")
        if not 0.0 < self.width < np.inf:
            raise ValueError(f"width = {self.width}: above 0")

    @property
    def state(self) -> Mapping[str, Column]:
        """Return the sums of Phase I, the average, and (1 − weight)^2t of the rows averaged."""
        return {**phase_one.COLUMNS, "average": Column("f8"), "start": Column("f8", (), 1.0)}

    @property
    def rules(self) -> tuple[Rule, ...]:
        """Return one rule per side."""
        return (
            Rule("ewma_high", "the moving average is above its upper limit", "critical"),
            Rule("ewma_low", "the moving average is below its lower limit", "critical"),
        )

    def update(self, state: Mapping[str, np.ndarray], batch: SeriesBatch) -> Verdicts:
        """Add each row to the average of its series."""
        n = len(batch)
        out, signal, valid = np.full((4, n, 1), np.nan), np.zeros(n, np.uint32), np.zeros(n, np.bool_)
        _loop(
            frozen(batch.row, np.int32), frozen(batch.value, np.float64), frozen(batch.column("excluded"), np.bool_),
            frozen(batch.params, PARAMS), self.phase_one_rows, phase_one.moving_range_d2(None),
            phase_one.window_ends(self.window_ends), float(self.weight), float(self.width), self.steady,
            tuple(state[name] for name in self.state), out, signal, valid,
        )  # fmt: skip
        return Verdicts(out[0], out[1], out[2], out[3], signal, valid)
