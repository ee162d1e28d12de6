"""Half-space trees: a row where the last window of the stream was thin is odd. Ordered, in constant memory."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from models import refractory as silence
from models.detector import PARAMS, Column, Rule, SeriesBatch, Verdicts
from models.kernel import frozen, kernel
from models.linear import vectors
from models.phase_one import epoch, is_given, window_ends
from models.refractory import admit

WINDOW_MAX = 32_000  # rows; a node's count is an int16
DEPTH_MAX = 12
TREES_MAX = 200
_THIN = 0.1  # of a window: nodes with fewer rows are not looked into any further (Tan et al., §4.3)


@lru_cache(maxsize=32)
def grown(trees: int, depth: int, p: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the trees' nodes: entry (trees, 2^depth − 1) int32, and cut (same) float64. Children of node k: 2k + 1, 2k + 2.

    They depend on nothing but the parameters. Of each tree and entry the range is drawn about the unit interval: with c
    uniform in it, c ± 2 max(c, 1 − c). Every node cuts the range of a random entry in half. The numbers come from the raw
    stream of PCG64, which numpy keeps the same in all its releases.

    >>> entry, cut = grown(2, 3, 4, seed=1)
    >>> entry.shape, bool((cut > -2.0).all() and (cut < 3.0).all())
    ((2, 7), True)
    """
    stream = np.random.PCG64(seed)
    entry, cut = np.zeros((trees, 2**depth - 1), np.int32), np.zeros((trees, 2**depth - 1))
    for t in range(trees):
        centre = _uniform(stream, p)
        half = 2.0 * np.maximum(centre, 1.0 - centre)
        ranges = {0: (centre - half, centre + half)}
        for node, at in enumerate(_uniform(stream, entry.shape[1])):
            low, high = ranges.pop(node)
            q = min(int(at * p), p - 1)
            middle = 0.5 * (low[q] + high[q])
            entry[t, node], cut[t, node] = q, middle
            lower, upper = high.copy(), low.copy()
            lower[q] = upper[q] = middle
            ranges[2 * node + 1], ranges[2 * node + 2] = (low, lower), (upper, high)
    for array in (entry, cut):
        array.flags.writeable = False
    return entry, cut


def _uniform(stream: np.random.PCG64, n: int) -> np.ndarray:
    """Return n numbers in [0, 1), with 53 bits each."""
    return np.asarray((stream.random_raw(n) >> np.uint64(11)) * 2.0**-53)


@kernel
def _scaled(value: np.ndarray, low: np.ndarray, high: np.ndarray, unit: np.ndarray) -> None:
    """Put the vector on the unit interval of the first window; where that was constant, a half, or 1 to either side of it."""
    for j in range(value.shape[0]):
        span = high[j] - low[j]
        if span > 0.0:
            unit[j] = (value[j] - low[j]) / span
        else:
            unit[j] = 0.5 + np.sign(value[j] - low[j])


@kernel
def _pass(
    unit: np.ndarray,
    entry: np.ndarray,
    cut: np.ndarray,
    depth: int,
    thin: float,
    reference: np.ndarray,
    latest: np.ndarray,
) -> float:
    """Count the row in the latest window of every tree; return the sum of its scores by the reference window."""
    total = 0.0
    for t in range(entry.shape[0]):
        node, level, looking, scale = 0, 0, True, 1.0
        while True:
            latest[t, node] += 1
            if looking and (level == depth or reference[t, node] <= thin):
                total += reference[t, node] * scale
                looking = False
            if level == depth:
                break
            node = 2 * node + 1 + int(unit[entry[t, node]] >= cut[t, node])
            level += 1
            scale *= 2.0
    return total


@kernel
def _loop(
    row: np.ndarray,
    value: np.ndarray,
    excluded: np.ndarray,
    params: np.ndarray,
    ends: np.ndarray,
    entry: np.ndarray,
    cut: np.ndarray,
    depth: int,
    window: int,
    threshold: float,
    refractory: int,
    columns: tuple[np.ndarray, ...],
    unit: np.ndarray,
    out: np.ndarray,
    signal: np.ndarray,
    valid: np.ndarray,
) -> None:
    reference, latest, low, high, rows, silent, since = columns
    thin = _THIN * window
    p = value.shape[1]
    for i in range(row.shape[0]):
        known = 0
        for j in range(p):
            known += int(is_given(value[i, j]))
        if excluded[i] or known < p:
            continue
        s = row[i]
        now = epoch(params, s, ends)
        if since[s] != now:
            since[s] = now
            rows[s] = silent[s] = 0
            latest[s] = 0
        n = rows[s]
        rows[s] += 1
        if n < window:
            for j in range(p):
                x = value[i, j]
                low[s, j] = x if n == 0 else min(low[s, j], x)
                high[s, j] = x if n == 0 else max(high[s, j], x)
            continue
        _scaled(value[i], low[s], high[s], unit)
        total = _pass(unit, entry, cut, depth, thin, reference[s], latest[s])
        if n >= 2 * window:
            density = total / (entry.shape[0] * window)
            out[0, i, 0] = density
            out[2, i, 0] = threshold
            signal[i] = admit(s, int(density < threshold), refractory, silent)
            valid[i] = True
        if rows[s] % window == 0:
            reference[s] = latest[s]
            latest[s] = 0


@dataclass(frozen=True)
class HalfSpaceTrees:
    """Half-space trees on single values or vectors: a signal while the density around the row is below `threshold`.

    Each of `trees` random trees halves the space of values `depth` times, and counts the rows of the last full window in
    each part. Statistic "density": the mean over the trees of 2^level times the share of the window in the row's part, at
    the first part that holds no more than a tenth of the window: 0 where there was nothing, 1 if the window was spread
    evenly over the trees' whole range, several in the midst of the data, and more with more entries. The lower limit is
    `threshold`; there is no upper one (NaN).

    The first `window` rows of a series set the scale of each entry: least and greatest. The second fill the reference
    window, which is replaced after every further `window` rows. So rows are judged from 2 × window on, and what lasts for a
    window becomes ordinary. After a signal none is given on the next `refractory` rows (see `models.refractory`).

    `p` is the number of entries of a vector; None means single values. The trees follow from `seed` and are no state.

    - Missing or infinite value, a vector with any gap, excluded row: not judged, state untouched.
    - An entry that was constant in the first window: equal is 0.5 on its scale, less is −0.5, more is 1.5.
    - mu, sigma and limits are not used. A reset starts again with the scale; a change of limits or the exclusion of a past
      row does not, unless `window_ends` says so.

    >>> from models import judge
    >>> values = np.random.default_rng(1).normal(0.0, 1.0, 700)
    >>> v = judge(HalfSpaceTrees(), [*values, 0.1, 6.0, 0.1])
    >>> v.statistic[700:, 0].round(2), v.signal[700:]
    (array([8.54, 0.03, 8.54]), array([0, 1, 0], dtype=uint32))

    Reference: Tan, Ting and Liu, Fast Anomaly Detection for Streaming Data, IJCAI 2011, §4.
    """

    p: int | None = None
    threshold: float = 0.1
    refractory: int = 0
    trees: int = 25
    depth: int = 7
    window: int = 250
    seed: int = 1
    window_ends: tuple[str, ...] = ("reset",)

    name = "anomaly.half_space_trees"
    version = 1
    statistics = ("density",)

    def __post_init__(self) -> None:
        silence.checked(self.refractory)
        window_ends(self.window_ends)
        if self.p is not None and self.p < 1:
            raise ValueError(f"p = {self.p}: the number of entries of a vector, at least 1")
        if not 0.0 < self.threshold < np.inf:
            raise ValueError(f"threshold = {self.threshold}: a density above 0")
        if not 1 <= self.trees <= TREES_MAX or not 1 <= self.depth <= DEPTH_MAX:
            raise ValueError(f"trees = {self.trees}: 1 to {TREES_MAX}; depth = {self.depth}: 1 to {DEPTH_MAX}")
        if not 2 <= self.window <= WINDOW_MAX:
            raise ValueError(f"window = {self.window}: 2 to {WINDOW_MAX} rows")
        if self.seed < 0:
            raise ValueError(f"seed = {self.seed}: 0 or more")

    @property
    def dimension(self) -> int | None:
        """Return p."""
        return self.p

    @property
    def state(self) -> Mapping[str, Column]:
        """Return the counts of two windows, the scale, how many rows there were, the silence and the epoch."""
        counts = Column("i2", (self.trees, 2 ** (self.depth + 1) - 1))
        scale = Column("f8", (self.p or 1,))
        return {
            "reference": counts,
            "latest": counts,
            "low": scale,
            "high": scale,
            "rows": Column("i8"),
            **silence.COLUMNS,
            "epoch": Column("i8", (), -1),
        }

    @property
    def rules(self) -> tuple[Rule, ...]:
        """Return the one rule."""
        return (Rule("thin", f"the last window had next to nothing there: density below {self.threshold:g}"),)

    def update(self, state: Mapping[str, np.ndarray], batch: SeriesBatch) -> Verdicts:
        """Judge each row by the window before it, and count it in its own."""
        n, p = len(batch), self.p or 1
        value = frozen(batch.value, np.float64)[:, None] if self.p is None else vectors(batch.value, p)
        entry, cut = grown(self.trees, self.depth, p, self.seed)
        out, signal, valid = np.full((4, n, 1), np.nan), np.zeros(n, np.uint32), np.zeros(n, np.bool_)
        _loop(
            frozen(batch.row, np.int32), value, frozen(batch.column("excluded"), np.bool_), frozen(batch.params, PARAMS),
            window_ends(self.window_ends), entry, cut, self.depth, self.window, float(self.threshold), self.refractory,
            tuple(state[name] for name in self.state), np.empty(p), out, signal, valid,
        )  # fmt: skip
        return Verdicts(out[0], out[1], out[2], out[3], signal, valid)
