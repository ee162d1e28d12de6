"""Averages and ranges of rational subgroups."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from models import run_rules
from models.detector import PARAMS, Column, Rule, SeriesBatch, Verdicts
from models.kernel import frozen, kernel
from models.limits import SUBGROUP_SIZE_MAX, range_constants
from models.phase_one import is_given
from models.run_rules import chosen, forget, nelson


@kernel
def _closed(rows: int, total: float, least: float, most: float) -> tuple[int, float, float]:
    """Return size, mean and range of a subgroup; the mean of equal rows is their value, whatever the sum was rounded to."""
    return rows, min(max(total / rows, least), most), most - least


@kernel
def _judge(
    s: int,
    n: int,
    mean: float,
    spread: float,
    given_mu: float,
    given_sigma: float,
    subgroups: int,
    constants: np.ndarray,
    any_side: bool,
    learned: np.ndarray,
    learned_rows: np.ndarray,
    grand_mean: np.ndarray,
    sigma_sum: np.ndarray,
    last: np.ndarray,
    runs: np.ndarray,
    line: np.ndarray,
) -> int:
    """Judge one closed subgroup into `line` (4, 2); return its signal, or −1 if it went into Phase I."""
    d2_n, d3_n = constants[n, 0], constants[n, 1]
    line[0, 0] = mean
    line[0, 1] = spread
    previous = last[s]
    last[s] = mean
    mu_given = is_given(given_mu)
    sigma_given = is_given(given_sigma) and given_sigma >= 0.0
    if learned[s] < subgroups and not (mu_given and sigma_given):
        learned[s] += 1
        learned_rows[s] += n
        grand_mean[s] += (mean - grand_mean[s]) * n / learned_rows[s]
        sigma_sum[s] += spread / d2_n
        return -1
    mu = given_mu if mu_given else grand_mean[s]
    sigma = given_sigma if sigma_given else sigma_sum[s] / subgroups
    of_mean = sigma / math.sqrt(n)
    line[1, 0] = mu
    line[2, 0] = mu - 3.0 * of_mean
    line[3, 0] = mu + 3.0 * of_mean
    line[1, 1] = d2_n * sigma
    line[2, 1] = max(0.0, d2_n - 3.0 * d3_n) * sigma
    line[3, 1] = (d2_n + 3.0 * d3_n) * sigma
    fired = nelson(runs, s, mean, previous, mu, of_mean, any_side)
    if spread > line[3, 1] or spread < line[2, 1]:
        fired |= 256
    return fired


@kernel
def _loop(
    row: np.ndarray,
    value: np.ndarray,
    subgroup: np.ndarray,
    params: np.ndarray,
    size: int,
    subgroups: int,
    constants: np.ndarray,
    any_side: bool,
    wanted: np.ndarray,
    columns: tuple[np.ndarray, ...],
    out: np.ndarray,
    signal: np.ndarray,
    valid: np.ndarray,
) -> None:
    open_group, open_rows, open_sum, open_least, open_most = columns[:5]
    learned, learned_rows, grand_mean, sigma_sum, last, version, runs = columns[5:]
    given_mu, given_sigma, given_version = params["mu"], params["sigma"], params["limits_version"]
    for i in range(row.shape[0]):
        s, x = row[i], value[i]
        if not is_given(x):
            continue
        if version[s] != given_version[s]:
            version[s] = given_version[s]
            forget(runs, s)
        closed, mean, spread = 0, 0.0, 0.0
        if open_rows[s] != 0 and open_group[s] != subgroup[i]:  # the next subgroup closes this one short
            closed, mean, spread = _closed(open_rows[s], open_sum[s], open_least[s], open_most[s])
            open_rows[s] = 0
        if open_rows[s] == 0:
            open_group[s] = subgroup[i]
            open_sum[s], open_least[s], open_most[s] = 0.0, x, x
        open_rows[s] += 1
        open_sum[s] += x
        open_least[s] = min(open_least[s], x)
        open_most[s] = max(open_most[s], x)
        if open_rows[s] >= size:  # never the row that closed another one: size ≥ 2
            closed, mean, spread = _closed(open_rows[s], open_sum[s], open_least[s], open_most[s])
            open_rows[s] = 0
        if closed < 2:  # one row has no range
            continue
        fired = _judge(
            s, closed, mean, spread, given_mu[s], given_sigma[s], subgroups, constants, any_side,
            learned, learned_rows, grand_mean, sigma_sum, last, runs, out[:, i],
        )  # fmt: skip
        if fired >= 0:
            signal[i] = chosen(fired, wanted)
            valid[i] = True


@dataclass(frozen=True)
class XbarChart:
    """X̄–R chart with Nelson's run rules on the subgroup's mean, and its range beyond a limit.

    Statistics "xbar" and "R" in the unit of the value. Limits of x̄: mu ± 3 sigma/√n; of R: max(0, d2 − 3 d3) sigma and
    (d2 + 3 d3) sigma, with the constants of the subgroup's own size n. mu and sigma (of single values) are given, or
    learned from the first `phase_one_subgroups` closed subgroups: the mean of all their rows, and the mean of R/d2(n).

    A subgroup closes at its `subgroup_size`-th row. If the first row of another subgroup of the series comes earlier,
    it closes short, and the verdict stands at that row, the one that closes it; of a single row nothing is said.
    Further rows with the same name make another subgroup, and so do rows without one (−1): every `subgroup_size` of
    them in a row. Rows that close nothing are not valid, nor are those that close a subgroup of Phase I; these show x̄
    and R without limits.

    - Missing or infinite value: not judged, state untouched, closes nothing.
    - Sigma 0: the limits fall on the centre line; equal is in control, anything else is beyond (rule 1).
    - Another `limits_version`: the windows of the run rules end; an open subgroup goes on and is judged by the new
      limits.

    `nelson` chooses the rules, in the order of the signal's bits; `d2_digits=3` rounds d2 as NIST and qcc do.

    >>> from models import judge
    >>> v = judge(XbarChart(subgroup_size=2), [9.0, 11.0, 14.0, 12.0], mu=10.0, sigma=1.0)
    >>> v.valid, v.statistic[3], v.ucl[3].round(3), v.signal
    (array([False,  True, False,  True]), array([13.,  2.]), array([12.121,  3.686]), array([0, 0, 0, 1], dtype=uint32))

    Reference: Montgomery, Introduction to SQC, 7th ed., §6.2; ISO 7870-2.
    """

    subgroup_size: int = 5
    phase_one_subgroups: int = 20
    nelson: tuple[int, ...] = run_rules.ALL
    any_side: bool = False  # rule 8 on any side
    d2_digits: int | None = None  # None: exact

    name = "spc.xbar"
    version = 1
    statistics = ("xbar", "R")

    def __post_init__(self) -> None:
        if not 2 <= self.subgroup_size <= SUBGROUP_SIZE_MAX:
            raise ValueError(f"subgroup_size = {self.subgroup_size}: constants are for 2 to {SUBGROUP_SIZE_MAX}")
        if self.phase_one_subgroups < 1:
            raise ValueError(f"phase_one_subgroups = {self.phase_one_subgroups}: at least 1")
        run_rules.checked(self.nelson)

    @property
    def state(self) -> Mapping[str, Column]:
        """Return the open subgroup, the sums of Phase I, the last mean, and the windows of the run rules."""
        return {
            "open_group": Column("i8", (), -1),
            "open_rows": Column("i4"),
            "open_sum": Column("f8"),
            "open_least": Column("f8"),
            "open_most": Column("f8"),
            "learned": Column("i4"),  # subgroups
            "learned_rows": Column("i4"),
            "grand_mean": Column("f8"),
            "sigma_sum": Column("f8"),  # of R/d2(n)
            "last": Column("f8", (), np.nan),  # the last closed subgroup's mean
            "limits_version": Column("i8", (), -1),
            "runs": run_rules.RUNS,
        }

    @property
    def rules(self) -> tuple[Rule, ...]:
        """Return the chosen Nelson rules, then the range's."""
        beyond = Rule("range_beyond_limit", "the range of the subgroup is beyond one of its limits", "warning", 1)
        return (*(run_rules.NELSON[number] for number in self.nelson), beyond)

    def update(self, state: Mapping[str, np.ndarray], batch: SeriesBatch) -> Verdicts:
        """Judge each subgroup at the row that closes it."""
        n = len(batch)
        out, signal, valid = np.full((4, n, 2), np.nan), np.zeros(n, np.uint32), np.zeros(n, np.bool_)
        _loop(
            frozen(batch.row, np.int32), frozen(batch.value, np.float64), frozen(batch.subgroup, np.int64),
            frozen(batch.params, PARAMS), self.subgroup_size, self.phase_one_subgroups,
            range_constants(self.d2_digits), self.any_side, run_rules.wanted(self.nelson, others=1),
            tuple(state[name] for name in self.state), out, signal, valid,
        )  # fmt: skip
        return Verdicts(out[0], out[1], out[2], out[3], signal, valid)
