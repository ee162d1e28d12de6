"""The measurement decoder by example: columns, dead letters with their reasons, series and subgroups."""

from __future__ import annotations

import math
import pickle
from typing import Any

import numpy as np
import pytest

from schemas.batch import MicroBatch, Reason, SeriesDictionary
from schemas.decode import PLANS_MAX, MeasurementDecoder, UnreadableRecord, decode_event, schema_id_of, subgroup_code
from schemas.encode import Encoder
from schemas.reading import event_codes
from schemas.registry import NotAvroSchema, RegistryUnavailable, UnknownSchema
from schemas.texts import Texts
from schemas.topics import load, record_names
from tests.schemas.wire import ENCODER, ID, batch, header, measurement, schema_of, text, varint

GOOD = ENCODER.encode(measurement())


def decode(*values: bytes | None, series: SeriesDictionary | None = None) -> MicroBatch:
    return MeasurementDecoder(schema_of).decode(batch(values), SeriesDictionary() if series is None else series)


def reasons(batch: MicroBatch) -> list[Reason]:
    return [letter.reason for letter in batch.rejects]


def test_columns() -> None:
    series = SeriesDictionary()
    other = measurement(
        characteristic="CD_SPACE", timestamp=1, value=None, lot=None, wafer=None, subgroup="S1", lsl=None
    )
    got = decode(GOOD, ENCODER.encode(other), GOOD, series=series)
    assert (got.topic, got.partition, got.next_offset, len(got), got.rejects) == ("fab.measurements", 2, 109, 3, ())
    assert got.offset.tolist() == [100, 103, 106]
    assert got.published_ms.tolist() == [5100, 5103, 5106]
    assert got.event_time_ms.tolist() == [1_700_000_000_000, 1, 1_700_000_000_000]
    assert got.series.tolist() == [0, 1, 0]
    assert series.keys == ["ETCH-07|B|POLY_V3|4200|CD_WIDTH", "ETCH-07|B|POLY_V3|4200|CD_SPACE"]
    np.testing.assert_array_equal(got.value, [45.25, np.nan, 45.25])
    np.testing.assert_array_equal(got.columns["lsl"], [40.0, np.nan, 40.0])
    np.testing.assert_array_equal(got.columns["usl"], [50.0, 50.0, 50.0])
    np.testing.assert_array_equal(got.columns["target"], [np.nan] * 3)
    assert got.columns["lot"].tolist() == ["L1", "", "L1"]
    assert got.columns["wafer"].tolist() == ["07", "", "07"]
    assert got.subgroup.tolist() == [-1, subgroup_code("S1"), -1]


@pytest.mark.parametrize("values", [(), (GOOD,), (None,), (GOOD, b"", GOOD)])
def test_columns_have_their_dtypes_and_are_read_only(values: tuple[bytes | None, ...]) -> None:
    got = decode(*values)
    dtypes = {
        "offset": "i8", "event_time_ms": "i8", "published_ms": "i8", "series": "i4", "value": "f8", "subgroup": "i8",
        "lsl": "f8", "usl": "f8", "target": "f8", "sample_size": "f8", "lot": "i4", "wafer": "i4",
    }  # fmt: skip
    for name, dtype in dtypes.items():
        column = got.columns[name] if name in got.columns else getattr(got, name)
        column = column.codes if isinstance(column, Texts) else column
        assert (column.dtype, len(column)) == (np.dtype(dtype), len(got))
        assert not column.flags.writeable
        assert column.flags.c_contiguous
    assert set(got.columns) == {"lsl", "usl", "target", "sample_size", "lot", "wafer"}


BAD = [
    (None, Reason.NO_VALUE, "null value"),
    (b"", Reason.NOT_AVRO, "0 bytes: shorter than the header"),
    (b"\0\0\0", Reason.NOT_AVRO, "3 bytes"),
    (b"\x01" + GOOD[1:], Reason.NOT_AVRO, "first byte is 0x01"),
    (b'{"value": 45.1}', Reason.NOT_AVRO, "first byte is 0x7b"),
    (header(8) + GOOD[5:], Reason.UNKNOWN_SCHEMA, "schema id 8"),
    (header(), Reason.MALFORMED, "EOFError"),
    (GOOD[:-1], Reason.MALFORMED, "EOFError"),
    (header() + text("e") + varint(0) + varint(3) + b"\xff\xfe\xfd", Reason.MALFORMED, "UnicodeDecodeError"),
    (GOOD + b"\0", Reason.TRAILING_BYTES, "1 bytes after the record's"),
    (ENCODER.encode(measurement(value=math.inf)), Reason.NOT_FINITE, "infinite: value"),
    (ENCODER.encode(measurement(value=-math.inf)), Reason.NOT_FINITE, "infinite: value"),
    (ENCODER.encode(measurement(lsl=-math.inf, usl=math.inf)), Reason.NOT_FINITE, "infinite: lsl, usl"),
    (ENCODER.encode(measurement(target=math.inf)), Reason.NOT_FINITE, "infinite: target"),
    (ENCODER.encode(measurement(lot="x" * 257)), Reason.TOO_LONG, "lot has 257 bytes; at most 256 are kept"),
    (ENCODER.encode(measurement(wafer="ß" * 129)), Reason.TOO_LONG, "wafer has 258 bytes"),
    (ENCODER.encode(measurement(subgroup="x" * 900_000)), Reason.TOO_LONG, "subgroup has 900000 bytes"),
    (ENCODER.encode(measurement(recipe="x" * 257)), Reason.TOO_LONG, "recipe has 257 bytes"),
    (ENCODER.encode(measurement(recipe="%" * 256)), Reason.TOO_LONG, "the series key has 792 bytes; at most 768"),
]


@pytest.mark.parametrize(("bad", "reason", "detail"), BAD)
def test_a_bad_record_is_a_dead_letter_and_its_neighbours_are_rows(
    bad: bytes | None, reason: Reason, detail: str
) -> None:
    series = SeriesDictionary()
    neighbour = ENCODER.encode(measurement(equipment="ETCH-08"))
    got = decode(GOOD, bad, neighbour, series=series)
    [letter] = got.rejects
    assert (letter.topic, letter.partition, letter.offset, letter.timestamp_ms) == ("fab.measurements", 2, 103, 5103)
    assert (letter.reason, letter.key, letter.value) == (reason, b"k", bad)
    assert detail in letter.detail
    assert got.offset.tolist() == [100, 106]
    assert got.series.tolist() == [0, 1]
    assert len(series) == 2


def test_dead_letters_are_in_offset_order() -> None:
    got = decode(*[bad for bad, _, _ in reversed(BAD)])
    assert reasons(got) == [reason for _, reason, _ in reversed(BAD)]
    offsets = [letter.offset for letter in got.rejects]
    assert offsets == sorted(offsets)


def test_texts_of_the_longest_are_rows() -> None:
    series = SeriesDictionary()
    longest = ["x" * 256, "ß" * 128, "x" * 252, "", ""]
    names = ("equipment", "chamber", "recipe", "operation", "characteristic")
    record = measurement(**dict(zip(names, longest, strict=True)), lot="ß" * 128, wafer="x" * 256, subgroup="x" * 256)
    got = decode(ENCODER.encode(record), series=series)
    assert got.columns["lot"].tolist() == ["ß" * 128]
    assert [len(key.encode()) for key in series.keys] == [768]
    above = decode(ENCODER.encode(record | {"recipe": "x" * 253}), series=series)
    assert reasons(above) == [Reason.TOO_LONG]
    assert len(series) == 1


def test_a_bad_record_opens_no_series() -> None:
    series = SeriesDictionary()
    decode(ENCODER.encode(measurement(value=math.inf)), GOOD[:-1], series=series)
    assert len(series) == 0


def test_nan_is_missing() -> None:
    got = decode(ENCODER.encode(measurement(value=math.nan, lsl=math.nan)))
    assert np.isnan(got.value[0])
    assert np.isnan(got.columns["lsl"][0])
    assert got.rejects == ()


def test_a_full_dictionary_refuses_new_series_and_keeps_the_old() -> None:
    series = SeriesDictionary(series_max=2)
    values = [ENCODER.encode(measurement(equipment=equipment)) for equipment in "abcab"]
    got = decode(*values, values[2], values[0][:-1], series=series)
    assert got.series.tolist() == [0, 1, 0, 1]
    assert got.offset.tolist() == [100, 103, 109, 112]
    assert reasons(got) == [Reason.TOO_MANY_SERIES, Reason.TOO_MANY_SERIES, Reason.MALFORMED]
    assert "has 2 series" in got.rejects[0].detail


def test_codes_are_stable_across_batches_and_decoders() -> None:
    series = SeriesDictionary(["x|||||"])
    a, b, c = (ENCODER.encode(measurement(equipment=equipment)) for equipment in "abc")
    assert decode(a, b, series=series).series.tolist() == [1, 2]
    assert decode(b, c, a, series=series).series.tolist() == [2, 3, 1]


@pytest.mark.parametrize(
    ("parts", "key"),
    [
        (("E", "", "", "", ""), "E||||"),
        (("a|b", "", "", "", "c"), "a%7Cb||||c"),
        (("a", "b", "", "", "c"), "a|b|||c"),
        (("100%", "", "", "", ""), "100%25||||"),
        (("µ", "槽", "", "", "é"), "µ|槽|||é"),
    ],
)
def test_the_series_key_comes_from_the_payload(parts: tuple[str, ...], key: str) -> None:
    series = SeriesDictionary()
    names = ("equipment", "chamber", "recipe", "operation", "characteristic")
    decode(ENCODER.encode(measurement(**dict(zip(names, parts, strict=True)))), series=series)
    assert series.keys == [key]


def test_subgroup_codes_are_63_bit_and_fixed_for_ever() -> None:
    """The hash is in stored state: it may never change."""
    assert subgroup_code("W07-S1") == 1463827526357097123
    assert subgroup_code(None) == subgroup_code("") == -1
    assert all(0 <= subgroup_code(str(i)) < 2**63 for i in range(1000))


class Registry:
    """Notes what it is asked; does not answer while it is away."""

    def __init__(self, *, away: bool = False) -> None:
        self.away = away
        self.asked: list[int] = []

    def schema(self, schema_id: int) -> Any:
        self.asked.append(schema_id)
        if self.away:
            raise RegistryUnavailable("nobody answers")
        if schema_id == 9:
            raise NotAvroSchema("schema id 9 is PROTOBUF, not Avro")
        if schema_id == 10:
            return load("alert")
        return schema_of(schema_id)


def test_an_absent_registry_passes_through_before_anything_changes() -> None:
    registry, series = Registry(away=True), SeriesDictionary()
    decoder = MeasurementDecoder(registry.schema)
    with pytest.raises(RegistryUnavailable):
        decoder.decode(batch([None, GOOD]), series)
    assert len(series) == 0
    registry.away = False
    assert decoder.decode(batch([None, GOOD]), series).series.tolist() == [0]


def test_an_unknown_id_waits_while_the_registry_is_away_and_is_a_dead_letter_when_it_is_back() -> None:
    registry, series = Registry(), SeriesDictionary()
    decoder = MeasurementDecoder(registry.schema)
    assert len(decoder.decode(batch([GOOD]), series)) == 1
    poisoned = batch([GOOD, header(8) + GOOD[5:], GOOD])
    registry.away = True
    with pytest.raises(RegistryUnavailable):
        decoder.decode(poisoned, series)
    registry.away = False
    got = decoder.decode(poisoned, series)
    assert (len(got), reasons(got)) == (2, [Reason.UNKNOWN_SCHEMA])


def test_a_schema_is_asked_for_once_and_an_unknown_one_once_a_batch() -> None:
    registry = Registry()
    decoder = MeasurementDecoder(registry.schema)
    for _ in range(3):
        decoder.decode(batch([GOOD, header(8) + b"x", GOOD, header(8) + b"y"]), SeriesDictionary())
    assert sorted(registry.asked) == [ID, 8, 8, 8]


@pytest.mark.parametrize(
    ("schema_id", "detail"), [(9, "PROTOBUF"), (10, "a record com.chipquality.events.alert.Alert, not")]
)
def test_a_schema_of_something_else_is_incompatible(schema_id: int, detail: str) -> None:
    got = MeasurementDecoder(Registry().schema).decode(batch([header(schema_id) + GOOD[5:], GOOD]), SeriesDictionary())
    assert reasons(got) == [Reason.INCOMPATIBLE_SCHEMA]
    assert detail in got.rejects[0].detail
    assert len(got) == 1


def test_the_number_of_schemas_kept_is_bounded() -> None:
    decoder = MeasurementDecoder(lambda _: load("measurement"))
    values = [header(schema_id) + GOOD[5:] for schema_id in range(1, PLANS_MAX + 11)]
    assert len(decoder.decode(batch(values), SeriesDictionary())) == PLANS_MAX + 10
    assert len(decoder._reader._records._plans) == PLANS_MAX


def test_events_are_read_by_their_full_name() -> None:
    record = {"page": 1, "first_code": 1024, "seq": 4, "keys": ["a", "b"]}
    schemas = {i: load(name) for i, name in enumerate(record_names())}
    names = list(record_names())
    value = Encoder("series_page", names.index("series_page")).encode(record)
    assert decode_event(value, schemas.__getitem__) == record


def test_times_of_events_are_integers() -> None:
    fields = {"event_id": "e", "event_type": "LOT_CREATED", "timestamp": 1_700_000_000_123, "lot_id": "L"}
    event = decode_event(Encoder("manufacturing", 3).encode(fields), {3: load("manufacturing")}.__getitem__)
    assert event["timestamp"] == 1_700_000_000_123
    assert event["event_type"] == "LOT_CREATED"
    assert event["metadata"] == {}


def test_an_event_of_an_older_schema_has_the_newer_one_s_defaults() -> None:
    old = load("alert") | {
        "fields": [field for field in load("alert")["fields"] if field["name"] not in {"lot", "detail"}]
    }
    fields = dict.fromkeys(("alert_id", "pipeline", "topic", "series", "detector", "rule", "rule_doc", "wafer"), "x")
    numbers = ("partition", "opened_offset", "opened_time", "last_offset", "last_time", "rows", "published_ms")
    record = fields | dict.fromkeys(numbers, 1) | {"state": "OPEN", "severity": "WARNING"}
    event = decode_event(Encoder(old, 3).encode(record), {3: old}.__getitem__)
    assert event == record | {"lot": "", "detail": "", "opened_sample": 0} | dict.fromkeys(
        ("closed_offset", "value", "statistic", "centre", "lcl", "ucl")
    )
    assert list(event) == [field["name"] for field in load("alert")["fields"]]


def test_an_enum_symbol_that_is_too_new_becomes_the_default() -> None:
    newer = {
        **load("user"),
        "fields": [
            {**field, "type": {**field["type"], "symbols": [*field["type"]["symbols"], "PASSWORD_CHANGED"]}}
            if field["name"] == "event_type"
            else field
            for field in load("user")["fields"]
        ],
    }
    record = {"event_id": "e", "event_type": "PASSWORD_CHANGED", "timestamp": 0, "user_id": "u"}
    event = decode_event(Encoder(newer, 3).encode(record), {3: newer}.__getitem__)
    assert event["event_type"] == "UNKNOWN"


def test_a_record_of_somebody_else_s_is_read_as_it_was_written() -> None:
    for schema in (
        {"type": "record", "name": "Theirs", "namespace": "x", "fields": [{"name": "a", "type": "long"}]},
        {"type": "record", "name": "y.Theirs", "fields": [{"name": "a", "type": "long"}]},
    ):
        assert decode_event(Encoder(schema, 4).encode({"a": 5}), {4: schema}.__getitem__) == {"a": 5}


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (None, Reason.NO_VALUE),
        (b"{}", Reason.NOT_AVRO),
        (header(8) + b"x", Reason.UNKNOWN_SCHEMA),
        (header(9) + b"x", Reason.INCOMPATIBLE_SCHEMA),
        (header(ID), Reason.MALFORMED),
        (GOOD + b"?", Reason.TRAILING_BYTES),
    ],
)
def test_an_event_that_cannot_be_read_says_why(value: bytes | None, reason: Reason) -> None:
    with pytest.raises(UnreadableRecord) as unreadable:
        decode_event(value, Registry().schema)
    assert unreadable.value.reason is reason
    again = pickle.loads(pickle.dumps(unreadable.value))  # noqa: S301
    assert (again.reason, again.detail) == (reason, unreadable.value.detail)


def test_events_wait_for_the_registry_too() -> None:
    with pytest.raises(RegistryUnavailable):
        decode_event(GOOD, Registry(away=True).schema)


@pytest.mark.parametrize(
    "schema", ["string", ["null", "string"], {"type": "array", "items": "string"}, {"name": 5}, None, 3]
)
def test_a_schema_that_is_no_record_is_incompatible(schema: Any) -> None:
    with pytest.raises(UnreadableRecord, match="incompatible_schema"):
        decode_event(GOOD, lambda _: schema)


def test_the_plans_of_events_are_bounded() -> None:
    from schemas import decode as module

    schemas = [dict(load("measurement")) for _ in range(PLANS_MAX + 5)]
    for schema in schemas:
        assert decode_event(GOOD, lambda _, found=schema: found)["value"] == 45.25
    assert len(module._EVENT_PLANS) <= PLANS_MAX


def test_the_id_of_a_value() -> None:
    assert schema_id_of(GOOD) == ID
    assert schema_id_of(header(2**32 - 1)) == 2**32 - 1


def test_unknown_is_a_lookup_error() -> None:
    assert issubclass(NotAvroSchema, UnknownSchema)
    assert issubclass(UnknownSchema, LookupError)


def test_event_ids_come_as_codes_when_asked_for() -> None:
    values = [ENCODER.encode(measurement(event_id=name)) for name in ("a", "b", "", "a", "ä")]
    raw = batch([values[0], b"bad", *values[1:]])
    decoder = MeasurementDecoder(schema_of)
    assert "event_id" not in decoder.decode(raw, SeriesDictionary()).columns
    codes = decoder.decode(raw, SeriesDictionary(), event_ids=True).columns["event_id"]
    assert codes.dtype == np.int64
    assert not codes.flags.writeable
    assert codes.tolist() == [*event_codes(["a", "b"]), -1, *event_codes(["a", "ä"])]
    assert len(set(codes.tolist())) == 4
    assert min(codes[codes != -1]) >= 0
    assert decoder.decode(batch([]), SeriesDictionary(), event_ids=True).columns["event_id"].shape == (0,)
