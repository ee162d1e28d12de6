"""A snapshot on its way to the log: in one transaction if it is small, else over several, and named when all of it is there.

Theory of operation
-------------------
A snapshot is what the dirty pages hold as of one step, copied out. A million series leave some 170 MB of them, more than a
transaction should hold: while it is produced the slot's outputs wait, and a commit slower than some seconds is given up. So a
transaction takes at most `TRANSACTION_BYTES_MAX` of it (or less, as actors/engine/pacing.py allows), and the position names the
snapshot's step (`snapshot_seq`) in the transaction that takes the last of it. Until then a recovery begins at the snapshot
before, whose pages must still be there. Therefore every page has two places in the log, keys with and without a stroke at the
end, of which one holds its named copy:

- A snapshot that fits one transaction overwrites the named copies: pages and position are seen together or not at all.
- One that does not fit writes to the other places; when it is named, the places of before are deleted.
- A page that the log has not named yet has nothing to protect: it goes to the first place.

A page that is written before its snapshot is named says so (`apart`). One that is newer than `snapshot_seq` belongs to a snapshot
that was given up on its way (the owner died); it is not read, and is deleted with the next one (`read_image` in position.py).
Series go out first, and may be newer than the snapshot: a code that was given stays, so a replay that meets the series again
gives it the same one.

If a new snapshot is begun before the last one was named, its pages take the place of older copies that still wait, and the step
that will be named is the new one. What has been written and was not touched since is the same in both.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence

from actors.engine.position import (
    SERIES_PER_PAGE,
    Encodes,
    Position,
    Record,
    StateImage,
    page_key,
    page_record,
    series_record,
)
from actors.engine.state import Page

TRANSACTION_BYTES_MAX = 32 * 1024 * 1024  # of a snapshot in one transaction; its last page may reach beyond it

Place = tuple[str, str, int]  # detector, layout, number of the page


class Snapshot:
    """The snapshots of one partition, one after the other."""

    def __init__(self, image: StateImage, wanted: Callable[[Page], bool] = lambda page: True) -> None:
        """Begin with what the log has; pages that are not wanted are deleted with the next snapshot."""
        self._named: dict[Place, bool] = {}  # page → its named copy stands in the second place
        self._stale = list(image.stale)  # keys to be deleted when the next snapshot is named
        for page, key in zip(image.pages, image.page_keys, strict=True):
            place = page.detector, page.layout, page.page
            if wanted(page):
                self._named[place] = key == page_key(place, second=True)
            else:
                self._stale.append(key)
        self._waiting: dict[Place, Page] = {}
        self._sent: dict[Place, bool] = {}  # written apart, in the second place or not, and not named yet
        self._series: deque[int] = deque()  # pages of the dictionary that wait
        self._series_known = len(image.series)
        self._as_of: tuple[int, int] | None = None  # offset and seq
        self.bytes_waiting = 0  # of pages
        self.bytes_taken = 0  # of pages, of the newest snapshot
        self.bytes_written = 0  # of pages and series, of all snapshots

    @property
    def under_way(self) -> bool:
        """Say whether a snapshot was begun and is not named yet."""
        return self._as_of is not None

    def begin(self, pages: Iterable[Page], series: int, position: Position) -> None:
        """Take over the dirty pages, and the number of series, as of a position."""
        for page in pages:
            place = page.detector, page.layout, page.page
            self._waiting[place] = page
            if place in self._sent:
                self._stale.append(page_key(place, second=self._sent.pop(place)))
        if series > self._series_known:
            first, last = self._series_known // SERIES_PER_PAGE, (series - 1) // SERIES_PER_PAGE
            self._series.extend(number for number in range(first, last + 1) if number not in self._series)
            self._series_known = series
        self._as_of = position.next_offset, position.seq
        self.bytes_waiting = self.bytes_taken = sum(page.size for page in self._waiting.values())

    def write(
        self,
        state_topic: str,
        position: Position,
        series: Sequence[str],
        encoders: Mapping[str, Encodes],
        bytes_max: int = TRANSACTION_BYTES_MAX,
    ) -> tuple[list[Record], Position]:
        """Return what goes into the next transaction, at most `bytes_max` and a page; and the position to go with it.

        The position names the snapshot if this completes it.
        """
        if self._as_of is None:
            return [], position
        records: list[Record] = []
        room = bytes_max
        while self._series and room > 0:
            number = self._series.popleft()
            record = series_record(state_topic, position.partition, series, number, position.seq, encoders)
            room -= len(record.value or b"")
            records.append(record)
            self.bytes_written += len(record.value or b"")
        in_place = not self._sent and not self._series and self.bytes_waiting <= room
        while self._waiting and not self._series and (in_place or room > 0):
            place = next(iter(self._waiting))
            page = self._waiting.pop(place)
            room -= page.size
            self.bytes_waiting -= page.size
            self.bytes_written += page.size
            second = self._place(place, in_place=in_place)
            records.append(
                page_record(state_topic, position.partition, page, encoders, second=second, apart=not in_place)
            )
        if not self._waiting and not self._series:
            offset, seq = self._as_of
            position = position._replace(snapshot_offset=offset, snapshot_seq=seq)
            records += self._name(state_topic, position.partition)
        return records, position

    def replaced(
        self, state_topic: str, partition: int, pages: Iterable[Page], encoders: Mapping[str, Encodes]
    ) -> list[Record]:
        """Return records of pages that take the place of their named copies, as of the named snapshot. None may be under way."""
        records = []
        for page in pages:
            second = self._named.setdefault((page.detector, page.layout, page.page), False)
            records.append(page_record(state_topic, partition, page, encoders, second=second, apart=False))
        return records

    def _place(self, place: Place, *, in_place: bool) -> bool:
        """Return whether a page goes to its second place."""
        named = self._named.get(place)
        if in_place:
            return self._named.setdefault(place, False)
        second = self._sent[place] = named is False
        return second

    def _name(self, state_topic: str, partition: int) -> list[Record]:
        """Let what was sent be the named copies; return tombstones of what they replace."""
        for place, second in self._sent.items():
            before = self._named.get(place)
            if before is not None:
                self._stale.append(page_key(place, second=before))
            self._named[place] = second
        live = {page_key(place, second=second) for place, second in self._named.items()} if self._stale else set()
        dropped = [Record(state_topic, partition, key, None) for key in dict.fromkeys(self._stale) if key not in live]
        self._stale, self._sent, self._as_of = [], {}, None
        return dropped
