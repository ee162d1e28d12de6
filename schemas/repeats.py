"""Columns of numbers, many of which repeat: the same in every row, or those of another column. Each is kept once.

Of a chart's numbers half are like that: limits that do not depend on the series, lines that a statistic does not have, the value
beside itself as a statistic. They would be copied, compressed, sent and stored with every row.
"""

from __future__ import annotations

import json
from functools import lru_cache

import numpy as np

from schemas.kernel import kernel

CONSTANT_ROWS_MIN = 8  # in fewer rows a number costs less than to say that it is constant
_CONSTANT = -1


def shrink(columns: np.ndarray) -> tuple[np.ndarray, str]:
    """Return of (m, n) float64 those columns that say something of their own, as (n, k), k > 0, and how to get all of them back.

    Bit for bit: 0.0 and -0.0 are not equal, NaN and NaN of the same bits are.

    >>> kept, how = shrink(np.array([[1.0, 2.0], [3.0, 4.0], [1.0, 2.0]]))
    >>> kept.tolist(), grow(kept, how).tolist()
    ([[1.0, 3.0], [2.0, 4.0]], [[1.0, 3.0, 1.0], [2.0, 4.0, 2.0]])
    """
    source, own = np.empty(len(columns), np.int32), np.empty(len(columns), np.int32)
    bits = columns.view(np.int64)
    count = _find(bits, source, own)
    kept = np.empty((columns.shape[1], count))
    _gather(columns, own[:count], kept)
    constants = bits[source == _CONSTANT, 0] if columns.shape[1] else np.zeros(0, np.int64)
    return kept, _described(source.tobytes(), constants.tobytes())


def grow(kept: np.ndarray, how: str | bytes) -> np.ndarray:
    """Return (n, m) float64: every column that `shrink` was given. Raises ValueError if they do not fit together."""
    source, constants = _read(how)
    if len(source) == 0 or source.max() >= kept.shape[1]:
        raise ValueError(f"columns from {source.tolist()}, of {kept.shape[1]}")
    is_constant = source < 0
    grown = np.empty((len(kept), len(source)))
    grown[:, ~is_constant] = kept[:, source[~is_constant]]
    grown[:, is_constant] = constants
    return grown


@lru_cache(maxsize=256)
def _described(source: bytes, constants: bytes) -> str:
    """Return as JSON where each column comes from, and the bits of the constant ones in their order."""
    return json.dumps([np.frombuffer(source, np.int32).tolist(), np.frombuffer(constants, np.int64).tolist()])


@lru_cache(maxsize=256)
def _read(how: str | bytes) -> tuple[np.ndarray, np.ndarray]:
    try:
        source, constants = json.loads(how)
        read = np.array(source, np.int32), np.array(constants, np.int64).view(np.float64)
    except (TypeError, OverflowError) as error:
        raise ValueError(f"not a description of columns: {error}") from error
    if np.count_nonzero(read[0] < 0) != len(read[1]):
        raise ValueError(f"{len(read[1])} constants for columns from {source}")
    return read


@kernel
def _find(bits: np.ndarray, source: np.ndarray, own: np.ndarray) -> int:
    """Find for each column where it comes from, and which are their own source; return how many."""
    columns, rows = bits.shape
    count = 0
    for column in range(columns):
        differs = column == 0 or rows < CONSTANT_ROWS_MIN
        row = 1
        while not differs and row < rows:
            differs = bits[column, row] != bits[column, 0]
            row += 1
        if not differs:
            source[column] = _CONSTANT
            continue
        source[column] = count
        for earlier in range(count):
            row = 0
            while row < rows and bits[column, row] == bits[own[earlier], row]:
                row += 1
            if row == rows:
                source[column] = earlier
                break
        if source[column] == count:
            own[count] = column
            count += 1
    return count


@kernel
def _gather(columns: np.ndarray, own: np.ndarray, kept: np.ndarray) -> None:
    for row in range(kept.shape[0]):
        for place in range(kept.shape[1]):
            kept[row, place] = columns[own[place], row]
