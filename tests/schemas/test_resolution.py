"""Writers' schemas: which are read as ours, which are refused, and that hostile ones cost nothing."""

from __future__ import annotations

import copy
import time
from typing import Any

import pytest

from schemas.batch import Reason, SeriesDictionary
from schemas.decode import MeasurementDecoder
from schemas.encode import Encoder
from schemas.resolution import DEPTH_MAX, Fit, IncompatibleSchema, UnreadableRecord, parse, plan_for
from schemas.topics import load
from tests.schemas.wire import ID, batch, header, measurement, text, varint

OURS = load("measurement")


def changed(**fields: Any) -> dict[str, Any]:
    """Return the measurement schema with the types of some fields replaced; None drops a field."""
    schema = copy.deepcopy(OURS)
    for field in schema["fields"]:
        if field["name"] in fields:
            field["type"] = fields[field["name"]]
            field.pop("default", None)
    schema["fields"] = [field for field in schema["fields"] if field["type"] is not None]
    return schema


def record(*fields: Any, name: str = "R") -> dict[str, Any]:
    return {
        "type": "record",
        "name": name,
        "fields": [{"name": f"f{i}", "type": kind} for i, kind in enumerate(fields)],
    }


def test_the_same_schema_is_read_as_it_is() -> None:
    without_docs = copy.deepcopy(OURS)
    for field in without_docs["fields"]:
        del field["doc"]
    assert plan_for(OURS, OURS).fit is plan_for(without_docs, OURS).fit is Fit.SAME


def test_fields_more_and_less_are_projected() -> None:
    assert plan_for(changed(chamber=None), OURS).fit is Fit.PROJECT
    more = {**OURS, "fields": [{"name": "new", "type": "long"}, *OURS["fields"]]}
    assert plan_for(more, OURS).fit is Fit.PROJECT


def test_a_default_is_not_shared_between_records() -> None:
    plan = plan_for(changed(metadata=None), OURS)
    fields = measurement()
    del fields["metadata"]
    value = Encoder(changed(metadata=None), ID).encode(fields)
    plan.read(value)["metadata"]["x"] = "y"
    assert plan.read(value)["metadata"] == {}


@pytest.mark.parametrize(
    ("types", "fields", "value"),
    [
        ({"value": "double"}, {"value": 2.5}, 2.5),
        ({"value": "long"}, {"value": 3}, 3.0),
        ({"value": "float"}, {"value": 0.5}, 0.5),
        ({"value": ["double", "null"]}, {"value": None}, None),
        ({"value": ["null", "int"]}, {"value": 4}, 4.0),
        ({"timestamp": "int"}, {"timestamp": 5}, 45.25),
        ({"lot": "bytes"}, {"lot": b"L1"}, 45.25),
    ],
)
def test_types_that_avro_promotes_are_resolved(
    types: dict[str, Any], fields: dict[str, Any], value: float | None
) -> None:
    writer = changed(**types)
    plan = plan_for(writer, OURS)
    assert plan.fit is Fit.RESOLVE
    read = plan.read(Encoder(writer, ID).encode(measurement(**fields)))
    assert read["value"] == value
    assert list(read) == [field["name"] for field in OURS["fields"]]


def test_a_resolved_record_is_still_read_whole_first() -> None:
    """fastavro's resolution skips unread fields without looking whether they are there."""
    writer = changed(value="double")
    writer["fields"].append({"name": "new", "type": "double"})
    value = Encoder(writer, ID).encode(measurement() | {"new": 1.0})
    plan = plan_for(writer, OURS)
    assert plan.read(value)["value"] == 45.25
    with pytest.raises(UnreadableRecord, match="malformed"):
        plan.read(value[:-1])


@pytest.mark.parametrize(
    ("types", "fields"),
    [
        ({"value": "string"}, {"value": "45"}),
        ({"value": ["null", "double", "string"]}, {"value": "45"}),
        ({"equipment": "long"}, {"equipment": 4}),
        ({"equipment": "bytes"}, {"equipment": b"\xff"}),
        ({"metadata": {"type": "array", "items": "string"}}, {"metadata": ["a"]}),
    ],
)
def test_types_that_do_not_fit_are_incompatible(types: dict[str, Any], fields: dict[str, Any]) -> None:
    writer = changed(**types)
    value = Encoder(writer, ID).encode(measurement(**fields))
    got = MeasurementDecoder({ID: writer}.__getitem__).decode(batch([value]), SeriesDictionary())
    assert [letter.reason for letter in got.rejects] == [Reason.INCOMPATIBLE_SCHEMA]


def test_a_branch_that_fits_is_read_although_another_does_not() -> None:
    writer = changed(value=["null", "double", "string"])
    assert plan_for(writer, OURS).read(Encoder(writer, ID).encode(measurement()))["value"] == 45.25


@pytest.mark.parametrize("field", ["event_id", "timestamp", "equipment", "characteristic", "value"])
def test_a_field_without_default_must_be_written(field: str) -> None:
    with pytest.raises(IncompatibleSchema, match=f"has no field {field}, which has no default"):
        plan_for(changed(**{field: None}), OURS)


def test_another_unit_of_time_is_another_field() -> None:
    with pytest.raises(
        IncompatibleSchema, match="field timestamp is timestamp-micros at the writer, timestamp-millis here"
    ):
        plan_for(changed(timestamp={"type": "long", "logicalType": "timestamp-micros"}), OURS)
    assert plan_for(changed(timestamp="long"), OURS).fit is Fit.SAME


def test_an_alias_of_ours_is_read() -> None:
    reader = {**record("long"), "fields": [{"name": "new", "type": "long", "aliases": ["f0"]}]}
    assert plan_for(record("long"), reader).read(header() + varint(5)) == {"new": 5}


@pytest.mark.parametrize(
    "schema",
    [
        record({"type": "array", "items": "null"}),
        record({"type": "map", "values": {"type": "array", "items": "null"}}),
        record({"type": "array", "items": record(name="Empty")}),
        record({"type": "array", "items": {"type": "fixed", "name": "F", "size": 0}}),
        record({"type": "array", "items": record("long", "null", name="Wide")}),
        record({"type": "fixed", "name": "F", "size": 0}, {"type": "array", "items": "F"}),
    ],
)
def test_items_that_take_no_bytes_are_refused(schema: dict[str, Any]) -> None:
    with pytest.raises(IncompatibleSchema, match="take no bytes"):
        plan_for(schema, None)


def test_what_such_items_would_cost_is_not_paid() -> None:
    schema = {**OURS, "fields": [*OURS["fields"], {"name": "bomb", "type": {"type": "array", "items": "null"}}]}
    value = header() + b"".join([text("e"), varint(0), *[text("x")] * 5, b"\0" * 10, varint(10**12), b"\0"])
    began = time.process_time()
    got = MeasurementDecoder({ID: schema}.__getitem__).decode(batch([value]), SeriesDictionary())
    assert got.rejects[0].reason is Reason.INCOMPATIBLE_SCHEMA
    assert time.process_time() - began < 1


@pytest.mark.parametrize(
    "schema",
    [
        {"type": "record", "name": "N", "fields": [{"name": "next", "type": ["null", "N"]}]},
        {"type": "record", "name": "N", "fields": [{"name": "all", "type": {"type": "array", "items": "N"}}]},
        record({"type": "record", "name": "N", "fields": [{"name": "all", "type": {"type": "map", "values": "N"}}]}),
    ],
)
def test_a_type_that_contains_itself_is_refused(schema: dict[str, Any]) -> None:
    """fastavro recurses in C: a record of ten thousand levels would end the process."""
    with pytest.raises(IncompatibleSchema, match="contains itself"):
        plan_for(schema, None)


def test_a_deep_schema_is_refused() -> None:
    schema: Any = "string"
    for _ in range(DEPTH_MAX):
        schema = {"type": "array", "items": schema}
    with pytest.raises(IncompatibleSchema, match="nested more than"):
        parse(record(schema))


@pytest.mark.parametrize(
    "schema",
    [
        5, None, {}, {"type": "recor"}, "Nobody", record("Nobody"), {"type": "record", "name": "R"},
        {"type": "record", "fields": []}, {"type": "enum", "name": "E"}, {"type": "record", "name": "R", "fields": 5},
        {"type": "record", "name": "R", "fields": [5]}, {"type": "fixed", "name": "F"}, {"type": ["null"]},
        {"type": "object", "properties": {}}, {"type": "record", "name": "9", "fields": []}, [[]], {"type": {}},
        record({"type": "fixed", "name": "F", "size": "big"}),
        record({"type": "fixed", "name": "F", "size": -1}), record({"type": "enum", "name": "E", "symbols": 5}),
    ],
)  # fmt: skip
def test_what_is_no_schema_is_refused(schema: Any) -> None:
    with pytest.raises(IncompatibleSchema):
        plan_for(schema, OURS)


def test_a_type_used_twice_is_not_recursive() -> None:
    inner = record("long", name="Inner")
    assert plan_for(record(inner, {"type": "array", "items": "Inner"}), None).fit is Fit.SAME


def test_all_of_ours_may_be_read() -> None:
    from schemas.topics import record_names

    for name in record_names():
        assert plan_for(load(name), load(name)).fit is Fit.SAME


def test_a_writer_s_defaults_need_not_be_right() -> None:
    writer = {**OURS, "fields": [*OURS["fields"], {"name": "new", "type": ["string", "null"], "default": None}]}
    assert plan_for(writer, OURS).fit is Fit.PROJECT
