"""Slow, obvious oracles of the detectors of drift: one series, plain lists, definitions written down as they read."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from statistics import fmean
from typing import NamedTuple


def squares(values: Sequence[float]) -> float:
    """Return the sum of squares about the mean; 0 of no values."""
    return math.fsum((x - fmean(values)) ** 2 for x in values) if values else 0.0


@dataclass
class _Side:
    sign: int
    reference: list[float] = field(default_factory=list)
    rows: list[float] = field(default_factory=list)
    head: float = 0.0
    away: int = 0  # rows of sums that signalled, less those that have joined the reference since

    def total(self, mu: float | None, sigma: float | None, k: float) -> float:
        centre = fmean(self.reference) if mu is None else mu
        difference = self.sign * (fmean(self.rows) - centre)
        variance = 1 / len(self.rows) + (1 / len(self.reference) if mu is None else 0)
        if sigma is not None:
            return (difference / sigma - k) / variance + self.head
        freedom = len(self.reference) + len(self.rows) - 2
        spread = math.sqrt((squares(self.reference) + squares(self.rows)) / freedom)
        effect = difference / spread
        if effect > k:
            t = effect / math.sqrt(variance)
            normal = (8 * freedom + 1) / (8 * freedom + 3) * math.sqrt(freedom * math.log(1 + t**2 / freedom))
            effect = normal * math.sqrt(variance)
        return (effect - k) / variance + self.head


class Judged(NamedTuple):
    """C+ and C− (None in Phase I), which fired, and how close the closest decision was."""

    sums: tuple[float, float] | None
    fired: int
    margin: float


def learned_cusum(
    values: Sequence[float],
    mu: float | None,
    sigma: float | None,
    *,
    k: float,
    h: float,
    phase_one_rows: int,
    headstart: float,
    relearn: bool,
) -> list[Judged]:
    """Judge values one by one; the spread of the learned rows must not be 0."""
    up, down = sides = _Side(1), _Side(-1)
    judged = []
    for x in values:
        if len(up.reference) < phase_one_rows and (mu is None or sigma is None):
            for side in sides:
                side.reference.append(x)
            judged.append(Judged(None, 0, math.inf))
            continue
        raw = []
        for side in sides:
            side.rows.append(x)
            raw.append(side.total(mu, sigma, k))
        fired = [total > h for total in raw]
        for side, total in zip(sides, raw, strict=True):
            impatient = mu is None and len(side.rows) >= 4 * len(side.reference)
            if total <= h and (total <= 0 or impatient):
                side.away = max(0, side.away - len(side.rows))
                side.reference, side.rows, side.head = side.reference + side.rows, [], 0.0
        if any(fired):
            kept = up if fired[0] else down
            kept.away += len(kept.rows)
            for side in sides:
                side.reference, side.rows, side.head, side.away = list(kept.reference), [], 0.0, kept.away
            kept.head = headstart * h
            if relearn or (mu is None and kept.away >= 4 * len(kept.reference)):
                up, down = sides = _Side(1), _Side(-1)
        margin = min(min(abs(total), abs(total - h)) for total in raw)
        judged.append(Judged((max(0.0, raw[0]), max(0.0, raw[1])), fired[0] + 2 * fired[1], margin))
    return judged


class Cut(NamedTuple):
    """What ADWIN says of a row at which it looks: largest |difference|/ε before, mean and rows after forgetting."""

    ratio: float
    mean: float
    rows: int


def _largest_cut(window: list[list[float]], delta: float, unit: float | None, part_min: int) -> float | None:
    """Return the largest |difference|/ε over the borders of the buckets (oldest first); None if none can be a cut."""
    everything = [x for bucket in window for x in bucket]
    rows = len(everything)
    if rows < 2 * part_min:
        return None
    variance, ratios = squares(everything) / rows, []
    log_term = math.log(2 * math.log(rows) / delta)
    for border in range(1, len(window)):
        older = [x for bucket in window[:border] for x in bucket]
        newer = [x for bucket in window[border:] for x in bucket]
        if min(len(older), len(newer)) >= part_min:
            inverse = 1 / len(older) + 1 / len(newer)
            scale = math.sqrt(variance) if unit is None else unit
            bound = math.sqrt(2 * inverse * variance * log_term) + 2 / 3 * inverse * log_term * scale
            ratios.append(abs(fmean(older) - fmean(newer)) / bound if bound else 0.0)
    return max(ratios, default=None)


def adwin(
    values: Sequence[float],
    *,
    delta: float,
    clock: int,
    buckets: int,
    levels: int,
    part_rows_min: int,
    unit: float | None,
) -> list[Cut | None]:
    """Return for each value what is said at it; buckets hold all their values."""
    by_level: list[list[list[float]]] = [[] for _ in range(levels)]  # of each level the oldest first
    said: list[Cut | None] = []
    for i, x in enumerate(values):
        by_level[0].append([x])
        for level in range(levels):
            if len(by_level[level]) > buckets + 1:
                oldest = by_level[level].pop(0)
                if level + 1 < levels:
                    by_level[level + 1].append(oldest + by_level[level].pop(0))

        def window() -> list[list[float]]:
            return [bucket for level in reversed(by_level) for bucket in level]

        ratio = _largest_cut(window(), delta, unit, part_rows_min) if (i + 1) % clock == 0 else None
        if ratio is None:
            said.append(None)
            continue
        left: float | None = ratio
        while left is not None and left > 1:
            next(level for level in reversed(by_level) if level).pop(0)
            left = _largest_cut(window(), delta, unit, part_rows_min)
        kept = [x for bucket in window() for x in bucket]
        said.append(Cut(ratio, fmean(kept), len(kept)))
    return said


def page_hinkley(
    values: Sequence[float], sigma: float, *, delta: float, threshold: float, rows: int, fading: float
) -> list[tuple[float, float] | None]:
    """Return PH+ and PH− of each value under a given sigma; None in the first rows after each start."""
    said: list[tuple[float, float] | None] = []
    start = 0
    for i in range(len(values)):
        seen = values[start : i + 1]
        climbs = []
        for sign in (1, -1):
            total, sums = 0.0, []
            for j, x in enumerate(seen):
                total = fading * total + sign * (x - fmean(seen[: j + 1])) / sigma - delta
                sums.append(total)
            climbs.append(total - min(0.0, *sums))
        said.append((climbs[0], climbs[1]) if len(seen) >= rows else None)
        if said[-1] and max(climbs) > threshold:
            start = i + 1
    return said


def ddm(
    outcomes: Sequence[int], *, rows_min: int, warning: float, drift: float
) -> list[tuple[float, float, int] | None]:
    """Return p + s, its limit and the signal of each outcome; None in the first rows after each start."""
    said: list[tuple[float, float, int] | None] = []
    start = 0

    def rate(last: int) -> tuple[float, float]:
        n = last - start + 1
        p = sum(outcomes[start : last + 1]) / n
        return p, math.sqrt(p * (1 - p) / n)

    for i in range(len(outcomes)):
        if i - start + 1 <= rows_min:
            said.append(None)
            continue
        p, s = rate(i)
        lowest_p, lowest_s = min((rate(j) for j in range(start + rows_min, i + 1)), key=sum)
        signal = 1 if p + s > lowest_p + drift * lowest_s else 2 if p + s > lowest_p + warning * lowest_s else 0
        said.append((p + s, lowest_p + drift * lowest_s, signal))
        if signal == 1:
            start = i + 1
    return said


def weighted(values: Sequence[float], weight: float | None) -> tuple[float, float]:
    """Return the average of values, and the sum of its squared weights; a weight of None is the plain average."""
    n = len(values)
    if weight is None:
        return fmean(values), 1 / n
    weights = [(1 - weight) ** (n - 1)] + [weight * (1 - weight) ** (n - 1 - j) for j in range(1, n)]
    return math.fsum(w * x for w, x in zip(weights, values, strict=True)), math.fsum(w * w for w in weights)


class Bounded(NamedTuple):
    """Rise, fall, their limits, the signal, and how close the closest decision was."""

    rise: float
    fall: float
    rise_limit: float
    fall_limit: float
    signal: int
    margin: float


def hddm(
    outcomes: Sequence[float], *, drift_alpha: float, warning_alpha: float, weight: float | None, two_sided: bool
) -> list[Bounded]:
    """Return HDDM_A (weight None) or HDDM_W of each outcome."""
    said: list[Bounded] = []
    start = 0

    def bound(squared: float, log: float) -> float:
        return math.sqrt(squared * log / 2)

    for i in range(len(outcomes)):
        seen = outcomes[start : i + 1]
        differences, limits, warnings = [], [], []
        for sign in (1, -1):
            uppers = []
            for end in range(1, len(seen) + 1):
                average, squared = weighted(seen[:end], weight)
                uppers.append(sign * average + bound(squared, math.log(1 / drift_alpha)))
            cut = uppers.index(min(uppers)) + 1
            if cut == len(seen):
                differences.append(-1.0)
                squared = 0.0 if weight is None else weighted(seen, weight)[1]
            else:
                before, squared = weighted(seen[:cut], weight)
                if weight is None:
                    after, squared = fmean(seen), 1 / cut - 1 / len(seen)
                else:
                    after, more = weighted(seen[cut:], weight)
                    squared += more
                differences.append(sign * (after - before))
            numerator = 2 if weight is None else 1
            limits.append(bound(squared, math.log(numerator / drift_alpha)))
            warnings.append(bound(squared, math.log(numerator / warning_alpha)))
        rise, fall = differences
        signal = int(rise >= limits[0]) + 2 * int(two_sided and fall >= limits[1])
        if not signal and (rise >= warnings[0] or (two_sided and fall >= warnings[1])):
            signal = 4
        margin = min(abs(d - edge) for d, a, b in zip(differences, limits, warnings, strict=True) for edge in (a, b))
        said.append(Bounded(max(0.0, rise), max(0.0, fall), limits[0], limits[1], signal, margin))
        if signal & 3:
            start = i + 1
    return said
