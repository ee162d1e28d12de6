"""The audit trail: who did what."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request

from actors import cursors
from cluster.access.audit_reader import Page, newest
from cluster.api.access import needs
from cluster.api.facts import KAFKA_TIMEOUT_S, within
from cluster.api.pools import Pool
from cluster.api.problems import DOCUMENTED, Problem
from cluster.api.routes.common import PAGE_SIZE, SEARCH_MAX, Cursor, Limit
from cluster.api.routes.session import access_of

READERS_MAX = 2  # at once, also those that are given up; more wait

router = APIRouter(tags=["access"], responses=DOCUMENTED)
_READING = Pool("audit", READERS_MAX)

Text = Annotated[str | None, Query(max_length=SEARCH_MAX, description="of events where this field is exactly so")]


@router.get("/audit", dependencies=[needs("audit", "read")], summary="The newest events of the audit trail")
async def audit(
    request: Request,
    limit: Limit = PAGE_SIZE,
    cursor: Cursor = None,
    user: Text = None,
    event_type: Text = None,
    action: Text = None,
) -> dict[str, Any]:
    """List log-ins, refusals, permissions to change and changes with before and after, newest first.

    `published_by` is null of what this API itself says; else somebody published the event over it (POST /events/user).

    A page looks at a bounded number of records: with a filter it may hold less than `limit`, and `next` still go on.
    """
    access = access_of(request)
    wanted = {"user_id": user, "event_type": event_type, "action": action}

    def is_wanted(event: Mapping[str, Any]) -> bool:
        return all(value is None or event.get(name) == value for name, value in wanted.items())

    before = _before(cursor)

    def read() -> Page:
        return newest(access.settings.cluster, access.registry.schema, limit, is_wanted, before)

    page = await within(_READING.ask(read), KAFKA_TIMEOUT_S, "audit")
    return {"items": page.items, "next": cursors.encode(page.before) if page.before else None}


def _before(cursor: str | None) -> dict[int, int] | None:
    if cursor is None:
        return None
    try:
        return cursors.decode(cursor, lambda said: {int(partition): int(offset) for partition, offset in said.items()})
    except ValueError as error:
        raise Problem(422, f"cursor: {error}") from error
