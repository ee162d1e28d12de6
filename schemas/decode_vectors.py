"""Vectors to columns: many characteristics measured together, one row each, for multivariate detectors.

`VectorDecoder` decodes the records of one vector (its name, and its p characteristics in their order) of `fab.vectors`; records
of other vectors belong to other pipelines and are left out. As in schemas/decode.py, a record is a row or a `DeadLetter`: one
that names other characteristics would be judged by loadings that are not its own, so it is a dead letter.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from schemas.batch import DeadLetter, MicroBatch, RawBatch, Reason, SeriesDictionary, head
from schemas.columnar.context import Context, leave_new_ones_of_a_full_dictionary
from schemas.columnar.interning import Names, SeriesCodes
from schemas.columnar.program import Kind
from schemas.columnar.reader import ColumnReader, read_texts
from schemas.columnar.rows import READ, Columns
from schemas.reading import SchemaOf, read_only, reject

_FIELDS = {
    "values": Kind.NUMBERS,
    "characteristics": Kind.SPAN,
    "timestamp": Kind.INTEGER,
    **dict.fromkeys(("lot", "wafer", "subgroup"), Kind.TEXT),
    **dict.fromkeys(("event_id", "equipment", "chamber", "recipe", "operation", "vector"), Kind.NEEDED_TEXT),
}


class VectorDecoder:
    """Decodes records of the vector `vector` whose characteristics are `names`, p of them.

    >>> from schemas.encode import Encoder
    >>> from schemas.topics import load
    >>> value = Encoder("vector_measurement", 1).encode(
    ...     {"event_id": "e", "timestamp": 5, "equipment": "E1", "vector": "trace", "characteristics": ["a", "b"],
    ...      "values": [1.0, None]})
    >>> raw = RawBatch("fab.vectors", 0, np.array([7]), np.array([6]), [None], [value], 8)
    >>> decoder = VectorDecoder({1: load("vector_measurement")}.__getitem__, "trace", ["a", "b"])
    >>> decoder.decode(raw, series := SeriesDictionary()).value, series.keys
    (array([[ 1., nan]]), ['E1||||trace'])
    """

    def __init__(self, schema_of: SchemaOf, vector: str, names: Sequence[str]) -> None:
        self.vector = vector
        self.names = list(names)
        self._reader = ColumnReader(schema_of, ["vector_measurement"], _FIELDS)
        self._codes = SeriesCodes(self._reader.key)
        self._context = Context(self._reader)
        self._is_ours = Names(lambda name: name == vector.encode(), bool)
        self._faults = Names(self._fault, object)

    def decode(
        self, raw: RawBatch, series: SeriesDictionary, *, event_ids: bool = False, rows_max: int | None = None
    ) -> MicroBatch:
        """Return columns, value (n, p) with NaN for null; new series get their codes in `series`; as MeasurementDecoder.

        Only RegistryUnavailable is raised, before anything changed. All arrays are read-only.
        """
        rejects: list[DeadLetter] = []
        if rows_max is not None:
            raw = head(raw, max(1, rows_max))
        _, buffer, columns, _ = self._reader.read(raw, rejects)
        rows = np.flatnonzero(columns.status == READ)
        which = self._reader.columns
        rows = rows[self._is_ours.column(buffer, columns, which["vector"].number, rows)]
        faults = self._faults.column(buffer, columns, which["characteristics"].number, rows)
        rows = self._leave_wrong_ones(raw, columns, rows, faults, rejects)
        codes = self._codes.column(buffer, columns, rows, series)
        rows, codes = leave_new_ones_of_a_full_dictionary(raw, rows, codes, series, rejects)
        value = read_only(columns.items[columns.items_at[0, rows][:, None] + np.arange(len(self.names))])
        none = read_only(np.full(len(rows), np.nan))
        named = dict.fromkeys(("lsl", "usl", "target", "sample_size"), none)
        return self._context.batch(raw, buffer, columns, rows, codes, value, named, rejects, event_ids=event_ids)

    def _fault(self, span: bytes) -> str | None:
        """Return what is wrong with a record that has these characteristics."""
        names = read_texts(span)
        if names == self.names:
            return None
        at = next(
            (i for i, (a, b) in enumerate(zip(names, self.names, strict=False)) if a != b),
            min(len(names), len(self.names)),
        )
        return f"{len(names)} characteristics, {len(self.names)} are judged; they differ at {at}"

    def _leave_wrong_ones(
        self, raw: RawBatch, columns: Columns, rows: np.ndarray, faults: np.ndarray, rejects: list[DeadLetter]
    ) -> np.ndarray:
        """Return the rows with our characteristics, and as many finite values; the others are dead letters."""
        begin, end = columns.items_at[:, rows]
        wrong = np.array([fault is not None for fault in faults], bool)
        short = ~wrong & (end - begin != len(self.names))
        fine = np.flatnonzero(~wrong & ~short)
        infinite = np.isinf(columns.items[begin[fine][:, None] + np.arange(len(self.names))])
        bad = np.zeros(len(rows), bool)
        bad[fine] = infinite.any(axis=1)
        rejects += [
            reject(raw, rows[k], Reason.WRONG_CHARACTERISTICS, faults[k]) for k in np.flatnonzero(wrong).tolist()
        ]
        for k in np.flatnonzero(short).tolist():
            detail = f"{end[k] - begin[k]} values for {len(self.names)} characteristics"
            rejects.append(reject(raw, rows[k], Reason.MALFORMED, detail))
        for k, at in zip(fine.tolist(), infinite, strict=True):
            if bad[k]:
                names = [name for name, is_bad in zip(self.names, at, strict=True) if is_bad]
                rejects.append(reject(raw, rows[k], Reason.NOT_FINITE, f"infinite: {', '.join(names[:5])}"))
        fits: np.ndarray = rows[~wrong & ~short & ~bad]
        return fits
