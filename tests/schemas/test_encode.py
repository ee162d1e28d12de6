"""The encoder: what it writes is Avro, and what is wrong is refused with the path of the field."""

from __future__ import annotations

import math
import pickle
from io import BytesIO
from types import MappingProxyType
from typing import Any

import fastavro
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.encode import Encoder, without_logical_types
from schemas.framing import EncodeError
from schemas.topics import load
from tests.schemas.wire import ENCODER, ID, header, measurement, measurements

KITCHEN_SINK = {
    "type": "record",
    "name": "Everything",
    "namespace": "test",
    "fields": [
        {"name": "text", "type": "string"},
        {"name": "double", "type": "double"},
        {"name": "float", "type": "float", "default": 0.0},
        {"name": "long", "type": "long", "default": 0},
        {"name": "int", "type": "int", "default": 0},
        {"name": "flag", "type": "boolean", "default": False},
        {"name": "nothing", "type": "null", "default": None},
        {"name": "raw", "type": ["null", "bytes"], "default": None},
        {"name": "maybe", "type": ["null", "double"], "default": None},
        {"name": "either", "type": ["null", "long", "string"], "default": None},
        {"name": "time", "type": {"type": "long", "logicalType": "timestamp-millis"}, "default": 0},
        {"name": "level", "type": {"type": "enum", "name": "Level", "symbols": ["LOW", "HIGH"]}, "default": "LOW"},
        {"name": "level2", "type": "Level", "default": "LOW"},
        {"name": "hash", "type": ["null", {"type": "fixed", "name": "Hash", "size": 2}], "default": None},
        {"name": "words", "type": {"type": "map", "values": "string"}, "default": {}},
        {"name": "scores", "type": {"type": "map", "values": "double"}, "default": {}},
        {
            "name": "parts",
            "default": [],
            "type": {
                "type": "array",
                "items": {
                    "type": "record",
                    "name": "Part",
                    "fields": [{"name": "weight", "type": "double"}, {"name": "note", "type": "string", "default": ""}],
                },
            },
        },
        {"name": "best", "type": ["null", "Part"], "default": None},
        {"name": "whole", "type": "Part", "default": {"weight": 0.0}},
    ],
}
SINK = Encoder(KITCHEN_SINK, 1)
PLAIN: dict[str, Any] = {"text": "x", "double": 1.0}


def read(encoded: bytes, schema: Any) -> Any:
    return fastavro.schemaless_reader(BytesIO(encoded[5:]), fastavro.parse_schema(without_logical_types(schema)), None)


@given(measurements)
def test_a_good_record_is_read_back_as_it_was(record: dict[str, Any]) -> None:
    encoded = ENCODER.encode(record)
    assert encoded[:5] == header(ID)
    assert read(encoded, load("measurement")) == record


def test_what_is_left_out_gets_the_default() -> None:
    record = {"event_id": "e", "timestamp": 0, "equipment": "E", "characteristic": "c", "value": None}
    expected = measurement(
        **record, chamber="", recipe="", operation="", lot=None, wafer=None, unit="", lsl=None, usl=None, metadata={}
    )
    assert read(ENCODER.encode(record), load("measurement")) == expected


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("double", 3), ("double", np.float64(3.0)), ("double", np.float32(3.0)), ("double", np.int64(3)),
        ("double", float("inf")), ("float", 1), ("float", 1.5), ("float", float("inf")), ("long", np.int64(3)),
        ("long", -(2**63)), ("long", 2**63 - 1), ("int", 2**31 - 1), ("int", -(2**31)), ("int", np.int32(5)),
        ("flag", True), ("raw", b"x"), ("raw", bytearray(b"x")), ("maybe", 3), ("maybe", None), ("either", 3),
        ("either", "x"), ("level", "HIGH"), ("level2", "HIGH"), ("hash", b"ab"), ("words", {"a": "b"}), ("words", {}),
        ("scores", {"a": 1.0, "b": 2}), ("parts", [{"weight": 1.0}]), ("parts", ({"weight": 1.0, "note": "n"},)),
        ("best", {"weight": 2}), ("best", None), ("whole", {"weight": 1.0}), ("time", 1_700_000_000_000),
    ],
)  # fmt: skip
def test_what_fits_is_written(field: str, value: Any) -> None:
    back = read(SINK.encode({**PLAIN, field: value}), KITCHEN_SINK)[field]
    if isinstance(value, list | tuple):
        back, value = [part["weight"] for part in back], [part["weight"] for part in value]
    elif isinstance(value, dict) and "weight" in value:
        back, value = back["weight"], value["weight"]
    assert back == value


WRONG = [
    ("text", None, "text", "expected string, not null"),
    ("text", b"x", "text", "expected string, not bytes b'x'"),
    ("text", "\ud800", "text", "expected valid Unicode"),
    ("double", "1.5", "double", "expected double, not str '1.5'"),
    ("double", True, "double", "expected double, not bool True"),
    ("double", None, "double", "expected double, not null"),
    ("double", 10**400, "double", "expected double, not int 1000"),
    ("double", 1j, "double", "expected double, not complex"),
    ("float", "x", "float", "expected float"),
    ("float", 1e39, "float", "expected float, not float 1e+39"),
    ("long", 1.7, "long", "expected long, not float 1.7"),
    ("long", True, "long", "expected long, not bool True"),
    ("long", "3", "long", "expected long, not str '3'"),
    ("long", 2**63, "long", "expected long, not int 9223372036854775808"),
    ("int", 2**31, "int", "expected int, not int 2147483648"),
    ("int", -(2**31) - 1, "int", "expected int"),
    ("int", True, "int", "expected int, not bool True"),
    ("flag", 1, "flag", "expected boolean, not int 1"),
    ("nothing", 0, "nothing", "expected null, not int 0"),
    ("raw", "x", "raw", "expected null or bytes, not str 'x'"),
    ("maybe", "x", "maybe", "expected null or double, not str 'x'"),
    ("maybe", False, "maybe", "expected null or double, not bool False"),
    ("maybe", ("double", 1.0), "maybe", "expected null or double, not tuple"),
    ("either", 1.5, "either", "expected null or long or string, not float 1.5"),
    ("time", 1.5, "time", "expected long, not float 1.5"),
    ("level", "MIDDLE", "level", "expected one of LOW, HIGH, not str 'MIDDLE'"),
    ("level", None, "level", "expected one of LOW, HIGH, not null"),
    ("level2", "MIDDLE", "level2", "expected one of LOW, HIGH"),
    ("hash", b"abc", "hash", "expected null or Hash, not bytes b'abc'"),
    ("words", {"a": 1}, "words['a']", "expected string, not int 1"),
    ("words", {1: "a"}, "words", "expected string as key, not int 1"),
    ("words", [], "words", "expected map, not list []"),
    ("words", None, "words", "expected map, not null"),
    ("scores", {"auc": "0.9"}, "scores['auc']", "expected double, not str '0.9'"),
    ("parts", {}, "parts", "expected array, not dict {}"),
    ("parts", "", "parts", "expected array, not str ''"),
    ("parts", [{"weight": 1.0}, {"weight": "1"}], "parts[1].weight", "expected double, not str '1'"),
    ("parts", [{"note": "n"}], "parts[0].weight", "missing, and it has no default"),
    ("parts", [{"weight": 1.0, "size": 2}], "parts[0].size", "no such field"),
    ("parts", [None], "parts[0]", "expected Part, not null"),
    ("best", {"weight": "1"}, "best.weight", "expected double, not str '1'"),
    ("best", 5, "best", "expected null or Part, not int 5"),
    ("whole", {"weight": None}, "whole.weight", "expected double, not null"),
    ("color", "red", "color", "no such field"),
]


@pytest.mark.parametrize(("field", "value", "path", "message"), WRONG)
def test_what_does_not_fit_is_refused_by_name(field: str, value: Any, path: str, message: str) -> None:
    with pytest.raises(EncodeError) as refused:
        SINK.encode({**PLAIN, field: value})
    assert refused.value.field == path
    assert refused.value.message.startswith(message)
    assert str(refused.value) == f"{path}: {refused.value.message}"


@pytest.mark.parametrize("field", ["event_id", "timestamp", "equipment", "characteristic", "value"])
def test_a_field_without_default_must_be_there(field: str) -> None:
    record = measurement()
    del record[field]
    with pytest.raises(EncodeError, match=f"^{field}: missing, and it has no default$"):
        ENCODER.encode(record)


@given(
    st.sampled_from([field["name"] for field in KITCHEN_SINK["fields"]]),
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=3) | st.binary(max_size=3),
        lambda inside: (
            st.lists(inside, max_size=2) | st.dictionaries(st.text(max_size=2) | st.integers(), inside, max_size=2)
        ),
        max_leaves=4,
    ),
)
def test_whatever_is_written_is_read_back_the_same(field: str, value: Any) -> None:
    """Strictness, the other way round: nothing is changed in silence."""
    try:
        encoded = SINK.encode({**PLAIN, field: value})
    except EncodeError:
        return
    back = read(encoded, KITCHEN_SINK)[field]
    if isinstance(value, float) and math.isnan(value):
        assert math.isnan(back)
    elif field == "float":
        assert np.float32(value) == back
    elif field in {"parts", "best", "whole"}:
        assert (back is None) == (value is None)
    else:
        assert back == value


def test_any_mapping_will_do() -> None:
    assert SINK.encode(MappingProxyType(PLAIN)) == SINK.encode(PLAIN)


def test_a_long_value_is_shortened_in_the_message() -> None:
    with pytest.raises(EncodeError) as refused:
        SINK.encode({**PLAIN, "double": "x" * 500})
    assert len(str(refused.value)) < 120


def test_what_only_the_writer_finds_is_told_too() -> None:
    schema = {"type": "record", "name": "R", "fields": [{"name": "raw", "type": "bytes", "default": "ÿ"}]}
    with pytest.raises(EncodeError, match="cannot be written"):
        Encoder(schema, 1).encode({})


def test_the_error_travels_between_processes() -> None:
    error = pickle.loads(pickle.dumps(EncodeError("a.b", "no")))  # noqa: S301
    assert (error.field, error.message) == ("a.b", "no")


def test_the_caller_s_schema_and_record_are_not_changed() -> None:
    record = measurement()
    before = {**record, "metadata": dict(record["metadata"])}
    ENCODER.encode(record)
    assert record == before
    assert load("measurement")["fields"][1]["type"]["logicalType"] == "timestamp-millis"
