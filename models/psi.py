"""PSI, the population stability index, at a level that holds."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from scipy.stats import chi2

from models.artefact import Artefact, of_kind
from models.detector import PARAMS, Column, Rule, SeriesBatch, Verdicts
from models.drift import ENDS
from models.kernel import frozen, kernel
from models.phase_one import epoch, is_given
from models.reference_window import checked_windows, is_due, window_columns

BINS_MAX = 256
BINS = "drift.bins"


@kernel
def index(expected: np.ndarray, seen: np.ndarray, sampled: bool) -> float:
    """Return the PSI, Σ (q − p) ln(q/p), of two rows of counts; `expected` are a sample's, or known shares.

    Half a count is added to every bin of a sample, so that an empty bin has a logarithm and the level is the chi-square's.
    Bins that expect nothing and hold nothing are left out.
    """
    rows, reference, bins = 0.0, 0.0, 0
    for j in range(len(expected)):
        if expected[j] > 0.0 or seen[j] > 0.0:
            bins += 1
            rows += seen[j]
            reference += expected[j]
    total = 0.0
    for j in range(len(expected)):
        if expected[j] > 0.0 or seen[j] > 0.0:
            q = (seen[j] + 0.5) / (rows + 0.5 * bins)
            p = (expected[j] + 0.5) / (reference + 0.5 * bins) if sampled else expected[j]
            total += (q - p) * math.log(q / p)
    return total


@kernel
def count(edges: np.ndarray, values: np.ndarray, counts: np.ndarray) -> None:
    """Count values into bins: bin j holds edges[j − 1] < x ≤ edges[j]."""
    counts[:] = 0.0
    for x in values:
        counts[np.searchsorted(edges, x)] += 1.0


@kernel
def quantile_edges(ordered: np.ndarray, edges: np.ndarray) -> None:
    """Cut an ascending sample into len(edges) + 1 bins of about as many values each."""
    n, bins = len(ordered), len(edges) + 1
    for j in range(len(edges)):
        edges[j] = ordered[(j + 1) * n // bins - 1]


def population_stability_index(reference: np.ndarray, current: np.ndarray, bins: int = 10) -> tuple[float, float]:
    """Return the PSI of two samples, in bins of the reference's quantiles, and its p-value; missing values are left out.

    Without a change, PSI · n·m/(n + m) is distributed as chi-square with bins − 1 degrees of freedom: what a PSI of 0.1 means
    depends on n, m and the bins. With 20 bins and n = m = 500 it is exceeded in one case of six.

    Raises ValueError for fewer values than bins.

    >>> random = np.random.default_rng(0)
    >>> psi, p = population_stability_index(random.normal(0, 1, 500), random.normal(0, 1, 500), bins=20)
    >>> round(psi, 3), round(p, 2)
    (0.056, 0.78)

    Reference: Yurdakul, Statistical properties of population stability index, dissertation, Western Michigan University
    2018, chapter 3.
    """
    samples = [np.sort(np.asarray(sample, np.float64)) for sample in (reference, current)]
    reference, current = (sample[np.isfinite(sample)] for sample in samples)
    if not 2 <= bins <= min(BINS_MAX, len(reference), len(current)):
        raise ValueError(f"bins = {bins}: from 2 to {BINS_MAX}, and to the {len(reference)} and {len(current)} values")
    edges, expected, seen = np.empty(bins - 1), np.empty(bins), np.empty(bins)
    quantile_edges(reference, edges)
    count(edges, reference, expected)
    count(edges, current, seen)
    psi = float(index(expected, seen, True))
    used = np.count_nonzero(expected + seen)
    return psi, float(chi2.sf(psi / (1 / len(reference) + 1 / len(current)), used - 1))


def bin_reference(edges: np.ndarray, shares: np.ndarray, rows: int | None = None) -> Artefact:
    """Return an artefact of a reference in bins: edges (b − 1,) ascending, shares (b,) of its rows, or known ones (rows=None).

    A job makes it from known-good history or from a model. Raises ValueError for edges that do not ascend, or shares that are not
    above 0 (known) or do not add to 1.

    >>> bin_reference(np.array([0.0]), np.array([0.5, 0.5])).facts["rows"] is None
    True
    """
    edges, shares = np.asarray(edges, np.float64), np.asarray(shares, np.float64)
    if not (edges.ndim == 1 and np.isfinite(edges).all() and (np.diff(edges) > 0).all() and 1 <= len(edges) < BINS_MAX):
        raise ValueError(f"edges {edges.shape}: from 1 to {BINS_MAX - 1}, ascending")
    if shares.shape != (len(edges) + 1,) or not np.isclose(shares.sum(), 1.0):
        raise ValueError(f"shares {shares.shape} of sum {shares.sum()}: {len(edges) + 1} of sum 1 are wanted")
    if (shares < 0).any() or (rows is None and (shares <= 0).any()):
        raise ValueError(f"shares = {shares.tolist()}: known ones are above 0, those of a sample not below")
    if rows is not None and rows < 2:
        raise ValueError(f"rows = {rows}: at least 2")
    return Artefact(BINS, {"edges": edges, "shares": shares}, {"rows": rows})


@kernel
def _loop(
    row: np.ndarray,
    value: np.ndarray,
    params: np.ndarray,
    ends: np.ndarray,
    hop: int,
    scale: float,
    quantiles: np.ndarray,
    relearn: bool,
    sampled: bool,
    given_edges: np.ndarray,
    given_counts: np.ndarray,
    reference: np.ndarray,
    learned: np.ndarray,
    window: np.ndarray,
    rows: np.ndarray,
    epochs: np.ndarray,
    edges: np.ndarray,
    expected: np.ndarray,
    seen: np.ndarray,
    out: np.ndarray,
    signal: np.ndarray,
    valid: np.ndarray,
) -> None:
    wanted = reference.shape[1]
    edges[:] = given_edges
    expected[:] = given_counts
    for i in range(row.shape[0]):
        s, x = row[i], value[i]
        if not is_given(x):
            continue
        if not is_due(s, x, epoch(params, s, ends), hop, reference, learned, window, rows, epochs):
            continue
        if wanted > 0:
            quantile_edges(reference[s], edges)
            count(edges, reference[s], expected)
        count(edges, window[s], seen)
        psi = index(expected, seen, sampled)
        used = 0
        for j in range(len(seen)):
            used += int(expected[j] > 0.0 or seen[j] > 0.0)
        if wanted > 0 and reference[s, 0] == reference[s, wanted - 1]:  # no spread: equal, or not
            used = 1
            psi = np.mean(window[s] != reference[s, 0])
        bound = scale * quantiles[used - 1]
        out[0, i, 0] = psi
        out[1, i, 0] = 0.0
        out[3, i, 0] = bound
        if psi > bound:
            signal[i] = 1
            rows[s] = 0
            if relearn:
                learned[s] = 0
        valid[i] = True


@dataclass(frozen=True)
class PsiDrift:
    """Population stability index of the last `window` values of a series against a reference, in bins.

    The reference is the first `reference_rows` rows of the series, which are not valid, in `bins` bins of its quantiles; or
    `reference`, an artefact of `bin_reference` with bins of its own, the same for all series. Every `hop`-th row from the
    `window`-th on is judged; all others are not valid. Statistic "PSI"; centre 0, no lower limit (NaN).

    The upper limit is not a rule of thumb but the one at the level `alpha`: chi²(bins − 1) · (1/n + 1/m), with n = `window`
    and m the reference's rows (1/m = 0 for known shares). From 10 expected values in a bin on, alpha holds within a fifth.
    False alarms in 10,000 rows: 10,000/hop · alpha for `hop` = `window`, fewer for a smaller one: 0.3 with the defaults. Given mu
    and sigma are not used.

    *After a signal* the window starts empty and the reference stays, so that the signal comes again after `window` rows for as
    long as the distribution stays away; with `relearn`, the reference is learned anew from the next rows.

    - Missing, excluded or infinite value: not judged, state untouched.
    - A learned reference of equal values (sigma 0): the statistic is the share of other values, the limit is 0.
      Against a given reference that has a spread, a series that never changes is another distribution, and signals.
    - A change of the limits or a reset: the reference is learned anew, the window starts empty.

    >>> from models import judge
    >>> random = np.random.default_rng(1)
    >>> v = judge(PsiDrift(), np.concatenate([random.normal(0, 1, 1000), random.normal(0, 3, 300)]))
    >>> np.flatnonzero(v.signal)[0], v.ucl[1039].round(3)
    (np.int64(1039), array([0.195]))

    Reference: Yurdakul, Statistical properties of population stability index, dissertation, Western Michigan University
    2018, chapter 3.
    """

    bins: int = 10
    reference_rows: int = 500
    window: int = 200
    hop: int = 20
    alpha: float = 0.001
    relearn: bool = False
    reference: Artefact | None = None

    name = "drift.psi"
    version = 1
    statistics = ("PSI",)

    def __post_init__(self) -> None:
        checked_windows(self.reference_rows, self.window, self.hop, self.alpha)
        if not 2 <= self.bins <= min(BINS_MAX, self.reference_rows):
            raise ValueError(f"bins = {self.bins}: from 2 to {BINS_MAX}, and to reference_rows = {self.reference_rows}")
        if self.reference is not None:
            of_kind(self.reference, BINS)
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
            Rule(
                "psi_above_level", f"another distribution than the reference's, at the level {self.alpha:g}", "critical"
            ),
        )

    def _given(self) -> tuple[np.ndarray, np.ndarray, int | None]:
        """Return edges, counts (or known shares) and rows (None: known) of the reference; zeros if it is learned."""
        if self.reference is None:
            return np.zeros(self.bins - 1), np.zeros(self.bins), self.reference_rows
        rows = self.reference.facts["rows"]
        return self.reference.arrays["edges"], self.reference.arrays["shares"] * (rows or 1), rows

    def update(self, state: Mapping[str, np.ndarray], batch: SeriesBatch) -> Verdicts:
        """Add each row to the window of its series; test where it is due."""
        n = len(batch)
        out, signal, valid = np.full((4, n, 1), np.nan), np.zeros(n, np.uint32), np.zeros(n, np.bool_)
        edges, counts, rows = self._given()
        quantiles = np.concatenate([[0.0], chi2.isf(self.alpha, np.arange(1, len(counts)))])
        _loop(
            frozen(batch.row, np.int32), frozen(batch.value, np.float64), frozen(batch.params, PARAMS), ENDS,
            int(self.hop), 1.0 / self.window + (1.0 / rows if rows else 0.0), quantiles, self.relearn, rows is not None,
            frozen(edges, np.float64), frozen(counts, np.float64),
            state["reference"], state["learned"], state["window"], state["rows"], state["epoch"],
            np.empty(len(edges)), np.empty(len(counts)), np.empty(len(counts)), out, signal, valid,
        )  # fmt: skip
        return Verdicts(out[0], out[1], out[2], out[3], signal, valid)
