"""Nelson's run rules 1–8, as one step that the charts' loops call for every plotted point.

Theory of operation
-------------------
A rule looks at a window of the last points of a series. The window is kept as counters and bit histories in eight small
integers per series, column "runs"; the previous point (for rules 3 and 4) is an argument. A window holds only points
that were judged under one version of the limits: it starts empty, so that no point of Phase I is in it, and the charts
empty it with `forget` when the limits change.

Readings where the books differ, pinned by tests:

- On a line is inside: rules compare strictly, with the very numbers that are drawn.
- The last point of a window must itself qualify (rules 5, 6), so that a rule does not go on firing on good points.
- A tie is neither a rise nor a fall: it breaks rules 3 and 4. A point on the centre line breaks rule 2.
- Six points in a row are five rises; fourteen alternating points are thirteen differences.
- Rule 8 wants points on both sides of zone C, as Nelson drew it; `any_side` takes them on any side, as qcc and Minitab
  do.
- With sigma 0, zone C has no width: rule 7 does not fire, any point off the centre line is beyond every zone.

Source: L. S. Nelson, The Shewhart control chart: tests for special causes, Journal of Quality Technology 16 (1984)
237–239.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from models.detector import Column, Rule
from models.kernel import kernel

ALL = (1, 2, 3, 4, 5, 6, 7, 8)

NELSON = {
    1: Rule("nelson_1", "1 point beyond zone A: more than 3 sigma from the centre line", "critical"),
    2: Rule("nelson_2", "9 points in a row on one side of the centre line"),
    3: Rule("nelson_3", "6 points in a row steadily rising or falling"),
    4: Rule("nelson_4", "14 points in a row alternating up and down"),
    5: Rule("nelson_5", "2 of 3 points in a row in zone A or beyond, more than 2 sigma off on one side"),
    6: Rule("nelson_6", "4 of 5 points in a row in zone B or beyond, more than 1 sigma off on one side"),
    7: Rule("nelson_7", "15 points in a row in zone C, within 1 sigma of the centre line"),
    8: Rule("nelson_8", "8 points in a row with none in zone C, on both sides"),
}

# Where each window is kept in the column "runs". Counters stop at the length of their rule: no run is too long.
_SIDE, _TREND, _ALTERNATING, _WITHIN, _BEYOND_2, _ABOVE_1, _BELOW_1, _STARTED = range(8)
RUNS = Column("i2", (8,))

_BITS_3, _BITS_5, _BITS_8 = 0b111, 0b11111, 0b11111111


def checked(nelson: Iterable[int]) -> None:
    """Raise ValueError if these are not different numbers of rules."""
    numbers = tuple(nelson)
    if not set(numbers) <= set(ALL) or len(set(numbers)) != len(numbers):
        raise ValueError(f"nelson = {numbers}: rules are different numbers from 1 to 8")


def wanted(nelson: Iterable[int], others: int) -> np.ndarray:
    """Return, for each rule of a chart, its bit in the loop's signal: the Nelson rules, then bits 8, 9, … of its own."""
    return np.array([number - 1 for number in nelson] + [8 + i for i in range(others)], np.int64)


@kernel
def chosen(fired: int, wanted_bits: np.ndarray) -> int:
    """Gather the wanted bits of `fired` into bits 0, 1, …"""
    bits = 0
    if fired != 0:
        for i in range(wanted_bits.shape[0]):
            bits |= ((fired >> wanted_bits[i]) & 1) << i
    return bits


@kernel
def forget(runs: np.ndarray, s: int) -> None:
    """Empty the windows of series `s`."""
    for i in range(runs.shape[1]):
        runs[s, i] = 0


@kernel
def _ones(bits: int) -> int:
    count = 0
    while bits != 0:
        bits &= bits - 1
        count += 1
    return count


@kernel
def _longer(run: int, direction: int, longest: int) -> int:
    """Return the run, + up and − down, after a step in `direction` (−1, 0, +1)."""
    if direction == 0:
        return 0
    if run * direction < 0:
        return direction
    return min(run + 1, longest) if direction > 0 else max(run - 1, -longest)


@kernel
def _alternated(run: int, direction: int) -> int:
    """Return how many differences in a row alternate, with the sign of the last one."""
    if run * direction < 0:
        return direction * min(abs(run) + 1, 13)
    return direction


@kernel
def nelson(runs: np.ndarray, s: int, x: float, previous: float, mu: float, sigma: float, any_side: bool) -> int:
    """Add the point `x` to the windows of series `s`; return a bit per rule that fires, rule 1 in bit 0.

    runs: (S, 8) int16; previous: the point before, looked at only if the window has one. All else in the unit of `x`.
    """
    side = int(x > mu) - int(x < mu)
    step = int(x > previous) - int(x < previous) if runs[s, _STARTED] != 0 else 0
    a_high, a_low = int(x > mu + 2.0 * sigma), int(x < mu - 2.0 * sigma)
    b_high, b_low = int(x > mu + sigma), int(x < mu - sigma)

    same_side = _longer(int(runs[s, _SIDE]), side, 9)
    trend = _longer(int(runs[s, _TREND]), step, 5)
    alternating = _alternated(int(runs[s, _ALTERNATING]), step)
    within = 0 if b_high or b_low or sigma <= 0.0 else min(int(runs[s, _WITHIN]) + 1, 15)
    beyond_2 = int(runs[s, _BEYOND_2])  # three bits above, three bits below
    above_2 = ((beyond_2 & _BITS_3) << 1 | a_high) & _BITS_3
    below_2 = ((beyond_2 >> 3 & _BITS_3) << 1 | a_low) & _BITS_3
    above_1 = (int(runs[s, _ABOVE_1]) << 1 | b_high) & _BITS_8
    below_1 = (int(runs[s, _BELOW_1]) << 1 | b_low) & _BITS_8

    runs[s, _SIDE] = same_side
    runs[s, _TREND] = trend
    runs[s, _ALTERNATING] = alternating
    runs[s, _WITHIN] = within
    runs[s, _BEYOND_2] = above_2 | below_2 << 3
    runs[s, _ABOVE_1] = above_1
    runs[s, _BELOW_1] = below_1
    runs[s, _STARTED] = 1

    fired = int(x > mu + 3.0 * sigma or x < mu - 3.0 * sigma)
    fired |= int(abs(same_side) >= 9) << 1
    fired |= int(abs(trend) >= 5) << 2
    fired |= int(abs(alternating) >= 13) << 3
    if a_high or a_low:
        fired |= int(_ones(above_2 if a_high else below_2) >= 2) << 4
    if b_high or b_low:
        fired |= int(_ones((above_1 if b_high else below_1) & _BITS_5) >= 4) << 5
        both = any_side or (above_1 != 0 and below_1 != 0)
        fired |= int((above_1 | below_1) == _BITS_8 and both) << 7
    fired |= int(within >= 15) << 6
    return fired
