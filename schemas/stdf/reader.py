"""Reading STDF V4 from a stream: the records one after the other, with where they stand, and what is wrong in one line.

Theory of operation
-------------------
1. The first record, FAR, tells the byte order twice: by its length, which is 2, and by CPU_TYPE. Both must agree.
2. A record is four bytes (length, type, subtype) and as many bytes as the length says. Those of no use here are counted only.
3. A type that no edition of V4 knows means that the reader is not where a record begins: the file is damaged there.
4. A file ends with its MRR. One that does not is cut off, even if it is cut between two records.
5. An error says at which byte of the uncompressed content it is, and how many whole records stand before it.
"""

from __future__ import annotations

import zlib
from collections import Counter
from collections.abc import Iterator
from typing import Any, BinaryIO, NamedTuple

from schemas.stdf.layouts import CUSTOM_FROM, LAYOUTS, RESERVED, SKIPPED, FieldCutError, Order

CONTENT_BYTES_MAX = 64 * 1024**3  # of one file, uncompressed
READ_BYTES = 1024 * 1024  # at a time
VERSION = 4
BIG, LITTLE, VAX = 1, 2, 0  # CPU_TYPE; others are not defined
_HEADER_BYTES = 4
_FAR_BYTES = 6
_ORDER_OF_CPU: dict[int, Order] = {BIG: ">", LITTLE: "<"}
_WORDS: dict[Order, str] = {">": "big-endian", "<": "little-endian"}


class StdfError(ValueError):
    """The content is not STDF V4 from this byte on; `records` whole ones stand before it."""

    def __init__(self, offset: int, records: int, why: str) -> None:
        before = f"; {records:,} whole records stand before it" if records else ""
        super().__init__(f"byte {offset:,}: {why}{before}")
        self.offset, self.records = offset, records


class Record(NamedTuple):
    """One record."""

    name: str  # e.g. "PTR"
    offset: int  # of its header in the uncompressed content
    fields: dict[str, Any]  # None = absent


class StdfReader:
    """The records of a stream that LAYOUTS has fields of, in order. Iterate once.

    Raises StdfError as it comes to what is wrong; what it gave out before is right.
    """

    def __init__(self, stream: BinaryIO) -> None:
        self._read = getattr(stream, "read1", stream.read)  # read keeps back what stands before a place that is damaged
        self._block, self._at, self._begin = b"", 0, 0  # the bytes read last, where in them we are, where they begin
        self.counts: Counter[str] = Counter()  # of all whole records so far, by name
        self.order: Order | None = None  # known when the first record is read

    @property
    def offset(self) -> int:
        """Where the next record begins."""
        return self._begin + self._at

    @property
    def records(self) -> int:
        """How many whole records there were so far."""
        return self.counts.total()

    def __iter__(self) -> Iterator[Record]:
        """Yield the records."""
        order = self.order = self._first()
        last = ""
        while self._has(1):
            offset = self.offset
            if not self._has(_HEADER_BYTES):
                raise self._cut("a header of 4 bytes begins")
            kind = (self._block[self._at + 2], self._block[self._at + 3])
            length = int.from_bytes(self._block[self._at : self._at + 2], "little" if order == "<" else "big")
            layout = LAYOUTS.get(kind)
            name = layout.name if layout else _name(kind)
            if not name:
                raise self._wrong(f"a record of type {kind[0]}/{kind[1]}, which STDF V4 does not have: damaged here")
            if not self._has(_HEADER_BYTES + length):
                raise self._cut(f"a record {name} of {length:,} bytes begins")
            begin = self._at + _HEADER_BYTES
            body = self._block[begin : begin + length]
            if layout:
                try:
                    fields = layout.read(body, order)
                except FieldCutError as error:
                    raise self._wrong(
                        f"the record {name} of {length:,} bytes ends inside or before its field {error}"
                    ) from None
                yield Record(name, offset, fields)
            self._at = begin + length
            self.counts[name] += 1
            last = name
        if last != "MRR":
            raise self._wrong("the file ends without an MRR, which ends every STDF file: it is cut off")

    def _first(self) -> Order:
        """Read FAR; return the byte order."""
        if not self._has(1):
            raise self._wrong("the file is empty")
        if not self._has(_FAR_BYTES):
            raise self._cut("a record FAR of 2 bytes must begin the file")
        first = self._block[:_FAR_BYTES]
        if first[:4] in (b"\x02\x00\x0a\x00", b"\x00\x02\x0a\x00") and first[4] == VERSION:
            raise self._wrong("FAR with its bytes swapped in pairs: swap them back, as `dd conv=swab` does")
        if first[2:4] != b"\x00\x0a" or first[:2] not in (b"\x00\x02", b"\x02\x00"):
            raise self._wrong(f"no STDF: a record FAR of 2 bytes must begin the file, not {first.hex(' ')}")
        cpu, version = first[4], first[5]
        if version != VERSION:
            raise self._wrong(f"FAR says STDF version {version}; {VERSION} is what is read here")
        if cpu == VAX:
            raise self._wrong("CPU_TYPE 0: numbers of a VAX, which are not IEEE 754; they are not read here")
        order = _ORDER_OF_CPU.get(cpu)
        if order is None:
            raise self._wrong(f"CPU_TYPE {cpu} is not defined: 1 is big-endian, 2 little-endian")
        written: Order = ">" if first[0] == 0 else "<"
        if written != order:
            raise self._wrong(
                f"CPU_TYPE {cpu} says {_WORDS[order]}, but the length before it is {_WORDS[written]}: bytes were swapped"
            )
        return order

    def _has(self, size: int) -> bool:
        """Tell whether so many bytes come; read as far as that needs."""
        while len(self._block) - self._at < size:
            try:
                more = self._read(READ_BYTES)
            except (EOFError, OSError, zlib.error) as error:  # of a decompressing stream
                raise self._wrong(f"the compressed data break off or are damaged after this ({error})") from error
            if not more:
                return False
            self._begin += self._at
            self._block, self._at = self._block[self._at :] + more, 0
            if self._begin + len(self._block) > CONTENT_BYTES_MAX:
                raise self._wrong(f"more than {CONTENT_BYTES_MAX:,} bytes")
        return True

    def _cut(self, what: str) -> StdfError:
        return self._wrong(f"{what}, and {len(self._block) - self._at:,} bytes are left: the file is cut off")

    def _wrong(self, why: str) -> StdfError:
        return StdfError(self.offset, self.records, why)


def _name(kind: tuple[int, int]) -> str:
    """Return what a record that is not read is called; nothing if V4 has no such type."""
    if kind in SKIPPED:
        return SKIPPED[kind]
    return f"{kind[0]}/{kind[1]}" if kind[0] >= CUSTOM_FROM or kind[0] in RESERVED else ""
