"""Dense verdicts on the wire: one packed record per step and detector family (Arrow IPC), in `quality.charts`.

A record per point would cost more than the detectors do. A `ChartBlock` holds every row of one step of one partition as one
family judged it; columns of a detector are named "<detector>/<column>". The key of the record is "<topic>:<partition>/<family>".
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

FORMAT_VERSION = 1


@dataclass(frozen=True, slots=True)
class RuleMeta:
    """A rule as a reader of charts needs it. Bit i of `signal` is rule i of its detector."""

    name: str
    doc: str
    severity: str
    statistic: int = 0  # which of the detector's statistics it judges


@dataclass(frozen=True, slots=True)
class DetectorColumns:
    """What one detector said of every row of the block; q statistics."""

    detector: str  # identity: name@version-hash
    statistics: tuple[str, ...]  # q names
    rules: tuple[RuleMeta, ...]
    statistic: np.ndarray  # (n, q) float64
    centre: np.ndarray  # (n, q) float64
    lcl: np.ndarray  # (n, q) float64
    ucl: np.ndarray  # (n, q) float64
    signal: np.ndarray  # (n,) uint32
    valid: np.ndarray  # (n,) bool


@dataclass(frozen=True, slots=True)
class ChartBlock:
    """One step of one partition as one detector family judged it; n rows in offset order."""

    pipeline: str
    family: str
    topic: str  # input topic
    partition: int
    seq: int  # number of the step in its partition
    first_offset: int  # input position before the step
    next_offset: int  # input position after the step
    series_keys: Sequence[str]  # the block's own dictionary
    series: np.ndarray  # (n,) int32, index in series_keys
    offset: np.ndarray  # (n,) int64, input offset
    event_time_ms: np.ndarray  # (n,) int64
    published_ms: np.ndarray  # (n,) int64, the producer's clock
    value: np.ndarray  # (n,) float64, NaN = missing
    lsl: np.ndarray  # (n,) float64, specification limits as the record gave them; NaN = not given
    usl: np.ndarray  # (n,) float64
    target: np.ndarray  # (n,) float64
    lot: Sequence[str]  # (n,)
    wafer: Sequence[str]  # (n,)
    detectors: Mapping[str, DetectorColumns]  # by detector name, e.g. "spc.individuals"

    def __len__(self) -> int:
        """Return the number of rows, n."""
        return len(self.offset)


_ROW_COLUMNS = ("offset", "event_time_ms", "published_ms", "value", "lsl", "usl", "target")
_WIDE = ("statistic", "centre", "lcl", "ucl")


def _wide(array: np.ndarray, n: int, q: int) -> pa.Array:
    flat = np.ascontiguousarray(np.broadcast_to(array, (n, q)), dtype=np.float64).reshape(-1)
    return pa.FixedSizeListArray.from_arrays(pa.array(flat), q)


def _dictionary(codes: np.ndarray, words: Sequence[str]) -> pa.Array:
    return pa.DictionaryArray.from_arrays(pa.array(codes, pa.int32()), pa.array(list(words), pa.string()))


def pack(block: ChartBlock) -> bytes:
    """Return the block as one Arrow IPC stream; `unpack` is its inverse."""
    n = len(block)
    columns: dict[str, pa.Array] = {name: pa.array(getattr(block, name)) for name in _ROW_COLUMNS}
    columns["series"] = _dictionary(block.series, block.series_keys)
    for name in ("lot", "wafer"):
        columns[name] = pa.array(getattr(block, name), pa.string()).dictionary_encode()
    described = {}
    for name, verdicts in block.detectors.items():
        q = len(verdicts.statistics)
        for column in _WIDE:
            columns[f"{name}/{column}"] = _wide(getattr(verdicts, column), n, q)
        columns[f"{name}/signal"] = pa.array(verdicts.signal, pa.uint32())
        columns[f"{name}/valid"] = pa.array(verdicts.valid, pa.bool_())
        described[name] = {
            "detector": verdicts.detector,
            "statistics": verdicts.statistics,
            "rules": [[rule.name, rule.doc, rule.severity, rule.statistic] for rule in verdicts.rules],
        }
    meta = {
        "format": FORMAT_VERSION,
        **{name: getattr(block, name) for name in ("pipeline", "family", "topic", "partition", "seq")},
        "first_offset": block.first_offset,
        "next_offset": block.next_offset,
        "detectors": described,
    }
    batch = pa.record_batch(columns).replace_schema_metadata({"chipquality": json.dumps(meta)})
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, batch.schema) as writer:
        writer.write_batch(batch)
    packed: bytes = sink.getvalue().to_pybytes()
    return packed


def unpack(packed: bytes) -> ChartBlock:
    """Read what `pack` wrote. Raises ValueError, naming what is wrong, for anything else."""
    try:
        with pa.ipc.open_stream(packed) as reader:
            batch = reader.read_next_batch()
        meta = json.loads(batch.schema.metadata[b"chipquality"])
    except (pa.ArrowInvalid, StopIteration, KeyError, TypeError) as error:
        raise ValueError(f"not a packed chart record: {error}") from error
    if meta["format"] != FORMAT_VERSION:
        raise ValueError(f"chart record of format {meta['format']}: this program reads {FORMAT_VERSION}")
    column = {name: batch.column(i) for i, name in enumerate(batch.schema.names)}

    def numbers(name: str) -> np.ndarray:
        array: np.ndarray = column[name].to_numpy(zero_copy_only=False)
        return array

    def texts(name: str) -> list[str]:
        words = column[
            name
        ].dictionary.to_pylist()  # a DictionaryArray's own to_pylist makes a scalar per row: 30 times slower
        return [words[code] for code in column[name].indices.to_pylist()]

    detectors = {}
    for name, said in meta["detectors"].items():
        q = len(said["statistics"])
        wide = {c: column[f"{name}/{c}"].flatten().to_numpy().reshape(-1, q) for c in _WIDE}
        detectors[name] = DetectorColumns(
            detector=said["detector"],
            statistics=tuple(said["statistics"]),
            rules=tuple(RuleMeta(*rule) for rule in said["rules"]),
            signal=numbers(f"{name}/signal"),
            valid=numbers(f"{name}/valid"),
            **wide,
        )
    return ChartBlock(
        **{name: meta[name] for name in ("pipeline", "family", "topic", "partition", "seq")},
        first_offset=meta["first_offset"],
        next_offset=meta["next_offset"],
        series_keys=column["series"].dictionary.to_pylist(),
        series=column["series"].indices.to_numpy(),
        lot=texts("lot"),
        wafer=texts("wafer"),
        detectors=detectors,
        offset=numbers("offset"),
        event_time_ms=numbers("event_time_ms"),
        published_ms=numbers("published_ms"),
        value=numbers("value"),
        lsl=numbers("lsl"),
        usl=numbers("usl"),
        target=numbers("target"),
    )
