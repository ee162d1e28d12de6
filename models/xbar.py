"""Averages of rational subgroups with their ranges (X̄–R) or standard deviations (X̄–S)."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from models import phase_one, run_rules, subgroups
from models.detector import PARAMS, Column, Rule, SeriesBatch, Verdicts
from models.kernel import frozen, kernel
from models.limits import deviation_constants, range_constants
from models.phase_one import WINDOW_ENDS, epoch, is_given
from models.run_rules import chosen, forget, nelson
from models.subgroups import summary

SPREADS = ("R", "S")
"""What is plotted beside the mean of a subgroup: its range, or its standard deviation."""

_LEVEL = {
    "learned": Column("i4"),  # subgroups of Phase I
    "learned_rows": Column("i4"),
    "grand_mean": Column("f8"),  # of these rows
    "sigma_sum": Column("f8"),  # of R/d2(n) or S/c4(n) of these subgroups
}
_SPREAD_BEYOND = 1 << run_rules.OWN


@kernel
def _reference(
    s: int,
    n: int,
    mean: float,
    unbiased: float,
    given_mu: float,
    given_sigma: float,
    rounds: int,
    level: tuple[np.ndarray, ...],
) -> tuple[bool, float, float]:
    """Return (known, mu, sigma): given, or of a Phase I that is over; else learn from this subgroup of n rows.

    `unbiased` is the sigma that its spread estimates alone, `rounds` the number of subgroups in Phase I.
    """
    learned, learned_rows, grand_mean, sigma_sum = level
    mu_given = is_given(given_mu)
    sigma_given = is_given(given_sigma) and given_sigma >= 0.0
    if learned[s] < rounds and not (mu_given and sigma_given):
        learned[s] += 1
        learned_rows[s] += n
        grand_mean[s] += (mean - grand_mean[s]) * n / learned_rows[s]
        sigma_sum[s] += unbiased
        return False, np.nan, np.nan
    mu = given_mu if mu_given else grand_mean[s]
    sigma = given_sigma if sigma_given else sigma_sum[s] / rounds
    return True, mu, sigma


@kernel
def _loop(
    row: np.ndarray,
    value: np.ndarray,
    excluded: np.ndarray,
    subgroup: np.ndarray,
    params: np.ndarray,
    rounds: int,
    of_deviation: bool,
    constants: np.ndarray,
    any_side: bool,
    wanted: np.ndarray,
    ends: np.ndarray,
    open_columns: tuple[np.ndarray, ...],
    level: tuple[np.ndarray, ...],
    last: np.ndarray,
    epochs: np.ndarray,
    runs: np.ndarray,
    out: np.ndarray,
    signal: np.ndarray,
    valid: np.ndarray,
) -> None:
    open_group, open_rows, open_values = open_columns
    given_mu, given_sigma = params["mu"], params["sigma"]
    for i in range(row.shape[0]):
        s, x = row[i], value[i]
        if excluded[i]:
            if ends[2] != 0:
                forget(runs, s)
            continue
        if not is_given(x):
            continue
        now = epoch(params, s, ends)
        if epochs[s] != now:
            epochs[s] = now
            forget(runs, s)
        rows = int(open_rows[s])
        early = rows != 0 and open_group[s] != subgroup[i]  # the next subgroup closes this one short
        if not early:
            open_values[s, rows] = x
            rows += 1
        n = rows if early or rows >= open_values.shape[1] else 0  # rows that close
        mean, spread = summary(open_values[s], n, of_deviation) if n >= 2 else (x, 0.0)
        if early:
            open_values[s, 0] = x
        open_group[s] = subgroup[i]
        open_rows[s] = 1 if early else rows - n
        if n < 2:  # one row has no spread
            continue
        out[0, i, 0] = mean
        out[0, i, 1] = spread
        previous = last[s]
        last[s] = mean
        of_spread, error_of_spread = constants[n, 0], constants[n, 1]
        known, mu, sigma = _reference(s, n, mean, spread / of_spread, given_mu[s], given_sigma[s], rounds, level)
        if not known:
            continue
        of_mean = sigma / math.sqrt(n)
        out[1, i, 0] = mu
        out[2, i, 0] = mu - 3.0 * of_mean
        out[3, i, 0] = mu + 3.0 * of_mean
        least = max(0.0, of_spread - 3.0 * error_of_spread) * sigma
        most = (of_spread + 3.0 * error_of_spread) * sigma
        out[1, i, 1] = of_spread * sigma
        out[2, i, 1] = least
        out[3, i, 1] = most
        fired = nelson(runs, s, mean, previous, mu, of_mean, any_side)
        if spread > most or spread < least:
            fired |= _SPREAD_BEYOND
        signal[i] = chosen(fired, wanted)
        valid[i] = True


@dataclass(frozen=True)
class XbarChart:
    """X̄–R or X̄–S chart with run rules on the subgroup's mean, and its spread beyond a limit.

    Statistics "xbar" and "R", or "xbar" and "S" with `spread="S"`, in the unit of the value. Limits, with the constants of
    the subgroup's own size n, 2 to 25: of x̄, mu ± 3 sigma/√n; of R, max(0, d2 − 3 d3) sigma and (d2 + 3 d3) sigma; of S,
    max(0, c4 − 3 √(1 − c4²)) sigma and (c4 + 3 √(1 − c4²)) sigma, the books' B5 and B6. mu and sigma (of single values)
    are given, or learned from the first `phase_one_subgroups` closed subgroups: the mean of all their rows, and the
    unweighted mean of R/d2(n) or S/c4(n), which with equal sizes is R̄/d2 or S̄/c4.

    A subgroup closes at its `subgroup_size`-th row. If the first row of another subgroup of the series comes earlier,
    it closes short, and the verdict stands at that row, the one that closes it; of a single row nothing is said.
    Further rows with the same name make another subgroup, and so do rows without one (−1): every `subgroup_size` of
    them in a row. Rows that close nothing are not valid, nor are those that close a subgroup of Phase I; these show x̄
    and its spread without limits.

    - Missing or infinite value: not judged, state untouched, closes nothing.
    - Excluded row: not in its subgroup, which is judged by the rows that are left; closes nothing.
    - Sigma 0: the limits fall on the centre line; equal is in control, anything else is beyond (rule 1).
    - `window_ends`: at a change of limits, a reset and an excluded row, as far as named, the windows of the run rules end.
      An open subgroup goes on, and is judged by the limits of the row that closes it.

    `nelson` and `western_electric` choose the run rules, in the order of the signal's bits (see `models.run_rules`);
    `d2_digits=3` rounds d2 as NIST and qcc do.

    >>> from models import judge
    >>> v = judge(XbarChart(subgroup_size=2), [9.0, 11.0, 14.0, 12.0], mu=10.0, sigma=1.0)
    >>> v.valid, v.statistic[3], v.ucl[3].round(3), v.signal
    (array([False,  True, False,  True]), array([13.,  2.]), array([12.121,  3.686]), array([0, 0, 0, 1], dtype=uint32))
    >>> v = judge(XbarChart(subgroup_size=2, spread="S"), [9.0, 11.0, 14.0, 12.0], mu=10.0, sigma=1.0)
    >>> v.statistic[3].round(3), v.ucl[3].round(3)
    (array([13.   ,  1.414]), array([12.121,  2.606]))

    Reference: Montgomery, Introduction to SQC, 7th ed., §6.2 and §6.3; ISO 7870-2.
    """

    subgroup_size: int = 5
    phase_one_subgroups: int = 20
    nelson: tuple[int, ...] = run_rules.ALL
    any_side: bool = False  # Nelson 8 on any side
    d2_digits: int | None = None  # None: exact
    spread: str = "R"
    western_electric: tuple[int, ...] = ()
    window_ends: tuple[str, ...] = WINDOW_ENDS

    version = 2

    def __post_init__(self) -> None:
        subgroups.checked_size(self.subgroup_size)
        if self.phase_one_subgroups < 1:
            raise ValueError(f"phase_one_subgroups = {self.phase_one_subgroups}: at least 1")
        if self.spread not in SPREADS:
            raise ValueError(f"spread = {self.spread!r}: one of {', '.join(SPREADS)}")
        phase_one.window_ends(self.window_ends)
        run_rules.checked(self.nelson, self.western_electric)

    @property
    def name(self) -> str:
        """Return "spc.xbar" of X̄–R, "spc.xbar_s" of X̄–S."""
        return "spc.xbar" if self.spread == "R" else "spc.xbar_s"

    @property
    def statistics(self) -> tuple[str, ...]:
        """Name the mean and the spread of a subgroup."""
        return ("xbar", self.spread)

    @property
    def state(self) -> Mapping[str, Column]:
        """Return the open subgroup, the sums of Phase I, the last mean, and the windows of the run rules."""
        return {
            **subgroups.columns(self.subgroup_size),
            **_LEVEL,
            "last": Column("f8", (), np.nan),  # the last closed subgroup's mean
            "epoch": phase_one.COLUMNS["epoch"],
            "runs": run_rules.RUNS,
        }

    @property
    def rules(self) -> tuple[Rule, ...]:
        """Return the chosen run rules, then the spread's."""
        spread = "range" if self.spread == "R" else "deviation"
        doc = (
            f"the {'range' if self.spread == 'R' else 'standard deviation'} of the subgroup is beyond one of its limits"
        )
        beyond = Rule(f"{spread}_beyond_limit", doc, "warning", 1)
        return (*run_rules.named(self.nelson, self.western_electric), beyond)

    def update(self, state: Mapping[str, np.ndarray], batch: SeriesBatch) -> Verdicts:
        """Judge each subgroup at the row that closes it."""
        n = len(batch)
        out, signal, valid = np.full((4, n, 2), np.nan), np.zeros(n, np.uint32), np.zeros(n, np.bool_)
        of_deviation = self.spread == "S"
        _loop(
            frozen(batch.row, np.int32), frozen(batch.value, np.float64), frozen(batch.column("excluded"), np.bool_),
            frozen(batch.subgroup, np.int64), frozen(batch.params, PARAMS), self.phase_one_subgroups, of_deviation,
            deviation_constants() if of_deviation else range_constants(self.d2_digits), self.any_side,
            run_rules.wanted(self.nelson, 1, self.western_electric), phase_one.window_ends(self.window_ends),
            tuple(state[name] for name in subgroups.columns(self.subgroup_size)), tuple(state[name] for name in _LEVEL),
            state["last"], state["epoch"], state["runs"], out, signal, valid,
        )  # fmt: skip
        return Verdicts(out[0], out[1], out[2], out[3], signal, valid)
