"""The audit trail on the real broker: what is there before a change, after it, and of refusals."""

from __future__ import annotations

import asyncio
import json
import time
from typing import Any

import pytest
from confluent_kafka import Producer

from actors.kafka.producer import Limits
from actors.producers.publisher import Publisher
from cluster.access.audit import AuditTrail
from cluster.access.audit_reader import Row, page_of
from cluster.access.audit_text import state_json
from cluster.access.tally import Refusal, Told
from cluster.api.access import Caller, Need, needs
from cluster.api.app import build_api
from cluster.api.problems import Unavailable
from cluster.api.routes import keys
from schemas.registry import Registry
from schemas.topics import USER
from tests.cluster.access.conftest import Api, NothingRuns
from tests.cluster.access.test_door import address, denied, sign_in
from tests.cluster.served import wait_for


def events(api: Api, admin: str, **wanted: Any) -> list[dict[str, Any]]:
    said = api.ask("GET", "/audit", admin, params={"limit": 500, **wanted})
    assert said.status_code == 200, said.text
    items: list[dict[str, Any]] = said.json()["items"]
    return items


def test_a_change_is_recorded_before_it_is_made_and_after(api: Api, admin: str) -> None:
    made = api.ask("POST", "/keys", admin, json={"name": "traced", "grants": ["viewer"]}).json()
    key_id = made["key"]["id"]
    api.ask("DELETE", f"/keys/{key_id}", admin)
    me = api.ask("GET", "/session", admin).json()
    mine = [event for event in events(api, admin, user=me["name"]) if key_id in (event["resource"] or "")]
    revoked, allowed, created = mine
    assert (created["event_type"], created["action"], created["before"]) == ("AUDIT_RECORDED", "keys.create", None)
    assert json.loads(created["after"])["name"] == "traced"
    assert (allowed["event_type"], allowed["action"], allowed["role"]) == (
        "AUTHORISATION_GRANTED",
        "keys.manage",
        "admin",
    )
    assert allowed["metadata"] == {"key_id": me["key_id"], "request": f"DELETE /keys/{key_id}"}
    assert json.loads(revoked["before"])["state"] == "live"
    assert json.loads(revoked["after"])["state"] == "revoked"
    assert revoked["source_address"] == "192.0.2.7"
    assert made["text"].rpartition("_")[2] not in json.dumps(mine)


def test_a_key_that_is_not_read_back_in_time_is_shown_and_recorded_all_the_same(
    api: Api, admin: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(keys, "SEEN_S", -1.0)
    made = api.ask("POST", "/keys", admin, json={"name": "unseen", "grants": ["viewer"]})
    assert made.status_code == 201, made.text
    assert made.json()["text"].startswith(f"cq_{made.json()['key']['id']}_")
    assert "has not read it back yet" in made.json()["hint"]
    key_id = made.json()["key"]["id"]
    wait_for(lambda: api.ask("GET", "/session", made.json()["text"]).status_code == 200, "it counts")
    revoked = api.ask("DELETE", f"/keys/{key_id}", admin).json()
    assert (revoked["state"], "has not read it back yet" in revoked["hint"]) == ("revoked", True)
    resource = f"key {key_id}"
    found = [one["action"] for one in events(api, admin, event_type="AUDIT_RECORDED") if one["resource"] == resource]
    assert found == ["keys.revoke", "keys.create"]


def test_signing_in_and_out_and_failing_to(api: Api, admin: str) -> None:
    key, here = api.key("viewer"), address()
    name = api.ask("GET", "/session", key).json()["name"]
    _, cookie = sign_in(api, key, address=here)
    api.ask("DELETE", "/session", headers={"Cookie": cookie, "Origin": "http://api"}, address=here)
    wrong = key[:-1] + ("0" if key[-1] != "0" else "1")
    for _ in range(20):
        denied(sign_in(api, wrong, address=here)[0])

    def all_there() -> Any:
        found = [event["event_type"] for event in events(api, admin, user=name)]
        return found if "LOGIN_FAILED" in found else None

    assert wait_for(all_there, "failures are told", 10) == ["LOGIN_FAILED", "USER_LOGGED_OUT", "USER_LOGGED_IN"]
    [failed] = events(api, admin, user=name, event_type="LOGIN_FAILED")
    assert (failed["method"], failed["reason"], failed["source_address"]) == ("API_KEY", "no live key", here)
    assert (failed["metadata"], "cq_" in json.dumps(failed)) == ({"count": "1"}, False)
    summary = api.access.audit.tally.due(time.monotonic() + 61)
    assert [told.times for told in summary if told.refusal.address == here] == [19]


def test_every_refusal_is_told_who_what_and_why(api: Api, admin: str) -> None:
    key, here = api.key("viewer"), address()
    name = api.ask("GET", "/session", key).json()["name"]
    denied(api.ask("DELETE", "/keys/0123456789abcdef", key, address=here), 403)
    denied(api.ask("GET", "/charts", address=here))
    wait_for(lambda: events(api, admin, user=name, event_type="AUTHORISATION_DENIED"), "the refusal is told", 10)
    [event] = events(api, admin, user=name, event_type="AUTHORISATION_DENIED")
    assert (event["action"], event["resource"], event["role"]) == ("keys.manage", "0123456789abcdef", "viewer")
    assert (event["reason"], event["source_address"]) == ("no grant allows it", here)
    found = wait_for(
        lambda: [one for one in events(api, admin, user="anonymous") if one["source_address"] == here], "told too", 10
    )
    assert found[0]["reason"] == "nothing shown"


def test_what_cannot_be_recorded_is_not_done(api: Api, admin: str) -> None:
    done: list[int] = []
    app = build_api(NothingRuns(), api.access)

    @app.post("/made-up", dependencies=[needs("limits", "write")])
    async def change() -> None:
        done.append(1)

    guard = api.access.guard
    limits = Limits(delivery_deadline_s=1.0, backpressure_wait_s=0.1)
    cut_off = Publisher("127.0.0.1:1", Registry(api.access.settings.cluster.registry_url), limits=limits)
    trail, guard.audit = guard.audit, AuditTrail(cut_off)
    try:
        assert api.ask("POST", "/made-up", admin, app=app).json()["part"] == "audit"
        assert done == []
        with pytest.raises(Unavailable, match="audit"):
            api.runner.run(guard.audit.changed(Caller("ann", "admin"), "limits.approve", "series", None, {}))
        assert api.ask("GET", "/session", admin, app=app).status_code == 200, "reading needs no record"
    finally:
        guard.audit.close()
        guard.audit = trail
        cut_off.close()
    assert api.ask("POST", "/made-up", admin, app=app).status_code == 200
    assert done == [1]


def test_refusals_that_cannot_be_told_are_counted(api: Api, caplog: pytest.LogCaptureFixture) -> None:
    publisher = Publisher(api.access.settings.cluster.bootstrap_servers, Registry("http://127.0.0.1:9"))
    trail = AuditTrail(publisher)
    trail._tell(Told(Refusal("eve", "x", action="keys.read"), 7, summary=True))
    trail.close()
    publisher.close()
    assert trail.untold == 7
    assert "7 refusals are not in the audit trail" in caplog.text


def test_refusals_that_are_not_delivered_are_counted(api: Api) -> None:
    limits = Limits(delivery_deadline_s=0.2, backpressure_wait_s=0.1, linger_ms=0)
    cut_off = Publisher("127.0.0.1:1", Registry(api.access.settings.cluster.registry_url), limits=limits)
    trail = AuditTrail(cut_off)
    trail.refused(Refusal("eve", "no grant allows it", action="keys.read", resource="any"))
    wait_for(lambda: trail.untold == 1, "the delivery has failed", 20)
    trail, api.access.audit = api.access.audit, trail
    assert api.access.how().endswith("; 1 refusals are not in the audit trail")
    trail, api.access.audit = api.access.audit, trail
    trail.close()
    cut_off.close()


def test_states_are_text_of_bounded_length() -> None:
    assert state_json(None) is None
    assert state_json({"b": 1, "a": "é"}) == '{"a": "\\u00e9", "b": 1}'
    assert len(state_json("x" * 1_000_000) or "") < 21_000


def test_the_trail_is_paged_without_gap_or_double(api: Api, admin: str) -> None:
    key = api.key("viewer")
    for _ in range(12):
        assert sign_in(api, key)[0].status_code == 200
    seen: list[tuple[int, int]] = []
    cursor = None
    for _ in range(200):
        said = api.ask("GET", "/audit", admin, params={"limit": 7, **({"cursor": cursor} if cursor else {})}).json()
        seen += [(event["partition"], event["offset"]) for event in said["items"]]
        if (cursor := said["next"]) is None:
            break
    assert len(seen) == len(set(seen)) > 10
    for partition in {p for p, _ in seen}:
        offsets = [offset for p, offset in seen if p == partition]
        assert offsets == sorted(offsets, reverse=True)
    for bad in ("!", "[]", '{"x": 1}', '{"0": null}'):
        denied(api.ask("GET", "/audit", admin, params={"cursor": bad}), 422)


def test_a_record_that_is_no_event_hides_no_other(api: Api, admin: str) -> None:
    producer = Producer({"bootstrap.servers": api.access.settings.cluster.bootstrap_servers})
    producer.produce(USER, b"not Avro", b"bad")
    assert producer.flush(20) == 0
    assert events(api, admin, event_type="UNREADABLE")
    assert events(api, admin, event_type="AUDIT_RECORDED")


def test_a_page_goes_no_further_than_what_was_read() -> None:
    rows = [Row(at, p, offset, {"n": at}) for at, p, offset in [(10, 0, 5), (9, 0, 4), (8, 1, 7), (3, 1, 6)]]
    page = page_of(rows, lambda _: True, 10, {0: 0, 1: 0}, {0: 4, 1: 0}, {0: 6, 1: 8})
    assert [item["n"] for item in page.items] == [10, 9], "partition 0 may hold newer ones than 8"
    assert page.before == {0: 4, 1: 8}
    whole = page_of(rows, lambda event: event["n"] > 3, 10, {0: 4, 1: 6}, {0: 4, 1: 6}, {0: 6, 1: 8})
    assert ([item["n"] for item in whole.items], whole.before) == ([10, 9, 8], None)
    one = page_of(rows, lambda _: True, 1, {0: 4, 1: 6}, {0: 4, 1: 6}, {0: 6, 1: 8})
    assert one.before == {0: 5, 1: 8}
    assert page_of([], lambda _: True, 1, {}, {}, {}).before is None


def test_the_need_of_a_name_is_in_the_record(api: Api, admin: str) -> None:
    user, unique = f"ann-{time.time_ns()}", f"series-{time.time_ns()}"
    caller = Caller(user, "operator", "OIDC", address="192.0.2.9")

    async def both() -> None:
        await asyncio.gather(
            api.access.audit.granted(caller, Need("limits", "write"), unique, "POST /limits"),
            api.access.audit.changed(caller, "limits.approve", unique + "\ud800", {"v": 1}, {"v": 2}),
        )

    api.runner.run(both())
    found = events(api, admin, user=user)
    assert all(event["resource"].startswith(unique) for event in found)
    assert {event["action"] for event in found} == {"limits.write", "limits.approve"}
    assert {event["source_address"] for event in found} == {"192.0.2.9"}
