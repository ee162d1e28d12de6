"""Where a defect is: what the words of inspection tools say of it, as numbers, if they say it as numbers."""

from __future__ import annotations

import math
import re
from typing import NamedTuple

LOCATION_CHARS_MAX = 200  # looked at; what is longer has no place

_NUMBER = r"[-+]?\d{1,9}(?:\.\d{1,9})?(?:e[-+]?\d{1,2})?"
_NAMED = re.compile(rf"\bx\s*[=:]\s*({_NUMBER})[^-+\d]{{0,8}}\by\s*[=:]\s*({_NUMBER})", re.IGNORECASE)
_PAIR = re.compile(rf"[\[(]?\s*({_NUMBER})\s*[,;]\s*({_NUMBER})\s*[\])]?", re.IGNORECASE)
_DIE = re.compile(r"\bdie\s*[=:]?\s*[\[(]?\s*(-?\d{1,4})\s*[,;/]\s*(-?\d{1,4})", re.IGNORECASE)


class Spot(NamedTuple):
    """A place on a wafer: in the tool's unit, and which die; None: it is not said."""

    x: float | None = None
    y: float | None = None
    die_x: int | None = None
    die_y: int | None = None


def spot(location: str) -> Spot:
    """Return the place that a location names. Coordinates are `x=… y=…` or a pair; a die is `die 3,-2`.

    >>> spot("x=12.5 y=3.1"), spot("(-4, 7.25)"), spot("die 3/-2, x: 1 y: 2")
    (Spot(x=12.5, y=3.1, die_x=None, die_y=None), Spot(x=-4.0, y=7.25, die_x=None, die_y=None),
     Spot(x=1.0, y=2.0, die_x=3, die_y=-2))
    >>> spot("upper left corner")
    Spot(x=None, y=None, die_x=None, die_y=None)
    """
    text = location[:LOCATION_CHARS_MAX]
    die = _DIE.search(text)
    named = _NAMED.search(text) or (None if die else _PAIR.fullmatch(text.strip()))
    x, y = (float(named[1]), float(named[2])) if named else (None, None)
    if x is not None and y is not None and not (math.isfinite(x) and math.isfinite(y)):
        x = y = None
    return Spot(x, y, *((int(die[1]), int(die[2])) if die else (None, None)))
