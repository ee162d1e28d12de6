"""From a writer's schema to ours: what may be read at all, and how a record written with it becomes a record of our schema.

Theory of operation
-------------------
A schema comes from whoever could register one, so it is checked before a byte is read with it. Why, by trial of fastavro 1.13:
- an array of nulls costs no bytes per item: a record of 10 bytes can claim 10⁹ of them and takes 21 s and all memory. So in
  arrays and maps every value must take at least a byte; then work and memory are bounded by the record's own size;
- a recursive schema recurses in C without a limit: a record of 10 kB ends the process. So there is no recursion;
- what the reader's schema does not name is *skipped without looking*: a truncated record reads as a whole one. So a record is
  always read whole with its writer's schema first; only then is it fitted to ours:
    `SAME`      the types are the same: what was read is the record;
    `PROJECT`   fields that both have are of the same type; ours that the writer lacks get their defaults;
    `RESOLVE`   types differ: fastavro reads it once more, by Avro's rules of schema resolution.
Logical types are taken off both schemas (numbers stay numbers); where writer and reader name different ones for a field, e.g.
micros and millis, the same number would mean another time: not compatible.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum
from io import BytesIO
from typing import Any, NamedTuple, cast

import fastavro
from fastavro.read import SchemaResolutionError
from fastavro.schema import SchemaParseException, UnknownType

from schemas.batch import Reason
from schemas.encode import without, without_logical_types

HEADER_BYTES = 5
DEPTH_MAX = 100  # of nested JSON in a writer's schema; ours have at most 8

# What fastavro raises on bytes that are not the schema's: the compiled reader EOFError (lengths and counts, negative and huge
# ones too), IndexError (index of a union or enum), UnicodeDecodeError; its pure-Python twin the others as well.
BAD_BYTES = (EOFError, IndexError, UnicodeDecodeError, OverflowError, MemoryError)

_NOT_BYTES = frozenset(
    {"logicalType", "default", "doc", "aliases", "order"}
)  # a writer's defaults are no reader's business
_MINIMUM = {"null": 0, "boolean": 1, "int": 1, "long": 1, "float": 4, "double": 8, "bytes": 1, "string": 1}


class IncompatibleSchema(ValueError):  # noqa: N818 - a property of the schema
    """A writer's schema that cannot be read as ours, or not safely."""


class UnreadableRecord(ValueError):  # noqa: N818 - a property of the record
    """A record that cannot be read; `reason` and `detail` are what its dead letter says."""

    def __init__(self, reason: Reason, detail: str) -> None:
        super().__init__(f"{reason.value}: {detail}")
        self.reason = reason
        self.detail = detail

    def __reduce__(self) -> tuple[type[UnreadableRecord], tuple[Reason, str]]:
        """Travel between processes whole."""
        return type(self), (self.reason, self.detail)


class Fit(Enum):
    """How a record read with its writer's schema becomes one of ours."""

    SAME = "same"
    PROJECT = "project"
    RESOLVE = "resolve"


class Plan(NamedTuple):
    """How to read records of one writer's schema."""

    writer: Any  # parsed
    reader: Any  # parsed
    fit: Fit
    names: tuple[str, ...]  # PROJECT: fields of the reader
    defaults: Mapping[str, Any]  # PROJECT: of the reader's fields that the writer lacks

    def read(self, value: bytes) -> dict[str, Any]:
        """Return the record behind the header of `value`. Raises UnreadableRecord, and nothing else."""
        stream = BytesIO(value)
        stream.seek(HEADER_BYTES)
        try:
            record: Any = fastavro.schemaless_reader(stream, self.writer, None)
        except BAD_BYTES as error:
            raise UnreadableRecord(Reason.MALFORMED, f"{type(error).__name__}: {_shorten(error)}") from error
        rest = len(value) - stream.tell()
        if rest:
            raise UnreadableRecord(Reason.TRAILING_BYTES, f"{rest} bytes after the record's {stream.tell()}")
        if self.fit is Fit.SAME:
            return cast("dict[str, Any]", record)
        if self.fit is Fit.PROJECT:
            defaults = self.defaults
            return {name: record[name] if name in record else _copy(defaults[name]) for name in self.names}
        stream.seek(HEADER_BYTES)
        try:
            record = fastavro.schemaless_reader(stream, self.writer, self.reader)
        except SchemaResolutionError as error:
            raise UnreadableRecord(Reason.INCOMPATIBLE_SCHEMA, _shorten(error)) from error
        except BAD_BYTES as error:  # bytes that the writer's schema allows and ours does not: binary data for text
            raise UnreadableRecord(Reason.INCOMPATIBLE_SCHEMA, f"{type(error).__name__}: {_shorten(error)}") from error
        return {name: record[name] for name in self.names}


def _shorten(error: Exception) -> str:
    text = str(error)
    return text if len(text) <= 200 else text[:197] + "..."


def _copy(default: Any) -> Any:
    return default.copy() if isinstance(default, dict | list) else default


def parse(schema: Any) -> Any:
    """Return a writer's schema parsed, with nothing but what decides the bytes.

    Raises IncompatibleSchema if it is none, or unsafe to read with.
    """
    _check_depth(schema)
    try:
        parsed = fastavro.parse_schema(without(schema, _NOT_BYTES))
    except (SchemaParseException, UnknownType, ValueError, TypeError, KeyError, AttributeError) as error:
        raise IncompatibleSchema(f"not an Avro schema: {_shorten(error)}") from error
    _check_safe(parsed, {}, in_list=False)
    return parsed


def plan_for(schema: Any, reader: Any | None) -> Plan:
    """Return how to read records of a writer's schema as the reader's record. Raises IncompatibleSchema.

    `schema` is the writer's as JSON knows it, `reader` ours likewise; None: the writer's record as it is.
    """
    writer = parse(schema)
    if not isinstance(writer, dict) or writer.get("type") != "record":
        raise IncompatibleSchema("the writer's schema is not a record")
    if reader is None:
        return Plan(writer, None, Fit.SAME, tuple(field["name"] for field in writer["fields"]), {})
    ours: Any = fastavro.parse_schema(without_logical_types(reader))
    if _last(writer["name"]) != _last(ours["name"]):
        raise IncompatibleSchema(f"a record {writer['name']}, not {ours['name']}")
    theirs = {field["name"]: field["type"] for field in writer["fields"]}
    _check_logical_types(schema, reader)
    names = tuple(field["name"] for field in ours["fields"])
    defaults, fit = {}, Fit.SAME if shape(writer) == shape(ours) else Fit.PROJECT
    for field in ours["fields"]:
        name = field["name"]
        if name not in theirs and not field.get("aliases"):
            if "default" not in field:
                raise IncompatibleSchema(f"{writer['name']} has no field {name}, which has no default")
            defaults[name] = field["default"]
        elif name not in theirs or shape(theirs[name]) != shape(field["type"]):
            fit = Fit.RESOLVE
    return Plan(writer, ours, fit, names, defaults)


def name_of(schema: Any) -> str:
    """Return the name of a schema as JSON knows it, without its namespace; "" if it has none."""
    name = schema.get("name") if isinstance(schema, dict) else None
    return _last(name) if isinstance(name, str) else ""


def _last(name: str) -> str:
    return name.rpartition(".")[2]


def _check_depth(schema: Any) -> None:
    level = [schema]
    for _ in range(DEPTH_MAX):
        deeper: list[Any] = []
        for node in level:
            deeper.extend(node.values() if isinstance(node, dict) else node if isinstance(node, list) else ())
        if not deeper:
            return
        level = deeper
    raise IncompatibleSchema(f"the writer's schema is nested more than {DEPTH_MAX} deep")


def _check_safe(schema: Any, named: dict[str, int | None], *, in_list: bool) -> int:
    """Return the fewest bytes that a value takes. `named`: of the types defined so far; None while one is being defined."""
    if isinstance(schema, list):
        return 1 + min((_check_safe(branch, named, in_list=False) for branch in schema), default=0)
    kind = schema if isinstance(schema, str) else schema["type"]
    if kind in _MINIMUM:
        fewest = _MINIMUM[kind]
    elif isinstance(schema, str):
        known = named[kind]
        if known is None:
            raise IncompatibleSchema(f"type {kind} of the writer's schema contains itself")
        fewest = known
    elif kind in {"array", "map"}:
        _check_safe(schema["items" if kind == "array" else "values"], named, in_list=True)
        fewest = 1
    else:
        named[schema["name"]] = None
        fewest = 1
        if kind == "record":
            fewest = sum(_check_safe(field["type"], named, in_list=in_list) for field in schema["fields"])
        elif kind == "fixed":
            fewest = schema["size"]
            if not isinstance(fewest, int) or fewest < 0:
                raise IncompatibleSchema(f"fixed {schema['name']} of size {fewest!r}")
        named[schema["name"]] = fewest
    if in_list and fewest == 0:
        raise IncompatibleSchema(f"items of type {kind} in an array or map take no bytes: their number has no bound")
    return fewest


def _check_logical_types(writer: Any, reader: Any) -> None:
    theirs = {field["name"]: _logical_type(field["type"]) for field in writer["fields"]}
    for field in reader["fields"]:
        wanted, found = _logical_type(field["type"]), theirs.get(field["name"])
        if wanted and found and wanted != found:
            raise IncompatibleSchema(f"field {field['name']} is {found} at the writer, {wanted} here")


def _logical_type(schema: Any) -> str | None:
    return schema.get("logicalType") if isinstance(schema, dict) else None


def shape(schema: Any) -> Any:
    """Return what decides the bytes of a parsed schema: no docs, defaults, aliases."""
    if isinstance(schema, list):
        return [shape(branch) for branch in schema]
    if isinstance(schema, str):
        return schema
    kind = schema["type"]
    if kind == "record":
        return kind, schema["name"], [(field["name"], shape(field["type"])) for field in schema["fields"]]
    if kind in {"array", "map"}:
        return kind, shape(schema["items" if kind == "array" else "values"])
    if kind == "enum":
        return kind, schema["name"], schema["symbols"]
    return (kind, schema["name"], schema["size"]) if kind == "fixed" else kind
