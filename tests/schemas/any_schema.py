"""Strategies for any Avro schema that may be read with, and records of it as fastavro writes them."""

from __future__ import annotations

from io import BytesIO
from typing import Any

import fastavro
from hypothesis import strategies as st

from schemas.resolution import parse
from tests.schemas.wire import header

LEAVES: dict[str, st.SearchStrategy[Any]] = {
    "null": st.none(),
    "boolean": st.booleans(),
    "int": st.integers(-(2**31), 2**31 - 1),
    "long": st.integers(-(2**63), 2**63 - 1),
    "float": st.floats(width=32, allow_nan=False),
    "double": st.floats(allow_nan=False),
    "bytes": st.binary(max_size=9),
    "string": st.text(max_size=12),
}
LOGICAL = ("timestamp-millis", "time-micros")


class TypeNames:
    """Gives every named type of a schema a name of its own."""

    def __init__(self) -> None:
        self.count = 0

    def next(self) -> str:
        self.count += 1
        return f"n{self.count}"


@st.composite
def schemas(draw: st.DrawFn, names: TypeNames, depth: int, *, in_list: bool = False) -> Any:
    """Return (schema, strategy of values)."""
    kinds = [kind for kind in LEAVES if not (in_list and kind == "null")]
    if depth:
        kinds += ["enum", "fixed", "union", "array", "map", "record", "logical"]
    kind = draw(st.sampled_from(kinds))
    if kind in LEAVES:
        return kind, LEAVES[kind]
    made: Any
    match kind:
        case "logical":
            made = {"type": "long", "logicalType": draw(st.sampled_from(LOGICAL))}, LEAVES["long"]
        case "enum":
            symbols = [f"s{i}" for i in range(draw(st.integers(1, 4)))]
            made = {"type": "enum", "name": names.next(), "symbols": symbols}, st.sampled_from(symbols)
        case "fixed":
            size = draw(st.integers(1, 5))
            made = {"type": "fixed", "name": names.next(), "size": size}, st.binary(min_size=size, max_size=size)
        case "union":
            branches = draw(st.lists(st.sampled_from(list(LEAVES)), min_size=1, max_size=4, unique=True))
            made = branches, st.one_of([st.tuples(st.just(branch), LEAVES[branch]) for branch in branches])
        case "array":
            items, value = draw(schemas(names, depth - 1, in_list=True))
            made = {"type": "array", "items": items}, st.lists(value, max_size=4)
        case "map":
            items, value = draw(schemas(names, depth - 1, in_list=True))
            made = {"type": "map", "values": items}, st.dictionaries(st.text(max_size=4), value, max_size=3)
        case _:
            made = draw(records(names, depth - 1, fewest=1 if in_list else 0))
    return made


@st.composite
def records(draw: st.DrawFn, names: TypeNames, depth: int, fewest: int = 0) -> Any:
    fields = [draw(schemas(names, depth, in_list=bool(fewest))) for _ in range(draw(st.integers(max(1, fewest), 5)))]
    schema = {
        "type": "record",
        "name": names.next(),
        "fields": [{"name": f"f{i}", "type": of} for i, (of, _) in enumerate(fields)],
    }
    return schema, st.fixed_dictionaries({f"f{i}": value for i, (_, value) in enumerate(fields)})


@st.composite
def cases(draw: st.DrawFn) -> tuple[Any, list[bytes]]:
    names = TypeNames()
    written, values = draw(records(names, 3))
    schema: Any = parse(written)
    encoded = []
    for record in draw(st.lists(values, min_size=1, max_size=5)):
        stream = BytesIO(header(1))
        stream.seek(5)
        fastavro.schemaless_writer(stream, schema, record)
        encoded.append(stream.getvalue())
    return schema, encoded
