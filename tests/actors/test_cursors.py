"""Cursors come back from anybody: whatever they hold, it is a place or a ValueError."""

from __future__ import annotations

import base64
import json
import zlib
from typing import Any

import pytest

from actors import cursors
from actors.letter_pages import marks_of

DEEP = 3_000


def crafted(text: str, *, packed: bool = True) -> str:
    data = zlib.compress(text.encode()) if packed else text.encode()
    return base64.urlsafe_b64encode(data).decode().rstrip("=")


@pytest.mark.parametrize("packed", [True, False])
@pytest.mark.parametrize(
    "text",
    [
        "[" * DEEP, '{"a":' * DEEP, "[1e999, 1]", '{"t": {"0": 1e999}}', "null", "[]", "[[1], 2, 3]",
        "[" + "9" * 5_000 + ", 1]", "\x00",
    ],
    ids=lambda text: text[:10],
)  # fmt: skip
def test_what_is_crafted_is_refused_and_breaks_nothing(text: str, packed: bool) -> None:
    for read in (cursors.number_and_text, lambda said: {int(a): int(b) for a, b in said.items()}):
        with pytest.raises(ValueError, match="not given by this API"):
            cursors.decode(crafted(text, packed=packed), read)
    with pytest.raises(ValueError, match="not given by this API"):
        marks_of(crafted(text, packed=packed))


def test_what_unpacks_to_too_much_is_refused() -> None:
    bomb = crafted(json.dumps(["x" * 10 * cursors.UNPACKED_BYTES_MAX]))
    assert len(bomb) < 4_000
    with pytest.raises(ValueError, match="not given by this API"):
        cursors.decode(bomb, list)


@pytest.mark.parametrize("place", [[7, "a"], {"0": 3}, ["\ud800é", None, -1.5]])
def test_a_place_comes_back(place: Any) -> None:
    assert cursors.decode(cursors.encode(place), lambda said: said) == place
