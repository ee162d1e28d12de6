"""The gate by plain calls, against the oracle: any rows, any settings, any cuts, any restarts."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from actors.engine.arrivals import DEDUPE_WINDOW_MAX, SPAN_MAX_MS, Arrivals
from actors.engine.gate import FAMILY, Gate
from actors.engine.state import Page
from actors.errors import ConfigError, StateError
from schemas.batch import DeadLetter, MicroBatch, RawBatch
from schemas.reading import event_codes, read_only
from tests.naive.arrivals import Row, fates

LOW, HIGH = -(2**63), 2**63 - 1
TIMES = st.integers(0, 60) | st.sampled_from([LOW, LOW + 5, HIGH - 5, HIGH])
ROWS = st.lists(
    st.builds(Row, st.sampled_from(["", *"abcdefghij"]), TIMES, st.integers(-1, 60) | st.sampled_from([HIGH])),
    max_size=30,
)
SPANS = st.none() | st.integers(0, 30) | st.just(SPAN_MAX_MS)
SETTINGS = st.builds(Arrivals, st.none() | st.integers(1, 8), SPANS, SPANS)


def batch_of(rows: list[Row], first: int = 0) -> tuple[RawBatch, MicroBatch]:
    """Rows as decoded, from offset `first` on, every second offset a gap."""
    n = len(rows)
    offset = first + 2 * np.arange(n, dtype=np.int64)
    published = np.array([row.published_ms for row in rows], np.int64)
    values = [f"{row.event_id} {row.event_time_ms}".encode() for row in rows]
    raw = RawBatch("fab", 3, offset, published, [b"k"] * n, values, first + 2 * n)
    batch = MicroBatch(
        topic="fab",
        partition=3,
        offset=read_only(offset),
        next_offset=raw.next_offset,
        event_time_ms=read_only(np.array([row.event_time_ms for row in rows], np.int64)),
        published_ms=read_only(published),
        series=read_only(np.zeros(n, np.int32)),
        value=read_only(np.arange(n, dtype=np.float64)),
        subgroup=read_only(np.full(n, -1)),
        columns={"lsl": read_only(np.arange(n) + 0.5), "event_id": event_codes([row.event_id for row in rows])},
    )
    return raw, batch


def run(gate: Gate, rows: list[Row], first: int = 0) -> tuple[list[str], list[DeadLetter]]:
    """Sort rows out; return what became of each, and what was set aside."""
    raw, batch = batch_of(rows, first)
    kept, aside = gate.sort_out(raw, batch)
    said = {letter.offset: letter.reason.value for letter in aside}
    assert sorted([*kept.offset.tolist(), *said]) == raw.offset.tolist()
    assert [letter.offset for letter in aside] == sorted(said)
    return [said.get(offset, "") for offset in raw.offset.tolist()], list(aside)


def remembered(gate: Gate) -> list[int]:
    return gate._newest(DEDUPE_WINDOW_MAX).tolist()


def settled(arrivals: Arrivals) -> tuple[Gate, list[Page]]:
    gate = Gate(arrivals)
    return gate, gate.settle(0)


@settings(max_examples=60)
@given(rows=ROWS, arrivals=SETTINGS, cuts=st.lists(st.integers(0, 9), max_size=20), crash_every=st.integers(1, 5))
def test_the_gate_is_the_oracle_for_any_cuts_and_restarts(
    rows: list[Row], arrivals: Arrivals, cuts: list[int], crash_every: int
) -> None:
    """Batches of any sizes; every now and then only the pages of a snapshot are left."""
    expected, ids, watermark = fates(rows, arrivals)
    gate, pages = settled(arrivals)
    log = {(page.detector, page.page): page for page in pages}
    got: list[str] = []
    at, sizes = 0, iter([*cuts, *[7] * 40])
    for step in range(1_000):
        size = next(sizes)
        got += run(gate, rows[at : at + size], 2 * at)[0]
        at += size
        if at >= len(rows):
            break
        log |= {(page.detector, page.page): page for page in gate.take_dirty(step)}
        if step % crash_every == 0:
            gate = Gate(arrivals, log.values())
            assert gate.settle(step) == []
    assert got == expected
    if arrivals.on:
        assert remembered(gate) == event_codes(ids).tolist()
        assert gate.watermark_ms == (None if watermark == LOW else watermark)  # nothing can be behind LOW


@settings(max_examples=60)
@given(rows=ROWS, later=ROWS, before=SETTINGS, after=SETTINGS)
def test_other_settings_keep_the_newest_ids_and_begin_a_new_watermark(
    rows: list[Row], later: list[Row], before: Arrivals, after: Arrivals
) -> None:
    old, pages = settled(before)
    run(old, rows)
    gate = Gate(after, [*pages, *old.take_dirty(1)])
    assert gate.settings == before  # until it is told that the partition stands at a snapshot
    kept = fates(rows, before)[1] if before.on else []
    pages = gate.settle(1)
    assert (pages == []) == (before == after)
    again = Gate(after, pages) if pages else gate
    if before != after:
        kept = kept[len(kept) - min(len(kept), after.dedupe_window or 0) :]
        assert again.watermark_ms is None
        assert remembered(again) == remembered(gate) == event_codes(kept).tolist()
        primer = [Row(name, LOW, -1) for name in kept]  # a log of nothing but what is remembered
        assert run(again, later)[0] == fates([*primer, *later], after)[0][len(primer) :] or not after.on
    assert again.settings == after


def test_what_is_kept_is_the_rows_without_their_ids() -> None:
    gate, _ = settled(Arrivals(dedupe_window=2))
    raw, batch = batch_of([Row("a", 5, 0), Row("a", 6, 0), Row("b", 7, 0)])
    kept, aside = gate.sort_out(raw, batch)
    assert kept.value.tolist() == [0.0, 2.0]
    assert {name: column.tolist() for name, column in kept.columns.items()} == {"lsl": [0.5, 2.5]}
    assert not any(array.flags.writeable for array in (kept.value, kept.offset, kept.columns["lsl"]))
    assert (kept.next_offset, kept.partition) == (6, 3)
    letter = aside[0]
    assert (letter.topic, letter.partition, letter.offset, letter.key, letter.value) == ("fab", 3, 2, b"k", b"a 6")


def test_a_replay_tells_nothing_and_changes_the_same() -> None:
    rows = [Row("a", 50, 0), Row("a", 50, 0), Row("b", 10, 0)]
    loud, quiet = (settled(Arrivals(5, 20))[0] for _ in range(2))
    raw, batch = batch_of(rows)
    assert len(loud.sort_out(raw, batch)[1]) == 2
    assert quiet.sort_out(raw, batch, tell=False)[1] == ()
    assert quiet.take_dirty(4) == loud.take_dirty(4)


def test_details_say_by_how_much() -> None:
    gate, _ = settled(Arrivals(5, 20, 100))
    _, aside = run(gate, [Row("a", 50, 40), Row("b", 29, 40), Row("c", 141, 40), Row("a", 50, 40), Row("d", 30, 40)])
    assert [(letter.reason.value, letter.detail) for letter in aside] == [
        ("late", "21 ms behind the watermark; 20 are allowed"),
        ("ahead", "101 ms ahead of its Kafka timestamp; 100 are allowed"),
        ("duplicate", "a record with this event id was folded before"),
    ]


def test_what_was_set_aside_may_come_again() -> None:
    """Its id is not remembered: sent once more with its clock put right, it is judged."""
    gate, _ = settled(Arrivals(5, 20, 100))
    assert run(gate, [Row("a", 3_600_000, 40), Row("a", 41, 41), Row("a", 41, 41)])[0] == ["ahead", "", "duplicate"]


def test_one_wrong_clock_makes_nothing_else_late() -> None:
    rows = [Row("a", 1_000, 1_000), Row("b", 3_601_000, 1_001), Row("c", 1_002, 1_002)]
    assert run(settled(Arrivals(None, 100, 60_000))[0], rows)[0] == ["", "ahead", ""]
    assert run(settled(Arrivals(None, 100))[0], rows)[0] == ["", "", "late"]


def test_nothing_is_kept_of_what_is_off() -> None:
    gate = Gate(Arrivals())
    raw, batch = batch_of([Row("a", 1, 1)] * 2)
    assert gate.settle(3) == []
    assert gate.sort_out(raw, batch) == (batch, ())
    assert gate.take_dirty(4) == []
    assert not gate.wants_ids


def test_ids_are_wanted_as_long_as_a_replay_may_need_them() -> None:
    gate, pages = settled(Arrivals(dedupe_window=5))
    off = Gate(Arrivals(), pages)
    assert (gate.wants_ids, off.wants_ids) == (True, True)
    off.settle(1)
    assert not off.wants_ids


def test_a_snapshot_holds_only_what_changed() -> None:
    gate, pages = settled(Arrivals(dedupe_window=100_000))
    assert [page.detector for page in pages] == ["arrivals@1"]
    run(gate, [Row(f"e{i}", i, i) for i in range(33_000)])
    assert [(page.detector, page.page) for page in gate.take_dirty(1)] == [
        ("arrivals@1", 0), ("arrivals.ids@1/100000", 0), ("arrivals.ids@1/100000", 1),
    ]  # fmt: skip
    run(gate, [Row("more", 0, 0)])
    assert [page.page for page in gate.take_dirty(2)] == [0, 1]
    run(gate, [Row("more", 0, 0)])
    assert gate.take_dirty(3) == []
    assert {page.family for page in pages} == {FAMILY}


def test_missing_pages_are_not_guessed() -> None:
    gate, _ = settled(Arrivals(dedupe_window=5))
    run(gate, [Row("a", 1, 1)])
    newer = [page for page in gate.take_dirty(1) if page.detector == "arrivals@1"]
    with pytest.raises(StateError, match="1 event ids are remembered, but there are pages for 0"):
        Gate(Arrivals(dedupe_window=5), newer)


@pytest.mark.parametrize(
    "wrong",
    [{"dedupe_window": 0}, {"dedupe_window": DEDUPE_WINDOW_MAX + 1}, {"max_ahead_ms": -1}, {"allowed_lateness_ms": -1}],
)
def test_settings_have_bounds(wrong: dict[str, int]) -> None:
    with pytest.raises(ConfigError, match=f"{next(iter(wrong))} = "):
        Arrivals(**wrong)
