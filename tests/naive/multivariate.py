"""Slow, obvious oracles of the multivariate charts: whole matrices, inverted, as the definitions read."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple

import numpy as np


def covariance(rows: np.ndarray) -> np.ndarray:
    """Return Σ (x − x̄)(x − x̄)' / (n − 1)."""
    mean = sum(rows) / len(rows)
    return sum(np.outer(x - mean, x - mean) for x in rows) / (len(rows) - 1)


def pooled(rows: np.ndarray, labels: Sequence[object]) -> np.ndarray:
    """Return Σ (n_k − 1) S_k / Σ (n_k − 1) over the groups of equal labels."""
    groups = [rows[[i for i, label in enumerate(labels) if label == name]] for name in dict.fromkeys(labels)]
    groups = [group for group in groups if len(group) > 1]
    return sum((len(group) - 1) * covariance(group) for group in groups) / sum(len(group) - 1 for group in groups)


def successive(rows: np.ndarray) -> np.ndarray:
    """Return half the mean of d d' over the differences d from row to row."""
    steps = [b - a for a, b in pairwise(rows)]
    return sum(np.outer(d, d) for d in steps) / (2 * len(steps))


def t2(x: np.ndarray, mean: np.ndarray, sigma: np.ndarray) -> float:
    """Return (x − mean)' Σ⁻¹ (x − mean) over the entries that are there, by their block of Σ."""
    there = np.flatnonzero(np.isfinite(x))
    d = (x - mean)[there]
    return float(d @ np.linalg.inv(sigma[np.ix_(there, there)]) @ d)


class Closed(NamedTuple):
    """A closed subgroup: the row that closes it, and its vectors."""

    at: int
    rows: list[np.ndarray]


def subgroups(rows: np.ndarray, names: Sequence[int], size: int) -> list[Closed]:
    """Cut the rows without a gap into subgroups."""
    whole = [i for i, x in enumerate(rows) if np.isfinite(x).all()]
    closed: list[Closed] = []
    current: list[int] = []
    for i in whole:
        if current and names[i] != names[current[-1]]:
            closed.append(Closed(i, [rows[j] for j in current]))
            current = []
        current = [*current, i]
        if len(current) == size:
            closed.append(Closed(i, [rows[j] for j in current]))
            current = []
    return closed


def mewma(rows: np.ndarray, mean: np.ndarray, sigma: np.ndarray, weight: float, steady: bool) -> list[float]:
    """Return T² of Z after each row; NaN for a row with a gap. Z and its covariance are sums over all rows so far."""
    out, seen = [], []
    for x in rows:
        if not np.isfinite(x).all():
            out.append(float("nan"))
            continue
        seen = [*seen, x - mean]
        weights = [weight * (1 - weight) ** age for age in reversed(range(len(seen)))]
        z = sum(w * d for w, d in zip(weights, seen, strict=True))
        squares = weight / (2 - weight) if steady else sum(w**2 for w in weights)
        out.append(float(z @ np.linalg.inv(squares * sigma) @ z))
    return out


class Scored(NamedTuple):
    """T² and Q of a row with gaps, and the covariances that they are weighted sums of squares by."""

    t2: float
    q: float
    scores: np.ndarray  # W
    residual: np.ndarray  # E


def pca_score(z: np.ndarray, loadings: np.ndarray, eigenvalues: np.ndarray, residual: np.ndarray) -> Scored:
    """Score a scaled row, gaps NaN: t is the regression of the scores on the trimmed scores τ = P_o'x_o."""
    there = np.isfinite(z)
    p_o, lam = loadings[there], np.diag(eigenvalues)
    sigma = (loadings @ lam @ loadings.T + residual)[np.ix_(there, there)]
    with_tau = lam @ p_o.T @ p_o  # cov(t, τ)
    of_tau = p_o.T @ sigma @ p_o
    a = with_tau @ np.linalg.inv(of_tau) @ p_o.T
    t = a @ z[there]
    left = np.eye(int(there.sum())) - p_o @ a
    e = left @ z[there]
    root = np.diag(eigenvalues**-0.5)
    return Scored(float(t @ np.linalg.inv(lam) @ t), float(e @ e), root @ a @ sigma @ a.T @ root, left @ sigma @ left.T)
