"""Recorded rows as a table, and as the batches that a detector sees.

Columns: `series` (text) and `value` (float64, null = missing; of vectors a list of p), and, where there are any: `partition`,
`offset`, `event_time_ms`, `subgroup`, `lsl`, `usl`, `target`, `sample_size`, `excluded`. Rows are in log order.
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet

from actors.packages.errors import PackageRefused
from models.detector import COLUMNS, SeriesBatch, new_params, read_only

ROWS_MAX = 2_000_000  # of a stretch that is tried
STEP_ROWS = 16_000  # as a slot's step has at most
NEEDED = ("series", "value")
_WHOLE = {"partition": 0, "offset": None, "event_time_ms": None, "subgroup": -1}  # None: counted


class Recorded(NamedTuple):
    """Rows of a stretch, and the names of their series."""

    batch: SeriesBatch
    keys: list[str]  # of batch.row
    partition: np.ndarray  # (n,) int64

    def steps(self) -> Iterator[tuple[int, SeriesBatch]]:
        """Yield batches of STEP_ROWS at most, and where each begins."""
        for start in range(0, len(self.batch), STEP_ROWS):
            yield start, _rows(self.batch, slice(start, start + STEP_ROWS))


def read_rows(data: bytes, source: str) -> pa.Table:
    """Return the table of a Parquet or CSV file. Raises PackageRefused."""
    try:
        if data[:4] == b"PAR1":
            return pa.parquet.read_table(io.BytesIO(data))
        return pa.csv.read_csv(io.BytesIO(data))
    except (pa.ArrowException, OSError, ValueError) as error:
        raise PackageRefused(f"{source}: neither Parquet nor CSV that can be read: {error}") from error


def recorded(table: pa.Table, dimension: int | None) -> Recorded:
    """Return the rows of a table for a detector of single values (None) or of vectors. Raises PackageRefused."""
    lacking = [name for name in NEEDED if name not in table.column_names]
    if lacking:
        raise PackageRefused(f"the recorded rows have no column {', '.join(lacking)}; they have {table.column_names}")
    if len(table) > ROWS_MAX:
        raise PackageRefused(f"{len(table)} recorded rows; {ROWS_MAX} at most are tried: take a shorter stretch")
    try:
        codes = table["series"].cast(pa.string()).combine_chunks().dictionary_encode()
        row = codes.indices.to_numpy(zero_copy_only=False).astype(np.int32)
        keys = codes.dictionary.to_pylist()
        value = _values(table, dimension)
        whole = {name: _whole(table, name, fill) for name, fill in _WHOLE.items()}
        columns = {name: _carried(table, name) for name in COLUMNS if name in table.column_names}
    except (pa.ArrowException, ValueError, TypeError) as error:
        raise PackageRefused(f"the recorded rows cannot be read: {error}") from error
    if "excluded" in columns:
        value[columns["excluded"]] = np.nan
    params = new_params(len(keys))
    read_only(row, value, *whole.values(), *columns.values())
    parts = {name: whole[name] for name in ("offset", "event_time_ms", "subgroup")}
    return Recorded(
        SeriesBatch(row=row, value=value, params=params, columns=columns, **parts), keys, whole["partition"]
    )


def _values(table: pa.Table, dimension: int | None) -> np.ndarray:
    column = table["value"]
    if dimension is None:
        return np.array(column.cast(pa.float64()).to_numpy(), np.float64)
    wide = np.array(column.to_pylist(), np.float64)
    if wide.ndim != 2 or wide.shape[1] != dimension:
        raise ValueError(f"the detector judges vectors of {dimension}, and value is {wide.shape}")
    return wide


def _whole(table: pa.Table, name: str, fill: int | None) -> np.ndarray:
    n = len(table)
    if name in table.column_names:
        return np.array(table[name].cast(pa.int64()).fill_null(-1 if fill is None else fill).to_numpy(), np.int64)
    if fill is not None:
        return np.full(n, fill, np.int64)
    return np.arange(n, dtype=np.int64) * (1000 if name == "event_time_ms" else 1)


def _carried(table: pa.Table, name: str) -> np.ndarray:
    if name == "excluded":
        return np.array(table[name].cast(pa.bool_()).fill_null(False).to_numpy(zero_copy_only=False), np.bool_)
    return np.array(table[name].cast(pa.float64()).to_numpy(), np.float64)


def _rows(batch: SeriesBatch, which: slice) -> SeriesBatch:
    part = {name: getattr(batch, name)[which] for name in ("row", "offset", "event_time_ms", "value", "subgroup")}
    columns = {name: column[which] for name, column in batch.columns.items()}
    read_only(*part.values(), *columns.values())
    return SeriesBatch(**part, params=batch.params, columns=columns)
