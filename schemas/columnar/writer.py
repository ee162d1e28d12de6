"""Many records at once from columns: Avro without a Python object for each field, the counterpart of the reader.

Theory of operation
-------------------
A flat schema is compiled to one instruction a field; one kernel, compiled once for all schemas, writes all records into one
buffer. A column is the same for every record (a plain text or number), or has a value for each: `Texts`, integers, or floats.
For a field that may be null, `NULL` among integers is null, and so is every float that is not finite. A field that is not given
has its default.

The bytes are those of `schemas.encode.Encoder`, and so is what is refused: null where there is none, a number of another kind, a
text that is no Unicode, a symbol that an enum does not have, an integer beyond its type; and a column of another length.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
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
_KINDS = {"string": _TEXT, "enum": _INTEGER, "int": _INTEGER, "long": _INTEGER, "double": _REAL}
_INT = 2**31
_NOT_FINITE = 0x7FF0000000000000  # these bits of a double, all of them
_FEW = 64  # words that are taken as they are: to look for those that occur takes longer
_NUMBER_BYTES_MAX = 11  # a branch, and a varint of 64 bits
_REQUIRED = object()


class _Field(NamedTuple):
    name: str
    kind: int
    column: int  # among those of its kind
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
        self._fields: list[_Field] = []
        self._counts = [0, 0, 0]  # fields of each kind
        for declared in fields:
            field = _field(declared, self._counts)
            self._fields.append(field)
            self._counts[field.kind] += 1
        self._names = frozenset(field.name for field in self._fields)
        of_fields = [(field.kind, field.column, field.null, field.type == "int") for field in self._fields]
        self._code = np.array(of_fields, np.int64).reshape(-1, 4)

    def write(self, n: int, columns: Mapping[str, Value]) -> list[bytes]:
        """Return n records with their headers. Raises EncodeError that names a field that is wrong."""
        texts, integers, reals = self._counts
        codes, numbers, floats = np.empty((texts, n), np.int64), np.empty((integers, n), np.int64), np.empty((reals, n))
        words: list[bytes] = []
        missing = 0
        for name, kind, column, null, type_, symbols, default in self._fields:
            value: Any = columns.get(name, _REQUIRED)
            if value is _REQUIRED:
                missing += 1
                value = default
                if default is _REQUIRED:
                    raise EncodeError(name, "missing, and it has no default")
            shape = (len(value),) if isinstance(value, Texts) else np.shape(value)
            if shape not in {(), (n,)}:
                raise EncodeError(name, f"{' x '.join(map(str, shape))} values for {n} records")
            if value is None and null == _NEVER:
                raise EncodeError(name, f"expected {type_}, not null")
            if kind == _TEXT:
                which, meant = _words(name, value, n)
                np.add(which, len(words), out=codes[column])
                words += meant
            elif kind == _REAL:
                floats[column] = np.nan if value is None else _real(name, value, type_)
            elif symbols is not None:
                numbers[column] = _symbols(name, value, symbols)
            else:
                numbers[column] = NULL if value is None else _whole(name, value, type_)
        if len(columns) + missing != len(self._fields):
            raise EncodeError(min(columns.keys() - self._names), "no such field")
        return self._written(codes, words, numbers, floats)

    def _written(
        self, codes: np.ndarray, words: Sequence[bytes], numbers: np.ndarray, floats: np.ndarray
    ) -> list[bytes]:
        n = codes.shape[1]
        sizes = np.fromiter(map(len, words), np.int64, len(words))
        begin = np.concatenate([[0], np.cumsum(sizes)])
        data = np.frombuffer(b"".join((*words, b"\0")), np.uint8)
        room = n * (len(self._header) + _NUMBER_BYTES_MAX * len(self._fields)) + int(sizes[codes].sum())
        out, ends = np.empty(room, np.uint8), np.zeros(n + 1, np.int64)
        bits = floats.view(np.uint64)
        wrong = _write(self._header, self._code, codes, begin, data, numbers, bits, out, ends)
        if wrong >= 0:
            column = numbers[self._fields[wrong].column]
            raise EncodeError(self._fields[wrong].name, f"expected int, not {column.min()} to {column.max()}")
        written = out[: ends[-1]].tobytes()
        return [written[first:end] for first, end in pairwise(ends.tolist())]


def _field(field: Mapping[str, Any], counts: Sequence[int]) -> _Field:
    declared, null = field["type"], _NEVER
    if isinstance(declared, list):
        if len(declared) != 2 or "null" not in declared:
            raise ValueError(f"{field['name']}: {declared} is not null and one type more")
        null = declared.index("null")
        declared = declared[1 - null]
    name = declared["type"] if isinstance(declared, dict) else declared
    symbols = {symbol: at for at, symbol in enumerate(declared["symbols"])} if name == "enum" else None
    if name not in _KINDS or (null != _NEVER and name in {"string", "enum"}):
        raise ValueError(f"{field['name']}: a column of {field['type']} cannot be written")
    kind = _KINDS[name]
    return _Field(field["name"], kind, counts[kind], null, name, symbols, field.get("default", _REQUIRED))


def _words(name: str, value: Any, n: int) -> tuple[np.ndarray | int, list[bytes]]:
    """Return codes, and the words that they mean: of many words only those that occur."""
    if isinstance(value, str):
        return 0, [_utf8(name, value)]
    if not isinstance(value, Texts):
        raise EncodeError(name, f"expected strings, not {type(value).__name__}")
    if len(value.words) <= max(_FEW, n):
        return value.codes, [_utf8(name, word) for word in value.words]
    used, codes = np.unique(value.codes, return_inverse=True)
    return codes, [_utf8(name, value.words[code]) for code in used.tolist()]


def _utf8(name: str, text: str) -> bytes:
    try:
        return text.encode()
    except UnicodeEncodeError as error:
        raise EncodeError(name, f"expected valid Unicode, not {text!r:.60}") from error


def _symbols(name: str, value: Any, symbols: Mapping[str, int]) -> np.ndarray | int:
    if not isinstance(value, str | Texts):
        raise EncodeError(name, f"expected one of {', '.join(symbols)}, not {type(value).__name__} {value!r:.60}")
    words = [value] if isinstance(value, str) else value.words
    numbers = [symbols.get(word, _NEVER) for word in words]
    if _NEVER in numbers:  # perhaps of a word that does not occur
        words = [value] if isinstance(value, str) else value.tolist()
        wrong = next((word for word in words if word not in symbols), None)
        if wrong is not None:
            raise EncodeError(name, f"expected one of {', '.join(symbols)}, not {wrong!r:.60}")
    found: np.ndarray | int = numbers[0] if isinstance(value, str) else np.array(numbers, np.int64)[value.codes]
    return found


def _real(name: str, value: Any, type_: str) -> np.ndarray:
    """Return a column, or a number that all records have; an integer of any size is one, as far as a double reaches."""
    given = np.asarray(value)
    if type(value) is int:
        with suppress(OverflowError):
            given = np.asarray(float(value))
    return _of_kind(name, value, given, type_, "iuf")


def _whole(name: str, value: Any, type_: str) -> np.ndarray:
    """Return a column, or a number that all records have, of integers that 64 bits hold."""
    given = np.asarray(value)
    return _of_kind(name, value, given, type_, "i" if given.dtype == np.uint64 else "iu")


def _of_kind(name: str, value: Any, given: np.ndarray, type_: str, kinds: str) -> np.ndarray:
    """Return what was given if its dtype is of these kinds."""
    if given.dtype.kind not in kinds:
        what = given.dtype if isinstance(value, np.ndarray) else f"{type(value).__name__} {value!r:.60}"
        raise EncodeError(name, f"expected {type_}, not {what}")
    return given


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


@kernel(inline=True)
def _put_word(out: np.ndarray, at: int, word: np.uint64) -> int:
    """Write 8 bytes, the least significant first; return where they end."""
    for _ in range(8):
        out[at] = np.uint8(word & np.uint64(255))
        word >>= np.uint64(8)
        at += 1
    return at


@kernel(inline=True)
def _put_bytes(out: np.ndarray, at: int, data: np.ndarray, first: int, end: int) -> int:
    """Write some bytes of `data`; return where they end."""
    for byte in range(first, end):
        out[at] = data[byte]
        at += 1
    return at


@kernel
def _write(
    header: np.ndarray,
    code: np.ndarray,
    codes: np.ndarray,
    begin: np.ndarray,
    data: np.ndarray,
    numbers: np.ndarray,
    bits: np.ndarray,
    out: np.ndarray,
    ends: np.ndarray,
) -> int:
    """Write every record, and in `ends` where it ends; return a field that has a number beyond its type, or -1."""
    at = 0
    for i in range(len(ends) - 1):
        at = _put_bytes(out, at, header, 0, len(header))
        for f in range(len(code)):
            kind, column, null = code[f, 0], code[f, 1], code[f, 2]
            if null >= 0:
                if kind == _REAL:
                    is_null = bits[column, i] & np.uint64(_NOT_FINITE) == np.uint64(_NOT_FINITE)
                else:
                    is_null = numbers[column, i] == NULL
                out[at] = 2 * (null if is_null else 1 - null)
                at += 1
                if is_null:
                    continue
            if kind == _INTEGER:
                number = numbers[column, i]
                if code[f, 3] and (number < -_INT or number >= _INT):
                    return f
                at = _put_varint(out, at, number)
            elif kind == _REAL:
                at = _put_word(out, at, bits[column, i])
            else:
                word = codes[column, i]
                at = _put_varint(out, at, begin[word + 1] - begin[word])
                at = _put_bytes(out, at, data, begin[word], begin[word + 1])
        ends[i + 1] = at
    return -1
