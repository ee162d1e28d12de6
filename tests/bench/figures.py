"""Measured figures beside their goals: what a benchmark gives, and how it is told to people and to programs."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple


class Figure(NamedTuple):
    """A measured figure, and what is asked of it: `goal` at least, or at most, or nothing where it is None."""

    name: str
    value: float
    goal: float | None = None
    at_most: bool = False
    unit: str = "x"

    @property
    def met(self) -> bool:
        """Say whether the goal is met; what has none is."""
        return self.goal is None or bool(self.value <= self.goal if self.at_most else self.value >= self.goal)

    @property
    def asked(self) -> str:
        """Say the goal in words.

        >>> Figure("latency", 80.0, 100.0, at_most=True, unit="ms").asked
        'at most 100 ms'
        """
        return "" if self.goal is None else f"at {'most' if self.at_most else 'least'} {_number(self.goal)} {self.unit}"

    @property
    def told(self) -> str:
        """Say the figure."""
        return f"{_number(self.value)} {self.unit}"

    def __str__(self) -> str:
        """Say all of it in a line."""
        end = f"   {self.asked}" if self.asked else ""
        return f"{self.name:<62}{self.told:>18}{end}{'' if self.met else '   MISSED'}"


def document(figures: Iterable[Figure]) -> list[dict[str, Any]]:
    """Return them for programs."""
    return [{**figure._asdict(), "value": float(figure.value), "met": figure.met} for figure in figures]


def _number(value: float) -> str:
    """Write three digits that count, or all before the point.

    >>> _number(138_824.4), _number(5.678), _number(100.0)
    ('138,824', '5.68', '100')
    """
    return f"{value:,.0f}" if abs(value) >= 99.95 else f"{value:.3g}"
