"""Packed charts: what goes in comes out, and what is no chart is refused with a reason."""

from __future__ import annotations

import dataclasses
import json

import numpy as np
import pyarrow as pa
import pytest

from schemas.charts import ChartBlock, DetectorColumns, RuleMeta, pack, unpack
from schemas.texts import Texts


def block(n: int = 3) -> ChartBlock:
    number = np.arange(n, dtype=np.float64)
    said = DetectorColumns(
        detector="spc.x@1-ab",
        statistics=("x", "MR"),
        rules=(RuleMeta("r", "doc", "critical", 1),),
        statistic=np.stack([number, number + 1], axis=1).reshape(n, 2),
        centre=np.full((1, 2), 5.0),  # broadcast over the rows
        lcl=np.full((n, 2), np.nan),
        ucl=np.full((n, 2), 9.0),
        signal=np.arange(n, dtype=np.uint32),
        valid=np.ones(n, np.bool_),
    )
    return ChartBlock(
        pipeline="quality", family="spc", topic="fab", partition=2, seq=7, first_offset=10, next_offset=99,
        series_keys=["a", "b"], series=np.array([0, 1, 0], np.int32)[:n], offset=np.arange(n), event_time_ms=np.arange(n),
        published_ms=np.arange(n), value=number, lsl=number, usl=number, target=number,
        lot=Texts.of(["L1", "L1", "L2"][:n]), wafer=Texts.of(["1", "2", ""][:n]), detectors={"spc.x": said, "spc.y": said},
    )  # fmt: skip


@pytest.mark.parametrize("n", [0, 3])
def test_round_trip(n: int) -> None:
    before = block(n)
    after = unpack(pack(before))
    for field in dataclasses.fields(ChartBlock):
        if field.name != "detectors":
            assert np.array_equal(getattr(after, field.name), getattr(before, field.name)), field.name
    for name, said in before.detectors.items():
        read = after.detectors[name]
        assert (read.detector, read.statistics, read.rules) == (said.detector, said.statistics, said.rules)
        for column in ("statistic", "centre", "lcl", "ucl"):
            wide = np.broadcast_to(getattr(said, column), (n, 2))
            assert np.array_equal(getattr(read, column), wide, equal_nan=True), column
        assert np.array_equal(read.signal, said.signal)
        assert np.array_equal(read.valid, said.valid)


@pytest.mark.parametrize("bad", [b"", b"garbage", pack(block())[:50]])
def test_what_is_no_chart_is_refused(bad: bytes) -> None:
    with pytest.raises(ValueError, match="not a packed chart record"):
        unpack(bad)


def stream(metadata: dict[str, str] | None) -> bytes:
    batch = pa.RecordBatch.from_arrays([pa.array([1])], ["x"], metadata=metadata)
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, batch.schema) as writer:
        writer.write_batch(batch)
    return bytes(sink.getvalue().to_pybytes())


def test_other_arrow_data_is_refused() -> None:
    with pytest.raises(ValueError, match="not a packed chart record"):
        unpack(stream(None))


def test_another_format_is_refused() -> None:
    with pytest.raises(ValueError, match="another format"):
        unpack(stream({"chipquality": json.dumps({"format": 99}), "detectors": "{}"}))
