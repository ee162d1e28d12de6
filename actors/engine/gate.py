"""What came twice, too late or from a wrong clock: set aside between decoding and judging.

Theory of operation
-------------------
    decoded rows ──sort_out──▶ rows to judge, and what is set aside with a reason

Rows are looked at one by one, in offset order; the first that holds:

1. `duplicate`: its event id is one of the last `dedupe_window` ids of rows that were folded. The first seen wins.
2. `ahead`: its event time is more than `max_ahead_ms` after its Kafka timestamp, which stands in the log.
3. `late`: its event time is more than `allowed_lateness_ms` behind the watermark as it was before the row.
4. else it is folded: its id is remembered, and the watermark is the larger of itself and the row's event time.

So the *watermark* of a partition is the largest event time that was folded; what is set aside neither moves it nor is remembered
(a record that is sent again under its id with its clock put right is judged). A dead letter is no row and never comes here. A row
without a value ("missing") and an excluded one are rows like others. A row with an empty event id is never a duplicate.

A record with many samples, in order of time, is looked at once, and is set aside or folded whole: it has one event id; it is late
if its first sample is, ahead if its last one is; and folded it moves the watermark to its last one.

Nothing here depends on a clock of ours or on how the log is cut into batches: one loop over rows, on state that is part of the
partition's. That state is two tables of pages of the family `engine` (actors/engine/state.py): one row with the settings, the
watermark and the number of ids so far, and a ring of the ids, id i in row i % window. An index finds an id in the ring; it is a
cache, rebuilt when the ring is restored.

Settings are part of the state too, because a replay has to do what was done. Others that the configuration gives hold from the
offset of a snapshot on: at once after a clean stop, else from the next snapshot. `settle` then starts the watermark anew, so
that a watermark that a wrong clock has driven away is gone with the change that is made against it, and keeps the newest ids.

An id is its 63-bit hash: a row is taken for a duplicate by mistake with probability window / 2^63: with a window of 100,000
and a billion rows a day, once in 250 years.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np

from actors.engine.arrivals import Arrivals
from actors.engine.state import Page, StateTable
from actors.errors import StateError
from models.detector import Column
from models.kernel import kernel
from schemas.batch import DeadLetter, MicroBatch, RawBatch, Reason, first_rows
from schemas.reading import NO_EVENT_ID, read_only, reject
from schemas.texts import Texts

FAMILY = "engine"  # of pages that are the fold's own, not a detector's
_NEVER = -(2**63)  # watermark when nothing was folded
_OFF = -1
_TABLE, _IDS = "arrivals@1", "arrivals.ids@1"
_FOLDED, _DUPLICATE, _AHEAD, _LATE = 0, 1, 2, 3
_SETTINGS = ("dedupe_window", "allowed_lateness_ms", "max_ahead_ms")
_COLUMNS = ("offset", "event_time_ms", "published_ms", "series", "value", "subgroup")
_NO_IDS = read_only(np.zeros(0, np.int64))


class Gate:
    """The arrivals of one partition: settings, watermark and remembered ids, through snapshots and replays.

    >>> batch = MicroBatch("t", 0, np.arange(4), 4, np.array([10, 50, 20, 55]), np.zeros(4, np.int64), np.zeros(4, np.int32),
    ...                    np.zeros(4), np.full(4, -1), {"event_id": np.array([1, 2, 3, 2])})
    >>> raw = RawBatch("t", 0, np.arange(4), np.zeros(4, np.int64), [None] * 4, [b""] * 4, 4)
    >>> gate = Gate(Arrivals(dedupe_window=100, allowed_lateness_ms=20))
    >>> pages = gate.settle(0)
    >>> kept, aside = gate.sort_out(raw, batch)
    >>> kept.offset.tolist(), [(row.offset, str(row.reason)) for row in aside], gate.watermark_ms
    ([0, 1], [(2, 'late'), (3, 'duplicate')], 50)
    """

    def __init__(self, configured: Arrivals, pages: Iterable[Page] = ()) -> None:
        """Take the state that a snapshot left in pages. Raises StateError if they do not fit together."""
        self.configured = configured
        self.settings = Arrivals()  # those that hold
        self._watermark, self._count = _NEVER, 0
        self._table = StateTable(FAMILY, _TABLE, dict.fromkeys((*_SETTINGS, "watermark", "count"), Column("i8")))
        self._ring = self._new_ring()
        self._restore([page for page in pages if page.family == FAMILY])
        if configured.on:  # compiled before the first row
            _sort(
                _NO_IDS,
                _NO_IDS,
                _NO_IDS,
                _NO_IDS,
                *_warm(),
                1,
                0,
                0,
                0,
                0,
                np.zeros(0, np.uint8),
                np.zeros(0, np.int64),
            )

    @property
    def wants_ids(self) -> bool:
        """Say whether batches have to have the column `event_id`."""
        return (self.settings.dedupe_window or self.configured.dedupe_window) is not None

    @property
    def watermark_ms(self) -> int | None:
        """Return the largest event time folded since the settings hold; None: nothing was, or all of them are off."""
        return None if self._watermark == _NEVER else self._watermark

    def settle(self, seq: int) -> list[Page]:
        """Let the configured settings hold from here on; return the pages that say so as of step `seq`.

        To be called only where the partition stands at a snapshot, that of step `seq`, and before its next row.
        """
        if self.settings == self.configured:
            return []
        ids = self._newest(self.configured.dedupe_window or 0)
        self.settings = self.configured
        self._ring = self._new_ring()
        self._ring.put(np.arange(len(ids)), {"id": ids})
        self._watermark, self._count = _NEVER, len(ids)
        self._index = self._new_index()
        self._note()
        return self.take_dirty(seq)

    def sort_out(
        self, raw: RawBatch, batch: MicroBatch, *, tell: bool = True
    ) -> tuple[MicroBatch, tuple[DeadLetter, ...]]:
        """Advance by a batch; return the rows to judge, and those set aside (none if they are not to be told).

        The batch, decoded from `raw`, has the column `event_id` if ids are remembered; what is returned has it no more.
        """
        if not self.settings.on:
            return batch, ()
        window = self.settings.dedupe_window or 0
        arrived = _arrived(batch, with_ids=window > 0)
        n = len(arrived.offset)
        self._ring.reserve(min(window, self._count + n))
        reason, marks = np.zeros(n, np.uint8), np.zeros(n, np.int64)
        watermark, count = _sort(
            arrived.oldest_ms,
            arrived.newest_ms,
            arrived.published_ms,
            arrived.event_id,
            self._ring.arrays["id"],
            self._index,
            window,
            _number(self.settings.allowed_lateness_ms),
            _number(self.settings.max_ahead_ms),
            self._watermark,
            self._count,
            reason,
            marks,
        )
        if count > self._count:
            self._ring.touch(np.arange(max(self._count, count - window), count) % window)
        if (watermark, count) != (self._watermark, self._count):
            self._watermark, self._count = int(watermark), int(count)
            self._note()
        folded = np.repeat(reason == _FOLDED, arrived.rows) if arrived.rows is not None else reason == _FOLDED
        return _kept(batch, folded), tuple(self._aside(raw, arrived, reason, marks)) if tell else ()

    def take_dirty(self, seq: int) -> list[Page]:
        """Copy out what has changed since the last snapshot, as of step `seq`."""
        return [*self._table.take_dirty(seq), *self._ring.take_dirty(seq)]

    def _aside(self, raw: RawBatch, arrived: _Arrived, reason: np.ndarray, marks: np.ndarray) -> Iterable[DeadLetter]:
        rows = np.flatnonzero(reason)
        for row, place in zip(rows.tolist(), np.searchsorted(raw.offset, arrived.offset[rows]).tolist(), strict=True):
            if reason[row] == _DUPLICATE:
                why, detail = Reason.DUPLICATE, "a record with this event id was folded before"
            elif reason[row] == _AHEAD:
                allowed = self.settings.max_ahead_ms
                ahead = int(arrived.newest_ms[row]) - int(arrived.published_ms[row])
                detail = f"{ahead} ms ahead of its Kafka timestamp; {allowed} are allowed"
                why = Reason.AHEAD
            else:
                allowed = self.settings.allowed_lateness_ms
                behind = int(marks[row]) - int(arrived.oldest_ms[row])
                why, detail = Reason.LATE, f"{behind} ms behind the watermark; {allowed} are allowed"
            yield reject(raw, place, why, detail)

    def _note(self) -> None:
        """Write into the table what the next snapshot has to say."""
        self._table.reserve(1)
        for name in _SETTINGS:
            self._table.arrays[name][0] = _number(getattr(self.settings, name))
        self._table.arrays["watermark"][0] = self._watermark
        self._table.arrays["count"][0] = self._count
        self._table.touch(np.zeros(1, np.int64))

    def _new_ring(self) -> StateTable:
        identity = f"{_IDS}/{self.settings.dedupe_window or 0}"
        return StateTable(FAMILY, identity, {"id": Column("i8", fill=NO_EVENT_ID)}, eager=False)

    def _new_index(self) -> np.ndarray:
        window = self.settings.dedupe_window or 0
        index = np.zeros(1 << (2 * window).bit_length(), np.int32)  # row + 1 of the ring; 0 = free; at most half full
        _fill(self._ring.arrays["id"], index, min(self._count, window))
        return index

    def _newest(self, at_most: int) -> np.ndarray:
        """Return the ids folded last, the oldest first."""
        window = self.settings.dedupe_window or 0
        known = min(self._count, window, at_most)
        return self._ring.arrays["id"][np.arange(self._count - known, self._count) % max(window, 1)]

    def _restore(self, pages: list[Page]) -> None:
        for page in pages:
            if page.detector == _TABLE:
                self._table.restore(page)
        if self._table.rows:
            said = {name: int(column[0]) for name, column in self._table.arrays.items()}
            self.settings = Arrivals(*(None if said[name] == _OFF else said[name] for name in _SETTINGS))
            self._watermark, self._count = said["watermark"], said["count"]
            self._ring = self._new_ring()
            for page in pages:
                if page.detector == self._ring.detector:
                    self._ring.restore(page)
            known = min(self._count, self.settings.dedupe_window or 0)
            if self._ring.rows < known:
                raise StateError(f"{known} event ids are remembered, but there are pages for {self._ring.rows}")
        self._index = self._new_index()


class _Arrived(NamedTuple):
    """The n records of a batch."""

    offset: np.ndarray  # (n,) int64
    oldest_ms: np.ndarray  # (n,) int64, event time of the first sample
    newest_ms: np.ndarray  # (n,) int64, of the last one
    published_ms: np.ndarray  # (n,) int64
    event_id: np.ndarray  # (n,) int64 where it was asked for
    rows: np.ndarray | None  # (n,) int64, how many rows each has; None: one


def _arrived(batch: MicroBatch, *, with_ids: bool) -> _Arrived:
    ids = batch.columns["event_id"] if with_ids else _NO_IDS
    times, published = batch.event_time_ms, batch.published_ms
    if batch.sample is None:
        return _Arrived(batch.offset, times, times, published, ids, None)
    first = first_rows(batch.offset)
    rows = np.diff(first, append=len(batch))
    oldest, newest = read_only(times[first]), read_only(times[first + rows - 1])
    ids = read_only(ids[first]) if with_ids else ids
    return _Arrived(batch.offset[first], oldest, newest, read_only(published[first]), ids, rows)


def _warm() -> tuple[np.ndarray, np.ndarray]:
    return np.zeros(0, np.int64), np.zeros(1, np.int32)


def _number(setting: int | None) -> int:
    return _OFF if setting is None else setting


def _kept(batch: MicroBatch, folded: np.ndarray) -> MicroBatch:
    """Return the rows to fold, without the column `event_id`."""
    columns = {name: column for name, column in batch.columns.items() if name != "event_id"}
    if folded.all():
        return replace(batch, columns=columns)
    arrays: dict[str, Any] = {name: read_only(getattr(batch, name)[folded]) for name in _COLUMNS}
    return replace(batch, columns={name: _chosen(column, folded) for name, column in columns.items()}, **arrays)


def _chosen(column: np.ndarray | Texts, folded: np.ndarray) -> np.ndarray | Texts:
    chosen = column[folded]
    return chosen if isinstance(chosen, Texts) else read_only(chosen)


@kernel
def _find(ring: np.ndarray, index: np.ndarray, event_id: int) -> int:
    """Return where in the index an id stands, or the free place where it would."""
    mask = len(index) - 1
    at = event_id & mask
    while index[at] != 0 and ring[index[at] - 1] != event_id:
        at = (at + 1) & mask
    return at


@kernel
def _drop(ring: np.ndarray, index: np.ndarray, event_id: int) -> None:
    """Take an id out of the index, and move those up that its place was in the way of."""
    mask = len(index) - 1
    hole = _find(ring, index, event_id)
    index[hole] = 0
    at = (hole + 1) & mask
    while index[at] != 0:
        home = ring[index[at] - 1] & mask
        if ((at - home) & mask) >= ((at - hole) & mask):
            index[hole] = index[at]
            index[at] = 0
            hole = at
        at = (at + 1) & mask


@kernel
def _fill(ring: np.ndarray, index: np.ndarray, rows: int) -> None:
    """Put the first `rows` ids of the ring into an empty index."""
    for row in range(rows):
        index[_find(ring, index, ring[row])] = row + 1


@kernel
def _sort(
    oldest: np.ndarray,  # (n,) int64, event time of a record's first sample
    newest: np.ndarray,  # (n,) int64, of its last
    published: np.ndarray,  # (n,) int64; below 0: the record has no Kafka timestamp, nothing is ahead of it
    event_id: np.ndarray,  # (n,) int64; anything where window is 0
    ring: np.ndarray,
    index: np.ndarray,
    window: int,
    lateness: int,
    ahead: int,
    watermark: int,
    count: int,
    reason: np.ndarray,  # (n,) uint8, out
    marks: np.ndarray,  # (n,) int64, out: the watermark before the row
) -> tuple[int, int]:
    """Sort rows out, in order; remember ids in ring and index. Returns watermark and count after them."""
    for row in range(len(oldest)):
        time = newest[row]
        marks[row] = watermark
        at = -1
        if window > 0 and event_id[row] >= 0:
            at = _find(ring, index, event_id[row])
            if index[at] != 0:
                reason[row] = _DUPLICATE
                continue
        sent = published[row]
        if ahead >= 0 and sent >= 0 and time > sent and time - sent > ahead:
            reason[row] = _AHEAD
            continue
        if lateness >= 0 and watermark >= _NEVER + lateness and oldest[row] < watermark - lateness:
            reason[row] = _LATE
            continue
        watermark = max(watermark, time)
        if at >= 0:
            place = count % window
            if count >= window:
                _drop(ring, index, ring[place])
                at = _find(ring, index, event_id[row])
            ring[place] = event_id[row]
            index[at] = place + 1
            count += 1
    return watermark, count
