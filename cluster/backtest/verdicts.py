"""Verdicts and alerts of a backtest as Parquet, a file of each for each partition; and the rows around an alert, read back.

A row of `verdicts` is a measured value in log order, with all that each detector said of it: columns
"<detector>/<statistic>", with "/centre", "/lcl" and "/ucl" after it, "<detector>/signal" and "<detector>/valid" (as in
schemas/charts.py). What the bits of a signal mean stands in the file's metadata under "chipquality", as JSON. A row of `alerts`
is a record as the live pipeline would write it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from actors.backtest import Alerts, Said
from actors.engine.judge import Assignment
from models.detector import identity
from schemas.columnar.writer import NULL
from schemas.texts import Texts

GROUP_ROWS = 131_072  # of a row group; so much is held
ALERT_ROWS = 16_384
GROUPS_AROUND = 8  # looked at on either side of an alert for rows of its series
METADATA = b"chipquality"
_NUMBERS = ("value", "lsl", "usl", "target")
_WIDE = ("statistic", "centre", "lcl", "ucl")
_TIME = pa.timestamp("ms", "UTC")
_WORD = pa.dictionary(pa.int32(), pa.string())


def file_of(folder: Path, what: str, partition: int) -> Path:
    """Return the file of a partition: what is "verdicts" or "alerts"."""
    return folder / what / f"partition-{partition:04d}.parquet"


def columns_of(label: str, statistics: Sequence[str]) -> list[str]:
    """Return the names of a detector's numbers: statistics, centre lines, lower and upper limits.

    >>> columns_of("spc.ewma", ["z"])
    ['spc.ewma/z', 'spc.ewma/z/centre', 'spc.ewma/z/lcl', 'spc.ewma/z/ucl']
    """
    return [f"{label}/{name}{after}" for after in ("", "/centre", "/lcl", "/ucl") for name in statistics]


class _Words:
    """A column of texts, whose dictionary grows over a row group."""

    def __init__(self) -> None:
        self._known: dict[str, int] = {}
        self._codes = np.empty(GROUP_ROWS, np.int32)

    def put(self, at: slice, texts: Texts) -> None:
        used = np.flatnonzero(np.bincount(texts.codes, minlength=1))
        of = np.zeros(max(1, len(texts.words)), np.int32)
        of[used] = [self._known.setdefault(texts.words[code], len(self._known)) for code in used.tolist()]
        self._codes[at] = of[texts.codes]

    def taken(self, n: int) -> pa.Array:
        column = pa.DictionaryArray.from_arrays(pa.array(self._codes[:n]), pa.array(list(self._known), pa.string()))
        self._known.clear()
        return column


class VerdictWriter:
    """Writes the verdicts of one partition. Copies what it takes; a context manager."""

    def __init__(self, path: Path, assignments: Sequence[Assignment]) -> None:
        self._labels = [(each.name, list(each.detector.statistics)) for each in assignments]
        numbers = [*_NUMBERS, *(name for label in self._labels for name in columns_of(*label))]
        limits = [name for name in numbers if name.rpartition("/")[2] in _WIDE[1:]]
        flags = [field for label, _ in self._labels for field in (pa.field(f"{label}/signal", pa.uint32()),
                                                                 pa.field(f"{label}/valid", pa.bool_()))]  # fmt: skip
        self._schema = pa.schema(
            [
                pa.field("series", _WORD), pa.field("offset", pa.int64()), pa.field("sample", pa.int32()),
                pa.field("event_time", _TIME), pa.field("published", _TIME), pa.field("lot", _WORD), pa.field("wafer", _WORD),
                *(pa.field(name, pa.float64()) for name in numbers), *flags,
            ],
            metadata={METADATA: json.dumps(_described(assignments))},
        )  # fmt: skip
        self._numbers = np.empty((len(numbers), GROUP_ROWS))
        self._whole = np.empty((4, GROUP_ROWS), np.int64)  # offset, sample, event time, time of publishing
        self._series = np.empty(GROUP_ROWS, np.int32)
        self._signal = np.empty((len(self._labels), GROUP_ROWS), np.uint32)
        self._valid = np.empty((len(self._labels), GROUP_ROWS), np.bool_)
        self._lot, self._wafer = _Words(), _Words()
        self._keys: Sequence[str] = ()
        self._dictionary = pa.array([], pa.string())
        self._n = 0
        path.parent.mkdir(parents=True, exist_ok=True)
        words = ["series", "lot", "wafer"]
        # what repeats (limits, texts) is worth a dictionary; measured numbers are not
        self._file = pq.ParquetWriter(
            path, self._schema, compression="lz4", use_dictionary=[*words, *limits], write_statistics=["offset"]
        )

    def __enter__(self) -> VerdictWriter:
        """It is open already."""
        return self

    def __exit__(self, *_: object) -> None:
        """Write what is held, and end the file."""
        self._flush()
        self._file.close()

    def take(self, said: Said) -> None:
        """Take a step."""
        n = len(said.batch)
        if not said.blocks or not n:
            return
        self._keys = said.series
        first = 0
        while first < n:
            room = min(n - first, GROUP_ROWS - self._n)
            self._put(said, slice(first, first + room))
            first += room
            if self._n == GROUP_ROWS:
                self._flush()

    def _put(self, said: Said, rows: slice) -> None:
        batch, block = said.batch, said.blocks[0]
        at = slice(self._n, self._n + rows.stop - rows.start)
        self._series[at] = batch.series[rows]
        sample = 0 if batch.sample is None else batch.sample[rows]
        for i, column in enumerate((batch.offset[rows], sample, batch.event_time_ms[rows], batch.published_ms[rows])):
            self._whole[i, at] = column
        self._lot.put(at, block.lot[rows])
        self._wafer.put(at, block.wafer[rows])
        for i, name in enumerate(_NUMBERS):
            self._numbers[i, at] = getattr(block, name)[rows]
        self._put_verdicts(said, rows, at)
        self._n = at.stop

    def _put_verdicts(self, said: Said, rows: slice, at: slice) -> None:
        detectors = {name: columns for block in said.blocks for name, columns in block.detectors.items()}
        i = len(_NUMBERS)
        for number, (label, statistics) in enumerate(self._labels):
            columns, q = detectors.get(label), len(statistics)
            for wide in _WIDE:
                self._numbers[i : i + q, at].T[...] = np.nan if columns is None else getattr(columns, wide)[rows]
                i += q
            self._signal[number, at] = 0 if columns is None else columns.signal[rows]
            self._valid[number, at] = False if columns is None else columns.valid[rows]

    def _flush(self) -> None:
        n = self._n
        if not n:
            return
        if len(self._dictionary) < len(self._keys):
            self._dictionary = pa.array(list(self._keys), pa.string())
        offset, sample, event_time, published = (pa.array(column[:n]) for column in self._whole)
        columns = [
            pa.DictionaryArray.from_arrays(pa.array(self._series[:n]), self._dictionary),
            offset, sample.cast(pa.int32()), event_time.cast(_TIME), published.cast(_TIME),
            self._lot.taken(n), self._wafer.taken(n), *(pa.array(column[:n]) for column in self._numbers),
        ]  # fmt: skip
        for signal, valid in zip(self._signal, self._valid, strict=True):
            columns += [pa.array(signal[:n]), pa.array(valid[:n])]
        self._file.write_table(pa.Table.from_arrays(columns, schema=self._schema), row_group_size=GROUP_ROWS)
        self._n = 0


def _described(assignments: Sequence[Assignment]) -> dict[str, Any]:
    """Return what a reader of verdicts needs to know of the detectors, by label."""
    return {
        each.name: {
            "detector": identity(each.detector),
            "statistics": list(each.detector.statistics),
            "rules": [list(rule) for rule in each.detector.rules],
        }
        for each in assignments
    }


class AlertWriter:
    """Writes the alerts of one partition. A context manager."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._path = path
        self._file: pq.ParquetWriter | None = None
        self._held: list[pa.RecordBatch] = []
        self._rows = 0

    def __enter__(self) -> AlertWriter:
        """It is open already."""
        return self

    def __exit__(self, *_: object) -> None:
        """Write what is held, and end the file."""
        self._flush()
        if self._file is not None:
            self._file.close()

    def take(self, said: Said) -> None:
        """Take a step."""
        for alerts in said.alerts:
            if alerts.n:
                self._held.append(_arrow(alerts))
                self._rows += alerts.n
        if self._rows >= ALERT_ROWS:
            self._flush()

    def _flush(self) -> None:
        if self._held:
            table = pa.Table.from_batches(self._held)
            if self._file is None:
                self._file = pq.ParquetWriter(self._path, table.schema, compression="lz4")
            self._file.write_table(table)
        self._held, self._rows = [], 0


def _arrow(alerts: Alerts) -> pa.RecordBatch:
    return pa.RecordBatch.from_arrays(
        [_column(name, value, alerts.n) for name, value in alerts.columns.items()], list(alerts.columns)
    )


def _column(name: str, value: object, n: int) -> pa.Array:
    """Return a column as Arrow: times as such, what is not known as null."""
    if isinstance(value, Texts):
        return pc.cast(
            pa.DictionaryArray.from_arrays(pa.array(value.codes), pa.array(value.words, pa.string())), pa.string()
        )
    if isinstance(value, np.ndarray):
        column = pa.array(value, mask=value == NULL) if value.dtype == np.int64 else pa.array(value)
        return column.cast(_TIME) if name.endswith(("_time", "_ms")) else column
    return pa.repeat(pa.scalar(value), n)


class Rows:
    """The rows of one series around a place, in log order."""

    def __init__(self, table: pa.Table, at: int) -> None:
        self.table = table
        self.at = at  # which of them it is


def rows_around(path: Path, series: str, offset: int, around: int) -> Rows:
    """Return up to `around` rows of a series on either side of an offset, and the one there, from a file of verdicts."""
    with pq.ParquetFile(path) as file:
        home = _group_of(file, offset)
        parts, before, after = [_of(file, home, series)], home - 1, home + 1
        place = int(np.searchsorted(parts[0]["offset"].to_numpy(), offset))
        while place < around and before >= max(0, home - GROUPS_AROUND):
            parts.insert(0, _of(file, before, series))
            place, before = place + len(parts[0]), before - 1
        found = sum(map(len, parts))
        while found - place <= around and after < min(file.num_row_groups, home + GROUPS_AROUND + 1):
            parts.append(_of(file, after, series))
            found, after = found + len(parts[-1]), after + 1
    first = max(0, place - around)
    return Rows(pa.concat_tables(parts).slice(first, place - first + around + 1), place - first)


def _group_of(file: pq.ParquetFile, offset: int) -> int:
    at = file.schema_arrow.get_field_index("offset")
    for group in range(file.num_row_groups):
        if file.metadata.row_group(group).column(at).statistics.max >= offset:
            return group
    raise LookupError(f"offset {offset} has no row")


def _of(file: pq.ParquetFile, group: int, series: str) -> pa.Table:
    names = file.read_row_group(group, columns=["series"])["series"]
    rows = pc.indices_nonzero(pc.equal(pc.cast(names, pa.string()), series))
    return file.read_row_group(group).take(rows)


def described(path: Path) -> Mapping[str, Any]:
    """Return what a file of verdicts says of its detectors."""
    found: Mapping[str, Any] = json.loads(pq.read_schema(path).metadata[METADATA])
    return found
