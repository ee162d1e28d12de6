"""Verdicts and alerts of a backtest are those of the live pipeline, bit for bit: over the SECOM stream, every family at once.

The suite takes the first wafers of it; CHIPQUALITY_TEST_SECOM_WAFERS=1096 takes all there are, some minutes.
"""

from __future__ import annotations

import itertools
import math
import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from actors.backtest import judge_partition
from actors.engine.judge import Assignment
from actors.kafka.log import SystemClock
from actors.stretch import Stretch
from actors.surroundings import Codec
from cluster.backtest.verdicts import AlertWriter, VerdictWriter, columns_of, file_of
from cluster.demo import secom
from cluster.local.stack import Endpoints
from schemas.batch import SERIES_KEY_PARTS, series_key
from schemas.charts import ChartBlock, unpack
from tests.integration.line import TestLine, wait_for

WAFERS = int(os.environ.get("CHIPQUALITY_TEST_SECOM_WAFERS", "120"))


def write_secom(line: TestLine) -> None:
    """Write the stream, a sensor always to the same partition."""
    for row in itertools.chain.from_iterable(itertools.islice(secom.wafers(secom.load()), WAFERS)):
        key = series_key(*(row[part] for part in SERIES_KEY_PARTS))
        partition = int(row["characteristic"][1:]) % line.partitions
        line.producer.produce(line.input, line.encoder.encode(row), key.encode(), partition)
        line.producer.poll(0)
    assert line.producer.flush(60) == 0


@pytest.fixture(scope="module")
def live(stack: Endpoints) -> TestLine:
    """A live slot that has judged the stream."""
    line = TestLine(stack, settings={"snapshot_interval_ms": 5_000, "commit_interval_ms": 50})
    write_secom(line)
    slot = line.slot()
    slot.open()
    ends = line.ends()

    def judged() -> bool:
        slot.step()
        return all(fold.position.next_offset >= ends[p] for p, fold in slot.folds.items())

    wait_for(judged, "the stream is judged")
    slot.close()
    return line


@pytest.fixture(scope="module")
def folder(live: TestLine, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What a backtest of the same stream has written."""
    folder = tmp_path_factory.mktemp("backtest")
    pipeline = live.pipeline()
    pipeline = replace(pipeline, log=Stretch(live.input, dict.fromkeys(range(2), 0), live.ends()))
    for partition in pipeline.partitions:
        with (
            VerdictWriter(file_of(folder, "verdicts", partition), assignments(live)) as verdicts,
            AlertWriter(file_of(folder, "alerts", partition)) as alerts,
        ):
            for said in judge_partition(pipeline, partition, 0, Codec.of(pipeline).decoder, SystemClock()):
                verdicts.take(said)
                alerts.take(said)
    return folder


def assignments(line: TestLine) -> list[Assignment]:
    return [Assignment(detector) for family in line.families.values() for detector in family]


def test_verdicts_are_those_of_the_live_pipeline_bit_for_bit(live: TestLine, folder: Path) -> None:
    rows = judged = 0
    for partition, records in live.read(live.topics.charts).items():
        blocks = [unpack(value or b"") for _, value in records]
        table = pq.read_table(file_of(folder, "verdicts", partition))
        for family in live.families:
            ours = [block for block in blocks if block.family == family and len(block)]
            compare(table, ours)
        first = [block for block in blocks if block.family == "spc"]
        rows += sum(map(len, first))
        assert len(table) == sum(map(len, first))
        judged += sum(int(block.detectors["spc.individuals"].valid.sum()) for block in first)
    assert rows == 590 * WAFERS
    assert judged > rows / 2


def compare(table: Any, blocks: list[ChartBlock]) -> None:
    same_words(table, "series", [(block.series, block.series_keys) for block in blocks])
    for name in ("lot", "wafer"):
        same_words(table, name, [(getattr(block, name).codes, getattr(block, name).words) for block in blocks])
    for name in ("offset", "value", "lsl", "usl", "target"):
        same(table, name, [getattr(block, name) for block in blocks])
    for name, columns in blocks[0].detectors.items():
        q = len(columns.statistics)
        names = columns_of(name, columns.statistics)
        for i, wide in enumerate(("statistic", "centre", "lcl", "ucl")):
            for k in range(q):
                same(table, names[i * q + k], [getattr(block.detectors[name], wide)[:, k] for block in blocks])
        for flag in ("signal", "valid"):
            same(table, f"{name}/{flag}", [getattr(block.detectors[name], flag) for block in blocks])


def same_words(table: Any, name: str, parts: list[tuple[np.ndarray, Sequence[str]]]) -> None:
    words = [
        pa.DictionaryArray.from_arrays(pa.array(codes), pa.array(list(known), pa.string())) for codes, known in parts
    ]
    live = pa.chunked_array([each.cast(pa.string()) for each in words])
    assert table[name].cast(pa.string()).equals(live), name


def same(table: Any, name: str, parts: list[np.ndarray]) -> None:
    live = np.ascontiguousarray(np.concatenate(parts))
    ours = np.ascontiguousarray(table[name].to_numpy())
    assert (ours.dtype, ours.tobytes()) == (live.dtype, live.tobytes()), name


def test_alerts_are_those_of_the_live_pipeline(live: TestLine, folder: Path) -> None:
    ours = [
        {name: plain(value) for name, value in alert.items()}
        for partition in range(2)
        for alert in pq.read_table(file_of(folder, "alerts", partition)).to_pylist()
    ]
    theirs = [{name: plain(value) for name, value in alert.items()} for alert in live.events(live.topics.alerts)]
    by = [sorted(alerts, key=lambda alert: (alert["alert_id"], alert["state"])) for alerts in (ours, theirs)]
    assert len(by[0]) == len(by[1]) > 20 * WAFERS
    differ = [(a, b) for a, b in zip(*by, strict=True) if a != {name: b[name] for name in a}]
    assert differ == []


def plain(value: Any) -> Any:
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return round(value.timestamp() * 1000) if hasattr(value, "timestamp") else value
