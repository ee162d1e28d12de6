"""The API's OpenAPI document: what FastAPI makes of the routes, and what only we know of them.

Theory of operation
-------------------
FastAPI writes parameters, bodies and statuses from the routes. Added here, so that no route repeats it:

- who may: the two ways to show who asks, and of every route its need (`x-need`) and the least role that has it;
- the problem document (RFC 9457), which the routes refer to (cluster/api/problems.py);
- what is answered before a route sees the request: 400 and 413 to bodies that are not taken (cluster/access/door.py), 404 to
  names in the address that no route takes;
- examples of answers, from `routes/examples/<module>.json`: "METHOD path" → status → examples. An answer's schema is drawn
  from them (`drawn`), so a field that an answer lacks, or that has another type, is found by the fuzzer's tests.

Examples of requests stand at the models of their bodies. Tests hold every example against its schema.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from fastapi import FastAPI
from fastapi.routing import iter_route_contexts

from cluster.access.grants import role_of
from cluster.access.sessions import COOKIE
from cluster.api.access import Need, declared
from cluster.api.problems import PROBLEM, answers

EXAMPLES = Path(__file__).parent / "routes" / "examples"
METHODS = frozenset({"get", "post", "put", "delete"})
JSON, STREAM = "application/json", "text/event-stream"
_TYPE_OF = {bool: "boolean", int: "number", float: "number", str: "string"}

SECURITY_SCHEMES = {
    "bearer": {
        "type": "http",
        "scheme": "bearer",
        "description": "an API key (`cq_…`, from `POST /keys` or `chipquality keys create`), or a JWT of the configured issuer",
    },
    "session": {
        "type": "apiKey",
        "in": "cookie",
        "name": COOKIE,
        "description": "what `POST /session` sets; requests with it that change something must come from our own page",
    },
}
DESCRIPTION = """Live control charts, alerts and capability of a fab's measurements; topics, consumers and schemas of its Kafka.

- Lists are `{"items": […], "next": …}`: `next` is the `cursor` of the next page, null at the end.
- Errors are `application/problem+json` (RFC 9457): `detail` says in a sentence what to do. Headers or an address of more than
  64 KiB are refused with 431 and 414 before any route sees them.
- Times are milliseconds since 1970 UTC: what ends in `_ms` or `_time`, `at`, and `timestamp` of an event.
- What is dangerous has a dry run: `{"dry_run": true, …}` answers a plan and its hash, the same with `plan_hash` applies
  exactly that plan and answers 202 with an operation to poll.
"""
TAGS = {
    "monitoring": "What there is and how it does: health, topics, consumers.",
    "schemas": "Subjects of the registry, their versions, and whether others may follow.",
    "analytics": "Figures: counts, rates, latencies, errors.",
    "dead letters": "What could not be processed, and sending it on its way again.",
    "quality": "Charts, alerts, limits, capability, events.",
    "management": "What changes much: replay, reset, deletion, scaling.",
    "operations": "What was asked for that takes a while.",
    "access": "Who may do what, and who did what.",
    "stream": "Live points and alerts, as server-sent events.",
}


class Documented(FastAPI):
    """An app whose document is whole."""

    def openapi(self) -> dict[str, Any]:
        """Return the document; it is made once."""
        if self.openapi_schema is None:
            self.openapi_schema = completed(super().openapi(), self)
        return self.openapi_schema


def completed(document: dict[str, Any], app: FastAPI) -> dict[str, Any]:
    """Add to FastAPI's document what it does not know. Changes and returns it."""
    components = document.setdefault("components", {})
    components.setdefault("schemas", {})["Problem"] = PROBLEM
    components["securitySchemes"] = SECURITY_SCHEMES
    document["info"]["license"] = {"name": "Apache-2.0", "identifier": "Apache-2.0"}
    document["security"] = [{name: []} for name in SECURITY_SCHEMES]
    document["tags"] = [{"name": name, "description": said} for name, said in TAGS.items()]
    needs = {(method, path): need for method, path, need in _needs(app)}
    shown = examples()
    for method, path, operation in operations(document):
        _say_who_may(operation, method, needs[method, path])
        beside = ((400, 413) if "requestBody" in operation else ()) + ((404,) if "{" in path else ())
        for status, said in answers(*beside).items():
            operation["responses"].setdefault(str(status), said)
        if STREAM in (content := operation["responses"].get("200", {}).get("content", {})):
            content[STREAM] = {"schema": {"type": "string"}}  # FastAPI says how an event is by a keyword of OpenAPI 3.2
        for status, values in shown.get(f"{method.upper()} {path}", {}).items():
            body = operation["responses"][status].setdefault("content", {}).setdefault(JSON, {})
            body["schema"] = drawn(values)
            body["examples"] = {str(number): {"value": one} for number, one in enumerate(values, 1)}
    return document


def operations(document: dict[str, Any]) -> Iterator[tuple[str, str, dict[str, Any]]]:
    """Yield method, path and what is said of it, of every operation."""
    for path, said in document["paths"].items():
        for method, operation in said.items():
            if method in METHODS:
                yield method, path, operation


def examples() -> dict[str, dict[str, list[Any]]]:
    """Return examples of answers: "METHOD path" → status → examples, one of each shape."""
    found: dict[str, dict[str, list[Any]]] = {}
    for file in sorted(EXAMPLES.glob("*.json")):
        found |= json.loads(file.read_text(encoding="utf-8"))
    return found


def drawn(shown: Sequence[Any], depth: int = 0) -> dict[str, Any]:
    """Return the schema of answers that are like the examples.

    An object has at least the fields that all examples have, at the top and in the items of a list there; deeper ones may be
    tables, whose names are data. A scalar may be null: nothing was measured, nobody has said.

    >>> drawn([{"items": [{"n": 1, "of": {"a": True}}, {"n": 2}], "next": None}])["properties"]["items"]["items"]["required"]
    ['n']
    >>> drawn(["x"]), drawn([None, 1.5]), drawn([None])
    ({'type': ['string', 'null']}, {'type': ['number', 'null']}, {})
    """
    said = [one for one in shown if one is not None]
    if not said:
        return {}
    if isinstance(said[0], list):
        return {"type": "array", "items": drawn([item for one in said for item in one], depth - 1)}
    if not isinstance(said[0], dict):
        return {"type": [_TYPE_OF[type(said[0])], "null"]}
    names = dict.fromkeys(name for one in said for name in one)
    fields = {name: drawn([one[name] for one in said if name in one], depth + 1) for name in names}
    if depth > 0:
        return {"type": ["object", "null"], "properties": fields}
    return {
        "type": "object",
        "required": [name for name in names if all(name in one for one in said)],
        "properties": fields,
    }


def _say_who_may(operation: dict[str, Any], method: str, need: Need | None) -> None:
    if need is None:
        operation["security"] = []
        if method == "get":  # nobody is asked who he is
            del operation["responses"]["401"], operation["responses"]["403"]
        return
    operation["x-need"] = {"resource": need.resource, "action": need.action, "role": role_of(need)}
    said = f"Needs `{need.action}` on {need.resource}: {role_of(need)}."
    operation["description"] = f"{operation.get('description', '')}\n\n{said}".strip()


def _needs(app: FastAPI) -> Iterator[tuple[str, str, Need | None]]:
    """Yield method, path and need of every route; None: it is open."""
    for route in iter_route_contexts(app.routes):
        dependant = getattr(route, "dependant", None)
        if dependant is not None:
            need = next(declared(dependant))
            for method in route.methods or ():
                yield method.lower(), str(route.path_format), need
