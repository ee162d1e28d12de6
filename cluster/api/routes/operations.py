"""Operations: what was asked for that takes a while, how far it is, and what has come of it."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from fastapi import APIRouter, Depends, Query, Request
from fastapi import Path as PathParameter
from fastapi.responses import JSONResponse

from cluster.api.access import Caller, needs
from cluster.api.carrying_out import ACCEPTED, Management, management_of
from cluster.api.problems import DOCUMENTED
from cluster.api.routes.common import NOT_FOUND, PAGE_SIZE, Cursor, Limit, paged

router = APIRouter(prefix="/operations", tags=["operations"], responses=DOCUMENTED)

ID_MAX = 64
OperationId = Annotated[str, PathParameter(max_length=ID_MAX, description="`id` of an operation")]
ManagementOf = Annotated[Management, Depends(management_of)]


@router.get("", dependencies=[needs("operations", "read")], summary="The operations, the newest first")
async def operations(
    management: ManagementOf,
    limit: Limit = PAGE_SIZE,
    cursor: Cursor = None,
    state: Annotated[
        Literal["running", "done", "failed", "cancelled"] | None, Query(description="only those in this state")
    ] = None,
) -> dict[str, Any]:
    """List operations: those that run, and the newest of those that have ended."""
    return await paged(management.operations("page", limit, cursor, state))


@router.get(
    "/{operation_id}",
    dependencies=[needs("operations", "read", "operation_id")],
    responses=NOT_FOUND,
    summary="One operation: how far it is, what has come of it",
)
async def operation(management: ManagementOf, operation_id: OperationId) -> dict[str, Any]:
    """Return an operation; poll it until its `state` is not "running"."""
    found: dict[str, Any] = await management.operations("get", operation_id)
    return found


@router.delete("/{operation_id}", responses={**NOT_FOUND, **ACCEPTED}, summary="Cancel an operation")
async def cancel(
    request: Request,
    management: ManagementOf,
    operation_id: OperationId,
    caller: Annotated[Caller, needs("operations", "write", "operation_id")],
) -> JSONResponse:
    """Have an operation end where it can stop in order: 202 while it runs, 200 if it has ended already."""
    before: dict[str, Any] = await management.operations("get", operation_id)
    if before["state"] != "running":
        return JSONResponse(before)
    told: dict[str, Any] = await management.operations("cancel", operation_id)
    states = {"state": before["state"]}, {"state": told["state"]}
    await request.app.state.audit.changed(caller, "operations.cancel", f"operation {operation_id}", *states)
    return JSONResponse(told, 202, {"Location": f"/operations/{operation_id}"})
