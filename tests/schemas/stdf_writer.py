"""Writes STDF V4, in either byte order, and turns a file around: what the reader is tested with."""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import Any

from schemas.stdf.layouts import LAYOUTS, Order

_CODES = {"U1": "B", "U2": "H", "U4": "I", "I1": "b", "I2": "h", "I4": "i", "R4": "f", "R8": "d", "B1": "B"}
_BY_NAME = {layout.name: layout for layout in LAYOUTS.values()}


def record(name: str, order: Order, /, **fields: Any) -> bytes:
    """Return a record; it ends after the last field that is given. What is left out before that is 0, a space, or no text."""
    layout = _BY_NAME[name]
    assert fields.keys() <= {field.name for field in layout.fields}, fields.keys()
    last = max((i for i, field in enumerate(layout.fields) if fields.get(field.name) is not None), default=-1)
    body = b""
    for field in layout.fields[: last + 1]:
        value = fields.get(field.name)
        if field.times and field.code == "N1":
            halves = [*(value or ()), 0]
            body += bytes(halves[i] | halves[i + 1] << 4 for i in range(0, len(halves) - 1, 2))
        elif field.times:
            body += struct.pack(f"{order}{len(value or ())}{_CODES[field.code]}", *(value or ()))
        elif field.code == "Cn":
            text = b"" if value is None else (value or "\0").encode("latin-1")
            body += bytes([len(text)]) + text
        elif field.code == "C1":
            body += (" " if value is None else value or "\0").encode()
        else:
            body += struct.pack(order + _CODES[field.code], value or 0)
    return framed(layout.kind, body, order)


def framed(kind: tuple[int, int], body: bytes, order: Order) -> bytes:
    return struct.pack(f"{order}HBB", len(body), *kind) + body


def far(order: Order) -> bytes:
    return record("FAR", order, CPU_TYPE=1 if order == ">" else 2, STDF_VER=4)


def turned(content: bytes) -> bytes:
    """Return a big-endian file as a little-endian tester would have written it, field by field."""
    made, at = [far("<")], 6
    while at < len(content):
        length, *kind = struct.unpack_from(">HBB", content, at)
        body = content[at + 4 : at + 4 + length]
        layout = LAYOUTS.get((kind[0], kind[1]))
        if layout is None:
            made.append(framed((kind[0], kind[1]), _FURTHER[kind[0], kind[1]](body), "<"))
        else:
            made.append(record(layout.name, "<", **layout.read(body, ">")))
        at += 4 + length
    return b"".join(made)


def _sizes(*sizes: int) -> Callable[[bytes], bytes]:
    def turn(body: bytes) -> bytes:
        made, at = b"", 0
        for size in sizes:
            made += body[at : at + size][::-1]
            at += size
        return made + body[at:]

    return turn


def _generic(body: bytes) -> bytes:
    """Turn a GDR: a count, then values after a code of their type."""
    made, at = body[:2][::-1], 2
    while at < len(body):
        code = body[at]
        size = {0: 0, 1: 1, 2: 2, 3: 4, 4: 1, 5: 2, 6: 4, 7: 4, 8: 8}.get(code)
        made += body[at : at + 1]
        at += 1
        if size is None:  # a text
            size = 1 + body[at]
            made += body[at : at + size]
        else:
            made += body[at : at + size][::-1]
        at += size
    return made


_FURTHER: dict[tuple[int, int], Callable[[bytes], bytes]] = {
    (1, 30): _sizes(1, 1, 4, 4, 4, 4, 4),  # PCR
    (1, 80): _sizes(),  # SDR: bytes and texts
    (2, 30): _sizes(4, 4, 4, 1, 1, 2, 2),  # WCR
    (10, 30): _sizes(1, 1, 1, 4, 4, 4, 4),  # TSR, which ends in texts here
    (20, 10): _sizes(),  # BPS
    (20, 20): _sizes(),  # EPS
    (50, 10): _generic,
}
