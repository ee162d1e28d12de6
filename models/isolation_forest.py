"""Isolation forest: a row that random cuts set apart early is odd. Fitted by a job, scored row by row without state."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from sklearn.ensemble import IsolationForest

from models import refractory as silence
from models.artefact import Artefact, of_kind
from models.detector import PARAMS, Column, Rule, SeriesBatch, Verdicts
from models.kernel import frozen, kernel
from models.linear import vectors
from models.phase_one import epoch, is_given, window_ends
from models.refractory import admit

KIND = "isolation_forest"
TREES_MAX = 1_000
SAMPLE_ROWS_MAX = 4_096


def expected_path(n: np.ndarray) -> np.ndarray:
    """Return c(n), the mean number of cuts that set one of n rows apart: Liu et al. 2008, eq. 1. Same shape as n.

    >>> expected_path(np.array([1, 2, 256])).round(4)
    array([ 0.    ,  1.    , 10.2448])
    """
    n = np.asarray(n, np.float64)
    more = np.maximum(n, 3.0)
    path = 2.0 * (np.log(more - 1.0) + np.euler_gamma) - 2.0 * (more - 1.0) / more
    return np.asarray(np.where(n > 2, path, np.where(n == 2, 1.0, 0.0)))


def fit_isolation_forest(
    values: Any,
    *,
    seed: int,
    trees: int = 100,
    sample_rows: int = 256,
    contamination: float = 0.001,
) -> Artefact:
    """Fit a forest to values (n,) or (n, p): a job's work, never a detector's.

    Trees are grown by scikit-learn on `sample_rows` rows each, and kept as plain arrays. `contamination` is the share of
    the training rows that lies above the level which a detector uses when it is given none. Vectors may have gaps (NaN);
    rows that are missing altogether are left out. The same values and seed give the same artefact with the same release of
    scikit-learn.

    Raises ValueError for fewer than 2 rows, infinite values, or parameters without meaning.

    >>> model = fit_isolation_forest(np.random.default_rng(1).normal(0.0, 1.0, 500), seed=1, trees=20)
    >>> model.kind, model.facts["rows"], model.facts["dimension"]
    ('isolation_forest', 500, None)

    Reference: Liu, Ting and Zhou, Isolation Forest, ICDM 2008.
    """
    x = np.asarray(values, np.float64)
    if x.ndim not in {1, 2}:
        raise ValueError(f"values of shape {x.shape}: (n,) or (n, p) is wanted")
    dimension = None if x.ndim == 1 else int(x.shape[1])
    x = x.reshape(len(x), -1)
    x = x[~np.isnan(x).all(axis=1)]
    if len(x) < 2 or np.isinf(x).any():
        raise ValueError(f"{len(x)} rows that are not missing: at least 2, without infinite values, are wanted")
    if not 1 <= trees <= TREES_MAX or not 2 <= sample_rows <= SAMPLE_ROWS_MAX:
        raise ValueError(f"trees = {trees}: 1 to {TREES_MAX}; sample_rows = {sample_rows}: 2 to {SAMPLE_ROWS_MAX}")
    if not 0.0 < contamination < 1.0:
        raise ValueError(f"contamination = {contamination}: a share between 0 and 1")
    rows = min(sample_rows, len(x))
    forest = IsolationForest(n_estimators=trees, max_samples=rows, random_state=seed).fit(x)
    arrays = _arrays(forest, rows)
    scores = score_rows(arrays, x)
    facts = {
        "dimension": dimension,
        "rows": len(x),
        "trees": trees,
        "sample_rows": rows,
        "contamination": contamination,
        "level": float(np.quantile(scores, 1.0 - contamination)),
        "seed": seed,
    }
    return Artefact(KIND, arrays, facts)


def _arrays(forest: IsolationForest, sample_rows: int) -> dict[str, np.ndarray]:
    """Return the nodes of all trees behind each other: children count from the first node of all; −1: a leaf."""
    parts: dict[str, list[np.ndarray]] = {name: [] for name in ("feature", "cut", "left", "right", "gap_left", "path")}
    roots, size = [], 0
    for grown in forest.estimators_:
        tree = grown.tree_
        inner = tree.children_left >= 0
        depth = np.zeros(tree.node_count)
        for node in np.flatnonzero(inner):  # parents come before their children
            depth[[tree.children_left[node], tree.children_right[node]]] = depth[node] + 1.0
        parts["feature"].append(np.where(inner, tree.feature, 0).astype(np.int32))
        parts["cut"].append(np.where(inner, tree.threshold, 0.0))
        parts["left"].append(np.where(inner, tree.children_left + size, -1).astype(np.int32))
        parts["right"].append(np.where(inner, tree.children_right + size, -1).astype(np.int32))
        parts["gap_left"].append(np.asarray(tree.missing_go_to_left, bool))
        parts["path"].append(depth + expected_path(tree.n_node_samples))
        roots.append(size)
        size += tree.node_count
    arrays = {name: np.concatenate(several) for name, several in parts.items()}
    scale = len(roots) * float(expected_path(np.array(sample_rows)))
    return {**arrays, "roots": np.array(roots, np.int32), "scale": np.array([scale])}


@kernel
def _score(
    x: np.ndarray,
    roots: np.ndarray,
    feature: np.ndarray,
    cut: np.ndarray,
    left: np.ndarray,
    right: np.ndarray,
    gap_left: np.ndarray,
    path: np.ndarray,
    scale: float,
) -> float:
    """Return the score of one row of float32, the precision that the trees were grown with."""
    total = 0.0
    for t in range(roots.shape[0]):
        node = roots[t]
        while left[node] >= 0:
            y = x[feature[node]]
            goes_left = gap_left[node] if np.isnan(y) else y <= cut[node]
            node = left[node] if goes_left else right[node]
        total += path[node]
    return float(2.0 ** (-total / scale))


@kernel
def _score_all(value: np.ndarray, trees: tuple[np.ndarray, ...], scale: float, score: np.ndarray) -> None:
    roots, feature, cut, left, right, gap_left, path = trees
    for i in range(value.shape[0]):
        score[i] = _score(value[i], roots, feature, cut, left, right, gap_left, path, scale)


def _trees(arrays: Mapping[str, np.ndarray]) -> tuple[np.ndarray, ...]:
    return tuple(
        frozen(arrays[name], arrays[name].dtype)
        for name in ("roots", "feature", "cut", "left", "right", "gap_left", "path")
    )


def _single(value: np.ndarray) -> np.ndarray:
    """Return values as the trees see them: (n, p) float32; what float32 cannot hold becomes infinite, far to its side."""
    with np.errstate(over="ignore"):
        return frozen(value, np.float32)


def score_rows(arrays: Mapping[str, np.ndarray], values: np.ndarray) -> np.ndarray:
    """Return the anomaly score of rows (n, p): (n,) float64, near 1 for odd rows, below 0.5 for ordinary ones."""
    score = np.empty(len(values))
    _score_all(_single(values), _trees(arrays), float(arrays["scale"][0]), score)
    return score


@kernel
def _loop(
    row: np.ndarray,
    value: np.ndarray,
    excluded: np.ndarray,
    params: np.ndarray,
    ends: np.ndarray,
    trees: tuple[np.ndarray, ...],
    scale: float,
    level: float,
    refractory: int,
    gaps: bool,
    columns: tuple[np.ndarray, ...],
    out: np.ndarray,
    signal: np.ndarray,
    valid: np.ndarray,
) -> None:
    silent, since = columns
    roots, feature, cut, left, right, gap_left, path = trees
    single = np.empty(value.shape[1], np.float32)
    for i in range(row.shape[0]):
        known = unknown = 0
        for j in range(value.shape[1]):
            single[j] = value[i, j]
            known += int(is_given(value[i, j]))
            unknown += int(np.isnan(value[i, j]))
        if excluded[i] or known == 0 or known + unknown < value.shape[1] or (unknown > 0 and not gaps):
            continue
        s = row[i]
        now = epoch(params, s, ends)
        if since[s] != now:
            since[s] = now
            silent[s] = 0
        score = _score(single, roots, feature, cut, left, right, gap_left, path, scale)
        out[0, i, 0] = score
        out[3, i, 0] = level
        signal[i] = admit(s, int(score > level), refractory, silent)
        valid[i] = True


@dataclass(frozen=True)
class IsolationForestChart:
    """Isolation forest on single values or vectors: a signal while the score is above the level.

    Statistic "score" = 2^(−mean path/c(ψ)), where the path is the number of cuts until the row is alone: near 1 for rows set
    apart at once, about 0.5 where nothing stands out. The model is an artefact of `fit_isolation_forest`; every series that
    this detector judges is scored by it. The upper limit is `level`, or, not given, the model's own: the quantile of its
    training scores at 1 − contamination. There is no lower limit (NaN). After a signal none is given on the next `refractory`
    rows (see `models.refractory`); that is all the state there is.

    - Missing (of a vector: every entry) or infinite value, excluded row: not judged, state untouched.
    - A gap in a vector goes the way the trees send gaps, as in scikit-learn; with `gaps=False` such a row is not judged.
    - The score is that of scikit-learn's `score_samples` with its sign turned; values count with float32's digits.
    - mu, sigma and limits are not used. A reset ends the silence.

    >>> from models import judge
    >>> model = fit_isolation_forest(np.random.default_rng(1).normal(0.0, 1.0, 500), seed=1)
    >>> v = judge(IsolationForestChart(model, level=0.75), [0.0, 1.0, 9.0])
    >>> v.statistic[:, 0].round(2), v.signal
    (array([0.41, 0.47, 0.79]), array([0, 0, 1], dtype=uint32))

    Reference: Liu, Ting and Zhou, Isolation Forest, ICDM 2008, eq. 1–2.
    """

    model: Artefact
    level: float | None = None
    refractory: int = 0
    gaps: bool = True
    window_ends: tuple[str, ...] = ("reset",)

    name = "anomaly.isolation_forest"
    version = 1
    statistics = ("score",)

    def __post_init__(self) -> None:
        of_kind(self.model, KIND)
        silence.checked(self.refractory)
        window_ends(self.window_ends)
        if self.level is not None and not 0.0 < self.level < 1.0:
            raise ValueError(f"level = {self.level}: a score between 0 and 1")

    @property
    def dimension(self) -> int | None:
        """Return the p of the model's vectors; None if it was fitted to single values."""
        p: int | None = self.model.facts["dimension"]
        return p

    @property
    def state(self) -> Mapping[str, Column]:
        """Return the silence and the epoch: the score needs no state."""
        return {**silence.COLUMNS, "epoch": Column("i8", (), -1)}

    @property
    def rules(self) -> tuple[Rule, ...]:
        """Return the one rule."""
        return (Rule("isolated", f"few cuts set the row apart: the score is above {self._level:.4g}"),)

    @property
    def _level(self) -> float:
        return float(self.model.facts["level"] if self.level is None else self.level)

    @cached_property
    def _forest(self) -> tuple[np.ndarray, ...]:
        return _trees(self.model.arrays)

    def update(self, state: Mapping[str, np.ndarray], batch: SeriesBatch) -> Verdicts:
        """Score each row."""
        n = len(batch)
        value = (
            frozen(batch.value, np.float64)[:, None] if self.dimension is None else vectors(batch.value, self.dimension)
        )
        out, signal, valid = np.full((4, n, 1), np.nan), np.zeros(n, np.uint32), np.zeros(n, np.bool_)
        _loop(
            frozen(batch.row, np.int32), value, frozen(batch.column("excluded"), np.bool_), frozen(batch.params, PARAMS),
            window_ends(self.window_ends), self._forest, float(self.model.arrays["scale"][0]), self._level,
            self.refractory, self.gaps, tuple(state[name] for name in self.state), out, signal, valid,
        )  # fmt: skip
        return Verdicts(out[0], out[1], out[2], out[3], signal, valid)
