"""A reference learned from the first rows of a series, and a sliding window that is compared with it every few rows.

What tests of a distribution share (`models.ks`, `models.psi`): the reference is filled first and then sorted; the window is a
ring; from its first full turn on, every `hop`-th row is due for a test. A change of the epoch starts both anew.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from models.detector import Column
from models.kernel import kernel

ROWS_MAX = 4_096  # of a reference and of a window: 32 KiB of state each


@kernel
def is_due(
    s: int,
    x: float,
    now: int,
    hop: int,
    reference: np.ndarray,
    learned: np.ndarray,
    window: np.ndarray,
    rows: np.ndarray,
    epochs: np.ndarray,
) -> bool:
    """Put the value x of series `s` where it belongs; say whether the window is to be tested with it.

    reference: (S, m), m = 0 where one is given; window: (S, w); learned, rows, epochs: (S,). `now` is the epoch.
    """
    wanted, width = reference.shape[1], window.shape[1]
    if epochs[s] != now:
        epochs[s] = now
        learned[s] = rows[s] = 0
    if learned[s] < wanted:
        reference[s, learned[s]] = x
        learned[s] += 1
        if learned[s] == wanted:
            reference[s].sort()
        return False
    window[s, rows[s] % width] = x
    rows[s] += 1
    return bool(rows[s] >= width and (rows[s] - width) % hop == 0)


def checked_windows(reference_rows: int, window: int, hop: int, alpha: float) -> None:
    """Raise ValueError for numbers of rows or a level without meaning."""
    for name, rows in (("reference_rows", reference_rows), ("window", window)):
        if not 2 <= rows <= ROWS_MAX:
            raise ValueError(f"{name} = {rows}: from 2 to {ROWS_MAX}")
    if not hop >= 1:
        raise ValueError(f"hop = {hop}: at least 1")
    if not 0.0 < alpha < 1.0:
        raise ValueError(f"alpha = {alpha}: between 0 and 1")


def window_columns(reference_rows: int, window: int) -> Mapping[str, Column]:
    """Return the state of a test of a window against a reference; 0 rows: the reference is given."""
    return {
        "reference": Column("f8", (reference_rows,)),
        "learned": Column("i8"),
        "window": Column("f8", (window,)),
        "rows": Column("i8"),
        "epoch": Column("i8", (), -1),
    }
