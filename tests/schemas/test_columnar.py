"""The compiled reader against fastavro: whatever it says it has read, fastavro reads the same, whole; the rest it leaves."""

from __future__ import annotations

import math
import struct
from collections.abc import Iterator
from io import BytesIO
from typing import Any

import fastavro
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from schemas.batch import SeriesDictionary
from schemas.columnar import interning
from schemas.columnar.interning import UNKNOWN, Index, Names, SeriesCodes, bytes_of
from schemas.columnar.program import Column, Kind, Unfit, compile_program
from schemas.columnar.reader import read_texts, warm
from schemas.columnar.rows import LEFT, READ, Buffer, Columns, empty, joined, read_rows, schema_ids
from schemas.resolution import BAD_BYTES, parse
from tests.schemas.any_schema import cases
from tests.schemas.wire import header

TEXT_MAX = 256


def leaves(schema: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], str]]:
    """Yield path and kind of what can be wanted of a record."""
    for field in schema["fields"]:
        of, here = field["type"], (*path, field["name"])
        kind = of if isinstance(of, str) else of.get("type") if isinstance(of, dict) else "union"
        if kind == "record":
            yield from leaves(of, here)
        elif kind == "union":
            rest = set(of) - {"null"}
            if rest <= {"int", "long", "float", "double", "boolean"} and rest:
                yield here, "double"
            elif rest == {"string"}:
                yield here, "string"
        elif kind in {"int", "long", "float", "double", "boolean", "string"}:
            yield here, kind


def wanted_of(schema: Any) -> dict[tuple[str, ...], Column]:
    wanted: dict[tuple[str, ...], Column] = {}
    numbers = texts = 0
    for path, kind in leaves(schema):
        if kind == "string":
            wanted[path], texts = Column(Kind.TEXT, texts), texts + 1
        else:
            wanted[path], numbers = Column(Kind.NUMBER, numbers), numbers + 1
    return wanted


def at(record: Any, path: tuple[str, ...]) -> Any:
    for name in path:
        record = record[name]
    return record


def oracle(schema: Any, value: bytes) -> Any:
    """Return what fastavro reads; None if it raises, or leaves bytes."""
    stream = BytesIO(value)
    stream.seek(5)
    try:
        record = fastavro.schemaless_reader(stream, schema, None)
    except BAD_BYTES:
        return None
    return None if stream.read() else record


def check(schema: Any, wanted: dict[tuple[str, ...], Column], values: list[bytes], *, all_read: bool) -> None:
    """What is READ is what fastavro reads; what fastavro does not read is LEFT."""
    program = compile_program(schema, wanted)
    buffer, columns = joined(values), empty(len(values), 0, len(wanted), len(wanted))
    read_rows(buffer, np.arange(len(values)), program, TEXT_MAX, columns)
    for row, value in enumerate(values):
        record = oracle(schema, value)
        if record is None:
            assert columns.status[row] == LEFT
            continue
        assert not all_read or columns.status[row] == READ
        if columns.status[row] == LEFT:
            continue
        for path, (kind, number) in wanted.items():
            found = at(record, path)
            if kind is Kind.TEXT:
                assert bytes_of(buffer, columns, number, row) == (found or "").encode()
            else:
                got = columns.numbers[number, row]
                wanted_number = math.nan if found is None else found  # damage may make a NaN of a number, too
                assert got == wanted_number or (math.isnan(got) and math.isnan(wanted_number))


@settings(suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
@given(cases())
def test_records_of_any_schema_are_read_as_fastavro_reads_them(case: tuple[Any, list[bytes]]) -> None:
    schema, values = case
    check(schema, wanted_of(schema), values, all_read=True)


@pytest.mark.slow
@settings(suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
@given(cases(), st.data())
def test_damaged_records_are_left_or_read_as_fastavro_does(case: tuple[Any, list[bytes]], data: st.DataObject) -> None:
    schema, values = case
    value = data.draw(st.sampled_from(values))
    damaged = [value[: data.draw(st.integers(5, len(value)))], value + data.draw(st.binary(min_size=1, max_size=3))]
    if len(value) > 5:
        place = data.draw(st.integers(5, len(value) - 1))
        damaged.append(value[:place] + data.draw(st.binary(min_size=1, max_size=2)) + value[place + 1 :])
    check(schema, wanted_of(schema), [*damaged, *values], all_read=False)


# ---- one thing at a time


def varint(number: int) -> bytes:
    zigzag = (number << 1) ^ (number >> 63)
    out = bytearray()
    while zigzag > 127:
        out.append(zigzag & 127 | 128)
        zigzag >>= 7
    return bytes([*out, zigzag])


def run(
    schema: Any, wanted: dict[tuple[str, ...], Column], *bodies: bytes, text_max: int = TEXT_MAX
) -> tuple[Buffer, Columns]:
    buffer = joined([header(1) + body for body in bodies])
    columns = empty(len(bodies), 2, 2, 2, items=len(buffer.bytes))
    read_rows(buffer, np.arange(len(bodies)), compile_program(parse(schema), wanted), text_max, columns)
    return buffer, columns


def record_of(**types: Any) -> Any:
    return {"type": "record", "name": "r", "fields": [{"name": name, "type": of} for name, of in types.items()]}


@pytest.mark.parametrize("number", [0, -1, 63, 64, 2**31, -(2**31), 2**53 + 1, 2**63 - 1, -(2**63)])
def test_integers_of_all_lengths(number: int) -> None:
    wanted = {("a",): Column(Kind.INTEGER, 0), ("b",): Column(Kind.NUMBER, 0)}
    _, columns = run(record_of(a="long", b="long"), wanted, varint(number) * 2)
    assert columns.status.tolist() == [READ]
    assert columns.integers[0, 0] == number
    assert columns.numbers[0, 0] == float(number)


@pytest.mark.parametrize("body", [b"", b"\x80", b"\xff" * 9 + b"\x02", b"\xff" * 10 + b"\x01", b"\xff" * 11])
def test_an_integer_that_is_cut_or_has_more_than_64_bits_is_left(body: bytes) -> None:
    _, columns = run(record_of(a="long"), {}, body)
    assert columns.status.tolist() == [LEFT]


@given(st.binary(max_size=12))
def test_texts_are_utf8_as_python_has_it(text: bytes) -> None:
    _, columns = run(record_of(a="string"), {("a",): Column(Kind.TEXT, 0)}, varint(len(text)) + text)
    try:
        text.decode()
    except UnicodeDecodeError:
        assert columns.status.tolist() == [LEFT]
    else:
        assert columns.status.tolist() == [READ]


@pytest.mark.parametrize(
    "text",
    [
        b"\xc0\x80", b"\xc1\xbf", b"\xe0\x9f\xbf", b"\xed\xa0\x80", b"\xf0\x8f\xbf\xbf", b"\xf4\x90\x80\x80", b"\xf5\x80\x80\x80",
        b"\xe2\x82", b"\xf0\x9f\x98", b"\x80", b"a\xff", b"\xe2\x28\xa1", b"\xf0\x9f\x28\x80",
    ],
)  # fmt: skip
def test_bytes_that_are_no_utf8_are_left_also_where_nobody_wants_them(text: bytes) -> None:
    for of in ("string", ["null", "string"], {"type": "map", "values": "string"}):
        body = varint(len(text)) + text
        body = body if of == "string" else b"\x02" + (body if isinstance(of, list) else b"\x02k" + body + b"\x00")
        _, columns = run(record_of(a=of), {}, body)
        assert columns.status.tolist() == [LEFT]


@pytest.mark.parametrize("text", ["é", "€", "😀", "퟿", "\U0010ffff", "a" * 7 + "é", "é" * 9])
def test_texts_beyond_ascii_are_read(text: str) -> None:
    buffer, columns = run(
        record_of(a="string"), {("a",): Column(Kind.TEXT, 0)}, varint(len(text.encode())) + text.encode()
    )
    assert bytes_of(buffer, columns, 0, 0).decode() == text
    assert columns.status.tolist() == [READ]


def test_a_wanted_text_that_is_too_long_is_left_and_another_is_not() -> None:
    text = varint(9) + b"123456789"
    assert run(record_of(a="string"), {("a",): Column(Kind.TEXT, 0)}, text, text_max=8)[1].status.tolist() == [LEFT]
    assert run(record_of(a="string"), {}, text, text_max=8)[1].status.tolist() == [READ]


@pytest.mark.parametrize(
    ("of", "body"),
    [
        (["null", "long"], b"\x04"), (["null", "long"], b"\x01"), (["null", "string"], b"\x04"), (["null", "double"], b"\x04"),
        (["null", "string"], b""), (["null", "double"], b""), (["null", "double"], b"\x02" + bytes(7)), ("boolean", b"\x02"),
        ("boolean", b""), ("float", bytes(3)), ("double", bytes(7)), ({"type": "fixed", "name": "f", "size": 3}, bytes(2)),
        ({"type": "enum", "name": "e", "symbols": ["a"]}, b"\x02"), ({"type": "enum", "name": "e", "symbols": ["a"]}, b"\x01"),
        ("bytes", b"\x01"), ("bytes", b"\x04a"), ("string", b"\x01"), ("string", b"\x04a"),
        ({"type": "array", "items": "long"}, b"\x02"), ({"type": "array", "items": "long"}, b"\x02\x02"),
        ({"type": "array", "items": "long"}, varint(2**40) + b"\x02\x00"),
        ({"type": "array", "items": "long"}, varint(-(2**63)) + b"\x02\x02\x00"),
        ({"type": "array", "items": "long"}, b"\x01"), ({"type": "map", "values": "long"}, b"\x02\x01\x00"),
    ],
)  # fmt: skip
def test_what_is_cut_or_points_outside_is_left(of: Any, body: bytes) -> None:
    _, columns = run(record_of(a=of), {}, body, b"\x00" * 9)
    assert columns.status[0] == LEFT


def test_blocks_with_their_size_are_read() -> None:
    body = varint(-2) + varint(2) + b"\x02\x04" + varint(1) + b"\x06" + b"\x00"
    schema = record_of(a={"type": "array", "items": "long"}, b="long")
    _, columns = run(schema, {("b",): Column(Kind.INTEGER, 0)}, body + b"\x08")
    assert columns.status.tolist() == [READ]
    assert columns.integers[0, 0] == 4


def test_lists_of_numbers_are_put_one_after_the_other_and_a_record_that_is_left_takes_none() -> None:
    schema = record_of(a={"type": "array", "items": ["null", "double", "float", "long"]}, b="boolean")
    one = b"\x02" + struct.pack("<d", 1.5)
    two = b"\x04" + struct.pack("<f", 2.5)
    bodies = [b"\x04" + one + b"\x00" + b"\x00\x01", b"\x02" + one + b"\x00\x07", b"\x04" + two + b"\x06\x07\x00\x00"]
    _, columns = run(schema, {("a",): Column(Kind.NUMBERS, 0)}, *bodies)
    assert columns.status.tolist() == [READ, LEFT, READ]
    lists = [columns.items[begin:end].tolist() for begin, end in columns.items_at.T]
    np.testing.assert_array_equal(lists[0], [1.5, math.nan])
    assert (lists[1], lists[2]) == ([], [2.5, -4.0])


def test_lists_that_are_cut_are_left() -> None:
    schema = record_of(a={"type": "array", "items": ["double", "float", "long"]})
    bodies = [b"\x02\x00" + bytes(7), b"\x02\x02" + bytes(3), b"\x02\x04\x80"]
    assert run(schema, {("a",): Column(Kind.NUMBERS, 0)}, *bodies)[1].status.tolist() == [LEFT] * 3


def test_a_span_is_what_was_written() -> None:
    schema = record_of(a={"type": "array", "items": "string"}, b="long")
    written = b"\x04\x02x\x04yz\x00"
    buffer, columns = run(schema, {("a",): Column(Kind.SPAN, 1)}, written + b"\x02")
    assert bytes_of(buffer, columns, 1, 0) == written
    assert read_texts(written) == ["x", "yz"]


@pytest.mark.parametrize(
    ("of", "kind"),
    [
        ("string", Kind.NUMBER), ("double", Kind.TEXT), ("double", Kind.INTEGER), ("null", Kind.INTEGER),
        ("null", Kind.NEEDED_TEXT),
        (["null", "string"], Kind.NEEDED_TEXT), ({"type": "array", "items": "long"}, Kind.NUMBER),
        (record_of(x="long") | {"name": "inner"}, Kind.NUMBER),
    ],
)  # fmt: skip
def test_a_value_of_another_kind_is_left(of: Any, kind: Kind) -> None:
    body = {"string": b"\x00", "double": bytes(8), "null": b""}.get(of if isinstance(of, str) else "", b"\x00")
    assert run(record_of(a=of), {("a",): Column(kind, 0)}, body)[1].status.tolist() == [LEFT]


def test_what_has_no_program_is_said() -> None:
    with pytest.raises(Unfit, match="no fields"):
        compile_program(parse(record_of(a="long")), {("b",): Column(Kind.NUMBER, 0)})
    with pytest.raises(Unfit, match="a list of string"):
        compile_program(parse(record_of(a={"type": "array", "items": "string"})), {("a",): Column(Kind.NUMBERS, 0)})
    deep: Any = "long"
    for _ in range(70):
        deep = {"type": "array", "items": deep}
    with pytest.raises(Unfit, match="deep"):
        compile_program({"type": "record", "name": "r", "fields": [{"name": "a", "type": deep}]}, {})


def test_a_named_type_may_be_used_again() -> None:
    inner = record_of(x="long", e={"type": "enum", "name": "e", "symbols": ["p", "q"]}) | {"name": "inner"}
    schema = record_of(a=inner, b="inner", c="e")
    wanted = {("b", "x"): Column(Kind.INTEGER, 0), ("c",): Column(Kind.INTEGER, 1)}
    _, columns = run(schema, wanted, b"\x02\x00\x08\x00\x02")
    assert columns.integers[:, 0].tolist() == [4, 1]


def test_ids_are_read_where_there_is_a_header() -> None:
    values = [header(7), None, b"", b"\x01\x00\x00\x00\x07", b"\x00\x00\x00", header(2**31)]
    assert schema_ids(joined(values)).tolist() == [7, -1, -1, -1, -1, 2**31]


# ---- codes


def keys(*texts: tuple[bytes, ...]) -> tuple[Buffer, Columns, np.ndarray]:
    """Return texts as if they had been read."""
    parts = len(texts[0])
    schema = record_of(**{f"p{i}": "string" for i in range(parts)})
    bodies = [b"".join(varint(len(part)) + part for part in text) for text in texts]
    buffer = joined([header(1) + body for body in bodies])
    columns = empty(len(texts), 0, 0, parts)
    wanted = {(f"p{i}",): Column(Kind.TEXT, i) for i in range(parts)}
    read_rows(buffer, np.arange(len(texts)), compile_program(parse(schema), wanted), 10_000, columns)
    assert (columns.status == READ).all()
    return buffer, columns, np.arange(len(texts))


def test_an_index_knows_bytes_from_bytes_however_many() -> None:
    texts = [(b"k%d" % i, b"x" * (i % 20)) for i in range(3_000)]
    buffer, columns, rows = keys(*texts)
    index = Index(2)
    assert (index.find(buffer, columns, (0, 1), rows) == UNKNOWN).all()
    index.add(buffer, columns, (0, 1), rows[:2_000], np.arange(2_000) * 3)
    index.add(buffer, columns, (0, 1), rows[1_000:], np.arange(2_000) + 50_000)
    assert len(index) == 3_000
    expected = [i * 3 if i < 2_000 else i - 1_000 + 50_000 for i in range(3_000)]
    assert index.find(buffer, columns, (0, 1), rows).tolist() == expected
    assert (index.find(buffer, columns, (1, 0), rows) == UNKNOWN).all(), "the parts in another order are another key"
    index.clear()
    assert len(index) == index.bytes_filled == 0
    assert (index.find(buffer, columns, (0, 1), rows) == UNKNOWN).all()


def test_parts_that_read_the_same_together_are_other_keys() -> None:
    buffer, columns, rows = keys((b"ab", b"c"), (b"a", b"bc"), (b"abc", b""), (b"", b"abc"))
    index = Index(2)
    index.add(buffer, columns, (0, 1), rows, rows)
    assert index.find(buffer, columns, (0, 1), rows).tolist() == [0, 1, 2, 3]


def test_equal_hashes_are_not_equal_keys() -> None:
    buffer, columns, rows = keys((b"one",), (b"two",), (b"ten",), (b"a longer text 1",), (b"a longer text 2",))
    columns.hash[:] = 7
    index = Index(1)
    index.add(buffer, columns, (0,), rows[:2], rows[:2])
    assert index.find(buffer, columns, (0,), rows).tolist() == [0, 1, UNKNOWN, UNKNOWN, UNKNOWN]
    index.add(buffer, columns, (0,), rows, rows)
    assert index.find(buffer, columns, (0,), rows).tolist() == [0, 1, 2, 3, 4]


def test_names_are_made_once_and_forgotten_when_there_are_too_many(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[bytes] = []

    def make(text: bytes) -> int:
        made.append(text)
        return len(text)

    names = Names(make, np.int64)
    buffer, columns, rows = keys((b"a",), (b"bb",), (b"a",), (b"",))
    for _ in range(2):
        assert names.column(buffer, columns, 0, rows).tolist() == [1, 2, 1, 0]
    assert made == [b"a", b"bb", b""]
    monkeypatch.setattr(interning, "NAMES_MAX", 2)
    assert names.column(buffer, columns, 0, rows).tolist() == [1, 2, 1, 0]
    assert made == [b"a", b"bb", b""] * 2
    monkeypatch.setattr(interning, "NAMES_MAX", 100)
    monkeypatch.setattr(interning, "NAMES_BYTES_MAX", 2)
    assert names.column(buffer, columns, 0, rows[1:2]).tolist() == [2]
    assert made == [b"a", b"bb", b""] * 2 + [b"bb"]


def test_series_of_two_partitions_have_codes_of_their_own() -> None:
    buffer, columns, rows = keys((b"E1",), (b"E2",), (b"E1",))
    columns = columns._replace(
        **{name: np.repeat(getattr(columns, name), 5, axis=0) for name in ("begin", "size", "hash")}
    )
    codes = SeriesCodes((0, 1, 2, 3, 4))
    first, second = SeriesDictionary(), SeriesDictionary()
    assert codes.column(buffer, columns, rows, first).tolist() == [0, 1, 0]
    assert codes.column(buffer, columns, rows[1:], second).tolist() == [0, 1]
    assert codes.column(buffer, columns, rows, first).tolist() == [0, 1, 0]
    assert first.keys == ["E1|E1|E1|E1|E1", "E2|E2|E2|E2|E2"]


def test_warm_costs_nothing_the_second_time() -> None:
    warm()
    assert warm.cache_info().currsize == 1
