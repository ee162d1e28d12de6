"""Multivariate EWMA: small sustained shifts of a mean vector."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from scipy import optimize, stats

from models.artefact import Artefact, of_kind
from models.detector import PARAMS, Column, Rule, SeriesBatch, Verdicts
from models.kernel import frozen, kernel
from models.linear import squared_length, vectors
from models.multivariate import is_whole
from models.phase_one import epoch, window_ends

NONCENTRALITY_MIN = 1e-12  # scipy has no density at 0
ARL_NODES = 80  # of the integral equation: the ARL is then right to 1e-9 of itself for weights from 0.01 on


def in_control_arl(p: int, weight: float, h: float, nodes: int = ARL_NODES) -> float:
    """Return the average run length in control, with p variables and known parameters, of the chart with `steady` limits.

    While the process is in control, the length r of Z is a Markov chain of its own: given it, (r'/weight)² of the next one is
    noncentral chi-square with p degrees of freedom and noncentrality ((1 − weight) r / weight)². The run length solves the
    integral equation L(r) = 1 + ∫ f(r' | r) L(r') dr' up to the limit, here by Gauss–Legendre quadrature.

    >>> round(in_control_arl(2, 0.1, 8.64), 1)  # Montgomery, table 11.3: 200
    200.5

    Reference: the chain is that of Runger and Prabhu 1996, "A Markov chain model for the multivariate exponentially weighted
    moving averages control chart", J. Amer. Statist. Assoc. 91, 1701–1706, who cut r into states.
    """
    _checked(weight, h)
    if p < 1:
        raise ValueError(f"p = {p}: at least 1")
    x, w = np.polynomial.legendre.leggauss(nodes)
    longest = math.sqrt(h * weight / (2.0 - weight))
    r, w = (x + 1.0) * longest / 2.0, w * longest / 2.0
    away = ((1.0 - weight) * np.append(0.0, r) / weight) ** 2
    density = stats.ncx2.pdf((r / weight) ** 2, p, np.maximum(away, NONCENTRALITY_MIN)[:, None]) * 2.0 * r / weight**2
    step = density * w
    along = np.linalg.solve(np.eye(nodes) - step[1:], np.ones(nodes))
    return float(1.0 + step[0] @ along)


def limit_for(p: int, weight: float, arl: float, nodes: int = ARL_NODES) -> float:
    """Return the h that gives this average run length in control, with p variables; see `in_control_arl`.

    >>> round(limit_for(2, 0.2, 200.0), 2)  # Montgomery, table 11.3: 9.65
    9.65
    """
    if not arl > 1.0:
        raise ValueError(f"arl = {arl}: more than 1")
    high = float(stats.chi2.isf(1.0 / arl, p)) * 1.001  # what weight 1 needs, the largest
    found: float = optimize.brentq(
        lambda h: math.log(in_control_arl(p, weight, h, nodes) / arl), high * 1e-3, high, xtol=1e-8
    )
    return found


def _checked(weight: float, h: float) -> None:
    if not 0.0 < weight <= 1.0:
        raise ValueError(f"weight = {weight}: above 0, at most 1")
    if not 0.0 < h < math.inf:
        raise ValueError(f"h = {h}: above 0, finite")


@kernel
def _loop(
    row: np.ndarray,
    value: np.ndarray,
    excluded: np.ndarray,
    params: np.ndarray,
    weight: float,
    h: float,
    steady: bool,
    restart: bool,
    mean: np.ndarray,
    whole: np.ndarray,
    ends: np.ndarray,
    columns: tuple[np.ndarray, ...],
    work: np.ndarray,
    out: np.ndarray,
    signal: np.ndarray,
    valid: np.ndarray,
) -> None:
    z, decay, epochs = columns
    p = mean.shape[0]
    for i in range(row.shape[0]):
        s, x = row[i], value[i]
        if excluded[i]:
            if ends[2] != 0:
                z[s] = 0.0
                decay[s] = 1.0
            continue
        if not is_whole(x):
            continue
        now = epoch(params, s, ends)
        if epochs[s] != now:
            epochs[s] = now
            z[s] = 0.0
            decay[s] = 1.0
        for j in range(p):
            z[s, j] = weight * (x[j] - mean[j]) + (1.0 - weight) * z[s, j]
            work[j] = z[s, j]
        decay[s] *= (1.0 - weight) * (1.0 - weight)
        variance = weight / (2.0 - weight)
        if not steady:
            variance *= 1.0 - decay[s]
        t2 = squared_length(whole, work, p) / variance
        out[0, i, 0] = t2
        out[2, i, 0] = 0.0
        out[3, i, 0] = h
        fired = int(t2 > h)
        if restart and fired != 0:
            z[s] = 0.0
            decay[s] = 1.0
        signal[i] = fired
        valid[i] = True


@dataclass(frozen=True)
class Mewma:
    """Multivariate EWMA chart: finds small sustained shifts of a mean vector, in whatever direction.

    Z = weight (x − mean) + (1 − weight) Z, from Z = 0. The statistic "T2" = Zᵀ Σ_Z⁻¹ Z, without unit, signals above `h`. Σ_Z is
    weight / (2 − weight) Σ, as in the tables of h and in `limit_for`, which gives the h for an in-control run length. Without
    `steady` it is that times 1 − (1 − weight)^{2 i} at the i-th vector since the start, with which a chart that has just started
    sees a shift sooner and makes more false alarms: with weight 0.1 and h 8.66, one in 182 vectors for one in 202.

    Mean vector and Σ come from `model`, an artefact of kind "covariance"; an estimated one makes more false alarms than a known
    one of the same h. params.mu and sigma are not used.

    - Missing vector, or one with a gap or an infinite entry: not judged, state untouched.
    - `window_ends` starts again from Z = 0; by default a change of limits and a reset do.
    - With `restart`, Z starts again from 0 on the row after a signal, so that a shift which is over does not go on signalling.

    >>> from models import judge
    >>> from models.multivariate import known_covariance
    >>> model = known_covariance([0.0, 0.0], [[1.0, 0.5], [0.5, 1.0]])
    >>> v = judge(Mewma(model, weight=0.1, h=8.64, steady=False), [[-1.19, 0.59], [0.12, 0.9], [-1.69, 0.40], [0.30, 0.46]])
    >>> v.statistic[:, 0].round(3)
    array([3.288, 3.177, 7.368, 5.259])

    Reference: Lowry, Woodall, Champ and Rigdon 1992, "A multivariate exponentially weighted moving average control chart",
    Technometrics 34, 46–53; Montgomery, Introduction to SQC, 7th ed., §11.4.
    """

    model: Artefact
    weight: float = 0.1
    h: float = 8.64  # for 2 variables and an in-control ARL of 200
    steady: bool = True
    restart: bool = False
    window_ends: tuple[str, ...] = ("limits", "reset")

    name = "multivariate.mewma"
    version = 1
    statistics = ("T2",)

    def __post_init__(self) -> None:
        of_kind(self.model, "covariance")
        _checked(self.weight, self.h)
        window_ends(self.window_ends)

    @property
    def dimension(self) -> int:
        """Return p, the number of variables."""
        return len(self.model.arrays["mean"])

    @property
    def state(self) -> Mapping[str, Column]:
        """Return Z, and (1 − weight)^{2 i} at the i-th vector."""
        return {"z": Column("f8", (self.dimension,)), "decay": Column("f8", (), 1.0), "epoch": Column("i8", (), -1)}

    @property
    def rules(self) -> tuple[Rule, ...]:
        """Return the one rule."""
        return (Rule("mewma_beyond_limit", f"T² of Z is above {self.h:g}: the mean vector has moved", "critical", 0),)

    @cached_property
    def _whole(self) -> np.ndarray:
        return np.linalg.cholesky(self.model.arrays["covariance"])

    def update(self, state: Mapping[str, np.ndarray], batch: SeriesBatch) -> Verdicts:
        """Add each vector to the Z of its series."""
        n = len(batch)
        out, signal, valid = np.full((4, n, 1), np.nan), np.zeros(n, np.uint32), np.zeros(n, np.bool_)
        _loop(
            frozen(batch.row, np.int32), vectors(batch.value, self.dimension), frozen(batch.column("excluded"), np.bool_),
            frozen(batch.params, PARAMS), float(self.weight), float(self.h), self.steady, self.restart,
            self.model.arrays["mean"], frozen(self._whole, np.float64), window_ends(self.window_ends),
            tuple(state[name] for name in self.state), np.empty(self.dimension), out, signal, valid,
        )  # fmt: skip
        return Verdicts(out[0], out[1], out[2], out[3], signal, valid)
