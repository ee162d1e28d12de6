"""Phase I as a study: limits from a stretch of history, with assignable points taken out one round after another.

Theory of operation
-------------------
A round estimates mean and sigma from the points that are left, judges those points with the chart itself (so the limits are the
chart's, to the last digit), and takes out those on which one of the chosen rules fires. It ends when none does. Nothing is taken
out without a trace: each removal says in which round, by which rule, against which limits. More than a quarter of the points gone
means that the process had no one level: the study then ends and says so, and its limits are not to be used unseen.

A point taken out is a gap: no moving range spans it, and it ends the windows of run rules, as an excluded row does in the stream.

Source: Montgomery, Introduction to SQC, 7th ed., §6.2.1 (trial limits) and §6.4.1.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from models.attributes import CChart, NpChart, PChart, UChart
from models.detector import Detector, Verdicts
from models.estimators import GROUPED, SINGLE, Estimate, of_subgroups, of_values
from models.individuals import IndividualsChart
from models.judging import as_values, judge
from models.limits import SUBGROUP_SIZE_MAX
from models.xbar import XbarChart

REMOVED_SHARE_MAX = 0.25  # of the points; beyond it the study ends as not complete
ROUNDS_MAX = 100


class Removal(NamedTuple):
    """A point that was taken out, and why."""

    round: int  # 1 = judged by the first trial limits
    point: int  # which value (row), or which subgroup, counted from 0
    rows: tuple[int, ...]  # its rows in the values given
    rules: tuple[str, ...]  # that fired on it; "excluded" for one that was left out from the start
    value: float  # what the chart plots: x, or the subgroup's mean
    lcl: float
    ucl: float

    @property
    def why(self) -> str:
        """Return the removal as a line of text."""
        if self.rules == ("excluded",):
            return f"point {self.point}: excluded by request"
        where = f"{self.value:.6g}, limits {self.lcl:.6g} to {self.ucl:.6g}"
        return f"point {self.point}: {', '.join(self.rules)} in round {self.round} ({where})"


@dataclass(frozen=True)
class PhaseOneStudy:
    """What a study has found. `limits[name]` is (LCL, centre line, UCL) of each statistic of the chart."""

    estimate: Estimate
    limits: dict[str, tuple[float, float, float]]
    rounds: tuple[Estimate, ...]  # the estimate of each round; the last one is `estimate`
    removed: tuple[Removal, ...]
    complete: bool  # False: too many points would have to go, these are trial limits

    def trace(self) -> list[str]:
        """Return the study as lines of text: each round's estimate, and what was removed after it."""
        lines = []
        for number, found in enumerate(self.rounds, start=1):
            lines.append(
                f"round {number}: mu {found.mu:.6g}, sigma {found.sigma:.6g} by {found.method} from {found.points} points"
            )
            lines += [f"  removed {gone.why}" for gone in self.removed if gone.round == number]
        if not self.complete:
            lines.append(
                f"not complete: more than {REMOVED_SHARE_MAX:.0%} of the points would have to go: no stable level"
            )
        return lines


def phase_one_study(
    values: Any,
    *,
    subgroup: Any = None,
    subgroup_size: int | None = None,
    estimator: str | None = None,
    rules: Sequence[int] = (1,),
    d2_digits: int | None = None,
    exclude: Sequence[int] = (),
    counts: str | None = None,
    sample_size: Any = None,
) -> PhaseOneStudy:
    """Find limits for an individuals chart; with subgroups for an X̄–R or X̄–S chart; of counts for a p, np, c or u chart.

    values: (n,), NaN = missing. Subgroups are runs of equal labels in `subgroup` (n,), or every `subgroup_size` values in a row;
    those of one value are left out. `estimator`: one of models/estimators.py; moving_range or range unless said otherwise.
    `rules`: the numbers of the Nelson rules that take a point out; of subgroups also a spread beyond its limits. `exclude`: rows
    known to be assignable, left out from the start (a whole subgroup, if it is in one).

    `counts`: "p", "np", "c" or "u" says that values are counts, with `sample_size` one number or (n,), not needed for c. mu is
    then their sum over that of the sample sizes, and `limits` are those of the last sample that was judged.

    Raises ValueError for what does not fit, or fewer than two points.

    >>> flow = [49.6, 47.6, 49.9, 51.3, 47.8, 51.2, 52.6, 52.4, 53.6, 52.1]  # NIST/SEMATECH e-Handbook 6.3.2.2
    >>> study = phase_one_study([*flow, 99.0, *flow], d2_digits=3)
    >>> study.trace()[1]
    '  removed point 10: nelson_1 in round 1 (99, limits 35.8042 to 70.4053)'
    >>> study.complete, [round(limit, 4) for limit in study.limits["x"]]
    (True, [45.8159, 50.81, 55.8041])
    """
    value = as_values(values)
    if value.ndim != 1:
        raise ValueError(f"values {value.shape}: (n,) is wanted")
    if np.isinf(value).any():
        raise ValueError(f"values: infinite at row {int(np.flatnonzero(np.isinf(value))[0])}")
    outside = [row for row in exclude if not 0 <= row < len(value)]
    if outside:
        raise ValueError(f"exclude: there is no row {outside[0]}; {len(value)} rows were given")
    kind: _Singles | _Subgroups | _Counts
    if counts is not None:
        if subgroup is not None or subgroup_size is not None or estimator is not None:
            raise ValueError(f"counts = {counts!r}: counts have no subgroups and no estimator of sigma")
        kind = _Counts(value, counts, tuple(rules), sample_size)
    elif sample_size is not None:
        raise ValueError("sample_size: counts are p, np, c or u")
    elif subgroup is None and subgroup_size is None:
        kind = _Singles(value, estimator or SINGLE[0], tuple(rules), d2_digits)
    else:
        labels = _labels(subgroup, subgroup_size, len(value))
        kind = _Subgroups(value, labels, estimator or GROUPED[0], tuple(rules), d2_digits)
    return _study(kind, set(exclude))


@dataclass
class _Singles:
    """Points that are rows."""

    value: np.ndarray
    estimator: str
    rules: tuple[int, ...]
    d2_digits: int | None

    def __post_init__(self) -> None:
        self.points = [(int(row),) for row in np.flatnonzero(~np.isnan(self.value))]
        self.chart: Detector = IndividualsChart(nelson=self.rules, d2_digits=self.d2_digits)
        self.removing = len(self.rules)  # bits of the signal that take a point out: not the moving range's

    def estimate(self, gone: np.ndarray) -> Estimate:
        return of_values(self.value, self.estimator, d2_digits=self.d2_digits, gap=self._rows(gone))

    def judge(self, gone: np.ndarray, found: Estimate) -> tuple[np.ndarray, Verdicts]:
        """Return for each point the row of the verdicts that judges it, −1 for none, and the verdicts."""
        v = judge(self.chart, self.value, mu=found.mu, sigma=found.sigma, excluded=self._rows(gone))
        return np.array([rows[0] for rows in self.points]), v

    def _rows(self, gone: np.ndarray) -> np.ndarray:
        flags = np.zeros(len(self.value), np.bool_)
        flags[[row for point in np.flatnonzero(gone).tolist() for row in self.points[point]]] = True
        return flags


@dataclass
class _Subgroups:
    """Points that are subgroups: runs of equal labels among the rows that are there."""

    value: np.ndarray
    labels: np.ndarray
    estimator: str
    rules: tuple[int, ...]
    d2_digits: int | None

    def __post_init__(self) -> None:
        there = np.flatnonzero(~np.isnan(self.value))
        cuts = np.flatnonzero(np.diff(self.labels[there])) + 1
        self.points = [tuple(rows.tolist()) for rows in np.split(there, cuts) if len(rows) > 1]
        largest = max((len(rows) for rows in self.points), default=2)
        if largest > SUBGROUP_SIZE_MAX:
            raise ValueError(f"a subgroup of {largest} values: at most {SUBGROUP_SIZE_MAX}")
        spread = "S" if self.estimator in ("s", "pooled") else "R"
        self.chart: Detector = XbarChart(largest, nelson=self.rules, d2_digits=self.d2_digits, spread=spread)
        self.removing = len(self.rules) + 1  # the spread's bit too

    def estimate(self, gone: np.ndarray) -> Estimate:
        kept = [self.value[list(rows)] for rows, out in zip(self.points, gone, strict=True) if not out]
        return of_subgroups(kept, self.estimator, d2_digits=self.d2_digits)

    def judge(self, gone: np.ndarray, found: Estimate) -> tuple[np.ndarray, Verdicts]:
        """Judge subgroup by subgroup; one more row closes the last one, if it is short."""
        rows = [row for point in self.points for row in point]
        names = [number for number, point in enumerate(self.points) for _ in point]
        out = [bool(gone[name]) for name in names]
        v = judge(
            self.chart, [*self.value[rows].tolist(), found.mu], subgroup=[*names, -1], excluded=[*out, False],
            mu=found.mu, sigma=found.sigma,
        )  # fmt: skip
        closed = iter(np.flatnonzero(v.valid).tolist())
        return np.array([-1 if out_ else next(closed) for out_ in gone.tolist()]), v


@dataclass
class _Counts:
    """Points that are samples of counts."""

    value: np.ndarray
    kind: str
    rules: tuple[int, ...]
    sample_size: Any

    def __post_init__(self) -> None:
        if self.kind not in COUNTS:
            raise ValueError(f"counts = {self.kind!r}: one of {', '.join(COUNTS)}")
        if self.sample_size is None and self.kind != "c":
            raise ValueError(f"sample_size: a {self.kind} chart needs it")
        self.chart: Detector = COUNTS[self.kind](nelson=self.rules)
        self.size = np.broadcast_to(
            np.asarray(1.0 if self.sample_size is None else self.sample_size, float), self.value.shape
        )
        judged = self._verdicts(1.0, np.zeros(len(self.value), np.bool_)).valid
        self.points = [(int(row),) for row in np.flatnonzero(judged)]
        self.removing = len(self.rules)

    def estimate(self, gone: np.ndarray) -> Estimate:
        rows = [point[0] for point, out in zip(self.points, gone, strict=True) if not out]
        if len(rows) < 2:
            raise ValueError(f"{len(rows)} samples with a count and a size: at least 2")
        mu = float(self.value[rows].sum() / self.size[rows].sum())
        binomial = self.kind in ("p", "np")
        return Estimate(mu, float(np.sqrt(mu * (1.0 - mu) if binomial else mu)), self.kind, len(rows), len(rows))

    def judge(self, gone: np.ndarray, found: Estimate) -> tuple[np.ndarray, Verdicts]:
        """Return for each sample the row of the verdicts that judges it, and the verdicts."""
        flags = np.zeros(len(self.value), np.bool_)
        flags[[self.points[point][0] for point in np.flatnonzero(gone).tolist()]] = True
        return np.array([rows[0] for rows in self.points]), self._verdicts(found.mu, flags)

    def _verdicts(self, mu: float, excluded: np.ndarray) -> Verdicts:
        sizes = {} if self.sample_size is None else {"sample_size": self.size}
        return judge(self.chart, self.value, mu=mu, excluded=excluded, **sizes)


COUNTS: dict[str, Any] = {"p": PChart, "np": NpChart, "c": CChart, "u": UChart}


def _study(kind: _Singles | _Subgroups | _Counts, exclude: set[int]) -> PhaseOneStudy:
    gone = np.array([not exclude.isdisjoint(rows) for rows in kind.points], np.bool_)
    removed = [
        Removal(1, point, kind.points[point], ("excluded",), np.nan, np.nan, np.nan)
        for point in np.flatnonzero(gone).tolist()
    ]
    rounds: list[Estimate] = []
    for number in range(1, ROUNDS_MAX + 1):
        found = kind.estimate(gone)
        rounds.append(found)
        at, verdicts = kind.judge(gone, found)
        fired = (verdicts.signal[at] & np.uint32((1 << kind.removing) - 1)) * ~gone
        hit = np.flatnonzero(fired).tolist()
        limits = _limits(kind.chart, verdicts)
        assignable = sum(gone_.rules != ("excluded",) for gone_ in removed) + len(hit)
        if not hit or assignable > REMOVED_SHARE_MAX * len(kind.points):
            return PhaseOneStudy(found, limits, tuple(rounds), tuple(removed), complete=not hit)
        for point in hit:
            rules = tuple(rule.name for bit, rule in enumerate(kind.chart.rules) if fired[point] >> bit & 1)
            line = (float(part[at[point], 0]) for part in (verdicts.statistic, verdicts.lcl, verdicts.ucl))
            removed.append(Removal(number, point, kind.points[point], rules, *line))
        gone[hit] = True
    raise ValueError(f"not settled after {ROUNDS_MAX} rounds")


def _limits(chart: Detector, verdicts: Verdicts) -> dict[str, tuple[float, float, float]]:
    """Return the limits of the last judged point, by statistic."""
    last = int(np.flatnonzero(verdicts.valid)[-1])
    lines = zip(verdicts.lcl[last].tolist(), verdicts.centre[last].tolist(), verdicts.ucl[last].tolist(), strict=True)
    return dict(zip(chart.statistics, lines, strict=True))


def _labels(subgroup: Any, size: int | None, n: int) -> np.ndarray:
    """Return codes (n,) that change from one subgroup to the next."""
    if size is not None and not 2 <= size <= SUBGROUP_SIZE_MAX:
        raise ValueError(f"subgroup_size = {size}: 2 to {SUBGROUP_SIZE_MAX}")
    if subgroup is None:
        return np.arange(n) // (size or 1)
    listed = list(subgroup)
    if len(listed) != n:
        raise ValueError(f"subgroup: {len(listed)} labels for {n} rows")
    starts = [i > 0 and listed[i] != listed[i - 1] for i in range(n)]
    return np.cumsum(starts)
