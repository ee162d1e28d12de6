"""Average run lengths the slow way: a chain of narrow cells, and a run counted point by point."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from scipy.stats import norm

from tests.naive import nelson


def first_signal(points: Sequence[float], rules: set[str], any_side: bool = False) -> int | None:
    """Return how many points a chart of mean 0 and sigma 1 with these rules takes to signal; None: it does not."""
    fired = nelson(points, 0.0, 1.0, any_side)
    for i in range(len(points)):
        named = {f"nelson_{number}" for number in fired[i]} | _western_electric(points[: i + 1])
        if named & rules:
            return i + 1
    return None


def _western_electric(so_far: Sequence[float]) -> set[str]:
    def of_last(length: int, sigmas: float) -> int:
        recent = so_far[-length:]
        return max(sum(x > sigmas for x in recent), sum(x < -sigmas for x in recent))

    return {
        name
        for name, hits, length, sigmas in (
            ("western_electric_1", 1, 1, 3),
            ("western_electric_2", 2, 3, 2),
            ("western_electric_3", 4, 5, 1),
            ("western_electric_4", 8, 8, 0),
        )
        if of_last(length, sigmas) >= hits
    }


def rank_rules(trend: bool, alternating: bool, points: int) -> float:
    """Nelson's 3 (six points rising or falling) and 4 (fourteen alternating), of points in random order.

    By the rank of the last point among those so far, for `points` points; the chances of no signal are then taken to fall
    by the factor of the last one.
    """
    # chances by (rises in a row, differences that alternate) and the rank of the last point
    chance = {(0, 0): np.ones(1)}
    none_yet = [1.0, 1.0]
    for n in range(1, points):
        following: dict[tuple[int, int], np.ndarray] = {}
        for (run, turns), by_rank in chance.items():
            risen, fallen = np.zeros(n + 1), np.zeros(n + 1)
            for rank, p in enumerate(by_rank):
                risen[rank + 1 :] += p / (n + 1)
                fallen[: rank + 1] += p / (n + 1)
            for way, reached in ((1, risen), (-1, fallen)):
                longer = run + way if run * way >= 0 else way
                turned = way if turns * way >= 0 else way * (abs(turns) + 1)
                if not (trend and abs(longer) == 5) and not (alternating and abs(turned) == 13):
                    kept = following.setdefault((longer, turned), np.zeros(n + 1))
                    kept += reached
        chance = following
        none_yet.append(sum(float(by_rank.sum()) for by_rank in chance.values()))
    factor = none_yet[-1] / none_yet[-2]
    return sum(none_yet) + none_yet[-1] * factor / (1 - factor)


def cusum_one_sided(k: float, h: float, shift: float, start: float, cells: int) -> float:
    """Brook and Evans 1972: the sum moves between cells of equal width; the error falls with the square of it."""
    width = 2 * h / (2 * cells - 1)
    at = np.arange(cells) * width
    edges = np.concatenate([[-np.inf], at + width / 2])
    reached = norm.cdf(edges[None, :] - at[:, None] + k - shift)
    steps = np.linalg.solve(np.eye(cells) - np.diff(reached, axis=1), np.ones(cells))
    first = np.diff(norm.cdf(edges - start + k - shift))
    return float(1 + first @ steps)


def cusum_two_sided(k: float, h: float, shift: float, start: float, cells: int) -> float:
    """Both sums in one chain, their pairs as states: no identity is used."""
    width = 2 * h / (2 * cells - 1)
    at = np.arange(cells) * width
    # a fine grid of the point's value stands for its density
    x = np.linspace(-9, 9, 4001)
    chance = norm.pdf(x) / norm.pdf(x).sum()
    x = x + shift

    def moves(up: float, down: float) -> tuple[np.ndarray, np.ndarray]:
        higher, lower = np.maximum(0, up + x - k), np.maximum(0, down - x - k)
        inside = (higher <= h) & (lower <= h)
        to = np.rint(higher[inside] / width).astype(int) * cells + np.rint(lower[inside] / width).astype(int)
        return to, chance[inside]

    stay = np.zeros((cells**2, cells**2))
    for i in range(cells):
        for j in range(cells):
            to, p = moves(at[i], at[j])
            np.add.at(stay[i * cells + j], to, p)
    steps = np.linalg.solve(np.eye(cells**2) - stay, np.ones(cells**2))
    to, p = moves(start, start)
    return float(1 + p @ steps[to])


def ewma(weight: float, width: float, shift: float, steady: bool, cells: int, points: int) -> float:
    """Carry the distribution of z over cells of the final limits through `points` points, summing what has not signalled."""
    final = width * math.sqrt(weight / (2 - weight))
    edges = np.linspace(-final, final, cells + 1)
    middle = (edges[:-1] + edges[1:]) / 2
    step = np.diff(norm.cdf((edges[None, :] - (1 - weight) * middle[:, None]) / weight - shift), axis=1)
    chance = np.diff(norm.cdf(edges / weight - shift))
    total = 1.0
    for t in range(1, points):
        if not steady:
            limit = final * math.sqrt(1 - (1 - weight) ** (2 * t))
            cell = edges[1] - edges[0]
            chance = chance * np.clip(
                (limit - np.abs(middle)) / cell + 0.5, 0, 1
            )  # the cell on the limit counts in part
        total += float(chance.sum())
        chance = chance @ step
    return total
