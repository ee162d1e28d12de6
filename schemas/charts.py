"""Dense verdicts on the wire: one packed record per step and detector family (Arrow IPC), in `quality.charts`.

A record per point would cost more than the detectors do. A `ChartBlock` holds every row of one step of one partition as one
family judged it; columns of a detector are named "<detector>/<column>". All that is float64 stands in one column, in the order
value, lsl, usl, target, then of each detector its statistics, centre lines, lower and upper limits; what repeats is kept once
(schemas/repeats.py). The key of the record is "<topic>:<partition>/<family>".
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache, lru_cache
from typing import NamedTuple

import numpy as np
import pyarrow as pa

from schemas.repeats import grow, shrink
from schemas.texts import PackedTexts, Texts

FORMAT_VERSION = 2
_META = ("pipeline", "family", "topic", "partition", "seq", "first_offset", "next_offset")
_STEP, _DETECTORS, _NUMBERS = b"chipquality", b"detectors", b"numbers"  # keys of the schema's metadata


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
    """One step of one partition as one detector family judged it; n rows in offset order.

    A record of many samples has as many rows at its offset. Where one is too large for a block, further blocks go on with it:
    those before the last end at its offset, as if it were still to come.
    """

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
    lot: Texts  # (n,)
    wafer: Texts  # (n,)
    detectors: Mapping[str, DetectorColumns]  # by detector name, e.g. "spc.individuals"
    sample: np.ndarray | None = None  # (n,) int32, which of its record each row is; None: every record is one row

    def __len__(self) -> int:
        """Return the number of rows, n."""
        return len(self.offset)


class ChartStep(NamedTuple):
    """Which rows a packed block covers; see ChartBlock."""

    pipeline: str
    family: str
    topic: str
    partition: int
    seq: int
    first_offset: int
    next_offset: int


_ROW_COLUMNS = ("offset", "event_time_ms", "published_ms")
_ROW_NUMBERS = ("value", "lsl", "usl", "target")
_WIDE = ("statistic", "centre", "lcl", "ucl")
_Said = tuple[str, str, tuple[str, ...], tuple[RuleMeta, ...]]  # name, identity, statistics, rules


@cache
def _described(said: tuple[_Said, ...]) -> str:
    """Return what does not change from step to step as JSON; made once for the detectors of a family."""
    detectors = {
        name: {"detector": detector, "statistics": statistics, "rules": [dataclasses.astuple(rule) for rule in rules]}
        for name, detector, statistics, rules in said
    }
    return json.dumps(detectors)


def _numbers(block: ChartBlock) -> np.ndarray:
    """Return all that is float64, a column after the other."""
    width = len(_ROW_NUMBERS) + sum(len(_WIDE) * len(verdicts.statistics) for verdicts in block.detectors.values())
    numbers = np.empty((width, len(block)))
    for at, name in enumerate(_ROW_NUMBERS):
        numbers[at] = getattr(block, name)
    at = len(_ROW_NUMBERS)
    for verdicts in block.detectors.values():
        for name in _WIDE:
            numbers[at : at + len(verdicts.statistics)].T[...] = getattr(
                verdicts, name
            )  # may be broadcast over the rows
            at += len(verdicts.statistics)
    return numbers


def _dictionary(codes: np.ndarray, words: Sequence[str]) -> pa.Array:
    if isinstance(words, PackedTexts):
        there = pa.StringArray.from_buffers(len(words), pa.py_buffer(words.begin), pa.py_buffer(words.data))
    else:
        there = pa.array(words, pa.string())
    return pa.DictionaryArray.from_arrays(pa.array(codes, pa.int32()), there)


def pack(block: ChartBlock) -> bytes:
    """Return the block as one Arrow IPC stream; `unpack` is its inverse."""
    columns: dict[str, pa.Array] = {name: pa.array(getattr(block, name)) for name in _ROW_COLUMNS}
    kept, how = shrink(_numbers(block))
    columns["numbers"] = pa.FixedSizeListArray.from_arrays(pa.array(kept.reshape(-1)), kept.shape[1])
    if block.sample is not None:
        columns["sample"] = pa.array(block.sample)
    columns["series"] = _dictionary(block.series, block.series_keys)
    for name in ("lot", "wafer"):
        texts: Texts = getattr(block, name)
        columns[name] = _dictionary(texts.codes, texts.words)
    for name, verdicts in block.detectors.items():
        columns[f"{name}/signal"] = pa.array(verdicts.signal)
        columns[f"{name}/valid"] = pa.array(verdicts.valid)
    said = tuple((name, v.detector, v.statistics, v.rules) for name, v in block.detectors.items())
    meta = {name: getattr(block, name) for name in _META} | {"format": FORMAT_VERSION}
    batch = pa.RecordBatch.from_arrays(
        list(columns.values()),
        list(columns),
        metadata={_STEP: json.dumps(meta), _DETECTORS: _described(said), _NUMBERS: how},
    )
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, batch.schema) as writer:
        writer.write_batch(batch)
    packed: bytes = sink.getvalue().to_pybytes()
    return packed


@lru_cache(maxsize=64)
def _read_described(described: bytes) -> dict[str, tuple[str, tuple[str, ...], tuple[RuleMeta, ...]]]:
    """Read what `_described` wrote; the same few texts come with every step."""
    return {
        name: (said["detector"], tuple(said["statistics"]), tuple(RuleMeta(*rule) for rule in said["rules"]))
        for name, said in json.loads(described).items()
    }


def _texts(column: pa.DictionaryArray) -> Texts:
    return Texts(column.indices.to_numpy(), column.dictionary.to_pylist())


def step_of(packed: bytes) -> ChartStep:
    """Return which rows a block covers, without reading them: 40 times faster than `unpack` for 2,000 rows.

    Raises ValueError as `unpack` does.
    """
    try:
        with pa.ipc.open_stream(packed) as reader:
            meta = json.loads(reader.schema.metadata[_STEP])
        return ChartStep(**{name: meta[name] for name in _META})
    except (pa.ArrowInvalid, KeyError, TypeError) as error:
        raise ValueError(f"not a packed chart record: {error}") from error


def unpack(packed: bytes) -> ChartBlock:
    """Read what `pack` wrote. Raises ValueError, naming what is wrong, for anything else."""
    try:
        with pa.ipc.open_stream(packed) as reader:
            batch = reader.read_next_batch()
        meta = json.loads(batch.schema.metadata[_STEP])
        described = _read_described(batch.schema.metadata[_DETECTORS])
    except (pa.ArrowInvalid, StopIteration, KeyError, TypeError) as error:
        raise ValueError(f"not a packed chart record: {error}") from error
    if meta.pop("format") != FORMAT_VERSION:
        raise ValueError(f"a chart record of another format than {FORMAT_VERSION}, which this program reads")
    column = dict(zip(batch.schema.names, batch.columns, strict=True))
    kept = column["numbers"].flatten().to_numpy().reshape(-1, column["numbers"].type.list_size)
    wide = grow(kept, batch.schema.metadata[_NUMBERS])
    value, lsl, usl, target = wide[:, : len(_ROW_NUMBERS)].T

    def numbers(name: str) -> np.ndarray:
        array: np.ndarray = column[name].to_numpy(zero_copy_only=False)
        return array

    detectors = {}
    at = len(_ROW_NUMBERS)
    for name, (detector, statistics, rules) in described.items():
        lines = np.split(wide[:, at : at + len(_WIDE) * len(statistics)], len(_WIDE), axis=1)
        at += len(_WIDE) * len(statistics)
        detectors[name] = DetectorColumns(
            detector=detector,
            statistics=statistics,
            rules=rules,
            statistic=lines[0],
            centre=lines[1],
            lcl=lines[2],
            ucl=lines[3],
            signal=numbers(f"{name}/signal"),
            valid=numbers(f"{name}/valid"),
        )
    return ChartBlock(
        **meta,
        series_keys=column["series"].dictionary.to_pylist(),
        series=column["series"].indices.to_numpy(),
        lot=_texts(column["lot"]),
        wafer=_texts(column["wafer"]),
        detectors=detectors,
        offset=numbers("offset"),
        event_time_ms=numbers("event_time_ms"),
        published_ms=numbers("published_ms"),
        value=value,
        lsl=lsl,
        usl=usl,
        target=target,
        sample=numbers("sample") if "sample" in column else None,
    )
