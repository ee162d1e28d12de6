"""Chart blocks as records that Kafka takes: one, or several where one would be too large.

A step has at most some thousand rows, but how many bytes a row needs depends on its texts and on how many statistics its
detectors have. A record larger than the topic takes would be refused for ever, and the step with it; so its rows go in several
blocks, in offset order, each beginning where the one before ends (actors/view/chains.py counts no hole and no repeat). They are
cut between records as long as there are two; the samples of one that is too large alone go on in further blocks.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from schemas.batch import first_rows
from schemas.charts import ChartBlock, DetectorColumns, pack
from schemas.texts import Texts
from schemas.topics import CHART_BYTES_MAX

RECORD_BYTES_MAX = CHART_BYTES_MAX - 64 * 1024  # of a packed block: the record's key and Kafka's own bytes come on top

_COLUMNS = ("offset", "event_time_ms", "published_ms", "value", "lsl", "usl", "target")
_WIDE = ("statistic", "centre", "lcl", "ucl")


def pack_bounded(block: ChartBlock, bytes_max: int = RECORD_BYTES_MAX) -> list[bytes]:
    """Return the block packed, in as few halvings as it takes to have at most `bytes_max` a record."""
    packed = pack(block)
    if len(packed) <= bytes_max or len(block) < 2:
        return [packed]
    middle = _middle(block)
    border = int(block.offset[middle])
    first, second = rows_of(block, slice(0, middle)), rows_of(block, slice(middle, None))
    return [
        *pack_bounded(replace(first, next_offset=border), bytes_max),
        *pack_bounded(replace(second, first_offset=border), bytes_max),
    ]


def _middle(block: ChartBlock) -> int:
    """Return the row to cut before: that of the record which begins nearest to the middle, if not the first."""
    middle = len(block) // 2
    if block.sample is None:
        return middle
    begins = first_rows(block.offset)[1:]
    return int(begins[np.abs(begins - middle).argmin()]) if len(begins) else middle


def rows_of(block: ChartBlock, rows: slice | np.ndarray) -> ChartBlock:
    """Return some rows of a block, in their order, with no word that none of them has: a slice, or (n,) bool."""
    codes, series = np.unique(block.series[rows], return_inverse=True)
    return replace(
        block,
        series_keys=[block.series_keys[code] for code in codes.tolist()],
        series=series.astype(np.int32),
        detectors={name: _columns(said, len(block), rows) for name, said in block.detectors.items()},
        sample=None if block.sample is None else block.sample[rows],
        **{name: getattr(block, name)[rows] for name in _COLUMNS},
        lot=_needed(block.lot[rows]),
        wafer=_needed(block.wafer[rows]),
    )


def _needed(texts: Texts) -> Texts:
    """Return the column with no word that no row has: all of them would go with every piece."""
    codes, which = np.unique(texts.codes, return_inverse=True)
    return Texts(which.astype(np.int32), [texts.words[code] for code in codes.tolist()])


def _columns(said: DetectorColumns, n: int, rows: slice | np.ndarray) -> DetectorColumns:
    wide = {name: np.broadcast_to(getattr(said, name), (n, len(said.statistics)))[rows] for name in _WIDE}
    return replace(said, signal=said.signal[rows], valid=said.valid[rows], **wide)  # type: ignore[arg-type]  # by name
