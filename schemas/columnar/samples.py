"""Records of many samples: which are fit to be judged, how many of a batch go into one step, and their rows.

A record is read into one place of every column, and its samples into a list (schemas/columnar/rows.py). What is made of it once
for the record (series, texts, limits) is then repeated for its samples.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np

from schemas.batch import MicroBatch, Reason
from schemas.columnar.rows import READ, Columns
from schemas.kernel import kernel
from schemas.reading import read_only
from schemas.texts import Texts

SAMPLES_MAX = 10_000  # of a record; it is judged in one step, and its rows stand in one transaction
PERIOD_US_MAX = 24 * 60 * 60 * 1_000_000
_TIME_MAX = 2**63 - 1
_REPEATED = ("offset", "published_ms", "series", "subgroup")


class Samples(NamedTuple):
    """Which of n records are of many samples."""

    many: np.ndarray  # (n,) bool
    time: int  # column of integers, milliseconds
    period: int  # column of integers, microseconds

    def wrong(self, columns: Columns) -> Iterable[tuple[int, Reason, str]]:
        """Yield the records of samples that were read and are none to judge, with the reason, in words too."""
        rows = np.flatnonzero(self.many & (columns.status == READ))
        begin, end = columns.items_at[:, rows]
        time, period = columns.integers[self.time, rows], columns.integers[self.period, rows]
        length = end - begin
        empty, long = length == 0, length > SAMPLES_MAX
        askew = (period < 0) | (period > PERIOD_US_MAX)
        beyond = ~(empty | long | askew) & (time > _TIME_MAX - (length - 1) * period // 1000)
        infinite = np.zeros(len(rows), bool)
        if np.isinf(columns.items[: columns.items_filled[0]]).any():
            infinite[:] = [bool(np.isinf(columns.items[b:e]).any()) for b, e in zip(begin, end, strict=True)]
        for k in np.flatnonzero(empty | long | askew | beyond | infinite).tolist():
            reason, row = Reason.WRONG_SAMPLES, int(rows[k])
            if empty[k]:
                yield row, reason, "no sample"
            elif long[k]:
                yield row, reason, f"{length[k]} samples; at most {SAMPLES_MAX}"
            elif askew[k]:
                yield row, reason, f"period_us = {period[k]}: 0 to {PERIOD_US_MAX}"
            elif beyond[k]:
                yield (
                    row,
                    reason,
                    f"the last sample is {length[k] - 1} periods of {period[k]} µs after {time[k]}: no time",
                )
            else:
                at = int(np.isinf(columns.items[begin[k] : end[k]]).argmax())
                yield row, Reason.NOT_FINITE, f"infinite: values[{at}]"

    def fitting(self, columns: Columns, rows_max: int) -> int:
        """Return how many of the first records have at most so many rows; one at least. One that was left has none."""
        rows = self.rows_of(columns, np.arange(len(self.many)))
        rows[columns.status != READ] = 0
        return fitting(rows, rows_max)

    def rows_of(self, columns: Columns, records: np.ndarray) -> np.ndarray:
        """Return (len(records),) int64, how many rows each of these records has."""
        begin, end = columns.items_at[:, records]
        rows: np.ndarray = np.where(self.many[records], end - begin, 1)
        return rows

    def spread(self, batch: MicroBatch, columns: Columns, records: np.ndarray) -> MicroBatch:
        """Return the batch of these records with a row for every sample."""
        count = self.rows_of(columns, records)
        n = int(count.sum())
        which, sample = np.empty(n, np.int64), np.empty(n, np.int32)
        value, time = np.empty(n), np.empty(n, np.int64)
        _spread(
            count,
            self.many[records],
            columns.items_at[0, records],
            columns.items,
            batch.value,
            batch.event_time_ms,
            columns.integers[self.period, records],
            which,
            sample,
            value,
            time,
        )
        repeated: dict[str, Any] = {name: read_only(getattr(batch, name)[which]) for name in _REPEATED}
        named = {name: _taken(column, which) for name, column in batch.columns.items()}
        if n > len(count):
            named["sample"] = read_only(sample)
        return replace(batch, value=read_only(value), event_time_ms=read_only(time), columns=named, **repeated)


def fitting(sizes: np.ndarray, together: int) -> int:
    """Return how many of the first sizes, (n,) int64, make at most so much together; one at least, if there is one.

    >>> fitting(np.array([3, 1, 4]), 4), fitting(np.array([3, 1, 4]), 8), fitting(np.array([3, 1, 4]), 2)
    (2, 3, 1)
    """
    return min(len(sizes), max(1, int(np.searchsorted(np.cumsum(sizes), together, side="right"))))


def warm() -> None:
    """Load the kernel, or compile it."""
    none, flags, real = np.zeros(0, np.int64), np.zeros(0, np.bool_), np.zeros(0)
    numbers, times = read_only(real.copy()), read_only(none.copy())
    _spread(none, flags, none, real, numbers, times, none, none.copy(), np.zeros(0, np.int32), real.copy(), none.copy())


def _taken(column: np.ndarray | Texts, which: np.ndarray) -> np.ndarray | Texts:
    taken = column[which]
    return taken if isinstance(taken, Texts) else read_only(taken)


@kernel
def _spread(
    count: np.ndarray,  # (m,) int64, rows of each record
    many: np.ndarray,  # (m,) bool
    begin: np.ndarray,  # (m,) int64, of its samples in `items`
    items: np.ndarray,
    single: np.ndarray,  # (m,) float64, its value where it is no record of samples
    first: np.ndarray,  # (m,) int64, event time
    period: np.ndarray,  # (m,) int64, microseconds
    which: np.ndarray,  # (n,) int64, out: record of each row
    sample: np.ndarray,  # (n,) int32, out
    value: np.ndarray,  # (n,) float64, out
    time: np.ndarray,  # (n,) int64, out
) -> None:
    row = 0
    for k in range(len(count)):
        for i in range(count[k]):
            which[row] = k
            sample[row] = i
            value[row] = items[begin[k] + i] if many[k] else single[k]
            time[row] = first[k] + i * period[k] // 1000
            row += 1
