"""Many records at once from columns: Avro without a Python object for each field, the counterpart of the reader.

Theory of operation
-------------------
A flat schema is compiled to one instruction a field; one kernel, compiled once for all schemas, writes all records into one
buffer. A column is the same for every record (a plain text or number), or has a value for each: `Texts`, integers, or floats.
For a field that may be null, `NULL` among integers is null, and so is every float that is not finite. A field that is not given
has its default.

The bytes are those of `schemas.encode.Encoder`, and so is what is refused: a text that is no Unicode, a symbol that an enum does
not have, an integer beyond its type.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np

from schemas.framing import EncodeError, encode_header
from schemas.kernel import kernel
from schemas.texts import Texts

NULL = np.iinfo(np.int64).min  # an integer that is null

Value = Texts | np.ndarray | str | int | float | None
_TEXT, _INTEGER, _REAL = 0, 1, 2  # what a field's column is
_NEVER = -1  # branch of null of a field that is never null
_LIMITS = {"int": 2**31, "long": 2**63}
_NUMBER_BYTES_MAX = 11  # a branch, and a varint of 64 bits
_REQUIRED = object()


class _Field(NamedTuple):
    name: str
    kind: int
    null: int  # branch of null in its union, or _NEVER
    type: str
    symbols: dict[str, int] | None  # of an enum
    default: Any


class ColumnWriter:
    """Writes records of one flat schema: texts, enums, int, long, double, and unions of null and a number. No logical types.

    >>> fields = [{"name": "tool", "type": "string"}, {"name": "value", "type": ["null", "double"], "default": None}]
    >>> ColumnWriter(fields, schema_id=7).write(2, {"tool": Texts.of(["E1", "E2"])})
    [b'\\x00\\x00\\x00\\x00\\x07\\x04E1\\x00', b'\\x00\\x00\\x00\\x00\\x07\\x04E2\\x00']
    """

    def __init__(self, fields: Sequence[Mapping[str, Any]], schema_id: int) -> None:
        self._header = np.frombuffer(encode_header(schema_id), np.uint8)
        self._fields = [_field(field) for field in fields]

    def write(self, n: int, columns: Mapping[str, Value]) -> list[bytes]:
        """Return n records with their headers. Raises EncodeError that names the first field that is wrong."""
        unknown = columns.keys() - {field.name for field in self._fields}
        if unknown:
            raise EncodeError(min(unknown), "no such field")
        words = _Words()
        integers: list[np.ndarray] = []
        reals: list[np.ndarray] = []
        code = np.empty((len(self._fields), 3), np.int64)
        for at, field in enumerate(self._fields):
            if field.name not in columns and field.default is _REQUIRED:
                raise EncodeError(field.name, "missing, and it has no default")
            value = columns.get(field.name, field.default)
            kind: int = field.kind
            if kind == _TEXT:
                number = words.add(_texts(field, value, n))
            elif kind == _REAL:
                number = _put(reals, np.broadcast_to(np.asarray(np.nan if value is None else value, np.float64), n))
            else:
                number = _put(integers, _integers(field, value, n))
            code[at] = kind, number, field.null
        return self._written(n, code, words, _stacked(integers, n, np.int64), _stacked(reals, n, np.float64))

    def _written(self, n: int, code: np.ndarray, words: _Words, integers: np.ndarray, reals: np.ndarray) -> list[bytes]:
        codes, begin, data = words.joined(n)
        texts = int((begin[codes + 1] - begin[codes]).sum())
        out = np.empty(n * (len(self._header) + _NUMBER_BYTES_MAX * len(code)) + texts, np.uint8)
        ends = np.empty(n, np.int64)
        _write(self._header, code, codes, begin, data, integers, reals, reals.view(np.uint64), out, ends)
        written = out[: ends[-1] if n else 0].tobytes()
        at = [0, *ends.tolist()]
        return [written[first:end] for first, end in pairwise(at)]


class _Words:
    """Texts of all columns, each once in a column, one after the other."""

    def __init__(self) -> None:
        self._words: list[bytes] = []
        self._codes: list[np.ndarray] = []

    def add(self, column: tuple[np.ndarray, list[bytes]]) -> int:
        """Take a column: codes, and the words that they mean; return its number."""
        codes, words = column
        self._codes.append(codes + len(self._words))
        self._words += words
        return len(self._codes) - 1

    def joined(self, n: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return (columns, n) codes, where each word begins (and the last ends), and the bytes."""
        begin = np.zeros(len(self._words) + 1, np.int64)
        np.cumsum([len(word) for word in self._words], out=begin[1:])
        return _stacked(self._codes, n, np.int64), begin, np.frombuffer(b"".join((*self._words, b"\0")), np.uint8)


def _field(field: Mapping[str, Any]) -> _Field:
    declared, null = field["type"], _NEVER
    if isinstance(declared, list):
        if len(declared) != 2 or "null" not in declared:
            raise ValueError(f"{field['name']}: {declared} is not null and one type more")
        null = declared.index("null")
        declared = declared[1 - null]
    name = declared["type"] if isinstance(declared, dict) else declared
    symbols = {symbol: at for at, symbol in enumerate(declared["symbols"])} if name == "enum" else None
    kinds = {"string": _TEXT, "enum": _INTEGER, "int": _INTEGER, "long": _INTEGER, "double": _REAL}
    if name not in kinds or (null != _NEVER and name in {"string", "enum"}):
        raise ValueError(f"{field['name']}: a column of {field['type']} cannot be written")
    return _Field(field["name"], kinds[name], null, name, symbols, field.get("default", _REQUIRED))


def _texts(field: _Field, value: Any, n: int) -> tuple[np.ndarray, list[bytes]]:
    """Return codes, and the words that they mean: those only that occur."""
    if isinstance(value, str):
        return np.zeros(n, np.int64), [_utf8(field, value)]
    if not isinstance(value, Texts):
        raise EncodeError(field.name, f"expected {field.type}s, not {type(value).__name__}")
    used, codes = np.unique(value.codes, return_inverse=True)
    return codes, [_utf8(field, value.words[code]) for code in used.tolist()]


def _utf8(field: _Field, text: str) -> bytes:
    try:
        return text.encode()
    except UnicodeEncodeError as error:
        raise EncodeError(field.name, f"expected valid Unicode, not {text!r:.60}") from error


def _integers(field: _Field, value: Any, n: int) -> np.ndarray:
    """Return (n,) int64."""
    if field.symbols is not None:
        texts = Texts(np.zeros(n, np.int32), [value]) if isinstance(value, str) else value
        used, codes = np.unique(texts.codes, return_inverse=True)
        wanted = [texts.words[code] for code in used.tolist()]
        wrong = [word for word in wanted if word not in field.symbols]
        if wrong:
            raise EncodeError(field.name, f"expected one of {', '.join(field.symbols)}, not {wrong[0]!r:.60}")
        return np.array([field.symbols[word] for word in wanted], np.int64)[codes]
    wide = np.asarray(NULL if value is None else value)
    if wide.dtype.kind not in "iu":
        raise EncodeError(field.name, f"expected {field.type}, not {wide.dtype}")
    limit = _LIMITS[field.type]
    given = wide[wide != NULL] if field.null != _NEVER else wide
    if given.size and (int(given.min()) < -limit or int(given.max()) >= limit):
        raise EncodeError(field.name, f"expected {field.type}, not {int(given.min())} to {int(given.max())}")
    return np.broadcast_to(wide.astype(np.int64), n)


def _put(columns: list[np.ndarray], column: np.ndarray) -> int:
    columns.append(column)
    return len(columns) - 1


def _stacked(columns: list[np.ndarray], n: int, dtype: Any) -> np.ndarray:
    return np.stack(columns) if columns else np.zeros((0, n), dtype)


def warm() -> None:
    """Load the kernel, or compile it."""
    ColumnWriter([], 0).write(0, {})


@kernel(inline=True)
def _put_varint(out: np.ndarray, at: int, number: int) -> int:
    """Write a number, zigzag, seven bits a byte; return where it ends."""
    rest = np.uint64((number << 1) ^ (number >> 63))
    while rest >= np.uint64(128):
        out[at] = np.uint8(rest & np.uint64(127)) | np.uint8(128)
        rest >>= np.uint64(7)
        at += 1
    out[at] = np.uint8(rest)
    return at + 1


@kernel
def _write(
    header: np.ndarray,
    code: np.ndarray,
    codes: np.ndarray,
    begin: np.ndarray,
    data: np.ndarray,
    integers: np.ndarray,
    reals: np.ndarray,
    bits: np.ndarray,
    out: np.ndarray,
    ends: np.ndarray,
) -> None:
    at = 0
    for i in range(len(ends)):
        for byte in header:
            out[at] = byte
            at += 1
        for f in range(len(code)):
            kind, column, null = code[f, 0], code[f, 1], code[f, 2]
            if null >= 0:
                is_null = (
                    bits[column, i] & np.uint64(0x7FF0000000000000) == np.uint64(0x7FF0000000000000)
                    if kind == _REAL
                    else integers[column, i] == NULL
                )
                out[at] = 2 * (null if is_null else 1 - null)
                at += 1
                if is_null:
                    continue
            if kind == _INTEGER:
                at = _put_varint(out, at, integers[column, i])
            elif kind == _REAL:
                rest = bits[column, i]
                for _ in range(8):
                    out[at] = np.uint8(rest & np.uint64(255))
                    rest >>= np.uint64(8)
                    at += 1
            else:
                word = codes[column, i]
                first, end = begin[word], begin[word + 1]
                at = _put_varint(out, at, end - first)
                for byte in range(first, end):
                    out[at] = data[byte]
                    at += 1
        ends[i] = at
