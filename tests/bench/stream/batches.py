"""Record batches made ahead, and a connection that appends them: a producer that costs next to nothing.

A producer shares the cores with what it feeds, and one that makes its batches while it sends them takes up to a core at the rates
measured here. So they are made before: Kafka's record batches (magic 2, not compressed, of no idempotent producer), sent with
Produce requests of version 3. Of a batch that is sent again only the time is set anew, and what was
measured, and the checksum over it.
"""

from __future__ import annotations

import socket
import struct
import time
from collections.abc import Mapping, Sequence

import crc32c
import numpy as np

from tests.schemas.wire import varint  # zigzag, seven bits a byte: Kafka's records have numbers as Avro does

Record = tuple[bytes, bytes]  # key, value

_HEADER = struct.Struct(">qiibIhiqqqhii")
_CHECKSUM, _CHECKED = slice(17, 21), slice(21, None)
_TIMES = struct.Struct(">qq")
_TIMES_AT = 27
_DOUBLE = struct.Struct("<d")
_MAGIC = 2
_NONE = -1
_NOT_LEADER = 6
_PRODUCE, _PRODUCE_VERSION = 0, 3
TIMEOUT_S = 30.0


def _record(offset: int, key: bytes, value: bytes) -> bytes:
    body = b"".join((b"\0\0", varint(offset), varint(len(key)), key, varint(len(value)), value, b"\0"))
    return varint(len(body)) + body


class RecordBatch:
    """Records of one partition, all of one time.

    numbers: a double that each record's value has in its bytes, once, and that `stamp` can put another in the place of.
    """

    def __init__(self, records: Sequence[Record], numbers: Sequence[float] = ()) -> None:
        self.count = len(records)
        written = [_record(at, key, value) for at, (key, value) in enumerate(records)]
        body = b"".join(written)
        length = _HEADER.size - 12 + len(body)
        last = self.count - 1
        header = _HEADER.pack(0, length, _NONE, _MAGIC, 0, 0, last, 0, 0, _NONE, _NONE, _NONE, self.count)
        self.data = bytearray(header + body)
        begin = np.cumsum([len(header), *map(len, written)])
        places = [int(at) + each.index(_DOUBLE.pack(x)) for at, each, x in zip(begin, written, numbers, strict=False)]
        self._places = np.array(places, np.int64)[:, None] + np.arange(_DOUBLE.size)
        self.stamp()

    def stamp(self, numbers: np.ndarray | None = None) -> None:
        """Say that all of it was published just now; with (count,) float64 numbers, of these values."""
        now_ms = time.time_ns() // 1_000_000
        _TIMES.pack_into(self.data, _TIMES_AT, now_ms, now_ms)
        if numbers is not None:
            np.frombuffer(self.data, np.uint8)[self._places] = numbers.view(np.uint8).reshape(self.count, _DOUBLE.size)
        with memoryview(self.data) as data:
            self.data[_CHECKSUM] = crc32c.crc32c(data[_CHECKED]).to_bytes(4)


class Appender:
    """Appends record batches to partitions of a topic of one broker, over one connection. A context manager."""

    def __init__(self, bootstrap: str, topic: str) -> None:
        host, port = bootstrap.rsplit(":", 1)
        self._socket = socket.create_connection((host, int(port)), TIMEOUT_S)
        self._answers = self._socket.makefile("rb")
        self._topic = _text(topic)
        self._number = 0

    def __enter__(self) -> Appender:
        """It is connected already."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close the connection."""
        self._answers.close()
        self._socket.close()

    def append(self, batches: Mapping[int, RecordBatch]) -> None:
        """Append a batch to each partition; return when the broker has it. Raises RuntimeError where the broker refuses one.

        A partition that was made just now has no leader yet, and is tried again.
        """
        rest, until = dict(batches), time.monotonic() + TIMEOUT_S
        while rest:
            refused = self._send(rest)
            rest = {partition: rest[partition] for partition in refused}
            wrong = {partition: error for partition, error in refused.items() if error != _NOT_LEADER}
            if wrong or (rest and time.monotonic() > until):
                raise RuntimeError(f"Kafka's errors by partition: {refused}")

    def _send(self, batches: Mapping[int, RecordBatch]) -> dict[int, int]:
        self._number += 1
        parts = [
            struct.pack(">hhi", _PRODUCE, _PRODUCE_VERSION, self._number),
            _text("feed"),
            struct.pack(">hhii", _NONE, 1, int(TIMEOUT_S * 1000), 1),  # not of a transaction; acks; one topic
            self._topic,
            struct.pack(">i", len(batches)),
        ]
        for partition, batch in batches.items():
            parts += [struct.pack(">ii", partition, len(batch.data)), batch.data]
        self._socket.sendall(b"".join((struct.pack(">i", sum(map(len, parts))), *parts)))
        (size,) = struct.unpack(">i", self._answers.read(4))
        return self._refused(self._answers.read(size))

    def _refused(self, answer: bytes) -> dict[int, int]:
        number, _, length = struct.unpack_from(">iih", answer)
        if number != self._number:
            raise RuntimeError(f"answer {number} to request {self._number}")
        at = 10 + length
        (partitions,) = struct.unpack_from(">i", answer, at)
        told = struct.iter_unpack(">ihqq", answer[at + 4 : at + 4 + 22 * partitions])
        return {partition: error for partition, error, *_ in told if error}


def _text(text: str) -> bytes:
    return struct.pack(">h", len(text)) + text.encode()
