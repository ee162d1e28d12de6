"""The univariate set in one pass: I–MR with run rules, EWMA, CUSUM and running capability of single values.

Theory of operation
-------------------
Four detectors that each walk the same rows read the value, the limits and Phase I four times. Here one loop does it once; a
series' numbers stand side by side in one row of state, so that a row of the log costs a few cache lines, however many series
there are. x, MR, z, C+ and C− and their signals are bit for bit those of `IndividualsChart`, `Ewma` and `Cusum` with the same
parameters and the same `window_ends`; a test says so.

Cp and Cpk are those of `Capability(within="moving_range")`, to 1e-12: of all rows since the first, with a moving range from
every row to the next, also across a reset, a change of limits and an excluded row, which end only windows. The sums are of
differences from the first value and carry what rounding left, so that neither a large mean nor a long run costs digits.
`Capability` has the indices that this one leaves out, subgroups, and sums that can be merged.

What is rare (a first row, the end of a window, Phase I, an excluded row) stands in a branch of its own; what is left is one
straight line of arithmetic. The loop writes every number of every row, so that nothing is filled before, and asks for a
series' numbers a few rows before their turn. After some 90 rows EWMA's limits have their final width, to the last bit, and
there is no root any more.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from models import phase_one, run_rules
from models.detector import PARAMS, Column, Rule, SeriesBatch, Verdicts
from models.kernel import AHEAD, frozen, kernel, prefetch
from models.limits import range_constants
from models.phase_one import WINDOW_ENDS, epoch, is_given, reference
from models.run_rules import chosen, forget, nelson

_MR, _Z_HIGH, _Z_LOW, _C_HIGH, _C_LOW, _CPK = (run_rules.OWN + i for i in range(6))
# What stands where in a series' row of numbers. NaN in ROWS: no row yet.
_ROWS, _ORIGIN, _SUM, _SUM_REST, _MOVED, _MOVED_REST, _LSL, _USL = range(8)  # capability, of all rows
_LAST, _PREVIOUS = 8, 9  # the last value; the same, or NaN where a window ended after it
_AVERAGE, _START, _HIGH, _LOW = 10, 11, 12, 13
_SEEN, _MEAN, _RANGES, _RANGE_SUM = 14, 15, 16, 17  # Phase I, see `models.phase_one`
_EPOCH, _NUMBERS = 18, 19
_FADED = 1e-17  # 1 less this is 1: EWMA's limits have their final width


@kernel
def _two_sum(a: float, b: float) -> tuple[float, float]:
    """Return a + b rounded, and what the rounding left (Knuth, The Art of Computer Programming 2, §4.2.2)."""
    total = a + b
    part = total - a
    return total, (a - (total - part)) + (b - part)


@kernel
def _begin(numbers: np.ndarray, s: int, x: float) -> None:
    """Make the row of numbers of a series whose first value is x."""
    for place in range(_LSL):
        numbers[s, place] = 0.0
    numbers[s, _ORIGIN] = numbers[s, _LAST] = x
    numbers[s, _SEEN] = numbers[s, _MEAN] = numbers[s, _RANGES] = numbers[s, _RANGE_SUM] = 0.0


@kernel
def _end_window(numbers: np.ndarray, runs: np.ndarray, s: int) -> None:
    """Let the next row be the first of the run rules' windows, of EWMA and of CUSUM."""
    forget(runs, s)
    numbers[s, _PREVIOUS] = np.nan
    numbers[s, _START] = 1.0
    numbers[s, _HIGH] = numbers[s, _LOW] = 0.0


@kernel
def _blank(out: np.ndarray, i: np.uint64) -> None:
    """Let a row that is not a value show nothing."""
    for which in range(4):
        for place in range(7):
            out[which, i, place] = np.nan


@kernel
def _learn(numbers: np.ndarray, s: int, x: float, moving_range: float) -> None:
    """Add a row to Phase I, as `models.phase_one.learn` does."""
    numbers[s, _SEEN] += 1.0
    numbers[s, _MEAN] += (x - numbers[s, _MEAN]) / numbers[s, _SEEN]
    if moving_range >= 0.0:
        numbers[s, _RANGES] += 1.0
        numbers[s, _RANGE_SUM] += moving_range


@kernel
def _loop(
    row: np.ndarray,
    value: np.ndarray,
    excluded: np.ndarray,
    row_lsl: np.ndarray,
    row_usl: np.ndarray,
    params: np.ndarray,
    rows: int,
    d2_2: float,
    d3_2: float,
    any_side: bool,
    weight: float,
    width: float,
    k: float,
    h: float,
    min_rows: int,
    cpk_min: float,
    wanted: np.ndarray,
    ends: np.ndarray,
    numbers: np.ndarray,
    runs: np.ndarray,
    out: np.ndarray,
    signal: np.ndarray,
    valid: np.ndarray,
) -> None:
    share = weight / (2.0 - weight)
    steady = math.sqrt(share)
    fading = (1.0 - weight) * (1.0 - weight)
    last_row = row.shape[0] - 1
    for number in range(row.shape[0]):
        i = np.uint64(number)  # unsigned, like `row`: numba then leaves out the test for an index from the end
        s, x = row[i], value[i]
        ahead = row[np.uint64(min(number + AHEAD, last_row))]
        prefetch(numbers, ahead, 0)
        prefetch(numbers, ahead, 64)
        prefetch(numbers, ahead, 128)
        prefetch(runs, ahead, 0)
        prefetch(params, ahead, 0)
        if excluded[i] or not is_given(x):
            _blank(out, i)
            if excluded[i] and ends[2] != 0:
                _end_window(numbers, runs, s)
            continue
        if not numbers[s, _ROWS] > 0.0:
            _begin(numbers, s, x)
        now = float(epoch(params, s, ends))
        if numbers[s, _EPOCH] != now:
            numbers[s, _EPOCH] = now
            _end_window(numbers, runs, s)
        previous = numbers[s, _PREVIOUS]
        moving_range = abs(x - previous)
        moved = abs(x - numbers[s, _LAST])
        numbers[s, _LAST] = numbers[s, _PREVIOUS] = x
        out[0, i, 0], out[0, i, 1] = x, moving_range

        if is_given(row_lsl[i]):
            numbers[s, _LSL] = row_lsl[i]
        if is_given(row_usl[i]):
            numbers[s, _USL] = row_usl[i]
        lsl, usl = params["lsl"][s], params["usl"][s]
        lsl = lsl if is_given(lsl) else numbers[s, _LSL]
        usl = usl if is_given(usl) else numbers[s, _USL]
        n = numbers[s, _ROWS] + 1.0
        numbers[s, _ROWS] = n
        total, rest = _two_sum(numbers[s, _SUM], x - numbers[s, _ORIGIN])
        rest += numbers[s, _SUM_REST]
        numbers[s, _SUM], numbers[s, _SUM_REST] = total, rest
        mean = numbers[s, _ORIGIN] + (total + rest) / n
        total, rest = _two_sum(numbers[s, _MOVED], moved)
        rest += numbers[s, _MOVED_REST]
        numbers[s, _MOVED], numbers[s, _MOVED_REST] = total, rest
        spread = 3.0 * (total + rest)
        scale = (n - 1.0) * d2_2 / spread if spread > 0.0 else np.nan  # one over 3 sigma
        upper, lower = (usl - mean) * scale, (mean - lsl) * scale
        cpk = lower if lower < upper or np.isnan(usl) else upper
        out[0, i, 5], out[0, i, 6] = (usl - lsl) * scale * 0.5, cpk

        known, mu, sigma = reference(
            params["mu"][s], params["sigma"][s], rows, d2_2,
            numbers[s, _SEEN], numbers[s, _MEAN], numbers[s, _RANGES], numbers[s, _RANGE_SUM],
        )  # fmt: skip
        if not known:
            out[0, i, 2] = out[0, i, 3] = out[0, i, 4] = np.nan
            for place in range(7):
                out[1, i, place] = out[2, i, place] = out[3, i, place] = np.nan
            _learn(numbers, s, x, moving_range)
            continue
        range_limit = (d2_2 + 3.0 * d3_2) * sigma
        out[1, i, 0], out[2, i, 0], out[3, i, 0] = mu, mu - 3.0 * sigma, mu + 3.0 * sigma
        out[1, i, 1], out[2, i, 1], out[3, i, 1] = d2_2 * sigma, 0.0, range_limit
        fired = nelson(runs, s, x, previous, mu, sigma, any_side) | int(moving_range > range_limit) << _MR

        z = mu if numbers[s, _START] == 1.0 else numbers[s, _AVERAGE]
        z = weight * x + (1.0 - weight) * z if sigma > 0.0 else x
        numbers[s, _AVERAGE] = z
        root = steady
        if numbers[s, _START] > _FADED:
            numbers[s, _START] *= fading
            root = math.sqrt(share * (1.0 - numbers[s, _START]))
        half = width * sigma * root
        out[0, i, 2], out[1, i, 2], out[2, i, 2], out[3, i, 2] = z, mu, mu - half, mu + half
        fired |= int(z > mu + half) << _Z_HIGH | int(z < mu - half) << _Z_LOW

        limit = h * sigma
        summed = sigma > 0.0  # else only this row counts
        high = max(0.0, (numbers[s, _HIGH] if summed else 0.0) + (x - (mu + k * sigma)))
        low = max(0.0, (numbers[s, _LOW] if summed else 0.0) + ((mu - k * sigma) - x))
        numbers[s, _HIGH], numbers[s, _LOW] = high, low
        out[0, i, 3], out[1, i, 3], out[3, i, 3] = high, 0.0, limit
        out[0, i, 4], out[1, i, 4], out[3, i, 4] = low, 0.0, limit
        fired |= int(high > limit) << _C_HIGH | int(low > limit) << _C_LOW

        out[2, i, 3] = out[2, i, 4] = np.nan
        for line in range(1, 4):
            out[line, i, 5] = out[line, i, 6] = np.nan
        if n >= min_rows and not (np.isnan(lsl) and np.isnan(usl)):
            out[2, i, 6] = cpk_min
            outside = spread == 0.0 and (mean < lsl or mean > usl)
            fired |= int(cpk < cpk_min or outside) << _CPK
        signal[i] = chosen(fired, wanted)
        valid[i] = True


@dataclass(frozen=True)
class UnivariateSet:
    """I–MR with run rules, EWMA (limits that widen), CUSUM and running Cp, Cpk in one pass: the fast way to judge single values.

    Statistics "x", "MR", "z", "C+", "C-" in the unit of the value, and "Cp", "Cpk" of all rows so far (sigma within, from
    moving ranges). One Phase I for all of it: mu and sigma are given, or learned from the first `phase_one_rows` rows. Rules:
    the chosen run rules on x, then MR, z, C+, C− beyond their limits, and Cpk below `cpk_min` from row `min_rows` on.

    - Missing or infinite value, excluded row, sigma 0: as in the single charts.
    - `window_ends`: what ends the run rules' windows and starts EWMA and CUSUM anew, one choice for all of them;
      capability goes on, and its moving ranges span what ends a window.
    - Specification limits: those given, else the latest that rows carried; none: no Cp, no Cpk, no signal from it. One
      limit alone: Cpk is that of its side, and there is no Cp.
    - A series that never changed has sigma within 0: no Cp, no Cpk; it signals if its value is outside the limits.
    - Given mu or sigma taken back after rows were judged: Phase I then takes its moving ranges as I–MR does, from the row
      before, and EWMA and CUSUM share it.

    >>> from models import judge
    >>> v = judge(UnivariateSet(k=0.5, h=5.0), [10.0, 11.0, 9.0, 14.0], mu=10.0, sigma=1.0, lsl=4.0, usl=16.0)
    >>> v.statistic[3].round(3), v.signal[3]
    (array([14.   ,  5.   , 10.768,  3.5  ,  0.   ,  0.846,  0.705]), np.uint32(257))

    Reference: those of `IndividualsChart`, `Ewma`, `Cusum` and `Capability`.
    """

    phase_one_rows: int = 50
    nelson: tuple[int, ...] = run_rules.ALL
    any_side: bool = False  # Nelson 8 on any side
    weight: float = 0.2
    width: float = 2.962
    k: float = 0.5
    h: float = 5.0
    min_rows: int = 30
    cpk_min: float = 1.0
    d2_digits: int | None = None  # None: exact
    window_ends: tuple[str, ...] = WINDOW_ENDS

    name = "spc.univariate"
    version = 1
    statistics = ("x", "MR", "z", "C+", "C-", "Cp", "Cpk")

    def __post_init__(self) -> None:
        phase_one.checked_rows(self.phase_one_rows)
        phase_one.window_ends(self.window_ends)
        run_rules.checked(self.nelson)
        if not 0.0 < self.weight <= 1.0:
            raise ValueError(f"weight = {self.weight}: above 0 and at most 1")
        for name, number in (("width", self.width), ("h", self.h)):
            if not 0.0 < number < np.inf:
                raise ValueError(f"{name} = {number}: above 0 sigma")
        if not 0.0 <= self.k < np.inf:
            raise ValueError(f"k = {self.k}: at least 0 sigma")
        if self.min_rows < 2:
            raise ValueError(f"min_rows = {self.min_rows}: a sigma needs at least 2")
        if np.isnan(self.cpk_min):
            raise ValueError(f"cpk_min = {self.cpk_min}: a number")

    @property
    def state(self) -> Mapping[str, Column]:
        """Return the numbers of a series side by side, and the windows of the run rules."""
        return {"numbers": Column("f8", (_NUMBERS,), np.nan), "runs": run_rules.RUNS}

    @property
    def rules(self) -> tuple[Rule, ...]:
        """Return the chosen run rules, then those of the other statistics."""
        return (
            *run_rules.named(self.nelson),
            Rule("mr_beyond_limit", "the moving range is above its upper limit", "warning", 1),
            Rule("ewma_high", "the moving average is above its upper limit", "critical", 2),
            Rule("ewma_low", "the moving average is below its lower limit", "critical", 2),
            Rule("cusum_high", f"C+ is above {self.h:g} sigma: the mean has moved up", "critical", 3),
            Rule("cusum_low", f"C- is above {self.h:g} sigma: the mean has moved down", "critical", 4),
            Rule("cpk_below_minimum", f"Cpk is below {self.cpk_min:g}", "warning", 6),
        )

    def update(self, state: Mapping[str, np.ndarray], batch: SeriesBatch) -> Verdicts:
        """Judge each row by all of it."""
        n = len(batch)
        out, signal, valid = np.empty((4, n, 7)), np.zeros(n, np.uint32), np.zeros(n, np.bool_)
        d2_2, d3_2 = range_constants(self.d2_digits)[2].tolist()
        _loop(
            frozen(batch.row, np.int32).view(np.uint32), frozen(batch.value, np.float64),
            frozen(batch.column("excluded"), np.bool_), frozen(batch.column("lsl"), np.float64),
            frozen(batch.column("usl"), np.float64),
            frozen(batch.params, PARAMS), self.phase_one_rows, d2_2, d3_2, self.any_side, float(self.weight),
            float(self.width), float(self.k), float(self.h), self.min_rows, float(self.cpk_min),
            run_rules.wanted(self.nelson, others=6), phase_one.window_ends(self.window_ends),
            state["numbers"], state["runs"], out, signal, valid,
        )  # fmt: skip
        return Verdicts(out[0], out[1], out[2], out[3], signal, valid)
