"""Hotelling's T²: several correlated characteristics judged together, by their mean vector and covariance matrix.

Phase I is a job: `fit_covariance` gives the artefact that the chart holds; how its limits come about stands at the head of
`models.covariance`.

Reference: Montgomery, Introduction to SQC, 7th ed., §11.3.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from models.artefact import Artefact, of_kind
from models.contributions import told
from models.covariance import ALPHA, fit_covariance, known_covariance, phase_one_limit, t2_limit
from models.detector import PARAMS, Column, Rule, SeriesBatch, Verdicts
from models.kernel import frozen, kernel
from models.linear import factor, squared_length, vectors
from models.phase_one import epoch, is_given, window_ends

__all__ = ["HotellingT2", "fit_covariance", "is_whole", "known_covariance", "phase_one_limit", "t2_limit"]


@kernel
def is_whole(x: np.ndarray) -> bool:
    """Say whether a vector has no gap: every entry is a number."""
    for j in range(x.shape[0]):  # noqa: SIM110 - compiled
        if not is_given(x[j]):
            return False
    return True


@kernel
def _partial(
    x: np.ndarray, mean: np.ndarray, covariance: np.ndarray, work: np.ndarray, gap: np.ndarray, at: np.ndarray
) -> tuple[int, float]:
    """Return how many entries of x are there, and T² of these by their own block of the covariance."""
    seen = 0
    for j in range(x.shape[0]):
        if is_given(x[j]):
            gap[seen] = x[j] - mean[j]
            at[seen] = j
            seen += 1
    for a in range(seen):
        for b in range(a + 1):
            work[a, b] = covariance[at[a], at[b]]
    factor(work, seen)  # a block of a positive definite matrix
    return seen, squared_length(work, gap, seen)


@kernel
def _loop(
    row: np.ndarray,
    value: np.ndarray,
    subgroup: np.ndarray,
    excluded: np.ndarray,
    params: np.ndarray,
    size: int,
    mean: np.ndarray,
    covariance: np.ndarray,
    whole: np.ndarray,
    limits: np.ndarray,
    ends: np.ndarray,
    columns: tuple[np.ndarray, ...],
    work: np.ndarray,
    gap: np.ndarray,
    at: np.ndarray,
    out: np.ndarray,
    signal: np.ndarray,
    valid: np.ndarray,
) -> None:
    open_group, open_rows, open_sum, epochs = columns
    p = mean.shape[0]
    for i in range(row.shape[0]):
        s, x = row[i], value[i]
        now = epoch(params, s, ends)
        if excluded[i]:
            if ends[2] != 0:
                open_rows[s] = 0
            continue
        if size > 1 and not is_whole(x):
            continue
        if size == 1:
            closed = 1
            seen, t2 = _partial(x, mean, covariance, work, gap, at) if not is_whole(x) else (p, 0.0)
            if seen == 0:
                continue
            if seen == p:
                for j in range(p):
                    gap[j] = x[j] - mean[j]
                t2 = squared_length(whole, gap, p)
        else:
            if epochs[s] != now:
                epochs[s] = now
                open_rows[s] = 0
            closed, seen, t2 = 0, p, 0.0
            if open_rows[s] != 0 and open_group[s] != subgroup[i]:  # the next subgroup closes this one short
                closed = open_rows[s]
                for j in range(p):
                    gap[j] = open_sum[s, j] / closed
                open_rows[s] = 0
            if open_rows[s] == 0:
                open_group[s] = subgroup[i]
                open_sum[s] = 0.0
            open_rows[s] += 1
            for j in range(p):
                open_sum[s, j] += x[j] - mean[j]
            if open_rows[s] >= size:  # never the row that closed another one: size ≥ 2
                closed = open_rows[s]
                for j in range(p):
                    gap[j] = open_sum[s, j] / closed
                open_rows[s] = 0
            if closed == 0:
                continue
            t2 = closed * squared_length(whole, gap, p)
        out[0, i, 0] = t2
        out[2, i, 0] = 0.0
        out[3, i, 0] = limits[seen, closed]
        signal[i] = int(t2 > limits[seen, closed])
        valid[i] = True


@dataclass(frozen=True)
class HotellingT2:
    """Hotelling's T² chart for individual vectors, or for the means of rational subgroups.

    One statistic, "T2", without unit: the squared statistical distance of the vector (or of the subgroup's mean, times its size)
    from the mean vector of `model`. Limits 0 and `t2_limit`: F-based for an estimated model, chi-square for a known one; `alpha`
    is the chart's rate of false alarms. T² has no direction and no centre line (NaN).

    `model` is an artefact of kind "covariance", from `fit_covariance` or `known_covariance`. params.mu and sigma are not used.

    - Individuals (`subgroup_size` 1): of a vector with gaps, the entries that are there are judged by their own block of the
      covariance, with the limit for so many variables. The rate of false alarms stays `alpha`.
    - Subgroups close at their `subgroup_size`-th row or at the first row of another subgroup of the series, where the verdict
      stands; a subgroup closed short has the limit of its own size. A vector with a gap is then a missing one.
    - Infinite entries are gaps. Missing vector, excluded row: not judged, state untouched, closes nothing.
    - `window_ends` drops the open subgroup; by default at a reset only.
    - A constant column has no place in a covariance matrix: `fit_covariance` refuses it.

    >>> from models import judge
    >>> model = known_covariance([115.59, 1.06], [[1.23, 0.79], [0.79, 0.83]])  # Montgomery, example 11.1: fibres
    >>> v = judge(HotellingT2(model, alpha=0.001), [[115.25, 1.04], [113.0, 3.0]])
    >>> v.statistic[:, 0].round(3), v.ucl[0, 0].round(3), v.signal
    (array([ 0.216, 45.705]), np.float64(13.816), array([0, 1], dtype=uint32))

    Reference: Montgomery, Introduction to SQC, 7th ed., §11.3.
    """

    model: Artefact
    subgroup_size: int = 1
    alpha: float = ALPHA
    window_ends: tuple[str, ...] = ("reset",)

    name = "multivariate.hotelling_t2"
    version = 1
    statistics = ("T2",)

    def __post_init__(self) -> None:
        of_kind(self.model, "covariance")
        if self.subgroup_size < 1:
            raise ValueError(f"subgroup_size = {self.subgroup_size}: at least 1")
        window_ends(self.window_ends)
        _ = self._limits  # refuses an alpha or a model without a limit

    @property
    def dimension(self) -> int:
        """Return p, the number of variables."""
        return len(self.model.arrays["mean"])

    @property
    def state(self) -> Mapping[str, Column]:
        """Return the open subgroup: its name, rows and sums of deviations from the mean vector."""
        return {
            "open_group": Column("i8", (), -1),
            "open_rows": Column("i4"),
            "open_sum": Column("f8", (self.dimension,)),
            "epoch": Column("i8", (), -1),
        }

    @property
    def rules(self) -> tuple[Rule, ...]:
        """Return the one rule."""
        return (
            Rule("t2_beyond_limit", "T² is above its limit: the vector is far from the mean vector", "critical", 0),
        )

    @cached_property
    def _whole(self) -> np.ndarray:
        return np.linalg.cholesky(self.model.arrays["covariance"])

    @cached_property
    def _limits(self) -> np.ndarray:
        """Return the limit for so many variables (first index) of a mean of so many rows (second); NaN where not used."""
        p, size = self.dimension, self.subgroup_size
        rows, degrees = self.model.facts["rows"], self.model.facts["degrees"]
        limits = np.full((p + 1, size + 1), np.nan)
        if size == 1:
            limits[1:, 1] = [t2_limit(seen, self.alpha, rows, degrees) for seen in range(1, p + 1)]
        else:
            limits[p, 1:] = [t2_limit(p, self.alpha, rows, degrees, closed) for closed in range(1, size + 1)]
        return limits

    def update(self, state: Mapping[str, np.ndarray], batch: SeriesBatch) -> Verdicts:
        """Judge each vector, or each subgroup at the row that closes it."""
        n, p = len(batch), self.dimension
        out, signal, valid = np.full((4, n, 1), np.nan), np.zeros(n, np.uint32), np.zeros(n, np.bool_)
        _loop(
            frozen(batch.row, np.int32), vectors(batch.value, p), frozen(batch.subgroup, np.int64),
            frozen(batch.column("excluded"), np.bool_), frozen(batch.params, PARAMS), self.subgroup_size,
            self.model.arrays["mean"], self.model.arrays["covariance"], frozen(self._whole, np.float64),
            frozen(self._limits, np.float64), window_ends(self.window_ends), tuple(state[name] for name in self.state),
            np.empty((p, p)), np.empty(p), np.empty(p, np.int64), out, signal, valid,
        )  # fmt: skip
        return Verdicts(out[0], out[1], out[2], out[3], signal, valid)

    def contributions(self, x: np.ndarray) -> np.ndarray:
        """Return each variable's part of T² of one vector or mean x (p,), per row of it: (p,), summing to T²; 0 for a gap.

        The part of variable j is d_j (S⁻¹ d)_j with d = x − mean. A fault in one variable only is that variable's part alone.
        """
        there = np.isfinite(x)
        deviation = (x - self.model.arrays["mean"])[there]
        parts = np.zeros(self.dimension)
        parts[there] = deviation * np.linalg.solve(self.model.arrays["covariance"][np.ix_(there, there)], deviation)
        return parts

    def explain(self, state: Mapping[str, np.ndarray], batch: SeriesBatch, i: int) -> str:
        """Name the variables with the largest parts of T² at row i; of a subgroup, by its rows in this batch."""
        return f"T2: {told(self.model.facts['names'], self.contributions(self._judged(batch, i)))}"

    def _judged(self, batch: SeriesBatch, i: int) -> np.ndarray:
        """Return the vector judged at row i, or the mean of the rows of the batch that are in its subgroup."""
        if self.subgroup_size == 1:
            return np.asarray(batch.value[i])
        usable = (batch.row == batch.row[i]) & np.isfinite(batch.value).all(axis=1) & ~batch.column("excluded")
        rows = np.flatnonzero(usable[: i + 1])
        names = batch.subgroup[rows]
        if len(rows) > 1 and names[-2] != names[-1]:  # row i is the first of the next subgroup
            rows, names = rows[:-1], names[:-1]
            run = len(rows) - int(np.flatnonzero(names != names[-1]).max(initial=-1)) - 1
            size = run % self.subgroup_size or self.subgroup_size
        else:
            size = self.subgroup_size
        own = rows[-size:]
        return np.asarray(batch.value[own[batch.subgroup[own] == names[-1]]].mean(axis=0))
