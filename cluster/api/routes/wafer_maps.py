"""Inspections and where on a wafer their defects are."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter
from fastapi import Path as PathParameter

from cluster.api.access import needs
from cluster.api.problems import DOCUMENTED, Problem
from cluster.api.routes.common import NOT_FOUND, PAGE_SIZE, Cursor, Limit, paged
from cluster.api.stream import FactsOf

ID_CHARS_MAX = 300
SPLITS_MAX = 8  # places where a name may be parted that are tried

router = APIRouter(prefix="/wafer-maps", tags=["quality"], responses=DOCUMENTED)

Identifier = Annotated[str, PathParameter(max_length=ID_CHARS_MAX, description="as the event says it, percent-encoded")]


@router.get("", dependencies=[needs("charts", "read")], summary="The newest inspections")
async def inspections(facts: FactsOf, limit: Limit = PAGE_SIZE, cursor: Cursor = None) -> dict[str, Any]:
    """List inspections, newest first, with how many defects each has found. `forgotten`: older ones that are not held."""
    return await paged(facts.view("inspections", limit, cursor))


@router.get(
    "/{inspection_id}", dependencies=[needs("charts", "read")], responses=NOT_FOUND, summary="Defects of an inspection"
)
async def of_inspection(facts: FactsOf, inspection_id: Identifier) -> dict[str, Any]:
    """Return the defects that an inspection has found so far, with `x`, `y` and `die_x`, `die_y` where its location names them.

    `without_place` counts those whose location names neither; `untold` those beyond what is held of one inspection.
    """
    found: dict[str, Any] | None = await facts.view("wafer_map", inspection_id)
    if found is None:
        raise Problem(404, f"no inspection {inspection_id[:200]!r} is held; GET /wafer-maps lists those that are")
    return found


@router.get(
    "/{lot}/{wafer:path}", dependencies=[needs("charts", "read")], responses=NOT_FOUND, summary="Defects of a wafer"
)
async def of_wafer(facts: FactsOf, lot: Identifier, wafer: Identifier) -> dict[str, Any]:
    """Return the defects of all inspections of a wafer together.

    Which lot and wafer an inspection is of, its metadata says (`lot` or `lot_id`, else the batch; `wafer` or `wafer_id`).
    Where names hold a "/", which no address tells from one that parts them, it is the first of these that is held: the wafer
    behind the first "/", the inspection of the whole name, the wafer behind a later "/".
    """
    parts = f"{lot}/{wafer}".split("/")
    splits = [("/".join(parts[:at]), "/".join(parts[at:])) for at in range(1, min(len(parts), SPLITS_MAX + 1))]
    for asked in (("", *splits[0]), ("/".join(parts),), *(("", *split) for split in splits[1:])):
        found: dict[str, Any] | None = await facts.view("wafer_map", *asked)
        if found is not None:
            return found
    raise Problem(404, f"no inspection of wafer {wafer[:200]!r} of lot {lot[:200]!r} is held")
