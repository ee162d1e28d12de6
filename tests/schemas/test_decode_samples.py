"""Records of many samples: a row for each, or one dead letter; beside single measurements, and never an exception."""

from __future__ import annotations

import math
import random
from collections.abc import Sequence
from io import BytesIO
from typing import Any

import fastavro
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.batch import MicroBatch, Reason, SeriesDictionary, after, cut, series_key
from schemas.columnar.samples import PERIOD_US_MAX, SAMPLES_MAX
from schemas.decode import MeasurementDecoder, decode_event, subgroup_code
from schemas.encode import Encoder, without_logical_types
from schemas.reading import event_codes
from schemas.resolution import BAD_BYTES
from schemas.texts import Texts
from schemas.topics import load
from tests.schemas.test_decode_fuzz import KEY
from tests.schemas.test_decode_fuzz import oracle as single_oracle
from tests.schemas.wire import (
    ARRAY_ENCODER,
    ARRAY_ID,
    ENCODER,
    arrays,
    batch,
    costs_nothing,
    header,
    measurement,
    measurements,
    samples,
    schema_of,
    text,
    varint,
)

GOOD = ENCODER.encode(measurement())
MANY = ARRAY_ENCODER.encode(samples(1.0, None, 3.0))
PARSED: Any = fastavro.parse_schema(without_logical_types(load("measurement_array")))
TOPMOST = 2**63 - 1


def decode(*values: bytes | None, series: SeriesDictionary | None = None, **options: Any) -> MicroBatch:
    known = SeriesDictionary() if series is None else series
    return MeasurementDecoder(schema_of).decode(batch(values), known, **options)


def oracle(value: bytes) -> list[dict[str, Any]] | None:
    """Return the single measurements that a record is as good as, read by fastavro; None if it is a dead letter."""
    if value[:5] == header():
        single = single_oracle(value)
        return None if single is None else [single]
    stream = BytesIO(value[5:])
    try:
        record: Any = fastavro.schemaless_reader(stream, PARSED, None)
    except BAD_BYTES:
        return None
    values, period, first = record.pop("values"), record.pop("period_us"), record["timestamp"]
    alike = ENCODER.encode(record | {"value": None})
    last = first + max(0, len(values) - 1) * period // 1000
    if stream.read() or not 0 < len(values) <= SAMPLES_MAX or not 0 <= period <= PERIOD_US_MAX or last > TOPMOST:
        return None
    if any(value is not None and math.isinf(value) for value in values) or single_oracle(alike) is None:
        return None
    return [record | {"value": v, "timestamp": first + i * period // 1000} for i, v in enumerate(values)]


def check(got: MicroBatch, values: Sequence[bytes], series: SeriesDictionary) -> None:
    """Every row is what the records say, one at a time."""
    read = [oracle(value) for value in values]
    rows = [
        (row, offset, i) for row, offset in zip(read, batch(values).offset, strict=True) for i in range(len(row or ()))
    ]
    assert got.offset.tolist() == [offset for _, offset, _ in rows]
    assert len(got.rejects) == sum(row is None for row in read)
    assert got.records == len(values) - len(got.rejects)
    numbers = [i for _, _, i in rows]
    assert (got.sample is None) == (not any(numbers))
    assert got.sample is None or got.sample.tolist() == numbers
    for at, (record, _, i) in enumerate(rows):
        single = (record or [])[i]
        assert got.event_time_ms[at] == single["timestamp"]
        assert series.keys[got.series[at]] == series_key(*(single[name] for name in KEY))
        assert got.subgroup[at] == subgroup_code(single["subgroup"])
        assert (got.columns["lot"][at], got.columns["wafer"][at]) == (single["lot"] or "", single["wafer"] or "")
        columns = {"value": got.value, **got.columns}
        for name in ("value", "lsl", "usl", "target", "sample_size"):
            said = math.nan if single[name] is None else single[name]
            np.testing.assert_array_equal(columns[name][at], said)


def test_a_record_is_as_many_rows_as_it_has_samples() -> None:
    series = SeriesDictionary()
    other = ARRAY_ENCODER.encode(samples(math.nan, 7.0, equipment="E2", period_us=0, subgroup="S1", lot=None))
    got = decode(MANY, GOOD, other, series=series)
    assert (len(got), got.records, got.next_offset, got.rejects) == (6, 3, 109, ())
    assert got.offset.tolist() == [100, 100, 100, 103, 106, 106]
    assert got.sample is not None
    assert got.sample.tolist() == [0, 1, 2, 0, 0, 1]
    np.testing.assert_array_equal(got.value, [1.0, math.nan, 3.0, 45.25, math.nan, 7.0])
    assert (got.event_time_ms - 1_700_000_000_000).tolist() == [0, 1, 3, 0, 0, 0]
    assert got.published_ms.tolist() == [5100, 5100, 5100, 5103, 5106, 5106]
    assert [series.keys[code].partition("|")[0] for code in got.series] == ["ETCH-07"] * 4 + ["E2"] * 2
    assert got.columns["lot"].tolist() == ["L1"] * 4 + [""] * 2
    assert got.columns["usl"].tolist() == [50.0] * 6
    assert got.subgroup.tolist() == [-1] * 4 + [subgroup_code("S1")] * 2


def test_columns_have_the_dtypes_of_single_measurements_and_are_read_only() -> None:
    many, single = decode(MANY), decode(GOOD)
    assert set(many.columns) == {*single.columns, "sample"}
    for name in ("offset", "event_time_ms", "published_ms", "series", "value", "subgroup", *many.columns):
        column = many.columns[name] if name in many.columns else getattr(many, name)
        column = column.codes if isinstance(column, Texts) else column
        alike = single.columns.get(name, many.series) if name in many.columns else getattr(single, name)
        alike = alike.codes if isinstance(alike, Texts) else alike
        assert (column.dtype, len(column)) == (alike.dtype, 3), name
        assert not column.flags.writeable
        assert column.flags.c_contiguous


def test_a_record_of_one_sample_is_a_single_measurement() -> None:
    one, single = decode(ARRAY_ENCODER.encode(samples(45.25))), decode(GOOD)
    assert one.sample is None
    assert one.value.tobytes() == single.value.tobytes()
    assert set(one.columns) == set(single.columns)


def test_samples_share_the_event_id_of_their_record() -> None:
    got = decode(GOOD, ARRAY_ENCODER.encode(samples(1.0, 2.0, event_id="e2")), event_ids=True)
    assert got.columns["event_id"].tolist() == event_codes(["e1", "e2", "e2"]).tolist()


BAD = [
    (samples(), Reason.WRONG_SAMPLES, "no sample"),
    (samples(*[1.0] * (SAMPLES_MAX + 1)), Reason.WRONG_SAMPLES, "10001 samples; at most 10000"),
    (samples(*[None] * 20_000), Reason.WRONG_SAMPLES, "20000 samples; at most 10000"),
    (samples(1.0, period_us=-1), Reason.WRONG_SAMPLES, "period_us = -1: 0 to 86400000000"),
    (samples(1.0, period_us=PERIOD_US_MAX + 1), Reason.WRONG_SAMPLES, "period_us = 86400000001"),
    (samples(1.0, 2.0, timestamp=TOPMOST), Reason.WRONG_SAMPLES, "1 periods of 1500 µs after 9223372036854775807"),
    (samples(1.0, None, math.inf, -math.inf), Reason.NOT_FINITE, "infinite: values[2]"),
    (samples(1.0, usl=math.inf), Reason.NOT_FINITE, "infinite: usl"),
    (samples(1.0, lot="x" * 257), Reason.TOO_LONG, "lot has 257 bytes"),
]


@pytest.mark.parametrize(("bad", "reason", "detail"), BAD)
def test_one_bad_sample_makes_one_dead_letter_of_the_record(bad: dict[str, Any], reason: Reason, detail: str) -> None:
    value, series = ARRAY_ENCODER.encode(bad | {"equipment": "BAD"}), SeriesDictionary()
    got = decode(MANY, value, GOOD, series=series)
    [letter] = got.rejects
    assert (letter.offset, letter.reason, letter.value) == (103, reason, value)
    assert detail in letter.detail
    assert got.offset.tolist() == [100, 100, 100, 106]
    assert len(series) == 1


def test_the_longest_record_and_the_longest_time_are_judged() -> None:
    longest = samples(*[1.0] * SAMPLES_MAX, period_us=PERIOD_US_MAX)
    latest = samples(1.0, 2.0, timestamp=TOPMOST - 1)
    got = decode(ARRAY_ENCODER.encode(longest), ARRAY_ENCODER.encode(latest))
    assert (len(got), got.rejects) == (SAMPLES_MAX + 2, ())
    assert got.event_time_ms[SAMPLES_MAX - 1] - got.event_time_ms[0] == (SAMPLES_MAX - 1) * 86_400_000
    assert got.event_time_ms[-1] == TOPMOST


def test_a_full_dictionary_makes_one_dead_letter_of_the_record() -> None:
    other = ARRAY_ENCODER.encode(samples(1.0, 2.0, equipment="E2"))
    got = decode(MANY, other, MANY, series=SeriesDictionary(series_max=1))
    assert [letter.reason for letter in got.rejects] == [Reason.TOO_MANY_SERIES]
    assert got.offset.tolist() == [100] * 3 + [106] * 3


@pytest.mark.parametrize("length", range(len(MANY)))
def test_truncated_at_every_byte(length: int) -> None:
    got = decode(MANY, MANY[:length], GOOD)
    assert (len(got), len(got.rejects)) == (4, 1)
    assert got.rejects[0].reason is (Reason.NOT_AVRO if length < 5 else Reason.MALFORMED)


def agree(*values: bytes) -> None:
    """The decoder and fastavro agree on values; neighbours are untouched."""
    series, every = SeriesDictionary(), [GOOD, *values, MANY]
    check(decode(*every, series=series), every, series)


@pytest.mark.slow
def test_every_bit_flipped() -> None:
    for at in range(5 * 8, len(MANY) * 8):
        flipped = bytearray(MANY)
        flipped[at // 8] ^= 1 << at % 8
        agree(bytes(flipped))


@pytest.mark.slow
@given(st.lists(arrays.map(ARRAY_ENCODER.encode) | measurements.map(ENCODER.encode), max_size=8))
def test_rows_are_what_fastavro_reads(values: list[bytes]) -> None:
    agree(*values)


@given(st.binary(max_size=200))
def test_garbage_behind_a_good_header(garbage: bytes) -> None:
    agree(header(ARRAY_ID) + garbage)


@pytest.mark.slow
@given(arrays, st.data())
def test_mutated_records(record: dict[str, Any], data: st.DataObject) -> None:
    value = bytearray(ARRAY_ENCODER.encode(record))
    for _ in range(data.draw(st.integers(1, 3))):
        at = data.draw(st.integers(5, len(value)))
        if data.draw(st.booleans()) or at >= len(value):
            value[at:at] = data.draw(st.binary(min_size=1, max_size=11))
        else:
            value[at] = data.draw(st.integers(0, 255))
    agree(bytes(value))


def test_thousands_of_random_mutations() -> None:
    """As many as the time allows of what hypothesis is too slow for; the seed is fixed."""
    dice, values = random.Random(20261129), []
    for _ in range(4_000):
        value = bytearray(MANY)
        for _ in range(dice.randint(1, 6)):
            value[dice.randrange(5, len(value))] = dice.randrange(256)
        values.append(bytes(value))
    agree(*values)


@pytest.mark.slow
@given(
    st.lists(arrays.map(ARRAY_ENCODER.encode) | measurements.map(ENCODER.encode), min_size=1, max_size=10), st.data()
)
def test_cuts_do_not_matter(values: list[bytes], data: st.DataObject) -> None:
    raw = batch(values)
    offsets = data.draw(st.lists(st.integers(99, raw.next_offset), max_size=4, unique=True))
    whole_series, cut_series, decoder = SeriesDictionary(), SeriesDictionary(), MeasurementDecoder(schema_of)
    whole = decoder.decode(raw, whole_series)
    pieces = [decoder.decode(piece, cut_series) for piece in cut(raw, offsets)]
    assert cut_series.keys == whole_series.keys
    assert sum((piece.rejects for piece in pieces), ()) == whole.rejects
    for name in ("offset", "event_time_ms", "published_ms", "series", "value", "subgroup"):
        np.testing.assert_array_equal(np.concatenate([getattr(piece, name) for piece in pieces]), getattr(whole, name))
    for name, column in whole.columns.items():
        if name != "sample":
            np.testing.assert_array_equal(np.concatenate([p.columns[name] for p in pieces]), column)


BEFORE_VALUES = MANY[: MANY.index(varint(3) + varint(1) + b"\0\0\0\0\0\0\xf0\x3f")]


@pytest.mark.parametrize("count", [-1, -(2**31), -(2**63), 2**31, 2**40, 2**62, 2**63 - 1])
@pytest.mark.parametrize("block", [False, True])
def test_declared_counts_cost_nothing(count: int, block: bool) -> None:
    """Counts that the bytes do not hold: no hang, no memory, a dead letter."""
    declared = varint(-1) + varint(count) if block else varint(count)
    hostile = BEFORE_VALUES + declared + varint(0) * 3
    with costs_nothing():
        [letter] = decode(hostile, GOOD).rejects
    assert letter.reason is Reason.MALFORMED


def test_samples_in_blocks_with_sizes_are_samples() -> None:
    """As other writers put them: a negative count, the bytes of the block, and several blocks."""
    rest = MANY[len(BEFORE_VALUES) + 1 + 9 + 1 + 9 + 1 :]
    null, seven = varint(0), varint(1) + b"\0\0\0\0\0\0\x1c\x40"
    in_blocks = varint(-2) + varint(10) + null + seven + varint(1) + seven + varint(0)
    got = decode(BEFORE_VALUES + in_blocks + rest)
    np.testing.assert_array_equal(got.value, [math.nan, 7.0, 7.0])


@pytest.mark.parametrize("items", ["double", "float", "long", ["double", "null"], ["null", "float", "int"]])
def test_samples_of_other_writers(items: Any) -> None:
    fields = [
        field | {"type": {"type": "array", "items": items}} if field["name"] == "values" else field
        for field in load("measurement_array")["fields"]
    ]
    writer = load("measurement_array") | {"fields": [{"name": "new", "type": "string"}, *fields]}
    values = [1, 2] if items == "long" else [1.0, 2.0]
    value = Encoder(writer, 3).encode(samples(*values, new=text("x").decode()))
    got = MeasurementDecoder({3: writer}.__getitem__).decode(batch([value]), SeriesDictionary())
    assert (got.value.tolist(), got.rejects) == ([1.0, 2.0], ())


def test_a_plain_consumer_reads_the_record_as_it_is() -> None:
    assert decode_event(MANY, schema_of) == samples(1.0, None, 3.0)


# ---- so many rows at a time


def pieces(
    decoder: MeasurementDecoder, values: Sequence[bytes | None], rows_max: int, **options: Any
) -> list[MicroBatch]:
    """Decode a batch as steps do, each going on where the one before came to."""
    found, rest = [], batch(values)
    series = SeriesDictionary()
    while True:
        got = decoder.decode(rest, series, rows_max=rows_max, **options)
        found.append(got)
        more = after(rest, got.next_offset)
        if more is None:
            return found
        assert len(more) < len(rest)
        rest = more


@pytest.mark.slow
@given(
    st.lists(
        st.none()
        | st.binary(max_size=8)
        | arrays.map(ARRAY_ENCODER.encode)
        | measurements.map(ENCODER.encode)
        | st.just(ARRAY_ENCODER.encode(samples(*[1.0] * 30, lot="ß" * 200))),
        min_size=1,
        max_size=12,
    ),
    st.integers(1, 40),
)
def test_pieces_are_bounded_and_together_the_whole(values: list[bytes | None], rows_max: int) -> None:
    decoder = MeasurementDecoder(schema_of)
    whole, found = decoder.decode(batch(values), SeriesDictionary()), pieces(decoder, values, rows_max)
    assert all(len(piece) <= rows_max or piece.records + len(piece.rejects) == 1 for piece in found)
    assert sum((piece.rejects for piece in found), ()) == whole.rejects
    for name in ("offset", "event_time_ms", "published_ms", "series", "value", "subgroup"):
        np.testing.assert_array_equal(np.concatenate([getattr(piece, name) for piece in found]), getattr(whole, name))
    for name in ("lsl", "usl", "lot", "wafer"):
        np.testing.assert_array_equal(np.concatenate([piece.columns[name] for piece in found]), whole.columns[name])
    assert found[-1].next_offset == whole.next_offset


def test_a_step_takes_as_many_records_as_have_room_and_opens_no_series_of_the_others() -> None:
    values = [ARRAY_ENCODER.encode(samples(*[1.0] * 40, equipment=f"E{n}")) for n in range(5)]
    series = SeriesDictionary()
    got = MeasurementDecoder(schema_of).decode(batch(values), series, rows_max=100)
    assert (len(got), got.records, got.next_offset, len(series)) == (80, 2, 106, 2)


def test_records_of_nothing_but_nulls_are_bounded_too() -> None:
    """A missing sample has one byte, a ninth of one that is there."""
    values = [ARRAY_ENCODER.encode(samples(*[None] * SAMPLES_MAX)) for _ in range(30)]
    found = pieces(MeasurementDecoder(schema_of), values, 25_000, event_ids=True)
    assert [len(piece) for piece in found] == [20_000] * 15
    assert all(len(piece.columns["event_id"]) == 20_000 for piece in found)


def test_single_measurements_are_cut_by_their_number() -> None:
    assert [len(piece) for piece in pieces(MeasurementDecoder(schema_of), [GOOD] * 7, 3)] == [3, 3, 1]
