"""The run length of charts whose rules also compare a point with the one before it: Nelson's 3 and 4.

Theory of operation
-------------------
These rules see only whether a point is above or below the last one. Given the zone that the last point is in, all that
counts of its value is how much of that zone's probability lies below it: a number u, uniform between 0 and 1. A state is
then (memory of the zone rules, zone of the last point, memory of the differences, u). The next point is in a lower zone: a
fall; in a higher one: a rise; in the same one: a fall with chance u, else a rise. So, with p the probability of the zone,

    S'(a, z, d, u) = Σ over zones below of ∫ S(…, fall, v) dv + Σ over zones above of ∫ S(…, rise, v) dv
                   + p (∫₀ᵘ S(…, fall, v) dv + ∫ᵤ¹ S(…, rise, v) dv)

is the chance of no signal in one point more. As functions of u these are as smooth as can be (their derivatives are
differences of themselves), so that few nodes of Gauss and Legendre give all digits. The ARL is the sum of the chances of no
signal in t = 0, 1, 2, … points from the start; it is cut where they fall by a constant factor, and the rest is a geometric
series.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from numpy.polynomial.legendre import Legendre

from models.arl_rules import ZONES

TREND, ALTERNATING = "nelson_3", "nelson_4"
OF_DIFFERENCES = frozenset({TREND, ALTERNATING})

_RISES = 5  # six points
_TURNS = 13  # differences that alternate: fourteen points
_NODES = 12
_POINTS_MIN, _POINTS_MAX = 60, 20_000  # summed one by one; no rule remembers more than 15
_SETTLED = 1e-14  # change of the factor from one point to the next
_FIRED = -1


def differences(rules: Iterable[str]) -> np.ndarray:
    """Return the chain of what these rules remember: (D, 2) int64, next state after a fall and a rise, −1 where one fires.

    State 0 is after the first point.

    >>> len(differences([TREND])), len(differences([TREND, ALTERNATING]))
    (9, 31)
    """
    wanted = set(rules)
    start = (0, 0)  # rises in a row (falls: negative); differences that alternate, with the sign of the last
    index, reached, moves = {start: 0}, [start], []
    for trend, turns in reached:  # grows while it is walked
        row = []
        for way in (-1, 1):
            longer = trend + way if trend * way > 0 else way
            turned = way * (abs(turns) + 1) if turns * way < 0 else way
            after = (longer if TREND in wanted else 0, turned if ALTERNATING in wanted else 0)
            if abs(after[0]) >= _RISES or abs(after[1]) >= _TURNS:
                row.append(_FIRED)
                continue
            if after not in index:
                index[after] = len(reached)
                reached.append(after)
            row.append(index[after])
        moves.append(row)
    return np.array(moves, np.int64)


def mean_run_length(zone_moves: np.ndarray, rules: Iterable[str], probability: np.ndarray) -> float:
    """Return the ARL of zone rules (`arl_rules.chain`: (A, 8)) and rules of differences together.

    probability: (8,) of the zones, after the shift.
    """
    pairs, after = _pairs(zone_moves)
    ways = differences(rules)
    zone = np.array([z for _, z in pairs])
    own = after[np.arange(len(pairs)), zone]  # the pair after a point in the same zone
    share = probability[zone, None, None]  # of the pair's zone
    weights, below = _integrals()
    above = weights - below

    # chances of no signal in t more points: (pairs + 1, D + 1, nodes); the last row and column, for "fired", stay 0
    chance = np.zeros((len(pairs) + 1, len(ways) + 1, _NODES))
    chance[:-1, :-1] = 1.0
    first = after[-1]  # from the start, by zone
    total, remaining, factor = 1.0, 1.0, 0.0
    for point in range(_POINTS_MAX):
        at_start = float(probability @ (chance[first, 0] @ weights))
        total += at_start
        new_factor = at_start / remaining
        remaining = at_start
        if remaining < 1e-18 or (point > _POINTS_MIN and abs(new_factor - factor) < _SETTLED):
            break
        factor = new_factor
        whole = chance @ weights  # (pairs + 1, D + 1)
        fallen, risen = whole[:, ways[:, 0]], whole[:, ways[:, 1]]
        following = np.zeros((len(pairs), len(ways), 1))
        for z in range(ZONES):
            to = after[:-1, z]
            following[:, :, 0] += probability[z] * (
                fallen[to] * (z < zone)[:, None] + risen[to] * (z > zone)[:, None]
            )  # fmt: skip
        inside = chance[own][:, ways[:, 0]] @ below.T + chance[own][:, ways[:, 1]] @ above.T
        chance[:-1, :-1] = following + share * inside
    return total + remaining * new_factor / (1.0 - new_factor)


def _pairs(zone_moves: np.ndarray) -> tuple[list[tuple[int, int]], np.ndarray]:
    """Return the pairs (memory, zone of the last point), and (pairs + 1, 8) the pair after a point in each zone.

    −1 where a rule fires; the last row is of the start.
    """
    index: dict[tuple[int, int], int] = {}
    pairs: list[tuple[int, int]] = []

    def row(memory: int) -> list[int]:
        found = []
        for z, to in enumerate(zone_moves[memory].tolist()):
            if to >= 0 and (to, z) not in index:
                index[to, z] = len(pairs)
                pairs.append((to, z))
            found.append(index[to, z] if to >= 0 else _FIRED)
        return found

    start = row(0)
    after = [row(memory) for memory, _ in pairs]  # grows while it is walked
    return pairs, np.array([*after, start], np.int64)


def _integrals() -> tuple[np.ndarray, np.ndarray]:
    """Return the weights of ∫₀¹, (m,), and of ∫₀ᵘ for u at each node, (m, m), for values at the nodes."""
    nodes, weights = np.polynomial.legendre.leggauss(_NODES)
    basis = [Legendre.basis(degree) for degree in range(_NODES)]
    # a function's Legendre coefficients from its values at the nodes, by the discrete orthogonality of these
    to_coefficients = np.array([(2 * n + 1) / 2 * weights * p(nodes) for n, p in enumerate(basis)])
    integrals = np.array([p.integ(lbnd=-1)(nodes) for p in basis])  # (degree, node)
    return weights / 2.0, integrals.T @ to_coefficients / 2.0
