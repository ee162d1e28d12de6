"""What a compatibility level of a subject demands, and whether its versions stand together as one would have it: pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, NamedTuple, get_args

from schemas.avro_types import Parsed
from schemas.compatibility import can_read
from schemas.differences import BACKWARD, FORWARD, Change, Direction, diff

Level = Literal[
    "NONE", "BACKWARD", "BACKWARD_TRANSITIVE", "FORWARD", "FORWARD_TRANSITIVE", "FULL", "FULL_TRANSITIVE"
]  # fmt: skip
LEVELS: tuple[Level, ...] = get_args(Level)


def directions(level: Level) -> tuple[Direction, ...]:
    """Return the directions that a level keeps.

    >>> directions("FULL_TRANSITIVE"), directions("NONE")
    (('backward', 'forward'), ())
    """
    name = level.removesuffix("_TRANSITIVE")
    return {"BACKWARD": BACKWARD, "FORWARD": FORWARD, "FULL": BACKWARD + FORWARD}.get(name, ())


class Conflict(NamedTuple):
    """Two versions that do not stand together as a level wants it."""

    earlier: int
    later: int
    direction: Direction
    changes: tuple[Change, ...]  # those that break it


def conflicts(level: Level, versions: Sequence[tuple[int, Parsed]]) -> list[Conflict]:
    """Return which versions of a subject, oldest first, a level would not have let follow.

    A level that is not transitive compares each version with the one before it, a transitive one with all before it.
    """
    found: list[Conflict] = []
    for at, (later, new) in enumerate(versions):
        earlier = versions[:at] if level.endswith("_TRANSITIVE") else versions[max(0, at - 1) : at]
        for number, old in earlier:
            broken = [direction for direction in directions(level) if not _holds(direction, old, new)]
            changes = diff(old, new) if broken else []
            found += [
                Conflict(number, later, direction, tuple(one for one in changes if direction in one.breaks))
                for direction in broken
            ]
    return found


def _holds(direction: Direction, old: Parsed, new: Parsed) -> bool:
    return can_read(new, old) if direction == "backward" else can_read(old, new)
