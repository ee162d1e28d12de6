"""A row or a DeadLetter, never an exception: the decoder against fastavro's own reader, and against hostile bytes."""

from __future__ import annotations

import math
import random
from collections.abc import Sequence
from io import BytesIO
from typing import Any

import fastavro
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from schemas.batch import SERIES_KEY_BYTES_MAX, TEXT_BYTES_MAX, MicroBatch, Reason, SeriesDictionary, cut, series_key
from schemas.decode import MeasurementDecoder, UnreadableRecord, decode_event, subgroup_code
from schemas.encode import Encoder, without_logical_types
from schemas.resolution import BAD_BYTES
from schemas.topics import load, record_names
from tests.schemas.wire import (
    ENCODER,
    ID,
    batch,
    costs_nothing,
    header,
    measurement,
    measurements,
    schema_of,
    text,
    varint,
    words,
)

GOOD = ENCODER.encode(measurement())
PARSED: Any = fastavro.parse_schema(without_logical_types(load("measurement")))
KEY = ("equipment", "chamber", "recipe", "operation", "characteristic")


def decode(values: Sequence[bytes | None], series: SeriesDictionary | None = None) -> MicroBatch:
    return MeasurementDecoder(schema_of).decode(batch(values), SeriesDictionary() if series is None else series)


def oracle(value: bytes) -> dict[str, Any] | None:
    """Read a value as fastavro does; None if it raises, leaves bytes, a number is infinite, or a text is too long."""
    stream = BytesIO(value[5:])
    try:
        record: Any = fastavro.schemaless_reader(stream, PARSED, None)
    except BAD_BYTES:
        return None
    numbers = [record[name] for name in ("value", "lsl", "usl", "target", "sample_size")]
    if stream.read() or any(number is not None and math.isinf(number) for number in numbers):
        return None
    texts = [record[name] or "" for name in (*KEY, "lot", "wafer", "subgroup")]
    too_long = max(len(word.encode()) for word in texts) > TEXT_BYTES_MAX
    if too_long or len(series_key(*(record[name] for name in KEY)).encode()) > SERIES_KEY_BYTES_MAX:
        return None
    return record


def check(got: MicroBatch, records: Sequence[dict[str, Any]], series: SeriesDictionary) -> None:
    """Every column is what the records say, one at a time."""
    assert len(got) == len(records)
    nan = [math.nan if record["value"] is None else record["value"] for record in records]
    np.testing.assert_array_equal(got.value, np.array(nan))
    for row, record in enumerate(records):
        assert got.event_time_ms[row] == record["timestamp"]
        assert series.keys[got.series[row]] == series_key(*(record[name] for name in KEY))
        assert got.subgroup[row] == subgroup_code(record["subgroup"])
        assert got.columns["lot"][row] == (record["lot"] or "")
        assert got.columns["wafer"][row] == (record["wafer"] or "")
        for name in ("lsl", "usl", "target", "sample_size"):
            given_number = record[name]
            assert got.columns[name][row] == given_number or (given_number is None or math.isnan(given_number))


@pytest.mark.slow
@given(st.lists(measurements, max_size=8))
def test_columns_are_what_fastavro_reads(records: list[dict[str, Any]]) -> None:
    series = SeriesDictionary()
    values = [ENCODER.encode(record) for record in records]
    check(decode(values, series), [read for value in values if (read := oracle(value))], series)


@pytest.mark.slow
@given(st.lists(measurements, min_size=1, max_size=12), st.data())
def test_cuts_do_not_matter(records: list[dict[str, Any]], data: st.DataObject) -> None:
    values: list[bytes | None] = [ENCODER.encode(record) for record in records]
    for at in data.draw(st.lists(st.integers(0, len(values) - 1), max_size=4)):
        values[at] = data.draw(st.none() | st.binary(max_size=20))
    raw = batch(values)
    whole_series, cut_series = SeriesDictionary(), SeriesDictionary()
    decoder = MeasurementDecoder(schema_of)
    whole = decoder.decode(raw, whole_series)
    offsets = data.draw(st.lists(st.integers(99, raw.next_offset), max_size=4, unique=True))
    pieces = [decoder.decode(piece, cut_series) for piece in cut(raw, offsets)]
    assert cut_series.keys == whole_series.keys
    assert sum((piece.rejects for piece in pieces), ()) == whole.rejects
    for name in ("offset", "event_time_ms", "published_ms", "series", "value", "subgroup"):
        np.testing.assert_array_equal(np.concatenate([getattr(piece, name) for piece in pieces]), getattr(whole, name))
    for name, column in whole.columns.items():
        np.testing.assert_array_equal(np.concatenate([piece.columns[name] for piece in pieces]), column)


def agree(value: bytes) -> None:
    """The decoder and fastavro agree on a value behind our schema's header; neighbours are untouched."""
    series = SeriesDictionary()
    got = decode([GOOD, value, GOOD], series)
    expected = oracle(value)
    assert len(got) + len(got.rejects) == 3
    assert bool(got.rejects) == (expected is None)
    good = oracle(GOOD)
    assert good is not None
    check(got, [good, *([expected] if expected else []), good], series)
    if got.rejects:
        assert got.rejects[0].value == value
        assert len(series) == 1


@pytest.mark.parametrize("length", range(len(GOOD)))
def test_truncated_at_every_byte(length: int) -> None:
    got = decode([GOOD, GOOD[:length], GOOD])
    assert len(got) == 2
    [letter] = got.rejects
    assert letter.reason is (Reason.NOT_AVRO if length < 5 else Reason.MALFORMED)


@pytest.mark.slow
def test_every_bit_flipped() -> None:
    for at in range(5 * 8, len(GOOD) * 8):
        flipped = bytearray(GOOD)
        flipped[at // 8] ^= 1 << at % 8
        agree(bytes(flipped))


def test_every_bit_of_the_header_flipped() -> None:
    for at in range(5 * 8):
        flipped = bytearray(GOOD)
        flipped[at // 8] ^= 1 << at % 8
        [letter] = decode([bytes(flipped), GOOD]).rejects
        assert letter.reason is (Reason.NOT_AVRO if at < 8 else Reason.UNKNOWN_SCHEMA)


@given(st.binary(max_size=200))
def test_garbage_behind_a_good_header(garbage: bytes) -> None:
    agree(header() + garbage)


@given(st.lists(st.none() | st.binary(max_size=60), max_size=10))
def test_garbage_all_over(values: list[bytes | None]) -> None:
    got = decode(values)
    assert len(got) + len(got.rejects) == len(values)


@pytest.mark.slow
@given(measurements, st.data())
def test_mutated_records(record: dict[str, Any], data: st.DataObject) -> None:
    value = bytearray(ENCODER.encode(record))
    for _ in range(data.draw(st.integers(1, 3))):
        at = data.draw(st.integers(5, len(value)))
        kind = data.draw(st.sampled_from(["set", "insert", "delete"]))
        if kind == "insert" or at >= len(value):
            value[at:at] = data.draw(st.binary(min_size=1, max_size=11))
        elif kind == "set":
            value[at] = data.draw(st.integers(0, 255))
        elif len(value) > 6:
            del value[at]
    agree(bytes(value))


@given(
    st.lists(st.tuples(st.sampled_from(["x", "|", "%", "ß", "€", "😀"]), st.integers(0, 300)), min_size=8, max_size=8)
)
def test_long_texts(pieces: list[tuple[str, int]]) -> None:
    words_of = dict(zip((*KEY, "lot", "wafer", "subgroup"), (char * n for char, n in pieces), strict=True))
    agree(ENCODER.encode(measurement(**words_of)))


def test_twenty_thousand_random_mutations() -> None:
    """As many as the time allows of what hypothesis is too slow for; the seed is fixed."""
    dice = random.Random(20261123)
    values: list[bytes] = []
    for _ in range(20_000):
        value = bytearray(GOOD)
        for _ in range(dice.randint(1, 6)):
            value[dice.randrange(5, len(value))] = dice.randrange(256)
        if dice.random() < 0.3:
            value += dice.randbytes(dice.randint(1, 20))
        values.append(bytes(value))
    got = decode(values)
    assert len(got) + len(got.rejects) == len(values)
    assert {letter.reason for letter in got.rejects} >= {Reason.MALFORMED, Reason.TRAILING_BYTES}
    expected = [record for value in values if (record := oracle(value)) is not None]
    assert got.event_time_ms.tolist() == [record["timestamp"] for record in expected]


HUGE = [-1, -(2**31), -(2**63), 2**31, 2**40, 2**62, 2**63 - 1]
BEFORE_MAP = GOOD[: -len(varint(1) + text("shift") + text("A") + b"\0")]


@pytest.mark.parametrize("length", HUGE)
@pytest.mark.parametrize("place", ["text", "key", "value", "map", "map block", "union"])
def test_declared_lengths_cost_nothing(place: str, length: int) -> None:
    """Lengths and counts that the bytes do not hold: no hang, no memory, a dead letter."""
    hostile = {
        "text": header() + varint(length) + b"abc",
        "key": BEFORE_MAP + varint(1) + varint(length) + b"abc",
        "value": BEFORE_MAP + varint(1) + text("k") + varint(length) + b"abc",
        "map": BEFORE_MAP + varint(length) + text("k") + text("v"),
        "map block": BEFORE_MAP + varint(-1) + varint(length) + text("k") + text("v") + varint(length),
        "union": BEFORE_MAP[:-1] + varint(length),
    }[place]
    if place == "union" and length == -1:
        return  # fastavro reads the index -1 as the last branch, as Python would: test_negative_indices
    with costs_nothing():
        [letter] = decode([hostile, GOOD]).rejects
    assert letter.reason is Reason.MALFORMED


def test_negative_indices_are_read_from_the_end() -> None:
    """What fastavro does with them, written down: no writer makes them, and nothing is out of bounds."""
    record = measurement(target=None, metadata={})
    value = ENCODER.encode(record)
    assert value[-2:] == b"\0\0"
    assert len(decode([value[:-2] + varint(-2) + b"\0"])) == 1


def test_an_overlong_varint() -> None:
    assert decode([header() + b"\xff" * 1000 + b"\x01"]).rejects[0].reason is Reason.MALFORMED


def evolved(data: st.DataObject) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return a newer writer's schema, with fields that we do not know anywhere, and values for them."""
    types = {
        "string": words, "double": st.floats(allow_nan=False), "long": st.integers(-(2**63), 2**63 - 1),
        "boolean": st.booleans(), "bytes": st.binary(max_size=5), "map": st.dictionaries(words, words, max_size=2),
        "array": st.lists(words, max_size=3), "union": st.none() | words,
    }  # fmt: skip
    written = {
        "map": {"type": "map", "values": "string"},
        "array": {"type": "array", "items": "string"},
        "union": ["null", "string"],
    }
    fields, extra = list(load("measurement")["fields"]), {}
    for number, kind in enumerate(data.draw(st.lists(st.sampled_from(sorted(types)), max_size=4))):
        name = f"new_{number}"
        fields.insert(data.draw(st.integers(0, len(fields))), {"name": name, "type": written.get(kind, kind)})
        extra[name] = data.draw(types[kind])
    dropped = data.draw(st.sets(st.sampled_from(["chamber", "lot", "lsl", "metadata", "unit", "subgroup"])))
    return {**load("measurement"), "fields": [field for field in fields if field["name"] not in dropped]}, extra


@pytest.mark.slow
@given(measurements, st.data())
def test_newer_and_older_writers(record: dict[str, Any], data: st.DataObject) -> None:
    """A field more is passed over, a field less is its default; truncated anywhere it is still a dead letter."""
    schema, extra = evolved(data)
    names = {field["name"] for field in schema["fields"]}
    value = Encoder(schema, ID).encode({name: item for name, item in (record | extra).items() if name in names})
    expected = {
        field["name"]: record[field["name"]] if field["name"] in names else field["default"]
        for field in load("measurement")["fields"]
        if field["name"] in names or "default" in field
    }
    series = SeriesDictionary()
    decoder = MeasurementDecoder({ID: schema}.__getitem__)
    check(decoder.decode(batch([value]), series), [expected], series)
    short = value[: data.draw(st.integers(5, len(value) - 1))]
    assert decoder.decode(batch([short]), series).rejects[0].reason is Reason.MALFORMED


@settings(max_examples=30)
@given(st.sampled_from(record_names()), st.binary(max_size=120))
def test_events_from_garbage(name: str, garbage: bytes) -> None:
    try:
        decode_event(header() + garbage, {ID: load(name)}.__getitem__)
    except UnreadableRecord as error:
        assert error.reason in {Reason.MALFORMED, Reason.TRAILING_BYTES}  # noqa: PT017 - both ways are right
