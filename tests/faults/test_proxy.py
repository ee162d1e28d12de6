"""The walk over Kafka's requests: however a stream is cut into pieces, all of it goes on in order, and every end is seen once."""

from __future__ import annotations

import asyncio
import struct
from typing import Any

import pytest

from tests.faults.proxy import END_TXN, _Frames


def request(key: int, body: bytes) -> bytes:
    return struct.pack(">ihh", 4 + len(body), key, 1) + body


class Seen:
    """Stands where the proxy does; notes the ends of transactions."""

    def __init__(self) -> None:
        self.frames: list[bytes] = []

    async def end_of_transaction(self, frame: bytes, number: int) -> None:
        assert number == 2
        self.frames.append(frame)


STREAM = [
    request(0, b"x" * 50),
    request(END_TXN, b"first"),
    request(24, b""),
    request(END_TXN, b"second"),
    request(3, b"y" * 9),
]


@pytest.mark.parametrize("piece", [1, 2, 3, 5, 6, 7, 64, 1000])
def test_ends_are_seen_once_and_nothing_is_changed(piece: int) -> None:
    async def walk() -> tuple[bytes, list[bytes]]:
        seen: Any = Seen()
        frames, data = _Frames(seen, 2), b"".join(STREAM)
        went_on = b""
        for at in range(0, len(data), piece):
            went_on += await frames.hold(data[at : at + piece])
        return went_on, seen.frames

    went_on, ends = asyncio.run(walk())
    assert went_on == b"".join(STREAM)
    assert ends == [STREAM[1], STREAM[3]]


def test_an_end_that_is_not_whole_waits() -> None:
    async def walk() -> bytes:
        return await _Frames(Seen(), 2).hold(STREAM[0] + STREAM[1][:-1])  # type: ignore[arg-type]

    assert asyncio.run(walk()) == STREAM[0]
