"""Slow, obvious oracles of the tests of a window against a reference."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from itertools import combinations
from typing import NamedTuple


class Said(NamedTuple):
    """A test: at which row, its statistic and limit, whether it signals."""

    at: int
    statistic: float
    limit: float
    fired: bool


Rule = Callable[[Sequence[float], Sequence[float]], tuple[float, float]]  # (reference, window) → statistic, limit


def against_a_reference(
    values: Sequence[float], reference_rows: int, window: int, hop: int, relearn: bool, rule: Rule
) -> list[Said]:
    """Return every test of the values of one series; the reference is its first rows."""
    said: list[Said] = []
    learned, start = 0, reference_rows  # where the reference and the window begin
    for i in range(len(values)):
        rows = i + 1 - start
        if rows >= window and (rows - window) % hop == 0:
            statistic, limit = rule(values[learned : learned + reference_rows], values[i + 1 - window : i + 1])
            said.append(Said(i, statistic, limit, statistic > limit))
            if statistic > limit:
                learned, start = (i + 1, i + 1 + reference_rows) if relearn else (learned, i + 1)
    return said


def kswin(values: Sequence[float], window: int, recent: int, hop: int, rule: Rule) -> list[Said]:
    """Return every test of the newest values of a window against its older ones."""
    said: list[Said] = []
    start = 0
    for i in range(len(values)):
        rows = i + 1 - start
        if rows >= window and (rows - window) % hop == 0:
            seen = values[i + 1 - window : i + 1]
            statistic, limit = rule(seen[:-recent], seen[-recent:])
            said.append(Said(i, statistic, limit, statistic > limit))
            if statistic > limit:
                start = i + 1 - recent
    return said


def ks(a: Sequence[float], b: Sequence[float]) -> int:
    """Return n·m times the largest distance of the two distribution functions."""
    return max(abs(sum(x <= at for x in a) * len(b) - sum(x <= at for x in b) * len(a)) for at in (*a, *b))


def ks_exceedance(n: int, m: int, c: int) -> float:
    """Return P(n·m·D > c) by going through every order of n + m values."""
    orders = list(combinations(range(n + m), n))
    beyond = sum(ks(order, [j for j in range(n + m) if j not in order]) > c for order in orders)
    return beyond / len(orders)


def bins(values: Sequence[float], edges: Sequence[float]) -> list[int]:
    """Count values into edges[j − 1] < x ≤ edges[j]."""
    lows, highs = [-math.inf, *edges], [*edges, math.inf]
    return [sum(low < x <= high for x in values) for low, high in zip(lows, highs, strict=True)]


def psi(expected: Sequence[float], seen: Sequence[float]) -> float:
    """Return the PSI of the counts of two samples, half a count added to each bin that either holds."""
    used = [(e + 0.5, s + 0.5) for e, s in zip(expected, seen, strict=True) if e or s]
    p_total, q_total = math.fsum(e for e, _ in used), math.fsum(s for _, s in used)
    return math.fsum((s / q_total - e / p_total) * math.log((s / q_total) / (e / p_total)) for e, s in used)


def plain_psi(expected: Sequence[float], seen: Sequence[float], least: float = 1e-4) -> float:
    """Return the PSI as it is commonly programmed: empty bins get a share of `least`."""
    p = [max(e / sum(expected), least) for e in expected]
    q = [max(s / sum(seen), least) for s in seen]
    return math.fsum((b - a) * math.log(b / a) for a, b in zip(p, q, strict=True))


def mmd(a: Sequence[Sequence[float]], b: Sequence[Sequence[float]], width: float) -> float:
    """Return the squared maximum mean discrepancy of two samples of vectors."""

    def mean_kernel(x: Sequence[Sequence[float]], y: Sequence[Sequence[float]]) -> float:
        return math.fsum(math.exp(-(math.dist(u, v) ** 2) / (2 * width**2)) for u in x for v in y) / (len(x) * len(y))

    return mean_kernel(a, a) - 2 * mean_kernel(a, b) + mean_kernel(b, b)
