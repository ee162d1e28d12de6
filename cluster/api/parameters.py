"""Query parameters that a route does not know are refused: a misspelt filter must not look like one that matched everything."""

from __future__ import annotations

from typing import Any

from fastapi import Depends, Request
from fastapi.dependencies.models import Dependant
from pydantic import BaseModel

from cluster.api.problems import Problem

SHOWN_CHARS = 50
SHOWN_MAX = 5


async def _only_known(request: Request) -> None:
    dependant = getattr(request.scope.get("route"), "dependant", None)
    if not request.query_params or dependant is None:
        return
    known = names(dependant)
    unknown = [name for name in dict.fromkeys(request.query_params) if name not in known]
    if unknown:
        said = ", ".join(repr(name[:SHOWN_CHARS]) for name in unknown[:SHOWN_MAX])
        there = f"are {', '.join(sorted(known))}" if known else "is none"
        raise Problem(422, f"no query parameter {said}; there {there}")


only_known = Depends(_only_known)


def names(dependant: Dependant) -> set[str]:
    """Return the names of the query parameters of a route and of all it depends on."""
    found: set[str] = set()
    for field in dependant.query_params:
        kind: Any = field.field_info.annotation
        if isinstance(kind, type) and issubclass(kind, BaseModel):
            found |= {model.alias or name for name, model in kind.model_fields.items()}
        else:
            found.add(field.alias)
    for part in dependant.dependencies:
        found |= names(part)
    return found
