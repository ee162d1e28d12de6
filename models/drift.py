"""The distribution moves away from the one that a series started with."""

from __future__ import annotations

from dataclasses import dataclass

from models.cusum import Cusum


@dataclass(frozen=True)
class LearnedCusum(Cusum):
    """CUSUM against the reference of the series' own Phase I, for monitoring that goes on: it restarts after a signal.

    All else as in `Cusum`. Where the mean stays away, it signals again and again, so that the alert is held; where the process
    comes back, it closes. Given mu and sigma win over the learned reference.

    >>> from models import judge
    >>> v = judge(LearnedCusum(phase_one_rows=4), [1.0, 3.0, 1.0, 3.0] + 9 * [5.0] + [2.0])
    >>> v.signal
    array([0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0], dtype=uint32)

    Reference: Montgomery, Introduction to SQC, 7th ed., §9.1.2; Page, Biometrika 41 (1954) 100–115.
    """

    restart: bool = True

    name = "drift.cusum"
