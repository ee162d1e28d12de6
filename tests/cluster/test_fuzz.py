"""The API asked what its document says, and what nobody should ask: it never fails, and answers as documented.

Everything is real: Kafka, the registry, Ray, access control, the desks. Who asks is an admin: no route hides behind a 403.
What could harm others does not: nothing is applied without the hash of a plan, 64 bits that no fuzzer finds, so what resets,
replays or deletes only plans; subjects, topics, keys, series and alerts that are named are the test's own; scaling finds no
pipeline. Publishing goes to the shared topics of events, as other tests do. Left out: the stream, which does not end by itself,
and, of what `/events/health` answers, 503: it says that no supervisor runs here.
"""

from __future__ import annotations

from base64 import urlsafe_b64encode
from collections.abc import Iterator
from typing import Any
from zlib import compress

import httpx
import pytest
import requests
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from schemathesis.generation import GenerationMode
from schemathesis.specs.openapi import checks as openapi_checks

from cluster.api.app import build_api
from cluster.api.document import operations
from cluster.api.problems import MEDIA_TYPE
from cluster.local import Endpoints
from tests.cluster.fuzzed import Fuzzed, fuzzed

pytestmark = pytest.mark.kafka

DOCUMENT = build_api(None).openapi()
SCHEMA = schemathesis.openapi.from_dict(DOCUMENT)
OPERATIONS = {f"{method.upper()} {path}": said for method, path, said in operations(DOCUMENT) if path != "/stream"}
EXAMPLES = 5  # of each operation that are right, and as many that are wrong
FEW = 3  # where an answer takes a while: topics are read, keys are waited for
SLOW = {
    "GET /dead-letters",
    "GET /dead-letters/summary",
    "POST /dead-letters/redrive",
    "GET /audit",
    "POST /keys",
    "POST /limits/proposals",
}
FINDS_NOTHING = {  # of what is only looked at: there is none here, or a name would have to be guessed
    "GET /charts/{series}/contributions", "GET /dead-letters/{topic}/{partition}/{offset}", "GET /operations/{operation_id}",
    "GET /deployments/{name}", "GET /deployments/{name}/compare", "GET /jobs/{name}/current", "GET /wafer-maps/{inspection_id}",
    "GET /wafer-maps/{lot}/{wafer}",
}  # fmt: skip
QUERIES = {"GET /pareto": {"by": "rule"}, "GET /events/schemas/{subject}/diff": {"from": 1, "to": 1}}
CHECKS = [
    openapi_checks.status_code_conformance,
    openapi_checks.content_type_conformance,
    openapi_checks.response_schema_conformance,
    openapi_checks.response_headers_conformance,
]
ALL_BUT_SHRINKING = settings(
    derandomize=True, database=None, deadline=None, phases=(Phase.generate,), suppress_health_check=list(HealthCheck)
)


@pytest.fixture(scope="module")
def api(stack: Endpoints, ray_cluster: None) -> Iterator[Fuzzed]:
    with fuzzed(stack) as api:
        yield api


def sound(api: Fuzzed, name: str, case: Any) -> httpx.Response:
    """Ask, and check what is said against the document."""
    request = requests.Request(**_of_requests(case)).prepare()
    answer = api.ask(request)
    told = f"{request.method} {request.url} {request.body!r}: {answer.status_code} {answer.text[:500]}"
    unready = name == "GET /events/health" and answer.status_code == 503
    assert answer.status_code < 500 or unready, told
    case.validate_response(answer, checks=CHECKS)
    return answer


def _of_requests(case: Any) -> dict[str, Any]:
    known = case.as_transport_kwargs(base_url="http://api")
    return {
        key: known[key] for key in ("method", "url", "headers", "params", "data", "json", "cookies") if key in known
    }


@pytest.mark.parametrize("name", [name for name in OPERATIONS if name.startswith("GET") and name not in FINDS_NOTHING])
def test_what_there_is_is_found_and_is_as_documented(api: Fuzzed, name: str) -> None:
    operation = SCHEMA[name.split()[1]]["GET"]
    wanted = {one["name"] for one in OPERATIONS[name].get("parameters", ()) if one["in"] == "path"}
    query = {"GET /exclusions": {"series": api.known["series"][0]}, **QUERIES}.get(name, {})
    case = operation.Case(path_parameters={one: api.known[one][0] for one in wanted}, query=query)
    assert sound(api, name, case).status_code == (503 if name == "GET /events/health" else 200)


@pytest.mark.parametrize("name", OPERATIONS)
def test_what_is_right_by_the_document_is_answered_as_documented(api: Fuzzed, name: str) -> None:
    method, path = name.split()
    strategy = SCHEMA[path][method].as_strategy(generation_mode=GenerationMode.POSITIVE)

    @settings(ALL_BUT_SHRINKING, max_examples=FEW if name in SLOW else EXAMPLES)
    @given(case=strategy, names=st.fixed_dictionaries({k: st.sampled_from([None, *v]) for k, v in api.known.items()}))
    def ask(case: Any, names: dict[str, Any]) -> None:
        for known, value in names.items():
            if value is not None and known in case.path_parameters:
                case.path_parameters[known] = value
            if value is not None and isinstance(case.body, dict) and known == "series" and "series" in case.body:
                case.body["series"] = value
        sound(api, name, case)

    ask()


@pytest.mark.parametrize("name", OPERATIONS)
def test_what_is_wrong_by_the_document_is_refused(api: Fuzzed, name: str) -> None:
    method, path = name.split()
    if not OPERATIONS[name].get("parameters") and "requestBody" not in OPERATIONS[name]:
        return  # nothing can be wrong with it
    strategy = SCHEMA[path][method].as_strategy(generation_mode=GenerationMode.NEGATIVE)

    @settings(ALL_BUT_SHRINKING, max_examples=FEW if name in SLOW else EXAMPLES)
    @given(case=strategy)
    def ask(case: Any) -> None:
        answer = sound(api, name, case)
        if answer.status_code < 400:  # then it must have become right on its way, as 1 and "1" are the same in a query
            case.validate_response(answer, checks=[openapi_checks.negative_data_rejection])

    ask()


# ---- what no schema describes


DEEP = b"[" * 50_000
BODIES = (
    b"", b"{", b"null", b"[]", b'"text"', b"\xff\xfe{}", b"\x00", DEEP, b'{"a":' * 20_000, b'{"\\ud800": 1}',
    b'{"series": "\\ud800"}', b"[1e999]", b'{"x": NaN}', b'{"n": ' + b"9" * 5_000 + b"}", b'{"a": 1, "a": 2}',
    b"{" + b",".join(b'"k%d": 1' % n for n in range(3_000)) + b"}",
)  # fmt: skip
TAKES_A_BODY = [name for name, said in OPERATIONS.items() if "requestBody" in said]
HOSTILE = (
    "..%2f..%2f..%2fetc%2fpasswd", "%2e%2e%2f%2e%2e", "..%5c..%5cwindows", "%00", "a%00b", "%0d%0aSet-Cookie:%20x=1", "%0a",
    "'%20OR%201=1%20--", "%3Cscript%3Ealert(1)%3C/script%3E", "%7B%7B7*7%7D%7D", "$%7Bjndi:ldap://127.0.0.1/a%7D", "%25n%25s",
    "%ED%A0%80", "%FF%FE", "%F0%9F%98%80", "%E2%80%AE", "*", "A" * 5_000, "9" * 5_000, "-1", "1e999", "NaN",
)  # fmt: skip
CURSORS = (  # as lists encode theirs, with what they never hold
    b"[1e999,\"a\"]", b"[NaN,\"a\"]", b"[" * 2_900, b"{}", b"[]", b"null", b"[[1],{}]", b'["a",1]', b'[1,"\\ud800"]',
    b'[99999999999999999999,""]',
    b'{"0":1e999}', b'{"0":-1}', b'{"-1":5}', b'{"a":{"0":1e999}}', b'{"99999999999999999999":1}', b"\xff",
)  # fmt: skip
LISTS = [name for name, said in OPERATIONS.items() if any(p["name"] == "cursor" for p in said.get("parameters", ()))]


def refused(answer: httpx.Response) -> None:
    """Assert that an answer is a problem of the caller's, and says no more than it has to."""
    assert 400 <= answer.status_code < 500, answer.text[:500]
    assert answer.headers["content-type"] == MEDIA_TYPE
    assert "set-cookie" not in answer.headers
    said = answer.json()
    assert said["status"] == answer.status_code
    assert len(answer.content) < 20_000
    assert "Traceback" not in answer.text


@pytest.mark.parametrize("name", TAKES_A_BODY)
def test_bodies_that_are_none_are_refused(api: Fuzzed, name: str) -> None:
    method, template = name.split()
    for kind in (
        "application/json",
        "text/plain",
        "application/x-www-form-urlencoded",
        "multipart/form-data",
        "a/b; charset=utf-99",
    ):
        for body in BODIES if kind == "application/json" else (b"{}", b"\xff"):
            refused(api.send(method, api.path(template), {"Content-Type": kind}, body))
    refused(api.send(method, api.path(template), {"Content-Type": "application/json"}, b"[" + b" " * 70_000 + b"]"))


@pytest.mark.parametrize("name", [name for name in OPERATIONS if "{" in name])
def test_names_that_mean_harm_are_names(api: Fuzzed, name: str) -> None:
    method, template = name.split()
    for text in HOSTILE:
        path = "/".join(text if part.startswith("{") else part for part in template.split("/"))
        body = {"Content-Type": "application/json"} if "requestBody" in OPERATIONS[name] else None
        refused(api.send(method, path, body, b'{"dry_run": true}' if body else b""))


@pytest.mark.parametrize("name", LISTS)
def test_cursors_that_were_never_given_are_refused(api: Fuzzed, name: str) -> None:
    method, path = name.split()
    wanted = "series=s&" if path == "/exclusions" else ""
    for text in CURSORS:
        plain = httpx.QueryParams({"cursor": text.decode("latin-1")})
        for cursor in (
            plain,
            *(f"cursor={urlsafe_b64encode(raw).decode().rstrip('=')}" for raw in (text, compress(text))),
        ):
            answer = api.send(method, f"{path}?{wanted}{cursor}")
            assert answer.status_code in (200, 422), f"{cursor}: {answer.text[:300]}"


def test_words_that_mean_harm_are_words(api: Fuzzed) -> None:
    for name, said in OPERATIONS.items():
        method, template = name.split()
        texts = [one["name"] for one in said.get("parameters", ()) if one["in"] == "query"]
        if method != "GET" or name in SLOW:
            continue
        for parameter in texts:
            for text in HOSTILE[:9]:
                answer = api.send(method, f"{api.path(template)}?{parameter}={text}")
                assert answer.status_code < 500, f"{name} {parameter}={text}: {answer.text[:300]}"
                assert "set-cookie" not in answer.headers


@pytest.mark.parametrize(
    "text",
    [text for text in HOSTILE if "." in text]
    + ["../cli.py", "..%2fcli.py", "%2e%2e/config.py", "vendor/..%2f..%2fcli.py"],
)
def test_files_of_the_page_are_all_that_is_served(api: Fuzzed, text: str) -> None:
    answer = api.send("GET", f"/web/{text}")
    assert answer.status_code in (400, 404, 405)
    assert "import" not in answer.text
