"""State tables and their pages."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from actors.engine.state import PAGE_BYTES, SERIES_BYTES_MAX, PageColumn, StateTable, series_bytes
from actors.errors import ConfigError, StateError
from models.detector import Column

COLUMNS = {"z": Column("f8", fill=1.5), "ring": Column("i4", (100,))}


def table() -> StateTable:
    return StateTable("spc", "d@1-x", COLUMNS)


def test_pages_round_trip() -> None:
    first = table()
    first.reserve(2000)
    first.arrays["z"][:2000] = np.arange(2000)
    first.touch(np.arange(2000))
    pages = first.take_dirty(3)
    assert len(pages) > 1
    assert all(page.size <= PAGE_BYTES + page.rows / 8 for page in pages)
    second = table()
    for page in pages:
        second.restore(page)
    assert (second.arrays["z"][:2000] == np.arange(2000)).all()
    assert second.rows == 2000
    assert second.take_dirty(4) == []


def test_only_touched_pages_are_dirty() -> None:
    first = table()
    first.reserve(2000)
    first.take_dirty(1)
    first.touch(np.array([1999]))
    assert [page.page for page in first.take_dirty(2)] == [1999 // first.rows_per_page]


def test_growth_keeps_rows_and_fills_new_ones() -> None:
    first = table()
    first.reserve(1)
    first.arrays["z"][0] = 7
    first.touch(np.array([0]))
    first.reserve(500)
    first.reserve(10)
    assert (first.arrays["z"][0], first.arrays["z"][499], first.rows) == (7, 1.5, 500)


def test_another_layout_is_refused() -> None:
    first = table()
    first.reserve(1)
    (page,) = first.take_dirty(1)
    other = StateTable("spc", "d@1-x", {"z": Column("f4")})
    with pytest.raises(StateError, match="is not of"):
        other.restore(page)


def test_another_page_size_is_refused() -> None:
    first = table()
    first.reserve(1)
    (page,) = first.take_dirty(1)
    with pytest.raises(StateError, match="another page size"):
        table().restore(page._replace(first_row=5))


def test_short_bytes_are_refused() -> None:
    first = table()
    first.reserve(1)
    (page,) = first.take_dirty(1)
    with pytest.raises(StateError, match="has 3 bytes"):
        table().restore(page._replace(columns=(PageColumn("z", b"abc"), *page.columns[:1])))


def test_a_series_that_does_not_fit_a_page_is_refused() -> None:
    fits = {"n": Column("i4"), "ring": Column("f4", (65_535,))}
    assert series_bytes("big@1-x", fits) == StateTable("spc", "big@1-x", fits).row_bytes == SERIES_BYTES_MAX
    says = (
        r"big@1-x: .* 262,148 bytes of state, 262,144 of them in column ring \(65536,\); the limit is 262,144 .*window"
    )
    for make in (series_bytes, lambda detector, columns: StateTable("spc", detector, columns)):
        with pytest.raises(ConfigError, match=says):
            make("big@1-x", {"n": Column("i4"), "ring": Column("f4", (65_536,))})


def test_a_page_leaves_out_rows_that_are_as_new() -> None:
    first = table()
    first.reserve(100)
    first.arrays["ring"][[3, 98], 7] = 5
    first.touch(np.array([3, 98]))
    (page,) = first.take_dirty(1)
    assert page.size == 2 * first.row_bytes + -(-page.rows // 8)
    second = table()
    second.restore(page)
    assert second.rows == 100
    assert all((second.arrays[name][:100] == first.arrays[name][:100]).all() for name in COLUMNS)
    (again,) = (second.touch(np.array([0])), second.take_dirty(1))[1]
    assert again == page


def test_a_nan_fill_and_a_negative_zero_are_told_apart_bit_by_bit() -> None:
    columns = {"x": Column("f8", (), np.nan), "y": Column("f8")}
    first = StateTable("spc", "d@1-x", columns)
    first.reserve(9)
    first.arrays["y"][8] = -0.0
    first.touch(np.array([8]))
    (page,) = first.take_dirty(1)
    assert page.present == b"\x00\x01"


def test_a_table_that_is_not_eager_writes_nothing_of_new_rows() -> None:
    lazy = StateTable("spc", "d@1-x", COLUMNS, eager=False)
    lazy.reserve(1000)
    assert lazy.take_dirty(1) == []
    lazy.touch(np.array([0]))
    assert [page.page for page in lazy.take_dirty(2)] == [0]


@pytest.mark.parametrize("present", [b"\x01\x00", b"\x0f"])
def test_a_wrong_bitmap_is_refused(present: bytes) -> None:
    first = table()
    first.reserve(3)
    (page,) = first.take_dirty(1)
    with pytest.raises(StateError, match="say which of 3 rows"):
        table().restore(page._replace(present=present))


def test_a_page_without_a_column_is_refused() -> None:
    first = table()
    first.reserve(1)
    (page,) = first.take_dirty(1)
    with pytest.raises(StateError, match="are not those of its layout"):
        table().restore(page._replace(columns=page.columns[:1]))


@given(st.integers(0, 2**32 - 1), st.integers(1, 700), st.sampled_from([0.0, 0.02, 0.5, 1.0]))
@settings(max_examples=60)
def test_any_rows_round_trip(seed: int, rows: int, part: float) -> None:
    random = np.random.default_rng(seed)
    columns = {"a": Column("f8", (3,), np.nan), "b": Column("i2", (), 4), "c": Column("?"), "d": Column("f4", (0,))}
    first, second = (StateTable("spc", "d@1-x", columns) for _ in range(2))
    first.reserve(rows)
    changed = np.flatnonzero(random.random(rows) < part)
    first.put(changed, {name: random.integers(0, 5, (len(changed), *columns[name].shape)) for name in columns})
    for page in first.take_dirty(1):
        second.restore(page)
    first.reserve(2 * rows)
    second.reserve(2 * rows)
    for name in columns:
        assert first.arrays[name][: 2 * rows].tobytes() == second.arrays[name][: 2 * rows].tobytes()
