"""Which series count: a share of them, chosen by a hash of the key, so that it is the same ones on every replay and everywhere.

A share is a stretch of 10,000 places. A canary has the first of them; the version that it is to replace keeps the others. So the
two never both speak of a series, and together they speak of all.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from functools import lru_cache
from typing import NamedTuple

import numpy as np

PLACES = 10_000
_KEPT = 65_536  # keys whose place is remembered


@lru_cache(maxsize=_KEPT)
def place_of(key: str) -> int:
    """Return the place of a series, from 0 to 9,999.

    >>> place_of("E1|A|R|10|cd"), place_of("E1|A|R|10|oxide")
    (9729, 9930)
    """
    return int.from_bytes(hashlib.blake2b(key.encode(), digest_size=8).digest()) % PLACES


class Share(NamedTuple):
    """The series whose place is from `low` on and before `high`."""

    low: int = 0
    high: int = PLACES

    @property
    def whole(self) -> bool:
        """Say whether it has every series."""
        return self.low <= 0 and self.high >= PLACES

    def has(self, key: str) -> bool:
        """Say whether it has a series."""
        return self.low <= place_of(key) < self.high

    def of(self, keys: Iterable[str]) -> np.ndarray:
        """Return which of these series it has, (n,) bool."""
        return np.fromiter((self.has(key) for key in keys), np.bool_)


EVERY_SERIES = Share()
