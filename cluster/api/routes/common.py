"""What the routes share: sizes of pages, cursors, and what they document."""

from __future__ import annotations

from collections.abc import Awaitable
from typing import Annotated, Any

from fastapi import Query

from cluster.api.problems import Problem, answers

PAGE_SIZE = 50
PAGE_SIZE_MAX = 500
CURSOR_MAX = 4_000  # characters
SEARCH_MAX = 200

Limit = Annotated[int, Query(ge=1, le=PAGE_SIZE_MAX, description="items of a page")]
Cursor = Annotated[str | None, Query(max_length=CURSOR_MAX, description="`next` of the page before; opaque")]

NOT_FOUND = answers(404)


async def paged(asked: Awaitable[Any]) -> dict[str, Any]:
    """Return a page; a cursor that is none of ours is a problem of the caller's."""
    try:
        found: dict[str, Any] = await asked
    except ValueError as error:
        raise Problem(422, f"cursor: {error}") from error
    return found
