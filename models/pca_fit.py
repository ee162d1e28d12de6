"""Phase I of the PCA chart: loadings from rows with gaps, as a job does it once.

Theory of operation
-------------------
Columns are scaled by mean and standard deviation of the entries that are there. Four kinds are told apart: *constant* ones,
which have no scale; *rare* ones, where less than `varied_min` of the entries differ from the most common one, so that the
standard deviation is that of a few odd values; *sparse* ones, with entries in less than `present_min` of the rows; and those
that are used.

Gaps are filled by the EM algorithm for normal rows (Dempster, Laird and Rubin 1977): every row's gaps get their conditional mean
given what is there, the covariance matrix gets what the filled rows show **plus the conditional covariance of what was filled**,
until the filled values stand still. Without the second term filled entries would have no residual, and the limit of Q would come
out too low in the columns with most gaps. The covariance that rows are filled by is the present one with the part outside the k
components shrunk towards an equal variance in all its directions, by u / (n + u) for u columns and n rows: hardly at all with
many rows, and with few half way to probabilistic PCA (Tipping and Bishop 1999), which needs no more rows than components.

The covariance matrix at the end is split into k components and the rest, P Λ P' + S, which the chart keeps whole: limits of rows
with gaps need it.

**Limits.** "theory" takes F for T² and Jackson and Mudholkar for Q, both right for normal rows that are many times the columns.
Where they are fewer, loadings bend towards the rows that they come from, and new rows lie further outside than these did.
"held_out" measures that: `folds` times, every `folds`-th row is judged by a model of the others, and g χ²_h is matched to the
median and the 90 % point of what T² and Q then are, over what was expected of each row with its gaps. Two quantiles rather than
moments, so that a few odd rows in Phase I do not set the limits. Held-out rows are spread over Phase I: what the limits allow for
is chance, not drift. Without a wish, limits are in theory from 10 rows per used column on, else held out.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, Literal, NamedTuple

import numpy as np
from scipy import linalg, optimize, stats
from threadpoolctl import threadpool_limits

from models.artefact import Artefact
from models.judging import as_values
from models.kernel import frozen
from models.pca_score import SQUARES, scaled, score

EM_ROUNDS_MAX = 50
EM_CHANGE = 1e-2  # standard deviations, root mean square over what is filled: then it stands still
HELD_OUT_HIGH = 0.9  # the upper quantile that held-out statistics are matched at
ROWS_PER_COLUMN = 10  # from which limits "theory" are taken if none are asked for
ROW_PRESENT_MIN = 0.5  # of the used columns; a row with less is not learned from
NOISE_MIN = 1e-9  # least variance of a left-out direction, in units of a column's variance

Limits = Literal["theory", "held_out"]


class Parts(NamedTuple):
    """An artefact's arrays as the kernels take them: u used columns of p, k components."""

    use: np.ndarray  # (u,) int64, which of the p
    constant: np.ndarray  # (c,) int64
    reference: np.ndarray  # (c,) what the constant columns say
    centre: np.ndarray  # (u,) in the columns' units
    scale: np.ndarray  # (u,)
    loadings: np.ndarray  # (u, k)
    eigenvalues: np.ndarray  # (k,) falling
    residual: np.ndarray  # (u, u) S
    residual2: np.ndarray  # (u, u) S²
    traces: np.ndarray  # (2,) of S and S²
    spread: np.ndarray  # (4,) of mean and variance of T², then of Q: measured over expected; 1 in theory


def parts_of(model: Artefact) -> Parts:
    """Return the arrays of an artefact of kind "pca", with what follows from them."""
    residual = model.arrays["residual"]
    derived = {
        "residual2": residual @ residual,
        "traces": np.array([np.trace(residual), (residual**2).sum()]),
    }
    arrays = {**model.arrays, **derived}
    integers = ("use", "constant")
    return Parts(**{name: frozen(arrays[name], np.int64 if name in integers else np.float64) for name in Parts._fields})


class _Spectrum(NamedTuple):
    """Mean and covariance of scaled, filled rows, and the k components."""

    mean: np.ndarray  # (u,)
    values: np.ndarray  # (k,) falling
    vectors: np.ndarray  # (u, k) in columns
    covariance: np.ndarray  # (u, u)


def fit_pca(
    values: Any,
    components: int | None = None,
    explained: float = 0.9,
    names: Sequence[str] | None = None,
    present_min: float = 0.5,
    varied_min: float = 0.05,
    limits: Limits | None = None,
    folds: int = 5,
    facts: Mapping[str, Any] | None = None,
) -> Artefact:
    """Fit loadings to Phase I rows (n, p), gaps NaN, in time order; return an artefact of kind "pca".

    k is `components`, or as few as carry the share `explained` of the variance of the scaled columns. `facts` are added to the
    artefact's (data range, author). How gaps, constant and sparse columns are dealt with, and what `limits` means, stands at the
    head of `models.pca_fit`. Linear algebra runs on one thread: on a busy machine that is faster by far. The last bits of the
    result depend on the machine; the artefact, once made, is the same everywhere.

    `facts["rounds"]` says how often the gaps were filled; at EM_ROUNDS_MAX they did not quite stand still.
    Rows with less than half of the used columns are left out and counted in `facts["dropped"]`.

    Raises ValueError if there are fewer than k + 2 rows, if k leaves nothing to Q, or for parameters without meaning.

    >>> x = np.arange(12.0).reshape(6, 2) * [[1.0, -2.0]] + [[0, 1], [2, 0], [0, 3], [1, 1], [0, 0], [2, 1]]
    >>> model = fit_pca(x, components=1, names=["a", "b"])
    >>> model.arrays["loadings"].ravel().round(3), model.arrays["eigenvalues"].round(2)
    (array([ 0.707, -0.707]), array([1.98]))

    Reference: Dempster, Laird and Rubin 1977, "Maximum likelihood from incomplete data via the EM algorithm", J. R. Statist.
    Soc. B 39, 1–38; Tipping and Bishop 1999, "Probabilistic principal component analysis", J. R. Statist. Soc. B 61, 611–622.
    """
    x = np.array(as_values(values))
    if x.ndim != 2:
        raise ValueError(f"values {x.shape}: (n, p) is wanted")
    named = tuple(names) if names is not None else tuple(f"x{j + 1}" for j in range(x.shape[1]))
    _checked(x, named, components, explained, present_min, varied_min, limits, folds)
    x[~np.isfinite(x)] = np.nan
    rows = len(x)
    use = _kinds(x, present_min, varied_min)["use"]
    if len(use) < 2:
        raise ValueError(f"{len(use)} of {x.shape[1]} columns can be used: the others are constant, rare or sparse")
    kept = np.isfinite(x[:, use]).mean(axis=1) >= ROW_PRESENT_MIN
    x = x[kept]
    kinds = _kinds(x, present_min, varied_min)
    use = kinds["use"]
    centre, scale = np.nanmean(x[:, use], axis=0), np.nanstd(x[:, use], axis=0, ddof=1)
    z = (x[:, use] - centre) / scale
    with threadpool_limits(1):
        full, extra, k, rounds = _filled(z, components, explained)
        spectrum = _spectrum(full, extra, k)
        if limits is None:
            limits = "theory" if len(x) >= ROWS_PER_COLUMN * len(use) else "held_out"
        spread = _held_out(z, full, k, folds) if limits == "held_out" else np.ones(4)
    arrays = {
        "use": use, "constant": kinds["constant"], "reference": np.nanmax(x[:, kinds["constant"]], axis=0, initial=-np.inf),
        "centre": centre + scale * spectrum.mean, "scale": scale, "spread": spread, **_split(spectrum),
    }  # fmt: skip
    known = {
        "rows": len(x),
        "dropped": rows - len(x), "names": list(named), "limits": limits, "rounds": rounds, "gaps": float(np.isnan(x).mean()),
        "explained": float(spectrum.values.sum() / np.trace(spectrum.covariance)),
        "sparse": [named[j] for j in kinds["sparse"].tolist()], "rare": [named[j] for j in kinds["rare"].tolist()],
    }  # fmt: skip
    return Artefact("pca", arrays, {**known, **(facts or {})})


def _checked(
    x: np.ndarray,
    names: tuple[str, ...],
    components: int | None,
    explained: float,
    present_min: float,
    varied_min: float,
    limits: str | None,
    folds: int,
) -> None:
    n, p = x.shape
    if len(names) != p:
        raise ValueError(f"{len(names)} names for {p} columns")
    if components is not None and not 1 <= components <= n - 2:
        raise ValueError(f"components = {components}: from {n} rows, 1 to {n - 2}")
    if not 0.0 < explained < 1.0:
        raise ValueError(f"explained = {explained}: a share between 0 and 1")
    if not 0.0 < present_min <= 1.0:
        raise ValueError(f"present_min = {present_min}: above 0, at most 1")
    if not 0.0 <= varied_min < 1.0:
        raise ValueError(f"varied_min = {varied_min}: 0 or more, below 1")
    if limits not in (None, "theory", "held_out"):
        raise ValueError(f"limits = {limits!r}: theory or held_out")
    if not 2 <= folds <= n:
        raise ValueError(f"folds = {folds}: 2 to the number of rows, {n}")


def _kinds(x: np.ndarray, present_min: float, varied_min: float) -> dict[str, np.ndarray]:
    """Sort the columns: which of the p are used, constant, rare, sparse; see the head of this module."""
    kinds: dict[str, list[int]] = {"use": [], "constant": [], "rare": [], "sparse": []}
    for j, column in enumerate(x.T):
        there = column[~np.isnan(column)]
        if len(there) < max(2.0, present_min * len(x)):
            kinds["sparse"].append(j)
            continue
        same = int(np.unique(there, return_counts=True)[1].max())
        kind = "constant" if same == len(there) else "rare" if len(there) - same < varied_min * len(there) else "use"
        kinds[kind].append(j)
    return {name: np.array(found, np.int64) for name, found in kinds.items()}


def _filled(z: np.ndarray, components: int | None, explained: float) -> tuple[np.ndarray, np.ndarray, int, int]:
    """Fill the gaps of scaled rows by EM; return them, the sum of conditional covariances, k, and the rounds it took."""
    gap, u = np.isnan(z), z.shape[1]
    full, extra = np.where(gap, 0.0, z), np.zeros((u, u))
    k = _rank(full, components, explained)
    for rounds in range(1, EM_ROUNDS_MAX + 1):
        if not gap.any():
            break
        before = full[gap]
        full, extra = _conditional(full, gap, _spectrum(full, extra, k))
        if float(np.sqrt(np.mean((full[gap] - before) ** 2))) < EM_CHANGE:
            return full, extra, k, rounds
    return full, extra, k, EM_ROUNDS_MAX if gap.any() else 0


def _rank(full: np.ndarray, components: int | None, explained: float) -> int:
    """Return k: as wanted, or as few as explain the share of the variance, gaps at their means."""
    n, u = full.shape
    k = components
    if k is None:
        values = np.linalg.svd(full - full.mean(axis=0), compute_uv=False) ** 2
        k = int(np.searchsorted(np.cumsum(values) / values.sum(), explained)) + 1 if u else 1
    if k >= u or n < k + 2:
        raise ValueError(f"{k} components of {u} columns that vary, from {n} rows: nothing is left for Q")
    return k


def _spectrum(full: np.ndarray, extra: np.ndarray, k: int) -> _Spectrum:
    """Return mean, covariance (with what filling took away put back) and its first k eigenvectors."""
    u = full.shape[1]
    mean = full.mean(axis=0)
    centred = full - mean
    covariance = (centred.T @ centred + extra) / (len(full) - 1.0)
    values, vectors = linalg.eigh(covariance, subset_by_index=(u - k, u - 1))
    return _Spectrum(mean, np.maximum(values[::-1], NOISE_MIN), vectors[:, ::-1], covariance)


def _split(spectrum: _Spectrum) -> dict[str, np.ndarray]:
    """Return loadings, with the largest entry of each positive, eigenvalues, and the covariance of the rest."""
    P = spectrum.vectors
    P = P * np.where(P[np.abs(P).argmax(axis=0), np.arange(P.shape[1])] < 0, -1.0, 1.0)
    rest = np.eye(len(P)) - P @ P.T
    residual = rest @ spectrum.covariance @ rest  # twice: to rounding, nothing of it is in the components
    return {"loadings": P, "eigenvalues": spectrum.values, "residual": (residual + residual.T) / 2.0}


def _conditional(full: np.ndarray, gap: np.ndarray, spectrum: _Spectrum) -> tuple[np.ndarray, np.ndarray]:
    """Return the rows with gaps at their conditional means, and the sum of the conditional covariances (u, u)."""
    P, n, u = spectrum.vectors, *full.shape
    signal, rest = (P * spectrum.values) @ P.T, np.eye(u) - P @ P.T
    left = spectrum.covariance - signal
    noise = max(float(np.trace(left)) / (u - P.shape[1]), NOISE_MIN)
    shrunk = u / (n + u)
    precision = np.linalg.inv(signal + (1.0 - shrunk) * left + shrunk * noise * rest + NOISE_MIN * np.eye(u))
    out, extra = full.copy(), np.zeros_like(precision)
    for i in np.flatnonzero(gap.any(axis=1)).tolist():
        m, o = np.flatnonzero(gap[i]), np.flatnonzero(~gap[i])
        inverse = np.linalg.inv(precision[np.ix_(m, m)])
        out[i, m] = spectrum.mean[m] - inverse @ (precision[np.ix_(m, o)] @ (full[i, o] - spectrum.mean[o]))
        extra[np.ix_(m, m)] += inverse
    return out, extra


def _held_out(z: np.ndarray, full: np.ndarray, k: int, folds: int) -> np.ndarray:
    """Return mean and variance of T² and of Q on rows held out, over what a model expects of them: (4,).

    z are the scaled rows with their gaps, `full` the same filled.
    """
    u = z.shape[1]
    found = []
    for fold in range(folds):
        kept = np.delete(np.arange(len(z)), np.arange(fold, len(z), folds))
        gap = np.isnan(z[kept])
        spectrum = _spectrum(*_conditional(full[kept], gap, _spectrum(full[kept], np.zeros((u, u)), k)), k)
        arrays = {
            "use": np.arange(u), "constant": np.zeros(0), "reference": np.zeros(0), "centre": spectrum.mean,
            "scale": np.ones(u), "spread": np.ones(4), **_split(spectrum),
        }  # fmt: skip
        found.append(_scores(parts_of(Artefact("pca", arrays)), z[fold::folds]))
    scores = np.concatenate(found)
    t2 = _matched(scores[:, 0], scores[:, 2], scores[:, 3])
    return np.array([*t2, *_matched(scores[:, 1], scores[:, 4], scores[:, 5])])


def _matched(statistic: np.ndarray, mean: np.ndarray, square: np.ndarray) -> tuple[float, float]:
    """Return mean and variance, over the expected ones, of the g χ²_h that has the median and the upper quantile seen."""
    ratio = statistic / mean
    middle, high = np.quantile(ratio, [0.5, HELD_OUT_HIGH]).tolist()

    def stretch(log_h: float) -> float:
        h = math.exp(log_h)
        return float(stats.chi2.ppf(HELD_OUT_HIGH, h) / stats.chi2.ppf(0.5, h) - high / middle)

    low, top = math.log(0.05), math.log(1e6)
    if stretch(low) <= 0.0:
        h = math.exp(low)
    else:
        h = math.exp(float(optimize.brentq(stretch, low, top))) if stretch(top) < 0.0 else math.exp(top)
    g = middle / float(stats.chi2.ppf(0.5, h))
    return float(g * h), float(g * g * h / np.mean(square / mean**2))


def _scores(parts: Parts, x: np.ndarray) -> np.ndarray:
    """Return T², Q, tr W, tr W², tr E and tr E² of each row of x: (n, 6)."""
    u, k = parts.loadings.shape
    z, gaps, vectors, squares = np.empty(u), np.empty(u, np.int64), np.empty((4, k)), np.empty((SQUARES, k, k))
    scores = np.empty((len(x), 6))
    for i, row in enumerate(x):
        missing = scaled(frozen(row, np.float64), parts.use, parts.centre, parts.scale, z, gaps)
        scores[i, :2] = score(
            z, gaps, missing, parts.loadings, parts.eigenvalues, parts.residual, parts.residual2, parts.traces, vectors, squares,
            scores[i, 2:],
        )  # fmt: skip
    return scores
