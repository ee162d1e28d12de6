"""API keys: list, make, revoke."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from typing import Annotated, Any

from fastapi import APIRouter, Request, Response
from fastapi import Path as PathParameter
from pydantic import BaseModel, ConfigDict, Field

from cluster.access.book import Book, newest_first
from cluster.access.desk import Refused, Taken
from cluster.access.grants import GRANT_CHARS_MAX, GRANTS_MAX, may_pass_on, parse_all
from cluster.access.keys import DAYS_MAX, NAME_CHARS_MAX, Key
from cluster.access.wiring import Access
from cluster.api.access import Caller, denied, needs
from cluster.api.carrying_out import IdempotencyKey
from cluster.api.once import HALF, OTHER, ident_of
from cluster.api.paging import page
from cluster.api.problems import DOCUMENTED, Problem, Unavailable, answers
from cluster.api.routes.common import NOT_FOUND, PAGE_SIZE, Cursor, Limit
from cluster.api.routes.session import NO_STORE, access_of, written

SEEN_S = 3.0  # until the replica that made a change has read it back
LOOK_S = 0.02
DAYS = 90.0
SHOWN_BEFORE = "it was made and shown before, and is not shown again: if it was lost, revoke it and make another"

router = APIRouter(prefix="/keys", tags=["access"], responses=DOCUMENTED)

Manages = Annotated[Caller, needs("keys", "manage")]
Revokes = Annotated[Caller, needs("keys", "manage", "key_id")]
KeyId = Annotated[str, PathParameter(max_length=100, description="the public part of a key: `id` in the list")]


class NewKey(BaseModel):
    """What is wanted."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"name": "line 4", "grants": ["viewer", "operator:limits:ETCH-*"], "days": 30}]}
    )

    name: str = Field(min_length=1, max_length=NAME_CHARS_MAX, description="whose it is; stands in the audit trail")
    grants: list[Annotated[str, Field(max_length=GRANT_CHARS_MAX)]] = Field(
        min_length=1, max_length=GRANTS_MAX, description="role, role:resource or role:resource:pattern",
        examples=[["viewer", "operator:limits:ETCH-*"]],
    )  # fmt: skip
    days: float = Field(DAYS, gt=0, le=DAYS_MAX, description="until it expires")


@router.get("", dependencies=[needs("keys", "read")], summary="The keys")
async def keys(request: Request, limit: Limit = PAGE_SIZE, cursor: Cursor = None) -> dict[str, Any]:
    """List keys, newest first; never what they are, which nobody knows."""
    access = access_of(request)
    listed, now_ms = access.following.book.listed(), access.guard.now_ms()
    chosen = page(listed, newest_first, limit, cursor)
    return {**chosen, "items": [key.shown(now_ms) for key in chosen["items"]]}


@router.post("", status_code=201, responses=answers(409), summary="Make a key")
async def make_key(
    body: NewKey, caller: Manages, request: Request, response: Response, idempotency_key: IdempotencyKey = ""
) -> dict[str, Any]:
    """Make a key that may no more than whoever makes it. `text` is the key itself: it is shown this once.

    The same request with the same `Idempotency-Key` makes no second one, and `text` is null.
    """
    access = access_of(request)
    try:
        beyond = may_pass_on(caller.grants, parse_all(body.grants))
    except ValueError as error:
        raise Problem(422, str(error)) from error
    if beyond:
        detail = f"{caller.name} may not pass on {str(beyond[0])[:100]!r}: it is more than his own grants"
        raise denied(caller, "keys.create", body.name, "more than his own grants", detail)
    book, key_id = access.following.book, ident_of(caller.name, idempotency_key, None)[:HALF]
    response.headers.update(NO_STORE)
    before = book.get(key_id) if key_id else None
    if before is not None:
        if not before.is_what(body.name, body.grants, body.days):
            raise Problem(422, OTHER)
        return {"key": before.shown(access.guard.now_ms()), "text": None, "hint": SHOWN_BEFORE}

    def create() -> Any:
        return access.desk.create(book, body.name, body.grants, body.days, caller.name, key_id)

    try:
        minted = await written(create)
    except Refused as error:
        raise Problem(409 if isinstance(error, Taken) else 422, str(error)) from error
    shown = minted.key.shown(access.guard.now_ms())
    await access.audit.changed(caller, "keys.create", f"key {minted.key.key_id}", None, shown)
    hint = await _hint(access, lambda now: now.get(minted.key.key_id) is not None)
    return {"key": shown, "text": minted.text, "hint": hint}


@router.delete("/{key_id}", responses=NOT_FOUND, summary="Revoke a key")
async def revoke_key(key_id: KeyId, caller: Revokes, request: Request) -> dict[str, Any]:
    """Revoke a key and end its sessions and streams, on all replicas within a second; a second time changes nothing."""
    access = access_of(request)
    book = access.following.book
    before = book.get(key_id)
    key: Key | None = await written(lambda: access.desk.revoke(book, key_id, caller.name))
    if key is None or before is None:
        raise Problem(404, f"no key {key_id[:40]!r}; GET /keys lists what there is")
    now_ms = access.guard.now_ms()
    if key is not before:
        await access.audit.changed(caller, "keys.revoke", f"key {key_id}", before.shown(now_ms), key.shown(now_ms))
    hint = await _hint(access, lambda now: (found := now.get(key_id)) is not None and found.revoked_ms is not None)
    return {**key.shown(now_ms), "hint": hint}


async def _hint(access: Access, there: Callable[[Book], bool]) -> str | None:
    """Wait until this replica has read a change back; return what to know if it has not: the change is made all the same."""
    loop = asyncio.get_running_loop()
    deadline = loop.time() + SEEN_S
    while loop.time() <= deadline:
        with suppress(Unavailable):  # what was read is too old to be believed: it is not read back yet
            if there(access.following.book):
                return None
        await asyncio.sleep(LOOK_S)
    return "it is written, but this replica has not read it back yet: it counts as soon as it has"
