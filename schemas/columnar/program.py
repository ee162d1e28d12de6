"""From a writer's schema to a program that a kernel runs over every record: which bytes to read, and into which column.

Theory of operation
-------------------
A schema is compiled to instructions of four numbers, once; one kernel, compiled once for all schemas, runs them
(schemas/columnar/rows.py). So a schema that nobody has seen before costs microseconds, not the seconds of a compiler. A value
that is wanted goes to a column, all others are read over, and checked as fastavro would.

What is wanted of a union goes to its column from every branch that can give it: null leaves the column as it was filled before;
a branch that cannot is `OTHER`: such a record is not for the kernel. A schema that cannot be compiled has no program.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from enum import Enum
from typing import Any, NamedTuple

import numpy as np

# Instructions (op, a, b, c). Columns are -1 where the value is not wanted.
END = 0  # the record ends here, or it is not for us
OTHER = 1  # a value that is not for us
BOOLEAN = 2  # a: column of numbers
INTEGER = 3  # a: column of integers, b: of numbers
FLOAT = 4  # a: column of numbers
DOUBLE = 5  # a: column of numbers
BYTES = 6
TEXT = 7  # a: column of texts
FIXED = 8  # a: bytes
ENUM = 9  # a: how many symbols, b: column of integers
UNION = 10  # a: how many branches, b: where their places stand in `jumps`
JUMP = 11  # a: to where
ITEMS = 12  # a block of an array or a map. a: where the rest goes on, b: depth
AGAIN = 13  # a: the item's first instruction, b: depth, c: its ITEMS
MAYBE_TEXT = 14  # a: column of texts, b: index of null in a union of null and text
MAYBE_DOUBLE = 15  # a: column of numbers, b: index of null in a union of null and double
SPAN = 16  # a: column of texts, which begins here
SPAN_END = 17  # a: column of texts, which ends here
ITEM_REAL = 18  # a number more in the list of the record; a: 0 double, 1 float, 2 integer, 3 null

DEPTH_MAX = 64  # arrays and maps in each other


class Kind(Enum):
    """What a column holds."""

    INTEGER = "integer"  # int64; the record must have one
    NUMBER = "number"  # float64; null leaves NaN
    TEXT = "text"  # where it stands: UTF-8; null leaves none
    NEEDED_TEXT = "needed text"  # the same; null is not for us
    SPAN = "span"  # where the value stands, as it was written
    NUMBERS = "numbers"  # of an array: float64, null is NaN; one list of a record


class Column(NamedTuple):
    """A value that is wanted: what of it, and the number of its column among those of its kind."""

    kind: Kind
    number: int


Wanted = Mapping[tuple[str, ...], Column]  # by path from the record: names of fields


class Program(NamedTuple):
    """Instructions for records of one writer's schema. Arrays are read-only."""

    code: np.ndarray  # (m, 4) int64
    jumps: np.ndarray  # (k,) int64, places in code


class Unfit(Exception):  # noqa: N818 - not an error: there is another way
    """A schema, or what is wanted of it, that has no program."""


def compile_program(writer: Any, wanted: Wanted) -> Program:
    """Return the program of a parsed writer's schema (see schemas/resolution.py: it is safe to read with). Raises Unfit."""
    compiler = _Compiler(wanted)
    compiler.value(writer, ())
    compiler.emit(END)
    missing = wanted.keys() - compiler.found
    if missing:
        raise Unfit(f"no fields {sorted(missing)}")
    code, jumps = np.array(compiler.code, np.int64).reshape(-1, 4), np.array(compiler.jumps, np.int64)
    code.setflags(write=False)
    jumps.setflags(write=False)
    return Program(code, jumps)


class _Compiler:
    def __init__(self, wanted: Wanted) -> None:
        self.code: list[list[int]] = []
        self.jumps: list[int] = []
        self.found: set[tuple[str, ...]] = set()
        self._wanted = wanted
        self._named: dict[str, Any] = {}
        self._depth = 0

    def emit(self, op: int, a: int = -1, b: int = -1, c: int = -1) -> int:
        """Append an instruction; return its place."""
        self.code.append([op, a, b, c])
        return len(self.code) - 1

    def value(self, schema: Any, path: tuple[str, ...] | None) -> None:
        """Compile a value; path None: nothing in it can be wanted."""
        column = self._wanted.get(path) if path is not None else None
        if column is not None and path is not None:
            self.found.add(path)
        if column is not None and column.kind is Kind.SPAN:
            self.emit(SPAN, column.number)
            self._any(schema, None, None)
            self.emit(SPAN_END, column.number)
        else:
            self._any(schema, path, column)

    def _any(self, schema: Any, path: tuple[str, ...] | None, column: Column | None) -> None:
        if isinstance(schema, list):
            self._union(schema, path, column)
            return
        kind = schema if isinstance(schema, str) else schema["type"]
        if kind in self._named:
            self._any(self._named[kind], path, column)
        elif kind == "record":
            self._named[schema["name"]] = schema
            if column is not None:
                self.emit(OTHER)
            for field in schema["fields"]:
                self.value(field["type"], None if path is None else (*path, field["name"]))
        elif kind in {"array", "map"}:
            self._items(schema, kind, column)
        elif kind == "enum":
            self._named[schema["name"]] = schema
            self._leaf(kind, column, len(schema["symbols"]))
        elif kind == "fixed":
            self._named[schema["name"]] = schema
            self._leaf(kind, column, schema["size"])
        else:
            self._leaf(kind, column, 0)

    def _union(self, branches: Sequence[Any], path: tuple[str, ...] | None, column: Column | None) -> None:
        names = [branch if isinstance(branch, str) else branch.get("type") for branch in branches]
        if len(names) == 2 and "null" in names:
            other, null = names[1 - names.index("null")], names.index("null")
            if other == "string" and (column is None or column.kind is Kind.TEXT):
                self.emit(MAYBE_TEXT, _number(column), null)
                return
            if other == "double" and (column is None or column.kind is Kind.NUMBER):
                self.emit(MAYBE_DOUBLE, _number(column), null)
                return
        self._branches(branches, lambda branch: self._any(branch, path, column))

    def _branches(self, branches: Sequence[Any], compile_one: Callable[[Any], None]) -> None:
        at, first = self.emit(UNION, len(branches)), len(self.jumps)
        self.code[at][2] = first
        self.jumps += [0] * len(branches)
        ends = []
        for number, branch in enumerate(branches):
            self.jumps[first + number] = len(self.code)
            compile_one(branch)
            ends.append(self.emit(JUMP))
        for end in ends:
            self.code[end][1] = len(self.code)

    def _items(self, schema: Any, kind: str, column: Column | None) -> None:
        numbers = column is not None and column.kind is Kind.NUMBERS
        if column is not None and not (numbers and kind == "array"):
            self.emit(OTHER)
        if self._depth == DEPTH_MAX:
            raise Unfit(f"arrays and maps more than {DEPTH_MAX} deep")
        depth, self._depth = self._depth, self._depth + 1
        block = self.emit(ITEMS, -1, depth)
        first = len(self.code)
        if kind == "map":
            self.emit(TEXT)
        if numbers:
            self._item(schema["items"])
        else:
            self._any(schema["items" if kind == "array" else "values"], None, None)
        self.emit(AGAIN, first, depth, block)
        self.code[block][1] = len(self.code)
        self._depth = depth

    def _item(self, schema: Any) -> None:
        """Compile a number of a wanted list."""
        if isinstance(schema, list):
            self._branches(schema, self._item)
            return
        kinds = {"double": 0, "float": 1, "int": 2, "long": 2, "null": 3}
        if not isinstance(schema, str) or schema not in kinds:
            raise Unfit(f"a list of {schema}")
        self.emit(ITEM_REAL, kinds[schema])

    def _leaf(self, kind: str, column: Column | None, size: int) -> None:
        """Compile a value without parts. size: of a fixed, or how many symbols."""
        wanted, number = (column.kind, column.number) if column is not None else (None, -1)
        match kind, wanted:
            case "null", None | Kind.NUMBER | Kind.TEXT:
                return
            case "boolean", None | Kind.NUMBER:
                self.emit(BOOLEAN, number)
            case "int" | "long", None | Kind.INTEGER:
                self.emit(INTEGER, number)
            case "int" | "long", Kind.NUMBER:
                self.emit(INTEGER, -1, number)
            case "float", None | Kind.NUMBER:
                self.emit(FLOAT, number)
            case "double", None | Kind.NUMBER:
                self.emit(DOUBLE, number)
            case "bytes", None:
                self.emit(BYTES)
            case "string" | "bytes", None | Kind.TEXT | Kind.NEEDED_TEXT:
                self.emit(TEXT, number)
            case "fixed", None:
                self.emit(FIXED, size)
            case "enum", None | Kind.INTEGER:
                self.emit(ENUM, size, number)
            case _:
                self.emit(OTHER)


def _number(column: Column | None) -> int:
    return -1 if column is None else column.number
