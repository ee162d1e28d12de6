"""The newest alerts, each once: what the alert topic says of the signal, joined to what people have done about it.

An alert is OPEN, perhaps again OPEN, then CLOSED by the pipeline when the signal is over. Its life (models/alert_life.py) is a
thing of its own, from another topic, and may come before the alert or after it; both are told side by side, `state` and `life`.
"""

from __future__ import annotations

import bisect
import math
from collections import Counter, OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import islice
from typing import Any, NamedTuple

from actors import cursors
from actors.view.pareto import Tally
from models.alert_life import Life, to_json
from schemas.batch import split_series_key

ALERTS_MAX = 10_000  # newest alerts kept
LIVES_MAX = 50_000  # newest lives kept, beside those of alerts that are kept
_FORGET_SHARE = 64  # when there are too many lives, a 64th of them is forgotten at once
LISTED_HISTORY_MAX = 10  # newest actions of an alert in a list; one alert has them all
OPEN_MAX = 200_000  # open alerts counted; further ones are not told apart from their updates

PARETO_BY = ("rule", "detector", "tool", "characteristic", "lot", "severity", "cause", "status")

Sorting = tuple[int, str]
_LIVES = -1  # beside partitions of the alert topic


class Chosen(NamedTuple):
    """Which alerts are asked for; None: whichever."""

    state: str | None = None  # of the signal: OPEN, CLOSED
    series: str | None = None
    status: str | None = None  # of the life
    severity: str | None = None
    detector: str | None = None  # its name, or its identity
    tool: str | None = None  # first part of the series key

    def takes(self, kept: _Kept, book: AlertBook) -> bool:
        """Tell whether an alert of a book is asked for."""
        alert = kept.record
        return (
            self.state in (None, alert["state"])
            and self.severity in (None, alert["severity"])
            and self.series in (None, alert["series"])
            and (self.detector is None or self.detector in (alert["detector"], kept.name))
            and self.tool in (None, kept.tool)
            and (self.status is None or self.status == book.status(alert["alert_id"]))
        )


ALL = Chosen()


@dataclass(slots=True)
class _Kept:
    record: dict[str, Any]
    sorting: Sorting  # (when its first record was written, id): newest last; the same after a restart
    partition: int
    first: int  # offset of its first record
    offset: int  # of its newest record
    name: str  # of the detector
    tool: str


class News(NamedTuple):
    """Alerts that have changed, and how far that is all: `limit` may leave some for the next time."""

    items: list[dict[str, Any]]  # oldest first
    read: dict[int, int]  # partition → where to go on, of those that have more
    lives_read: int | None  # likewise, of the lives' topic
    complete: bool  # False: some were raised since, and are not kept any more


class _KeptLife(NamedTuple):
    life: Life
    offset: int  # of its newest record


class AlertBook:
    """Alerts by id, newest first. Bounded: the oldest are forgotten, their open ones stay counted."""

    def __init__(self, alerts_max: int = ALERTS_MAX, open_max: int = OPEN_MAX, lives_max: int = LIVES_MAX) -> None:
        self.alerts_max, self.open_max, self.lives_max = alerts_max, open_max, lives_max
        self.opened = 0  # alerts opened, ever
        self.closed = 0  # alerts closed, ever
        self.open_of = Counter[str]()  # open alerts per series
        self._open: dict[str, str] = {}  # id → series
        self._kept: dict[str, _Kept] = {}
        self._order: list[Sorting] = []  # of what is kept, oldest first
        self._changed: dict[int, OrderedDict[str, None]] = {}  # partition → ids, in the order of their newest records
        self._lives: OrderedDict[str, _KeptLife] = OrderedDict()  # in the order of their newest records
        self._forgotten: dict[int, int] = {}  # partition → newest first record of the alerts that are not kept any more

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
            self._note(partition, key)
            return
        sorting = (written_ms, key)
        alert["raised_ms"] = written_ms  # what the list is sorted by
        if len(self._kept) >= self.alerts_max:
            if sorting < self._order[0]:
                return
            gone = self._order.pop(0)[1]
            forgotten = self._kept.pop(gone)
            self._changed[forgotten.partition].pop(gone, None)
            before = self._forgotten.get(forgotten.partition, -1)
            self._forgotten[forgotten.partition] = max(before, forgotten.first)
        self._kept[key] = _Kept(alert, sorting, partition, offset, offset, _name(alert), _tool(alert))
        bisect.insort(self._order, sorting)  # nearly always the last
        self._note(partition, key)

    def _note(self, partition: int, key: str) -> None:
        changed = self._changed.setdefault(partition, OrderedDict())
        changed[key] = None
        changed.move_to_end(key)

    def add_life(self, life: Life, offset: int) -> None:
        """Keep the newest record of an alert's life; that of an alert that is not kept only as long as there is room."""
        self._lives[life.alert_id] = _KeptLife(life, offset)
        self._lives.move_to_end(life.alert_id)
        if len(self._lives) > self.lives_max + len(self._kept):
            idle = (key for key in self._lives if key not in self._kept)
            for key in list(islice(idle, max(1, self.lives_max // _FORGET_SHARE))):
                del self._lives[key]

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
        self, limit: int, chosen: Chosen = ALL, *, before: str | None = None
    ) -> tuple[list[dict[str, Any]], str | None]:
        """Return up to `limit` alerts, newest first, and the cursor of the next page. Raises ValueError for a bad cursor."""
        edge = (
            bisect.bisect_left(self._order, cursors.decode(before, cursors.number_and_text))
            if before
            else len(self._order)
        )
        page: list[_Kept] = []
        for at in range(edge - 1, -1, -1):
            kept = self._kept[self._order[at][1]]
            if chosen.takes(kept, self):
                page.append(kept)
                if len(page) > limit:
                    break
        more = cursors.encode(page[limit - 1].sorting) if len(page) > limit else None
        return [self._told(kept.record) for kept in page[:limit]], more

    def one(self, alert_id: str) -> dict[str, Any] | None:
        """Return an alert with its whole life; None if it is not kept."""
        kept = self._kept.get(alert_id)
        if kept is None:
            return None
        life = self._lives.get(alert_id)
        return kept.record | {"life": to_json(life.life if life else None)}

    def version(self, alert_id: str) -> int:
        """Return the version of an alert's life; 0: nobody has done anything yet."""
        life = self._lives.get(alert_id)
        return life.life.version if life else 0

    def since(self, position: dict[int, int], limit: int, life_offset: int | None = None) -> News:
        """Return alerts that have changed at or after `position` {partition: offset}, `limit` at most.

        `life_offset`: those too whose life has changed at or after this offset of its topic. Where there are more, each partition
        (and the lives) tells its oldest records first, and where to go on: nothing is left out for good.
        """
        places = {partition: self._after(ids, position.get(partition, 0)) for partition, ids in self._changed.items()}
        if life_offset is not None:
            places[_LIVES] = self._lives_after(life_offset)
        shares = _shares({source: len(found) for source, found in places.items()}, limit)
        more = {source: found[shares[source]][0] for source, found in places.items() if shares[source] < len(found)}
        keys = {key for source, found in places.items() for _, key in found[: shares[source]]}
        told = sorted((self._kept[key] for key in keys), key=lambda kept: kept.sorting)
        return News(
            [self._told(kept.record) for kept in told],
            {source: offset for source, offset in more.items() if source != _LIVES},
            more.get(_LIVES),
            all(position.get(partition, 0) > newest for partition, newest in self._forgotten.items()),
        )

    def _after(self, ids: OrderedDict[str, None], offset: int) -> list[tuple[int, str]]:
        """Return (offset, id) of what has changed, oldest first."""
        found: list[tuple[int, str]] = []
        for key in reversed(ids):
            if self._kept[key].offset < offset:
                break
            found.append((self._kept[key].offset, key))
        return found[::-1]

    def _lives_after(self, offset: int) -> list[tuple[int, str]]:
        found: list[tuple[int, str]] = []
        for key, life in reversed(self._lives.items()):
            if life.offset < offset:
                break
            if key in self._kept:
                found.append((life.offset, key))
        return found[::-1]

    def pareto(self, by: str, since_ms: int, limit: int, chosen: Chosen = ALL) -> dict[str, Any]:
        """Return the Pareto table of the alerts that were raised since then, by one of PARETO_BY."""
        tally = Tally()
        for key, kept in self._kept.items():
            if kept.sorting[0] >= since_ms and chosen.takes(kept, self):
                tally.add(self._group(by, key, kept))
        return tally.table(limit)

    def _group(self, by: str, key: str, kept: _Kept) -> str:
        life, alert = self._lives.get(key), kept.record
        if by == "cause":
            return (life.life.cause if life else None) or "no cause named"
        if by == "status":
            return self.status(key)
        if by == "tool":
            return kept.tool
        if by == "characteristic":
            return split_series_key(alert["series"])[-1] if alert["series"] else "a whole partition"
        if by == "detector":
            return kept.name
        return str(alert[by]) or f"no {by} named"

    def status(self, alert_id: str) -> str:
        """Return how far people are with an alert."""
        life = self._lives.get(alert_id)
        return life.life.status.value if life else "open"

    def _told(self, alert: dict[str, Any]) -> dict[str, Any]:
        life = self._lives.get(alert["alert_id"])
        return alert | {"life": to_json(life.life if life else None, LISTED_HISTORY_MAX)}


def _shares(counts: Mapping[int, int], limit: int) -> dict[int, int]:
    """Return how many of each may be told: what few have and do not need is for the others.

    >>> _shares({0: 2, 1: 50, 2: 60}, 22)
    {0: 2, 1: 10, 2: 10}
    """
    shares: dict[int, int] = {}
    for done, source in enumerate(sorted(counts, key=lambda source: counts[source])):
        shares[source] = min(counts[source], max(1, (limit - sum(shares.values())) // (len(counts) - done)))
    return shares


def _name(alert: dict[str, Any]) -> str:
    return str(alert["detector"]).partition("@")[0]


def _tool(alert: dict[str, Any]) -> str:
    return split_series_key(alert["series"])[0] if alert["series"] else "a whole partition"


def _plain(value: Any) -> Any:
    """Return the value as JSON knows it: no NaN; times in ms, since a decoder may hand out datetimes."""
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if hasattr(value, "timestamp"):
        return round(value.timestamp() * 1000)
    return value
