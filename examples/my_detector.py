"""A data scientist's own detector: the spread of the last three values of a series, against a limit in their unit."""

from dataclasses import dataclass

import numpy as np

from models.detector import Column, Rule, Verdicts
from models.kernel import kernel


@kernel  # numba.njit, cached on disk
def advance(row, value, last, spread):
    for i in range(len(row)):
        if np.isfinite(value[i]):
            last[row[i], :2], last[row[i], 2] = last[row[i], 1:], value[i]
            spread[i, 0] = np.ptp(last[row[i]])  # NaN until three values have come


@dataclass(frozen=True)
class SpreadOfThree:
    limit: float = 5.0
    name, version, statistics = "mine.spread_of_three", 1, ("spread",)
    state = {"last": Column("f8", (3,), np.nan)}  # noqa: RUF012 - nobody writes it
    rules = (Rule("wide", "the last three values spread beyond the limit"),)

    def update(self, state, batch):
        spread, zero = np.full((len(batch), 1), np.nan), np.zeros((len(batch), 1))
        advance(batch.row, batch.value, state["last"], spread)
        return Verdicts(spread, zero, zero, zero + self.limit, np.uint32(spread[:, 0] > self.limit), spread[:, 0] >= 0)
