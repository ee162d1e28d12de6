"""Run rules, as one step that the charts' loops call for every plotted point: Nelson 1–8 and Western Electric 1–4.

Theory of operation
-------------------
A rule looks at a window of the last points of a series. The window is kept as counters and bit histories in eight small
integers per series, column "runs"; the previous point (for Nelson 3 and 4) is an argument. Both sets of rules share the
window: Western Electric 1, 2 and 3 are Nelson 1, 5 and 6, and one count of points on a side serves Nelson's nine and
Western Electric's eight. Which of them a chart reports, and in which bits, is chosen at the end of the step.

A window holds only judged points, so no point of Phase I is in it. The charts empty it with `forget` when the limits
change, at a reset, and at an excluded point; `window_ends` says at which of these (see `models.phase_one`). A missing
row is no point: the window goes on across it.

Readings where the books differ, pinned by tests:

- On a line is inside: rules compare strictly, with the very numbers that are drawn.
- The last point of a window must itself qualify (Nelson 5, 6, Western Electric 2, 3), so that a rule does not go on
  firing on good points.
- A tie is neither a rise nor a fall: it breaks Nelson 3 and 4. A point on the centre line is on no side: it breaks
  Nelson 2 and Western Electric 4.
- Six points in a row are five rises; fourteen alternating points are thirteen differences.
- Nelson 8 wants points on both sides of zone C, as Nelson drew it; `any_side` takes them on any side, as qcc and
  Minitab do.
- A run that is longer than its rule goes on firing, at every further point.
- With sigma 0, zone C has no width: Nelson 7 does not fire, any point off the centre line is beyond every zone.
- Where sigma differs from point to point (subgroups of different size), each point is put into its own zones, and rises
  and falls are those of the plotted values.

Source: L. S. Nelson, The Shewhart control chart: tests for special causes, Journal of Quality Technology 16 (1984)
237–239. Western Electric, Statistical Quality Control Handbook (1956), pp. 25–27.
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

WESTERN_ELECTRIC = {
    1: Rule("western_electric_1", "1 point more than 3 sigma from the centre line", "critical"),
    2: Rule("western_electric_2", "2 of 3 points in a row more than 2 sigma off on one side"),
    3: Rule("western_electric_3", "4 of 5 points in a row more than 1 sigma off on one side"),
    4: Rule("western_electric_4", "8 points in a row on one side of the centre line"),
}

# Bits of the step's result: 0 to 7 are Nelson's rules, from OWN on the chart's own (at most 8), 16 is the run of eight.
OWN = 8
_NELSON_BITS = {number: number - 1 for number in ALL}
_WESTERN_ELECTRIC_BITS = {1: _NELSON_BITS[1], 2: _NELSON_BITS[5], 3: _NELSON_BITS[6], 4: 16}

# Where each window is kept in the column "runs". Counters stop at the length of their rule: no run is too long.
_SIDE, _TREND, _ALTERNATING, _WITHIN, _BEYOND_2, _ABOVE_1, _BELOW_1, _STARTED = range(8)
RUNS = Column("i2", (8,))

_OLDER_OF_3, _BITS_3, _BITS_5, _BITS_8 = 0b110110, 0b111, 0b11111, 0b11111111


def _patterns(least: int, points: int) -> int:
    """Return a number whose bit h says whether in history h, newest point in bit 0, `least` points are set, and the newest is."""
    return sum(1 << h for h in range(1, 1 << points, 2) if h.bit_count() >= least)


_FOUR_OF_FIVE = _patterns(4, 5)
# The same for a history of three bits above (0 to 2) and three below (3 to 5); no point is both.
_TWO_OF_THREE = sum(
    1 << h
    for h in range(64)
    if not h & h >> 3 & _BITS_3 and (_patterns(2, 3) >> (h & _BITS_3) | _patterns(2, 3) >> (h >> 3)) & 1
)


def checked(nelson: Iterable[int], western_electric: Iterable[int] = ()) -> None:
    """Raise ValueError if these are not different numbers of rules of their set."""
    for name, numbers, known in (("nelson", nelson, NELSON), ("western_electric", western_electric, WESTERN_ELECTRIC)):
        if isinstance(numbers, int):
            raise ValueError(f"{name} = {numbers}: several numbers are wanted, e.g. ({numbers},)")
        given = tuple(numbers)
        if not set(given) <= set(known) or len(set(given)) != len(given):
            raise ValueError(f"{name} = {given}: rules are different numbers from 1 to {len(known)}")


def named(nelson: Iterable[int], western_electric: Iterable[int] = ()) -> tuple[Rule, ...]:
    """Return the chosen rules in the order of the signal's bits: Nelson's, then Western Electric's.

    >>> [rule.name for rule in named((1, 5), (4,))]
    ['nelson_1', 'nelson_5', 'western_electric_4']
    """
    return (*(NELSON[number] for number in nelson), *(WESTERN_ELECTRIC[number] for number in western_electric))


def wanted(nelson: Iterable[int], others: int, western_electric: Iterable[int] = ()) -> np.ndarray:
    """Return, for each rule of a chart, its bit in the loop's result: (rules,) int64, in the order of `named`.

    `others` is how many rules of its own the chart has, after these; they are bits OWN, OWN + 1, … of the result.
    """
    bits = [_NELSON_BITS[number] for number in nelson]
    bits += [_WESTERN_ELECTRIC_BITS[number] for number in western_electric]
    return np.array(bits + [OWN + i for i in range(others)], np.int64)


@kernel
def chosen(fired: int, wanted_bits: np.ndarray) -> int:
    """Gather the wanted bits of `fired` into bits 0, 1, …: what becomes a row's signal."""
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


@kernel(inline=True)
def _longer(run: int, direction: int, longest: int) -> int:
    """Return how long the run is after a step in `direction` (−1, 0, +1); run: + up and − down. After no step: 1."""
    return min(max(run * direction, 0) + 1, longest)


@kernel(inline=True)
def nelson(runs: np.ndarray, s: int, x: float, previous: float, mu: float, sigma: float, any_side: bool) -> int:
    """Add the point `x` to the windows of series `s`; return a bit per rule that fires, to be `chosen` from.

    runs: (S, 8) int16; previous: the point before, looked at only if the window has one. All else in the unit of `x`.
    """
    side = int(x > mu) - int(x < mu)
    step = int(x > previous) - int(x < previous) if runs[s, _STARTED] != 0 else 0
    a_high, a_low = int(x > mu + 2.0 * sigma), int(x < mu - 2.0 * sigma)
    b_high, b_low = int(x > mu + sigma), int(x < mu - sigma)
    off_zone_c = b_high | b_low | int(sigma <= 0.0)

    same_side = _longer(int(runs[s, _SIDE]), side, 9)
    trend = _longer(int(runs[s, _TREND]), step, 5)
    alternating = _longer(-int(runs[s, _ALTERNATING]), step, 13)  # differences in a row, with the sign of the last one
    within = min(int(runs[s, _WITHIN]) + 1, 15) * (1 - off_zone_c)
    beyond_2 = (int(runs[s, _BEYOND_2]) << 1 & _OLDER_OF_3) | a_high | a_low << 3  # three bits above, three below
    above_1 = (int(runs[s, _ABOVE_1]) << 1 | b_high) & _BITS_8
    below_1 = (int(runs[s, _BELOW_1]) << 1 | b_low) & _BITS_8

    runs[s, _SIDE] = side * same_side
    runs[s, _TREND] = step * trend
    runs[s, _ALTERNATING] = step * alternating
    runs[s, _WITHIN] = within
    runs[s, _BEYOND_2] = beyond_2
    runs[s, _ABOVE_1] = above_1
    runs[s, _BELOW_1] = below_1
    runs[s, _STARTED] = 1

    zone_a = _TWO_OF_THREE >> beyond_2 & 1
    zone_b = (_FOUR_OF_FIVE >> (above_1 & _BITS_5) | _FOUR_OF_FIVE >> (below_1 & _BITS_5)) & 1
    beyond_3 = x > mu + 3.0 * sigma or x < mu - 3.0 * sigma
    none_in_c = (above_1 | below_1) == _BITS_8
    # Few points fire any rule: one question, which the processor guesses right, stands for putting the bits together.
    if not (
        beyond_3
        or same_side >= 8
        or trend >= 5
        or alternating >= 13
        or zone_a | zone_b != 0
        or within >= 15
        or none_in_c
    ):
        return 0
    fired = int(beyond_3) | int(same_side >= 9) << 1 | int(trend >= 5) << 2 | int(alternating >= 13) << 3
    fired |= zone_a << 4 | zone_b << 5 | int(within >= 15) << 6
    fired |= int(none_in_c and (any_side or (above_1 != 0 and below_1 != 0))) << 7
    return fired | int(same_side >= 8) << 16
