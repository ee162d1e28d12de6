"""Vectors to columns: many characteristics measured together, one row each, for multivariate detectors.

`VectorDecoder` decodes the records of one vector (its name, and its p characteristics in their order) of `fab.vectors`; records
of other vectors belong to other pipelines and are left out. As in schemas/decode.py, a record is a row or a `DeadLetter`: one
that names other characteristics would be judged by loadings that are not its own, so it is a dead letter.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from schemas.batch import DeadLetter, MicroBatch, RawBatch, Reason, SeriesDictionary, series_key
from schemas.reading import Picked, RecordReader, SchemaOf, event_codes, read_only, reject, subgroup_code, texts

_FIELDS = (
    "values", "characteristics", "timestamp", "lot", "wafer", "subgroup", "event_id",
    "equipment", "chamber", "recipe", "operation", "vector",
)  # fmt: skip
_KEY = slice(-5, None)


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
        self._reader = RecordReader(schema_of, "vector_measurement", _FIELDS)

    def decode(self, raw: RawBatch, series: SeriesDictionary, *, event_ids: bool = False) -> MicroBatch:
        """Return columns, value (n, p) with NaN for null; new series get their codes in `series`; as MeasurementDecoder.

        Only RegistryUnavailable is raised, before anything changed. All arrays are read-only.
        """
        rejects: list[DeadLetter] = []
        rows: list[int] = []
        kept: list[Picked] = []
        codes: list[int] = []
        for row, picked in zip(*self._reader.read(raw, rejects), strict=True):
            if picked[-1] != self.vector:
                continue
            fault = self._fault(picked)
            code = -1 if fault else series.code(series_key(*picked[_KEY]))
            if fault is None and code < 0:
                fault = (
                    Reason.TOO_MANY_SERIES,
                    f"the partition has {series.series_max} series, and this would be one more",
                )
            if fault is not None:
                rejects.append(reject(raw, row, *fault))
                continue
            rows.append(row)
            kept.append(picked)
            codes.append(code)
        rejects.sort(key=lambda letter: letter.offset)
        batch = self._columns(raw, np.array(rows, np.intp), kept, codes, tuple(rejects))
        if not event_ids:
            return batch
        return replace(batch, columns={**batch.columns, "event_id": event_codes([picked[6] for picked in kept])})

    def _fault(self, picked: Picked) -> tuple[Reason, str] | None:
        values, names = picked[:2]
        if names != self.names:
            at = next(
                (i for i, (a, b) in enumerate(zip(names, self.names, strict=False)) if a != b),
                min(len(names), len(self.names)),
            )
            return (
                Reason.WRONG_CHARACTERISTICS,
                f"{len(names)} characteristics, {len(self.names)} are judged; they differ at {at}",
            )
        if len(values) != len(names):
            return Reason.MALFORMED, f"{len(values)} values for {len(names)} characteristics"
        infinite = [
            name for name, value in zip(names, values, strict=True) if value is not None and not math.isfinite(value)
        ]
        if infinite:
            return Reason.NOT_FINITE, f"infinite: {', '.join(infinite[:5])}"
        return None

    def _columns(
        self, raw: RawBatch, rows: np.ndarray, kept: list[Picked], codes: list[int], rejects: tuple[DeadLetter, ...]
    ) -> MicroBatch:
        values = np.array([picked[0] for picked in kept], np.float64).reshape(len(kept), len(self.names))
        none = read_only(np.full(len(kept), np.nan))
        return MicroBatch(
            topic=raw.topic,
            partition=raw.partition,
            offset=read_only(raw.offset[rows]),
            next_offset=raw.next_offset,
            event_time_ms=read_only(np.array([picked[2] for picked in kept], np.int64)),
            published_ms=read_only(raw.timestamp_ms[rows]),
            series=read_only(np.array(codes, np.int32)),
            value=read_only(values),
            subgroup=read_only(np.array([subgroup_code(picked[5]) for picked in kept], np.int64)),
            columns={
                **dict.fromkeys(("lsl", "usl", "target", "sample_size"), none),
                "lot": texts([picked[3] for picked in kept]),
                "wafer": texts([picked[4] for picked in kept]),
            },
            rejects=rejects,
        )
