"""What the batches of all kinds have beside their values: when, of which series, lot, wafer, subgroup."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from schemas.batch import DeadLetter, MicroBatch, RawBatch, Reason, SeriesDictionary
from schemas.columnar.interning import Names, TextColumn, bytes_of
from schemas.columnar.reader import ColumnReader
from schemas.columnar.rows import Buffer, Columns
from schemas.reading import event_codes, read_only, reject, subgroup_code


class Context:
    """Makes micro-batches of columns that have timestamp, lot, wafer, subgroup, event_id."""

    def __init__(self, reader: ColumnReader) -> None:
        self._at = {name: column.number for name, column in reader.columns.items()}
        self._lots, self._wafers = TextColumn(), TextColumn()
        self._subgroups = Names(lambda name: subgroup_code(name.decode()), np.int64)

    def batch(
        self,
        raw: RawBatch,
        buffer: Buffer,
        columns: Columns,
        rows: np.ndarray,  # (n,) of the raw batch, ascending
        codes: np.ndarray,  # (n,) of their series
        value: np.ndarray,
        named: Mapping[str, np.ndarray],  # further columns
        rejects: list[DeadLetter],
        *,
        event_ids: bool,
    ) -> MicroBatch:
        """Return the batch of these rows."""
        whole = len(rows) == len(raw)  # as a rule
        at = self._at
        more: dict[str, Any] = dict(named)
        if event_ids:
            ids = [bytes_of(buffer, columns, at["event_id"], row).decode() for row in rows.tolist()]
            more["event_id"] = event_codes(ids)
        more["lot"] = self._lots.column(buffer, columns, at["lot"], rows)
        more["wafer"] = self._wafers.column(buffer, columns, at["wafer"], rows)
        times = columns.integers[at["timestamp"]]
        return MicroBatch(
            topic=raw.topic,
            partition=raw.partition,
            offset=read_only(raw.offset.view() if whole else raw.offset[rows]),
            next_offset=raw.next_offset,
            event_time_ms=read_only(times if whole else times[rows]),
            published_ms=read_only(raw.timestamp_ms.view() if whole else raw.timestamp_ms[rows]),
            series=read_only(codes.astype(np.int32)),
            value=value,
            subgroup=read_only(self._subgroups.column(buffer, columns, at["subgroup"], rows)),
            columns=more,
            rejects=tuple(sorted(rejects, key=lambda letter: letter.offset)),
        )


def leave_new_ones_of_a_full_dictionary(
    raw: RawBatch, rows: np.ndarray, codes: np.ndarray, series: SeriesDictionary, rejects: list[DeadLetter]
) -> tuple[np.ndarray, np.ndarray]:
    """Return rows and codes without those whose code is negative; they are dead letters."""
    if not len(codes) or codes.min() >= 0:
        return rows, codes
    full = f"the partition has {series.series_max} series, and this record would open one more"
    rejects += [reject(raw, row, Reason.TOO_MANY_SERIES, full) for row in rows[codes < 0].tolist()]
    return rows[codes >= 0], codes[codes >= 0]
