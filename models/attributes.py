"""Attribute charts: counts of nonconforming units (p, np) and of nonconformities (c, u), each row with its own sample size.

Theory of operation
-------------------
The value of a row is a count; n, its sample size, is what the row carries in column `sample_size`, or the chart's own default.
From both follow the plotted point, its standard deviation and its limits, centre ± 3 standard deviations:

    chart  point    centre  standard deviation  point lies in
    p      count/n  p       √(p (1 − p)/n)      [0, 1]
    np     count    n p     √(n p (1 − p))      [0, n]
    c      count    c       √c                  [0, ∞)
    u      count/n  u       √(u/n)              [0, ∞)

Limits are clipped to where a point can lie. p, c or u are given as the series' mu, or learned in Phase I: all counts of its
rows by all their units, Σ count/Σ n (for c: by the number of rows), so that a large sample counts for more than a small one.

Where n varies, the distance of points from the centre line says little by itself: run rules look at (point − centre) by its
own standard deviation (Montgomery, §7.2.2). Rule 1 compares the point with the limits as they are drawn.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from models import phase_one, run_rules
from models.detector import PARAMS, Column, Rule, SeriesBatch, Verdicts
from models.kernel import frozen, kernel
from models.limits import d2
from models.phase_one import epoch, is_given
from models.run_rules import chosen, forget, nelson

_P, _NP, _C, _U = range(4)


@kernel
def _loop(
    row: np.ndarray,
    value: np.ndarray,
    excluded: np.ndarray,
    sample_size: np.ndarray,
    params: np.ndarray,
    rows: int,
    kind: int,
    default_size: float,
    dispersion: float,
    standardised: bool,
    windows: bool,
    any_side: bool,
    wanted: np.ndarray,
    ends: np.ndarray,
    columns: tuple[np.ndarray, ...],
    out: np.ndarray,
    signal: np.ndarray,
    valid: np.ndarray,
) -> None:
    seen, counts, units, last, epochs, runs = columns
    given_mu = params["mu"]
    binomial, highest = kind <= _NP, 1.0 if kind == _P else np.inf
    for i in range(row.shape[0]):
        s, count = row[i], value[i]
        n = 1.0
        if kind != _C:
            n = default_size if np.isnan(sample_size[i]) else sample_size[i]
        present = is_given(count) and count >= 0.0 and is_given(n) and n > 0.0 and not (binomial and count > n)
        now = epoch(params, s, ends)
        if (excluded[i] and ends[2] != 0) or (present and epochs[s] != now):
            epochs[s] = now
            forget(runs, s)
        if excluded[i] or not present:
            continue
        rate = given_mu[s]
        if not is_given(rate) or rate < 0.0 or (binomial and rate > 1.0):
            if seen[s] < rows:
                seen[s] += 1
                counts[s] += count
                units[s] += n
                out[0, i, 0] = np.nan if standardised else count if kind == _NP else count / n
                continue
            rate = counts[s] / units[s]
        point = count if kind == _NP else count / n
        centre = rate * n if kind == _NP else rate
        variance = rate * (1.0 - rate) if binomial else rate
        deviation = dispersion * np.sqrt(variance * n if kind == _NP else variance / n)
        lcl = max(0.0, centre - 3.0 * deviation)
        ucl = min(n if kind == _NP else highest, centre + 3.0 * deviation)
        z = (point - centre) / deviation if deviation > 0.0 else point - centre
        fired = 0
        if windows:
            fired = nelson(runs, s, z, last[s], 0.0, 1.0 if deviation > 0.0 else 0.0, any_side)
            last[s] = z
        beyond = int(point > ucl or point < lcl)
        signal[i] = chosen((fired & ~1) | beyond, wanted)
        valid[i] = True
        if standardised:
            reach = 3.0 if deviation > 0.0 else 0.0
            point, centre, lcl, ucl = z, 0.0, -reach, reach
        out[0, i, 0] = point
        out[1, i, 0] = centre
        out[2, i, 0] = lcl
        out[3, i, 0] = ucl


@dataclass(frozen=True)
class _Chart:
    """What the four charts have in common."""

    phase_one_rows: int = 25
    nelson: tuple[int, ...] = (1,)
    sample_size: float | None = None  # of rows that carry none
    dispersion: float = 1.0  # Laney's sigma_z
    standardised: bool = False
    any_side: bool = False  # Nelson 8 on any side
    western_electric: tuple[int, ...] = ()
    window_ends: tuple[str, ...] = phase_one.WINDOW_ENDS

    kind: ClassVar[int]
    point: ClassVar[str]
    version = 1

    def __post_init__(self) -> None:
        run_rules.checked(self.nelson, self.western_electric)
        phase_one.window_ends(self.window_ends)
        if self.phase_one_rows < 1:
            raise ValueError(f"phase_one_rows = {self.phase_one_rows}: at least 1")
        if self.sample_size is not None and not 0.0 < self.sample_size < np.inf:
            raise ValueError(f"sample_size = {self.sample_size}: above 0, or None")
        if not 0.0 < self.dispersion < np.inf:
            raise ValueError(f"dispersion = {self.dispersion}: above 0; 1 is what the distribution says")

    @property
    def statistics(self) -> tuple[str, ...]:
        """Return the name of the plotted point; "z" if it is standardised."""
        return ("z",) if self.standardised else (self.point,)

    @property
    def state(self) -> Mapping[str, Column]:
        """Return the sums of Phase I, and the windows of the run rules."""
        return {
            "seen": Column("i4"),  # rows learned from
            "counts": Column("f8"),  # of those rows
            "units": Column("f8"),  # of those rows
            "last": Column("f8"),  # the last standardised point
            "epoch": Column("i8", (), -1),  # last seen
            "runs": run_rules.RUNS,
        }

    @property
    def rules(self) -> tuple[Rule, ...]:
        """Return the chosen run rules."""
        return run_rules.named(self.nelson, self.western_electric)

    def update(self, state: Mapping[str, np.ndarray], batch: SeriesBatch) -> Verdicts:
        """Judge each row as one sample of its series."""
        n = len(batch)
        out, signal, valid = np.full((4, n, 1), np.nan), np.zeros(n, np.uint32), np.zeros(n, np.bool_)
        _loop(
            frozen(batch.row, np.int32), frozen(batch.value, np.float64), frozen(batch.column("excluded"), np.bool_),
            frozen(batch.column("sample_size"), np.float64), frozen(batch.params, PARAMS), self.phase_one_rows,
            self.kind, np.nan if self.sample_size is None else float(self.sample_size), float(self.dispersion),
            self.standardised, bool({*self.nelson, *self.western_electric} - {1}), self.any_side,
            run_rules.wanted(self.nelson, 0, self.western_electric),
            phase_one.window_ends(self.window_ends), tuple(state[name] for name in self.state), out, signal, valid,
        )  # fmt: skip
        return Verdicts(out[0], out[1], out[2], out[3], signal, valid)


@dataclass(frozen=True)
class PChart(_Chart):
    """Fraction nonconforming: how many of the n units of a sample are bad, as a fraction of n.

    The value is the *count* of nonconforming units, not the fraction; n comes with the row (column `sample_size`) or, where a
    row carries none, from the parameter `sample_size`. Statistic "p"; the limits step with n. p is given as mu (within
    [0, 1]), or learned as Σ count/Σ n of the first `phase_one_rows` rows, which show their point without limits and are not
    valid; a mu that is no fraction counts as not given. A given sigma is not looked at: the binomial distribution says how
    far points scatter.

    Where samples are so large that nearly all points are out, the scatter between them is more than binomial. `dispersion` widens
    the limits by Laney's sigma_z, computed from a reference set by `dispersion_of`: that is the p′ chart. With
    `standardised` the chart plots z = (p − centre)/its standard deviation within −3 and 3.

    - A row with a missing or infinite value, without a sample size above 0, with a count below 0 or above n, or excluded: not
      judged, not learned from, no part of a window. Counts need not be whole.
    - No scatter (p is 0 or 1): the limits fall on the centre line; equal is in control, anything else is beyond.
    - `nelson` and `western_electric` choose run rules (see `models.run_rules`); they look at z, so that a rise is one in
      standard deviations. `window_ends` names what ends their windows: "limits", "reset", "exclusion".

    >>> from models import judge
    >>> bad, size = [12, 8, 6, 9, 20], [100, 80, 80, 100, 110]  # Montgomery, table 7.4, samples 1 to 4, and 11
    >>> v = judge(PChart(), bad, sample_size=size, mu=234 / 2450)
    >>> v.statistic[:, 0].round(3), v.ucl[:, 0].round(3), v.signal
    (array([0.12 , 0.1  , 0.075, 0.09 , 0.182]), array([0.184, 0.194, 0.194, 0.184, 0.18 ]), array([0, 0, 0, 0, 1], dtype=uint32))

    Reference: Montgomery, Introduction to SQC, 7th ed., §7.2.1 and §7.2.2; Laney, Quality Engineering 14 (2002) 531–537.
    """

    name = "spc.p"
    kind = _P
    point = "p"


@dataclass(frozen=True)
class NpChart(_Chart):
    """Number nonconforming: how many of the n units of a sample are bad.

    Statistic "np", the count itself; centre n p and limits step with n. mu is the *fraction* p, as for `PChart`, and all
    else is as there.

    >>> from models import judge
    >>> v = judge(NpChart(sample_size=50), [12, 15, 22], mu=347 / 1500)  # Montgomery, §7.2.1, orange juice cans
    >>> v.lcl[2].round(3), v.centre[2].round(3), v.ucl[2].round(3), v.signal
    (array([2.621]), array([11.567]), array([20.512]), array([0, 0, 1], dtype=uint32))

    Reference: Montgomery, Introduction to SQC, 7th ed., §7.2.1.
    """

    name = "spc.np"
    kind = _NP
    point = "np"


@dataclass(frozen=True)
class CChart(_Chart):
    """Nonconformities: how many defects a sample has, all samples being equally large.

    Statistic "c", the count. mu is the mean count, or learned from the first `phase_one_rows` rows. Sample sizes are not
    looked at, neither the rows' nor the parameter. All else is as for `PChart`, with the Poisson distribution.

    >>> from models import judge
    >>> v = judge(CChart(), [16, 14, 28, 16, 31], mu=16.0)  # NIST/SEMATECH e-Handbook 6.3.3.1: wafers 1 to 4, and 24
    >>> v.lcl[0], v.ucl[0], v.signal  # 28 is on the limit: inside
    (array([4.]), array([28.]), array([0, 0, 0, 0, 1], dtype=uint32))

    Reference: Montgomery, Introduction to SQC, 7th ed., §7.3.1.
    """

    name = "spc.c"
    kind = _C
    point = "c"


@dataclass(frozen=True)
class UChart(_Chart):
    """Nonconformities per unit: defects by the units, area or length that a sample has.

    Statistic "u", count/n, where n need not be whole. mu is the mean number per unit, or learned as Σ count/Σ n. All else is
    as for `PChart`, with the Poisson distribution: a count may be above n; with `dispersion` it is Laney's u′ chart.

    >>> from models import judge
    >>> defects, units = [14, 12, 20], [10.0, 8.0, 13.0]  # Montgomery, table 7.11, dyed cloth, rolls 1 to 3
    >>> v = judge(UChart(), defects, sample_size=units, mu=153 / 107.5)
    >>> v.statistic[:, 0].round(2), v.lcl[:, 0].round(2), v.ucl[:, 0].round(2)
    (array([1.4 , 1.5 , 1.54]), array([0.29, 0.16, 0.43]), array([2.56, 2.69, 2.42]))

    Reference: Montgomery, Introduction to SQC, 7th ed., §7.3.1 and §7.3.2.
    """

    name = "spc.u"
    kind = _U
    point = "u"


def dispersion_of(chart: PChart | NpChart | CChart | UChart, counts: np.ndarray, sample_sizes: np.ndarray) -> float:
    """Return Laney's sigma_z of a reference set: the mean moving range of its standardised points, by d2(2).

    1 is what the binomial or Poisson distribution says; above it, points scatter more. counts, sample_sizes: (n,), of one
    series in order, at least two; c charts do not look at the sizes. Raises ValueError for fewer, and for counts that are
    all 0, or all units: the distribution then has no scatter to compare with.

    >>> dispersion_of(PChart(), np.array([100, 300, 200, 400]), np.full(4, 1000))
    10.786810625304781

    Reference: Laney, Improved control charts for attributes, Quality Engineering 14 (2002) 531–537.
    """
    counts = np.asarray(counts, np.float64)
    sizes = np.ones_like(counts) if chart.kind == _C else np.broadcast_to(sample_sizes, counts.shape)
    if len(counts) < 2:
        raise ValueError(f"{len(counts)} counts: a moving range needs 2")
    rate = counts.sum() / sizes.sum()
    variance = rate * (1.0 - rate) if chart.kind in (_P, _NP) else rate
    if not variance > 0.0:
        raise ValueError(f"rate = {rate}: counts that cannot vary have no dispersion")
    z = (counts / sizes - rate) / np.sqrt(variance / sizes)
    return float(np.abs(np.diff(z)).mean() / d2(2))
