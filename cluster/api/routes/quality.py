"""Series, their charts, and what a point of a chart is made of. Alerts, limits and the rest stand beside this file."""

from __future__ import annotations

from typing import Annotated, Any

import numpy as np
from fastapi import APIRouter, Query
from fastapi import Path as PathParameter

from actors.vector_records import NoVectorError, VectorRecord
from cluster.api.access import needs
from cluster.api.problems import DOCUMENTED, Problem
from cluster.api.quality import QualityOf
from cluster.api.routes.common import NOT_FOUND, PAGE_SIZE, SEARCH_MAX, Cursor, Limit, paged
from cluster.api.stream import SERIES_KEY_MAX, FactsOf
from models.detector import identity
from models.explain import NotExplainedError, explained, largest_parts

POINTS_MAX = 500
COLUMNS = 20  # of a point, told unless more are asked for
COLUMNS_MAX = 2_000
OFFSET_MAX = 2**63 - 1

router = APIRouter(tags=["quality"], responses=DOCUMENTED)


@router.get("/charts", dependencies=[needs("charts", "read")], summary="The series and how each does")
async def charts(
    facts: FactsOf,
    limit: Limit = PAGE_SIZE,
    cursor: Cursor = None,
    search: Annotated[str, Query(max_length=SEARCH_MAX, description="words that the series' key contains")] = "",
) -> dict[str, Any]:
    """List series, those with most open alerts first, then by name. `next` is the cursor of the next page."""
    return await paged(facts.view("series", limit, search, cursor))


@router.get(
    "/charts/{series:path}/contributions",
    dependencies=[needs("charts", "read", "series")],
    responses=NOT_FOUND,
    summary="What a point of a multivariate chart is made of",
)
async def contributions(
    facts: FactsOf,
    quality: QualityOf,
    series: Annotated[str, PathParameter(max_length=SERIES_KEY_MAX, description="the series' key, percent-encoded")],
    offset: Annotated[int, Query(ge=0, le=OFFSET_MAX, description="input offset of the point")],
    limit: Annotated[int, Query(ge=1, le=COLUMNS_MAX, description="columns told, the largest first")] = COLUMNS,
) -> dict[str, Any]:
    """Return what each column adds to T² and Q of one point, by the model's own decomposition: the parts sum to the statistic.

    The vector is read from its topic. 404 says why there is no decomposition: a series of single values, a record that is not
    retained, another model than the one that judged, a chart that has none.
    """
    held: dict[str, Any] = await facts.view("chart", series, POINTS_MAX)
    if not held["held"]:
        raise Problem(404, f"no points of the series {series[:200]!r} are held; GET /charts lists what is")
    judged = {one["detector"]: one for one in held["detectors"]}
    configured = {each.name: each.detector for family in quality.settings.vectors.values() for each in family}
    charts = {name: chart for name, chart in configured.items() if name in judged}
    if not charts:
        raise Problem(404, f"no multivariate chart judges the series {series[:200]!r}: a single value has no parts")
    partition = int(held["partition"])
    try:
        record = await quality.vectors.ask(lambda desk: desk.at(partition, offset))
    except NoVectorError as error:
        raise Problem(404, str(error)) from error
    if record.series != series:
        raise Problem(404, f"offset {offset} of partition {partition} is a vector of {record.series[:200]}")
    told = [_explained(name, chart, record, judged[name], limit, offset) for name, chart in charts.items()]
    if all("why_not" in one for one in told):
        raise Problem(404, "; ".join(dict.fromkeys(one["why_not"] for one in told)))
    return {
        "series": series,
        "partition": partition,
        "offset": offset,
        "event_time_ms": record.event_time_ms,
        "lot": record.lot,
        "wafer": record.wafer,
        "columns": len(record.names),
        "missing": int(np.isnan(record.value).sum()),
        "detectors": told,
    }


def _explained(
    name: str, chart: Any, record: VectorRecord, judged: dict[str, Any], limit: int, offset: int
) -> dict[str, Any]:
    """Return what one chart says of a vector: its statistics with their parts, beside what it said when it judged it."""
    said: dict[str, Any] = {"detector": name, "identity": identity(chart)}
    if judged["identity"] != said["identity"]:
        return said | {"why_not": f"{name} judged by another model or other parameters than are configured here"}
    try:
        parts = explained(chart, record.names, record.value)
    except NotExplainedError as error:
        return said | {"why_not": str(error)}
    limits = _limits_at(judged, offset)
    said["statistics"] = [
        {
            "name": statistic,
            "value": float(part.sum()),
            "ucl": limits.get(statistic),
            "contributions": [one._asdict() for one in largest_parts(record.names, record.value, part, limit)],
        }
        for statistic, part in parts.items()
    ]
    return said


def _limits_at(judged: dict[str, Any], offset: int) -> dict[str, float | None]:
    """Return the upper limits that a chart had at a point, as far as the view holds it."""
    if offset not in judged["offset"]:
        return {}
    at = judged["offset"].index(offset)
    return {statistic["name"]: statistic["ucl"][at] for statistic in judged["statistics"]}


@router.get(
    "/charts/{series:path}",
    dependencies=[needs("charts", "read", "series")],
    responses=NOT_FOUND,
    summary="One series: points, limits, signals, capability",
)
async def chart(
    facts: FactsOf,
    series: Annotated[str, PathParameter(max_length=SERIES_KEY_MAX, description="the series' key, percent-encoded")],
    points: Annotated[int, Query(ge=1, le=POINTS_MAX, description="so many, the newest")] = POINTS_MAX,
) -> dict[str, Any]:
    """Return the newest points as every detector judged them; the limits are those of the verdicts, bit for bit.

    Points and detectors are columns, oldest first, joined by `offset`. Bit i of `signal` is `rules[i]`. null = none.
    """
    found: dict[str, Any] = await facts.view("chart", series, points)
    if not found["held"]:
        detail = f"no points of the series {series[:200]!r} are held; GET /charts lists what is"
        raise Problem(404, detail, series=series, vector=found["vector"])
    return found
