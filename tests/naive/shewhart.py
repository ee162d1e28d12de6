"""Oracles of the Shewhart charts: run rules, windows, Phase I and rational subgroups, as their definitions read."""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from itertools import pairwise
from statistics import fmean
from typing import NamedTuple


def nelson(
    points: Sequence[float], mu: float, sigma: float | Sequence[float], any_side: bool = False
) -> list[set[int]]:
    """Return the numbers of the rules that fire at each point, all points being in one window.

    `sigma` is one for all points, or each point's own.
    """
    sigmas = [sigma] * len(points) if isinstance(sigma, int | float) else list(sigma)
    return [_nelson(points[: i + 1], mu, sigmas[: i + 1], any_side) for i in range(len(points))]


def _beyond(points: Sequence[float], mu: float, sigmas: Sequence[float], zone: int, side: int) -> list[bool]:
    """Say of each point whether it is more than `zone` of its sigmas off, on the upper side (1) or the lower one (−1)."""
    lines = [mu + side * zone * sigma for sigma in sigmas]
    return [point > line if side > 0 else point < line for point, line in zip(points, lines, strict=True)]


def _in_a_row(flags: Sequence[bool], n: int) -> bool:
    return len(flags) >= n and all(flags[-n:])


def _most_and_last(flags: Sequence[bool], n: int, of: int) -> bool:
    return flags[-1] and sum(flags[-of:]) >= n


def _nelson(points: Sequence[float], mu: float, sigmas: Sequence[float], any_side: bool) -> set[int]:
    above = [_beyond(points, mu, sigmas, zone, 1) for zone in range(4)]
    below = [_beyond(points, mu, sigmas, zone, -1) for zone in range(4)]
    rises = [b > a for a, b in pairwise(points)]
    falls = [b < a for a, b in pairwise(points)]
    off_c = [a or b for a, b in zip(above[1], below[1], strict=True)]
    in_c = [not off and sigma > 0 for off, sigma in zip(off_c, sigmas, strict=True)]
    fired = {
        1: above[3][-1] or below[3][-1],
        2: _in_a_row(above[0], 9) or _in_a_row(below[0], 9),
        3: _in_a_row(rises, 5) or _in_a_row(falls, 5),
        4: _alternate(rises[-13:], falls[-13:]) or _alternate(falls[-13:], rises[-13:]),
        5: any(_most_and_last(side[2], 2, 3) for side in (above, below)),
        6: any(_most_and_last(side[1], 4, 5) for side in (above, below)),
        7: _in_a_row(in_c, 15),
        8: _in_a_row(off_c, 8) and (any_side or (any(above[1][-8:]) and any(below[1][-8:]))),
    }
    return {number for number, fires in fired.items() if fires}


def _alternate(even: Sequence[bool], odd: Sequence[bool]) -> bool:
    return len(even) == 13 and all(odd[i] if i % 2 else even[i] for i in range(13))


def western_electric(points: Sequence[float], mu: float, sigma: float) -> list[set[int]]:
    """Return the numbers of the Western Electric rules that fire at each point, all points being in one window."""
    fired = []
    for i in range(len(points)):
        so_far = points[: i + 1]
        sides = [[_beyond(so_far, mu, [sigma] * len(so_far), zone, side) for zone in range(4)] for side in (1, -1)]
        rules = {
            1: any(side[3][-1] for side in sides),
            2: any(_most_and_last(side[2], 2, 3) for side in sides),
            3: any(_most_and_last(side[1], 4, 5) for side in sides),
            4: any(_in_a_row(side[0], 8) for side in sides),
        }
        fired.append({number for number, fires in rules.items() if fires})
    return fired


class Event(NamedTuple):
    """A row of a series, and which counters grew just before it."""

    value: float  # NaN = missing
    excluded: bool = False
    changed: Collection[str] = ()  # of "limits", "reset", "exclusion"


def windows(events: Sequence[Event], ends: Collection[str]) -> list[list[float]]:
    """Return for each row the points of its window, itself the last; empty for a row that is not judged."""
    found, window = [], list[float]()
    for event in events:
        if set(event.changed) & set(ends) or (event.excluded and "exclusion" in ends):
            window = []
        judged = not event.excluded and not math.isnan(event.value)
        if judged:
            window = [*window, event.value]
        found.append(window if judged else [])
    return found


def phase_one(values: Sequence[float], d2: float) -> tuple[float, float]:
    """Return mean and MRbar/d2 of the first rows of a series."""
    return fmean(values), fmean([abs(b - a) for a, b in pairwise(values)]) / d2


class Subgroup(NamedTuple):
    """A closed subgroup: the row that closes it, and its values."""

    at: int
    values: list[float]


def subgroups(values: Sequence[float], names: Sequence[int], size: int) -> list[Subgroup]:
    """Cut one series into subgroups; those of a single value are left out. NaN is a row that is not there."""
    closed: list[Subgroup] = []
    current: list[float] = []
    name = 0
    for i, value in enumerate(values):
        if math.isnan(value):
            continue
        if current and names[i] != name:
            closed.append(Subgroup(i, current))
            current = []
        current, name = [*current, value], names[i]
        if len(current) == size:
            closed.append(Subgroup(i, current))
            current = []
    return [group for group in closed if len(group.values) > 1]
