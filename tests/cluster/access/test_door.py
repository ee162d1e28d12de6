"""Who gets in and how fast: keys, tokens, sessions, sizes, rates, streams, headers; in this process, on the real broker."""

from __future__ import annotations

import asyncio
import itertools
import json
import time
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import httpx
import pytest

from cluster.access import door, following, sessions
from cluster.access.guard import FAILURES_BURST
from cluster.access.tokens import IssuerKeys, Tokens
from cluster.access.wiring import Access
from cluster.api.access import Caller, Everybody, Need
from cluster.api.app import build_api, build_stream
from cluster.api.problems import Unavailable
from tests.cluster.access.conftest import MANY, Api, NothingRuns
from tests.cluster.access.test_tokens import ISSUER, RSA, RSA_2, jwk, token
from tests.cluster.served import wait_for

OURS = {"Origin": "http://api", "Sec-Fetch-Site": "same-origin"}
_addresses = itertools.count(1)


def address() -> str:
    """Return an address from which nobody has asked yet."""
    return f"198.51.100.{next(_addresses)}"


def denied(answer: httpx.Response, status: int = 401) -> str:
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    assert "default-src 'none'" in answer.headers["content-security-policy"]
    return str(answer.json()["detail"])


def sign_in(api: Api, key: str, **more: Any) -> tuple[httpx.Response, str]:
    answer = api.ask("POST", "/session", json={"key": key}, headers=OURS, **more)
    return answer, answer.headers.get("set-cookie", "").partition(";")[0]


def test_with_a_key_one_gets_in_and_it_is_known_who(api: Api, admin: str) -> None:
    said = api.ask("GET", "/session", admin).json()
    assert (said["role"], said["method"], said["grants"]) == ("admin", "API_KEY", ["admin"])
    assert said["key_id"] in admin
    assert said["may"]["keys"] == ["read", "write", "manage"]
    assert api.ask("GET", "/session", headers={"authorization": f"bEARER  {admin} "}).status_code == 200


@pytest.mark.parametrize(
    "headers",
    [
        [],
        [("Authorization", "")],
        [("Authorization", "Bearer")],
        [("Authorization", "Bearer ")],
        [("Authorization", "Basic YTpi")],
        [("Authorization", "Bearer cq_0123456789abcdef_" + "0" * 64)],
        [("Authorization", "Bearer " + "x" * 9_000)],
        [("Authorization", b"Bearer \xff\xfe")],
        [("Authorization", "KEY"), ("Authorization", "KEY")],
        [("Authorization", "KEYx")],
        [("Authorization", "Bearer a.b.c")],
        [("Cookie", "cq_session=")],
        [("Cookie", "cq_session=a.b; cq_session=a.b")],
        [("Cookie", b"cq_session=\xff.\xfe")],
        [("X-API-Key", "KEY")],
    ],
    ids=str,
)
def test_what_shows_nothing_gets_nobody_in(api: Api, admin: str, headers: list[tuple[str, Any]]) -> None:
    sent = [
        (name.encode(), value if isinstance(value, bytes) else value.replace("KEY", f"Bearer {admin}").encode())
        for name, value in headers
    ]

    async def ask() -> httpx.Response:
        transport = httpx.ASGITransport(app=api.app, client=(address(), 5))
        async with httpx.AsyncClient(transport=transport, base_url="http://api") as client:
            return await client.get("/session", headers=sent)

    answer = api.runner.run(ask())
    assert admin not in denied(answer)
    assert "set-cookie" not in answer.headers


def test_an_expired_and_a_revoked_key_are_worth_nothing(api: Api, admin: str) -> None:
    short = api.key("viewer", days=0.5 / 24 / 3600)
    wait_for(lambda: api.ask("GET", "/session", short, address=address()).status_code == 401, "it expires", 5)
    key = api.key("viewer")
    answer, cookie = sign_in(api, key)
    assert answer.status_code == 200
    key_id = key.split("_")[1]
    assert api.ask("GET", "/session", headers={"Cookie": cookie}).status_code == 200
    revoked = api.ask("DELETE", f"/keys/{key_id}", admin)
    assert revoked.json()["state"] == "revoked"
    assert "worth nothing" in denied(api.ask("GET", "/session", key))
    assert "worth nothing" in denied(api.ask("GET", "/session", headers={"Cookie": cookie})), "its session ends with it"
    denied(sign_in(api, key)[0])
    assert api.ask("DELETE", f"/keys/{key_id}", admin).json()["revoked_ms"] == revoked.json()["revoked_ms"]
    denied(api.ask("DELETE", "/keys/0123", admin), 404)


def test_keys_are_made_listed_and_shown_once(api: Api, admin: str) -> None:
    made = api.ask(
        "POST", "/keys", admin, json={"name": "line 4", "grants": ["viewer", "operator:limits:ETCH-*"], "days": 2}
    )
    assert made.status_code == 201, made.text
    assert made.headers["cache-control"] == "no-store"
    text = made.json()["text"]
    assert api.ask("GET", "/session", text).json()["name"] == "line 4"
    pages, cursor = [], None
    while True:
        said = api.ask("GET", "/keys", admin, params={"limit": 2, **({"cursor": cursor} if cursor else {})}).json()
        pages += said["items"]
        if (cursor := said["next"]) is None:
            break
    assert said["total"] == len(pages) == len({key["id"] for key in pages})
    assert pages[0]["name"] == "line 4"
    assert text.rpartition("_")[2] not in json.dumps(pages)
    again = api.ask("POST", "/keys", admin, json={"name": "line 4", "grants": ["viewer"]})
    assert "live key with the name" in denied(again, 409)
    denied(api.ask("POST", "/keys", admin, json={"name": "x", "grants": ["root"]}), 422)
    denied(api.ask("POST", "/keys", admin, json={"name": " x", "grants": ["viewer"]}), 422)
    denied(api.ask("POST", "/keys", admin, json={"name": "x", "grants": []}), 422)
    denied(api.ask("GET", "/keys", admin, params={"cursor": "!"}), 422)


def test_the_same_idempotency_key_makes_one_key_and_shows_it_once(api: Api, admin: str) -> None:
    body, once = {"name": f"n{time.time_ns()}", "grants": ["viewer", "viewer"], "days": 2}, {"Idempotency-Key": "k"}
    first = api.ask("POST", "/keys", admin, json=body, headers=once)
    again = api.ask("POST", "/keys", admin, json=body, headers=once)
    assert (first.status_code, again.status_code) == (201, 201), again.text
    assert (again.json()["key"], again.json()["text"]) == (first.json()["key"], None)
    assert "is not shown again" in again.json()["hint"]
    for other in ({"days": 3}, {"grants": ["viewer:charts"]}, {"name": "x"}):
        assert "another request" in denied(api.ask("POST", "/keys", admin, json=body | other, headers=once), 422)
    other_key = api.ask("POST", "/keys", api.key("admin"), json=body | {"name": "y"}, headers=once)
    assert other_key.json()["text"]


def test_nobody_makes_a_key_that_may_more_than_he_does(api: Api) -> None:
    keys = api.key("admin:keys", "viewer")
    assert "may not pass on 'operator'" in denied(
        api.ask("POST", "/keys", keys, json={"name": "more", "grants": ["viewer", "operator"]}), 403
    )
    assert api.ask("POST", "/keys", keys, json={"name": "less", "grants": ["viewer:charts:A*"]}).status_code == 201


def test_health_tells_its_reasons_only_to_whom_it_knows(api: Api, admin: str) -> None:
    stranger, known = (api.ask("GET", "/events/health", key).json() for key in (None, admin))
    assert known["dependencies"].keys() == stranger["dependencies"].keys() >= {"kafka", "owners", "access"}
    assert "keys, all read " in known["dependencies"]["access"]["reason"]
    assert "nothing runs" in known["detail"]
    assert "nothing runs" not in json.dumps(stranger)
    assert stranger["detail"] == "not ready: kafka; registry; owners; view"
    assert api.ask("GET", "/events/health", "cq_no_key").json()["detail"] == stranger["detail"]


def test_a_session_is_a_cookie_that_no_script_reads_and_that_ends(api: Api, admin: str) -> None:
    answer, cookie = sign_in(api, admin)
    assert answer.json()["method"] == "SESSION"
    assert answer.headers["cache-control"] == "no-store"
    assert answer.headers["set-cookie"].endswith("; Path=/; Max-Age=60; HttpOnly; SameSite=Strict")
    assert admin.rpartition("_")[2] not in answer.headers["set-cookie"]
    with_cookie = {"Cookie": cookie}
    assert api.ask("GET", "/session", headers=with_cookie).json()["role"] == "admin"
    assert "app.js" in api.ask("GET", "/", headers=with_cookie).text
    for nobody in ({}, {"Cookie": cookie[:-1]}, {"Authorization": "Bearer no"}):
        assert "signin.js" in api.ask("GET", "/", headers=nobody).text
    out = api.ask("DELETE", "/session", headers={**with_cookie, **OURS})
    assert (out.status_code, out.headers["set-cookie"].split(";")[0]) == (204, "cq_session=")
    key_id = admin.split("_")[1]
    session = sessions.read(api.access.settings.secret, cookie.partition("=")[2], 0)
    assert session
    wait_for(lambda: not api.access.following.book.holds(session, 0), "the end of the session is read", 5)
    denied(api.ask("GET", "/session", headers=with_cookie))
    assert api.ask("GET", "/session", admin).json()["key_id"] == key_id, "the key itself goes on"
    assert api.ask("DELETE", "/session", admin).status_code == 204


def test_a_planted_session_is_not_taken_over(api: Api, admin: str) -> None:
    _, planted = sign_in(api, api.key("viewer"))
    answer = api.ask("POST", "/session", json={"key": admin}, headers={**OURS, "Cookie": planted})
    mine = answer.headers["set-cookie"].partition(";")[0]
    assert mine != planted
    assert api.ask("GET", "/session", headers={"Cookie": planted}).json()["role"] == "viewer"
    assert sign_in(api, admin)[1] != mine


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Origin": "https://evil.example.com"},
        {"Origin": "null"},
        {"Origin": "http://api.evil.example.com"},
        {"Origin": "https://api"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site", "Origin": "http://api"},
        {"Sec-Fetch-Site": "same-origin", "Origin": "http://evil"},
        {"Sec-Fetch-Site": "none"},
        {"Referer": "http://api/"},
    ],
    ids=str,
)
def test_with_a_cookie_only_our_page_changes_something(api: Api, admin: str, headers: dict[str, str]) -> None:
    _, cookie = sign_in(api, admin)
    new = {"name": f"n{time.time_ns()}", "grants": ["viewer"]}
    said = denied(api.ask("POST", "/keys", json=new, headers={"Cookie": cookie, **headers}), 403)
    assert "our own page" in said
    assert api.ask("GET", "/keys", headers={"Cookie": cookie, **headers}).status_code == 200, "reading is no harm"
    assert api.ask("POST", "/keys", json=new, headers={"Cookie": cookie, **OURS}).status_code == 201
    if headers and "Referer" not in headers:
        denied(api.ask("POST", "/session", json={"key": admin}, headers=headers), 403)


def test_a_program_signs_in_without_a_browsers_headers(api: Api, admin: str) -> None:
    assert api.ask("POST", "/session", json={"key": admin}).status_code == 200
    assert "set-cookie" not in api.ask("POST", "/session", json={"key": admin + "0"}, address=address()).headers
    denied(api.ask("POST", "/session", json={"kei": admin}), 422)
    denied(api.ask("POST", "/session", content=b"{", headers={"Content-Type": "application/json"}), 422)


def test_who_shows_what_is_worth_nothing_too_often_is_slowed_down_and_nobody_else(api: Api, admin: str) -> None:
    here = address()
    found = [api.ask("GET", "/session", f"{admin}{i}", address=here) for i in range(int(FAILURES_BURST) + 3)]
    assert [one.status_code for one in found[: int(FAILURES_BURST)]] == [401] * int(FAILURES_BURST)
    assert {one.status_code for one in found[-3:]} == {429}
    assert int(found[-1].headers["retry-after"]) >= 1
    assert sign_in(api, "cq_wrong", address=here)[0].status_code == 429
    assert api.ask("GET", "/session", admin, address=here).status_code == 200


@pytest.fixture
def limited(api: Api) -> Iterator[Any]:
    """An app with the same keys and other limits."""

    def build(**more: Any) -> Any:
        access = Access.__new__(Access)
        access.__dict__.update(api.access.__dict__)
        limits = replace(MANY, **{name: value for name, value in more.items() if hasattr(MANY, name)})
        others = {name: value for name, value in more.items() if not hasattr(MANY, name)}
        access.settings = replace(api.access.settings, limits=limits, **others)
        return build_api(NothingRuns(), access)

    return build


def test_a_caller_and_an_address_have_their_rates(api: Api, admin: str, limited: Any) -> None:
    app = limited(requests_per_s=0.5, requests_burst=3)
    other = api.key("viewer")
    found = [api.ask("GET", "/session", admin, app=app, address=address()).status_code for _ in range(5)]
    assert found == [200, 200, 200, 429, 429], "wherever it comes from"
    assert api.ask("GET", "/session", other, app=app).status_code == 200
    app = limited(address_requests_per_s=0.5, address_requests_burst=2)
    here = address()
    assert [api.ask("GET", "/docs", app=app, address=here).status_code for _ in range(3)] == [200, 200, 429]
    slow = api.ask("GET", "/session", admin, app=app, address=here)
    assert "from this address" in denied(slow, 429)
    assert 1 <= int(slow.headers["retry-after"]) <= 3
    assert api.ask("GET", "/session", admin, app=app, address=address()).status_code == 200


def test_sizes_are_bounded(api: Api, admin: str, monkeypatch: pytest.MonkeyPatch) -> None:
    big = "x" * (64 * 1024 + 1)
    json_type = {"Content-Type": "application/json"}

    async def pieces() -> Any:
        for _ in range(20):
            yield b" " * 8_000

    denied(api.ask("POST", "/keys", admin, content=big, headers=json_type), 413)
    denied(api.ask("POST", "/keys", admin, content=pieces(), headers=json_type), 413)
    denied(api.ask("POST", "/session", content=pieces(), headers=json_type), 413)
    denied(api.ask("GET", "/session", admin, headers={"X-Large": big}), 431)
    monkeypatch.setattr(door, "TARGET_BYTES_MAX", 3_000)
    denied(api.ask("GET", f"/charts/{'%41' * 1_000}", admin), 414)
    denied(api.ask("GET", f"/session?{big[:3_000]}", admin), 414)
    for length in ("-1", "x", "1e3", "٣", "9" * 30):
        denied(
            api.ask("GET", "/session", admin, headers={"Content-Length": length.encode()}),
            413 if length[0] == "9" else 400,
        )


def test_parameters_that_a_route_does_not_know_are_refused(api: Api, admin: str) -> None:
    said = denied(api.ask("GET", "/keys?limitt=1&x=1&limit=2", admin), 422)
    assert said == "no query parameter 'limitt', 'x'; there are cursor, limit"
    assert "there is none" in denied(api.ask("GET", "/session?a", admin), 422)
    assert len(denied(api.ask("GET", "/session", admin, params={"y" * 5_000: "1"}), 422)) < 200
    denied(api.ask("GET", "/?x=1"), 422)
    assert "there are series, since" in denied(api.ask("GET", "/stream?serie=1", admin), 422)


def test_headers_tell_browsers_to_be_careful(api: Api, admin: str, limited: Any) -> None:
    answer = api.ask("GET", "/session", admin)
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert "strict-transport-security" not in answer.headers
    assert "access-control-allow-origin" not in answer.headers
    app = limited(https=True, public_origin="https://quality.example.com", cors_origins=("https://mes.example.com",))
    answer = api.ask("GET", "/session", admin, app=app, headers={"Origin": "https://mes.example.com"})
    assert answer.headers["strict-transport-security"] == "max-age=31536000"
    assert answer.headers["access-control-allow-origin"] == "https://mes.example.com"
    assert "access-control-allow-credentials" not in answer.headers
    asks = {"Origin": "https://mes.example.com", "Access-Control-Request-Method": "DELETE"}
    asks["Access-Control-Request-Headers"] = "authorization, content-type, idempotency-key, if-match, if-none-match"
    assert api.ask("OPTIONS", "/keys/1", app=app, headers=asks).status_code == 200
    assert answer.headers["access-control-expose-headers"] == "ETag, Location, Retry-After"
    asks["Origin"] = "https://evil.example.com"
    assert api.ask("OPTIONS", "/keys/1", app=app, headers=asks).status_code == 400


def test_by_https_the_cookie_is_secure(api: Api, admin: str, limited: Any) -> None:
    app = limited(https=True)
    answer = api.ask(
        "POST", "/session", json={"key": admin}, app=app, base="https://api", headers={"Origin": "https://api"}
    )
    assert answer.headers["set-cookie"].endswith("; HttpOnly; SameSite=Strict; Secure")


def test_a_websocket_is_turned_away(api: Api) -> None:
    sent: list[Any] = []

    async def send(message: Any) -> None:
        sent.append(message)

    async def connect() -> None:
        scope = {"type": "websocket", "path": "/stream", "headers": [], "query_string": b""}
        await api.app(scope, None, send)

    api.runner.run(connect())
    assert sent == [{"type": "websocket.close", "code": 1008}]


class Told:
    """A view that always has something to say."""

    pipeline = "told"

    async def view(self, method: str, *_: Any) -> Any:
        await asyncio.sleep(0.01)
        return {"vector": "x"}


async def stream(app: Any, key: str, pieces: int, then: Any = None) -> tuple[int, int]:
    """Open a stream; after some pieces call `then`. Return the status and how many pieces came; ends when it ends."""
    got, status = 0, 0
    gone = asyncio.Event()

    async def receive() -> Any:
        await gone.wait()
        return {"type": "http.disconnect"}

    async def send(message: Any) -> None:
        nonlocal got, status
        if message["type"] == "http.response.start":
            status = message["status"]
        elif message.get("body"):
            got += 1
            if got == pieces:
                await then() if then else gone.set()

    headers = [(b"authorization", f"Bearer {key}".encode())]
    scope = {"type": "http", "method": "GET", "path": "/stream", "root_path": "/stream", "raw_path": b"/stream",
             "query_string": b"", "headers": headers, "client": ("192.0.2.1", 1), "scheme": "http", "http_version": "1.1",
             "server": ("api", 80)}  # fmt: skip
    await asyncio.wait_for(app(scope, receive, send), 20)
    return status, got


def test_a_stream_ends_when_its_key_is_revoked(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cluster.api.stream.FRAME_S", 0.01)
    app = build_stream(Told(), api.access)
    key = api.key("viewer:charts", "viewer:session")

    async def revoke() -> None:
        await asyncio.to_thread(api.access.desk.revoke, api.access.following.book, key.split("_")[1], "tests")

    assert api.runner.run(stream(app, key, 3))[0] == 200
    began = time.monotonic()
    status, got = api.runner.run(stream(app, key, 2, revoke))
    assert status == 200
    assert got >= 2
    assert time.monotonic() - began < 5
    assert api.runner.run(stream(app, key, 1))[0] == 401


def test_a_caller_has_so_many_streams(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cluster.api.stream.FRAME_S", 0.01)
    app, key = build_stream(Told(), api.access), api.key("viewer")
    other = api.key("viewer")

    async def many() -> list[int]:
        held = asyncio.Event()
        running = [asyncio.create_task(stream(app, key, 2, held.wait)) for _ in range(MANY.streams_max)]
        await asyncio.sleep(0.3)
        over = [await stream(app, key, 1), await stream(app, other, 1)]
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)
        return [status for status, _ in [*over, await stream(app, key, 1)]]

    assert api.runner.run(many()) == [429, 200, 200]


def test_all_replicas_see_a_revocation_within_a_second(api: Api, admin: str) -> None:
    other = Access(api.access.settings)
    try:
        assert other.following.wait(30)
        key = api.key("viewer")
        wait_for(lambda: other.following.book.find(key, api.access.guard.now_ms()), "a new key is known there", 5)
        began = time.monotonic()
        assert api.ask("DELETE", f"/keys/{key.split('_')[1]}", admin).status_code == 200
        wait_for(
            lambda: not other.following.book.find(key, api.access.guard.now_ms()), "the revocation is known there", 5
        )
        assert time.monotonic() - began < 2, "one second was promised; beside other tests it may take twice that"
    finally:
        other.close()


def test_who_hears_nothing_of_kafka_believes_nothing(api: Api, admin: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patched:
        patched.setattr(following, "STALE_S", -1.0)
        said = denied(api.ask("GET", "/session", admin), 503)
        assert "nothing heard of quality.access" in said
        assert not api.access.guard.stands(Caller("k", "admin", key_id=admin.split("_")[1]))
        assert api.ask("GET", "/").status_code == 200
    unread = following.Following(api.access.settings.cluster, api.access.settings.secret)
    with pytest.raises(Unavailable, match="keys are not read yet"):
        _ = unread.book
    unread.stop()


def test_a_topic_that_is_not_there_is_said_and_tried_again(api: Api) -> None:
    lost = following.Following(api.access.settings.cluster, api.access.settings.secret, topic="no.such.topic")
    lost.start()
    try:
        wait_for(lambda: lost.trouble and "not read yet" not in lost.trouble, "the trouble is said", 20)
        assert not lost.wait(0.01)
    finally:
        lost.stop()


def test_tokens_of_the_issuer_get_in(api: Api) -> None:
    document = json.dumps({"keys": [jwk(RSA, "a")]}).encode()
    judge = Tokens(replace(ISSUER, leeway_s=0.0), IssuerKeys(ISSUER.jwks_url, lambda _: document))
    access = Access(replace(api.access.settings), tokens=judge)
    try:
        assert access.following.wait(30)
        app = build_api(NothingRuns(), access)
        said = api.ask("GET", "/session", token(), app=app).json()
        assert (said["name"], said["method"], said["role"], said["key_id"]) == ("ann", "OIDC", "operator", None)
        denied(api.ask("GET", "/keys", token(), app=app), 403)
        assert api.ask("GET", "/keys", token(realm_access={"roles": ["boss"]}), app=app).status_code == 200
        denied(api.ask("GET", "/session", token(realm_access={"roles": []}), app=app), 403)
        said = denied(api.ask("GET", "/session", token(RSA_2), app=app, address=address()))
        assert "signature" not in said.lower(), "what was wrong is nobody's business"
        denied(sign_in(api, token(), app=app, address=address())[0])
        caller = api.runner.run(access.guard.identify(
            {"type": "http", "method": "GET", "headers": [(b"authorization", f"Bearer {token()}".encode())]}
        ))  # fmt: skip
        assert access.guard.stands(caller)
        assert not access.guard.stands(caller._replace(until_ms=1))
    finally:
        access.close()
    judge = Tokens(ISSUER, IssuerKeys(ISSUER.jwks_url, lambda _: b"no JSON"))
    api.access.guard._tokens = judge
    try:
        assert "issuer" in denied(api.ask("GET", "/session", token()), 503)
    finally:
        api.access.guard._tokens = None


def test_without_access_control_there_are_no_keys(api: Api) -> None:
    app = build_api(NothingRuns())
    assert isinstance(app.state.guard, Everybody)
    assert api.ask("GET", "/session", app=app).json()["name"] == "everybody"
    denied(api.ask("GET", "/keys", app=app), 404)
    assert "app.js" in api.ask("GET", "/", app=app).text


def test_the_name_of_what_it_is_about_may_stand_in_body_or_query(api: Api) -> None:
    from fastapi import Body

    from cluster.api.access import needs

    app = build_api(NothingRuns(), api.access)

    @app.post("/made-up", dependencies=[needs("limits", "write", "body.series")])
    async def body(said: dict[str, Any] = Body()) -> Any:  # noqa: B008
        return said

    @app.get("/made-up", dependencies=[needs("limits", "read", "query.series")])
    async def query(series: str = "") -> Any:
        return series

    key = api.key("operator:limits:ETCH-*")
    for said, status in (
        ({"series": "ETCH-1"}, 200),
        ({"series": "LITHO"}, 403),
        ({}, 403),
        ({"series": ["ETCH-1"]}, 403),
    ):
        assert api.ask("POST", "/made-up", key, json=said, app=app).status_code == status, said
    assert (
        api.ask(
            "POST", "/made-up", key, content=b"[1]", headers={"content-type": "application/json"}, app=app
        ).status_code
        == 403
    )
    assert (
        api.ask(
            "POST", "/made-up", key, content=b"{", headers={"content-type": "application/json"}, app=app
        ).status_code
        == 422
    )
    twice = '{"series": "ETCH-1", "series": "LITHO"}'
    assert (
        api.ask(
            "POST", "/made-up", key, content=twice, headers={"content-type": "application/json"}, app=app
        ).status_code
        == 403
    )
    for said, status in (("series=ETCH-1", 200), ("series=LITHO", 403), ("", 403), ("series=ETCH-1&series=LITHO", 403)):
        assert api.ask("GET", f"/made-up?{said}", key, app=app).status_code == status, said
    assert Need("limits", "read").parameter == ""
