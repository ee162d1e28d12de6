"""What a torn step overwrote: what is certainly still there, and what may be gone."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from actors.engine.arrivals import Arrivals
from actors.engine.control import AppliedChange, PartitionChange
from actors.engine.gate import Gate
from actors.engine.position import Position, StateImage, page_record, read_image, series_record
from actors.engine.state import Page, PageColumn
from actors.engine.torn_pages import Entry, gone
from models.limit_versions import Kind
from schemas.batch import MicroBatch, RawBatch
from tests.actors.engine.world import Json, decode_json

ENCODERS: dict[str, Any] = dict.fromkeys(("page", "series_page"), Json())
AT = Position("fab", 0, 40, 7, 30, 5, "1")  # step 8 was torn, the snapshot is that of step 5


def page(detector: str, *, first: int = 0, seq: int = 8) -> Page:
    return Page("high", detector, "l", first // 100, first, 10, seq, (PageColumn("n", b"12345678", "i8"),))


def record(of: Page, *, apart: bool = False, second: bool = False) -> Entry:
    written = page_record("state", 0, of, ENCODERS, second=second, apart=apart)
    return written.key, written.value


def before(*pages: Page, at: Position = AT, series: int = 10, changes: tuple[int, ...] = ()) -> StateImage:
    made = tuple(AppliedChange(PartitionChange(f"c{seq}", Kind.LIMITS, ()), 0, seq, 0) for seq in changes)
    return StateImage(at, [f"s{i}" for i in range(series)], list(pages), made)


def lost(
    *step: Entry, state: StateImage | None = None, earlier: tuple[Entry, ...] = (), seqs: tuple[int, ...] = (7,)
) -> str:
    positions = [AT._replace(seq=seq) for seq in seqs]
    return gone(step, earlier, state or before(), positions, decode_json)


def test_a_page_that_stands_nowhere_else_counts_as_gone() -> None:
    assert lost(record(page("spc@1"))) == "page 0 of spc@1"
    assert lost(record(page("alerts/spc@1"))) == "page 0 of alerts/spc@1"
    assert lost((b"page|spc@1|l|0", None)) == "a copy of page|spc@1|l|0"
    assert not lost(record(page("spc@1")), earlier=(record(page("spc@1", seq=5)),))


def test_a_page_apart_overwrites_nothing_that_is_needed() -> None:
    assert not lost(record(page("spc@1"), apart=True), record(page("alerts/spc@1"), apart=True, second=True))


@pytest.mark.parametrize(
    ("seqs", "whole"),
    [
        ((1, 2, 3), True),
        ((1, 2, 2, 3), True),
        ((3,), False),
        ((1,), False),
        ((1, 3), False),
        ((2, 3), False),
        ((), False),
    ],
)
def test_nothing_is_gone_where_every_position_is_retained(seqs: tuple[int, ...], whole: bool) -> None:
    assert bool(lost(record(page("spc@1")), (b"page|x@1|l|0", None), seqs=seqs)) is not whole


def test_before_the_first_snapshot_there_are_no_pages() -> None:
    none = before(at=AT._replace(snapshot_seq=0, snapshot_offset=0))
    assert not lost(record(page("spc@1")), record(page("params/high")), state=none)
    assert not lost(record(page("spc@1")), state=before(at=AT._replace(seq=0, snapshot_seq=0)))


def test_rows_of_series_that_were_not_known_are_new() -> None:
    assert not lost(record(page("spc@1", first=100)), state=before(series=100))
    assert lost(record(page("spc@1", first=100)), state=before(series=101)) == "page 1 of spc@1"
    assert lost(record(page("spc@1", first=100)), state=before(series=0)) == "page 1 of spc@1"


@pytest.mark.parametrize(("changes", "whole"), [((), True), ((6, 7), True), ((5,), False), ((2, 7), False)])
def test_limits_have_a_page_from_the_first_change_on(changes: tuple[int, ...], whole: bool) -> None:
    assert bool(lost(record(page("params/high")), state=before(changes=changes))) is not whole


def test_a_stretch_of_the_series_that_pages_have_rows_of_was_there() -> None:
    written = series_record("state", 0, ["a"], 0, 8, ENCODERS)
    assert not lost((written.key, written.value), state=before(page("arrivals@1")))
    assert lost((written.key, written.value), state=before(page("spc@1"))) == "page 0 of the series"


# ---- arrivals


def folded(gate: Gate, ids: int, first: int = 0) -> None:
    """Let a gate fold rows of so many event ids."""
    none, offset = np.zeros(ids, np.int64), np.arange(first, first + ids, dtype=np.int64)
    columns = {"event_id": offset + 1}
    batch = MicroBatch("fab", 0, offset, first + ids, none, none, none.astype(np.int32), none * 1.0, none, columns)
    gate.sort_out(RawBatch("fab", 0, offset, none, [None] * ids, [b""] * ids, first + ids), batch)


def arrivals(ids: int) -> tuple[Gate, list[Page]]:
    """Return a gate that has folded some ids, and its pages as of the snapshot."""
    gate = Gate(Arrivals(dedupe_window=100))
    pages = gate.settle(0)
    folded(gate, ids)
    return gate, list({each.detector: each for each in (*pages, *gate.take_dirty(AT.snapshot_seq))}.values())


def test_ids_have_a_page_from_the_first_one_on() -> None:
    for count in (0, 3):
        gate, pages = arrivals(count)
        folded(gate, 5, first=count)
        settings, ids = (record(each) for each in gate.take_dirty(8))
        kept = (record(pages[0]),)
        said = lost(settings, ids, state=before(*pages[:1]), earlier=kept)
        assert said == ("page 0 of arrivals.ids@1/100" if count else "")
        assert lost(settings, ids, state=before()) == "page 0 of arrivals@1"


@pytest.mark.parametrize("change", [Arrivals(dedupe_window=200), Arrivals(dedupe_window=100, max_ahead_ms=5)])
def test_settings_that_the_step_let_hold(change: Arrivals) -> None:
    _, pages = arrivals(3)
    settled = tuple(record(each) for each in Gate(change, pages).settle(AT.snapshot_seq))
    assert len(settled) == 2
    before_it = tuple(record(each) for each in pages)
    assert not lost(*settled, state=before(*pages), earlier=before_it)
    assert (
        lost(*settled, state=before(*pages[1:]), earlier=before_it[1:]) == "page 0 of arrivals@1"
    )  # only ids are left
    assert lost(*settled, state=before()) == f"page 0 of arrivals.ids@1/{change.dedupe_window}"
    first = tuple(record(each) for each in Gate(change).settle(AT.snapshot_seq))
    assert not lost(*first, state=before())  # nothing was set aside so far


def test_settings_written_twice_in_a_step_are_those_of_the_step() -> None:
    gate = Gate(Arrivals(dedupe_window=100))
    settled = gate.settle(AT.snapshot_seq)
    folded(gate, 3)
    assert not lost(*(record(each) for each in (*settled, *gate.take_dirty(8))), state=before())


def test_what_is_written_can_be_read() -> None:
    """The records of these tests are such as a partition's state consists of."""
    _, pages = arrivals(3)
    entries = [record(each) for each in (*pages, page("spc@1", seq=5))]
    position = Json().encode(AT._asdict() | {"applied": []})
    assert len(read_image([*entries, (b"position", position)], decode_json).pages) == 3
