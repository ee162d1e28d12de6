"""Chart blocks for the view's tests."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from schemas.charts import ChartBlock, DetectorColumns, RuleMeta
from schemas.texts import Texts

RULES = (
    RuleMeta("nelson_1", "1 point beyond zone A", "critical", 0),
    RuleMeta("mr_beyond_limit", "the moving range is above its upper limit", "warning", 1),
)
DETECTORS = {
    "spc": {"spc.individuals": ("x", "MR")},
    "capability": {"capability.running": ("Cp", "Cpk", "Pp", "Ppk")},
    "anomaly": {"anomaly.robust_z": ("z",)},
}


def block(
    series: Sequence[str],
    value: Sequence[float],
    first_offset: int = 0,
    *,
    family: str = "spc",
    partition: int = 0,
    pipeline: str = "quality",
    next_offset: int | None = None,
    signal: Sequence[int] | None = None,
    valid: Sequence[bool] | None = None,
    published_ms: int = 1_000,
    identity: str = "1-abc",
    usl: float = np.nan,
    centre: float = 0.0,
) -> ChartBlock:
    """Return a block of one row per series named, at consecutive offsets; limits are centre ± 3."""
    n = len(series)
    keys = sorted(set(series))
    offset = np.arange(first_offset, first_offset + n, dtype=np.int64)
    values = np.array(value, np.float64)
    said_valid = ~np.isnan(values) if valid is None else np.array(valid, np.bool_)
    said_signal = np.zeros(n, np.uint32) if signal is None else np.array(signal, np.uint32)
    detectors = {}
    for name, statistics in DETECTORS[family].items():
        q = len(statistics)
        statistic = values[:, None] * np.arange(1, q + 1)
        detectors[name] = DetectorColumns(
            detector=f"{name}@{identity}",
            statistics=statistics,
            rules=RULES,
            statistic=statistic,
            centre=np.full((n, q), centre),
            lcl=np.full((n, q), centre - 3.0),
            ucl=np.full((n, q), centre + 3.0),
            signal=said_signal,
            valid=said_valid,
        )
    return ChartBlock(
        pipeline=pipeline,
        family=family,
        topic="fab.measurements",
        partition=partition,
        seq=1,
        first_offset=first_offset,
        next_offset=first_offset + n if next_offset is None else next_offset,
        series_keys=keys,
        series=np.array([keys.index(key) for key in series], np.int32),
        offset=offset,
        event_time_ms=offset * 1000,
        published_ms=np.full(n, published_ms, np.int64),
        value=values,
        lsl=np.full(n, np.nan),
        usl=np.full(n, usl),
        target=np.full(n, np.nan),
        lot=Texts.of(f"L{i}" for i in offset.tolist()),
        wafer=Texts.of(f"W{i}" for i in offset.tolist()),
        detectors=detectors,
    )


def alert(
    alert_id: str, series: str = "a", state: str = "OPEN", pipeline: str = "quality", **fields: object
) -> dict[str, object]:
    """Return an alert record with every field of alert.avsc."""
    return {
        "alert_id": alert_id,
        "state": state,
        "pipeline": pipeline,
        "topic": "fab.measurements",
        "partition": 0,
        "series": series,
        "detector": "spc.individuals@1-abc",
        "rule": "nelson_1",
        "rule_doc": "1 point beyond zone A",
        "severity": "CRITICAL",
        "opened_offset": 1,
        "opened_sample": 0,
        "opened_time": 1_216_468_500_000,
        "last_offset": 1,
        "last_time": 1_216_468_500_000,
        "closed_offset": 2 if state == "CLOSED" else None,
        "rows": 1,
        "value": 9.0,
        "statistic": 9.0,
        "centre": 0.0,
        "lcl": -3.0,
        "ucl": 3.0,
        "lot": "L1",
        "wafer": "W1",
        "detail": "",
        "published_ms": 5,
        **fields,
    }
