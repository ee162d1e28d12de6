"""The mean moves away from where a series started: CUSUM against a reference that the series itself gives.

Theory of operation
-------------------
A CUSUM needs to know the mean. One learned from m rows is wrong by about sigma/√m, and always to the same side: with m =
100 and k = 0.25, a sum that holds one false alarm in 10,000 rows under a known mean gives several, for as long as the
series lives. Two things help.

1. *The limit widens by the error.* Each side keeps the rows since its sum last was at 0, N of them: the rows before, n of
   them, are its reference. A shift by 2k sigma among the N rows, against none, has the log-likelihood ratio 2k (e − k)/v,
   where e is the difference of the two means in sigmas and v = 1/N + 1/n is its variance. So the sum is C = (e − k)/v. For
   n = ∞ that is Σ(x − mu)/sigma − kN, Page's sum; for a small n the same difference counts for less.
2. *Learning goes on.* Where C is back at 0, the N rows join the reference. The rows of a shift that is being found do not,
   so that the reference is not pulled along by what it is to find.

Sigma is the pooled standard deviation of both groups. Student's t of the difference is turned into the normal value of
the same probability (Wallace's approximation), so that few rows do not give more alarms.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from models import phase_one
from models.detector import PARAMS, Column, Rule, SeriesBatch, Verdicts
from models.kernel import frozen, kernel
from models.phase_one import epoch, is_given

PATIENCE = 4  # times as many rows as the reference has outweigh it: they join it, or, away from it, Phase I starts anew
ENDS = phase_one.window_ends(("limits", "reset"))  # what starts a detector of drift anew
_N, _MEAN, _SQUARES = 0, 1, 2  # of the reference: rows, mean, sum of squares about it
_ROWS, _ROWS_MEAN, _ROWS_SQUARES = 3, 4, 5  # of the rows since the sum was at 0
_HEAD = 6  # what the sum started with: 0, or the headstart after a signal
_AWAY = 7  # rows of sums that signalled, less those that have joined the reference since


@kernel
def normal_of_t(t: float, freedom: float) -> float:
    """Return the normal value that is exceeded as often as t ≥ 0 of Student's distribution.

    Off by at most 1.2 % from 5 degrees of freedom on, 0.2 % from 20 on (to t = 12).

    Reference: Wallace, Annals of Mathematical Statistics 30 (1959) 1124–1130.
    """
    return (8.0 * freedom + 1.0) / (8.0 * freedom + 3.0) * math.sqrt(freedom * math.log1p(t * t / freedom))


@kernel
def _add(side: np.ndarray, at: int, x: float) -> None:
    """Add a value to rows, mean and squares at `at` (Welford)."""
    side[at] += 1.0
    off = x - side[at + 1]
    side[at + 1] += off / side[at]
    side[at + 2] += off * (x - side[at + 1])


@kernel
def _join(side: np.ndarray) -> None:
    """Let the rows since the sum was at 0 join the reference (Chan, Golub and LeVeque)."""
    n, rows = side[_N], side[_ROWS]
    off = side[_ROWS_MEAN] - side[_MEAN]
    share = rows / (n + rows)
    side[_N] = n + rows
    side[_MEAN] += off * share
    side[_SQUARES] += side[_ROWS_SQUARES] + off * off * n * share
    side[_ROWS:_AWAY] = 0.0
    side[_AWAY] = max(0.0, side[_AWAY] - rows)


@kernel
def _sum(side: np.ndarray, sign: float, mu: float, sigma: float, k: float) -> tuple[float, bool]:
    """Return C of one side without its headstart, and True; where there is no sigma, the difference in units, and False."""
    rows, n = side[_ROWS], side[_N]
    given = is_given(mu)
    difference = sign * (side[_ROWS_MEAN] - (mu if given else side[_MEAN]))
    variance = 1.0 / rows + (0.0 if given else 1.0 / n)
    freedom = n + rows - 2.0
    spread = sigma if sigma >= 0.0 else math.sqrt((side[_SQUARES] + side[_ROWS_SQUARES]) / freedom)
    if spread <= 0.0:
        return difference, False
    effect = difference / spread
    if effect > k and not sigma >= 0.0:
        root = math.sqrt(variance)
        effect = root * normal_of_t(effect / root, freedom)
    return (effect - k) / variance, True


@kernel
def _loop(
    row: np.ndarray,
    value: np.ndarray,
    params: np.ndarray,
    ends: np.ndarray,
    learned: int,
    k: float,
    h: float,
    headstart: float,
    relearn: bool,
    sides: np.ndarray,
    epochs: np.ndarray,
    out: np.ndarray,
    signal: np.ndarray,
    valid: np.ndarray,
) -> None:
    given_mu, given_sigma = params["mu"], params["sigma"]
    for i in range(row.shape[0]):
        s, x = row[i], value[i]
        if not is_given(x):
            continue
        now = epoch(params, s, ends)
        if epochs[s] != now:
            epochs[s] = now
            sides[s] = 0.0
        mu = given_mu[s]
        sigma = given_sigma[s] if is_given(given_sigma[s]) else -1.0  # -1: learned
        if sides[s, 0, _N] < learned and not (is_given(mu) and sigma >= 0.0):
            for side in range(2):
                if sides[s, side, _ROWS] > 0.0:
                    _join(sides[s, side])
                _add(sides[s, side], _N, x)
            continue
        fired = 0
        for side in range(2):
            own = sides[s, side]
            _add(own, _ROWS, x)
            total, summed = _sum(own, 1.0 - 2.0 * side, mu, sigma, k)
            limit = h if summed else 0.0
            total = max(0.0, total + own[_HEAD] if summed else total)
            out[0, i, side] = total
            out[1, i, side] = 0.0
            out[3, i, side] = limit
            if total > limit:
                fired |= 1 << side
            elif total == 0.0 or (own[_ROWS] >= PATIENCE * own[_N] and not is_given(mu)):
                _join(own)
        if fired != 0:
            kept = sides[s, 0 if fired & 1 else 1]  # both at once: only without sigma, and then any will do
            kept[_AWAY] += kept[_ROWS]
            kept[_ROWS:_AWAY] = 0.0
            sides[s, 1 if fired & 1 else 0] = kept
            kept[_HEAD] = headstart
            if relearn or (kept[_AWAY] >= PATIENCE * kept[_N] and not is_given(mu)):
                sides[s] = 0.0
        signal[i] = fired
        valid[i] = True


@dataclass(frozen=True)
class LearnedCusum:
    """Two-sided CUSUM of the mean against a reference that goes on learning; `models.drift` says how it works.

    Statistics "C+" and "C-", in sigmas; centre 0, upper limit `h`, no lower one (NaN). mu and sigma are given, or learned from
    the first `phase_one_rows` rows, which are not valid, and then from every row that belongs to no sum. Sigma is the standard
    deviation of the learned rows.

    The defaults hold 0.8 false alarms per 10,000 rows of independent normal values, under a known reference (without headstart
    one signal in 14,263 rows, by integral equation) and under a learned one. A shift of the known mean by 0.5 sigma is found
    after 57 rows, by 1 sigma after 21; of a learned one, it depends on how many rows were learned from: `tests/bench/drift.py`
    prints them. Values that are not normal give more false alarms: 1.1 with Student's t of 5 degrees, 2 with exponential ones.

    *After a signal* both sums start anew on the next row, and the side that fired goes back to its reference from before the
    shift. Its sum starts with `headstart` · h. Where the mean stays away, it signals again and again, so that the alert is held;
    where the process comes back, it closes. Once it has stayed away for `PATIENCE` times as many rows as the learned reference
    has, or at once with `relearn`, Phase I starts anew: the new level becomes the reference.

    - Missing, excluded or infinite value: not judged, state untouched.
    - Sigma 0: nothing is summed; the statistics are the distance from mu in the unit of the value, both limits are 0; equal is
      in control, anything else is beyond.
    - A change of the limits or a reset: Phase I starts anew, unless mu and sigma are given.

    >>> from models import judge
    >>> random = np.random.default_rng(3)
    >>> v = judge(LearnedCusum(), np.concatenate([random.normal(50, 2, 400), random.normal(51, 2, 100)]))
    >>> np.flatnonzero(v.signal)
    array([422, 467, 496])

    References: Page, Biometrika 41 (1954) 100–115; Hawkins, The Statistician 36 (1987) 299–315 (self-starting CUSUM); Hawkins,
    Qiu and Kang, Journal of Quality Technology 35 (2003) 355–366 (no known parameters); Lucas and Crosier, Technometrics 24
    (1982) 199–205 (headstart).
    """

    k: float = 0.25  # half the shift to be found, in sigmas
    h: float = 15.2
    phase_one_rows: int = 50
    headstart: float = 0.5  # share of h, after a signal
    relearn: bool = False

    name = "drift.cusum"
    version = 2
    statistics = ("C+", "C-")

    def __post_init__(self) -> None:
        phase_one.checked_rows(self.phase_one_rows)
        if not (0.0 < self.k < math.inf and 0.0 < self.h < math.inf and 0.0 <= self.headstart < 1.0):
            raise ValueError(
                f"k = {self.k}, h = {self.h}, headstart = {self.headstart}: 0 < k, 0 < h, 0 ≤ headstart < 1"
            )

    @property
    def state(self) -> Mapping[str, Column]:
        """Return for each side the reference, the rows since its sum was at 0, and its headstart."""
        return {"sides": Column("f8", (2, 8)), "epoch": Column("i8", (), -1)}

    @property
    def rules(self) -> tuple[Rule, ...]:
        """Return one rule per side."""
        return (
            Rule("cusum_high", f"C+ is above {self.h:g}: the mean has moved up", "critical", 0),
            Rule("cusum_low", f"C- is above {self.h:g}: the mean has moved down", "critical", 1),
        )

    def update(self, state: Mapping[str, np.ndarray], batch: SeriesBatch) -> Verdicts:
        """Add each row to the sums of its series."""
        n = len(batch)
        out, signal, valid = np.full((4, n, 2), np.nan), np.zeros(n, np.uint32), np.zeros(n, np.bool_)
        _loop(
            frozen(batch.row, np.int32), frozen(batch.value, np.float64), frozen(batch.params, PARAMS), ENDS,
            self.phase_one_rows, float(self.k), float(self.h), self.headstart * self.h, self.relearn,
            state["sides"], state["epoch"], out, signal, valid,
        )  # fmt: skip
        return Verdicts(out[0], out[1], out[2], out[3], signal, valid)
