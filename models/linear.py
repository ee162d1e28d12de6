"""Small dense linear algebra for kernels: plain loops in a fixed order, so that bits depend neither on BLAS nor on batches."""

from __future__ import annotations

import math

import numpy as np

from models.kernel import frozen, kernel


def vectors(value: np.ndarray, p: int) -> np.ndarray:
    """Return the vectors of a batch, (n, p), as kernels take them. Raises ValueError for another p: they would not notice."""
    if value.ndim != 2 or value.shape[1] != p:
        raise ValueError(f"value {value.shape}: vectors of {p} entries are wanted")
    return frozen(value, np.float64)


@kernel
def factor(a: np.ndarray, n: int) -> bool:
    """Replace the leading n×n block of a symmetric matrix by its Cholesky factor L, a = L Lᵀ; only the lower half is used.

    Returns False, with the block spoiled, if it is not positive definite.
    """
    for j in range(n):
        for k in range(j):
            pivot = a[j, k]
            for i in range(j, n):
                a[i, j] -= a[i, k] * pivot
        if not a[j, j] > 0.0:
            return False
        root = math.sqrt(a[j, j])
        for i in range(j, n):
            a[i, j] /= root
    return True


@kernel
def forward(l: np.ndarray, x: np.ndarray, n: int) -> None:  # noqa: E741 - L is the factor's name
    """Solve L y = x in place, for the leading n×n block of L."""
    for i in range(n):
        for k in range(i):
            x[i] -= l[i, k] * x[k]
        x[i] /= l[i, i]


@kernel
def backward(l: np.ndarray, x: np.ndarray, n: int) -> None:  # noqa: E741
    """Solve Lᵀ y = x in place, for the leading n×n block of L."""
    for i in range(n - 1, -1, -1):
        x[i] /= l[i, i]
        for k in range(i):
            x[k] -= l[i, k] * x[i]


@kernel
def squared_length(l: np.ndarray, x: np.ndarray, n: int) -> float:  # noqa: E741
    """Return xᵀ (L Lᵀ)⁻¹ x: the squared statistical distance of x from 0. Spoils x."""
    forward(l, x, n)
    total = 0.0
    for i in range(n):
        total += x[i] * x[i]
    return total
