"""How much the next step of a slot may have: pure.

A step is bounded in rows, and in the time that decoding and judging them takes, so that verdicts are not late where a detector is
slow. Records of many samples are many rows; how many records that is shows the step before.
"""

from __future__ import annotations

STEP_S = 0.1  # of decoding and judging
STEP_ROWS_MIN = 1_000  # which each step may have however long they take
_KEPT = 0.9  # of what was measured, from step to step


class StepSize:
    """Of one slot, from step to step.

    >>> size = StepSize(records_max=16_000, rows_max=16_000)
    >>> size.rows, size.records
    (1000, 1000)
    >>> size.took(records=100, rows=10_000, busy_s=0.2)
    >>> size.rows, size.records
    (5000, 50)
    """

    def __init__(self, records_max: int, rows_max: int) -> None:
        self._records_max = records_max
        self._rows_max = rows_max
        self._rows = self._busy_s = 0.0  # of steps, decayed
        self._of_last = 1, 1  # records and rows of the last step that had any

    def took(self, records: int, rows: int, busy_s: float) -> None:
        """Note a step: its records, their rows, and the seconds that decoding and judging took."""
        if rows:  # what takes time without any says nothing
            self._rows = self._rows * _KEPT + rows
            self._busy_s = self._busy_s * _KEPT + busy_s
            self._of_last = records, rows

    @property
    def rows(self) -> int:
        """Return how many rows the next step may have."""
        if not self._rows:
            return min(self._rows_max, STEP_ROWS_MIN)
        if not self._busy_s:
            return self._rows_max
        return min(self._rows_max, max(STEP_ROWS_MIN, int(STEP_S * self._rows / self._busy_s)))

    @property
    def records(self) -> int:
        """Return how many records to ask for: as many as have so many rows."""
        records, rows = self._of_last
        return max(1, min(self._records_max, self.rows * records // rows))
