"""Capability reports: from what the view holds, or from the history in the topic."""

from __future__ import annotations

import asyncio
from typing import Annotated, Any, Literal

import numpy as np
from fastapi import APIRouter, Query
from fastapi import Path as PathParameter
from fastapi.responses import Response

from actors.kafka.history import Bound, History
from actors.limit_desk import LimitDesk, Span, counted, specification_of
from cluster.api.access import needs
from cluster.api.facts import within
from cluster.api.problems import DOCUMENTED, Problem
from cluster.api.quality import QualityOf
from cluster.api.routes.common import NOT_FOUND
from cluster.api.routes.limits import HISTORY_S, PARTITION_MAX, bound_of
from cluster.api.stream import SERIES_KEY_MAX, FactsOf
from models.capability_report import Specification, as_csv, capability_report
from models.limit_versions import ChangeRefused

ROWS_MAX = 50_000  # of a report
HELD_ROWS = 500  # of the view
STUDY_S = 30.0  # for the computation
OFFSET_DIGITS_MAX = 18
PLACE = "an input offset, or an event time (ISO 8601)"

router = APIRouter(tags=["quality"], responses=DOCUMENTED)

LimitGiven = Annotated[float | None, Query(allow_inf_nan=False, description="instead of the one that holds")]


@router.get(
    "/capability/{series:path}",
    dependencies=[needs("charts", "read", "series")],
    responses={**NOT_FOUND, 200: {"content": {"text/csv": {"schema": {"type": "string"}}}}},
    summary="Cp, Cpk, Pp, Ppk with their intervals",
)
async def capability(
    facts: FactsOf,
    quality: QualityOf,
    series: Annotated[str, PathParameter(max_length=SERIES_KEY_MAX, description="the series' key, percent-encoded")],
    rows: Annotated[int | None, Query(ge=2, le=ROWS_MAX, description="newest rows, from the topic")] = None,
    since: Annotated[str | None, Query(alias="from", max_length=40, description=PLACE)] = None,
    until: Annotated[str | None, Query(alias="to", max_length=40, description=PLACE)] = None,
    partition: Annotated[
        int | None, Query(ge=0, le=PARTITION_MAX, description="input partition, if the series stands in several")
    ] = None,
    method: Annotated[
        Literal["normal", "percentile", "box-cox", "johnson"],
        Query(description="what the distribution is taken for; percentile: ISO 22514-2"),
    ] = "normal",
    within_by: Annotated[
        Literal["moving_range", "pooled", "range"] | None,
        Query(alias="within", description="estimator of sigma within; not said: by whether there are subgroups"),
    ] = None,
    confidence: Annotated[float, Query(gt=0.5, lt=1.0, description="of the intervals")] = 0.95,
    lsl: LimitGiven = None,
    usl: LimitGiven = None,
    target: LimitGiven = None,
    form: Annotated[Literal["json", "csv"], Query(alias="format", description="csv: for a spreadsheet")] = "json",
) -> Any:
    """Return the capability of a series: n, mean, sigmas, indices with their intervals, ppm, normality, histogram.

    Of the newest points that the view holds (up to 500), or of the topic with `rows`, `from`, `to`. Specification limits are
    those given here, else those of the version that people approved, else the newest that rows carry. Excluded measurements are
    left out. Sigmas are in the unit of the transformed values where `method` transforms.
    """
    if rows is not None and since is not None:
        raise Problem(422, "rows and from exclude each other")
    if rows is None and since is None and until is None and partition is None:
        source, found = "view", await _held(facts, series)
    else:
        span = Span(series, partition, rows, _place("from", since), _place("to", until))
        source, found = "topic", await _history(quality, span)
    if len(found) > ROWS_MAX:
        raise Problem(422, f"{len(found)} rows; at most {ROWS_MAX}: say rows, or a narrower from and to")
    changes = await quality.limits.ask(lambda desk: desk.changes(series))
    value, left_out = counted(found, changes)
    specification, version = specification_of(found, changes, Specification(lsl, usl, target))
    grouped = bool(len(found)) and bool((found.subgroup >= 0).all())

    def study() -> dict[str, Any]:
        return capability_report(
            value, specification, subgroup=found.subgroup if grouped else None, method=method, within=within_by,
            confidence=confidence,
        )  # fmt: skip

    try:
        report = await within(asyncio.to_thread(study), STUDY_S, "capability")
    except ValueError as error:
        raise Problem(422, f"{series[:200]}: {error}", series=series) from error
    whole = {
        "series": series,
        "partition": found.partition,
        "source": source,
        "first_offset": int(found.offset[0]),
        "last_offset": int(found.offset[-1]),
        "first_time_ms": int(found.event_time_ms[0]),
        "last_time_ms": int(found.event_time_ms[-1]),
        "excluded": left_out,
        "limits_version": version,
        **report,
    }
    if form == "json":
        return whole
    headers = {"Content-Disposition": 'attachment; filename="capability.csv"'}
    return Response(as_csv(whole), media_type="text/csv; charset=utf-8", headers=headers)


async def _held(facts: FactsOf, series: str) -> History:
    """Return the rows that the view holds. Raises Problem 404 if there are none."""
    chart: dict[str, Any] = await facts.view("chart", series, HELD_ROWS)
    if not chart["held"]:
        raise Problem(
            404, f"no points of the series {series[:200]!r} are held; GET /charts lists what is", series=series
        )
    points = chart["points"]
    floats = (np.array(points[name], np.float64) for name in ("value", "lsl", "usl", "target"))  # None: NaN
    value, lsl, usl, target = floats
    offset = np.array(points["offset"], np.int64)
    times = np.array(points["event_time_ms"], np.int64)
    return History(series, chart["partition"], offset, times, value, np.full(len(value), -1), lsl, usl, target)


async def _history(quality: QualityOf, span: Span) -> History:
    def read(desk: LimitDesk) -> History:
        return desk.rows(span)

    try:
        return await quality.history.ask(read, HISTORY_S)
    except ChangeRefused as error:
        raise Problem(404, str(error).replace("--", ""), series=span.series) from error


def _place(name: str, text: str | None) -> Bound | None:
    """Return a bound that stands in a query: digits are an offset, anything else is a time."""
    is_offset = text is not None and text.isascii() and text.isdigit() and len(text) <= OFFSET_DIGITS_MAX
    return bound_of(name, int(text) if text is not None and is_offset else text)
