"""When the next step of a slot begins: pure.

A step that begins as soon as there is a record has the lowest latency, and the most steps, each of which costs a fixed part
whatever it holds. So steps are as far apart that they take a part of the time and no more: where there is little to do, latency
is low; as there is more, steps come less often, until they are `interval_max_s` apart; and from there on they are larger.
"""

from __future__ import annotations

STEPPING_PART = 0.3  # of the time, while there is little to do; with half of it commits wait for each other
INTERVAL_MIN_S = 0.01
_KEPT = 0.8  # of what was measured, from step to step


class StepPace:
    """Of one slot, from step to step.

    >>> pace = StepPace(interval_max_s=0.05)
    >>> pace.interval_s
    0.05
    >>> pace.took(0.006)
    >>> round(pace.interval_s, 4)
    0.02
    """

    def __init__(self, interval_max_s: float) -> None:
        self._interval_max_s = interval_max_s
        self._step_s: float | None = None  # of steps with records, decayed

    def took(self, step_s: float) -> None:
        """Note how long decoding and judging took in a step that had records."""
        self._step_s = step_s if self._step_s is None else self._step_s * _KEPT + step_s * (1 - _KEPT)

    @property
    def interval_s(self) -> float:
        """Return how long after the last one the next step begins."""
        if self._step_s is None:
            return self._interval_max_s
        return min(self._interval_max_s, max(INTERVAL_MIN_S, self._step_s / STEPPING_PART))
