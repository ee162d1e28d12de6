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
