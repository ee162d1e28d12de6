"""Schemas: subjects, versions, what differs, whether one may follow, and the level that says so."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any, Self, TypeVar

from fastapi import APIRouter, Body, Query, Request
from fastapi import Path as PathParameter
from pydantic import BaseModel, ConfigDict, Field, model_validator

from cluster import schemas_told
from cluster.api.access import Caller, needs
from cluster.api.facts import Facts
from cluster.api.paging import page
from cluster.api.problems import DOCUMENTED, Problem, answers
from cluster.api.routes.common import NOT_FOUND, PAGE_SIZE, SEARCH_MAX, Cursor, Limit
from cluster.api.stream import FactsOf
from cluster.operations.plans import HASH_CHARS
from cluster.schemas_told import SCHEMA_CHARS_MAX, Refused
from schemas.avro_types import NotASchema
from schemas.levels import Level
from schemas.registry import Registry, SchemaRefused, UnknownSchema

SUBJECT_MAX = 500  # characters
VERSION_MAX = 2**31 - 1

T = TypeVar("T")
router = APIRouter(prefix="/events/schemas", tags=["schemas"], responses=DOCUMENTED)

Subject = Annotated[str, PathParameter(max_length=SUBJECT_MAX, description="the subject, percent-encoded")]


class Candidate(BaseModel):
    """A schema to test."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"examples": [{"schema": '{"type": "string"}'}]})

    text: str = Field(alias="schema", min_length=1, max_length=SCHEMA_CHARS_MAX, description="Avro, as text")


class Wanted(BaseModel):
    """The level that a subject should have."""

    model_config = ConfigDict(
        extra="forbid", json_schema_extra={"examples": [{"compatibility": "FULL", "dry_run": True}]}
    )

    compatibility: Level
    dry_run: bool = Field(False, description="test the versions that there are, and change nothing")
    plan_hash: str | None = Field(
        None, pattern=rf"^[0-9a-f]{{{HASH_CHARS}}}$", description="set it if the plan is still the one of this hash"
    )

    @model_validator(mode="after")
    def _not_both(self) -> Self:
        if self.dry_run and self.plan_hash is not None:
            raise ValueError("either dry_run: true, or the plan_hash that a dry run has answered")
        return self


async def _asked(facts: Facts, ask: Callable[[Registry], T]) -> T:
    """Ask the registry; what it refuses is a problem of the caller's."""
    try:
        return await facts.ask_registry(ask)
    except UnknownSchema as error:
        raise Problem(404, str(error)[:400]) from error
    except (NotASchema, SchemaRefused) as error:
        raise Problem(422, str(error)[:400]) from error


@router.get("", dependencies=[needs("schemas", "read")], summary="The subjects of the registry")
async def subjects(
    facts: FactsOf,
    limit: Limit = PAGE_SIZE,
    cursor: Cursor = None,
    search: Annotated[str, Query(max_length=SEARCH_MAX, description="text that the subject contains")] = "",
) -> dict[str, Any]:
    """List subjects by name: versions, the newest, the level that holds, and which record of which topic it is."""
    names = [name for name in await facts.subjects() if search in name]
    chosen = page(names, lambda name: (name,), limit, cursor)
    return {**chosen, "items": await _asked(facts, lambda registry: schemas_told.listed(registry, chosen["items"]))}


@router.get(
    "/{subject:path}/diff",
    dependencies=[needs("schemas", "read", "subject")],
    responses=NOT_FOUND,
    summary="What differs between two versions, and what of it breaks readers",
)
async def diff(
    facts: FactsOf,
    subject: Subject,
    earlier: Annotated[int, Query(alias="from", ge=1, le=VERSION_MAX, description="the earlier version")],
    later: Annotated[int, Query(alias="to", ge=1, le=VERSION_MAX, description="the later version")],
) -> dict[str, Any]:
    """Return every change, and whether it breaks backward (new readers, old records) or forward (old readers, new records)."""
    return await _asked(facts, lambda registry: schemas_told.difference(registry, subject, earlier, later))


@router.get(
    "/{subject:path}",
    dependencies=[needs("schemas", "read", "subject")],
    responses=NOT_FOUND,
    summary="One subject with its versions",
)
async def subject(facts: FactsOf, subject: Subject) -> dict[str, Any]:
    """Return a subject with the schema of every version, the oldest first."""
    return await _asked(facts, lambda registry: schemas_told.subject_told(registry, subject))


@router.post(
    "/{subject:path}/compatibility",
    dependencies=[needs("schemas", "read", "subject")],
    responses=NOT_FOUND,
    summary="May a schema follow?",
)
async def compatibility(facts: FactsOf, subject: Subject, candidate: Annotated[Candidate, Body()]) -> dict[str, Any]:
    """Test a schema under the subject's level, by the registry's own verdict; nothing is registered."""
    return await _asked(facts, lambda registry: schemas_told.judged(registry, subject, candidate.text))


@router.put(
    "/{subject:path}",
    responses=answers(404, 409),
    summary="Change a subject's compatibility level",
)
async def change(
    request: Request,
    facts: FactsOf,
    subject: Subject,
    wanted: Annotated[Wanted, Body()],
    caller: Annotated[Caller, needs("schemas", "manage", "subject")],
) -> dict[str, Any]:
    """Test the versions that there are under the level first: 409 names those that would not have been let in.

    With `dry_run` the answer is the plan, with its conflicts and its hash, and nothing changes. With `plan_hash` it is set only
    if the plan is still that one; else the answer is 409 with the plan as it is now.
    """
    plan = await _asked(facts, lambda registry: schemas_told.plan_level(registry, subject, wanted.compatibility))
    if wanted.dry_run:
        return {"plan": plan.told(), "plan_hash": plan.hash, "applied": False}
    if wanted.plan_hash not in (None, plan.hash):
        detail = (
            "the plan as it is now has another hash, and nothing was changed: look at it, then apply it by that one"
        )
        raise Problem(409, detail, plan=plan.told(), plan_hash=plan.hash)
    try:
        await _asked(facts, lambda registry: schemas_told.apply_level(registry, plan))
    except Refused as error:
        raise Problem(409, str(error), conflicts=error.conflicts) from error
    await request.app.state.audit.changed(
        caller, "schemas.compatibility", f"subject {subject}", plan.before, plan.after
    )
    return {"plan": plan.told(), "plan_hash": plan.hash, "applied": True}
