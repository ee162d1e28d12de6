"""Records from columns: the bytes that the encoder of single records gives, and the same refusals."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.columnar.writer import NULL, ColumnWriter
from schemas.encode import Encoder
from schemas.framing import EncodeError
from schemas.texts import Texts
from tests.schemas.records import records_of

SCHEMA = {
    "type": "record",
    "name": "Flat",
    "fields": [
        {"name": "text", "type": "string"},
        {"name": "level", "type": {"type": "enum", "name": "Level", "symbols": ["LOW", "HIGH"]}, "default": "HIGH"},
        {"name": "int", "type": "int"},
        {"name": "long", "type": {"type": "long", "logicalType": "timestamp-millis"}},
        {"name": "maybe_long", "type": ["null", "long"], "default": None},
        {"name": "long_or_null", "type": ["int", "null"], "default": 5},
        {"name": "double", "type": "double"},
        {"name": "maybe_double", "type": ["null", "double"], "default": None},
        {"name": "word", "type": "string", "default": "given"},
    ],
}
ENCODER = Encoder(SCHEMA, 9)
LONGS = st.integers(-(2**63) + 1, 2**63 - 1)  # the smallest is null
INTS = st.integers(-(2**31), 2**31 - 1)


def integers(values: list[int | None]) -> np.ndarray:
    return np.array([NULL if value is None else value for value in values], np.int64)


def reals(values: list[float | None]) -> np.ndarray:
    return np.array([np.nan if value is None else value for value in values], np.float64)


@st.composite
def columns(draw: st.DrawFn) -> tuple[int, dict[str, Any]]:
    n = draw(st.integers(0, 8))

    def many(one: st.SearchStrategy[Any]) -> list[Any]:
        return draw(st.lists(one, min_size=n, max_size=n))

    finite = st.floats(allow_nan=False, allow_infinity=False)
    found: dict[str, Any] = {
        "text": Texts.of(many(st.text())),
        "level": Texts.of(many(st.sampled_from(["LOW", "HIGH"]))),
        "int": draw(st.one_of(INTS, st.just(integers(many(INTS))))),
        "long": integers(many(LONGS)),
        "maybe_long": integers(many(st.none() | LONGS)),
        "long_or_null": integers(many(st.none() | INTS)),
        "double": reals(many(finite)),
        "maybe_double": reals(many(st.none() | finite)),
        "word": draw(st.text()),
    }
    left_out = draw(st.sets(st.sampled_from(["level", "maybe_long", "long_or_null", "maybe_double", "word"])))
    return n, {name: column for name, column in found.items() if name not in left_out}


@pytest.mark.slow
@given(columns())
def test_the_bytes_are_those_of_records_one_by_one(given: tuple[int, dict[str, Any]]) -> None:
    n, found = given
    assert ENCODER.encode_columns(n, found) == [ENCODER.encode(record) for record in records_of(n, found)]


def test_what_is_not_finite_is_null_where_null_may_be_and_a_number_elsewhere() -> None:
    schema = {**SCHEMA, "fields": [field for field in SCHEMA["fields"] if "double" in str(field["name"])]}
    odd = np.array([np.nan, np.inf, -np.inf])
    written = Encoder(schema, 1).encode_columns(3, {"double": odd, "maybe_double": odd})
    assert [value[5:] for value in written] == [number.tobytes() + b"\0" for number in odd]


PLAIN: dict[str, Any] = {"text": "x", "int": 1, "long": 1, "double": 1.0}


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"text": "\ud800"}, "text: expected valid Unicode, not '\\ud800'"),
        ({"text": np.zeros(2)}, "text: expected strings, not ndarray"),
        ({"level": "MIDDLE"}, "level: expected one of LOW, HIGH, not 'MIDDLE'"),
        ({"level": Texts.of(["LOW", "NONE"])}, "level: expected one of LOW, HIGH, not 'NONE'"),
        ({"int": 2**31}, "int: expected int, not 2147483648 to 2147483648"),
        ({"int": np.array([0, -(2**31) - 1])}, "int: expected int, not -2147483649 to 0"),
        ({"long": np.array([1.0, 2.0])}, "long: expected long, not float64"),
        ({"long": np.array([True, False])}, "long: expected long, not bool"),
        ({"long": np.array([1, 2], np.uint64)}, "long: expected long, not uint64"),
        ({"long": True}, "long: expected long, not bool True"),
        ({"long": 2**63}, "long: expected long, not int 9223372036854775808"),
        ({"long": -(2**70)}, "long: expected long, not int -1180591620717411303424"),
        ({"long": None}, "long: expected long, not null"),
        ({"int": None}, "int: expected int, not null"),
        ({"double": None}, "double: expected double, not null"),
        ({"double": "1.5"}, "double: expected double, not str '1.5'"),
        ({"double": np.array(["1.5", "2"])}, "double: expected double, not <U3"),
        ({"text": None}, "text: expected string, not null"),
        ({"level": None}, "level: expected enum, not null"),
        ({"double": 10**400}, f"double: expected double, not int 1{'0' * 59}"),
        ({"double": np.array([True, False])}, "double: expected double, not bool"),
        ({"level": 1}, "level: expected one of LOW, HIGH, not int 1"),
        ({"level": b"LOW"}, "level: expected one of LOW, HIGH, not bytes b'LOW'"),
        ({"int": np.array([1])}, "int: 1 values for 2 records"),
        ({"double": np.ones((2, 3))}, "double: 2 x 3 values for 2 records"),
        ({"text": Texts.of(["a", "b", "c"])}, "text: 3 values for 2 records"),
        ({"more": 1}, "more: no such field"),
    ],
)
def test_what_is_wrong_is_refused_by_name(wrong: dict[str, Any], said: str) -> None:
    with pytest.raises(EncodeError, match=f"^{re.escape(said)}$"):
        ENCODER.encode_columns(2, PLAIN | wrong)


@pytest.mark.parametrize("number", [2**63, -(2**70), 3, np.float32(1.5), np.int8(-3), np.array(7.5)])
def test_a_double_is_any_number_that_one_holds(number: Any) -> None:
    """`number` is what all records have, or an array of no dimension."""
    plain = number.item() if isinstance(number, np.ndarray) else number
    assert ENCODER.encode_columns(2, PLAIN | {"double": number}) == [ENCODER.encode(PLAIN | {"double": plain})] * 2
    many = np.array([0, 2**64 - 1], np.uint64)
    each = [ENCODER.encode(PLAIN | {"double": float(one)}) for one in many]
    assert ENCODER.encode_columns(2, PLAIN | {"double": many}) == each


def test_what_is_missing_is_named() -> None:
    with pytest.raises(EncodeError, match="double: missing, and it has no default"):
        ENCODER.encode_columns(1, {"text": "x", "int": 1, "long": 1})


@pytest.mark.parametrize(
    "declared",
    ["bytes", {"type": "map", "values": "string"}, ["null", "string"], ["null", "long", "string"], ["int", "long"]],
)
def test_a_schema_that_is_not_flat_is_refused(declared: Any) -> None:
    with pytest.raises(ValueError, match=r"^deep: "):
        ColumnWriter([{"name": "deep", "type": declared}], 1)
