"""Which run rules a Shewhart chart uses, and the finite chain of what they remember.

Theory of operation
-------------------
A run rule of zones asks only in which zone each of the last points fell: the lines at the centre and at 1, 2 and 3 sigma
on both sides cut the axis into eight zones. What a rule must remember of the past is therefore one of finitely many
states, and the states of all rules together are those of a Markov chain that is absorbed when the first rule fires
(Champ and Woodall, Technometrics 29 (1987) 393–399). `chain` walks it from the empty memory and returns its transitions.

A rule "m of n points in these zones" remembers which of the last n − 1 points were in them. A point that can no longer
be part of a window that fires is forgotten at once, which keeps the chain small and changes nothing else. With that, a
run is "n of n".

Rules 3 and 4 of Nelson compare a point with the one before, not with a line: see `models.arl_differences`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Protocol

import numpy as np

EDGES = np.array([-3.0, -2.0, -1.0, 0.0, 1.0, 2.0, 3.0])  # zone i is below EDGES[i], zone 7 above all; in sigmas
ZONES = len(EDGES) + 1

WESTERN_ELECTRIC = ("western_electric_1", "western_electric_2", "western_electric_3", "western_electric_4")
NELSON = tuple(f"nelson_{number}" for number in range(1, 9))

_EMPTY = 0
_FIRED = -1


class Memory(Protocol):
    """What one rule remembers, as an int; 0 is nothing."""

    def step(self, state: int, zone: int) -> int:
        """Return the state after a point in `zone`, or −1 if the rule fires."""
        ...


@dataclass(frozen=True)
class Window:
    """Fires when `hits` of the last `length` points are in `zones`. Bit i of the state: the point i + 1 back was."""

    hits: int
    length: int
    zones: frozenset[int]

    def step(self, state: int, zone: int) -> int:
        """Add a point; forget points that can be in no window that fires."""
        bits = state << 1 | int(zone in self.zones)
        if bits.bit_count() >= self.hits:
            return _FIRED
        for kept in range(self.length - 1, 0, -1):  # a window from `kept` back on has `length − kept` points to come
            newest = bits & ((1 << kept) - 1)
            if newest.bit_count() + self.length - kept >= self.hits:
                return newest
        return _EMPTY


@dataclass(frozen=True)
class BothSides:
    """Nelson's rule 8: `length` points in a row outside zone C, not all on one side.

    The state is (points in a row outside, of these the last ones on one side, that side), each at most `length` − 1.
    """

    length: int = 8

    def step(self, state: int, zone: int) -> int:
        """Add a point."""
        if zone in _ZONE_C:
            return _EMPTY
        run, same, upper = state >> 8, state >> 1 & 127, state & 1
        side = int(zone in _above(1))
        same = same + 1 if run and side == upper else 1
        run += 1
        if run >= self.length and same < self.length:
            return _FIRED
        return min(run, self.length - 1) << 8 | min(same, self.length - 1) << 1 | side


def _above(sigmas: int) -> frozenset[int]:
    return frozenset(range(4 + sigmas, ZONES))


def _below(sigmas: int) -> frozenset[int]:
    return frozenset(range(4 - sigmas))


_ZONE_C = frozenset({3, 4})


def _on_one_side(hits: int, length: int, sigmas: int) -> tuple[Memory, ...]:
    return Window(hits, length, _above(sigmas)), Window(hits, length, _below(sigmas))


def _memories(rule: str, any_side: bool) -> tuple[Memory, ...]:
    outside = frozenset(range(ZONES)) - _ZONE_C
    return {
        "nelson_1": (Window(1, 1, _above(3) | _below(3)),),
        "nelson_2": _on_one_side(9, 9, 0),
        "nelson_5": _on_one_side(2, 3, 2),
        "nelson_6": _on_one_side(4, 5, 1),
        "nelson_7": (Window(15, 15, _ZONE_C),),
        "nelson_8": (Window(8, 8, outside) if any_side else BothSides(),),
        "western_electric_1": (Window(1, 1, _above(3) | _below(3)),),
        "western_electric_2": _on_one_side(2, 3, 2),
        "western_electric_3": _on_one_side(4, 5, 1),
        "western_electric_4": _on_one_side(8, 8, 0),
    }[rule]


def rule_names(rules: str | Iterable[str | int]) -> tuple[str, ...]:
    """Return the rules' names, in order, without doubles.

    A number is Nelson's; "we1" … "we4" and "western-electric" or "weco" (all four) are the Western Electric handbook's; "nelson"
    is all eight of Nelson's. A string may list several, with commas. Raises ValueError for anything else, or for none.

    >>> rule_names("1,2,5,6")
    ('nelson_1', 'nelson_2', 'nelson_5', 'nelson_6')
    >>> rule_names("western-electric"), rule_names(["we1", "nelson_8"])
    (('western_electric_1', 'western_electric_2', 'western_electric_3', 'western_electric_4'), ('western_electric_1', 'nelson_8'))
    """
    given = rules.split(",") if isinstance(rules, str) else list(rules)
    named: list[str] = []
    for item in given:
        named += _names_in(str(item))
    if not named:
        raise ValueError(f"rules = {rules!r}: no rule is named")
    return tuple(dict.fromkeys(named))


_NAME = re.compile(r"(nelson|western[\s_-]?electric|weco|we)?[\s_-]*([1-9](?:[\s_]+[1-9])*|[1-9]+)?", re.IGNORECASE)


def _names_in(text: str) -> tuple[str, ...]:
    found = _NAME.fullmatch(text.strip())
    prefix, digits = (found[1], re.findall("[1-9]", found[2] or "")) if found else (None, [])
    ours = NELSON if prefix is None or prefix.lower() == "nelson" else WESTERN_ELECTRIC
    alone = prefix is None and not re.fullmatch(r"[1-9]([\s_]+[1-9])*", text.strip())  # "12" is no rule
    if found is None or alone or any(int(digit) > len(ours) for digit in digits):
        raise ValueError(
            f"rule {text.strip()!r} is unknown: 1 to 8 are Nelson's, we1 to we4 and western-electric the handbook's"
        )
    return tuple(ours[int(digit) - 1] for digit in digits) or ours


def chain(rules: Iterable[str], any_side: bool = False) -> np.ndarray:
    """Return the chain of these rules' memories: (S, 8) int64, the next state by state and zone, −1 where a rule fires.

    State 0 is the empty memory. Rules that look at differences are not for this chain: KeyError.

    >>> chain(["western_electric_1"])
    array([[-1,  0,  0,  0,  0,  0,  0, -1]])
    >>> len(chain(["western_electric_1", "western_electric_2", "western_electric_3", "western_electric_4"]))
    295
    """
    memories = tuple(dict.fromkeys(memory for name in rules for memory in _memories(name, any_side)))
    start = (_EMPTY,) * len(memories)
    index = {start: 0}
    reached = [start]
    moves: list[list[int]] = []
    for state in reached:  # grows while it is walked
        row = []
        for zone in range(ZONES):
            after = tuple(memory.step(held, zone) for memory, held in zip(memories, state, strict=True))
            if _FIRED in after:
                row.append(_FIRED)
                continue
            if after not in index:
                index[after] = len(reached)
                reached.append(after)
            row.append(index[after])
        moves.append(row)
    return np.array(moves, np.int64)
