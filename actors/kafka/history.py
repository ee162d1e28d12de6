"""Past rows of one series, read from the input topic: what limits are computed from.

A topic holds many series, so rows are looked for backwards from the end, in windows that double: what was measured last is found
soon, and a series with few rows does not make anyone read the topic forwards from its beginning. At most SCAN_RECORDS_MAX records
are looked at.
"""

from __future__ import annotations

import difflib
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from actors.errors import ConfigError, ReopenError
from actors.kafka.admin import Admin
from actors.kafka.client import Cluster
from actors.kafka.consumer import PartitionReader
from models.limit_versions import ChangeRefused
from schemas.batch import RawBatch, SeriesDictionary, after, cut
from schemas.decode import MeasurementDecoder

SCAN_RECORDS_MAX = 2_000_000
WINDOW_RECORDS = 20_000  # of the first window, over all partitions
READ_TIMEOUT_S = 60.0  # of one window
CLOCK_SLACK_MS = 60 * 60 * 1000  # a record published so long before a time is taken to be of an event before it
_POLL_ROWS = 10_000
_CARRIED = ("lsl", "usl", "target")
_DECODE_ROWS = 100_000  # at a time; of records of many samples fewer records


class Bound(NamedTuple):
    """Where history begins or ends: an input offset, or an event time; either way it belongs to it."""

    offset: int | None = None
    time_ms: int | None = None


@dataclass(frozen=True)
class History:
    """Rows of one series in log order; all arrays are (n,)."""

    series: str
    partition: int
    offset: np.ndarray  # int64
    event_time_ms: np.ndarray  # int64
    value: np.ndarray  # float64, NaN = missing
    subgroup: np.ndarray  # int64, -1 = none
    lsl: np.ndarray  # float64, as the row carries it, NaN = it does not; so are the next two
    usl: np.ndarray
    target: np.ndarray

    def __len__(self) -> int:
        """Return the number of rows, n."""
        return len(self.offset)


class _Rows(NamedTuple):
    """Decoded columns of one series between two offsets, and when the first record there was published."""

    columns: tuple[np.ndarray, ...]  # as those of History, from `offset` on
    published_ms: int


class HistoryReader:
    """Reads the input topic for people. `schema_of` is the registry's."""

    def __init__(
        self,
        cluster: Cluster,
        group: str,
        topic: str,
        schema_of: Callable[[int], Any],
        *,
        window: int = WINDOW_RECORDS,
        scan_max: int = SCAN_RECORDS_MAX,
    ) -> None:
        self.topic = topic
        self.window = window
        self.scan_max = scan_max
        self._cluster = cluster
        self._group = group
        self._decoder = MeasurementDecoder(schema_of)
        self._series = SeriesDictionary()  # of what was read, over all partitions

    def rows(
        self, series: str, *, partition: int | None, rows: int, since: Bound | None = None, until: Bound | None = None
    ) -> History:
        """Return the last `rows` rows of a series up to `until`, or all from `since` on.

        Raises ChangeRefused if there is none, or the series stands in several partitions and none is named.
        """
        low, start = self._spans(partition)
        if until is not None and until.offset is not None:
            start = {p: max(low[p], min(end, until.offset + 1)) for p, end in start.items()}
        if since is not None and since.offset is not None:
            low = {p: max(first, since.offset) for p, first in low.items()}
        found: dict[int, list[_Rows]] = {}
        window, looked_at = self.window, 0
        while looked_at < self.scan_max:
            share = max(1, window // len(start))
            spans = {p: (max(low[p], end - share), end) for p, end in start.items() if end > low[p]}
            if not spans:
                return self._history(series, found, rows, since, until)
            for p, part in self._read(spans, series).items():
                if len(part.columns[0]):
                    found.setdefault(p, []).insert(0, part)
                past = (
                    since is not None
                    and since.time_ms is not None
                    and part.published_ms < since.time_ms - CLOCK_SLACK_MS
                )
                start[p] = low[p] if past else spans[p][0]
            if len(found) > 1:
                raise ChangeRefused(f"{series} stands in partitions {sorted(found)} of {self.topic}: name one of them")
            if found:
                start = {p: end for p, end in start.items() if p in found}
            if (
                since is None
                and sum(len(_within(part, None, until)[0]) for parts in found.values() for part in parts) >= rows
            ):
                return self._history(series, found, rows, since, until)
            looked_at += sum(end - first for first, end in spans.values())
            window *= 2
        if since is not None:
            raise ChangeRefused(
                f"--from: more than {self.scan_max} records of {self.topic} come after it; name a later one"
            )
        return self._history(series, found, rows, since, until, among=f" among its newest {looked_at} records")

    def at(self, series: str, offset: int, partition: int | None) -> History:
        """Return the row of a series at an offset. Raises ChangeRefused if it is not there."""
        low, end = self._spans(partition)
        spans = {p: (offset, offset + 1) for p in low if low[p] <= offset < end[p]}
        found = {p: part for p, part in self._read(spans, series).items() if len(part.columns[0])}
        if not found:
            there = sorted(key for key in self._series.keys if key != series)
            what = f"there is {' and '.join(there)}" if there else "nothing is there"
            raise ChangeRefused(f"offset {offset} of {self.topic} is no row of {series}: {what}")
        if len(found) > 1:
            raise ChangeRefused(f"{series} stands in partitions {sorted(found)} of {self.topic}: name one of them")
        ((p, part),) = found.items()
        return History(series, p, *part.columns)

    def series(self, records: int) -> list[str]:
        """Return the keys of the series among the newest `records` records, sorted."""
        low, end = self._spans(None)
        share = max(1, records // len(end))
        self._read({p: (max(low[p], end[p] - share), end[p]) for p in end if end[p] > low[p]}, "")
        return sorted(key for key in self._series.keys if key)

    def _spans(self, partition: int | None) -> tuple[dict[int, int], dict[int, int]]:
        """Return the first offset and the end of the partitions to look at."""
        topics = Admin(self._cluster.bootstrap_servers, self._cluster.client).topics([self.topic])
        if not topics:
            raise ConfigError(f"there is no topic {self.topic}: `chipquality topics apply` makes it")
        there = {part["partition"]: part for part in topics[0]["partitions"] if part["high"] is not None}
        if partition is not None and partition not in there:
            raise ChangeRefused(f"{self.topic} has no partition {partition}")
        if not there:
            raise ReopenError(f"no partition of {self.topic} answers")
        chosen = [partition] if partition is not None else sorted(there)
        return {p: there[p]["low"] for p in chosen}, {p: there[p]["high"] for p in chosen}

    def _read(self, spans: Mapping[int, tuple[int, int]], series: str) -> dict[int, _Rows]:
        """Return the rows of a series between offsets [first, end) of partitions."""
        parts: dict[int, list[tuple[np.ndarray, ...]]] = {partition: [] for partition in spans}
        published = {partition: np.iinfo(np.int64).max for partition in spans}
        reader = PartitionReader(self._cluster, self._group, self.topic)
        deadline = time.monotonic() + READ_TIMEOUT_S
        open_ends = {partition: end for partition, (_, end) in spans.items()}
        try:
            reader.assign({partition: first for partition, (first, _) in spans.items()})
            while open_ends:
                polled = reader.poll(_POLL_ROWS, 0.1)
                for partition, why in polled.lost.items():
                    raise ReopenError(f"{self.topic}:{partition}: {why}")
                for raw in polled.batches:
                    if raw.partition in open_ends:
                        if len(raw):
                            published[raw.partition] = min(published[raw.partition], int(raw.timestamp_ms[0]))
                        parts[raw.partition].append(self._of_series(cut(raw, [open_ends[raw.partition]])[0], series))
                        if raw.next_offset >= open_ends[raw.partition]:
                            del open_ends[raw.partition]
                if open_ends and time.monotonic() > deadline:
                    raise ReopenError(f"{self.topic}: offsets {open_ends} not reached in {READ_TIMEOUT_S:g} s")
        finally:
            reader.close()
        return {p: _Rows(_joined(columns), published[p]) for p, columns in parts.items()}

    def _of_series(self, raw: RawBatch, series: str) -> tuple[np.ndarray, ...]:
        code = self._series.code(series)
        parts: list[tuple[np.ndarray, ...]] = []
        rest: RawBatch | None = raw
        while rest is not None:
            batch = self._decoder.decode(rest, self._series, rows_max=_DECODE_ROWS)
            mine = batch.series == code
            carried = (batch.columns[name] for name in _CARRIED)
            columns = (batch.offset, batch.event_time_ms, batch.value, batch.subgroup, *carried)
            parts.append(tuple(column[mine] for column in columns))
            rest = after(rest, batch.next_offset)
        return _joined(parts)

    def _history(
        self,
        series: str,
        found: Mapping[int, list[_Rows]],
        rows: int,
        since: Bound | None,
        until: Bound | None,
        among: str = "",
    ) -> History:
        for p, parts in found.items():
            columns = _joined(_within(part, since, until) for part in parts)
            if since is None:
                columns = tuple(column[-rows:] for column in columns)
            if len(columns[0]):
                return History(series, p, *columns)
        others = [key for key in self._series.keys if key != series]
        near = [key for key in others if key.endswith(f"|{series}")] or difflib.get_close_matches(series, others, 1)
        hint = f"; is it {near[0]}?" if near else ""
        raise ChangeRefused(f"no row of series {series} was found in {self.topic}{among}{hint}")


def _joined(parts: Iterable[tuple[np.ndarray, ...]]) -> tuple[np.ndarray, ...]:
    listed = list(parts)
    if not listed:
        none, no_number = np.zeros(0, np.int64), np.zeros(0)
        return none, none, no_number, none, no_number, no_number, no_number
    return tuple(np.concatenate(column) for column in zip(*listed, strict=True))


def _within(part: _Rows, since: Bound | None, until: Bound | None) -> tuple[np.ndarray, ...]:
    """Return the columns of the rows between the bounds."""
    offset, event_time_ms = part.columns[:2]
    keep = np.ones(len(offset), np.bool_)
    if since is not None:
        keep &= (offset >= (since.offset or 0)) & (event_time_ms >= (since.time_ms or np.iinfo(np.int64).min))
    if until is not None:
        keep &= offset <= (np.iinfo(np.int64).max if until.offset is None else until.offset)
        keep &= event_time_ms <= (np.iinfo(np.int64).max if until.time_ms is None else until.time_ms)
    return tuple(column[keep] for column in part.columns)
