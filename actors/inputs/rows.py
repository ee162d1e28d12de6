"""Rows of CSV and Parquet files, a piece at a time: what is held is one row of a CSV, or one batch of a Parquet file.

CSV is read by Python's own reader, because it knows which line of the file a row began on, quoted line breaks and all, which
pyarrow's does not say; what it costs is little beside making and publishing an event.
"""

from __future__ import annotations

import csv
import io
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from actors.inputs.opened import InputError, opened
from actors.inputs.tables import Row

BATCH_ROWS = 10_000  # of a Parquet file
ROWS_MAX = 1_000_000_000


@contextmanager
def csv_rows(path: Path, delimiter: str = ",") -> Iterator[tuple[list[str], Iterator[Row]]]:
    """Open a CSV file in UTF-8, plain or compressed: the names of its columns, and its rows. Raises InputError.

    A row with more or fewer cells than there are columns is told as wrong; an empty line is no row.
    """
    with opened(path) as stream, io.TextIOWrapper(stream, "utf-8-sig", newline="") as text:
        reader = csv.reader(text, delimiter=delimiter, strict=True)
        with _readable(path, 1):
            columns = [name.strip() for name in next(reader, [])]
        if not columns:
            raise InputError(f"{path}: line 1: the names of the columns must stand there")
        yield columns, _of_csv(path, reader, columns)


def _of_csv(path: Path, reader: Any, columns: list[str]) -> Iterator[Row]:
    number = 0
    while True:
        line = reader.line_num + 1
        with _readable(path, line):
            cells = next(reader, None)
        if cells is None:
            return
        if not cells:
            continue
        number += 1
        if number > ROWS_MAX:
            raise InputError(f"{path}: line {line}: more than {ROWS_MAX:,} rows")
        wrong = "" if len(cells) == len(columns) else f"{len(cells)} cells for {len(columns)} columns"
        yield Row(number, line, dict(zip(columns, cells, strict=False)), wrong)


@contextmanager
def _readable(path: Path, line: int) -> Iterator[None]:
    """Say where a row that begins in this line cannot be read; what no text can be made of stands there or later."""
    try:
        yield
    except csv.Error as error:
        raise InputError(f"{path}: line {line}: {error}") from error
    except (UnicodeDecodeError, EOFError, OSError, zlib.error) as error:
        raise InputError(f"{path}: from line {line} on: {error}") from error


@contextmanager
def parquet_rows(path: Path) -> Iterator[tuple[list[str], Iterator[Row]]]:
    """Open a Parquet file: the names of its columns, and its rows. Raises InputError."""
    import pyarrow as pa  # noqa: PLC0415 - slow to import, and only this needs it
    import pyarrow.parquet as pq  # noqa: PLC0415

    try:
        file = pq.ParquetFile(path)
    except (OSError, pa.ArrowException) as error:
        raise InputError(f"{path}: {str(error).splitlines()[0]}") from error
    with file:
        yield list(file.schema_arrow.names), _of_parquet(path, file)


def _of_parquet(path: Path, file: Any) -> Iterator[Row]:
    import pyarrow as pa  # noqa: PLC0415

    number = 0
    try:
        for batch in file.iter_batches(BATCH_ROWS):
            for cells in batch.to_pylist():
                number += 1
                yield Row(number, 0, cells)
    except (OSError, pa.ArrowException) as error:
        raise InputError(f"{path}: after row {number:,}: {str(error).splitlines()[0]}") from error
