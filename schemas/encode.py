"""Records to bytes: Avro behind the 5-byte Confluent header (a zero byte, the schema id as a big-endian 32-bit integer).

Theory of operation
-------------------
fastavro's compiled writer does the work, but it is lenient: it writes "1.5" and True into a double, cuts 1.7 to 1 for a long,
takes any string for an empty array and any integer for an int. So each schema is compiled once into checks:
1. Per field, the set of exact Python types for which the writer itself finds whatever else may be wrong. One look at
   `type(value)` passes a good field; that is all that most fields cost.
2. A field of another type, or one whose content needs a look (int, arrays, maps), goes through its deep check, which knows
   Avro's types exactly and names the path of what is wrong, e.g. `defects[2].confidence`.
3. If the writer raises all the same, the deep checks of all fields find the path.

Times are integers here (milliseconds), never datetimes: logical types say what a number means, they do not convert it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from io import BytesIO
from numbers import Integral, Real
from typing import Any, NamedTuple

import fastavro

from schemas.columnar.writer import ColumnWriter, Value
from schemas.framing import EncodeError, encode_header
from schemas.topics import load

_INT = 2**31
_LONG = 2**63
_MISSING = object()

Problem = tuple[str, str]  # (path of the field, what is wrong with it)
Deep = Callable[[Any, str], Iterator[Problem]]  # yields what is wrong with a value at a path


class _Field(NamedTuple):
    name: str
    passing: frozenset[type]  # exact types for which the writer finds what else may be wrong
    deep: Deep
    optional: bool


class Encoder:
    """Encodes records of one schema. `schema` is a schema or the name of one in `schemas/avro`.

    >>> encoder = Encoder("series_page", schema_id=7)
    >>> encoder.encode({"page": 0, "first_code": 0, "seq": 3, "keys": ["E1||||CD"]})
    b'\\x00\\x00\\x00\\x00\\x07\\x00\\x00\\x06\\x02\\x10E1||||CD\\x00'
    >>> encoder.encode({"page": 0, "first_code": 0, "seq": 3.5, "keys": []})
    Traceback (most recent call last):
    schemas.framing.EncodeError: seq: expected long, not float 3.5
    """

    def __init__(self, schema: Mapping[str, Any] | str, schema_id: int) -> None:
        raw = load(schema) if isinstance(schema, str) else dict(schema)
        self.schema_id = schema_id
        self._header = encode_header(schema_id)
        self._schema: Any = fastavro.parse_schema(without_logical_types(raw))
        self._record = _record(self._schema, {})
        self._fields = _fields(self._schema, {})
        self._names = frozenset(field.name for field in self._fields)
        self._columns: ColumnWriter | None = None  # made when it is wanted: not every schema is flat

    def encode(self, record: Mapping[str, Any]) -> bytes:
        """Return header and record. Raises EncodeError that names the first field that is wrong.

        A field that is left out gets the schema's default; one that has none must be there.
        """
        present = 0
        for name, passing, deep, optional in self._fields:
            value = record.get(name, _MISSING)
            if value is _MISSING:
                if not optional:
                    raise EncodeError(name, "missing, and it has no default")
                continue
            present += 1
            if type(value) not in passing:
                for problem in deep(value, name):
                    raise EncodeError(*problem)
        if present != len(record):
            raise EncodeError(str(next(name for name in record if name not in self._names)), "no such field")
        out = BytesIO(self._header)
        out.seek(len(self._header))
        try:
            fastavro.schemaless_writer(out, self._schema, record, disable_tuple_notation=True)
        except (ValueError, TypeError, OverflowError, AttributeError, KeyError) as error:
            for problem in self._record(record, ""):
                raise EncodeError(*problem) from error
            raise EncodeError("", f"cannot be written: {error}") from error
        return out.getvalue()

    def encode_columns(self, n: int, columns: Mapping[str, Value]) -> list[bytes]:
        """Return n records, the same bytes as `encode` would give one by one (see schemas/columnar/writer.py for the columns).

        Raises EncodeError, and ValueError for a schema that is not flat.
        """
        if self._columns is None:
            self._columns = ColumnWriter(self._schema["fields"], self.schema_id)
        return self._columns.write(n, columns)


def without_logical_types(schema: Any) -> Any:
    """Return a copy of a schema whose logical types are gone: numbers stay numbers, both ways.

    >>> without_logical_types({"type": "long", "logicalType": "timestamp-millis"})
    {'type': 'long'}
    """
    return without(schema, frozenset({"logicalType"}))


def without(schema: Any, attributes: frozenset[str]) -> Any:
    """Return a copy of a schema, as JSON knows it, without these attributes of its types and fields."""
    if isinstance(schema, list):
        return [without(branch, attributes) for branch in schema]
    if isinstance(schema, dict):
        copy = {name: value for name, value in schema.items() if name not in attributes}
        for name in ("type", "items", "values"):
            if name in copy:
                copy[name] = without(copy[name], attributes)
        if isinstance(copy.get("fields"), list):
            copy["fields"] = [without(field, attributes) for field in copy["fields"]]
        return copy
    return schema


def _wrong(path: str, expected: str, value: Any) -> Iterator[Problem]:
    shown = repr(value)
    shown = shown if len(shown) <= 60 else shown[:57] + "..."
    yield path, f"expected {expected}, not " + ("null" if value is None else f"{type(value).__name__} {shown}")


def _is_integer(value: Any, limit: int) -> bool:
    return isinstance(value, Integral) and not isinstance(value, bool) and -limit <= int(value) < limit


def _is_double(value: Any) -> bool:
    if not isinstance(value, Real) or isinstance(value, bool):
        return False
    try:
        float(value)
    except OverflowError:
        return False
    return True


def _is_float(value: Any) -> bool:
    return _is_double(value) and (not math.isfinite(value) or abs(value) < 3.4028235677973366e38)


def _is_text(value: Any) -> bool:
    if not isinstance(value, str):
        return False
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True


_SCALARS: Mapping[str, tuple[frozenset[type], Callable[[Any], bool]]] = {
    "null": (frozenset({type(None)}), lambda value: value is None),
    "boolean": (frozenset({bool}), lambda value: isinstance(value, bool)),
    "int": (frozenset(), lambda value: _is_integer(value, _INT)),
    "long": (frozenset({int}), lambda value: _is_integer(value, _LONG)),
    "float": (frozenset(), _is_float),
    "double": (frozenset({float}), _is_double),
    "string": (frozenset({str}), _is_text),
    "bytes": (frozenset({bytes}), lambda value: isinstance(value, bytes | bytearray)),
}


def _scalar(kind: str) -> Deep:
    fits = _SCALARS[kind][1]

    def deep(value: Any, path: str) -> Iterator[Problem]:
        if not fits(value):
            expected = "valid Unicode" if kind == "string" and isinstance(value, str) else kind
            yield from _wrong(path, expected, value)

    return deep


def _fixed(size: int) -> Deep:
    def deep(value: Any, path: str) -> Iterator[Problem]:
        if not isinstance(value, bytes) or len(value) != size:
            yield from _wrong(path, f"{size} bytes", value)

    return deep


def _enum(symbols: list[str]) -> Deep:
    known = frozenset(symbols)

    def deep(value: Any, path: str) -> Iterator[Problem]:
        if not isinstance(value, str) or value not in known:
            yield from _wrong(path, f"one of {', '.join(symbols)}", value)

    return deep


def _array(items: Deep) -> Deep:
    def deep(value: Any, path: str) -> Iterator[Problem]:
        if not isinstance(value, list | tuple):
            yield from _wrong(path, "array", value)
            return
        for i, item in enumerate(value):
            yield from items(item, f"{path}[{i}]")

    return deep


def _map(values: Deep) -> Deep:
    def deep(value: Any, path: str) -> Iterator[Problem]:
        if not isinstance(value, Mapping):
            yield from _wrong(path, "map", value)
            return
        for key, item in value.items():
            if not _is_text(key):
                yield from _wrong(path, "string as key", key)
            yield from values(item, f"{path}[{key!r}]")

    return deep


def _union(branches: list[Any], kinds: str, named: dict[str, Deep]) -> Deep:
    deeps = [_deep(branch, named) for branch in branches]
    nested = [
        deep
        for branch, deep in zip(branches, deeps, strict=True)
        if not (isinstance(branch, str) and branch in _SCALARS)
    ]

    def deep(value: Any, path: str) -> Iterator[Problem]:
        if any(next(branch(value, path), None) is None for branch in deeps):
            return
        if len(nested) == 1 and isinstance(value, dict | list | tuple):
            yield from nested[0](value, path)  # there is one thing it can be: say what is wrong inside
        else:
            yield from _wrong(path, kinds, value)

    return deep


def _record(schema: Any, named: dict[str, Deep]) -> Deep:
    fields: list[_Field] = []

    def deep(value: Any, path: str) -> Iterator[Problem]:
        if not isinstance(value, Mapping):
            yield from _wrong(path, schema["name"].rpartition(".")[2], value)
            return
        inside = f"{path}." if path else ""
        for name in value:
            if all(name != field.name for field in fields):
                yield f"{inside}{name}", "no such field"
        for field in fields:
            if field.name in value:
                yield from field.deep(value[field.name], inside + field.name)
            elif not field.optional:
                yield inside + field.name, "missing, and it has no default"

    named[schema["name"]] = deep
    fields.extend(_fields(schema, named))
    return deep


def _fields(schema: Any, named: dict[str, Deep]) -> list[_Field]:
    return [
        _Field(field["name"], _passing(field["type"]), _deep(field["type"], named), "default" in field)
        for field in schema["fields"]
    ]


def _name(schema: Any) -> str:
    kind = schema if isinstance(schema, str) else schema["type"]
    return str(kind if kind in _SCALARS or isinstance(schema, str) else schema.get("name", kind)).rpartition(".")[2]


def _deep(schema: Any, named: dict[str, Deep]) -> Deep:
    """Compile the deep check of a parsed schema."""
    if isinstance(schema, list):
        return _union(schema, " or ".join(map(_name, schema)), named)
    kind = schema if isinstance(schema, str) else schema["type"]
    if kind in _SCALARS:
        return _scalar(kind)
    deep: Deep
    if isinstance(schema, str):
        deep = named[schema]
        return deep
    if kind == "record":
        return _record(schema, named)
    if kind in {"array", "map"}:
        return _array(_deep(schema["items"], named)) if kind == "array" else _map(_deep(schema["values"], named))
    deep = named[schema["name"]] = _enum(schema["symbols"]) if kind == "enum" else _fixed(schema["size"])
    return deep


def _passing(schema: Any) -> frozenset[type]:
    """Return the types for which the writer finds whatever else may be wrong."""
    if isinstance(schema, list):
        return frozenset().union(*map(_passing, schema))
    if isinstance(schema, dict):
        if schema["type"] == "enum":
            return frozenset({str})
        if schema["type"] == "map" and schema["values"] in ("string", "long"):
            return frozenset({dict})
        schema = schema["type"]
    return _SCALARS[schema][0] if schema in _SCALARS else frozenset()
