"""The measures of a backtest, slow and obvious: a row after the other, a list of rows for every question."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple


class Row(NamedTuple):
    """One row of a partition, in log order, and what the detector said of it."""

    partition: int
    series: str
    at: int  # event time
    lot: str
    wafer: str
    statistic: tuple[float, ...]
    centre: tuple[float, ...]
    lcl: tuple[float, ...]
    ucl: tuple[float, ...]
    signal: int
    valid: bool


class Wanted(NamedTuple):
    """A label; a series is named whole, or "*"."""

    series: str
    lot: str
    wafer: str
    begin: int | None
    end: int | None


def belongs(row: Row, label: Wanted) -> bool:
    return (
        label.series in {"*", row.series}
        and label.lot in {"", row.lot}
        and label.wafer in {"", row.wafer}
        and (label.begin is None or row.at >= label.begin)
        and (label.end is None or row.at < label.end)
    )


def out(row: Row) -> float:
    found = -math.inf
    for s, c, low, high in zip(row.statistic, row.centre, row.lcl, row.ucl, strict=True):
        base = 0.0 if math.isnan(c) else c
        if s >= base and not math.isnan(high):
            away, width = s - base, high - base
        elif s < base and not math.isnan(low):
            away, width = base - s, base - low
        else:
            continue
        if width > 0:
            found = max(found, away / width)
        elif width == 0 and away > 0:
            found = math.inf
    return found


def incidents(rows: Sequence[Row], fires: Sequence[bool], labels: Sequence[Wanted], clean_rows: int) -> tuple[int, int]:
    """Return how many incidents there are, and how many of them are false alarms."""
    total = false = 0
    for series in {(row.partition, row.series) for row in rows}:
        ours = [(row, fired) for row, fired in zip(rows, fires, strict=True)
                if (row.partition, row.series) == series and row.valid]  # fmt: skip
        while any(fired for _, fired in ours):
            first = next(i for i, (_, fired) in enumerate(ours) if fired)
            clean, end, members = 0, len(ours), []
            for i in range(first, len(ours)):
                row, fired = ours[i]
                clean = 0 if fired else clean + 1
                if fired:
                    members.append(row)
                if clean == clean_rows:
                    end = i + 1
                    break
            total += 1
            false += not any(belongs(row, label) for row in members for label in labels)
            ours = ours[end:]
    return total, false


def found(rows: Sequence[Row], label: Wanted) -> dict[str, object]:
    """Return what came of a label."""
    ours = [row for row in rows if row.valid and belongs(row, label)]
    if not ours:
        return {"result": "not judged", "delay_ms": None, "delay_rows": None}
    begin = min(row.at for row in ours) if label.begin is None else label.begin
    firsts = []
    for partition in sorted({row.partition for row in ours}):
        of = [row for row in ours if row.partition == partition]
        signals = [i for i, row in enumerate(of) if row.signal]
        if signals:
            firsts.append((of[signals[0]].at, signals[0]))
    if not firsts:
        return {"result": "missed", "delay_ms": None, "delay_rows": None}
    at, before = min(firsts, key=lambda first: first[0])
    return {"result": "found", "delay_ms": at - begin, "delay_rows": before}
