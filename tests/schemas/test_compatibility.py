"""What breaks readers: a table held to a real registry's verdict, and random schemas held to what fastavro can read."""

from __future__ import annotations

import copy
import io
import json
import uuid
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import fastavro
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from schemas.avro_types import DEPTH_MAX, Field, NotASchema, Parsed, Ref, Type, parse
from schemas.compatibility import can_read
from schemas.differences import diff
from schemas.levels import LEVELS, conflicts, directions
from schemas.registry import Registry
from schemas.topics import load, record_names

if TYPE_CHECKING:
    from cluster.local import Endpoints

BOTH, BACK, FORTH, NONE = (True, True), (True, False), (False, True), (False, False)


def record(*fields: Any, name: str = "R", **more: Any) -> dict[str, Any]:
    """Return a record; a field is a name and a type, and perhaps further attributes."""
    return {
        "type": "record", "name": name, "namespace": "n", **more,
        "fields": [{"name": f[0], "type": f[1], **(f[2] if len(f) > 2 else {})} for f in fields],
    }  # fmt: skip


def of(kind: Any, **more: Any) -> dict[str, Any]:
    return record(("f", kind, more))


def enum(*symbols: str, **more: Any) -> dict[str, Any]:
    return {"type": "enum", "name": "E", "symbols": list(symbols), **more}


def fixed(size: int) -> dict[str, Any]:
    return {"type": "fixed", "name": "F", "size": size}


def array(items: Any) -> dict[str, Any]:
    return {"type": "array", "items": items}


A = ("a", "int")
INNER = record(A, name="Inner")
TABLE: dict[str, tuple[Any, Any, tuple[bool, bool], list[tuple[str, str, tuple[str, ...]]]]] = {
    # what → old, new, (new reads old, old reads new), changes: path, kind, breaks
    "nothing": (of("int"), of("int"), BOTH, []),
    "a doc": (of("int"), of("int", doc="what"), BOTH, [("f.doc", "added", ())]),
    "int to long": (of("int"), of("long"), BACK, [("f", "changed", ("forward",))]),
    "long to int": (of("long"), of("int"), FORTH, [("f", "changed", ("backward",))]),
    "float to double": (of("float"), of("double"), BACK, [("f", "changed", ("forward",))]),
    "int to string": (of("int"), of("string"), NONE, [("f", "changed", ("backward", "forward"))]),
    "a field with a default": (record(A), record(A, ("b", "int", {"default": 1})), BOTH, [("b", "added", ())]),
    "a field without": (record(A), record(A, ("b", "int")), FORTH, [("b", "added", ("backward",))]),
    "a field with a default goes": (record(A, ("b", "int", {"default": 1})), record(A), BOTH, [("b", "removed", ())]),
    "a field without goes": (record(A, ("b", "int")), record(A), BACK, [("b", "removed", ("forward",))]),
    "a default changes": (of("int", default=1), of("int", default=2), BOTH, [("f.default", "changed", ())]),
    "a default goes": (of("int", default=1), of("int"), BOTH, [("f.default", "removed", ())]),
    "a symbol comes": (of(enum("A")), of(enum("A", "B")), BACK, [("f.symbols", "added", ("forward",))]),
    "a symbol goes": (of(enum("A", "B")), of(enum("A")), FORTH, [("f.symbols", "removed", ("backward",))]),
    "it may be null": (of("string"), of(["null", "string"]), BACK, [("f", "added", ("forward",))]),
    "it may not be null": (of(["null", "string"]), of("string"), FORTH, [("f", "removed", ("backward",))]),
    "a branch comes": (of(["null", "int"]), of(["null", "int", "string"]), BACK, [("f", "added", ("forward",))]),
    "a branch is promoted": (of(["null", "int"]), of(["null", "long"]), BACK,
                             [("f", "removed", ()), ("f", "added", ("forward",))]),
    "branches change places": (of(["null", "int"]), of(["int", "null"]), BOTH, []),
    "a union of one": (of("int"), of(["int"]), BOTH, [("f", "changed", ())]),
    "items": (of(array("int")), of(array("long")), BACK, [("f[]", "changed", ("forward",))]),
    "values": (of({"type": "map", "values": "int"}), of({"type": "map", "values": "string"}), NONE,
               [("f{}", "changed", ("backward", "forward"))]),
    "array to map": (of(array("int")), of({"type": "map", "values": "int"}), NONE,
                     [("f", "changed", ("backward", "forward"))]),
    "a size": (of(fixed(4)), of(fixed(8)), NONE, [("f.size", "changed", ("backward", "forward"))]),
    "deep inside": (of(array(INNER)), of(array(record(A, ("b", "int"), name="Inner"))), FORTH,
                    [("f[].b", "added", ("backward",))]),
    "inside of what may be null": (of(["null", INNER]), of(["null", record(name="Inner")]), BACK,
                                   [("f.a", "removed", ("forward",))]),
    "a logical type": (of({"type": "long", "logicalType": "timestamp-millis"}), of("long"), BOTH,
                       [("f.logicalType", "removed", ())]),
    "a field's order": (of("int"), of("int", order="ignore"), BOTH, [("f.order", "added", ())]),
}  # fmt: skip


@pytest.mark.parametrize("what", TABLE)
def test_what_differs_and_what_breaks(what: str) -> None:
    old, new, (backward, forward), changes = TABLE[what]
    before, after = parse(json.dumps(old)), parse(new)
    assert can_read(after, before) is backward
    assert can_read(before, after) is forward
    assert [(change.path, change.kind, change.breaks) for change in diff(before, after)] == changes


@pytest.mark.kafka
def test_the_registry_says_the_same(stack: Endpoints) -> None:
    registry = Registry(stack.registry_url)
    said = {}
    for what, (old, new, _, _) in TABLE.items():
        subject = f"test-{uuid.uuid4().hex}-value"
        registry.register(subject, json.dumps(old))
        verdicts = []
        for level in ("BACKWARD", "FORWARD"):
            registry.set_compatibility(subject, level)
            verdicts.append(registry.test(subject, json.dumps(new)))
        said[what] = tuple(verdicts)
    assert said == {what: verdict for what, (_, _, verdict, _) in TABLE.items()}


RENAMED: dict[str, tuple[Any, Any, tuple[bool, bool], list[tuple[str, str, tuple[str, ...]]]]] = {
    # the specification leaves it to a reader whether names must match; ours is strict, as SchemaCompatibility of Avro's Java is
    "a record": (record(A), record(A, name="S"), NONE, [("name", "changed", ("backward", "forward"))]),
    "a record, with an alias": (record(A), record(A, name="S", aliases=["R"]), BACK, [("name", "changed", ("forward",))]),
    "a namespace": (record(A), record(A) | {"namespace": "m"}, BOTH, [("namespace", "changed", ())]),
    "a field": (record(A), record(("b", "int")), NONE, [("a", "removed", ("forward",)), ("b", "added", ("backward",))]),
    "a field, with an alias": (record(A), record(("b", "int", {"aliases": ["a"]})), BACK,
                               [("b", "changed", ("forward",)), ("b.aliases", "added", ())]),
    "a symbol that a default stands for": (of(enum("A", "B")), of(enum("A", default="A")), BOTH,
                                           [("f.default", "added", ()), ("f.symbols", "removed", ())]),
}  # fmt: skip


@pytest.mark.parametrize("what", RENAMED)
def test_names_aliases_and_defaults_of_enums(what: str) -> None:
    old, new, verdict, changes = RENAMED[what]
    before, after = parse(old), parse(new)
    assert (can_read(after, before), can_read(before, after)) == verdict
    assert [(change.path, change.kind, change.breaks) for change in diff(before, after)] == changes


TREE = record(("value", "int"), ("children", {"type": "array", "items": "R"}))


def test_a_recursive_schema_is_compared_to_its_end() -> None:
    more = copy.deepcopy(TREE)
    more["fields"].append({"name": "b", "type": "int"})
    assert diff(parse(TREE), parse(TREE)) == []
    assert can_read(parse(TREE), parse(TREE))
    assert [change.path for change in diff(parse(TREE), parse(more))] == ["b"]
    assert not can_read(parse(more), parse(TREE))


def test_a_pair_that_was_taken_to_fit_and_does_not_is_looked_at_again() -> None:
    """R holds S holds R: while R is looked at, it is taken to fit, and S with it; then R's last field does not."""

    def schema(last: str) -> dict[str, Any]:
        inner = record(("r", ["null", "R"]), name="S")
        return record(("top", ["null", record(("s", inner), ("last", last))]), ("s", ["null", "S"]), name="Top")

    assert not can_read(parse(schema("int")), parse(schema("string")))
    assert can_read(parse(schema("long")), parse(schema("int")))


def test_a_schema_made_to_be_looked_at_for_ever_is_not() -> None:
    def doubling(depth: int, leaf: str) -> Any:
        kind: Any = leaf
        for level in range(depth):
            kind = record(("a", kind), ("b", f"R{level - 1}" if level else leaf), name=f"R{level}")
        return kind

    assert can_read(parse(doubling(60, "long")), parse(doubling(60, "int")))
    assert len(diff(parse(doubling(60, "long")), parse(doubling(60, "int")))) == 2


def test_ours_are_read_and_are_no_different_from_themselves() -> None:
    for name in record_names():
        schema = parse(load(name))
        assert can_read(schema, schema)
        assert diff(schema, schema) == []


def nested(depth: int) -> Any:
    return "int" if depth == 0 else {"type": "array", "items": nested(depth - 1)}


@pytest.mark.parametrize(
    "text",
    ["", "{", "7", '"no.such"', '{"type": "record"}', '{"type": "record", "name": "R", "fields": [{"name": "a"}]}',
     '{"type": "enum", "name": "E"}', "[[]]", "null", json.dumps(of({"type": "fixed", "name": "F"})), "[" * 20_000,
     json.dumps(nested(DEPTH_MAX + 1))],
)  # fmt: skip
def test_what_is_no_schema_is_said_in_a_line(text: str) -> None:
    with pytest.raises(NotASchema) as raised:
        parse(text)
    assert len(str(raised.value)) < 300


@pytest.mark.slow
def test_types_that_refer_to_each_other_in_a_chain_without_end_are_said_to() -> None:
    chain: dict[str, Type] = {
        f"R{i}": Type("record", "R", fields={"next": Field(Ref(f"R{i + 1}"), {})}) for i in range(5_000)
    }
    deep = Parsed(Ref("R0"), {name: replace(each, name=name) for name, each in chain.items()})
    with pytest.raises(NotASchema, match="too long a chain"):
        can_read(deep, deep)
    with pytest.raises(NotASchema, match="too long a chain"):
        diff(deep, deep)


def test_types_say_what_they_are() -> None:
    schema = parse(
        of(
            [
                "null",
                array({"type": "string", "logicalType": "uuid"}),
                fixed(2),
            ]
        )
    )
    assert str(schema.at(schema.root).fields["f"].type) == "[null, array<string>, fixed n.F]"


def test_levels_demand_directions_of_the_versions_before() -> None:
    one, two, three = (
        parse(schema)
        for schema in (record(A), record(A, ("b", "int")), record(A, ("b", "int"), ("c", "int", {"default": 1})))
    )
    versions = [(1, one), (2, two), (3, three)]

    def pairs(level: Any) -> list[tuple[int, int, str]]:
        return [(each.earlier, each.later, each.direction) for each in conflicts(level, versions)]

    assert pairs("NONE") == pairs("FORWARD") == pairs("FORWARD_TRANSITIVE") == []
    assert pairs("BACKWARD") == pairs("FULL") == [(1, 2, "backward")]
    assert pairs("BACKWARD_TRANSITIVE") == pairs("FULL_TRANSITIVE") == [(1, 2, "backward"), (1, 3, "backward")]
    assert [change.path for change in conflicts("FULL", versions)[0].changes] == ["b"]
    assert {level: len(directions(level)) for level in LEVELS}["FULL"] == 2
    assert len(LEVELS) == 7


# ---- random schemas

SIMPLE = st.sampled_from(["int", "long", "float", "double", "string", "bytes", "boolean"])
TYPES = st.recursive(
    SIMPLE | st.lists(st.sampled_from("ABC"), min_size=1, unique=True).map(lambda symbols: enum(*symbols)),
    lambda inner: st.one_of(
        inner.map(lambda kind: {"type": "array", "items": kind}),
        SIMPLE.map(lambda kind: ["null", kind]),
        st.lists(st.sampled_from(["null", "int", "long", "string", "double"]), min_size=1, unique=True),
    ),
    max_leaves=3,
)
FIELDS = st.dictionaries(st.sampled_from("abc"), TYPES, max_size=3)


def one(kind: Any) -> Any:
    """Return a value of a type."""
    if isinstance(kind, list):
        return one(kind[-1])
    if isinstance(kind, dict):
        return kind["symbols"][-1] if kind["type"] == "enum" else [one(kind["items"])]
    return {
        "null": None,
        "int": 3,
        "long": 2**40,
        "float": 0.5,
        "double": 0.1,
        "string": "ä",
        "bytes": b"x",
        "boolean": True,
    }[kind]


def made(fields: dict[str, Any]) -> dict[str, Any]:
    """Return a record of these fields; every enum has a name of its own, for a name is defined once."""
    named = copy.deepcopy(fields)
    for name, kind in named.items():
        inner = kind
        while isinstance(inner, dict) and inner["type"] == "array":
            inner = inner["items"]
        if isinstance(inner, dict):
            inner["name"] = f"E{name}"
    return record(*named.items())


@pytest.mark.slow
@given(FIELDS, FIELDS)
@settings(max_examples=300)
def test_a_pair_is_broken_exactly_if_a_change_breaks_it(old: dict[str, Any], new: dict[str, Any]) -> None:
    before, after = parse(made(old)), parse(made(new))
    changes = diff(before, after)
    assert can_read(after, before) is not any("backward" in change.breaks for change in changes)
    assert can_read(before, after) is not any("forward" in change.breaks for change in changes)


@pytest.mark.slow
@given(FIELDS, FIELDS)
@settings(max_examples=300)
def test_what_can_be_read_is_read(old: dict[str, Any], new: dict[str, Any]) -> None:
    writer, reader = made(old), made(new)
    if not can_read(parse(reader), parse(writer)):
        return
    buffer = io.BytesIO()
    fastavro.schemaless_writer(buffer, fastavro.parse_schema(writer), {name: one(kind) for name, kind in old.items()})
    buffer.seek(0)
    found: Any = fastavro.schemaless_reader(buffer, fastavro.parse_schema(writer), fastavro.parse_schema(reader))
    assert set(found) == set(new)
