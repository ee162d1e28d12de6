"""The newest alerts, each once, as the alert topic tells their life: OPEN, perhaps again OPEN, CLOSED."""

from __future__ import annotations

import base64
import binascii
import heapq
import json
import math
from collections import Counter
from dataclasses import dataclass
from typing import Any

ALERTS_MAX = 1_000  # newest alerts kept
OPEN_MAX = 200_000  # open alerts counted; further ones are not told apart from their updates

Sorting = tuple[int, str]


@dataclass(slots=True)
class _Kept:
    record: dict[str, Any]
    sorting: Sorting  # (when its first record was written, id): newest last; the same after a restart
    partition: int
    offset: int  # of its newest record


class AlertBook:
    """Alerts by id, newest first. Bounded: the oldest are forgotten, their open ones stay counted."""

    def __init__(self, alerts_max: int = ALERTS_MAX, open_max: int = OPEN_MAX) -> None:
        self.alerts_max, self.open_max = alerts_max, open_max
        self.opened = 0  # alerts opened, ever
        self.closed = 0  # alerts closed, ever
        self.open_of = Counter[str]()  # open alerts per series
        self._open: dict[str, str] = {}  # id → series
        self._kept: dict[str, _Kept] = {}
        self._oldest: list[Sorting] = []  # heap

    def __len__(self) -> int:
        """Return the number of alerts kept."""
        return len(self._kept)

    @property
    def open(self) -> int:
        """Return how many alerts are open."""
        return len(self._open)

    def add(self, alert: dict[str, Any], partition: int, offset: int, written_ms: int) -> None:
        """Keep the newest record of an alert; `written_ms` is its Kafka timestamp."""
        key, series = str(alert["alert_id"]), str(alert["series"])
        alert = {name: _plain(value) for name, value in alert.items()}
        self._count(key, series, alert["state"] == "OPEN")
        kept = self._kept.get(key)
        if kept is not None:
            alert["raised_ms"] = kept.sorting[0]
            alert["detail"] = alert.get("detail") or kept.record.get("detail", "")  # said when it opened
            kept.record, kept.partition, kept.offset = alert, partition, offset
            return
        sorting = (written_ms, key)
        alert["raised_ms"] = written_ms  # what the list is sorted by
        if len(self._kept) >= self.alerts_max:
            if sorting < self._oldest[0]:
                return
            del self._kept[heapq.heappop(self._oldest)[1]]
        self._kept[key] = _Kept(alert, sorting, partition, offset)
        heapq.heappush(self._oldest, sorting)

    def _count(self, key: str, series: str, is_open: bool) -> None:
        was_open = key in self._open
        if is_open and not was_open:
            self.opened += 1
            if len(self._open) < self.open_max:
                self._open[key] = series
                self.open_of[series] += 1
        elif not is_open:
            self.closed += 1
            if was_open:
                del self._open[key]
                self.open_of[series] -= 1
                if not self.open_of[series]:
                    del self.open_of[series]
            else:
                self.opened += 1  # its OPEN record is older than this reader

    def newest(
        self, limit: int, *, state: str | None = None, series: str | None = None, before: str | None = None
    ) -> tuple[list[dict[str, Any]], str | None]:
        """Return up to `limit` alerts, newest first, and the cursor of the next page. Raises ValueError for a bad cursor."""
        edge = cursor_decode(before) if before else None
        found = [
            kept
            for kept in self._kept.values()
            if (state is None or kept.record["state"] == state)
            and (series is None or kept.record["series"] == series)
            and (edge is None or kept.sorting < edge)
        ]
        page = heapq.nlargest(limit + 1, found, key=lambda kept: kept.sorting)
        more = cursor_encode(page[limit - 1].sorting) if len(page) > limit else None
        return [kept.record for kept in page[:limit]], more

    def since(self, position: dict[int, int], limit: int) -> list[dict[str, Any]]:
        """Return alerts whose newest record is at or after `position` {partition: offset}; the newest `limit`, oldest first."""
        found = [kept for kept in self._kept.values() if kept.offset >= position.get(kept.partition, 0)]
        return [kept.record for kept in heapq.nlargest(limit, found, key=lambda kept: kept.sorting)][::-1]


def cursor_encode(place: tuple[Any, ...]) -> str:
    """Return an opaque cursor for a place in a list."""
    return base64.urlsafe_b64encode(json.dumps(place).encode()).decode().rstrip("=")


def cursor_decode(cursor: str) -> tuple[Any, ...]:
    """Read what `cursor_encode` wrote: a number and a text. Raises ValueError for anything else.

    >>> cursor_decode(cursor_encode((7, "a")))
    (7, 'a')
    """
    try:
        number, text = json.loads(base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)))
        return int(number), str(text)
    except (binascii.Error, ValueError, TypeError) as error:
        raise ValueError("this cursor was not given by this API") from error


def _plain(value: Any) -> Any:
    """Return the value as JSON knows it: no NaN; times in ms, since a decoder may hand out datetimes."""
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if hasattr(value, "timestamp"):
        return round(value.timestamp() * 1000)
    return value
