"""Avro's wire format by hand, and records to put on it: what the tests of schemas/ share."""

from __future__ import annotations

import struct
import time
import tracemalloc
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
from hypothesis import strategies as st

from schemas.batch import RawBatch
from schemas.encode import Encoder
from schemas.topics import load

ID = 7
ENCODER = Encoder("measurement", ID)
ARRAY_ID = 11
ARRAY_ENCODER = Encoder("measurement_array", ARRAY_ID)
SCHEMAS: dict[int, Any] = {ID: load("measurement"), ARRAY_ID: load("measurement_array")}


def schema_of(schema_id: int) -> Any:
    """A registry that knows the schemas of measurements."""
    from schemas.registry import UnknownSchema

    try:
        return SCHEMAS[schema_id]
    except KeyError:
        raise UnknownSchema(f"schema id {schema_id}") from None


def header(schema_id: int = ID) -> bytes:
    return struct.pack(">bI", 0, schema_id)


@contextmanager
def costs_nothing() -> Iterator[None]:
    """Assert that what is done takes less than a megabyte and a second, whatever lengths its input declares."""
    began = time.process_time()
    tracemalloc.start()
    try:
        yield
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 1_000_000
    assert time.process_time() - began < 1


def varint(number: int) -> bytes:
    """Return a long as Avro writes it: zigzag, seven bits a byte, least significant first."""
    zigzag = (number << 1) ^ (number >> 63)
    zigzag &= 2**64 - 1
    out = bytearray()
    while zigzag > 0x7F:
        out.append(zigzag & 0x7F | 0x80)
        zigzag >>= 7
    out.append(zigzag)
    return bytes(out)


def text(word: str) -> bytes:
    return varint(len(word.encode())) + word.encode()


def measurement(**fields: Any) -> dict[str, Any]:
    return {
        "event_id": "e1",
        "timestamp": 1_700_000_000_000,
        "equipment": "ETCH-07",
        "chamber": "B",
        "recipe": "POLY_V3",
        "operation": "4200",
        "characteristic": "CD_WIDTH",
        "lot": "L1",
        "wafer": "07",
        "site": None,
        "subgroup": None,
        "value": 45.25,
        "unit": "nm",
        "lsl": 40.0,
        "usl": 50.0,
        "target": None,
        "sample_size": None,
        "metadata": {"shift": "A"},
        **fields,
    }


def samples(*values: float | None, **fields: Any) -> dict[str, Any]:
    """A measurement of many samples, a millisecond and a half apart."""
    shared = {name: said for name, said in measurement().items() if name != "value"}
    return {**shared, "period_us": 1_500, "values": list(values), **fields}


def batch(values: Sequence[bytes | None], first: int = 100, gap: int = 3) -> RawBatch:
    """Put values in a batch whose offsets have gaps, as a transactional log has."""
    n = len(values)
    offset = first + gap * np.arange(n, dtype=np.int64)
    return RawBatch("fab.measurements", 2, offset, 5_000 + offset, [b"k"] * n, list(values), first + gap * n)


words = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
finite = st.floats(allow_nan=False, allow_infinity=False)
longs = st.integers(-(2**63), 2**63 - 1)

measurements = st.fixed_dictionaries(
    {
        "event_id": words,
        "timestamp": longs,
        "equipment": words,
        "chamber": words,
        "recipe": words,
        "operation": words,
        "characteristic": words,
        "lot": st.none() | words,
        "wafer": st.none() | words,
        "site": st.none() | words,
        "subgroup": st.none() | words,
        "value": st.none() | finite,
        "unit": words,
        "lsl": st.none() | finite,
        "usl": st.none() | finite,
        "target": st.none() | finite,
        "sample_size": st.none() | finite,
        "metadata": st.dictionaries(words, words, max_size=3),
    }
)

arrays = st.builds(
    lambda record, values, period: {
        **{k: v for k, v in record.items() if k != "value"},
        "values": values,
        "period_us": period,
    },
    measurements,
    st.lists(st.none() | st.floats(allow_infinity=False), min_size=1, max_size=6),
    st.integers(0, 10_000) | st.sampled_from([86_400_000_000, -1, 2**63 - 1]),
)
