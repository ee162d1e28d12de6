"""Dead letters newest first, a page at a time, however many there are: bounded in records, bytes and time.

Theory of operation
-------------------
Every partition is read backwards, a window of offsets after the other, and the windows are merged: the newest letter of all
partitions is the next, as long as every partition that has more to read has one at hand. Where one has none, its next window is
read first. So pages are in order, as far as the timestamps within each partition are, and a page costs a few windows.

Where a page ends is a mark for each partition: what stands below it is still to come. Marks are all that a cursor is: letters
that come later stand above them and do not move anything. A filter that takes few letters may end a page early, also an empty
one: there is more as long as there is a cursor.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from actors import cursors
from actors.log import Clock
from actors.sinks.journey import Received
from actors.sinks.redrive import Filter, Letter

WINDOW_RECORDS = 500  # read at once, over all partitions; a letter has at most some 80 KiB
RECORDS_MAX = 5_000  # read for one page
COUNTED_MAX = 20_000  # read for one summary
BYTES_MAX = 64 * 1024 * 1024  # likewise; the window that reaches it is the last
READ_S = 5.0  # likewise

Place = tuple[str, int]  # topic, partition
Spans = Mapping[Place, tuple[int, int]]


class Page(NamedTuple):
    """Some letters, newest first, and what comes after them."""

    letters: list[Letter]
    marks: dict[Place, int] | None  # None: there are no more
    read: int  # records that were looked at


@dataclass
class _Lane:
    """What is known of one partition: letters at hand, the newest last, and the offset below which it is not read yet."""

    low: int
    mark: int
    held: list[Letter] = field(default_factory=list)

    @property
    def exhausted(self) -> bool:
        return self.mark <= self.low and not self.held

    @property
    def wants(self) -> bool:
        return not self.held and self.mark > self.low

    def left(self) -> int:
        """Return the mark of what has not been given out."""
        return self.held[-1].offset + 1 if self.held else self.mark


def page(
    bounds: Spans,
    marks: Mapping[Place, int] | None,
    chosen: Filter,
    limit: int,
    read: Callable[[Spans], Mapping[Place, Sequence[Received]]],
    letter_of: Callable[[Received], Letter | None],
    clock: Clock,
) -> Page:
    """Return the next `limit` letters that a filter takes, at most.

    `bounds`: first offset and end of each partition; `marks`: where the page before ended, None at first.
    """
    lanes = {
        place: _Lane(low, high if marks is None else min(high, marks.get(place, low)))
        for place, (low, high) in bounds.items()
    }
    letters: list[Letter] = []
    records = size = 0
    deadline = clock.now() + READ_S
    while len(letters) < limit:
        wanting = {place: lane for place, lane in lanes.items() if lane.wants}
        if wanting:
            if records >= RECORDS_MAX or size >= BYTES_MAX or clock.now() > deadline:
                break
            share = max(1, WINDOW_RECORDS // len(wanting))
            spans = {place: (max(lane.low, lane.mark - share), lane.mark) for place, lane in wanting.items()}
            for place, found in read(spans).items():
                lane = wanting[place]
                lane.mark = spans[place][0]
                records += spans[place][1] - spans[place][0]
                size += sum(len(record.value or b"") for record in found)
                lane.held = [each for each in map(letter_of, found) if each is not None and chosen.takes(each)]
            continue
        ready = [lane for lane in lanes.values() if lane.held]
        if not ready:
            break
        newest = max(ready, key=lambda lane: (lane.held[-1].written_ms, lane.held[-1].place))
        letters.append(newest.held.pop())
    more = {place: lane.left() for place, lane in lanes.items() if not lane.exhausted}
    return Page(letters, more or None, records)


class Summary(NamedTuple):
    """How many letters there are of each topic of letters and reason, among the newest."""

    counts: Counter[tuple[str, str]]
    read: int  # records that were looked at
    retained: int  # that there are
    since_ms: int | None  # when the oldest of those that were counted was written; None: there is none


def summary(
    bounds: Spans,
    chosen: Filter,
    read: Callable[[Spans], Mapping[Place, Sequence[Received]]],
    letter_of: Callable[[Received], Letter | None],
    clock: Clock,
) -> Summary:
    """Count the letters that a filter takes, of every partition the newest first, until COUNTED_MAX are read."""
    marks = {place: high for place, (_, high) in bounds.items()}
    counts: Counter[tuple[str, str]] = Counter()
    records, oldest_ms = 0, None
    deadline = clock.now() + READ_S
    while records < COUNTED_MAX and clock.now() <= deadline:
        left = {place: mark for place, mark in marks.items() if mark > bounds[place][0]}
        if not left:
            break
        share = max(1, WINDOW_RECORDS // len(left))
        spans = {place: (max(bounds[place][0], mark - share), mark) for place, mark in left.items()}
        for (topic, _), found in read(spans).items():
            letters = [letter for letter in map(letter_of, found) if letter is not None and chosen.takes(letter)]
            counts.update((topic, str(letter.fields["reason"])) for letter in letters)
            oldest_ms = min(
                [letter.written_ms for letter in letters] + ([] if oldest_ms is None else [oldest_ms]), default=None
            )
        records += sum(end - first for first, end in spans.values())
        marks |= {place: first for place, (first, _) in spans.items()}
    return Summary(counts, records, sum(high - low for low, high in bounds.values()), oldest_ms)


def cursor_of(marks: Mapping[Place, int]) -> str:
    """Return marks as an opaque text.

    >>> marks_of(cursor_of({("t.dlq", 0): 7, ("t.dlq", 3): 9, ("u.dlq", 0): 1}))
    {('t.dlq', 0): 7, ('t.dlq', 3): 9, ('u.dlq', 0): 1}
    """
    by_topic: dict[str, dict[str, int]] = {}
    for (topic, partition), mark in marks.items():
        by_topic.setdefault(topic, {})[str(partition)] = mark
    return cursors.encode(by_topic)


def marks_of(cursor: str) -> dict[Place, int]:
    """Return what `cursor_of` made a text of. Raises ValueError for another text."""
    return cursors.decode(
        cursor,
        lambda said: {
            (str(topic), int(partition)): int(mark)
            for topic, of_topic in said.items()
            for partition, mark in of_topic.items()
        },
    )
