"""Detectors deployed at run time: packages, deployments, and how two versions compare. Changing one is for admins: it is code."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Body, Query, Request
from fastapi import Path as PathParameter
from fastapi.responses import JSONResponse
from pydantic import ConfigDict, Field

from cluster.api.access import Caller, needs
from cluster.api.bounds import AnyBound, bound
from cluster.api.carrying_out import ACCEPTED, Change, Dangerous, IdempotencyKey, Management, carry_out, management_of
from cluster.api.problems import DOCUMENTED, Problem
from cluster.api.routes.common import NOT_FOUND

router = APIRouter(tags=["deployments"], responses={**DOCUMENTED, **NOT_FOUND})

NAME_MAX = 31
TARGET_MAX = 200
PATTERNS_MAX = 100
COMPARE_S = 60.0

Name = Annotated[str, PathParameter(pattern=r"^[a-z][a-z0-9-]{0,30}$", description="of a deployment")]
Mode = Annotated[str, Field(max_length=20, description="shadow, canary:10%, live")]


class Deploy(Dangerous):
    """What is deployed, beside which detectors, and how."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "name": "edge",
                    "package": "9f2c".ljust(64, "0"),
                    "mode": "canary:10%",
                    "parameters": {"limit": 4.0},
                    "series": ["ETCH-*"],
                    "limits": {"step_s": 2.0},
                    "from": "earliest",
                    "replaces": "edge-1",
                    "dry_run": True,
                },
                {"name": "edge", "package": "9f2c".ljust(64, "0"), "plan_hash": "3f0c9a51d2e4b768"},
            ]
        }
    )

    name: Annotated[str, Field(pattern=r"^[a-z][a-z0-9-]{0,30}$", description="of the deployment, and of its topics")]
    package: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$", description="digest, as POST /packages answered")]
    mode: Mode = "shadow"
    target: Annotated[str | None, Field(max_length=TARGET_MAX)] = None
    parameters: dict[str, Any] = Field(default_factory=dict)
    series: Annotated[list[Annotated[str, Field(min_length=1, max_length=300)]], Field(max_length=PATTERNS_MAX)] = (
        Field(default_factory=lambda: ["*"])
    )
    limits: dict[str, float] = Field(default_factory=dict, description="cpus, memory_bytes, step_s, load_s, nice")
    since: Annotated[AnyBound, Field(alias="from", description="where the warm-up begins")] = "earliest"
    replaces: Annotated[str | None, Field(max_length=NAME_MAX)] = None


class Promote(Dangerous):
    """How much a deployment judges live."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [{"mode": "canary:10%", "dry_run": True}, {"mode": "live", "plan_hash": "3f0c9a51d2e4b768"}]
        }
    )

    mode: Mode = "live"


class Change_(Dangerous):  # noqa: N801 - what is changed stands in the path
    """A rollback or a removal: nothing more to say."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"dry_run": True}, {"plan_hash": "3f0c9a51d2e4b768"}]})


async def _there(management: Management) -> dict[str, Any]:
    return {record.name: record for record in await management.operations("deployments")}


def _asked(body: Dangerous, **more: Any) -> dict[str, Any]:
    return body.model_dump(mode="json", by_alias=True, exclude={"dry_run", "plan_hash"}) | more


_PACKED = {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}}


@router.post(
    "/packages",
    status_code=201,
    openapi_extra={"requestBody": {"required": True, "content": _PACKED}},
    summary="Put a detector package into the store",
)
async def put_package(request: Request, caller: Annotated[Caller, needs("detectors", "manage")]) -> JSONResponse:
    """Keep a project's zip or a wheel, sent as it is; the answer says by which digest it is deployed."""
    from actors.packages import PackageStore, read_package_bytes  # noqa: PLC0415

    management = management_of(request)
    body = await request.body()

    def keep() -> dict[str, Any]:
        package = read_package_bytes(body, "the package")
        PackageStore(_store(request)).put(package.data)
        return {
            "package": package.digest,
            "name": package.name,
            "version": package.version,
            "detectors": dict(package.targets),
            "requires": list(package.requires),
        }

    told = await management.blocking(lambda: _refusing(keep))
    await request.app.state.audit.changed(caller, "detectors.package", f"package {told['package']}", None, told)
    return JSONResponse(told, 201)


def _refusing(do: Any) -> Any:
    from actors.packages import PackageRefused  # noqa: PLC0415
    from cluster.operations.errors import Invalid  # noqa: PLC0415

    try:
        return do()
    except PackageRefused as error:
        raise Invalid(str(error)) from error


def _store(request: Request) -> str:
    found: str = getattr(request.app.state, "store", "")
    if not found:
        raise Problem(503, "there is no store of packages: set detectors.store")
    return found


@router.get("/deployments", dependencies=[needs("detectors", "read")], summary="What is deployed at run time")
async def deployments(request: Request) -> dict[str, Any]:
    """List the deployments by name: phase, mode, the offsets at which modes began and ended, why one is off."""
    management = management_of(request)
    records, said = await _there(management), await management.operations("deployed")
    return {"items": [_told(record, said.get(name)) for name, record in sorted(records.items())], "next": None}


@router.get("/deployments/{name}", dependencies=[needs("detectors", "read", "name")], summary="One deployment")
async def deployment(request: Request, name: Name) -> dict[str, Any]:
    """Return a deployment: with its traceback where it is off, and what its examination said."""
    management = management_of(request)
    record = (await _there(management)).get(name)
    if record is None:
        raise Problem(404, f"no deployment {name}")
    return _told(record, (await management.operations("deployed")).get(name))


def _told(record: Any, said: dict[str, Any] | None) -> dict[str, Any]:
    """Return a record, and how its processes are."""
    owner = next(iter((said or {}).get("owners", ())), None)
    now = None
    if owner is not None:
        partitions = owner.get("partitions", {})
        now = {
            "state": owner.get("state"),
            "pid": owner.get("pid"),
            "rows": owner.get("rows"),
            "step_ms": owner.get("step_ms"),
            "commit_ms": owner.get("commit_ms"),
            "last_error": owner.get("last_error") or None,
            "next_offset": {str(p): each["next_offset"] for p, each in partitions.items() if "next_offset" in each},
        }
    return {**record.told(), "now": now}


@router.post("/deployments", responses=ACCEPTED, summary="Deploy a detector beside the pipeline")
async def deploy(
    request: Request,
    body: Deploy,
    caller: Annotated[Caller, needs("detectors", "manage", "body.name")],
    idempotency_key: IdempotencyKey = "",
) -> JSONResponse:
    """Examine a package, warm its detector up on what is retained, and have it judge in the mode that is wanted."""
    from cluster.deployments.plans import DeployWish, deploy_plan  # noqa: PLC0415

    management, there = management_of(request), await _there(management_of(request))
    wish = DeployWish(
        body.name, body.package, _store(request), body.mode, body.target, body.parameters, body.series, body.limits,
        bound(body.since), body.replaces,
    )  # fmt: skip
    change = Change(
        "detectors.deploy",
        f"deployment {body.name}",
        lambda: deploy_plan(management.cluster, management.pipeline, wish, there),
        _asked(body),
    )
    return await carry_out(request, caller, change, body, idempotency_key)


@router.post("/deployments/{name}/promote", responses=ACCEPTED, summary="Let a deployment judge live")
async def promote(
    request: Request,
    name: Name,
    body: Promote,
    caller: Annotated[Caller, needs("detectors", "manage", "name")],
    idempotency_key: IdempotencyKey = "",
) -> JSONResponse:
    """Switch every partition at a logged offset: all series, or a share of them; what it replaces gives them up there."""
    from cluster.deployments.plans import promote_plan  # noqa: PLC0415

    management, there = management_of(request), await _there(management_of(request))
    change = Change(
        "detectors.promote",
        f"deployment {name}",
        lambda: promote_plan(management.pipeline, name, body.mode, there),
        _asked(body, deployment=name),
    )
    return await carry_out(request, caller, change, body, idempotency_key)


@router.post("/deployments/{name}/rollback", responses=ACCEPTED, summary="Have the version before judge again")
async def rollback(
    request: Request,
    name: Name,
    body: Change_,
    caller: Annotated[Caller, needs("detectors", "manage", "name")],
    idempotency_key: IdempotencyKey = "",
) -> JSONResponse:
    """Stop a deployment at a logged offset; the version that it replaced judges live from there on."""
    from cluster.deployments.plans import rollback_plan  # noqa: PLC0415

    management, there = management_of(request), await _there(management_of(request))
    change = Change(
        "detectors.rollback",
        f"deployment {name}",
        lambda: rollback_plan(management.pipeline, name, there),
        {"deployment": name},
    )
    return await carry_out(request, caller, change, body, idempotency_key)


@router.delete("/deployments/{name}", responses=ACCEPTED, summary="Remove a deployment")
async def remove(
    request: Request,
    name: Name,
    body: Annotated[Change_, Body()],
    caller: Annotated[Caller, needs("detectors", "manage", "name")],
    idempotency_key: IdempotencyKey = "",
) -> JSONResponse:
    """Delete a deployment that does not judge live: its processes, its topics, its group, its record."""
    from cluster.deployments.plans import remove_plan  # noqa: PLC0415

    management, there = management_of(request), await _there(management_of(request))
    change = Change(
        "detectors.remove",
        f"deployment {name}",
        lambda: remove_plan(management.pipeline, name, there),
        {"deployment": name},
    )
    return await carry_out(request, caller, change, body, idempotency_key)


@router.get(
    "/deployments/{name}/compare",
    dependencies=[needs("detectors", "read", "name")],
    summary="Where two versions agree and differ",
)
async def compare(
    request: Request,
    name: Name,
    against: Annotated[
        str | None, Query(max_length=200, description="a deployment, or a detector of the pipeline; what it replaces")
    ] = None,
    since: Annotated[int | None, Query(alias="from", ge=0, description="input offset from which on")] = None,
) -> dict[str, Any]:
    """Compare the verdicts and alerts on the rows that both have judged; b is the deployment, a the other."""
    from cluster.deployments.comparing import compared  # noqa: PLC0415

    management, there = management_of(request), await _there(management_of(request))
    said = await management.operations("deployed")
    found: dict[str, Any] = await management.blocking(
        lambda: compared(management.cluster, management.pipeline, name, against, there, said, since), COMPARE_S
    )
    return found
