"""Role × endpoint × resource: every route of the app, whatever there is, allowed and denied; no route without a need.

The routes do not run: a guard that stands before the product's says 418 where it would have let somebody in. So the matrix may
ask for everything, also for what deletes.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import pytest
from fastapi import Request
from fastapi.routing import iter_route_contexts
from starlette.routing import Mount

from cluster.access import door
from cluster.api.access import BODY, QUERY, Caller, Need, declared
from cluster.api.app import build_api, build_stream
from cluster.api.problems import Problem
from tests.cluster.access.conftest import Api, NothingRuns

ALLOWED = 418
OPEN = {("GET", "/"), ("GET", "/docs"), ("GET", "/favicon.ico"), ("GET", "/events/health"), ("POST", "/session")}
MAY = {  # the oracle: what each role may do to what is no special case
    "viewer": {"read"},
    "operator": {"read", "write"},
    "admin": {"read", "write", "manage"},
}


class Endpoint(NamedTuple):
    method: str
    path: str  # with its parameters in braces
    needs: tuple[Need | None, ...]  # None: open to all

    def __str__(self) -> str:
        return f"{self.method} {self.path}"


def endpoints(app: Any) -> list[Endpoint]:
    found = []
    for route in iter_route_contexts(app.routes):
        if isinstance(route.original_route, Mount):
            assert route.path == "/web", f"{route.path} is mounted past the guard"
            continue
        dependant = getattr(route, "dependant", None)
        needs = tuple(declared(dependant)) if dependant is not None else ()
        found += [
            Endpoint(method, str(route.path), needs) for method in sorted(route.methods or ()) if method != "HEAD"
        ]
    return found


ALL = endpoints(build_api(NothingRuns()))


def may(role: str, need: Need) -> bool:
    """Tell what a role may do, said in the most obvious way."""
    if need.resource == "session":
        return True
    if need.resource in ("keys", "audit"):
        return role == "admin"
    return need.action in MAY[role]


def address_of(endpoint: Endpoint) -> str:
    """Return the endpoint's address with names that its route takes."""
    return re.sub(r"\{[^}]*\}", "1", endpoint.path.replace("{category}", "measurement"))


class Stops:
    """Says 418 instead of letting somebody in."""

    def __init__(self, guard: Any) -> None:
        self.guard = guard

    async def allow(self, request: Request, need: Need, name: str) -> Caller:
        raise Problem(ALLOWED, (await self.guard.allow(request, need, name)).role)


@contextmanager
def stopped(api: Api) -> Iterator[None]:
    guard = api.app.state.guard
    api.app.state.guard = Stops(guard)
    yield
    api.app.state.guard = guard


def test_every_route_says_what_it_needs_once() -> None:
    assert len(ALL) > 15
    for endpoint in ALL:
        assert len(endpoint.needs) == 1, f"{endpoint}: declare one need, with `needs` or `open_to_all`"
    assert [one.needs for one in endpoints(build_stream(NothingRuns()))] == [(Need("charts", "read"),)]


def test_only_what_holds_no_data_is_open_and_the_door_agrees() -> None:
    assert {(one.method, one.path) for one in ALL if one.needs == (None,)} == OPEN == door.OPEN_PATHS


def test_what_changes_something_needs_more_than_reading() -> None:
    for endpoint in ALL:
        [need] = endpoint.needs
        if endpoint.method != "GET" and need is not None and need.resource != "session":
            reads = need.action == "read"
            assert not reads or endpoint.path.endswith(("/compatibility", "/diff")), f"{endpoint} needs only to read"


def test_the_parameter_that_a_need_names_is_there() -> None:
    for endpoint in ALL:
        [need] = endpoint.needs
        if need is not None and need.parameter and not need.parameter.startswith((BODY, QUERY)):
            assert re.search(rf"\{{{need.parameter}(:\w+)?\}}", endpoint.path), f"{endpoint}: no {need.parameter}"


def test_what_changes_one_thing_can_be_allowed_by_its_name() -> None:
    of_all = {
        "POST /keys",
        "POST /packages",
        "POST /dead-letters/redrive",
        "DELETE /session",
    }  # a new one, many, one's own
    changing = [one for one in ALL if one.method != "GET" and one.needs[0] is not None and str(one) not in of_all]
    assert [str(one) for one in changing if one.needs[0] is None or not one.needs[0].parameter] == []


@pytest.fixture(scope="module")
def keys(api: Api) -> dict[str, str]:
    return {role: api.key(role) for role in MAY}


@pytest.mark.parametrize("endpoint", [one for one in ALL if one.needs != (None,)], ids=str)
def test_each_role_may_what_it_may_and_nothing_else(api: Api, keys: dict[str, str], endpoint: Endpoint) -> None:
    [need] = endpoint.needs
    assert need is not None
    path = address_of(endpoint)
    with stopped(api):
        nobody = api.ask(endpoint.method, path)
        assert nobody.status_code == 401
        assert nobody.headers["www-authenticate"] == "Bearer"
        for role, key in keys.items():
            answer = api.ask(endpoint.method, path, key)
            if may(role, need):
                assert (answer.status_code, answer.json()["detail"]) == (ALLOWED, role)
            else:
                assert answer.status_code == 403, role
                assert "takes the role" in answer.json()["detail"]


NAMED = [  # where the path has any name; others take a few names only
    one for one in ALL if one.needs[0] and re.search(rf"\{{{one.needs[0].parameter or '-'}(:path)?\}}", one.path)
]
OURS = ("IN-1", "IN-", "IN-1%2F..%2FOUT-1", "%49N-1", "IN-%F0%9F%98%80")  # as they stand in an address
OTHERS = (
    "OUT-1",
    "in-1",
    "OUT-1%2FIN-1",
    "..%2FIN-1",
    ".%2FIN-1",
    "%2549N-1",
    "%00IN-1",
    "%20IN-1",
    "OUT%0AIN-1",
    "ÍN-1",
)


@pytest.mark.parametrize("endpoint", NAMED, ids=str)
def test_a_pattern_of_names_cannot_be_escaped(api: Api, endpoint: Endpoint) -> None:
    [need] = endpoint.needs
    assert need is not None
    key = api.key(f"admin:{need.resource}:IN-*")
    only_one = re.sub(r"\{(?!" + need.parameter + r"\b)[^}]*\}", "1", endpoint.path)
    whole = f"{{{need.parameter}:path}}" in endpoint.path  # others hold no "/"
    with stopped(api):
        for name in OURS:
            if whole or "%2F" not in name:
                path = re.sub(r"\{[^}]*\}", name, only_one)
                assert api.ask(endpoint.method, path, key).status_code == ALLOWED, name
        for name in OTHERS:
            path = re.sub(r"\{[^}]*\}", name, only_one)
            no_route = not whole or "%0A" in name  # a route matches no line break
            assert api.ask(endpoint.method, path, key).status_code in ((403, 404) if no_route else (403,)), name


ELSEWHERE = [one for one in ALL if one.needs[0] and one.needs[0].parameter.startswith((BODY, QUERY))]


@pytest.mark.parametrize("endpoint", ELSEWHERE, ids=str)
def test_a_pattern_is_of_the_name_that_stands_in_the_body_or_the_query(api: Api, endpoint: Endpoint) -> None:
    [need] = endpoint.needs
    assert need is not None
    place, _, name = need.parameter.partition(".")
    key = api.key(f"admin:{need.resource}:IN-*")
    with stopped(api):
        for said, status in (({name: "IN-1"}, ALLOWED), ({name: "OUT-1"}, 403), ({name: "in-1"}, 403), ({}, 403)):
            how = {"json": said} if f"{place}." == BODY else {"params": said}
            assert api.ask(endpoint.method, address_of(endpoint), key, **how).status_code == status, said


def test_a_route_that_does_not_say_what_it_needs_is_nobodys(api: Api, admin: str) -> None:
    app = build_api(NothingRuns(), api.access)
    asked: list[int] = []

    @app.get("/forgotten")
    async def forgotten() -> None:
        asked.append(1)

    answer = api.ask("GET", "/forgotten", admin, app=app)
    assert (answer.status_code, asked) == (403, [])
    assert api.ask("GET", "/forgotten", app=app).status_code == 401


def test_a_pattern_gives_no_list(api: Api) -> None:
    key = api.key("admin:charts:IN-*")
    assert api.ask("GET", "/charts", key).status_code == 403
    assert api.ask("GET", "/charts/", key).status_code in (403, 404, 307)


def test_what_is_mounted_is_what_is_open(api: Api) -> None:
    assert api.ask("GET", "/web/signin.js").status_code == 200
    for path in ("/web/../charts", "/web/%2e%2e/charts", "/web/..%2fcharts", "/web//../../pyproject.toml", "/web%2fx"):
        assert api.ask("GET", path).status_code in (401, 404), path
    for path in ("/nowhere", "/Events/health", "/events/health/", "/session/x", "/keys/", "/openapi.json"):
        assert api.ask("GET", path).status_code == 401, path
    assert api.ask("POST", "/web/signin.js").status_code == 401
