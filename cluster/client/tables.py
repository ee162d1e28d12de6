"""Lists of the API as Arrow tables: which columns each has, of which type, and where in an item they stand.

A table has its columns and types even if it has no rows. Times are UTC; what is null in the API is null.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import pyarrow as pa

TIME = pa.timestamp("ms", tz="UTC")
TEXT, WHOLE, REAL, FLAG = pa.string(), pa.int64(), pa.float64(), pa.bool_()
TEXTS = pa.list_(TEXT)

Columns = Mapping[str, tuple[str, pa.DataType]]  # column → where in an item it stands ("life.status"), type


def _same(**types: pa.DataType) -> dict[str, tuple[str, pa.DataType]]:
    return {name: (name, kind) for name, kind in types.items()}


SERIES: Columns = {
    **_same(series=TEXT, status=TEXT, open_alerts=WHOLE, rows=WHOLE, judged=WHOLE, last_value=REAL),
    "last_time": ("last_time_ms", TIME),
    **{
        name: (f"parts.{at}", TEXT)
        for at, name in enumerate(("equipment", "chamber", "recipe", "operation", "characteristic"))
    },
}
ALERTS: Columns = {
    **_same(alert_id=TEXT, series=TEXT, state=TEXT, severity=TEXT, detector=TEXT, rule=TEXT, rule_doc=TEXT),
    "raised": ("raised_ms", TIME),
    "opened_time": ("opened_time", TIME),
    "last_time": ("last_time", TIME),
    **_same(
        partition=WHOLE, opened_offset=WHOLE, last_offset=WHOLE, closed_offset=WHOLE, rows=WHOLE, value=REAL, statistic=REAL,
        centre=REAL, lcl=REAL, ucl=REAL, lot=TEXT, wafer=TEXT, detail=TEXT,
    ),
    "status": ("life.status", TEXT),
    "assigned": ("life.assigned", TEXT),
    "cause": ("life.cause", TEXT),
    "actions": ("life.history_total", WHOLE),
}  # fmt: skip
TOPICS: Columns = {
    **_same(
        name=TEXT, exists=FLAG, ours=FLAG, internal=FLAG, key=TEXT, records=WHOLE, retention_ms=WHOLE, cleanup=TEXT
    ),
    **_same(under_replicated=WHOLE, without_leader=WHOLE, doc=TEXT),
}
LIMITS: Columns = {
    **_same(change_id=TEXT, kind=TEXT, state=TEXT, series=TEXT, partition=WHOLE, offset=WHOLE, limits_version=WHOLE),
    **_same(mu=REAL, sigma=REAL, lsl=REAL, usl=REAL, target=REAL, author=TEXT, approver=TEXT, reason=TEXT),
    "created": ("created_ms", TIME),
    "approved": ("approved_ms", TIME),
    "effective_from": ("effective_from_ms", TIME),
}
DETECTORS: Columns = _same(detector=TEXT, identity=TEXT, family=TEXT, statistics=TEXTS, series=WHOLE, signals=WHOLE)
INSPECTIONS: Columns = {
    **_same(inspection_id=TEXT, lot=TEXT, wafer=TEXT, chip_id=TEXT, inspection_type=TEXT, status=TEXT, event_type=TEXT),
    **_same(quality_score=REAL, defects=WHOLE),
    "event_time": ("event_time_ms", TIME),
}
DEFECTS: Columns = _same(
    inspection_id=TEXT, chip_id=TEXT, defect_type=TEXT, severity=TEXT, confidence=REAL, location=TEXT, x=REAL, y=REAL,
    die_x=WHOLE, die_y=WHOLE,
)  # fmt: skip
PARETO: Columns = _same(name=TEXT, count=WHOLE, share=REAL, cumulative=REAL)
DEAD_LETTERS: Columns = {
    **_same(
        place=TEXT, topic=TEXT, partition=WHOLE, offset=WHOLE, reason=TEXT, detail=TEXT, source=TEXT, attempts=WHOLE
    ),
    "at": ("at_ms", TIME),
}
POINTS: Columns = {
    **_same(offset=WHOLE, sample=WHOLE),
    "event_time": ("event_time_ms", TIME),
    "published": ("published_ms", TIME),
    **_same(value=REAL, lsl=REAL, usl=REAL, target=REAL, lot=TEXT, wafer=TEXT),
}
VERDICTS = pa.schema(
    [
        ("offset", WHOLE), ("sample", WHOLE), ("detector", TEXT), ("identity", TEXT), ("statistic", TEXT), ("value", REAL),
        ("centre", REAL), ("lcl", REAL), ("ucl", REAL), ("valid", FLAG), ("signals", TEXTS),
    ]
)  # fmt: skip


def table(items: Iterable[Mapping[str, Any]], columns: Columns) -> pa.Table:
    """Return items as a table.

    >>> table([{"name": "spc", "count": 3, "share": 1, "cumulative": 1.0}], PARETO).to_pylist()
    [{'name': 'spc', 'count': 3, 'share': 1.0, 'cumulative': 1.0}]
    """
    listed = list(items)
    return pa.table(
        {name: pa.array([_at(item, where) for item in listed], kind) for name, (where, kind) in columns.items()},
        pa.schema([(name, kind) for name, (_, kind) in columns.items()]),
    )


def points(told: Mapping[str, list[Any]]) -> pa.Table:
    """Return the points of a chart, which the API tells as columns already."""
    return pa.table({name: pa.array(told[where], kind) for name, (where, kind) in POINTS.items()})


def verdicts(detectors: Iterable[Mapping[str, Any]]) -> pa.Table:
    """Return what every detector said of every point: a row for each statistic, `signals` the rules that fired on it."""
    parts = [VERDICTS.empty_table()]
    for one in detectors:
        n = len(one["offset"])
        for at, statistic in enumerate(one["statistics"]):
            parts.append(
                pa.table(
                    {
                        "offset": one["offset"],
                        "sample": one["sample"],
                        "detector": [one["detector"]] * n,
                        "identity": [one["identity"]] * n,
                        "statistic": [statistic["name"]] * n,
                        **{name: statistic[name] for name in ("value", "centre", "lcl", "ucl")},
                        "valid": one["valid"],
                        "signals": [fired(signal, one["rules"], at) for signal in one["signal"]],
                    },
                    VERDICTS,
                )
            )
    return pa.concat_tables(parts)


def fired(signal: int, rules: Iterable[Mapping[str, Any]], statistic: int) -> list[str]:
    """Return the names of the rules whose bits are set, of those that judge a statistic."""
    return [rule["name"] for bit, rule in enumerate(rules) if signal >> bit & 1 and rule["statistic"] == statistic]


def _at(item: Any, where: str) -> Any:
    for part in where.split("."):
        if item is None:
            return None
        item = item[int(part)] if isinstance(item, list) else item.get(part)
    return item
