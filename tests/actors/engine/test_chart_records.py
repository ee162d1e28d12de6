"""The largest step's charts: records that their topic takes, and together every row once."""

from __future__ import annotations

import numpy as np
import pytest

from actors.engine.chart_records import RECORD_BYTES_MAX, pack_bounded
from actors.engine.family import FamilyFold, Work
from actors.pipeline import Pipeline
from actors.view.chains import Chains
from models.builtin import FAMILIES
from schemas.batch import SERIES_KEY_BYTES_MAX, TEXT_BYTES_MAX, MicroBatch
from schemas.charts import pack, unpack
from schemas.texts import Texts
from schemas.topics import CHART_BYTES_MAX

ROWS = Pipeline.__dataclass_fields__["step_rows_max"].default


def largest(rows: int) -> MicroBatch:
    """A step of rows of so many series, with the longest texts there are, none twice."""
    random = np.random.default_rng(3)
    zero = np.zeros(rows, np.int64)
    words = [f"{n:08d}".ljust(TEXT_BYTES_MAX, "x") for n in range(rows)]
    return MicroBatch(
        topic="fab.measurements", partition=0, offset=7 + 3 * np.arange(rows), next_offset=10 + 3 * rows, event_time_ms=zero,
        published_ms=zero.copy(), series=np.arange(rows, dtype=np.int32), value=random.normal(size=rows), subgroup=zero - 1,
        columns={name: random.normal(size=rows) for name in ("lsl", "usl", "target", "sample_size")}
        | dict.fromkeys(("lot", "wafer"), Texts.of(words)),
    )  # fmt: skip


def step(family: str, batch: MicroBatch) -> list[bytes]:
    fold = FamilyFold("quality", family, FAMILIES[family](10))
    fold.open(batch.topic, 0, (), ())
    series = tuple(f"{n:08d}".ljust(SERIES_KEY_BYTES_MAX, "k") for n in range(len(batch)))
    output = fold.step(Work(0, 1, 5, batch, series, emit=True))
    assert output.chart is not None
    return [output.chart, *output.more_charts]


@pytest.mark.parametrize("family", FAMILIES)
def test_the_largest_step_of_every_built_in_family_is_taken(family: str) -> None:
    charts = step(family, largest(ROWS))
    assert max(map(len, charts)) <= RECORD_BYTES_MAX < CHART_BYTES_MAX
    chains = Chains()
    assert sum(int(chains.check(unpack(chart)).sum()) for chart in charts) == ROWS
    [chain] = chains.summary()["fab.measurements:0"].values()
    assert (chain["rows"], chain["duplicated"], chain["gaps"], chain["next_offset"]) == (ROWS, 0, 0, 10 + 3 * ROWS)


def test_pieces_together_are_the_block() -> None:
    [whole] = step("spc", largest(37))
    block = unpack(whole)
    pieces = [unpack(piece) for piece in pack_bounded(block, 12_000)]
    assert len(pieces) > 3
    assert [pieces[0].first_offset, *(p.next_offset for p in pieces)] == [
        *(p.first_offset for p in pieces),
        block.next_offset,
    ]
    assert {piece.seq for piece in pieces} == {block.seq}
    assert [p.series_keys[c] for p in pieces for c in p.series] == [block.series_keys[c] for c in block.series]
    assert [lot for piece in pieces for lot in piece.lot] == block.lot
    assert [len(piece.lot.words) for piece in pieces] == [len(piece) for piece in pieces], "no words of other rows"
    for name in ("offset", "value", "lsl"):
        np.testing.assert_array_equal(np.concatenate([getattr(p, name) for p in pieces]), getattr(block, name))
    for detector, said in block.detectors.items():
        for name in ("statistic", "centre", "lcl", "ucl", "signal", "valid"):
            parts = np.concatenate([getattr(piece.detectors[detector], name) for piece in pieces])
            np.testing.assert_array_equal(parts, getattr(said, name))


def test_what_fits_is_one_record_and_one_row_is_never_cut() -> None:
    [whole] = step("spc", largest(5))
    assert pack_bounded(unpack(whole)) == [pack(unpack(whole))]
    assert len(pack_bounded(unpack(whole), 1)) == 5
