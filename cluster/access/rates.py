"""How fast somebody may ask: token buckets in bounded memory. Pure: time is an argument.

They are of one process: two replicas let twice as much through.
"""

from __future__ import annotations

from collections import Counter, OrderedDict

NAMES_MAX = (
    10_000  # callers or addresses told apart; those that asked longest ago are forgotten, which fills their bucket
)


class Buckets:
    """A bucket per name: `burst` at once, then `per_s` a second.

    >>> buckets = Buckets(per_s=2.0, burst=3)
    >>> [buckets.take("ann", at_s) for at_s in (0.0, 0.0, 0.0, 0.0, 0.5)], buckets.take("bob", 0.5)
    ([0.0, 0.0, 0.0, 0.5, 0.0], 0.0)
    """

    def __init__(self, per_s: float, burst: float, names_max: int = NAMES_MAX) -> None:
        self.per_s, self.burst, self.names_max = per_s, burst, names_max
        self._left: OrderedDict[str, tuple[float, float]] = OrderedDict()  # name → what is left, since when (s)

    def __len__(self) -> int:
        """Return how many names are held."""
        return len(self._left)

    def take(self, name: str, now_s: float) -> float:
        """Take one; return 0, or the seconds after which there is one again, and nothing was taken."""
        left = self._now(name, now_s)
        wait_s = 0.0 if left >= 1 else (1 - left) / self.per_s
        self._left[name] = (left if wait_s else left - 1, now_s)
        self._left.move_to_end(name)
        while len(self._left) > self.names_max:
            self._left.popitem(last=False)
        return wait_s

    def wait_s(self, name: str, now_s: float) -> float:
        """Return after how many seconds there is one, without taking it."""
        return max(0.0, (1 - self._now(name, now_s)) / self.per_s)

    def _now(self, name: str, now_s: float) -> float:
        left, then_s = self._left.get(name, (self.burst, now_s))
        return min(self.burst, left + max(0.0, now_s - then_s) * self.per_s)


class Streams:
    """How many streams each caller has open.

    >>> streams = Streams(1)
    >>> streams.open("ann"), streams.open("ann"), streams.open("bob"), streams.close("ann"), streams.open("ann")
    (True, False, True, None, True)
    """

    def __init__(self, each_max: int) -> None:
        self.each_max = each_max
        self._open: Counter[str] = Counter()

    def open(self, name: str) -> bool:
        """Count one more; False: it is one too many."""
        if self._open[name] >= self.each_max:
            return False
        self._open[name] += 1
        return True

    def close(self, name: str) -> None:
        """Count one less."""
        self._open[name] -= 1
        if self._open[name] <= 0:
            del self._open[name]
