"""HDDM: the error rate of a model has risen, by Hoeffding's and McDiarmid's bounds, which need no distribution.

Theory of operation
-------------------
Both keep a cut point for each side: where the upper confidence bound of the mean so far was lowest (for a rise; highest
lower bound for a fall). A signal when what came after differs from what was before by more than the bound allows.

- A: plain averages. Mean of all rows against that of the rows up to the cut. With n rows up to the cut of N in all,
  ε = √(m ln(2/α)/2), m = 1/n − 1/N.
- W: exponentially weighted averages with weight λ for the newest. Average after the cut against that before;
  ε = √((B1 + B2) ln(1/α)/2), where B is the sum of the squared weights: 1 at the first value, then λ² + (1 − λ)² B.

Bounds hold for values between 0 and 1.

Reference: Frías-Blanco, del Campo-Ávila, Ramos-Jiménez, Morales-Bueno, Ortiz-Díaz and Caballero-Mota, IEEE Transactions on
Knowledge and Data Engineering 27 (2015) 810–823, corollary 5 and algorithms 1 to 3.
"""

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
def _verdict(rise: float, fall: float, drift: tuple[float, float], warning: tuple[float, float], both: bool) -> int:
    """Return the bits of one row; the bounds are (of the rise, of the fall)."""
    fired = int(rise >= drift[0]) | int(both and fall >= drift[1]) << 1
    if fired == 0 and (rise >= warning[0] or (both and fall >= warning[1])):
        fired = 4
    return fired


@kernel
def _average_loop(
    row: np.ndarray,
    value: np.ndarray,
    params: np.ndarray,
    ends: np.ndarray,
    drift: float,
    warning: float,
    both: bool,
    counted: np.ndarray,
    epochs: np.ndarray,
    out: np.ndarray,
    signal: np.ndarray,
    valid: np.ndarray,
) -> None:
    log_cut, log_drift, log_warning = math.log(1.0 / drift), math.log(2.0 / drift), math.log(2.0 / warning)
    for i in range(row.shape[0]):
        s, x = row[i], value[i]
        if not 0.0 <= x <= 1.0:
            continue
        now = epoch(params, s, ends)
        if epochs[s] != now:
            epochs[s] = now
            counted[s] = 0.0
        total = counted[s, 0]  # rows, sum
        total[0] += 1.0
        total[1] += x
        mean = total[1] / total[0]
        bound = math.sqrt(0.5 / total[0] * log_cut)
        away = (0.0, 0.0)
        slack = (0.0, 0.0)
        for side in range(2):
            sign = 1.0 - 2.0 * side
            cut = counted[s, 1 + side]
            if cut[0] == 0.0 or sign * cut[1] / cut[0] + math.sqrt(0.5 / cut[0] * log_cut) >= sign * mean + bound:
                cut[:] = total
            inverse = 1.0 / cut[0] - 1.0 / total[0]
            difference = sign * (mean - cut[1] / cut[0]) if inverse > 0.0 else -1.0  # -1: nothing after the cut
            if side == 0:
                away, slack = (difference, 0.0), (inverse, 0.0)
            else:
                away, slack = (away[0], difference), (slack[0], inverse)
        limits = (math.sqrt(0.5 * slack[0] * log_drift), math.sqrt(0.5 * slack[1] * log_drift))
        warnings = (math.sqrt(0.5 * slack[0] * log_warning), math.sqrt(0.5 * slack[1] * log_warning))
        for side in range(2):
            out[0, i, side] = max(0.0, away[side])
            out[1, i, side] = 0.0
            out[3, i, side] = limits[side]
        fired = _verdict(away[0], away[1], limits, warnings, both)
        if fired & 3:
            counted[s] = 0.0
        signal[i] = fired
        valid[i] = True


@kernel
def _weigh(average: np.ndarray, x: float, weight: float) -> None:
    """Add a value to (rows, weighted average, sum of squared weights)."""
    if average[0] == 0.0:
        average[1], average[2] = x, 1.0
    else:
        average[1] += weight * (x - average[1])
        average[2] = weight * weight + (1.0 - weight) * (1.0 - weight) * average[2]
    average[0] += 1.0


@kernel
def _weighted_loop(
    row: np.ndarray,
    value: np.ndarray,
    params: np.ndarray,
    ends: np.ndarray,
    drift: float,
    warning: float,
    both: bool,
    weight: float,
    averages: np.ndarray,
    epochs: np.ndarray,
    out: np.ndarray,
    signal: np.ndarray,
    valid: np.ndarray,
) -> None:
    log_drift, log_warning = math.log(1.0 / drift), math.log(1.0 / warning)
    for i in range(row.shape[0]):
        s, x = row[i], value[i]
        if not 0.0 <= x <= 1.0:
            continue
        now = epoch(params, s, ends)
        if epochs[s] != now:
            epochs[s] = now
            averages[s] = 0.0
        total = averages[s, 0]
        _weigh(total, x, weight)
        bound = math.sqrt(0.5 * total[2] * log_drift)
        for side in range(2):
            sign = 1.0 - 2.0 * side
            before, after = averages[s, 1 + 2 * side], averages[s, 2 + 2 * side]
            # the cut's own bound is kept in its sum of squared weights
            if before[0] == 0.0 or sign * total[1] + bound < sign * before[1] + math.sqrt(0.5 * before[2] * log_drift):
                before[:] = total
                after[:] = 0.0
            else:
                _weigh(after, x, weight)
        rise, fall = averages[s, 2, 1] - averages[s, 1, 1], averages[s, 3, 1] - averages[s, 4, 1]
        up, down = averages[s, 1, 2] + averages[s, 2, 2], averages[s, 3, 2] + averages[s, 4, 2]
        if averages[s, 2, 0] == 0.0:  # nothing after the cut
            rise = -1.0
        if averages[s, 4, 0] == 0.0:
            fall = -1.0
        limits = (math.sqrt(0.5 * up * log_drift), math.sqrt(0.5 * down * log_drift))
        warnings = (math.sqrt(0.5 * up * log_warning), math.sqrt(0.5 * down * log_warning))
        out[0, i, 0], out[0, i, 1] = max(0.0, rise), max(0.0, fall)
        out[1, i] = 0.0
        out[3, i, 0], out[3, i, 1] = limits
        fired = _verdict(rise, fall, limits, warnings, both)
        if fired & 3:
            averages[s] = 0.0
        signal[i] = fired
        valid[i] = True


def _checked(drift_alpha: float, warning_alpha: float) -> None:
    if not 0.0 < drift_alpha <= warning_alpha < 1.0:
        raise ValueError(f"drift_alpha = {drift_alpha}, warning_alpha = {warning_alpha}: 0 < drift ≤ warning < 1")


_RULES = (
    Rule("hddm_rise", "the error rate has risen beyond its bound", "critical", 0),
    Rule("hddm_fall", "the error rate has fallen beyond its bound", "warning", 1),
    Rule("hddm_warning", "the error rate is beyond its warning bound"),
)


@dataclass(frozen=True)
class HddmA:
    """HDDM_A on the outcomes of a model, 1 = wrong, 0 = right: averages, for abrupt changes. See `models.hddm`.

    Statistics "rise" and "fall": how far the mean of all rows is above (below) that up to the cut; centre 0, upper limit ε at
    `drift_alpha`, no lower one (NaN). A warning is one beyond ε at `warning_alpha`. A fall signals and warns only with
    `two_sided`.

    *After a signal* (not after a warning) all of it starts anew on the next row.

    - Missing, excluded, infinite, or not between 0 and 1: not judged, state untouched.
    - A change of the limits or a reset: everything starts anew.

    >>> from models import judge
    >>> v = judge(HddmA(), [0, 0, 0, 0, 1] * 20 + [0, 1] * 60)
    >>> np.flatnonzero(v.signal == 4)[0], np.flatnonzero(v.signal == 1)
    (np.int64(141), array([161]))
    """

    drift_alpha: float = 0.001
    warning_alpha: float = 0.005
    two_sided: bool = False

    name = "drift.hddm_a"
    version = 1
    statistics = ("rise", "fall")
    rules = _RULES

    def __post_init__(self) -> None:
        _checked(self.drift_alpha, self.warning_alpha)

    @property
    def state(self) -> Mapping[str, Column]:
        """Return rows and sum: of all, up to the cut for a rise, up to the cut for a fall."""
        return {"counted": Column("f8", (3, 2)), "epoch": Column("i8", (), -1)}

    def update(self, state: Mapping[str, np.ndarray], batch: SeriesBatch) -> Verdicts:
        """Count each row."""
        n = len(batch)
        out, signal, valid = np.full((4, n, 2), np.nan), np.zeros(n, np.uint32), np.zeros(n, np.bool_)
        _average_loop(
            frozen(batch.row, np.int32), frozen(batch.value, np.float64), frozen(batch.params, PARAMS), ENDS,
            float(self.drift_alpha), float(self.warning_alpha), self.two_sided,
            state["counted"], state["epoch"], out, signal, valid,
        )  # fmt: skip
        return Verdicts(out[0], out[1], out[2], out[3], signal, valid)


@dataclass(frozen=True)
class HddmW:
    """HDDM_W on the outcomes of a model, 1 = wrong, 0 = right: weighted averages, for gradual changes. See `models.hddm`.

    Statistics "rise" and "fall": how far the weighted average after the cut is above (below) that before; centre 0, upper limit
    ε at `drift_alpha`, no lower one (NaN). A warning is one beyond ε at `warning_alpha`. A fall signals and warns
    only with `two_sided`. `weight` is λ, the newest value's.

    *After a signal* (not after a warning) all of it starts anew on the next row.

    - Missing, excluded, infinite, or not between 0 and 1: not judged, state untouched.
    - A change of the limits or a reset: everything starts anew.

    >>> from models import judge
    >>> v = judge(HddmW(), [0, 0, 0, 0, 1] * 20 + [0, 1, 1] * 40)
    >>> np.flatnonzero(v.signal == 4)[0], np.flatnonzero(v.signal == 1)
    (np.int64(119), array([126]))
    """

    drift_alpha: float = 0.001
    warning_alpha: float = 0.005
    weight: float = 0.05
    two_sided: bool = False

    name = "drift.hddm_w"
    version = 1
    statistics = ("rise", "fall")
    rules = _RULES

    def __post_init__(self) -> None:
        _checked(self.drift_alpha, self.warning_alpha)
        if not 0.0 < self.weight < 1.0:
            raise ValueError(f"weight = {self.weight}: between 0 and 1")

    @property
    def state(self) -> Mapping[str, Column]:
        """Return rows, weighted average and sum of squared weights: of all; before and after the cut of each side."""
        return {"averages": Column("f8", (5, 3)), "epoch": Column("i8", (), -1)}

    def update(self, state: Mapping[str, np.ndarray], batch: SeriesBatch) -> Verdicts:
        """Weigh each row."""
        n = len(batch)
        out, signal, valid = np.full((4, n, 2), np.nan), np.zeros(n, np.uint32), np.zeros(n, np.bool_)
        _weighted_loop(
            frozen(batch.row, np.int32), frozen(batch.value, np.float64), frozen(batch.params, PARAMS), ENDS,
            float(self.drift_alpha), float(self.warning_alpha), self.two_sided, float(self.weight),
            state["averages"], state["epoch"], out, signal, valid,
        )  # fmt: skip
        return Verdicts(out[0], out[1], out[2], out[3], signal, valid)
