"""GET /detectors: which detectors judge, in which version, and what they have found."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter

from cluster.api.access import needs
from cluster.api.problems import DOCUMENTED
from cluster.api.stream import FactsOf

router = APIRouter(tags=["quality"], responses=DOCUMENTED)


@router.get("/detectors", dependencies=[needs("charts", "read")], summary="The detectors and their versions")
async def detectors(facts: FactsOf) -> dict[str, Any]:
    """List the detectors whose verdicts the view holds: identity (name@version-hash), rules, series, signals."""
    return {"items": await facts.view("detectors"), "next": None}
