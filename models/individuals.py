"""Individuals and moving range: the chart for one value at a time."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from models import phase_one, run_rules
from models.detector import PARAMS, Column, Rule, SeriesBatch, Verdicts
from models.kernel import frozen, kernel
from models.limits import range_constants
from models.phase_one import WINDOW_ENDS, epoch, is_given, learn, reference
from models.run_rules import chosen, forget, nelson

_MR_BEYOND = 1 << run_rules.OWN


@kernel
def _loop(
    row: np.ndarray,
    value: np.ndarray,
    excluded: np.ndarray,
    params: np.ndarray,
    rows: int,
    d2_2: float,
    d3_2: float,
    any_side: bool,
    wanted: np.ndarray,
    ends: np.ndarray,
    columns: tuple[np.ndarray, ...],
    out: np.ndarray,
    signal: np.ndarray,
    valid: np.ndarray,
) -> None:
    seen, mean, ranges, range_sum, last, epochs, runs = columns
    given_mu, given_sigma = params["mu"], params["sigma"]
    for i in range(row.shape[0]):
        s, x = row[i], value[i]
        if excluded[i]:
            if ends[2] != 0:
                forget(runs, s)
                last[s] = np.nan
            continue
        if not is_given(x):
            continue
        now = epoch(params, s, ends)
        if epochs[s] != now:
            epochs[s] = now
            forget(runs, s)
            last[s] = np.nan
        previous = last[s]
        last[s] = x
        moving_range = abs(x - previous)
        out[0, i, 0] = x
        out[0, i, 1] = moving_range
        known, mu, sigma = reference(given_mu[s], given_sigma[s], rows, d2_2, seen[s], mean[s], ranges[s], range_sum[s])
        if not known:
            learn(s, x, moving_range, seen, mean, ranges, range_sum)
            continue
        range_limit = (d2_2 + 3.0 * d3_2) * sigma
        out[1, i, 0] = mu
        out[2, i, 0] = mu - 3.0 * sigma
        out[3, i, 0] = mu + 3.0 * sigma
        out[1, i, 1] = d2_2 * sigma
        out[2, i, 1] = 0.0
        out[3, i, 1] = range_limit
        fired = nelson(runs, s, x, previous, mu, sigma, any_side)
        if moving_range > range_limit:
            fired |= _MR_BEYOND
        signal[i] = chosen(fired, wanted)
        valid[i] = True


@dataclass(frozen=True)
class IndividualsChart:
    """I–MR chart with run rules on x, and the moving range beyond its limit.

    Statistics "x" and "MR" in the unit of the value. Limits of x: mu ± 3 sigma; of MR: 0 and (d2 + 3 d3) sigma. mu and
    sigma are given, or learned from the first `phase_one_rows` rows (see `models.phase_one`); those rows show x and MR
    without limits and are not valid. Run rules start with the first judged row; its MR is taken from the last row of
    Phase I.

    - Missing or infinite value: not judged, state untouched; the next MR spans the gap.
    - Excluded row: not judged, not learned from, in no window and no MR.
    - Sigma 0: the limits fall on the centre line; equal is in control, anything else is beyond (rule 1).
    - `window_ends`: at a change of limits, a reset and an excluded point, as far as named, the windows of the run rules
      end, and the first row after it has no MR. At what is not named, both go on across it.

    `nelson` and `western_electric` choose the run rules, in the order of the signal's bits (see `models.run_rules`);
    `d2_digits=3` divides by 1.128 as the books do.

    >>> from models import judge
    >>> flow = [49.6, 47.6, 49.9, 51.3, 47.8, 51.2, 52.6, 52.4, 53.6, 52.1]  # NIST/SEMATECH e-Handbook 6.3.2.2
    >>> v = judge(IndividualsChart(phase_one_rows=10, d2_digits=3), [*flow, 56.0])
    >>> v.lcl[10, 0].round(4), v.centre[10, 0].round(4), v.ucl[10, 0].round(4), v.signal[10]
    (np.float64(45.8159), np.float64(50.81), np.float64(55.8041), np.uint32(1))
    >>> chart = IndividualsChart(nelson=(), western_electric=(1, 2, 3, 4))
    >>> judge(chart, [2.5, 0.0, 2.5], mu=0.0, sigma=1.0).signal, chart.rules[1].name
    (array([0, 0, 2], dtype=uint32), 'western_electric_2')

    Reference: Montgomery, Introduction to SQC, 7th ed., §6.4; for the rules see `models.run_rules`.
    """

    phase_one_rows: int = 50
    nelson: tuple[int, ...] = run_rules.ALL
    any_side: bool = False  # Nelson 8 on any side
    d2_digits: int | None = None  # None: exact
    western_electric: tuple[int, ...] = ()
    window_ends: tuple[str, ...] = WINDOW_ENDS

    name = "spc.individuals"
    version = 2
    statistics = ("x", "MR")

    def __post_init__(self) -> None:
        phase_one.checked_rows(self.phase_one_rows)
        phase_one.window_ends(self.window_ends)
        run_rules.checked(self.nelson, self.western_electric)

    @property
    def state(self) -> Mapping[str, Column]:
        """Sums of Phase I, the last value, and the windows of the run rules."""
        return {**phase_one.COLUMNS, "runs": run_rules.RUNS}

    @property
    def rules(self) -> tuple[Rule, ...]:
        """Return the chosen run rules, then the moving range's."""
        beyond = Rule("mr_beyond_limit", "the moving range is above its upper limit", "warning", 1)
        return (*run_rules.named(self.nelson, self.western_electric), beyond)

    def update(self, state: Mapping[str, np.ndarray], batch: SeriesBatch) -> Verdicts:
        """Judge each row as one point of its series."""
        n = len(batch)
        out, signal, valid = np.full((4, n, 2), np.nan), np.zeros(n, np.uint32), np.zeros(n, np.bool_)
        d2_2, d3_2 = range_constants(self.d2_digits)[2].tolist()
        _loop(
            frozen(batch.row, np.int32), frozen(batch.value, np.float64), frozen(batch.column("excluded"), np.bool_),
            frozen(batch.params, PARAMS), self.phase_one_rows, d2_2, d3_2, self.any_side,
            run_rules.wanted(self.nelson, 1, self.western_electric), phase_one.window_ends(self.window_ends),
            tuple(state[name] for name in self.state), out, signal, valid,
        )  # fmt: skip
        return Verdicts(out[0], out[1], out[2], out[3], signal, valid)
