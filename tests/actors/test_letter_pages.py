"""Pages of dead letters, newest first over many partitions, in bounded reading: against sorting all of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from random import Random
from typing import Any

import pytest

from actors import letter_pages as module
from actors.letter_desk import RefusedError, since_ms, topics_of
from actors.letter_pages import Place, Spans, cursor_of, marks_of, page, summary
from actors.sinks.journey import Received
from actors.sinks.redrive import Filter, Letter
from tests.simulation.model import VirtualClock


class Store:
    """Partitions of letters: gaps where a transaction's marker stands, some records that are no letters."""

    def __init__(self, seed: int, partitions: int = 3, records: int = 40) -> None:
        random = Random(seed)
        self.logs: dict[Place, list[Received]] = {}
        for number in range(partitions):
            at, now = random.randrange(5), 0
            log = self.logs["t.dlq", number] = []
            for _ in range(random.randrange(records)):
                at, now = at + random.choice((1, 1, 2)), now + random.randrange(1, 9)
                value = b"x" * random.randrange(9) if random.random() < 0.9 else None
                log.append(Received("t.dlq", number, at, now, None, value))
        self.reads = 0

    @property
    def bounds(self) -> dict[Place, tuple[int, int]]:
        return {place: (log[0].offset, log[-1].offset + 2) if log else (0, 0) for place, log in self.logs.items()}

    def read(self, spans: Spans) -> Mapping[Place, Sequence[Received]]:
        self.reads += 1
        return {
            place: [record for record in self.logs[place] if first <= record.offset < end]
            for place, (first, end) in spans.items()
        }

    def all(self, chosen: Filter) -> list[tuple[Place, int]]:
        found = [
            letter
            for log in self.logs.values()
            for record in log
            if (letter := letter_of(record)) and chosen.takes(letter)
        ]
        found.sort(key=lambda letter: (letter.written_ms, letter.place), reverse=True)
        return [((letter.topic, letter.partition), letter.offset) for letter in found]


def letter_of(record: Received) -> Letter | None:
    if record.value is None:
        return None
    fields: dict[str, Any] = {
        "topic": "t", "partition": 0, "offset": record.offset, "reason": "malformed" if record.offset % 3 else "late",
        "source": "s", "detail": f"detail {record.offset}", "trace": None, "key": None, "value": record.value,
    }  # fmt: skip
    return Letter(record.topic, record.partition, record.offset, record.timestamp_ms, fields)


def pages(store: Store, chosen: Filter, limit: int) -> list[list[tuple[Place, int]]]:
    found, marks = [], None
    for _ in range(1000):
        got = page(store.bounds, marks, chosen, limit, store.read, letter_of, VirtualClock())
        found.append([((letter.topic, letter.partition), letter.offset) for letter in got.letters])
        if got.marks is None:
            return found
        marks = marks_of(cursor_of(got.marks))
    raise AssertionError("the pages do not end")


@pytest.mark.parametrize("seed", range(20))
@pytest.mark.parametrize("window", [1, 4, 500])
def test_pages_are_all_letters_newest_first(seed: int, window: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "WINDOW_RECORDS", window)
    store = Store(seed)
    for chosen in (Filter(), Filter(reason="late"), Filter(text="DETAIL 1")):
        for limit in (1, 7, 1000):
            got = pages(store, chosen, limit)
            assert [place for of_page in got for place in of_page] == store.all(chosen)
            assert all(len(of_page) == limit for of_page in got[:-1])


def test_a_page_that_reads_as_much_as_it_may_ends_early_and_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "WINDOW_RECORDS", 4)
    monkeypatch.setattr(module, "RECORDS_MAX", 8)
    store = Store(3, records=200)
    got = pages(store, Filter(text="detail 7"), 5)
    assert [] in got
    assert [place for of_page in got for place in of_page] == store.all(Filter(text="detail 7"))
    monkeypatch.setattr(module, "RECORDS_MAX", 1000)
    monkeypatch.setattr(module, "BYTES_MAX", 1)
    again = pages(store, Filter(text="detail 7"), 5)
    assert len(again) > 2
    assert [place for of_page in again for place in of_page] == store.all(Filter(text="detail 7"))


def test_letters_that_come_meanwhile_do_not_move_a_page() -> None:
    store = Store(5, partitions=1, records=60)
    first = page(store.bounds, None, Filter(), 3, store.read, letter_of, VirtualClock())
    last = store.logs["t.dlq", 0][-1]
    store.logs["t.dlq", 0].append(last._replace(offset=last.offset + 9, timestamp_ms=last.timestamp_ms + 9))
    second = page(store.bounds, first.marks, Filter(), 3, store.read, letter_of, VirtualClock())
    assert max(letter.offset for letter in second.letters) < min(letter.offset for letter in first.letters)


def test_a_summary_counts_the_newest(monkeypatch: pytest.MonkeyPatch) -> None:
    store = Store(7, records=80)
    whole = summary(store.bounds, Filter(), store.read, letter_of, VirtualClock())
    assert whole.counts.total() == len(store.all(Filter()))
    assert set(whole.counts) == {("t.dlq", "late"), ("t.dlq", "malformed")}
    assert whole.read == whole.retained
    assert whole.since_ms is not None
    monkeypatch.setattr(module, "WINDOW_RECORDS", 6)
    monkeypatch.setattr(module, "COUNTED_MAX", 12)
    part = summary(store.bounds, Filter(), store.read, letter_of, VirtualClock())
    assert 0 < part.counts.total() < whole.counts.total()
    assert part.read < part.retained
    assert summary({}, Filter(), store.read, letter_of, VirtualClock()).since_ms is None


@pytest.mark.parametrize("text", ["", "x", "AAAA", "====", "é" * 5, "eJyrVkrLz1eyUkpKLFKqBQAdegQ0"])
def test_what_is_no_cursor_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="not given by this API"):
        marks_of(text)


def test_since_is_a_time_or_so_long_ago() -> None:
    assert since_ms("2m", 200_000) == 80_000
    assert since_ms("99d", 200_000) == 0
    for text in ("noon", "", "99999d"):
        with pytest.raises(RefusedError, match="a time as ISO 8601"):
            since_ms(text, 0)


def test_which_topics_may_hold_letters() -> None:
    assert topics_of(Filter(topic="fab.system")) == ["fab.system.dlq"]
    assert topics_of(Filter(topic="nothing")) == []
