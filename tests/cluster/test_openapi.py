"""The API's OpenAPI document: whole, true to the routes, and every example in it is one."""

from __future__ import annotations

import asyncio
import copy
import json
import re
from collections.abc import Iterator
from typing import Any, NamedTuple

import httpx
import jsonschema
import jsonschema_rs
import pytest
import schemathesis
import yaml
from fastapi.routing import iter_route_contexts
from ray.serve._private.thirdparty.get_asgi_route_name import extract_route_patterns
from typer.testing import CliRunner

from cluster import cli
from cluster.access import door
from cluster.access.needs import Need
from cluster.api.access import declared
from cluster.api.app import build_api
from cluster.api.document import EXAMPLES, SECURITY_SCHEMES, TAGS, examples, operations
from cluster.api.problems import MEDIA_TYPE

APP = build_api(None)
DOCUMENT = APP.openapi()
OPERATIONS = {f"{method.upper()} {path}": said for method, path, said in operations(DOCUMENT)}
IMPORTANT = {  # what people and programs ask most: these show what they answer
    "GET /alerts", "GET /alerts/{alert_id}", "POST /alerts/{alert_id}/actions", "GET /charts", "GET /charts/{series}",
    "GET /capability/{series}", "GET /limits", "POST /limits/proposals", "GET /events/topics", "GET /events/consumers",
    "GET /events/schemas", "GET /events/health", "GET /dead-letters", "POST /events/{category}", "GET /operations/{operation_id}",
    "POST /events/replay", "DELETE /events/topics/{name}", "GET /session", "POST /keys",
}  # fmt: skip


class Example(NamedTuple):
    where: str
    schema: dict[str, Any]
    value: Any


def media(where: str, content: dict[str, Any]) -> Iterator[Example]:
    """Yield the examples of a body; those of the schema that it refers to count as its own."""
    for kind, said in content.items():
        schema = said.get("schema", {})
        model = schema.get("$ref", "").rpartition("/")[2]
        own = [said["example"]] if "example" in said else []
        own += [one["value"] for one in said.get("examples", {}).values()]
        own += DOCUMENT["components"]["schemas"].get(model, {}).get("examples", [])
        yield from (Example(f"{where} {kind} {number}", schema, value) for number, value in enumerate(own))


def of_requests() -> Iterator[Example]:
    for name, said in OPERATIONS.items():
        yield from media(name, said.get("requestBody", {}).get("content", {}))


def of_answers() -> Iterator[Example]:
    for name, said in OPERATIONS.items():
        for status, answer in said["responses"].items():
            yield from media(f"{name} {status}", answer.get("content", {}))


def of_parameters() -> Iterator[Example]:
    for name, said in OPERATIONS.items():
        for one in said.get("parameters", ()):
            values = [one["example"]] if "example" in one else one["schema"].get("examples", [])
            yield from (Example(f"{name} {one['name']}", one["schema"], value) for value in values)


ALL = [*of_requests(), *of_answers(), *of_parameters()]


@pytest.mark.slow
def test_every_example_is_valid_by_its_schema() -> None:
    assert len(ALL) > 200
    for one in ALL:
        schema = {**one.schema, "components": DOCUMENT["components"]}
        jsonschema.Draft202012Validator.check_schema(one.schema)
        wrong = [error.message for error in jsonschema.Draft202012Validator(schema).iter_errors(one.value)]
        assert wrong == [], one.where


def test_what_takes_a_body_and_what_is_important_has_examples() -> None:
    requests = {one.where.rpartition(" application/json")[0] for one in of_requests()}
    bodies = {name: said["requestBody"]["content"] for name, said in OPERATIONS.items() if "requestBody" in said}
    assert requests == {name for name, content in bodies.items() if "application/json" in content}
    shown = examples()
    assert set(shown) >= IMPORTANT
    for name, by_status in shown.items():
        for status, values in by_status.items():
            told = OPERATIONS[name]["responses"][status]["content"]["application/json"]["examples"]
            assert [one["value"] for one in told.values()] == values, name
    assert sum(len(json.loads(file.read_text())) for file in EXAMPLES.glob("*.json")) == len(shown), (
        "one is there twice"
    )


@pytest.mark.parametrize("name", OPERATIONS)
def test_an_operation_says_what_it_is_and_what_it_takes(name: str) -> None:
    said = OPERATIONS[name]
    assert said["summary"]
    assert len(said["description"]) > 30
    assert set(said["tags"]) <= set(TAGS)
    undescribed = [one["name"] for one in said.get("parameters", ()) if not one.get("description")]
    assert undescribed == []


@pytest.mark.parametrize("name", OPERATIONS)
def test_an_operation_says_how_it_can_fail(name: str) -> None:
    said = OPERATIONS[name]
    wanted = {"422", "429", "503"}
    if said.get("security") != []:
        wanted |= {"401", "403"}
    if "requestBody" in said:
        wanted |= {"400", "413"}
    if "{" in name:
        wanted |= {"404"}
    assert wanted <= set(said["responses"])
    for status, answer in said["responses"].items():
        if status >= "400":
            assert list(answer["content"]) == [MEDIA_TYPE], status
            assert answer["content"][MEDIA_TYPE]["example"]["status"] == int(status)


def test_who_may_is_as_the_routes_say() -> None:
    assert DOCUMENT["components"]["securitySchemes"] == SECURITY_SCHEMES
    assert DOCUMENT["security"] == [{"bearer": []}, {"session": []}]
    seen = 0
    for route in iter_route_contexts(APP.routes):
        dependant = getattr(route, "dependant", None)
        for method in route.methods or ():
            said = OPERATIONS.get(f"{method} {route.path_format}")
            if said is None or dependant is None:
                continue
            [need] = declared(dependant)
            seen += 1
            if need is None:
                assert said["security"] == []
                assert (method, route.path) in door.OPEN_PATHS
            else:
                assert Need(said["x-need"]["resource"], said["x-need"]["action"], need.parameter) == need
                assert said["x-need"]["role"] in said["description"]
    assert seen == len(OPERATIONS) > 45


def test_it_is_openapi() -> None:
    schemathesis.openapi.from_dict(copy.deepcopy(DOCUMENT)).validate()
    with pytest.raises(jsonschema_rs.ValidationError):
        schemathesis.openapi.from_dict(DOCUMENT | {"security": "none"}).validate()


def test_serves_proxy_knows_every_parameter_of_a_path() -> None:
    """It builds all routes anew with every request if it knows one not, and has only Starlette's own convertors of them."""
    patterns = [pattern.path for pattern in extract_route_patterns(APP)]
    assert "/events/{category}" in patterns
    assert set(re.findall(r"{\w+:(\w+)}", " ".join(patterns))) <= {"str", "path", "int", "float", "uuid"}


def test_names_of_operations_are_their_own() -> None:
    named = [said["operationId"] for said in OPERATIONS.values()]
    assert len(set(named)) == len(named)


@pytest.mark.slow
def test_the_command_and_the_api_say_the_same() -> None:
    as_json = CliRunner().invoke(cli.app, ["openapi"])
    as_yaml = CliRunner().invoke(cli.app, ["openapi", "--output", "yaml"])
    assert (as_json.exit_code, as_yaml.exit_code) == (0, 0)

    async def served() -> httpx.Response:
        async with httpx.AsyncClient(transport=httpx.ASGITransport(APP), base_url="http://api") as client:
            return await client.get("/openapi.json")

    assert json.loads(as_json.stdout) == yaml.safe_load(as_yaml.stdout) == asyncio.run(served()).json() == DOCUMENT
    assert DOCUMENT["openapi"].startswith("3.1.")
