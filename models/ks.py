"""Kolmogorov–Smirnov in the stream: any change of the distribution of one characteristic, with an exact level.

Theory of operation
-------------------
The distance of two samples is D = max |F_a − F_b|, in steps of 1/(n·m): the kernels count those steps, as whole numbers. With
no change, every order of the n + m values is equally likely, whatever their distribution, and so P(D > c) is a
number of lattice paths (`exceedance`). `limit` is the smallest c with P(D > c) ≤ alpha; the test is exact for
continuous values and on the safe side for ties.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from models.artefact import Artefact, of_kind
from models.detector import PARAMS, Column, Rule, SeriesBatch, Verdicts
from models.drift import ENDS
from models.kernel import frozen, kernel
from models.phase_one import epoch, is_given
from models.reference_window import ROWS_MAX, checked_windows, is_due, window_columns

SAMPLE = "drift.sample"


def sample_reference(values: np.ndarray) -> Artefact:
    """Return an artefact of the values (n,) of a reference, ascending; missing ones are left out.

    A job makes it from known-good history. Raises ValueError for fewer than 2 or more than ROWS_MAX values.

    >>> sample_reference(np.array([3.0, np.nan, 1.0])).arrays["values"]
    array([1., 3.])
    """
    values = np.asarray(values, np.float64)
    kept = np.sort(values[np.isfinite(values)])
    if values.ndim != 1 or not 2 <= len(kept) <= ROWS_MAX:
        raise ValueError(f"values {values.shape}, {len(kept)} of them finite: from 2 to {ROWS_MAX} are wanted")
    return Artefact(SAMPLE, {"values": kept}, {"rows": len(kept)})


@kernel
def distance(a: np.ndarray, b: np.ndarray) -> int:
    """Return n·m·D of two ascending samples, n and m long; equal values are passed together."""
    n, m = len(a), len(b)
    i, j, largest = 0, 0, 0
    while i < n and j < m:
        x = min(a[i], b[j])
        while i < n and a[i] == x:
            i += 1
        while j < m and b[j] == x:
            j += 1
        largest = max(largest, abs(i * m - j * n))
    return largest


@kernel
def exceedance(n: int, m: int, c: int, inside: np.ndarray) -> float:
    """Return P(n·m·D > c) of two samples of one continuous distribution; `inside`: scratch, (m + 1,) float64.

    `inside[j]` is the share of the paths from (0, 0) to (i, j) that never leave |i·m − j·n| ≤ c.
    """
    for i in range(n + 1):
        for j in range(m + 1):
            if abs(i * m - j * n) > c:
                inside[j] = 0.0
            elif i + j == 0:
                inside[j] = 1.0
            else:
                below = inside[j] * i if i > 0 else 0.0
                left = inside[j - 1] * j if j > 0 else 0.0
                inside[j] = (below + left) / (i + j)
    return float(1.0 - inside[m])


@lru_cache(maxsize=256)
def limit(n: int, m: int, alpha: float) -> int:
    """Return the smallest c with P(n·m·D > c) ≤ alpha.

    >>> limit(8, 5, 0.05)  # the next distance, 30/40, is the critical one in tables
    27
    """
    step = int(np.gcd(n, m))
    inside = np.empty(m + 1)
    low, high = -1, n * m // step
    while high - low > 1:
        middle = (low + high) // 2
        if exceedance(n, m, middle * step, inside) <= alpha:
            high = middle
        else:
            low = middle
    return high * step


@kernel
def _loop(
    row: np.ndarray,
    value: np.ndarray,
    params: np.ndarray,
    ends: np.ndarray,
    hop: int,
    bound: int,
    relearn: bool,
    given: np.ndarray,
    reference: np.ndarray,
    learned: np.ndarray,
    window: np.ndarray,
    rows: np.ndarray,
    epochs: np.ndarray,
    ordered: np.ndarray,
    out: np.ndarray,
    signal: np.ndarray,
    valid: np.ndarray,
) -> None:
    wanted = reference.shape[1]
    size = window.shape[1] * (wanted if wanted > 0 else len(given))
    for i in range(row.shape[0]):
        s, x = row[i], value[i]
        if not is_given(x):
            continue
        if not is_due(s, x, epoch(params, s, ends), hop, reference, learned, window, rows, epochs):
            continue
        ordered[:] = window[s]
        ordered.sort()
        counted = distance(reference[s], ordered) if wanted > 0 else distance(given, ordered)
        out[0, i, 0] = counted / size
        out[1, i, 0] = 0.0
        out[3, i, 0] = bound / size
        if counted > bound:
            signal[i] = 1
            rows[s] = 0
            if relearn:
                learned[s] = 0
        valid[i] = True


@dataclass(frozen=True)
class KsDrift:
    """Two-sample Kolmogorov–Smirnov test of the last `window` values of a series against a reference.

    The reference is the first `reference_rows` rows of the series, which are not valid, or `reference`, an artefact of
    `sample_reference`, the same for all series. Every `hop`-th row from the `window`-th on is judged; all others are not valid.
    Statistic "D"; centre 0, upper limit the exact one at `alpha` (`models.ks.limit`), no lower one (NaN). Given mu and sigma are
    not used.

    With `hop` = `window`, tests are of separate rows, and 10,000 rows give 10,000/hop · alpha false alarms; with a smaller one,
    neighbouring tests share values, and it is fewer: 0.3 with the defaults. That is the mean over references: one that is off
    by chance gives more.

    *After a signal* the window starts empty and the reference stays, so that the signal comes again after `window` rows for as
    long as the distribution stays away; with `relearn`, the reference is learned anew from the next rows.

    - Missing, excluded or infinite value: not judged, state untouched.
    - All values equal (sigma 0): D is 0, in control; any other value makes D larger, and is beyond from the limit on.
      Against a given reference that has a spread, a series that never changes is another distribution, and signals.
    - A change of the limits or a reset: the reference is learned anew, the window starts empty.

    >>> from models import judge
    >>> random = np.random.default_rng(1)
    >>> v = judge(KsDrift(), np.concatenate([random.normal(0, 1, 600), random.normal(0, 3, 400)]))  # only the spread changes
    >>> np.flatnonzero(v.valid)[:3], np.flatnonzero(v.signal)
    (array([299, 319, 339]), array([679, 779, 879, 979]))

    References: Smirnov 1939; Hodges, Arkiv för Matematik 3 (1958) 469–486 (lattice paths); Kifer, Ben-David and Gehrke, Detecting
    change in data streams, VLDB 2004 (a window against a reference).
    """

    reference_rows: int = 200
    window: int = 100
    hop: int = 20
    alpha: float = 0.001
    relearn: bool = False
    reference: Artefact | None = None

    name = "drift.ks"
    version = 1
    statistics = ("D",)

    def __post_init__(self) -> None:
        checked_windows(self.reference_rows, self.window, self.hop, self.alpha)
        if self.reference is not None:
            of_kind(self.reference, SAMPLE)
            if self.relearn:
                raise ValueError("relearn = True: a reference that is given is not learned")

    @property
    def state(self) -> Mapping[str, Column]:
        """Return the reference (ascending once it is whole), and the window as a ring."""
        return window_columns(0 if self.reference else self.reference_rows, self.window)

    @property
    def rules(self) -> tuple[Rule, ...]:
        """Return the one rule."""
        return (
            Rule("ks_distance", f"another distribution than the reference's, at the level {self.alpha:g}", "critical"),
        )

    def update(self, state: Mapping[str, np.ndarray], batch: SeriesBatch) -> Verdicts:
        """Add each row to the window of its series; test where it is due."""
        n = len(batch)
        out, signal, valid = np.full((4, n, 1), np.nan), np.zeros(n, np.uint32), np.zeros(n, np.bool_)
        given = self.reference.arrays["values"] if self.reference else np.empty(0)
        bound = limit(len(given) or self.reference_rows, self.window, self.alpha)
        _loop(
            frozen(batch.row, np.int32), frozen(batch.value, np.float64), frozen(batch.params, PARAMS), ENDS,
            int(self.hop), bound, self.relearn, frozen(given, np.float64),
            state["reference"], state["learned"], state["window"], state["rows"], state["epoch"],
            np.empty(self.window), out, signal, valid,
        )  # fmt: skip
        return Verdicts(out[0], out[1], out[2], out[3], signal, valid)


@kernel
def _kswin_loop(
    row: np.ndarray,
    value: np.ndarray,
    params: np.ndarray,
    ends: np.ndarray,
    hop: int,
    bound: int,
    window: np.ndarray,
    rows: np.ndarray,
    epochs: np.ndarray,
    older: np.ndarray,
    recent: np.ndarray,
    out: np.ndarray,
    signal: np.ndarray,
    valid: np.ndarray,
) -> None:
    width, n, m = window.shape[1], len(older), len(recent)
    for i in range(row.shape[0]):
        s, x = row[i], value[i]
        if not is_given(x):
            continue
        now = epoch(params, s, ends)
        if epochs[s] != now:
            epochs[s] = now
            rows[s] = 0
        window[s, rows[s] % width] = x
        rows[s] += 1
        if rows[s] < width or (rows[s] - width) % hop != 0:
            continue
        for j in range(n):
            older[j] = window[s, (rows[s] + j) % width]
        for j in range(m):
            recent[j] = window[s, (rows[s] + n + j) % width]
        before, after = np.sort(older), np.sort(recent)
        counted = distance(before, after)
        out[0, i, 0] = counted / (n * m)
        out[1, i, 0] = 0.0
        out[3, i, 0] = bound / (n * m)
        if counted > bound:
            signal[i] = 1
            window[s, :m] = recent
            rows[s] = m
        valid[i] = True


@dataclass(frozen=True)
class Kswin:
    """KSWIN: the newest `recent` values of a sliding window against all its older ones, by Kolmogorov–Smirnov.

    Every `hop`-th row from the `window`-th on is judged; all others are not valid. Statistic "D"; centre 0, upper limit the exact
    one at `alpha` (`models.ks.limit`), no lower one (NaN). There is no Phase I; given mu and sigma are not used.

    The paper draws `recent` of the older values at random. Here all of them are compared: nothing is random, and no value is
    wasted. Neighbouring tests share most of their values, so that alpha is no rate per row: the defaults give 0.5 false alarms in
    10,000 rows of independent values; the paper's (100, 30, 1, 0.005) give 10 (`tests/bench/drift.py`).

    *After a signal* the window keeps its newest `recent` values, and is judged again when it is full: a shift is signalled once.

    - Missing, excluded or infinite value: not judged, state untouched.
    - All values equal (sigma 0): D is 0, in control.
    - A change of the limits or a reset: an empty window.

    >>> from models import judge
    >>> random = np.random.default_rng(2)
    >>> v = judge(Kswin(), np.concatenate([random.normal(0, 1, 400), random.normal(2, 1, 100)]))
    >>> np.flatnonzero(v.signal)
    array([429])

    Reference: Raab, Heusinger and Schleif, Reactive soft prototype computing for concept drift streams, Neurocomputing 416 (2020)
    340–351.
    """

    window: int = 300
    recent: int = 100
    hop: int = 10
    alpha: float = 0.001

    name = "drift.kswin"
    version = 1
    statistics = ("D",)

    def __post_init__(self) -> None:
        checked_windows(self.recent, self.window, self.hop, self.alpha)
        if not 2 <= self.recent <= self.window - 2:
            raise ValueError(f"recent = {self.recent}: from 2 to window − 2 = {self.window - 2}")

    @property
    def state(self) -> Mapping[str, Column]:
        """Return the window as a ring."""
        return {"window": Column("f8", (self.window,)), "rows": Column("i8"), "epoch": Column("i8", (), -1)}

    @property
    def rules(self) -> tuple[Rule, ...]:
        """Return the one rule."""
        return (Rule("kswin_distance", "the newest values have another distribution than those before", "critical"),)

    def update(self, state: Mapping[str, np.ndarray], batch: SeriesBatch) -> Verdicts:
        """Add each row to the window of its series; test where it is due."""
        n = len(batch)
        out, signal, valid = np.full((4, n, 1), np.nan), np.zeros(n, np.uint32), np.zeros(n, np.bool_)
        older = self.window - self.recent
        _kswin_loop(
            frozen(batch.row, np.int32), frozen(batch.value, np.float64), frozen(batch.params, PARAMS), ENDS,
            int(self.hop), limit(older, self.recent, self.alpha), state["window"], state["rows"], state["epoch"],
            np.empty(older), np.empty(self.recent), out, signal, valid,
        )  # fmt: skip
        return Verdicts(out[0], out[1], out[2], out[3], signal, valid)
