"""Alert records as a pipeline writes them."""

from __future__ import annotations

from typing import Any


def alert(ident: str = "a1", **fields: Any) -> dict[str, Any]:
    return {
        "alert_id": ident, "state": "OPEN", "pipeline": "quality", "topic": "fab.measurements", "partition": 1,
        "series": "ETCH-07|B|POLY|4200|CD", "detector": "spc.individuals@1-abc", "rule": "nelson_1",
        "rule_doc": "a point beyond 3 sigma", "severity": "CRITICAL", "opened_offset": 7, "opened_time": 1_700_000_000_000,
        "last_offset": 7, "last_time": 1_700_000_000_000, "closed_offset": None, "rows": 1, "value": 51.25,
        "statistic": 51.25, "centre": 45.0, "lcl": 40.0, "ucl": 50.0, "lot": "L1", "wafer": "W3", "detail": "",
        "published_ms": 1, **fields,
    }  # fmt: skip
