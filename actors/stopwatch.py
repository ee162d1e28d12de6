"""How long the parts of something took."""

from __future__ import annotations

from collections.abc import Callable


class Stopwatch:
    """Times parts that follow one another.

    >>> times = iter([10.0, 10.25, 12.0])
    >>> watch = Stopwatch(lambda: next(times))
    >>> watch.lap("deal")
    >>> watch.lap("state")
    >>> str(watch)
    'deal 0.25 s, state 1.75 s'
    """

    def __init__(self, now: Callable[[], float]) -> None:
        self._now = now
        self._at = now()
        self.parts: dict[str, float] = {}

    def lap(self, part: str) -> None:
        """Say what the time since the last lap was for."""
        before, self._at = self._at, self._now()
        self.parts[part] = self._at - before

    def __str__(self) -> str:
        return ", ".join(f"{part} {seconds:.2f} s" for part, seconds in self.parts.items())
