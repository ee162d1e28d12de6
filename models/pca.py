"""PCA T² and Q (SPE): hundreds of correlated columns with gaps, judged by two numbers.

A few components carry what the columns have in common. T² says how far a vector is from the mean *within* them, Q how far it is
*outside*: the first is an unusual amount of the usual, the second a broken correlation. Loadings are frozen: `fit_pca` is a job's
Phase I and gives an artefact, `PcaChart` holds it. How gaps are dealt with stands at the head of `models.pca_score`.

Reference: Jackson and Mudholkar 1979, "Control procedures for residuals associated with principal component analysis",
Technometrics 21, 341–349; Nelson, Taylor and MacGregor 1996, "Missing data methods in PCA and PLS: score calculations with
incomplete observations", Chemom. Intell. Lab. Syst. 35, 45–65; Arteaga and Ferrer 2002, "Dealing with missing data in MSPC:
several methods, different interpretations, some examples", J. Chemom. 16, 408–418.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from functools import cached_property
from typing import Any

import numpy as np
from scipy import stats

from models.artefact import Artefact, of_kind
from models.contributions import TOLD, Share, largest, told
from models.covariance import ALPHA, t2_limit
from models.detector import Column, Rule, SeriesBatch, Verdicts
from models.kernel import frozen, kernel
from models.linear import vectors as checked_vectors
from models.pca_fit import Parts, fit_pca, parts_of
from models.pca_score import SQUARES, box_limit, scaled, score

__all__ = ["Contributions", "PcaChart", "contributions", "fit_pca", "q_limit", "t2_and_q"]


def q_limit(residual_eigenvalues: np.ndarray, alpha: float = ALPHA) -> float:
    """Return Jackson and Mudholkar's upper limit of Q from the eigenvalues of the components left out.

    >>> round(q_limit(np.array([29.0, 26.0, 21.0, 13.0]) / 100.0, 0.05), 2)  # near the 95 % point of their weighted chi-squares
    2.16
    """
    theta1, theta2, theta3 = (float((residual_eigenvalues**power).sum()) for power in (1, 2, 3))
    if theta1 <= 0.0:
        return 0.0
    h0 = 1.0 - 2.0 * theta1 * theta3 / (3.0 * theta2**2)
    normal = float(stats.norm.isf(alpha))
    if h0 <= 1e-3:  # a few components rule the rest: Box's approximation instead
        g, h = theta2 / theta1, theta1**2 / theta2
        return float(g * stats.chi2.isf(alpha, h))
    root = normal * np.sqrt(2.0 * theta2 * h0**2) / theta1 + 1.0 + theta2 * h0 * (h0 - 1.0) / theta1**2
    return float(theta1 * max(root, 0.0) ** (1.0 / h0))


@kernel
def _loop(
    value: np.ndarray,
    excluded: np.ndarray,
    use: np.ndarray,
    constant: np.ndarray,
    reference: np.ndarray,
    centre: np.ndarray,
    scale: np.ndarray,
    loadings: np.ndarray,
    eigenvalues: np.ndarray,
    residual: np.ndarray,
    residual2: np.ndarray,
    traces: np.ndarray,
    spread: np.ndarray,
    limits: np.ndarray,
    normal: float,
    observed_min: int,
    z: np.ndarray,
    gaps: np.ndarray,
    vectors: np.ndarray,
    squares: np.ndarray,
    out: np.ndarray,
    signal: np.ndarray,
    valid: np.ndarray,
) -> None:
    k, moments = eigenvalues.shape[0], np.empty(4)
    full = np.array([float(k), float(k), traces[0], traces[1]])
    for i in range(value.shape[0]):
        if excluded[i]:
            continue
        missing = scaled(value[i], use, centre, scale, z, gaps)
        if use.shape[0] - missing < observed_min:
            continue
        t2, q = score(
            z, gaps, missing, loadings, eigenvalues, residual, residual2, traces, vectors, squares, moments
        )  # fmt: skip
        out[0, i, 0] = t2
        out[0, i, 1] = q
        fired = 0
        for c in range(2):
            mean, variance = spread[2 * c] * moments[2 * c], 2.0 * spread[2 * c + 1] * moments[2 * c + 1]
            whole = box_limit(spread[2 * c] * full[2 * c], 2.0 * spread[2 * c + 1] * full[2 * c + 1], normal)
            limit = limits[c]
            if missing > 0:
                limit *= box_limit(mean, variance, normal) / whole
            out[1, i, c] = mean
            out[2, i, c] = 0.0
            out[3, i, c] = limit
            if out[0, i, c] > limit:
                fired |= 1 << c
        for j in range(constant.shape[0]):
            if abs(value[i, constant[j]] - reference[j]) > 0.0:  # a gap is not above 0
                fired |= 4
        signal[i] = fired
        valid[i] = True


@dataclass(frozen=True)
class PcaChart:
    """PCA chart with T² and Q: frozen loadings, vectors with gaps.

    Statistics "T2" and "Q" (the squared prediction error, SPE) of the scaled vector, both without unit. Their centre lines are
    their expected values, lower limits 0. Upper limits hold `alpha`, the rate of false alarms of each: T² by the F distribution
    (`models.covariance.t2_limit`), Q by `q_limit`, or both by Box's approximation if the model was fitted with
    `limits="held_out"`. A third rule watches the columns that never changed in Phase I, which have no scale and are in neither
    statistic: any other value than theirs signals. Columns that were too sparse in Phase I are not looked at.

    `alpha` is what normal rows make of false alarms; heavier tails make more. Of SECOM's first 438 wafers, every fifth judged by
    a model of the others, 4 to 5 % signal in either statistic at the default alpha.

    `model` is an artefact of kind "pca", from `fit_pca`. params.mu and sigma are not used. Each row is judged by itself: there is
    no state.

    - Gaps: scores are guessed from the entries that are there, Q is taken over them, and both limits of the row follow
      (`models.pca_score`), so that gaps as such do not signal and do not hide.
    - A row with less than `observed_min` of the model's columns: not judged. So are a missing vector and an excluded row.
    - Infinite entries are gaps; in a constant column, they are another value.

    >>> from models import judge
    >>> steps = np.random.default_rng(4).normal(size=(300, 6))
    >>> steps[:, 1::2] = steps[:, ::2] + 0.3 * steps[:, 1::2]   # columns in pairs
    >>> chart = PcaChart(fit_pca(steps[:200], components=3))
    >>> new = steps[200:205].copy()
    >>> new[2, 3], new[4, 0] = new[2, 3] + 3.0, np.nan          # a pair that comes apart, and a gap
    >>> v = judge(chart, new)
    >>> v.signal, [share.name for share in contributions(chart.model, new[2]).top(1, "Q")]
    (array([0, 0, 2, 0, 0], dtype=uint32), ['x4'])

    Reference: at the head of `models.pca`.
    """

    model: Artefact
    alpha: float = ALPHA
    observed_min: float = 0.5

    name = "multivariate.pca"
    version = 1
    statistics = ("T2", "Q")
    rules = (
        Rule(
            "t2_beyond_limit",
            "T² is above its limit: an unusual amount of what the columns have in common",
            "critical",
            0,
        ),
        Rule("q_beyond_limit", "Q is above its limit: the correlation between columns is broken", "critical", 1),
        Rule("constant_moved", "a column that never changed in Phase I has another value", "warning", 1),
    )

    def __post_init__(self) -> None:
        of_kind(self.model, "pca")
        if not 0.0 < self.alpha < 1.0:
            raise ValueError(f"alpha = {self.alpha}: a probability between 0 and 1")
        if not 0.0 < self.observed_min <= 1.0:
            raise ValueError(f"observed_min = {self.observed_min}: above 0, at most 1")

    @property
    def dimension(self) -> int:
        """Return p, the number of columns, used or not."""
        return len(self.model.facts["names"])

    @property
    def state(self) -> Mapping[str, Column]:
        """There is none: a row is judged by the model alone."""
        return {}

    def __getstate__(self) -> dict[str, Any]:
        """Pickle the parameters alone: what follows from the model is large, and made again where it arrives."""
        return {part.name: getattr(self, part.name) for part in fields(self)}

    @cached_property
    def _parts(self) -> Parts:
        return parts_of(self.model)

    @cached_property
    def _limits(self) -> np.ndarray:
        """Return the limits (2,) of T² and Q for a whole vector."""
        model, parts = self.model, self._parts
        k = len(parts.eigenvalues)
        if model.facts["limits"] == "theory":
            left = np.clip(np.linalg.eigvalsh(parts.residual), 0.0, None)
            limits = [
                t2_limit(k, self.alpha, model.facts["rows"], model.facts["rows"] - 1.0),
                q_limit(left, self.alpha),
            ]
        else:
            moments = np.array([k, k, *parts.traces]) * parts.spread
            limits = [
                float(moments[c + 1] / moments[c] * stats.chi2.isf(self.alpha, moments[c] ** 2 / moments[c + 1]))
                for c in (0, 2)
            ]
        return np.array(limits)

    def update(self, state: Mapping[str, np.ndarray], batch: SeriesBatch) -> Verdicts:
        """Judge each row by itself."""
        n = len(batch)
        out, signal, valid = np.full((4, n, 2), np.nan), np.zeros(n, np.uint32), np.zeros(n, np.bool_)
        parts = self._parts
        u, k = parts.loadings.shape
        _loop(
            checked_vectors(batch.value, self.dimension), frozen(batch.column("excluded"), np.bool_), parts.use, parts.constant,
            parts.reference, parts.centre, parts.scale, parts.loadings, parts.eigenvalues, parts.residual, parts.residual2,
            parts.traces, parts.spread, frozen(self._limits, np.float64), float(stats.norm.isf(self.alpha)),
            max(1, int(np.ceil(self.observed_min * u))), np.empty(u), np.empty(u, np.int64), np.empty((4, k)),
            np.empty((SQUARES, k, k)), out, signal, valid,
        )  # fmt: skip
        return Verdicts(out[0], out[1], out[2], out[3], signal, valid)

    def explain(self, state: Mapping[str, np.ndarray], batch: SeriesBatch, i: int) -> str:
        """Name the columns with the largest contributions to each statistic that row i has beyond its limit."""
        verdicts = self.update(state, _row(batch, i))
        signal, names = int(verdicts.signal[0]), self.model.facts["names"]
        parts = contributions(self.model, batch.value[i])
        said = []
        if signal & 1:
            said.append(f"T2: {told(names, parts.t2)}")
        if signal & 2:
            said.append(f"Q: {told(names, parts.q)}")
        if signal & 4:
            constant, reference = self._parts.constant, self._parts.reference
            value = batch.value[i, constant]
            moved = constant[~np.isnan(value) & (value != reference)]
            said.append(f"no longer constant: {', '.join(names[j] for j in moved[:TOLD])}")
        return "; ".join(said)


def _row(batch: SeriesBatch, i: int) -> SeriesBatch:
    one = slice(i, i + 1)
    columns = {name: column[one] for name, column in batch.columns.items()}
    return SeriesBatch(
        batch.row[one],
        batch.offset[one],
        batch.event_time_ms[one],
        batch.value[one],
        batch.subgroup[one],
        batch.params,
        columns,
    )


@dataclass(frozen=True)
class Contributions:
    """What each column adds to T² and to Q of one vector: (p,) each, summing to them; 0 for gaps and unused columns."""

    names: tuple[str, ...]
    t2: np.ndarray  # (p,)
    q: np.ndarray  # (p,)
    residual: np.ndarray  # (p,) scaled value less what the model says of it; NaN for gaps and unused columns

    def top(self, k: int = TOLD, statistic: str = "T2") -> tuple[Share, ...]:
        """Return the k largest contributions to "T2" or "Q", the largest first."""
        if statistic not in ("T2", "Q"):
            raise ValueError(f"statistic = {statistic!r}: T2 or Q")
        return largest(self.names, self.t2 if statistic == "T2" else self.q, k)


def contributions(model: Artefact, x: Any) -> Contributions:
    """Return the contributions of each column to T² and Q of one vector x (p,), gaps NaN.

    Both statistics are quadratic forms x'Mx of the scaled vector, and column j's part is x_j (Mx)_j: the parts sum to the
    statistic. If one column alone is far off, the others' values are near 0 and so are their parts, also where a correlated
    column shares its *residual*: the squared residuals that are often plotted for Q (they sum to Q too, and are here as
    `residual`²) smear a fault over such columns. A part may be below 0.

    Reference: Nomikos 1996, "Detection and diagnosis of abnormal batch operations based on multi-way PCA", ISA Trans. 35,
    259–266; Alcala and Qin 2011, "Analysis and generalization of fault diagnosis methods for process monitoring", J. Process
    Control 21, 322–330 (partial decomposition; why it diagnoses a single fault).
    """
    parts = parts_of(of_kind(model, "pca"))
    value = np.array(x, np.float64)
    if value.shape != (len(model.facts["names"]),):
        raise ValueError(f"x {value.shape}: one vector of {len(model.facts['names'])} columns is wanted")
    u, k = parts.loadings.shape
    z, gaps, vectors, squares = np.empty(u), np.empty(u, np.int64), np.empty((4, k)), np.empty((SQUARES, k, k))
    missing = scaled(value, parts.use, parts.centre, parts.scale, z, gaps)
    score(
        z, gaps, missing, parts.loadings, parts.eigenvalues, parts.residual, parts.residual2, parts.traces, vectors, squares,
        np.empty(4),
    )  # fmt: skip
    t, back = vectors[1], squares[4].T if missing else np.eye(k)
    there = np.ones(u, np.bool_)
    there[gaps[:missing]] = False
    e = np.where(there, z - parts.loadings @ t, 0.0)
    t2, q, residual = np.zeros(len(value)), np.zeros(len(value)), np.full(len(value), np.nan)
    t2[parts.use] = z * (parts.loadings @ (back @ (t / parts.eigenvalues)))
    q[parts.use] = z * (e - parts.loadings @ (back @ (parts.loadings.T @ e)))
    residual[parts.use] = np.where(there, e, np.nan)
    return Contributions(tuple(model.facts["names"]), t2, q, residual)


def t2_and_q(model: Artefact, x: Any) -> tuple[float, float]:
    """Return T² and Q of one vector x (p,): the sums of its contributions."""
    found = contributions(model, x)
    return float(found.t2.sum()), float(found.q.sum())
