"""Oracles for the detectors of anomalies: the definitions, value by value."""

import math
from collections.abc import Sequence
from statistics import fmean, median, stdev


def robust_z(before: Sequence[float], x: float) -> tuple[float, float]:
    """Return (z, sigma) of x against the values before it; with sigma 0, z is the plain difference."""
    middle = median(before)
    deviations = [abs(value - middle) for value in before]
    sigma = 1.482602218505602 * median(deviations) or math.sqrt(math.pi / 2) * fmean(deviations)
    return ((x - middle) / sigma if sigma else x - middle), sigma


def silenced(fired: Sequence[int], refractory: int) -> list[int]:
    """Return the signals that are given: each takes the next `refractory` rows with it."""
    given: list[int] = []
    last = -math.inf
    for i, bits in enumerate(fired):
        speaks = bits != 0 and i - last > refractory
        given.append(bits if speaks else 0)
        last = i if speaks else last
    return given


def esd_outliers(values: Sequence[float], critical: Sequence[float]) -> list[float]:
    """Return the outliers of generalised ESD, in the order in which they are taken away."""
    left, taken, count = list(values), [], 0
    for limit in critical:
        spread = stdev(left) if len(set(left)) > 1 else 0.0
        if not spread:
            break
        furthest = max(sorted(left), key=lambda value: abs(value - fmean(left)))
        left.remove(furthest)
        taken.append(furthest)
        if abs(furthest - fmean([*left, furthest])) > limit * spread:
            count = len(taken)
    return taken[:count]


def novelty(values: Sequence[float], weight: float, min_rows: int) -> list[tuple[float, float]]:
    """Return the surprise of each value and of its level, with everything remembered."""
    level, levels = math.nan, []
    for i, x in enumerate(values):
        level = x if i == 0 else level + max(weight, 1 / (i + 1)) * (x - level)
        levels.append(level)

    def surprises(points: Sequence[float]) -> list[float]:
        found: list[float] = []
        distances: list[float] = []
        for i, point in enumerate(points):
            distance = min((abs(point - before) for before in points[:i]), default=0.0)
            as_large = sum(before >= distance for before in distances)
            known = distance == 0 or i < min_rows // 4
            found.append(0.0 if known else math.log10((i + 1) / (as_large + 1)))
            distances.append(0.0 if known else distance)
        return found

    return list(zip(surprises(values), surprises(levels), strict=True))


def density(
    window: Sequence[Sequence[float]],
    point: Sequence[float],
    entry: Sequence[Sequence[int]],
    cut: Sequence[Sequence[float]],
    depth: int,
) -> float:
    """Return the density of half-space trees at a point, by the rows of a window that take the same way down each tree."""

    def way(unit: Sequence[float], tree: int) -> list[int]:
        nodes = [0]
        for _ in range(depth):
            node = nodes[-1]
            nodes.append(2 * node + (2 if unit[entry[tree][node]] >= cut[tree][node] else 1))
        return nodes

    total = 0.0
    for tree in range(len(entry)):
        ways = [way(unit, tree) for unit in window]
        for level, node in enumerate(way(point, tree)):
            rows = sum(other[level] == node for other in ways)
            if rows <= 0.1 * len(window) or level == depth:
                total += rows * 2**level
                break
    return total / len(entry) / len(window)


def nab(
    alarms: Sequence[bool],
    windows: Sequence[tuple[int, int]],
    found: float = 1.0,
    false_alarm: float = 0.11,
    missed: float = 1.0,
    probation: int = 0,
) -> float:
    """Return the raw NAB score of one file, as the benchmark's text says it."""

    def height(place: float) -> float:
        return 2 / (1 + math.exp(5 * place)) - 1

    score = 0.0
    for first, last in windows:
        if last < probation:
            continue
        hits = [row for row in range(max(first, probation), last + 1) if alarms[row]]
        if hits:
            score += found * height(-(last - hits[0] + 1) / (last - first + 1)) / height(-1.0)
        else:
            score -= missed
    for row in range(probation, len(alarms)):
        if not alarms[row] or any(first <= row <= last for first, last in windows):
            continue
        before = [(first, last) for first, last in windows if last < row]
        place = 3.0
        if before and before[-1][1] > before[-1][0]:
            first, last = before[-1]
            place = (row - last) / (last - first)
        score += false_alarm * (-1.0 if place >= 3.0 else height(place))
    return score
