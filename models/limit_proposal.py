"""New limits for a series: computed from its history, or said by hand, as the change that a person may then apply.

Pure: history comes as arrays, what was excluded and which versions there are as the changes of the log.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from models.estimators import GROUPED
from models.limit_versions import (
    Change,
    ChangeRefused,
    Limits,
    LimitVersion,
    SeriesChange,
    check_limits,
    excluded,
    versions,
)
from models.phase_one_study import PhaseOneStudy, phase_one_study


class Removed(NamedTuple):
    """A measurement that was left out of the study, and why."""

    offset: int
    value: float
    why: str


@dataclass(frozen=True)
class Proposal:
    """New limits of one series beside those that hold."""

    share: SeriesChange
    old: LimitVersion | None  # None: none were given yet
    study: PhaseOneStudy | None  # None: nothing was computed
    removed: tuple[Removed, ...]
    rows: int  # looked at
    missing: int  # of them
    span: tuple[int, int]  # first and last offset

    def basis(self) -> str:
        """Return in a line what the limits come from; it goes into the record."""
        if self.study is None:
            return "given by hand"
        found = self.study.estimate
        gone = "; ".join(f"offset {point.offset}: {point.why}" for point in self.removed)
        return (
            f"{found.method} from {found.rows} of {self.rows} rows, offsets {self.span[0]} to {self.span[1]}"
            + (f"; left out: {gone}" if gone else "")
            + ("" if self.study.complete else "; not complete: no stable level")
        )[:1900]


def propose(
    series: str,
    partition: int,
    offset: np.ndarray,  # (n,) int64 of the series' rows
    value: np.ndarray,  # (n,) float64, NaN = missing
    changes: Iterable[Change],
    *,
    given: Mapping[str, float | None],
    study: bool,
    estimator: str | None = None,
    subgroup: np.ndarray | None = None,  # (n,) int64, -1 = none
    rules: Sequence[int] = (1,),
    exclude: Collection[int] = (),
) -> Proposal:
    """Propose the next version of a series' limits.

    It starts from the version that holds; with `study`, mu and sigma are those of a Phase I study of the history without the
    excluded measurements; what is `given` (a number, or None to take it back) wins. `exclude` are offsets to leave out, beside
    those that the log excludes. Raises ChangeRefused.

    >>> value = np.array([9.0, 11.0, 10.0, 9.5, 10.5, 50.0, 10.0])
    >>> new = propose("s", 0, np.arange(7), value, (), given={"usl": 14.0}, study=True, exclude=[5])
    >>> round(new.share.limits.mu, 3), new.share.limits.usl, new.share.limits_version, new.removed[0].why
    (10.0, 14.0, 1, 'left out by --exclude')
    """
    listed = list(changes)
    held = versions(listed, series)
    old = held[-1] if held else None
    by_log = {place[1]: change for place, change in excluded(listed, series).items() if place[0] == partition}
    new = old.share.limits if old else Limits()
    found: PhaseOneStudy | None = None
    removed: tuple[Removed, ...] = ()
    if study:
        found, removed = _studied(offset, value, by_log, estimator, subgroup, rules, exclude)
        new = new._replace(mu=float(found.estimate.mu), sigma=float(found.estimate.sigma))
    new = new._replace(**given)
    check_limits(new, series)
    if old is not None and new == old.share.limits:
        raise ChangeRefused(f"{series}: these are the limits of version {old.number} already")
    share = SeriesChange(series, partition, new, len(held) + 1)
    span = (int(offset[0]), int(offset[-1]))
    return Proposal(share, old, found, removed, len(offset), int(np.isnan(value).sum()), span)


def _studied(
    offset: np.ndarray,
    value: np.ndarray,
    by_log: Mapping[int, Change],
    estimator: str | None,
    subgroup: np.ndarray | None,
    rules: Sequence[int],
    exclude: Collection[int],
) -> tuple[PhaseOneStudy, tuple[Removed, ...]]:
    rows_at: dict[int, list[int]] = {}  # a record of many samples is many rows
    for row, at in enumerate(offset.tolist()):
        rows_at.setdefault(at, []).append(row)
    for at in exclude:
        if at not in rows_at:
            raise ChangeRefused(f"--exclude {at}: no row of the history has this offset")
    out = {row: "left out by --exclude" for at in exclude for row in rows_at[at]}
    out |= {row: f"excluded: {change.reason}" for at, change in by_log.items() for row in rows_at.get(at, ())}
    grouped: dict[str, Any] = {}
    if estimator in GROUPED:
        if subgroup is None or (subgroup == -1).any():
            raise ChangeRefused(f"--estimator {estimator}: there are rows that name no subgroup")
        grouped = {"subgroup": subgroup.tolist()}
    try:
        found = phase_one_study(value, estimator=estimator, rules=rules, exclude=sorted(out), **grouped)
    except ValueError as error:
        raise ChangeRefused(f"limits cannot be computed from {len(value)} rows: {error}") from error
    removed: list[Removed] = []
    for gone in found.removed:
        limits = f"{gone.value:.6g}, limits {gone.lcl:.6g} to {gone.ucl:.6g}"
        by_rule = f"{', '.join(gone.rules)} in round {gone.round} ({limits})"
        removed += [Removed(int(offset[row]), float(value[row]), out.get(row, by_rule)) for row in gone.rows]
    return found, tuple(removed)
