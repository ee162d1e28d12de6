"""What is set aside, said as plainly as possible: a list of ids, a maximum, one row after the other."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from actors.engine.arrivals import Arrivals


class Row(NamedTuple):
    """One decoded row as it arrives."""

    event_id: str  # "" = none
    event_time_ms: int
    published_ms: int  # Kafka's timestamp; -1 = none


def fates(rows: Iterable[Row], settings: Arrivals) -> tuple[list[str], list[str], int | None]:
    """Return what becomes of each row ("" = it is folded), the ids that are remembered at last, and the watermark."""
    ids: list[str] = []
    watermark: int | None = None
    said = []
    for row in rows:
        if settings.dedupe_window is not None and row.event_id and row.event_id in ids:
            said.append("duplicate")
        elif (
            settings.max_ahead_ms is not None
            and row.published_ms >= 0
            and row.event_time_ms > row.published_ms + settings.max_ahead_ms
        ):
            said.append("ahead")
        elif (
            settings.allowed_lateness_ms is not None
            and watermark is not None
            and row.event_time_ms < watermark - settings.allowed_lateness_ms
        ):
            said.append("late")
        else:
            said.append("")
            watermark = row.event_time_ms if watermark is None else max(watermark, row.event_time_ms)
            if settings.dedupe_window is not None and row.event_id:
                ids = [*ids, row.event_id][-settings.dedupe_window :]
    return said, ids, watermark
