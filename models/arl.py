"""Average run lengths: after how many points a chart signals, in control and after a shift of the mean.

Theory of operation
-------------------
All is in process sigmas, for independent normal points with known mean and sigma. The shift is there from the first
point on, when the chart starts (the zero-state ARL of the papers). The last point, the one that signals, is counted.

- Shewhart with run rules: a finite Markov chain, see `models.arl_rules`; with Nelson's 3 and 4, which look at differences,
  one that also knows where in its zone the last point is, see `models.arl_differences`.
- CUSUM: the ARL L(u) from the sum u of a one-sided chart solves
  L(u) = 1 + L(0) Φ(k − u − δ) + ∫₀ʰ L(y) φ(y + k − u − δ) dy (Page, Biometrika 41 (1954) 100–115).
  Two sides: 1/ARL = 1/ARL⁺ + 1/ARL⁻ (Kemp, Journal of the Royal Statistical Society B 23 (1961) 149–153); with a
  headstart, the formula of Lucas and Crosier, Technometrics 24 (1982) 199–205.
- EWMA with fixed limits ±c: L(u) = 1 + (1/λ) ∫ L(y) φ((y − (1 − λ)u)/λ − δ) dy over [−c, c] (Crowder, Technometrics 29
  (1987) 401–407). With limits that widen, the density of z given no signal is carried forward until they stand still.

The integrals are Gauss and Legendre's sums, which converge faster than any power for these kernels; nodes are as dense
as the kernel is narrow. What comes out is a chain with nonnegative entries whose probabilities of a signal are known to
full relative precision, so that the elimination without subtractions of Grassmann, Taksar and Heyman (Operations
Research 33 (1985) 1107–1116) keeps its digits also where an ARL is 1e12 and a plain solver has none left.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from functools import lru_cache
from typing import NamedTuple

import numpy as np
from scipy.optimize import brentq, minimize_scalar
from scipy.sparse import coo_matrix, identity
from scipy.sparse.linalg import spsolve
from scipy.special import ndtr, roots_legendre

from models.arl_differences import OF_DIFFERENCES, mean_run_length
from models.arl_rules import EDGES, ZONES, chain, rule_names

NODES_MAX = 1_500  # of an integral; the work grows with the cube
ARL_MAX = 1e12  # longest that is designed for
SHIFT_MAX = 30.0  # sigmas; beyond it every chart signals at its first point, or nearly
WEIGHT_MIN = 0.02  # least weight that is searched
WIDENING_STEPS_MAX = 5_000  # points until the limits of an EWMA stand still

_ARL_KNOWN = 1e200  # beyond it, chances leave the range of floating point
_NODES_PER_SIGMA = 3.0
_NODES_MORE = 30
_STANDS_STILL = 1e-13  # (1 − weight)^2t, when limits are taken as final


class CusumDesign(NamedTuple):
    """Reference value and decision interval, in sigmas."""

    k: float
    h: float


class EwmaDesign(NamedTuple):
    """Weight λ, and width L of the limits in standard deviations of the average."""

    weight: float
    width: float


# --- Shewhart -------------------------------------------------------------------------------------------------------


def arl_shewhart(
    shift: float = 0.0, rules: str | Iterable[str | int] = ("nelson_1",), *, any_side: bool = False
) -> float:
    """Return the ARL of a chart of single points with 3-sigma limits and these rules (see `arl_rules.rule_names`).

    shift: of the mean, in sigmas of a plotted point; a shift of δ process sigmas is δ√n for means of n. `any_side` as in
    `models.run_rules`. Raises ValueError for unknown rules.

    >>> round(arl_shewhart(0.0), 2), round(arl_shewhart(1.0), 2)
    (370.4, 43.89)
    >>> round(arl_shewhart(0.0, "western-electric"), 2), round(arl_shewhart(0.0, (1, 2, 5, 6)), 2)
    (91.75, 109.05)
    >>> round(arl_shewhart(0.0, "nelson"), 2)  # all eight
    73.48
    """
    _checked_shift(shift)
    names = rule_names(rules)
    moves = chain([name for name in names if name not in OF_DIFFERENCES], any_side)
    below = ndtr(EDGES - shift)
    above = ndtr(shift - EDGES)
    lower = np.diff(below, prepend=0.0)[: ZONES // 2]  # each tail from its own end, so that no digits are lost
    upper = -np.diff(above, append=0.0)[ZONES // 2 - 1 :]
    probability = np.concatenate([lower, upper])
    if OF_DIFFERENCES & set(names):
        return mean_run_length(moves, OF_DIFFERENCES & set(names), probability)
    states = len(moves)
    state, zone = np.nonzero(moves >= 0)
    stay = coo_matrix((probability[zone], (state, moves[state, zone])), shape=(states, states)).tocsc()
    steps = np.atleast_1d(spsolve((identity(states, format="csc") - stay).tocsc(), np.ones(states)))
    return float(steps[0])


# --- CUSUM ----------------------------------------------------------------------------------------------------------


def arl_cusum(k: float, h: float, shift: float = 0.0, headstart: float = 0.0, sides: int = 2) -> float:
    """Return the ARL of a tabular CUSUM with reference value k and decision interval h, in sigmas.

    headstart: the part of h that the sums start with, 0 to 1, as in `models.cusum`; 0.5 is Lucas and Crosier's fast initial
    response. sides: 2, or 1 for the upper sum alone. Raises ValueError for parameters without meaning, and for a two-sided
    start above h/2 + k, where both sums can signal together and the formula does not hold.

    >>> [round(arl_cusum(0.5, 5.0, shift), 3) for shift in (0.0, 0.5, 1.0, 2.0)]
    [465.444, 37.996, 10.376, 4.009]
    >>> round(arl_cusum(0.5, 5.0, 1.0, headstart=0.5), 3), round(arl_cusum(0.5, 5.0, 0.0, sides=1), 1)
    (6.347, 930.9)
    """
    _checked_cusum(k, h, headstart, sides)
    _checked_shift(shift)
    upper, upper_started = _one_sided_cusum(k, h, shift, headstart * h)
    if sides == 1:
        if upper == math.inf:
            raise ValueError(f"shift = {shift:g}: the ARL is above {_ARL_KNOWN:g} points")
        return upper_started
    lower, lower_started = _one_sided_cusum(k, h, -shift, headstart * h)
    # (U* L + L* U − U L) / (U + L), divided by U L so that neither product overflows
    shares = [
        started / steps if steps < math.inf else 1.0
        for started, steps in ((upper_started, upper), (lower_started, lower))
    ]
    return (sum(shares) - 1.0) / (1.0 / upper + 1.0 / lower)


def _one_sided_cusum(k: float, h: float, shift: float, started: float) -> tuple[float, float]:
    """Return the ARL of the upper sum from 0 and from `started`."""
    nodes, weights = _gauss_legendre(0.0, h, 1.0)
    start = np.concatenate([[0.0], nodes])
    stay = np.empty((len(start), len(start)))
    stay[:, 0] = ndtr(k - shift - start)
    stay[:, 1:] = weights * _density(nodes + k - shift - start[:, None])
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        steps = _steps_to_signal(stay, ndtr(start + shift - k - h))
    if not steps[0] < _ARL_KNOWN:
        return math.inf, math.inf
    from_start = 1.0 + steps[0] * ndtr(k - shift - started)
    from_start += steps[1:] @ (weights * _density(nodes + k - shift - started))
    return float(steps[0]), float(from_start) if started > 0.0 else float(steps[0])


def _checked_cusum(k: float, h: float, headstart: float, sides: int) -> None:
    if not 0.0 <= k < math.inf:
        raise ValueError(f"k = {k:g}: the reference value is 0 or more, in sigmas")
    if not 0.0 < h < math.inf:
        raise ValueError(f"h = {h:g}: the decision interval is above 0, in sigmas")
    if sides not in {1, 2}:
        raise ValueError(f"sides = {sides}: 1 (the upper sum) or 2")
    if not 0.0 <= headstart <= 1.0:
        raise ValueError(f"headstart = {headstart:g}: a part of h, from 0 to 1")
    if sides == 2 and headstart * h > h / 2.0 + k:
        raise ValueError(f"headstart = {headstart:g}: a two-sided ARL is known up to 1/2 + k/h = {0.5 + k / h:g}")


# --- EWMA -----------------------------------------------------------------------------------------------------------


def arl_ewma(weight: float, width: float, shift: float = 0.0, steady: bool = True) -> float:
    """Return the ARL of a two-sided EWMA chart that starts at the centre.

    weight: λ, above 0 and at most 1. width: L, the limits in standard deviations of the average. steady: limits at their
    final width from the first point on; else they widen to it, as Montgomery's eq. 9.25 and 9.26.

    >>> [round(arl_ewma(0.2, 2.962, shift), 2) for shift in (0.0, 0.5, 1.0, 2.0)]
    [499.74, 41.76, 10.54, 3.74]
    >>> round(arl_ewma(0.2, 2.962, 1.0, steady=False), 3)
    9.554
    """
    _checked_ewma(weight, width)
    _checked_shift(shift)
    final = width * math.sqrt(weight / (2.0 - weight))
    nodes, weights = _gauss_legendre(-final, final, weight)
    steps = _steps_to_signal(*_ewma_step(nodes, nodes, weights, weight, final, shift))
    if steady:
        return float(1.0 + steps @ (weights * _density(nodes / weight - shift) / weight))
    return _widening(weight, final, shift, nodes, weights, steps)


def _ewma_step(
    start: np.ndarray, nodes: np.ndarray, weights: np.ndarray, weight: float, limit: float, shift: float
) -> tuple[np.ndarray, np.ndarray]:
    """Return the chances of going from `start` (m,) to the nodes (n,), (m, n), and beyond the limits, (m,)."""
    kept = (1.0 - weight) * start
    stay = weights * _density((nodes - kept[:, None]) / weight - shift) / weight
    return stay, ndtr(shift - (limit - kept) / weight) + ndtr((-limit - kept) / weight - shift)


def _widening(
    weight: float, final: float, shift: float, nodes: np.ndarray, weights: np.ndarray, steps: np.ndarray
) -> float:
    """Sum P(no signal in t points) until the limits stand still, then go on with the chart of fixed limits."""
    if weight < 1.0 and math.log(_STANDS_STILL) / (2.0 * math.log1p(-weight)) > WIDENING_STEPS_MAX:
        raise ValueError(f"weight = {weight:g}: its limits widen over more than {WIDENING_STEPS_MAX} points")
    unit, unit_weights = nodes / final, weights / final
    # the density of z after a point, given as chances of being at the nodes of [−limit, limit]
    remaining, left = 1.0, (1.0 - weight) ** 2
    limit = final * math.sqrt(1.0 - left)
    chance = limit * unit_weights * _density(limit * unit / weight - shift) / weight
    total = remaining
    while left > _STANDS_STILL:
        remaining = float(chance.sum())
        total += remaining
        if remaining < 1e-17 * total:
            return total
        left *= (1.0 - weight) ** 2
        before, limit = limit, final * math.sqrt(1.0 - left)
        kept = (1.0 - weight) * before * unit
        step = _density((limit * unit - kept[:, None]) / weight - shift) / weight
        chance = (chance @ step) * limit * unit_weights
    return total + float(chance @ steps)


def _checked_ewma(weight: float, width: float) -> None:
    if not 0.0 < weight <= 1.0:
        raise ValueError(f"weight = {weight:g}: lambda is above 0 and at most 1")
    if not 0.0 < width < math.inf:
        raise ValueError(f"width = {width:g}: the limit is above 0, in standard deviations of the average")


# --- Design ---------------------------------------------------------------------------------------------------------


def design_cusum(
    arl0: float, shift: float = 1.0, *, k: float | None = None, headstart: float = 0.0, sides: int = 2
) -> CusumDesign:
    """Return k and h of the CUSUM with an in-control ARL of `arl0` that finds a shift of `shift` sigmas soonest.

    k is half the shift (Moustakides, Annals of Statistics 14 (1986) 1379–1387) unless it is given. Headstarts up to
    0.5 of h. Raises ValueError if no h gives `arl0`.

    >>> design = design_cusum(465.44, shift=1.0)
    >>> design.k, round(design.h, 3)
    (0.5, 5.0)
    """
    _checked_arl0(arl0)
    _checked_shift(shift)
    if k is None:
        if shift == 0.0:
            raise ValueError("shift = 0: which shift is to be found, or k, must be given")
        k = abs(shift) / 2.0
    if not 0.0 <= headstart <= 0.5:
        raise ValueError(f"headstart = {headstart:g}: for a design, from 0 to 0.5 of h")
    _checked_cusum(k, 1.0, headstart, sides)
    chosen = k
    h = _solve(lambda h: arl_cusum(chosen, h, 0.0, headstart, sides), arl0, low=1e-6, first=1.0)
    return CusumDesign(k, h)


def design_ewma(arl0: float, weight: float, *, steady: bool = True) -> float:
    """Return the width L of the EWMA chart of this weight with an in-control ARL of `arl0`.

    >>> round(design_ewma(500.0, 0.1), 3), round(design_ewma(500.0, 0.2), 3)  # Lucas and Saccucci 1990, table 3
    (2.814, 2.962)
    """
    _checked_arl0(arl0)
    _checked_ewma(weight, 1.0)
    return _solve(lambda width: arl_ewma(weight, width, 0.0, steady), arl0, low=1e-6, first=1.0)


def best_ewma(arl0: float, shift: float) -> EwmaDesign:
    """Return the EWMA chart of fixed limits with an in-control ARL of `arl0` that finds a shift of `shift` sigmas soonest.

    The weight is searched from WEIGHT_MIN to 1. The minimum is flat: a weight half or twice as large costs a few percent.
    (With limits that widen, ever smaller weights would win: they test the first points alone, which is no way to watch.)

    >>> design = best_ewma(500.0, 1.0)
    >>> round(design.weight, 2), round(design.width, 2)
    (0.13, 2.88)

    Reference: Crowder, Design of exponentially weighted moving average schemes, Journal of Quality Technology 21 (1989) 155–162.
    """
    _checked_arl0(arl0)
    _checked_shift(shift)
    if shift == 0.0:
        raise ValueError("shift = 0: which shift is to be found, or a weight, must be given")

    def found_after(log_weight: float) -> float:
        weight = math.exp(log_weight)
        return arl_ewma(weight, design_ewma(arl0, weight), shift)

    low = math.log(WEIGHT_MIN)
    inside = minimize_scalar(found_after, bounds=(low, 0.0), method="bounded", options={"xatol": 1e-3}).x
    weight = math.exp(min((low, float(inside), 0.0), key=found_after))
    return EwmaDesign(weight, design_ewma(arl0, weight))


def _solve(arl_of: Callable[[float], float], arl0: float, low: float, first: float) -> float:
    """Return where the increasing `arl_of` is `arl0`. Raises ValueError if it is above that everywhere."""
    shortest = arl_of(low)
    if shortest > arl0:
        raise ValueError(f"arl0 = {arl0:g}: this chart cannot signal so often, its ARL is at least {shortest:.4g}")
    high = first
    while arl_of(high) < arl0:
        low, high = high, high * 1.5
    return float(brentq(lambda x: math.log(arl_of(x) / arl0), low, high, xtol=1e-12, rtol=1e-12))


# --- What they share ------------------------------------------------------------------------------------------------


def _checked_shift(shift: float) -> None:
    if not abs(shift) <= SHIFT_MAX:
        raise ValueError(f"shift = {shift:g}: a number of sigmas from −{SHIFT_MAX:g} to {SHIFT_MAX:g}")


def _checked_arl0(arl0: float) -> None:
    if not 1.0 < arl0 <= ARL_MAX:
        raise ValueError(f"arl0 = {arl0:g}: above 1 and at most {ARL_MAX:g} points")


def _density(x: np.ndarray) -> np.ndarray:
    """Return the standard normal density."""
    density: np.ndarray = np.exp(-0.5 * x * x) / math.sqrt(2.0 * math.pi)
    return density


@lru_cache(maxsize=64)
def _unit_rule(count: int) -> tuple[np.ndarray, np.ndarray]:
    nodes: np.ndarray
    weights: np.ndarray
    nodes, weights = roots_legendre(count)
    return nodes, weights


def _gauss_legendre(low: float, high: float, sigma: float) -> tuple[np.ndarray, np.ndarray]:
    """Return nodes and weights on [low, high], dense enough for a normal density of this sigma."""
    count = math.ceil(_NODES_PER_SIGMA * (high - low) / sigma) + _NODES_MORE
    if count > NODES_MAX:
        raise ValueError(
            f"limits {(high - low) / sigma:.4g} standard deviations of one step apart: {NODES_MAX} nodes are not enough"
        )
    nodes, weights = _unit_rule(count)
    half = (high - low) / 2.0
    return low + half * (nodes + 1.0), half * weights


def _steps_to_signal(stay: np.ndarray, signal: np.ndarray) -> np.ndarray:
    """Return the mean number of steps until a chain leaves its states: (S,).

    stay: (S, S) chances of going on; signal: (S,) chances of leaving. Only positive numbers are added, multiplied and
    divided; a diagonal entry counts as what the others leave of 1.
    """
    stay, signal, spent = stay.copy(), signal.copy(), np.ones(len(signal))
    out = np.empty(len(signal))
    for last in range(len(signal) - 1, 0, -1):
        out[last] = signal[last] + stay[last, :last].sum()
        share = stay[:last, last] / out[last]
        stay[:last, :last] += share[:, None] * stay[last, :last]
        signal[:last] += share * signal[last]
        spent[:last] += share * spent[last]
    steps = np.empty(len(signal))
    steps[0] = spent[0] / signal[0]
    for i in range(1, len(signal)):
        steps[i] = (spent[i] + stay[i, :i] @ steps[:i]) / out[i]
    return steps
