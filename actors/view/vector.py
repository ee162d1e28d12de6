"""How far a reader has read: a next offset per partition of charts, alerts and lives. It is the id of every server-sent event."""

from __future__ import annotations

import re
from collections.abc import Mapping

CHARTS, ALERTS, LIVES = "c", "a", "l"
TOPICS = (CHARTS, ALERTS, LIVES)
_TEXT_MAX = 16_384
_PART = re.compile(r"([cal])(\d{1,5})=(\d{1,18})")

Vector = dict[str, dict[int, int]]  # {"c": {partition: next offset}, "a": {…}, "l": {…}}


def render(vector: Mapping[str, Mapping[int, int]]) -> str:
    """Return the vector as one line.

    >>> render({"c": {1: 40, 0: 7}, "a": {0: 3}})
    'c0=7,c1=40,a0=3'
    """
    return ",".join(f"{topic}{p}={vector[topic][p]}" for topic in TOPICS for p in sorted(vector.get(topic, ())))


def parse(text: str) -> Vector:
    """Read what `render` wrote. Raises ValueError for anything else.

    >>> parse("c0=7,c1=40,a0=3")
    {'c': {0: 7, 1: 40}, 'a': {0: 3}, 'l': {}}
    """
    vector: Vector = {CHARTS: {}, ALERTS: {}, LIVES: {}}
    if len(text) > _TEXT_MAX:
        raise ValueError("not an event id of this stream: too long")
    for part in filter(None, text.split(",")):
        match = _PART.fullmatch(part)
        if match is None:
            raise ValueError(f"not an event id of this stream: {part[:40]!r}")
        vector[match[1]][int(match[2])] = int(match[3])
    return vector


def later(one: Vector, other: Vector) -> Vector:
    """Return the later offset of each partition: a reader that starts again is behind what it has said before.

    >>> render(later({"c": {0: 9}, "a": {}}, {"c": {0: 7, 1: 2}, "a": {0: 1}}))
    'c0=9,c1=2,a0=1'
    """
    parts = {topic: (one.get(topic, {}), other.get(topic, {})) for topic in TOPICS}
    return {topic: {p: max(a.get(p, 0), b.get(p, 0)) for p in a.keys() | b.keys()} for topic, (a, b) in parts.items()}
