"""An Avro schema with its names resolved, as schemas are compared: pure."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import fastavro

DEPTH_MAX = 100  # of nested types

NAMED = frozenset({"record", "error", "enum", "fixed"})


class NotASchema(ValueError):  # noqa: N818 - a property of the text
    """The text is no Avro schema, or one that is nested too deeply to be compared."""


@contextmanager
def bounded() -> Iterator[None]:
    """Raise NotASchema where types refer to each other in too long a chain to be followed."""
    try:
        yield
    except RecursionError as error:
        raise NotASchema("its types refer to each other in too long a chain") from error


@dataclass(frozen=True)
class Type:
    """A type with its names resolved. Compared by what it is, not by its attributes."""

    kind: str  # "record", "union", "int", …
    name: str = ""  # full name of a record, an enum or a fixed
    attributes: Mapping[str, Any] = field(default_factory=dict)  # as the schema has them
    parts: tuple[Type | Ref, ...] = ()  # branches of a union; items, values
    fields: Mapping[str, Field] = field(default_factory=dict)

    def __str__(self) -> str:
        if self.kind == "union":
            return f"[{', '.join(map(str, self.parts))}]"
        if self.parts:
            return f"{self.kind}<{self.parts[0]}>"
        return f"{self.kind} {self.name}" if self.name else self.kind


class Ref(NamedTuple):
    """A named type where it is used again."""

    name: str

    def __str__(self) -> str:
        return self.name


class Field(NamedTuple):
    """A field of a record."""

    type: Type | Ref
    attributes: Mapping[str, Any]

    @property
    def has_default(self) -> bool:
        """Say whether a reader can do without it."""
        return "default" in self.attributes


@dataclass(frozen=True)
class Parsed:
    """A schema and the types that it names."""

    root: Type | Ref
    names: Mapping[str, Type]

    def at(self, node: Type | Ref) -> Type:
        """Return the type itself."""
        return self.names[node.name] if isinstance(node, Ref) else node


def parse(schema: Any) -> Parsed:
    """Return a schema, given as text or as JSON knows it, with its names resolved. Raises NotASchema."""
    try:
        said = json.loads(schema) if isinstance(schema, str) else schema
        fastavro.parse_schema(said)
        names: dict[str, Type] = {}
        return Parsed(_read(said, "", names, 0), names)
    except NotASchema:
        raise
    except (
        ValueError,
        KeyError,
        TypeError,
        AttributeError,
        RecursionError,
        fastavro.schema.SchemaParseException,
    ) as error:
        raise NotASchema(f"not an Avro schema: {type(error).__name__}: {str(error)[:200]}") from error


def _read(said: Any, namespace: str, names: dict[str, Type], depth: int) -> Type | Ref:
    if depth > DEPTH_MAX:
        raise NotASchema(f"nested deeper than {DEPTH_MAX} types")
    if isinstance(said, list):
        if any(isinstance(branch, list) for branch in said):
            raise NotASchema("a union in a union")
        return Type("union", parts=tuple(_read(branch, namespace, names, depth + 1) for branch in said))
    if isinstance(said, str):
        full = said if "." in said or not namespace else f"{namespace}.{said}"
        return Ref(full) if full in names else Ref(said) if said in names else Type(said)
    kind = said["type"]
    if kind in {"array", "map"}:
        return Type(
            kind,
            attributes=said,
            parts=(_read(said["items" if kind == "array" else "values"], namespace, names, depth + 1),),
        )
    if kind not in NAMED:
        inner = _read(kind, namespace, names, depth + 1)
        return inner if isinstance(inner, Ref) else Type(inner.kind, inner.name, said, inner.parts, inner.fields)
    name = str(said["name"])
    space = name.rpartition(".")[0] if "." in name else str(said.get("namespace", namespace) or "")
    full = name if "." in name or not space else f"{space}.{name}"
    if kind not in {"record", "error"}:
        names[full] = Type(kind, full, said)
        return names[full]
    names[full] = Type("record", full, said)  # so that it may name itself
    fields = {one["name"]: Field(_read(one["type"], space, names, depth + 1), one) for one in said["fields"]}
    names[full] = Type("record", full, said, fields=fields)
    return Ref(full)
