"""T² and Q of one vector with gaps, and how they are distributed: the arithmetic of `models.pca`.

Theory of operation
-------------------
A scaled vector is x = P t + e: scores t with covariance Λ (diagonal) in k components P, and a residual e with covariance S in the
rest of the space, P'S = 0. Of a whole vector the scores are P'x, T² = t'Λ⁻¹t, Q = x'x − t't.

Of a vector with gaps only x_o is there. Its *trimmed scores* τ = P_o'x_o are the sum that the gaps leave of P'x. With H = P_o'P_o
and B = P_o'S_oo P_o they have covariance K = H Λ H + B, and the best linear guess of the scores from them is

    t = D τ,  D = Λ H K⁻¹        (trimmed score regression: Arteaga and Ferrer 2002)

which is P'x again without gaps, and needs no division by what the gaps have taken away: a component that lies in the gaps is
guessed as 0, its mean. T² = t'Λ⁻¹t of these scores and Q = |x_o − P_o t|² over the observed entries are then no longer what they
are for whole vectors, so neither are their limits. For normal x both are weighted sums of squares with

    E T² = tr W,  Var T² = 2 tr W²,  where W = Λ⁻½ V Λ⁻½ and V = D K D' is the covariance of t;
    E Q  = tr E,  Var Q  = 2 tr E²,  where E is the covariance of x_o − P_o t,

and a row's limit is the limit for whole vectors times the ratio of two Box approximations g χ²_h, one with the row's moments and
one with those of a whole vector. The false-alarm rate so stays what it is for whole vectors, however many gaps there are.

What makes this cheap is that P'S = 0 turns every product over the observed into one over the gaps m, which are few:
H = I − P_m'P_m, B = P_m'S_mm P_m and, with C = P_m'((S²)_mm − S_mm²)P_m, X = Λ − V, G = X H:

    tr E  = tr S_oo − tr G
    tr E² = tr S_oo² − tr G² + 2 tr(H D C D') + 2 tr(X B) − 4 tr(D C).

`tests/naive/multivariate.py` has the same from whole matrices, as they read.
"""

from __future__ import annotations

import numpy as np

from models.kernel import kernel
from models.linear import backward, factor, forward
from models.phase_one import is_given

RIDGE = 1e-12  # times the largest eigenvalue, on K: where gaps take a component away wholly, K is singular
SQUARES = 7  # k×k matrices of workspace


@kernel
def scaled(
    x: np.ndarray, use: np.ndarray, centre: np.ndarray, scale: np.ndarray, z: np.ndarray, gaps: np.ndarray
) -> int:
    """Scale the used columns of x (p,) into z (u,), 0 in gaps; list the gaps; return how many there are."""
    missing = 0
    for j in range(use.shape[0]):
        if is_given(x[use[j]]):
            z[j] = (x[use[j]] - centre[j]) / scale[j]
        else:
            z[j] = 0.0
            gaps[missing] = j
            missing += 1
    return missing


@kernel
def trimmed(z: np.ndarray, loadings: np.ndarray, tau: np.ndarray) -> None:
    """Sum P'z into tau (k,); gaps are 0 in z."""
    tau[:] = 0.0
    for j in range(z.shape[0]):
        if z[j] != 0.0:
            for a in range(tau.shape[0]):
                tau[a] += loadings[j, a] * z[j]


@kernel
def _product(a: np.ndarray, b: np.ndarray, out: np.ndarray) -> None:
    """Put a b into out; all k×k."""
    k = a.shape[0]
    out[:] = 0.0
    for i in range(k):
        for m in range(k):
            factor_ = a[i, m]
            for j in range(k):
                out[i, j] += factor_ * b[m, j]


@kernel
def _dot(a: np.ndarray, b: np.ndarray) -> float:
    """Return Σ a_ij b_ij, which is tr(a b') of two k×k matrices."""
    total = 0.0
    for i in range(a.shape[0]):
        for j in range(a.shape[1]):
            total += a[i, j] * b[i, j]
    return total


@kernel
def _gram(
    gaps: np.ndarray,
    missing: int,
    loadings: np.ndarray,
    residual: np.ndarray,
    residual2: np.ndarray,
    rows: np.ndarray,
    H: np.ndarray,
    B: np.ndarray,
    C: np.ndarray,
) -> None:
    """Fill H = I − P_m'P_m, B = P_m'S_mm P_m and C = P_m'(S²)_mm P_m − (S_mm P_m)'(S_mm P_m)."""
    k = H.shape[0]
    H[:] = 0.0
    B[:] = 0.0
    C[:] = 0.0
    for a in range(k):
        H[a, a] = 1.0
    for q in range(missing):
        i = gaps[q]
        once, twice = rows[0], rows[1]  # row i of S_mm P_m and of (S²)_mm P_m
        once[:] = 0.0
        twice[:] = 0.0
        for r in range(missing):
            j = gaps[r]
            one, two = residual[i, j], residual2[i, j]
            for a in range(k):
                once[a] += one * loadings[j, a]
                twice[a] += two * loadings[j, a]
        for a in range(k):
            p_a, once_a = loadings[i, a], once[a]
            for b in range(k):
                H[a, b] -= p_a * loadings[i, b]
                B[a, b] += p_a * once[b]
                C[a, b] += p_a * twice[b] - once_a * once[b]


@kernel
def _regression(eigenvalues: np.ndarray, H: np.ndarray, B: np.ndarray, K: np.ndarray, D: np.ndarray) -> None:
    """Fill D = Λ H K⁻¹ with K = H Λ H + B; K is left as its Cholesky factor."""
    k = H.shape[0]
    for a in range(k):
        for b in range(k):
            D[a, b] = eigenvalues[a] * H[a, b]
    _product(H, D, K)
    for a in range(k):
        for b in range(k):
            K[a, b] += B[a, b]
        K[a, a] += RIDGE * eigenvalues[0]
    factor(K, k)
    for a in range(k):  # row a of D is K⁻¹ applied to row a of Λ H
        forward(K, D[a], k)
        backward(K, D[a], k)


@kernel
def score(
    z: np.ndarray,
    gaps: np.ndarray,
    missing: int,
    loadings: np.ndarray,
    eigenvalues: np.ndarray,
    residual: np.ndarray,
    residual2: np.ndarray,
    traces: np.ndarray,
    vectors: np.ndarray,
    squares: np.ndarray,
    moments: np.ndarray,
) -> tuple[float, float]:
    """Return T² and Q of a scaled vector; fill `moments` with tr W, tr W², tr E, tr E².

    `traces` (2,) are tr S and tr S²; `vectors` (4, k) and `squares` (SQUARES, k, k) are workspace. What stays there: the scores
    in vectors[1], and if there are gaps D in squares[4].
    """
    k = loadings.shape[1]
    tau, t = vectors[0], vectors[1]
    trimmed(z, loadings, tau)
    t[:] = tau
    if missing == 0:
        moments[0], moments[1], moments[2], moments[3] = k, k, traces[0], traces[1]
    else:
        H, B, C, K, D, V, X = squares[0], squares[1], squares[2], squares[3], squares[4], squares[5], squares[6]
        _gram(gaps, missing, loadings, residual, residual2, vectors[2:], H, B, C)
        _regression(eigenvalues, H, B, K, D)
        for a in range(k):
            total = 0.0
            for b in range(k):
                total += D[a, b] * tau[b]
            t[a] = total
        _product(D, H, V)
        one, two = 0.0, 0.0
        for a in range(k):
            one += V[a, a]
            for b in range(k):
                two += V[a, b] * V[b, a]
        moments[0], moments[1] = one, two
        for a in range(k):
            for b in range(k):
                X[a, b] = -V[a, b] * eigenvalues[b]
            X[a, a] += eigenvalues[a]
        whole, whole2 = traces[0], traces[1]
        for q in range(missing):
            whole -= residual[gaps[q], gaps[q]]
            whole2 -= 2.0 * residual2[gaps[q], gaps[q]]
            for r in range(missing):
                whole2 += residual[gaps[q], gaps[r]] ** 2
        whole2 += 2.0 * _dot(X, B) - 4.0 * _dot(D, C)
        _product(X, H, K)  # G
        for a in range(k):
            whole -= K[a, a]
            for b in range(k):
                whole2 -= K[a, b] * K[b, a]
        _product(D, C, K)
        _product(H, D, V)
        whole2 += 2.0 * _dot(V, K)  # tr(H D (D C)') with C symmetric
        moments[2], moments[3] = max(whole, 0.0), max(whole2, 0.0)
    t2 = 0.0
    for a in range(k):
        t2 += t[a] * t[a] / eigenvalues[a]
    return t2, _squared_residual(z, gaps, missing, loadings, t)


@kernel
def _squared_residual(z: np.ndarray, gaps: np.ndarray, missing: int, loadings: np.ndarray, t: np.ndarray) -> float:
    """Return |z_o − P_o t|²; gaps are in rising order."""
    q, total = 0, 0.0
    for j in range(z.shape[0]):
        if q < missing and gaps[q] == j:
            q += 1
            continue
        e = z[j]
        for a in range(t.shape[0]):
            e -= loadings[j, a] * t[a]
        total += e * e
    return total


@kernel
def box_limit(mean: float, variance: float, normal: float) -> float:
    """Return the upper point of a weighted sum of squares from its mean and variance; `normal` is the normal quantile.

    g χ²_h with g = variance / (2 mean) and h = 2 mean² / variance (Box 1954), whose quantile is Wilson and Hilferty's (1931).
    """
    if mean <= 0.0 or variance <= 0.0:
        return 0.0
    spread = 2.0 / 9.0 * variance / (2.0 * mean * mean)
    root = 1.0 - spread + normal * np.sqrt(spread)
    return float(mean * max(root, 0.0) ** 3)
