"""The chart of verdicts, drawn with matplotlib: what `judge` said, as an engineer reads it.

matplotlib is an extra: pip install 'chipquality[plot]'. Nothing else in the program imports it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from models.detector import Detector, Rule, Verdicts

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

LABELS_MAX = 40  # names of rules written into one panel; the points are marked all the same
LABEL_GAP = 0.06  # share of the points in a panel within which a name is not written again
PANEL_HEIGHT, FIRST_PANEL_HEIGHT, WIDTH = 1.7, 2.7, 9.0  # inches
_ZONES = ((1.0 / 3.0, "C"), (2.0 / 3.0, "B"), (1.0, "A"))  # share of the way from centre to limit
_INK, _QUIET, _LIMIT = "#2b3a4a", "#9aa5b1", "#b45309"
_SIGNAL = {"critical": "#c81e1e", "warning": "#e08700"}


def plot(
    verdicts: Verdicts,
    values: Sequence[float] | np.ndarray | None = None,
    *,
    detector: Detector | None = None,
    x: Sequence[object] | np.ndarray | None = None,
    rows: Sequence[int] | np.ndarray | None = None,
    zones: bool = False,
    title: str | None = None,
) -> Figure:
    """Draw the verdicts of one series: a panel per statistic, with its limits as they step, and the signals marked.

    verdicts: of n rows. values: (n,) or (n, p) raw values, for a panel of their own above. detector: gives the statistics and
    rules their names. x: (n,) numbers or times of the rows; 1, 2, … unless given. rows: which rows to draw, as a mask or as
    indices; needed where the verdicts are of several series. zones: draw zones A, B and C, thirds of the way
    from the centre to limits that are as far above it as below.

    A point that was not judged (Phase I) is grey. A signal is red if its rule is critical, else orange; the rule's name
    stands at the first point of a run of signals, unless it stands close before. Returns a figure that belongs to nobody:
    `figure.savefig("x.png")`; a notebook shows it after `%matplotlib inline`. Raises ImportError if matplotlib is not
    installed, ValueError for lengths that do not fit.

    >>> from models import judge
    >>> from models.individuals import IndividualsChart
    >>> chart = IndividualsChart(nelson=(1,))
    >>> figure = plot(judge(chart, [9.8, 10.4, 13.5], mu=10.0, sigma=1.0), detector=chart)
    >>> [axes.get_ylabel() for axes in figure.axes]
    ['x', 'MR']
    """
    figure_type = _figure_type()
    n = len(verdicts.signal)
    chosen = np.arange(n) if rows is None else np.arange(n)[np.asarray(rows)]
    places = np.arange(1, len(chosen) + 1) if x is None else _fitting("x", np.asarray(x), n)[chosen]
    wide = [np.broadcast_to(part, np.shape(verdicts.statistic))[chosen] for part in verdicts[:4]]
    signal, valid = verdicts.signal[chosen], verdicts.valid[chosen]
    names, rules = _names(verdicts, detector)

    first = 0 if values is None else 1
    panels = len(names) + first
    heights = [PANEL_HEIGHT if panel != first else FIRST_PANEL_HEIGHT for panel in range(panels)]
    figure = figure_type(figsize=(WIDTH, sum(heights) + 0.3), layout="constrained")
    every = figure.subplots(panels, 1, sharex=True, squeeze=False, height_ratios=heights)[:, 0]
    if values is not None:
        raw = np.asarray(values, np.float64)
        for column in raw.T if raw.ndim == 2 else (raw,):
            _line(every[0], places, _fitting("values", column, n)[chosen], "value")
    for j, name in enumerate(names):
        axes = every[first + j]
        statistic, centre, lcl, ucl = (part[:, j] for part in wide)
        _limits(axes, places, centre, lcl, ucl)
        if zones:
            _draw_zones(axes, places, centre, lcl, ucl)
        _line(axes, places, statistic, name)
        _phase_one(axes, places, statistic, valid)
        _signals(
            axes, places, statistic, signal, [(bit, rule) for bit, rule in enumerate(rules) if rule.statistic == j]
        )
    every[-1].set_xlabel("sample" if x is None else "")
    if title is None and detector is not None:
        title = detector.name
    if title is not None:
        figure.suptitle(title, fontsize=10, color=_INK)
    return figure


def _figure_type() -> type[Figure]:
    try:
        from matplotlib.figure import Figure  # noqa: PLC0415 - an extra, loaded when something is drawn
    except ImportError as error:
        raise ImportError("models.plot needs matplotlib: pip install 'chipquality[plot]'") from error
    return Figure


def _fitting(name: str, array: np.ndarray, n: int) -> np.ndarray:
    if array.shape != (n,):
        raise ValueError(f"{name} has shape {array.shape}: the verdicts are of {n} rows")
    return array


def _names(verdicts: Verdicts, detector: Detector | None) -> tuple[tuple[str, ...], tuple[Rule, ...]]:
    """Return the names of the statistics, and the rules; without a detector, numbers, all of the first statistic."""
    q = verdicts.statistic.shape[1]
    if detector is None:
        names = ("statistic",) if q == 1 else tuple(f"statistic {j + 1}" for j in range(q))
        return names, tuple(Rule(f"rule {bit + 1}", "") for bit in range(32))
    if len(detector.statistics) != q:
        raise ValueError(f"{detector.name} has {len(detector.statistics)} statistics, the verdicts have {q}")
    return detector.statistics, detector.rules


def _line(axes: Axes, places: np.ndarray, statistic: np.ndarray, name: str) -> None:
    there = np.isfinite(statistic)
    axes.plot(places[there], statistic[there], color=_INK, linewidth=0.9, marker="o", markersize=3, gid="statistic")
    axes.set_ylabel(name)
    axes.grid(axis="y", color="#eef1f4", linewidth=0.6)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)


def _phase_one(axes: Axes, places: np.ndarray, statistic: np.ndarray, valid: np.ndarray) -> None:
    learned = np.isfinite(statistic) & ~valid
    if learned.any():
        axes.plot(places[learned], statistic[learned], "o", color=_QUIET, markersize=3.4, gid="not judged")


def _limits(axes: Axes, places: np.ndarray, centre: np.ndarray, lcl: np.ndarray, ucl: np.ndarray) -> None:
    for name, limit, style, colour in (
        ("centre", centre, "-", _QUIET),
        ("lcl", lcl, "--", _LIMIT),
        ("ucl", ucl, "--", _LIMIT),
    ):
        there = np.isfinite(limit)
        if there.any():
            axes.step(
                places[there], limit[there], where="mid", linestyle=style, color=colour, linewidth=1.0, gid=name
            )  # fmt: skip


def _draw_zones(axes: Axes, places: np.ndarray, centre: np.ndarray, lcl: np.ndarray, ucl: np.ndarray) -> None:
    """Draw the lines between the zones where the limits are even, and their letters at the right end of both sides."""
    with np.errstate(invalid="ignore"):
        even = np.abs((ucl - centre) - (centre - lcl)) <= 1e-9 * np.abs(ucl - lcl)
    there = np.flatnonzero(even & (ucl > lcl))
    if not len(there):
        return
    for limit in (lcl, ucl):
        for share, letter in _ZONES:
            line = centre[there] + share * (limit[there] - centre[there])
            if share < 1.0:
                axes.step(places[there], line, where="mid", linestyle=":", color=_QUIET, linewidth=0.7, gid="zone")
            middle = line[-1] - (limit[there[-1]] - centre[there[-1]]) / 6.0
            axes.annotate(
                letter, (1.005, middle), xycoords=("axes fraction", "data"), va="center", fontsize=7, color=_QUIET,
                gid="zone letter",
            )  # fmt: skip


def _signals(
    axes: Axes, places: np.ndarray, statistic: np.ndarray, signal: np.ndarray, rules: Sequence[tuple[int, Rule]]
) -> None:
    """Mark the points where a rule of this panel fired; name the rules where they begin to."""
    seen = np.flatnonzero(np.isfinite(statistic))
    fired = (signal[seen, None] >> np.array([bit for bit, _ in rules], np.uint32)) & 1 != 0  # (points, rules)
    critical = np.array([rule.severity == "critical" for _, rule in rules], np.bool_)
    worst = (fired & critical).any(axis=1)
    for severity, which in (("warning", fired.any(axis=1) & ~worst), ("critical", worst)):
        at = seen[which]
        if len(at):
            axes.plot(places[at], statistic[at], "o", color=_SIGNAL[severity], markersize=5.5, gid=severity)
    before = np.vstack([np.zeros((1, len(rules)), np.bool_), fired[:-1]]) if len(fired) else fired
    begins = fired & ~before
    gap, written = LABEL_GAP * len(seen), dict.fromkeys(range(len(rules)), -np.inf)
    labels = 0
    for point in np.flatnonzero(begins.any(axis=1)).tolist():
        new = [j for j in np.flatnonzero(begins[point]).tolist() if point - written[j] > gap]
        if not new or labels == LABELS_MAX:
            continue
        labels += 1
        written.update(dict.fromkeys(new, point))
        axes.annotate(
            ", ".join(rules[j][1].name for j in new), (places[seen[point]], statistic[seen[point]]), xytext=(4, 5),
            textcoords="offset points", fontsize=7, color=_SIGNAL["critical" if worst[point] else "warning"], gid="rule",
            bbox={"facecolor": "white", "edgecolor": "none", "alpha": 0.7, "pad": 0.4}, zorder=5,
        )  # fmt: skip
