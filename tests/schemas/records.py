"""Columns as records, one after the other: the slow way, for encoders of tests and to compare the fast one with."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

import numpy as np

from schemas.columnar.writer import NULL, Value
from schemas.texts import Texts


def records_of(n: int, columns: Mapping[str, Value]) -> list[dict[str, Any]]:
    return [{name: _value(column, i) for name, column in columns.items()} for i in range(n)]


def _value(column: Value, i: int) -> Any:
    if isinstance(column, Texts):
        return column[i]
    if not isinstance(column, np.ndarray):
        return column
    value = column[i].item()
    return None if value == NULL or not np.isfinite(value) else value


class _Encodes(Protocol):
    def encode(self, record: dict[str, Any]) -> bytes: ...


class OneByOne:
    """Gives an encoder of records columns to encode."""

    def encode_columns(self: _Encodes, n: int, columns: Mapping[str, Value]) -> list[bytes]:
        return [self.encode(record) for record in records_of(n, columns)]
