"""Mean vector and covariance matrix of Phase I, and the limits of T² that follow from how they were estimated.

Theory of operation
-------------------
Phase I is a job: `fit_covariance` estimates mean vector and covariance matrix from rows of vectors and returns an artefact of
kind "covariance", which the charts hold (`models.multivariate.HotellingT2`, `models.mewma.Mewma`). `known_covariance` makes one
from parameters that are known. An artefact says from how many rows it comes and with how many degrees of freedom its covariance,
so that the charts' limits allow for the error of estimation.

The limits follow from one statement. Let S with ν degrees of freedom be independent of a mean of `size` rows, and the grand mean
come from `rows` rows. Then T² = size (x̄ − x̿)ᵀ S⁻¹ (x̄ − x̿) is distributed as

    (1 + size / rows) · p ν / (ν − p + 1) · F(p, ν − p + 1).

With ν = rows − 1 and size 1 it is the books' Phase II limit for individuals, p (m + 1)(m − 1)/(m² − m p) · F(p, m − p); with
ν = m (n − 1) and rows = m n that for subgroups, p (m + 1)(n − 1)/(m n − m − p + 1) · F(p, m n − m − p + 1). Known parameters
are ν = rows = ∞: chi-square with p degrees of freedom.

Reference: Montgomery, Introduction to SQC, 7th ed., §11.3.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
from scipy import stats

from models.artefact import Artefact
from models.judging import as_values

ALPHA = 0.0027  # false alarms of a chart with 3 sigma limits
CONDITION_MIN = 1e-12  # smallest over largest eigenvalue of the correlation matrix

Estimator = Literal["sample", "successive"]
ESTIMATORS: tuple[Estimator, ...] = ("sample", "successive")


def known_covariance(mean: Any, covariance: Any, names: Sequence[str] | None = None) -> Artefact:
    """Return the artefact of known parameters: mean vector (p,) and covariance matrix (p, p).

    Raises ValueError if they do not fit or the matrix is not positive definite.
    """
    return _artefact(np.array(mean, np.float64), np.array(covariance, np.float64), names, rows=None, degrees=None)


def fit_covariance(
    values: Any, subgroup: Any = None, estimator: Estimator = "sample", names: Sequence[str] | None = None
) -> Artefact:
    """Estimate mean vector and covariance matrix from Phase I rows (n, p): an artefact of kind "covariance".

    - With `subgroup` (n labels), the covariance is pooled within subgroups: Σ (n_k − 1) S_k / Σ (n_k − 1).
    - Without, "sample" is the covariance of all rows; "successive" half the mean product of the differences from row to row
      (Holmes and Mergen 1993), which a shift or a slow drift in Phase I hardly widens (Sullivan and Woodall 1996). Its
      distribution is near that with 2 (n − 1)² / (3 n − 4) degrees of freedom (Scholz and Tosch 1994).

    Rows with a gap are left out and counted in `facts["dropped"]`. Raises ValueError for an unknown estimator, too few rows, a
    column that is constant, or one that is a linear combination of others.

    >>> model = fit_covariance([[1.0, 2.0], [2.0, 1.0], [3.0, 5.0], [2.0, 4.0]])
    >>> model.arrays["mean"], model.arrays["covariance"].round(3).tolist(), model.facts["degrees"]
    (array([2., 3.]), [[0.667, 1.0], [1.0, 3.333]], 3.0)
    """
    if estimator not in ESTIMATORS:
        raise ValueError(f"estimator = {estimator!r}: one of {ESTIMATORS}")
    x = as_values(values)
    if x.ndim != 2:
        raise ValueError(f"values {x.shape}: (n, p) is wanted")
    whole = np.isfinite(x).all(axis=1)
    rows = x[whole]
    if subgroup is not None:
        if estimator != "sample":
            raise ValueError(f"estimator = {estimator!r}: with subgroups the covariance is pooled within them")
        covariance, degrees = _pooled(rows, np.asarray(subgroup)[whole])
    elif len(rows) < 2:
        raise ValueError(f"{len(rows)} rows without a gap: at least 2 are needed")
    elif estimator == "successive":
        steps = np.diff(rows, axis=0)
        covariance, degrees = steps.T @ steps / (2.0 * len(steps)), successive_degrees(len(rows))
    else:
        covariance, degrees = np.atleast_2d(np.cov(rows, rowvar=False)), len(rows) - 1.0
    if degrees < x.shape[1]:
        raise ValueError(f"{degrees:g} degrees of freedom for {x.shape[1]} columns: a chart needs at least as many")
    facts = {"estimator": "pooled" if subgroup is not None else estimator, "dropped": int((~whole).sum())}
    return _artefact(rows.mean(axis=0), covariance, names, rows=len(rows), degrees=degrees, **facts)


def _pooled(rows: np.ndarray, subgroup: np.ndarray) -> tuple[np.ndarray, float]:
    """Return the covariance within subgroups, and its degrees of freedom."""
    _, code, size = np.unique(subgroup, return_inverse=True, return_counts=True)
    degrees = float(len(rows) - len(size))
    if degrees < 1:
        raise ValueError(f"{len(rows)} rows without a gap in {len(size)} subgroups: there is nothing within them")
    total = np.zeros((len(size), rows.shape[1]))
    np.add.at(total, code, rows)
    within = rows - (total / size[:, None])[code]
    return within.T @ within / degrees, degrees


def _artefact(
    mean: np.ndarray,
    covariance: np.ndarray,
    names: Sequence[str] | None,
    rows: int | None,
    degrees: float | None,
    **facts: Any,
) -> Artefact:
    p = len(mean)
    if mean.ndim != 1 or covariance.shape != (p, p):
        raise ValueError(f"mean {mean.shape} and covariance {covariance.shape}: (p,) and (p, p) are wanted")
    named = tuple(names) if names is not None else tuple(f"x{j + 1}" for j in range(p))
    if len(named) != p:
        raise ValueError(f"{len(named)} names for {p} columns")
    if not (np.isfinite(mean).all() and np.isfinite(covariance).all() and np.allclose(covariance, covariance.T)):
        raise ValueError("mean and covariance are to be finite, the covariance symmetric")
    constant = [name for name, variance in zip(named, np.diag(covariance), strict=True) if not variance > 0]
    if constant:
        raise ValueError(f"no variance in {', '.join(constant)}: leave constant columns out")
    sigma = np.sqrt(np.diag(covariance))
    eigenvalues = np.linalg.eigvalsh(covariance / np.outer(sigma, sigma))
    if eigenvalues[0] < CONDITION_MIN * eigenvalues[-1]:
        raise ValueError("a column is a linear combination of others: leave it out, or use models.pca")
    symmetric = (covariance + covariance.T) / 2.0
    return Artefact(
        "covariance",
        {"mean": mean, "covariance": symmetric},
        {"rows": rows, "degrees": degrees, "names": list(named), **facts},
    )


def successive_degrees(rows: int) -> float:
    """Return the degrees of freedom of the covariance from successive differences of so many rows."""
    return 2.0 * (rows - 1.0) ** 2 / (3.0 * rows - 4.0)


def t2_limit(
    p: int, alpha: float = ALPHA, rows: int | None = None, degrees: float | None = None, size: int = 1
) -> float:
    """Return the Phase II upper limit of T² for means of `size` rows, p variables; without `rows`, parameters are known.

    `rows` is how many the mean vector comes from, `degrees` those of the covariance. See the head of this module.

    >>> round(t2_limit(2, 0.001), 3), round(t2_limit(2, 0.001, rows=200, degrees=180.0, size=10), 2)
    (13.816, 15.17)
    """
    _checked_alpha(alpha)
    if rows is None or degrees is None:
        return float(stats.chi2.isf(alpha, p))
    second = degrees - p + 1.0
    if second <= 0:
        raise ValueError(f"{degrees:g} degrees of freedom for {p} variables: there is no limit")
    return float((1.0 + size / rows) * p * degrees / second * stats.f.isf(alpha, p, second))


def phase_one_limit(
    p: int, samples: int, alpha: float = ALPHA, subgroup_size: int = 1, estimator: Estimator = "sample"
) -> float:
    """Return the Phase I upper limit of T²: for points that are themselves among those the parameters come from.

    `samples` is the number m of individuals, or of subgroups of `subgroup_size`.

    - Individuals: (m − 1)²/m times a beta quantile with p/2 and (m − p − 1)/2 (Tracy, Young and Mason 1992). With successive
      differences, chi-square with p degrees of freedom, as Williams et al. 2006 advise for large m. Simulated at alpha 0.01 and
      m from 20 to 100, it gives 0.8 to 1.1 % within the rows, and 1.3 to 2.5 % at the first and the last one, which only one
      difference knows; the beta quantile with 2 (m − 1)²/(3 m − 4) for m, also in use, 0.03 to 0.3 % within.
    - Subgroups: p (m − 1)(n − 1)/(m n − m − p + 1) times an F quantile (Montgomery §11.3.1).

    >>> round(phase_one_limit(2, 20, 0.001, subgroup_size=10), 2)  # Montgomery, example 11.1
    13.72
    """
    _checked_alpha(alpha)
    if estimator not in ESTIMATORS:
        raise ValueError(f"estimator = {estimator!r}: one of {ESTIMATORS}")
    if subgroup_size > 1:
        degrees = samples * (subgroup_size - 1.0)
        second = degrees - p + 1.0
        if second <= 0 or samples < 2:
            raise ValueError(f"{samples} subgroups of {subgroup_size} for {p} variables: there is no limit")
        return float(p * (1.0 - 1.0 / samples) * degrees / second * stats.f.isf(alpha, p, second))
    if estimator == "successive":
        return t2_limit(p, alpha)
    second = samples - p - 1.0
    if second <= 0:
        raise ValueError(f"{samples} individuals for {p} variables: there is no limit")
    return float((samples - 1.0) ** 2 / samples * stats.beta.isf(alpha, p / 2.0, second / 2.0))


def _checked_alpha(alpha: float) -> None:
    if not 0.0 < alpha < 1.0:
        raise ValueError(f"alpha = {alpha}: a probability between 0 and 1")
