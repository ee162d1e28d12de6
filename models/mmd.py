"""MMD: any change of the joint distribution of one or several characteristics, by a Gaussian kernel.

Theory of operation
-------------------
The squared maximum mean discrepancy of a window y (n rows) against a reference x (m rows) is
mean k(y, y) − 2 mean k(x, y) + mean k(x, x), with k(a, b) = exp(−|a − b|²/(2 w²)). Without a change it is distributed as
(1/n + 1/m) Σ λ_j z_j², where the z are standard normal and the λ are the eigenvalues of the kernel, centred: those of the
reference's own kernel matrix, divided by m. A job works them out once (`mmd_reference`); the limit at a level follows from them
by Imhof's integral, without permutations and without chance. `update` needs n·m + n²/2 kernel values a test.

References: Gretton, Borgwardt, Rasch, Schölkopf and Smola, Journal of Machine Learning Research 13 (2012) 723–773, eq. 5;
Gretton, Fukumizu, Harchaoui and Sriperumbudur, A fast, consistent kernel two-sample test, NIPS 2009 (the distribution without
a change by eigenvalues); Imhof, Biometrika 48 (1961) 419–426.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from scipy.optimize import brentq

from models.artefact import Artefact, of_kind
from models.detector import PARAMS, Column, Rule, SeriesBatch, Verdicts
from models.drift import ENDS
from models.kernel import frozen, kernel
from models.phase_one import epoch
from models.reference_window import checked_windows

REFERENCE = "drift.mmd"
REFERENCE_ROWS_MAX = 4_096
EIGENVALUES_MAX = 64  # the rest counts with its mean
ALPHA_MIN = 1e-6
X_MAX = 32.0  # in means of the distribution: exceeded with a probability below ALPHA_MIN, however few the eigenvalues
_NEGLIGIBLE = 1e-8  # of Imhof's integrand, where it is cut off
_END_MAX = 10_000.0  # where it is cut off at the latest: few eigenvalues


def mmd_reference(values: np.ndarray, width: float | None = None) -> Artefact:
    """Return an artefact of a reference: values (m,) or (m, p), p characteristics in any units; rows with a gap are left out.

    Each characteristic is divided by its standard deviation. `width` w of the kernel is then the median distance of two rows,
    unless given. A job makes it from known-good history.

    Raises ValueError for fewer than 10 or more than REFERENCE_ROWS_MAX whole rows, or a characteristic that never changes.

    >>> mmd_reference(np.random.default_rng(0).normal(5, 2, (100, 3))).arrays["rows"].shape
    (100, 3)
    """
    values = np.asarray(values, np.float64)
    single = values.ndim == 1
    rows = values[:, None] if single else values
    rows = rows[np.isfinite(rows).all(axis=1)] if rows.ndim == 2 else rows[:0]
    if not 10 <= len(rows) <= REFERENCE_ROWS_MAX:
        raise ValueError(
            f"values {values.shape}: from 10 to {REFERENCE_ROWS_MAX} whole rows are wanted, there are {len(rows)}"
        )
    scale = rows.std(axis=0, ddof=1)
    if (scale <= 0).any():
        raise ValueError(f"characteristic {int(np.argmin(scale))} never changes in these {len(rows)} rows")
    rows = rows / scale
    squares = ((rows[:, None, :] - rows[None, :, :]) ** 2).sum(axis=2)
    if width is None:
        width = float(np.sqrt(np.median(squares[np.triu_indices(len(rows), 1)])))
    if not 0.0 < width < math.inf:
        raise ValueError(f"width = {width}: above 0")
    gram = np.exp(-squares / (2.0 * width**2))
    means = gram.mean(axis=0)
    centred = gram - means[:, None] - means[None, :] + gram.mean()
    eigenvalues = np.clip(np.linalg.eigvalsh(centred)[::-1] / len(rows), 0.0, None)
    kept = eigenvalues[:EIGENVALUES_MAX]
    facts = {
        "rows": len(rows),
        "single": single,
        "width": width,
        "own": float(gram.mean()),  # mean k(x, x)
        "rest": float(eigenvalues[EIGENVALUES_MAX:].sum()),
    }
    return Artefact(REFERENCE, {"rows": rows, "scale": scale, "eigenvalues": kept[kept > 0]}, facts)


class _Imhof:
    """P(Σ w z² > x) for weights above 0 of sum 1 and x up to X_MAX, by Imhof's integral (eq. 3.2) on a fixed grid."""

    def __init__(self, weights: np.ndarray) -> None:
        end = 1.0
        while 0.25 * np.log1p((weights * end) ** 2).sum() + math.log(end) < -math.log(_NEGLIGIBLE) and end < _END_MAX:
            end *= 1.25
        nodes, heights = np.polynomial.legendre.leggauss(16)
        panels = np.linspace(0.0, end, 2 + int(end * X_MAX / (4.0 * math.pi)))  # at most one wave each
        half = 0.5 * np.diff(panels)[:, None]
        self.u = (panels[:-1, None] + half + half * nodes).ravel()
        self.angle = np.zeros_like(self.u)
        log_rho = np.zeros_like(self.u)
        for weight in weights:
            self.angle += 0.5 * np.arctan(weight * self.u)
            log_rho += 0.25 * np.log1p((weight * self.u) ** 2)
        self.height = (half * heights).ravel() / (self.u * np.exp(log_rho))

    def exceedance(self, x: float) -> float:
        """Return P(Σ w z² > x)."""
        return 0.5 + float((np.sin(self.angle - 0.5 * x * self.u) * self.height).sum()) / math.pi


@lru_cache(maxsize=64)
def limit(model: Artefact, alpha: float) -> float:
    """Return what MMD²/(1/n + 1/m) exceeds with probability alpha without a change, to 6 digits, so on every machine."""
    weights = np.asarray(model.arrays["eigenvalues"])
    total = float(weights.sum())
    imhof = _Imhof(weights / total)
    found = brentq(lambda x: imhof.exceedance(x) - alpha, 0.0, X_MAX, xtol=1e-9)
    return float(f"{found * total + model.facts['rest']:.6g}")


@kernel
def _similarity(a: np.ndarray, b: np.ndarray, factor: float) -> float:
    """Return k(a, b) = exp(factor |a − b|²)."""
    squares = 0.0
    for j in range(len(a)):
        squares += (a[j] - b[j]) * (a[j] - b[j])
    return math.exp(factor * squares)


@kernel
def discrepancy(window: np.ndarray, reference: np.ndarray, own: float, factor: float) -> float:
    """Return MMD² of two samples (n, p) and (m, p); `own` is mean k of the reference with itself."""
    n, m = window.shape[0], reference.shape[0]
    within, between = 0.5 * n, 0.0
    for i in range(n):
        for j in range(i):
            within += _similarity(window[i], window[j], factor)
        for j in range(m):
            between += _similarity(window[i], reference[j], factor)
    return float(2.0 * within / (n * n) - 2.0 * between / (n * m) + own)


@kernel
def _loop(
    row: np.ndarray,
    value: np.ndarray,
    params: np.ndarray,
    ends: np.ndarray,
    hop: int,
    reference: np.ndarray,
    scale: np.ndarray,
    own: float,
    factor: float,
    bound: float,
    window: np.ndarray,
    rows: np.ndarray,
    epochs: np.ndarray,
    ordered: np.ndarray,
    out: np.ndarray,
    signal: np.ndarray,
    valid: np.ndarray,
) -> None:
    width, p = window.shape[1], window.shape[2]
    for i in range(row.shape[0]):
        s = row[i]
        whole = True
        for j in range(p):
            whole = whole and abs(value[i, j]) < np.inf
        if not whole:
            continue
        now = epoch(params, s, ends)
        if epochs[s] != now:
            epochs[s] = now
            rows[s] = 0
        for j in range(p):
            window[s, rows[s] % width, j] = value[i, j] / scale[j]
        rows[s] += 1
        if rows[s] < width or (rows[s] - width) % hop != 0:
            continue
        for j in range(width):
            ordered[j] = window[s, (rows[s] + j) % width]
        out[0, i, 0] = discrepancy(ordered, reference, own, factor)
        out[1, i, 0] = 0.0
        out[3, i, 0] = bound
        if out[0, i, 0] > bound:
            signal[i] = 1
            rows[s] = 0
        valid[i] = True


@dataclass(frozen=True)
class MmdDrift:
    """Maximum mean discrepancy of the last `window` rows of a series against a reference: `models.mmd` says how it works.

    `reference` is an artefact of `mmd_reference`, the same for all series. If it is of vectors (m, p), so are the rows judged,
    and any change of their joint distribution counts, also one of a correlation alone. Every `hop`-th row from the `window`-th
    on is judged; all others are not valid. Statistic "MMD2"; centre 0, upper limit that at the level `alpha`, no lower one
    (NaN). False alarms in 10,000 rows: 10,000/hop · alpha for `hop` = `window`, fewer for a smaller one. That is the mean over
    references: one that is off by chance gives more, so let it have several times the rows of the window. Given mu and sigma
    are not used.

    *After a signal* the window starts empty, so that the signal comes again after `window` rows for as long as the distribution
    stays away.

    - Missing, excluded or infinite value, or a vector with a gap: not judged, state untouched.
    - All values equal (sigma 0): another distribution than the reference's, which has a spread; it signals.
    - A change of the limits or a reset: the window starts empty.

    >>> from models import judge
    >>> random = np.random.default_rng(1)
    >>> good = random.multivariate_normal([0, 0], [[1, 0], [0, 1]], 700)
    >>> tied = random.multivariate_normal([0, 0], [[1, 0.9], [0.9, 1]], 200)
    >>> v = judge(MmdDrift(mmd_reference(good[:300])), np.concatenate([good[300:], tied]))
    >>> np.flatnonzero(v.signal)
    array([499, 599])
    """

    reference: Artefact
    window: int = 100
    hop: int = 20
    alpha: float = 0.001

    name = "drift.mmd"
    version = 1
    statistics = ("MMD2",)

    def __post_init__(self) -> None:
        of_kind(self.reference, REFERENCE)
        checked_windows(2, self.window, self.hop, self.alpha)
        if self.alpha < ALPHA_MIN:
            raise ValueError(f"alpha = {self.alpha}: at least {ALPHA_MIN}")

    @property
    def dimension(self) -> int | None:
        """Return the p of the reference's vectors; None if it is of single values."""
        return None if self.reference.facts["single"] else self.reference.arrays["rows"].shape[1]

    @property
    def state(self) -> Mapping[str, Column]:
        """Return the window as a ring, in the reference's standard deviations."""
        width = self.reference.arrays["rows"].shape[1]
        return {"window": Column("f8", (self.window, width)), "rows": Column("i8"), "epoch": Column("i8", (), -1)}

    @property
    def rules(self) -> tuple[Rule, ...]:
        """Return the one rule."""
        return (
            Rule(
                "mmd_above_level", f"another distribution than the reference's, at the level {self.alpha:g}", "critical"
            ),
        )

    def update(self, state: Mapping[str, np.ndarray], batch: SeriesBatch) -> Verdicts:
        """Add each row to the window of its series; test where it is due."""
        n = len(batch)
        out, signal, valid = np.full((4, n, 1), np.nan), np.zeros(n, np.uint32), np.zeros(n, np.bool_)
        model = self.reference
        rows, width = model.arrays["rows"], float(model.facts["width"])
        bound = limit(model, self.alpha) * (1.0 / self.window + 1.0 / len(rows))
        _loop(
            frozen(batch.row, np.int32), frozen(batch.value.reshape(n, rows.shape[1]), np.float64),
            frozen(batch.params, PARAMS), ENDS, int(self.hop), frozen(rows, np.float64),
            frozen(model.arrays["scale"], np.float64), float(model.facts["own"]), -0.5 / width**2, bound,
            state["window"], state["rows"], state["epoch"], np.empty((self.window, rows.shape[1])), out, signal, valid,
        )  # fmt: skip
        return Verdicts(out[0], out[1], out[2], out[3], signal, valid)
