"""DDM: the error rate of a model has left the lowest that it had."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from models.detector import PARAMS, Column, Rule, SeriesBatch, Verdicts
from models.drift import ENDS
from models.kernel import frozen, kernel
from models.phase_one import epoch


@kernel
def _loop(
    row: np.ndarray,
    value: np.ndarray,
    params: np.ndarray,
    ends: np.ndarray,
    rows_min: int,
    warning: float,
    drift: float,
    columns: tuple[np.ndarray, ...],
    out: np.ndarray,
    signal: np.ndarray,
    valid: np.ndarray,
) -> None:
    rows, errors, lowest_p, lowest_s, epochs = columns
    for i in range(row.shape[0]):
        s, x = row[i], value[i]
        if not 0.0 <= x <= 1.0:
            continue
        now = epoch(params, s, ends)
        if epochs[s] != now:
            epochs[s] = now
            rows[s], errors[s], lowest_p[s], lowest_s[s] = 0, 0.0, np.inf, np.inf
        rows[s] += 1
        errors[s] += x
        if rows[s] <= rows_min:
            continue
        p = errors[s] / rows[s]
        deviation = math.sqrt(p * (1.0 - p) / rows[s])
        if p + deviation <= lowest_p[s] + lowest_s[s]:
            lowest_p[s], lowest_s[s] = p, deviation
        out[0, i, 0] = p + deviation
        out[1, i, 0] = lowest_p[s]
        out[3, i, 0] = lowest_p[s] + drift * lowest_s[s]
        if p + deviation > out[3, i, 0]:
            signal[i] = 1
            rows[s], errors[s], lowest_p[s], lowest_s[s] = 0, 0.0, np.inf, np.inf
        elif p + deviation > lowest_p[s] + warning * lowest_s[s]:
            signal[i] = 2
        valid[i] = True


@dataclass(frozen=True)
class Ddm:
    """DDM, the drift detection method, on the outcomes of a model: 1 = wrong, 0 = right.

    Statistic "p+s": the error rate p since the start, and its standard deviation s = √(p(1 − p)/n). Where p + s is lowest it
    leaves p_min and s_min. Centre p_min, upper limit p_min + `drift` s_min, no lower one (NaN): only a model that becomes
    worse is found. A warning from p_min + `warning` s_min on. Judged after `rows_min` rows.

    *After a signal* (not after a warning) all of it starts anew on the next row.

    - Missing, excluded, infinite, or not between 0 and 1: not judged, state untouched.
    - No error at all in the first rows: p_min and s_min are 0, and the first error is a signal.
    - A change of the limits or a reset: everything starts anew.

    The limits are those of a single test, and the rate is tested at every row. At an error rate of 10 % that gives 0.4 false
    alarms in 10,000 rows; a rise to 20 % is found after 380 rows, to 30 % after 130 (`tests/bench/drift.py`).

    >>> from models import judge
    >>> v = judge(Ddm(), [0, 0, 0, 0, 1] * 20 + [0, 1] * 60)
    >>> np.flatnonzero(v.signal == 2)[0], np.flatnonzero(v.signal == 1)
    (np.int64(111), array([131]))

    Reference: Gama, Medas, Castillo and Rodrigues, Learning with drift detection, SBIA 2004, LNCS 3171, 286–295, §3.
    """

    rows_min: int = 30
    warning: float = 2.0
    drift: float = 3.0

    name = "drift.ddm"
    version = 1
    statistics = ("p+s",)

    def __post_init__(self) -> None:
        if not self.rows_min >= 1:
            raise ValueError(f"rows_min = {self.rows_min}: at least 1")
        if not 0.0 < self.warning <= self.drift < math.inf:
            raise ValueError(f"warning = {self.warning}, drift = {self.drift}: 0 < warning ≤ drift")

    @property
    def state(self) -> Mapping[str, Column]:
        """Return rows and errors since the start, and the lowest rate with its standard deviation."""
        return {
            "rows": Column("i8"),
            "errors": Column("f8"),
            "lowest_p": Column("f8", (), math.inf),
            "lowest_s": Column("f8", (), math.inf),
            "epoch": Column("i8", (), -1),
        }

    @property
    def rules(self) -> tuple[Rule, ...]:
        """Return the signal and the warning."""
        return (
            Rule("ddm_drift", f"the error rate is {self.drift:g} standard deviations above its lowest", "critical"),
            Rule("ddm_warning", f"the error rate is {self.warning:g} standard deviations above its lowest"),
        )

    def update(self, state: Mapping[str, np.ndarray], batch: SeriesBatch) -> Verdicts:
        """Count each row."""
        n = len(batch)
        out, signal, valid = np.full((4, n, 1), np.nan), np.zeros(n, np.uint32), np.zeros(n, np.bool_)
        _loop(
            frozen(batch.row, np.int32), frozen(batch.value, np.float64), frozen(batch.params, PARAMS), ENDS,
            int(self.rows_min), float(self.warning), float(self.drift),
            tuple(state[name] for name in self.state), out, signal, valid,
        )  # fmt: skip
        return Verdicts(out[0], out[1], out[2], out[3], signal, valid)
