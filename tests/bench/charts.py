"""What a row of charts weighs, and what reading it takes: the univariate set alone, blocks of 4,000 rows of 2,500 series.

    .venv/bin/python -m tests.bench.charts

Bytes as packed, and as librdkafka compresses them (lz4); nanoseconds of processor time for `unpack`, and for all that the page's
view does with a block.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator

import numpy as np
import pyarrow as pa

from actors.engine.family import FamilyFold, Work
from actors.view.board import Board
from models.univariate import UnivariateSet
from schemas.batch import MicroBatch, series_key
from schemas.charts import unpack
from schemas.texts import Texts
from tests.bench.figures import Figure

ROWS, SERIES, BLOCKS = 4_000, 2_500, 40
FIRST = 10  # blocks that are not measured: Phase I, and rings that are not full


def blocks() -> Iterator[bytes]:
    """Yield packed charts, one step after the other."""
    fold = FamilyFold("bench", "spc", (UnivariateSet(phase_one_rows=5),))
    fold.open("fab.measurements", 0, (), ())
    keys = tuple(series_key(f"ETCH-{n % 40:02d}", "A", "POLY", "4200", f"C{n:05d}") for n in range(SERIES))
    random = np.random.default_rng(1)
    for number in range(BLOCKS):
        at = np.arange(number * ROWS, (number + 1) * ROWS)
        given = {"lsl": np.full(ROWS, 40.0), "usl": np.full(ROWS, 50.0)} | {
            name: np.full(ROWS, np.nan) for name in ("target", "sample_size")
        }
        named = {"lot": Texts.of(f"L{n // 500}" for n in at), "wafer": Texts.of(f"W{n // 25}" for n in at)}
        batch = MicroBatch(
            topic="fab.measurements", partition=0, offset=at, next_offset=int(at[-1]) + 1, event_time_ms=1_700_000_000_000 + at,
            published_ms=1_700_000_000_000 + at, series=(at % SERIES).astype(np.int32), value=random.normal(45, 1, ROWS),
            subgroup=np.full(ROWS, -1), columns=given | named,
        )  # fmt: skip
        chart = fold.step(Work(0, number + 1, int(at[0]), batch, keys if number == 0 else (), emit=True)).chart
        assert chart is not None
        yield chart


def figures() -> list[Figure]:
    """Return what was measured."""
    board = Board("bench")
    read = shown = 0.0
    packed = compressed = 0
    for number, chart in enumerate(blocks()):
        began = time.process_time()
        block = unpack(chart)
        middle = time.process_time()
        board.add_block(block, 0, number, 0, live=True)
        if number >= FIRST:
            read += middle - began
            shown += time.process_time() - middle
            packed += len(chart)
            compressed += len(pa.compress(chart, codec="lz4", asbytes=True))
    rows = (BLOCKS - FIRST) * ROWS
    return [
        Figure("charts, bytes a row", packed / rows, unit="bytes"),
        Figure("the same, compressed", compressed / rows, unit="bytes"),
        Figure("unpack, a row", read / rows * 1e9, unit="ns"),
        Figure("the page's view, a row", (read + shown) / rows * 1e9, unit="ns"),
    ]


if __name__ == "__main__":
    sys.stdout.writelines(f"{figure}\n" for figure in figures())
