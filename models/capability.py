"""Running capability indices: how the process fits between its specification limits.

Theory of operation
-------------------
Capability compares what the customer allows, USL − LSL, with what the process does: its spread *within* (short-term:
inside rational subgroups, or from one row to the next) and *overall* (long-term: all rows). Indices that begin with C
use sigma within, those with P overall; k says that the nearer limit counts, m that the distance to the target does.

All sums are exact integers (see `models.moments`), so that the indices of a series depend on its rows only: not on the
batches they came in, and where shards are merged, not on the order of merging.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from models.capability_indices import indices, ppm_expected, sides, target_indices
from models.capability_within import (
    ESTIMATORS,
    INSPECTED,
    MOVING_RANGE,
    OUTSIDE,
    RANGES,
    ROWS,
    WITHIN,
    close,
    gather,
    sigma_of_ranges,
    sigma_of_subgroups,
)
from models.detector import PARAMS, Column, Rule, SeriesBatch, Verdicts, new_state
from models.kernel import frozen, kernel
from models.limits import SUBGROUP_SIZE_MAX, range_constants
from models.moments import (
    ROWS_MAX,
    SUMS,
    TOTAL,
    add,
    add_to_total,
    mean_and_deviation,
    merge_sums,
    merge_totals,
)
from models.phase_one import epoch, is_given, moving_range_d2, window_ends

INDICES = ("Cp", "Cpk", "Pp", "Ppk", "Cpl", "Cpu", "Cpm", "Cpmk")
PPM = ("ppm_within", "ppm_overall", "ppm_observed")


@kernel
def _line(
    mean: float, within: float, overall: float, lsl: float, usl: float, target: float, outside: float, line: np.ndarray
) -> None:
    """Write the statistics of one series, INDICES and then, if there is room, PPM."""
    line[0], line[1] = indices(mean, within, lsl, usl)
    line[2], line[3] = indices(mean, overall, lsl, usl)
    line[4], line[5] = sides(mean, within, lsl, usl)
    line[6], line[7] = target_indices(mean, within, lsl, usl, target)
    if line.shape[0] > len(INDICES):
        below, above = ppm_expected(mean, within, lsl, usl)
        line[8] = below + above
        below, above = ppm_expected(mean, overall, lsl, usl)
        line[9] = below + above
        line[10] = 1e6 * outside


@kernel
def _carry(s: int, now_ms: int, carried: tuple[float, float, float], specs: np.ndarray, specs_ms: np.ndarray) -> None:
    """Keep the specification limits and the target that a row carries, each for itself."""
    for k in range(len(carried)):
        if is_given(carried[k]):
            specs[s, k] = carried[k]
            specs_ms[s, k] = now_ms


@kernel
def _chosen(given: float, carried: float) -> float:
    return given if is_given(given) else carried


@kernel
def _restart(
    s: int, counts: np.ndarray, sums: np.ndarray, ranges: np.ndarray, within: np.ndarray, opened: np.ndarray,
    last: np.ndarray,
) -> None:  # fmt: skip
    """Forget every row of series `s`."""
    counts[s], sums[s], ranges[s], within[s], opened[s], last[s] = 0, 0, 0, 0, 0.0, np.nan


@kernel
def _loop(
    row: np.ndarray,
    value: np.ndarray,
    excluded: np.ndarray,
    subgroup: np.ndarray,
    time_ms: np.ndarray,
    carried: tuple[np.ndarray, np.ndarray, np.ndarray],
    params: np.ndarray,
    ends: np.ndarray,
    mode: int,
    size: int,
    min_rows: int,
    cpk_min: float,
    d2_2: float,
    constants: np.ndarray,
    columns: tuple[np.ndarray, ...],
    out: np.ndarray,
    signal: np.ndarray,
    valid: np.ndarray,
) -> None:
    counts, sums, ranges, within, opened, last, open_group, specs, specs_ms, epochs = columns
    row_lsl, row_usl, row_target = carried
    given_lsl, given_usl, given_target = params["lsl"], params["usl"], params["target"]
    for i in range(row.shape[0]):
        s, x = row[i], value[i]
        if excluded[i] and ends[2] != 0:
            _restart(s, counts, sums, ranges, within, opened, last)
        if excluded[i] or not is_given(x) or counts[s, ROWS] >= ROWS_MAX:
            continue
        now = epoch(params, s, ends)
        if epochs[s] != now:
            if epochs[s] != -1:
                _restart(s, counts, sums, ranges, within, opened, last)
            epochs[s] = now
        _carry(s, time_ms[i], (row_lsl[i], row_usl[i], row_target[i]), specs, specs_ms)
        low, high = _chosen(given_lsl[s], specs[s, 0]), _chosen(given_usl[s], specs[s, 1])
        target = _chosen(given_target[s], specs[s, 2])
        counts[s, ROWS] += 1
        add(sums, s, x)
        if mode <= MOVING_RANGE:
            if is_given(last[s]):
                counts[s, RANGES] += 1
                add_to_total(ranges, s, abs(x - last[s]))
            last[s] = x
        if mode != MOVING_RANGE and (subgroup[i] >= 0 or size > 0 or opened[s, 0] > 0.0):
            gather(s, subgroup[i], x, mode, size, constants, open_group, opened, within, counts)
        if np.isnan(low) and np.isnan(high):
            continue
        counts[s, INSPECTED] += 1
        counts[s, OUTSIDE] += int(x < low or x > high)
        n = counts[s, ROWS]
        if n < 2:
            continue
        mean, overall = mean_and_deviation(sums, s, int(n))
        sigma = np.nan
        if mode != MOVING_RANGE and (counts[s, WITHIN] > 0 or opened[s, 0] > 1.0):
            sigma = sigma_of_subgroups(s, mode, counts, within, opened)
        if mode <= MOVING_RANGE and np.isnan(sigma):
            sigma = sigma_of_ranges(s, d2_2, counts, ranges)
        _line(mean, sigma, overall, low, high, target, counts[s, OUTSIDE] / counts[s, INSPECTED], out[0, i])
        if n >= min_rows and not np.isnan(sigma):
            valid[i] = True
            out[2, i, 1] = cpk_min
            signal[i] = int(out[0, i, 1] < cpk_min) if sigma > 0.0 else int(mean < low or mean > high)


@kernel
def _read(
    params: np.ndarray,
    mode: int,
    d2_2: float,
    columns: tuple[np.ndarray, ...],
    out: np.ndarray,
) -> None:
    counts, sums, ranges, within, opened, _, _, specs, _, _ = columns
    for s in range(out.shape[0]):
        low, high = _chosen(params["lsl"][s], specs[s, 0]), _chosen(params["usl"][s], specs[s, 1])
        target = _chosen(params["target"][s], specs[s, 2])
        if counts[s, ROWS] > 1 and not (np.isnan(low) and np.isnan(high)):
            mean, overall = mean_and_deviation(sums, s, int(counts[s, ROWS]))
            sigma = sigma_of_subgroups(s, mode, counts, within, opened) if mode != MOVING_RANGE else np.nan
            if mode <= MOVING_RANGE and np.isnan(sigma):
                sigma = sigma_of_ranges(s, d2_2, counts, ranges)
            outside = counts[s, OUTSIDE] / counts[s, INSPECTED] if counts[s, INSPECTED] > 0 else np.nan
            _line(mean, sigma, overall, low, high, target, outside, out[s])


@kernel
def _merge(mode: int, constants: np.ndarray, into: tuple[np.ndarray, ...], other: tuple[np.ndarray, ...]) -> None:
    counts, sums, ranges, within, opened, last, _, specs, specs_ms, epochs = into
    counts_2, sums_2, ranges_2, within_2, opened_2, _, _, specs_2, specs_ms_2, epochs_2 = other
    for s in range(counts.shape[0]):
        close(s, mode, constants, opened, within, counts)
        close(s, mode, constants, opened_2, within_2, counts_2)
        counts[s] += counts_2[s]
        merge_sums(sums, s, sums_2, s)
        merge_totals(ranges, s, ranges_2, s)
        merge_totals(within, s, within_2, s)
        last[s] = np.nan
        epochs[s] = max(epochs[s], epochs_2[s])
        opened[s] = 0.0
        for k in range(specs.shape[1]):
            newer = specs_ms_2[s, k] > specs_ms[s, k]
            tie = specs_ms_2[s, k] == specs_ms[s, k] and specs_2[s, k] > specs[s, k]
            if newer or tie:
                specs[s, k], specs_ms[s, k] = specs_2[s, k], specs_ms_2[s, k]


@dataclass(frozen=True)
class Capability:
    """Running indices of all rows of a series so far, within and overall; a signal while Cpk is below `cpk_min`.

    Statistics: Cp and Cpk (within), Pp and Ppk (overall), Cpl and Cpu (within, of one limit each), Cpm and Cpmk (within,
    and the distance of the mean from the target); and unless `ppm` is False the rows in a million that a normal
    distribution would have outside the limits, "ppm_within" and "ppm_overall", and that were outside, "ppm_observed"
    (counted against the limits in force at each row).

    Sigma overall is the standard deviation with n − 1. Sigma within, by `within`:

    - "moving_range": MRbar/d2(2), of each row and the one before it.
    - "pooled": √(Σ squares about the subgroups' means / Σ (n − 1)), the open subgroup included.
    - "range": the mean of R/d2(n) of the closed subgroups.
    - "auto": pooled where the rows name their subgroup and these give at least one degree of freedom for every four
      rows, else the moving range (of rows without subgroup, or each in a subgroup of its own).

    A subgroup closes at its `subgroup_size`-th row if that is given, and at the first row of another one. Rows without
    a subgroup (−1) make subgroups of `subgroup_size` in a row; without a size, and with "auto", they are in none.

    Specification limits and target are those of `params`, each for itself if it is finite, else the latest that the
    rows carried in the columns `lsl`, `usl`, `target`; what is not given (NaN) or infinite is none. One limit alone
    gives Cpk, Ppk, Cpmk and its own of Cpl and Cpu only. A target that is not given is the middle of the limits. Indices
    are shown from the second row on and judged from row `min_rows` on: they scatter widely for few rows (±18 % at 95 %
    for 60 rows). The lower limit drawn for Cpk is `cpk_min`.

    - Missing or infinite value: not judged, state untouched, limits that it carries not taken. Excluded: the same.
    - No specification limits, or no sigma within yet: no index of that kind, not judged.
    - Sigma 0: no index; a value within the specification limits (or on one) is in control, one outside signals.
    - `window_ends`: at what is named ("limits", "reset", "exclusion") all sums start anew. By default nothing is named:
      the sums are the process's, not the limits'.
    - After ROWS_MAX (2³¹) rows of a series, further rows are not judged and not learned from.

    `merged` adds the states of shards exactly, `statistics_of` reads a state.

    >>> from models import judge
    >>> v = judge(Capability(min_rows=3), [14.0, 16.0, 18.0], lsl=8.0, usl=20.0)
    >>> v.statistic[2, :4].round(4), v.signal
    (array([1.1284, 0.7523, 1.    , 0.6667]), array([0, 0, 1], dtype=uint32))

    Reference: ISO 22514-2; AIAG SPC, 2nd ed.; Montgomery, Introduction to SQC, 7th ed., §8.3.
    """

    min_rows: int = 30
    cpk_min: float = 1.0
    d2_digits: int | None = None  # None: exact
    within: str = "auto"
    subgroup_size: int | None = None
    ppm: bool = True
    window_ends: tuple[str, ...] = ()

    name = "capability.running"
    version = 2

    def __post_init__(self) -> None:
        if self.min_rows < 2:
            raise ValueError(f"min_rows = {self.min_rows}: a sigma needs at least 2")
        if self.within not in ESTIMATORS:
            raise ValueError(f"within = {self.within!r}: one of {', '.join(ESTIMATORS)}")
        if self.subgroup_size is not None and not 2 <= self.subgroup_size <= SUBGROUP_SIZE_MAX:
            raise ValueError(f"subgroup_size = {self.subgroup_size}: 2 to {SUBGROUP_SIZE_MAX}, or None")
        window_ends(self.window_ends)

    @property
    def statistics(self) -> tuple[str, ...]:
        """Return the indices, then the rows in a million."""
        return INDICES + PPM if self.ppm else INDICES

    @property
    def state(self) -> Mapping[str, Column]:
        """Return the running sums, the open subgroup, and the latest specification limits."""
        return {
            "counts": Column("i8", (5,)),  # see `models.capability_within`
            "sums": SUMS,
            "ranges": TOTAL,
            "within": TOTAL,  # squares within subgroups, or R/d2
            "opened": Column("f8", (6,)),  # rows, first, Σ and Σ² of differences from the first, least, most
            "last": Column("f8", (), np.nan),
            "open_group": Column("i8", (), -1),
            "specs": Column("f8", (3,), np.nan),  # lsl, usl, target as carried
            "specs_ms": Column("i8", (3,), np.iinfo(np.int64).min),  # event time of the row that carried it
            "epoch": Column("i8", (), -1),
        }

    @property
    def rules(self) -> tuple[Rule, ...]:
        """Return the one rule."""
        return (Rule("cpk_below_minimum", f"Cpk is below {self.cpk_min:g}", "warning", 1),)

    def update(self, state: Mapping[str, np.ndarray], batch: SeriesBatch) -> Verdicts:
        """Add each row to its series, and give the indices of all rows so far."""
        n = len(batch)
        out, signal, valid = (
            np.full((4, n, len(self.statistics)), np.nan),
            np.zeros(n, np.uint32),
            np.zeros(n, np.bool_),
        )
        _loop(
            frozen(batch.row, np.int32), frozen(batch.value, np.float64), frozen(batch.column("excluded"), np.bool_),
            frozen(batch.subgroup, np.int64), frozen(batch.event_time_ms, np.int64),
            (
                frozen(batch.column("lsl"), np.float64), frozen(batch.column("usl"), np.float64),
                frozen(batch.column("target"), np.float64),
            ),
            frozen(batch.params, PARAMS), window_ends(self.window_ends), ESTIMATORS.index(self.within),
            self.subgroup_size or 0, self.min_rows, float(self.cpk_min), moving_range_d2(self.d2_digits),
            range_constants(self.d2_digits), self._columns(state), out, signal, valid,
        )  # fmt: skip
        return Verdicts(out[0], out[1], out[2], out[3], signal, valid)

    def _columns(self, state: Mapping[str, np.ndarray]) -> tuple[np.ndarray, ...]:
        return tuple(state[name] for name in self.state)

    def merged(self, *states: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Return the state of the rows of all `states`, row s of each being the same characteristic; the given ones stay.

        Any order and any grouping give the same bits. The sums are those of one pass; open subgroups are closed, and the
        moving ranges are those inside the shards, because between shards no row is the one before another. The latest
        limits are those of the latest event time. Raises ValueError for states of different numbers of series, or none.
        """
        if not states or len({len(state["counts"]) for state in states}) != 1:
            raise ValueError(
                f"states of {[len(state['counts']) for state in states]} series: one or more, of equal number"
            )
        whole = new_state(self, len(states[0]["counts"]))
        for state in states:
            copy = {name: np.array(state[name]) for name in self.state}
            if copy["counts"][:, ROWS].size and (copy["counts"][:, ROWS] + whole["counts"][:, ROWS]).max() > ROWS_MAX:
                raise OverflowError(f"more than {ROWS_MAX} rows of a series")
            _merge(
                ESTIMATORS.index(self.within),
                range_constants(self.d2_digits),
                self._columns(whole),
                self._columns(copy),
            )
        return whole

    def statistics_of(self, state: Mapping[str, np.ndarray], params: np.ndarray) -> np.ndarray:
        """Return the statistics of every series as it stands: (S, q) float64, NaN where there is none."""
        out = np.full((len(params), len(self.statistics)), np.nan)
        columns = tuple(np.array(column) for column in self._columns(state))
        _read(frozen(params, PARAMS), ESTIMATORS.index(self.within), moving_range_d2(self.d2_digits), columns, out)
        return out
