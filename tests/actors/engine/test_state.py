"""State tables and their pages."""

from __future__ import annotations

import numpy as np
import pytest

from actors.engine.state import PAGE_BYTES, StateTable
from actors.errors import ConfigError, StateError
from models.detector import Column

COLUMNS = {"z": Column("f8", fill=1.5), "ring": Column("i4", (100,))}


def table() -> StateTable:
    return StateTable("spc", "d@1-x", COLUMNS)


def test_pages_round_trip() -> None:
    first = table()
    first.reserve(2000)
    first.arrays["z"][:2000] = np.arange(2000)
    pages = first.take_dirty(3)
    assert len(pages) > 1
    assert all(sum(len(data) for _, data in page.columns) <= PAGE_BYTES for page in pages)
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
        table().restore(page._replace(columns=(("z", b"abc"),)))


def test_a_series_that_does_not_fit_a_page_is_refused() -> None:
    with pytest.raises(ConfigError, match="the limit is"):
        StateTable("spc", "big@1-x", {"ring": Column("f8", (40_000,))})
