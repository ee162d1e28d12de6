"""Small charts as SVG text, for a page that has no script and fetches nothing. Pure."""

from __future__ import annotations

import math
from collections.abc import Sequence
from html import escape
from typing import NamedTuple

WIDTH, HEIGHT = 640, 220
LEFT, RIGHT, TOP, BOTTOM = 58, 14, 12, 34
TICKS = 5


class Line(NamedTuple):
    """Points joined by a line; None is a gap."""

    name: str
    y: Sequence[float | None]
    css: str  # class: which colour, whether dashed
    steps: bool = False


class Scale(NamedTuple):
    """From numbers to places in the picture."""

    low: float
    high: float
    begin: float  # place of low
    end: float

    def __call__(self, x: float) -> float:
        """Return the place of a number."""
        return self.begin + (x - self.low) / (self.high - self.low) * (self.end - self.begin)


def scale(numbers: Sequence[float], begin: float, end: float, margin: float = 0.05) -> Scale:
    """Return a scale on which all of these have a place."""
    low, high = min(numbers, default=0.0), max(numbers, default=1.0)
    if high <= low:
        low, high = low - 0.5, high + 0.5
    room = (high - low) * margin
    return Scale(low - room, high + room, begin, end)


def ticks(low: float, high: float, most: int = TICKS) -> list[float]:
    """Return round numbers between two.

    >>> ticks(0.0, 9.0), ticks(0.013, 0.022)
    ([0.0, 2.0, 4.0, 6.0, 8.0], [0.014, 0.016, 0.018, 0.02, 0.022])
    """
    rough = (high - low) / most
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(power * of for of in (1.0, 2.0, 5.0, 10.0) if power * of >= rough)
    first = math.ceil(low / step - 1e-9)
    return [round(n * step, 12) for n in range(first, math.floor(high / step + 1e-9) + 1)]


def path(points: Sequence[tuple[float, float | None]], css: str, steps: bool = False) -> str:
    """Return a path through points in the picture."""
    parts, pen = [], False
    for x, y in points:
        if y is None:
            pen = False
            continue
        if pen and steps:
            parts.append(f"H{x:.1f}")
        parts.append(f"{'L' if pen else 'M'}{x:.1f} {y:.1f}")
        pen = True
    return f'<path class="{css}" d="{"".join(parts)}"/>' if parts else ""


def frame(x: Scale, y: Scale, x_ticks: Sequence[tuple[float, str]], x_name: str, y_name: str) -> str:
    """Return axes with numbers."""
    parts = []
    for at in ticks(y.low, y.high):
        parts.append(f'<line class="grid" x1="{x.begin:.1f}" x2="{x.end:.1f}" y1="{y(at):.1f}" y2="{y(at):.1f}"/>')
        parts.append(f'<text class="tick" x="{x.begin - 6:.1f}" y="{y(at) + 4:.1f}" text-anchor="end">{at:g}</text>')
    for place, text in x_ticks:
        anchor = "end" if x(place) > x.end - 30 else "middle"
        parts.append(
            f'<text class="tick" x="{x(place):.1f}" y="{HEIGHT - 18}" text-anchor="{anchor}">{escape(text)}</text>'
        )
    parts.append(f'<line class="axis" x1="{x.begin:.1f}" x2="{x.end:.1f}" y1="{y.begin:.1f}" y2="{y.begin:.1f}"/>')
    parts.append(
        f'<text class="tick" x="{(x.begin + x.end) / 2:.0f}" y="{HEIGHT - 3}" text-anchor="middle">{escape(x_name)}</text>'
    )
    middle = (y.begin + y.end) / 2
    turned = f'transform="rotate(-90 12 {middle:.0f})"'
    parts.append(f'<text class="tick" x="12" y="{middle:.0f}" text-anchor="middle" {turned}>{escape(y_name)}</text>')
    return "".join(parts)


def picture(inside: str, title: str) -> str:
    """Return the whole picture; the title is for those who do not see it."""
    return f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{escape(title)}">{inside}</svg>'


def bars(values: Sequence[float], labels: Sequence[str], x_name: str, y_name: str) -> str:
    """Return a bar for each value."""
    x = Scale(0, max(1, len(values)), LEFT, WIDTH - RIGHT)
    y = scale([0.0, max([1.0, *values])], HEIGHT - BOTTOM, TOP, 0.0)
    wide = max(0.6, (x.end - x.begin) / max(1, len(values)) * 0.8)
    drawn = "".join(
        f'<rect class="bar" x="{x(i + 0.5) - wide / 2:.1f}" y="{y(v):.1f}" width="{wide:.1f}" height="{y(0) - y(v):.1f}">'
        f"<title>{escape(label)}: {v:g}</title></rect>"
        for i, (v, label) in enumerate(zip(values, labels, strict=True))
    )
    every = max(1, math.ceil(len(labels) / 6))
    named = [(i + 0.5, label) for i, label in enumerate(labels) if i % every == 0]
    return picture(frame(x, y, named, x_name, y_name) + drawn, f"{y_name} by {x_name}")


def curve(x_at: Sequence[float], lines: Sequence[Line], mark: float, x_name: str, y_name: str) -> str:
    """Return lines over numbers on a logarithmic axis; `mark` is where a vertical line stands."""
    x = scale([math.log(at) for at in x_at], LEFT, WIDTH - RIGHT, 0.02)
    numbers = [v for line in lines for v in line.y if v is not None]
    y = scale([0.0, *numbers], HEIGHT - BOTTOM, TOP, 0.03)
    places = [x(math.log(at)) for at in x_at]
    drawn = "".join(
        path([(px, None if v is None else y(v)) for px, v in zip(places, line.y, strict=True)], line.css)
        for line in lines
    )
    at = x(math.log(mark))
    drawn += f'<line class="mark" x1="{at:.1f}" x2="{at:.1f}" y1="{TOP}" y2="{HEIGHT - BOTTOM}"/>'
    named = [(math.log(tick), f"{tick:g}") for tick in (0.5, 1.0, 1.5, 2.0, 3.0, 4.0) if x_at[0] <= tick <= x_at[-1]]
    return picture(frame(x, y, named, x_name, y_name) + drawn, f"{y_name} by {x_name}")


def chart(points: Sequence[float | None], lines: Sequence[Line], fired: Sequence[bool], at: int, name: str) -> str:
    """Return a control chart of one statistic: points, lines, the rows on which the rule fires, the one at `at` ringed."""
    numbers = [v for values in (points, *(line.y for line in lines)) for v in values if v is not None]
    x = scale([0.0, float(max(1, len(points) - 1))], LEFT, WIDTH - RIGHT, 0.02)
    y = scale(numbers, HEIGHT - BOTTOM, TOP, 0.08)
    drawn = [
        path([(x(i), None if v is None else y(v)) for i, v in enumerate(line.y)], line.css, line.steps)
        for line in lines
    ]
    places = [(x(i), None if v is None else y(v)) for i, v in enumerate(points)]
    drawn.append(path(places, "through"))
    for i, (px, py) in enumerate(places):
        if py is not None:
            css, r = ("out", 3.6) if fired[i] else ("point", 2.2)
            drawn.append(f'<circle class="{css}" cx="{px:.1f}" cy="{py:.1f}" r="{r}"/>')
            if i == at:
                drawn.append(f'<circle class="ring" cx="{px:.1f}" cy="{py:.1f}" r="7"/>')
    every = [(float(i), f"{i - at:+d}" if i != at else "alert") for i in range(at % 10, len(points), 10)]
    return picture(
        frame(x, y, every, "rows of the series, from the alert on", name) + "".join(drawn), f"{name} around the alert"
    )
