"""The quality routes on the real broker: alerts and their lives, limits, capability, publishing, wafer maps, contributions."""

from __future__ import annotations

import json
import uuid
from dataclasses import replace
from typing import Any
from urllib.parse import quote

import numpy as np
import pytest

from actors.alert_desk import Wanted, alert_desk
from actors.producers import events as event_module
from actors.vector_records import NoVectorError, VectorRecords
from actors.view.alert_book import PARETO_BY
from actors.view.inspections import DEFECTS_BY
from cluster.api.app import build_api
from cluster.api.once import OTHER
from cluster.api.quality import Quality, QualitySettings
from cluster.api.routes.alerts import ParetoBy
from cluster.api.routes.publishing import BODY_BYTES_MAX
from models.alert_life import About, Action, Kind
from models.detector import identity
from models.pca import PcaChart, t2_and_q
from schemas.batch import series_key
from schemas.charts import DetectorColumns, RuleMeta
from tests.actors.publisher_support import nobody
from tests.actors.view_support import block
from tests.cluster.quality_line import CHART, NAMES, Here, QualityLine, Recorded
from tests.integration.line import series_of

pytestmark = pytest.mark.kafka

S0 = series_of("s0")
RUN = uuid.uuid4().hex[:8]  # of names in topics that all tests share


@pytest.fixture
def line(quality: QualityLine) -> QualityLine:
    return quality


@pytest.fixture
def chart(quality: QualityLine) -> PcaChart:
    return CHART


def path_of(alert: dict[str, Any]) -> str:
    return f"/alerts/{alert['alert_id']}"


# ---- alerts


def test_an_alert_from_the_signal_to_its_end(line: QualityLine) -> None:
    alert = line.alert()
    assert (alert["series"], alert["state"], alert["life"]["status"], alert["life"]["version"]) == (
        S0,
        alert["state"],
        "open",
        0,
    )
    path, actions = path_of(alert), f"{path_of(alert)}/actions"
    assert line.ask("GET", path).headers["etag"] == '"0"'
    assert "If-Match" in line.post(actions, {"action": "acknowledge"}, 428)["detail"]
    answer = line.ask("POST", actions, json={"action": "acknowledge"}, headers={"If-Match": '"0"'})
    assert (answer.status_code, answer.headers["etag"]) == (200, '"1"')
    assert (answer.json()["life"]["status"], answer.json()["life"]["assigned"]) == ("acknowledged", "ada")
    stale = line.post(actions, {"action": "acknowledge"}, 412, "bo operator", If_Match='"0"')
    assert (stale["version"], stale["life"]["assigned"]) == (1, "ada")
    others = line.post(actions, {"action": "assign_cause", "cause": "x"}, 403, "bo operator", If_Match='"1"')
    assert (others["detail"], others["ground"]) == (
        "ada has this alert: acknowledge it to take it over, or comment",
        "person",
    )
    assert line.audit.refusals[-1][3:5] == ("alerts.assign_cause", alert["alert_id"])
    line.post(actions, {"action": "comment", "text": "pump was changed"}, 200, "bo operator")
    assert line.post(actions, {"action": "close"}, 409, If_Match="*")["detail"].startswith(
        "no assignable cause is named"
    )
    for body in (
        {"action": "assign_cause", "cause": "worn focus ring"},
        {"action": "ocap_step", "kind": "terminator", "text": "change the ring"},
        {"action": "ocap_step", "step": 1, "text": "changed"},
        {"action": "close"},
    ):
        line.post(actions, body, 200, If_Match="*")
    life = line.get(path)["life"]
    assert (life["status"], life["cause"], life["steps"][0]["done"]) == ("closed", "worn focus ring", True)
    assert [(one["action"], one["by"]) for one in life["history"][:2]] == [("acknowledge", "ada"), ("comment", "bo")]
    recorded = [
        (who, action) for who, action, resource, _, _ in line.audit.told if resource == f"alert {alert['alert_id']}"
    ]
    assert recorded[:2] == [("ada", "alerts.acknowledge"), ("bo", "alerts.comment")]
    assert len(recorded) == life["version"] == 6
    listed = line.get("/alerts", status="closed")["items"]
    assert [one["alert_id"] for one in listed] == [alert["alert_id"]]
    assert alert["alert_id"] not in [one["alert_id"] for one in line.get("/alerts", status="open")["items"]]


def test_the_same_key_is_the_same_action(line: QualityLine) -> None:
    actions = f"{path_of(line.alert(1))}/actions"
    body = {"action": "comment", "text": "once"}
    first = line.post(actions, body, 200, Idempotency_Key="k1")
    again = line.post(actions, body, 200, Idempotency_Key="k1")
    assert first["life"]["version"] == again["life"]["version"]
    other = line.post(actions, body | {"text": "twice"}, 422, Idempotency_Key="k1")
    assert other["detail"].startswith("this key was used for another action")
    assert line.post(actions, body, 200, Idempotency_Key="k2")["life"]["version"] == first["life"]["version"] + 1


def test_a_life_is_in_the_next_frame(line: QualityLine) -> None:
    alert = line.alert(1)
    frame = line.run(line.view.changes(None, None, 0.1))
    line.post(f"{path_of(alert)}/actions", {"action": "comment", "text": "look"}, 200)
    said = line.run(line.view.changes(frame["vector"], None, 5.0))
    assert [one["life"]["history"][-1]["text"] for one in said["alerts"]] == ["look"]


def test_an_alert_that_the_view_has_forgotten_still_has_its_life(line: QualityLine) -> None:
    desk = alert_desk(line.line.cluster, f"{line.line.name}.actions")
    about = About("quality", "t", 0, "s", "d", "r", "CRITICAL", 1, 5)
    desk.act(Wanted("ghost", about, Action(Kind.ACKNOWLEDGE, "ada", 9, "x")))
    desk.close()
    found = line.get("/alerts/ghost")
    assert (found["series"], found["state"], found["life"]["assigned"]) == ("s", None, "ada")
    told = line.post("/alerts/ghost/actions", {"action": "comment", "text": "t"}, 200)
    assert (told["life"]["version"], told["raised_ms"]) == (2, 5)
    assert line.get("/alerts/nobody", 404)["detail"].startswith("no alert 'nobody' is held")


@pytest.mark.parametrize(
    ("path", "body", "status", "words"),
    [
        ("/alerts/nobody/actions", {"action": "comment", "text": "t"}, 404, "no alert 'nobody' is held"),
        ("/alerts/x/actions", {"action": "escalated"}, 422, "action"),
        ("/alerts/x/actions", {"action": "comment", "more": 1}, 422, "more"),
        ("/limits/proposals", {"series": S0, "reason": "r", "rows": 2, "from": 3}, 422, "rows and from exclude each other"),
        ("/limits/proposals", {"series": S0, "reason": "r", "from": "noon"}, 422, "from: no time as ISO 8601"),
        ("/limits/proposals", {"series": S0, "reason": "r", "given": {"sigma": -1}}, 422, "sigma = -1.0 is below 0"),
        ("/limits/proposals", {"series": "no", "reason": "r"}, 422, "no row of series no was found"),
        ("/limits/none/approve", {}, 404, "no such change"),
        ("/limits/none/approve", {"effective_from": "0"}, 422, "effective_from"),
        ("/exclusions", {"series": S0, "offset": 999, "comment": "c"}, 409, "nothing is there"),
        ("/series/no/reset", {"reason": "r"}, 422, "no row of series no"),
        ("/events/measurement", {}, 422, 'an object with "event", or with "events", is wanted'),
        ("/events/measurement", {"events": []}, 422, "events: 1 to 500"),
        ("/events/nonsense", {"events": []}, 404, "there is no category nonsense: it is one of measurement, "),
    ],
)  # fmt: skip
def test_what_is_wrong_is_said(line: QualityLine, path: str, body: Any, status: int, words: str) -> None:
    assert words in line.post(path, body, status, If_Match='"0"')["detail"]


def test_tags_that_are_none(line: QualityLine) -> None:
    actions = f"{path_of(line.alert(1))}/actions"
    assert line.post(actions, {"action": "acknowledge"}, 422, If_Match="3")["detail"].startswith("If-Match")
    assert line.post(actions, {"action": "acknowledge"}, 412, If_Match='"three"')["detail"].startswith(
        "If-Match names no version"
    )


def test_pareto(line: QualityLine) -> None:
    assert set(ParetoBy.__args__) == {*PARETO_BY, *DEFECTS_BY}
    table = line.get("/pareto", by="characteristic", window_s=86_400)
    assert (table["counts"], table["items"][0]["name"], table["total"] >= 2) == ("alerts", "s0", True)
    assert line.get("/pareto", by="defect_type", tool="E1", expect=422)["detail"].startswith(
        "by=defect_type counts defects"
    )


# ---- limits


def test_two_people_change_limits(line: QualityLine) -> None:
    new = line.post(
        "/limits/proposals", {"series": S0, "reason": "new resist", "given": {"usl": 12}, "study": True}, 201
    )
    assert (new["state"], new["rows"], [point["offset"] for point in new["removed"]]) == ("PROPOSED", 40, [20, 30])
    approve = f"/limits/{new['change_id']}/approve"
    assert line.post(approve, {}, 403)["detail"] == f"change {new['change_id']} is your own: somebody else approves it"
    assert line.audit.refusals[-1][:5] == ("ada", "it is his own proposal", "", "limits.approve", new["change_id"])
    answer = line.ask("GET", f"/limits/{new['change_id']}")
    line.post(approve, {}, 412, "bo operator", If_Match='"0"')
    assert line.post(approve, {"series": series_of("s1")}, 404, "bo operator")["detail"].startswith("no such change of")
    done = line.ask("POST", approve, "bo operator", json={"series": S0}, headers={"If-Match": answer.headers["etag"]})
    assert (done.status_code, done.headers["location"]) == (202, f"/limits/{new['change_id']}")
    made = line.wait(lambda: line.get(f"/limits/{new['change_id']}")["made"], "made")
    assert made == [{"partition": 1, "offset": 40}]
    assert "already applied, by bo" in line.post(approve, {}, 409, "eve operator")["detail"]
    listed = line.ask("GET", "/limits", params={"series": S0, "kind": "LIMITS"})
    [item] = listed.json()["items"]
    assert (item["author"], item["approver"], item["limits_version"], item["usl"], item["made"]) == (
        "ada",
        "bo",
        1,
        12.0,
        made,
    )
    again = line.ask(
        "GET", "/limits", params={"series": S0, "kind": "LIMITS"}, headers={"If-None-Match": listed.headers["etag"]}
    )
    assert (again.status_code, again.content) == (304, b"")
    assert [(who, action) for who, action, *_ in line.audit.told if action.startswith("limits.")] == [
        ("ada", "limits.propose"),
        ("bo", "limits.approve"),
    ]
    own = line.post("/limits/proposals", {"series": S0, "reason": "r", "given": {"usl": 13}}, 201, "root admin")
    later = {"effective_from": "2099-01-01T00:00:00Z"}
    waits = line.post(f"/limits/{own['change_id']}/approve", later, 202, "root admin")
    assert (waits["made"], waits["not_made"]) == ([], [1])
    assert line.get("/limits/none", 404)["detail"].startswith("no change 'none'")
    first = line.get("/limits", series=S0, limit=1)
    second = line.get("/limits", series=S0, limit=1, cursor=first["next"])
    assert first["items"][0]["change_id"] == own["change_id"] != second["items"][0]["change_id"]
    assert line.get("/limits", cursor="?", expect=422)["detail"].startswith("cursor")


def test_exclude_include_reset(line: QualityLine) -> None:
    out = line.post("/exclusions", {"series": S0, "offset": 20, "comment": "probe slipped"}, 202)
    assert (out["kind"], out["made"] or out["not_made"]) in (("EXCLUDE", out["made"]), ("EXCLUDE", [1]))
    assert (
        "already excluded, by ada"
        in line.post("/exclusions", {"series": S0, "offset": 20, "comment": "c"}, 409)["detail"]
    )
    [item] = line.get("/exclusions", series=S0)["items"]
    assert (item["partition"], item["offset"], item["comment"], item["by"]) == (1, 20, "probe slipped", "ada")
    report = line.get(f"/capability/{quote(S0, safe='')}", rows=40)
    assert (report["excluded"], report["n"], report["source"], report["limits"]["usl"]) == (1, 39, "topic", 13.0)
    back = line.ask("DELETE", f"/exclusions/{quote(S0, safe='')}/1/20", params={"comment": "it was real"})
    assert back.status_code == 202, back.text
    assert line.get("/exclusions", series=S0)["items"] == []
    again = line.ask("DELETE", f"/exclusions/{quote(S0, safe='')}/1/20", params={"comment": "c"})
    assert (again.status_code, again.json()["detail"]) == (409, f"offset 20 of {S0} is not excluded")
    reset = line.post(f"/series/{quote(S0, safe='')}/reset", {"reason": "pump replaced"}, 202)
    assert reset["kind"] == "RESET"
    assert [action for _, action, resource, *_ in line.audit.told if resource == f"series {S0}"][-3:] == [
        "exclusions.add", "exclusions.remove", "series.reset",
    ]  # fmt: skip


def test_the_same_key_makes_one_change(line: QualityLine) -> None:
    series, key = quote(S0, safe=""), uuid.uuid4().hex
    told = len(line.audit.told)
    asked = (
        ("/limits/proposals", {"series": S0, "reason": "once", "given": {"usl": 14}}, 201),
        ("/exclusions", {"series": S0, "offset": 30, "comment": "once"}, 202),
        (f"/series/{series}/reset", {"reason": "once"}, 202),
    )
    for number, (path, body, status) in enumerate(asked):
        first, again = (line.post(path, body, status, Idempotency_Key=f"{key}{number}") for _ in range(2))
        assert (again["change_id"], first["repeated"], again["repeated"]) == (first["change_id"], False, True)
        other = body | {"comment" if "comment" in body else "reason": "other"}
        assert line.post(path, other, 422, Idempotency_Key=f"{key}{number}")["detail"] == OTHER
        bos = line.ask("POST", path, "bo operator", json=body, headers={"Idempotency-Key": f"{key}{number}"})
        assert bos.status_code == 409 if path == "/exclusions" else bos.json()["change_id"] != first["change_id"]
    assert first["made"] == again["made"] or first["not_made"]
    taken = [
        line.ask("DELETE", f"/exclusions/{series}/1/30", params={"comment": "real"}, headers={"Idempotency-Key": key})
        for _ in range(2)
    ]
    assert [one.status_code for one in taken] == [202, 202]
    assert [one.json()["repeated"] for one in taken] == [False, True]
    mine = [action for who, action, *_ in line.audit.told[told:] if who == "ada"]
    assert mine == ["limits.propose", "exclusions.add", "series.reset", "exclusions.remove"]


# ---- capability


def test_capability_from_the_view_and_as_csv(line: QualityLine) -> None:
    path = f"/capability/{quote(series_of('s1'), safe='')}"
    report = line.get(path)
    assert (report["source"], report["n"], report["mean"], report["limits"]) == (
        "view", 12, 5.5, {"lsl": 0.0, "usl": 20.0, "target": 10.0},
    )  # fmt: skip
    index = report["indices"]["Ppk"]
    assert index["low"] < index["value"] < index["high"]
    assert report["indices"]["Cp"]["value"] == pytest.approx(20 / (6 * report["sigma_within"]))
    given = line.get(path, lsl=4, usl=7, method="percentile", **{"from": 0, "to": 9})
    assert (given["n"], given["method"], given["limits"]["usl"], given["first_offset"]) == (10, "percentile", 7.0, 0)
    table = line.ask("GET", path, params={"format": "csv"})
    assert table.headers["content-type"] == "text/csv; charset=utf-8"
    rows = dict(one.split(",", 1) for one in table.text.splitlines() if one.startswith(("n,", "Cpk,")))
    assert rows["n"] == "12,,"
    assert line.get("/capability/nobody", 404)["detail"].startswith("no points of the series 'nobody'")
    assert line.get("/capability/nobody", 404, rows=5)["detail"].startswith("no row of series nobody")
    assert "lsl below usl" in line.get(path, 422, lsl=7, usl=4)["detail"]
    assert line.get(path, 422, rows=5, **{"from": 1})["detail"] == "rows and from exclude each other"
    assert line.get(path, 422, to="noon")["detail"].startswith("to: no time")


# ---- publishing

INSPECTION = {
    "event_type": "DEFECT_DETECTED", "inspection_id": f"I-{RUN}", "batch_id": "B-7", "chip_id": "C-42",
    "inspection_type": "AOI", "status": "IN_PROGRESS", "metadata": {"lot": f"L-{RUN}", "wafer": "W-3"},
    "defects": [
        {"defect_type": "SCRATCH", "severity": "MAJOR", "confidence": 0.9, "location": "x=12.5 y=3.1"},
        {"defect_type": "PARTICLE", "severity": "MINOR", "confidence": 1, "location": "near the notch"},
    ],
}  # fmt: skip
EVENTS = {
    "measurement": {"equipment": "E1", "characteristic": f"c{RUN}", "value": 1},
    "manufacturing": {"event_type": "LOT_STARTED", "lot_id": f"L-{RUN}"},
    "inspection": INSPECTION,
    "quality": {"event_type": "LOT_HELD", "subject": "L", "lot_id": "L", "reason": "r", "severity": "CRITICAL"},
    "user": {"event_type": "USER_LOGGED_IN", "user_id": "u", "method": "OIDC"},
    "system": {"event_type": "SERVICE_HEALTH", "service": "s", "status": "UP"},
    "ml": {"event_type": "MODEL_DEPLOYED", "model": "m", "model_version": "1", "environment": "shadow"},
}


@pytest.mark.parametrize("category", EVENTS)
def test_events_of_every_category(line: QualityLine, category: str) -> None:
    first = line.post(f"/events/{category}", {"event": EVENTS[category]}, 202)
    assert (first["topic"].startswith("fab."), first["offset"] >= 0, first["repeated"]) == (True, True, False)


def test_events_of_no_category(line: QualityLine) -> None:
    told = line.post("/events/health", {"event": EVENTS["user"]}, 404)
    assert told["detail"].startswith("there is no category health: it is one of measurement, ")


def test_many_events_and_the_same_again(line: QualityLine) -> None:
    single = {"equipment": "E1", "characteristic": f"m{RUN}"}
    events = [
        single | {"event_id": f"e1-{RUN}", "value": 1.5},
        single | {"event_id": f"e2-{RUN}", "values": [1.0, None], "period_us": 10},
        {"event_id": f"e3-{RUN}", "equipment": "E1", "vector": f"v{RUN}", "characteristics": ["a"], "values": [None]},
        single | {"event_id": f"e1-{RUN}", "value": 1.5},
    ]
    items = line.post("/events/measurement", {"events": events}, 202)["items"]
    assert [item["topic"] for item in items] == ["fab.measurements"] * 2 + ["fab.vectors", "fab.measurements"]
    assert [item["repeated"] for item in items] == [False, False, False, True]
    assert (items[3]["offset"], items[0]["partition"]) == (items[0]["offset"], items[1]["partition"])
    told = len(line.audit.told)
    again = line.post("/events/measurement", {"event": events[0]}, 202)
    assert (again["repeated"], again["offset"], len(line.audit.told)) == (True, items[0]["offset"], told)
    other = line.post("/events/measurement", {"event": events[0] | {"value": 2}}, 422)
    assert other["errors"] == [
        {"event": 0, "field": "event_id", "detail": "an event of this id and with other content was published before"}
    ]


@pytest.mark.parametrize(
    ("category", "change", "field", "words"),
    [
        ("measurement", {"value": "1"}, "value", "expected null or double"),
        ("measurement", {"values": [], "period_us": 1, "value": None}, "value", "no such field"),
        ("measurement", {"equipment": "E" * 257}, "equipment", "longer than 256 bytes"),
        ("measurement", {"vector": "v"}, "characteristics", "missing"),
        ("inspection", {"defects": [INSPECTION["defects"][0] | {"confidence": 97}]}, "defects[0].confidence", "not from 0 to 1"),
        ("inspection", {"inspection_id": ""}, "inspection_id", "is the key of fab.inspection"),
        ("inspection", {"event_type": "UNKNOWN"}, "event_type", "UNKNOWN is never written"),
        ("inspection", {"event_id": ""}, "event_id", "1 to 256 characters"),
        ("user", {"event_type": "AUDIT_RECORDED"}, "event_type", "written by this API itself"),
        ("system", {"extra": 1}, "extra", "no such field"),
        ("ml", {"confidence": 2.0}, "confidence", "not from 0 to 1"),
    ],
)  # fmt: skip
def test_one_wrong_event_stops_all(
    line: QualityLine, category: str, change: dict[str, Any], field: str, words: str
) -> None:
    good = EVENTS[category]
    told = line.post(f"/events/{category}", {"events": [good, good | change]}, 422)
    assert told["detail"].startswith("nothing was published: event 1: ")
    [error] = told["errors"]
    assert (error["event"], error["field"]) == (1, field)
    assert words in error["detail"]


@pytest.mark.parametrize(
    ("body", "status", "words"),
    [
        (b"{", 422, "the body is not JSON"),
        (b'{"event": {"value": 1e999}}', 422, "not a finite number"),
        (b'{"event": {"value": NaN}}', 422, "not a finite number"),
        (b'{"event": 1' + b"0" * 5_000 + b"}", 422, "the body is not JSON"),
        (b'{"event": ' + b"[" * 200_000 + b"]" * 200_000 + b"}", 422, "nested too deeply"),
        (b'{"event": {"equipment": "E", "characteristic": "c", "value": 1, "\\ud800": 1}}', 422, "?: no such field"),
        (b'{"event": {"equipment": "\\ud800", "characteristic": "c", "value": 1}}', 422, "expected valid Unicode"),
        (b'{"event": 3}', 422, "an event is an object with fields, not int"),
        (b"\xff", 422, "the body is not JSON"),
        (b" " * (BODY_BYTES_MAX + 1), 413, "the body is longer than"),
    ],
)
def test_bodies_that_are_none(line: QualityLine, body: bytes, status: int, words: str) -> None:
    answer = line.ask("POST", "/events/measurement", content=body)
    assert answer.status_code == status, answer.text
    assert words in answer.json()["detail"]


def test_what_is_not_acknowledged_is_503_and_says_which(line: QualityLine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(event_module, "DELIVERY_S", 0.3)
    with nobody() as address:
        cluster = replace(line.line.cluster, bootstrap_servers=address)
        desks = Quality(cluster, QualitySettings(line.line.name))
        other = QualityLine(
            line.line, line.sources, line.view, build_api(Here(line.line, line.view), desks=desks), Recorded()
        )
        other.app.state.audit = other.audit
        told = other.post("/events/system", {"event": EVENTS["system"] | {"event_id": "e1"}}, 503)
        assert (told["part"], told["items"][0]["event_id"], "error" in told["items"][0]) == ("kafka", "e1", True)
        assert other.audit.told[0][4]["failed"] == 1
        desks.close()
        other.close()
    bare = QualityLine(line.line, line.sources, line.view, build_api(Here(line.line, line.view)), Recorded())
    assert bare.get("/limits", 503)["part"] == "quality"
    bare.close()


def test_an_event_too_large_for_a_record(line: QualityLine) -> None:
    large = EVENTS["system"] | {"message": "x" * 950_000}
    assert "at most 900000" in line.post("/events/system", {"event": large}, 422)["errors"][0]["detail"]


# ---- wafer maps


def test_wafer_maps(line: QualityLine) -> None:
    line.post("/events/inspection", {"event": INSPECTION}, 202)
    path = f"/wafer-maps/I-{RUN}"
    line.wait(lambda: line.ask("GET", path).status_code == 200, "the view has read the inspection")
    found = line.get(path)
    assert [(one["defect_type"], one["x"], one["y"]) for one in found["defects"]] == [
        ("SCRATCH", 12.5, 3.1),
        ("PARTICLE", None, None),
    ]
    assert line.get(f"/wafer-maps/L-{RUN}/W-3")["without_place"] == 1
    assert f"I-{RUN}" in [one["inspection_id"] for one in line.get("/wafer-maps")["items"]]
    assert line.get("/wafer-maps/nobody", 404)["detail"].startswith("no inspection 'nobody'")
    assert line.get("/wafer-maps/no/body", 404)["detail"].startswith("no inspection of wafer 'body'")
    assert line.get("/pareto", by="defect_type")["counts"] == "defects"
    parted = INSPECTION | {"inspection_id": f"I/{RUN}/1", "metadata": {"lot": f"L/{RUN}", "wafer": "W/3"}}
    line.post("/events/inspection", {"event": parted}, 202)
    line.wait(lambda: line.ask("GET", f"/wafer-maps/I%2F{RUN}%2F1").status_code == 200, "the view has read it")
    for path in (f"I%2F{RUN}%2F1", f"L%2F{RUN}/W%2F3"):
        found = line.get(f"/wafer-maps/{path}")
        assert (found["lot"], found["wafer"], len(found["defects"])) == (f"L/{RUN}", "W/3", 2), path
    assert line.get("/wafer-maps/a/b/c/d", 404)


# ---- contributions


def judged(chart: PcaChart, series: str, partition: int, offset: int, pipeline: str, who: str = "") -> Any:
    """A block of charts with one point of a chart of vectors."""
    numbers = np.array([[5.0, 9.0]])
    said = DetectorColumns(
        detector=who or identity(chart), statistics=("T2", "Q"), rules=(RuleMeta("q", "", "critical", 1),), statistic=numbers,
        centre=numbers, lcl=np.zeros((1, 2)), ucl=np.array([[8.5, 3.5]]), signal=np.array([1], np.uint32), valid=np.array([True]),
    )  # fmt: skip
    made = block([series], [1.0], offset, partition=partition, pipeline=pipeline)
    return replace(made, family="multivariate", detectors={chart.name: said})


def test_contributions_are_the_models_own(line: QualityLine, chart: PcaChart) -> None:
    vector = f"trace{RUN}"
    event = {"equipment": "E9", "vector": vector, "characteristics": list(NAMES), "values": [1.0, -3.0, None]}
    at = line.post("/events/measurement", {"event": event}, 202)
    series = series_key("E9", "", "", "", vector)
    path = f"/charts/{quote(series, safe='')}/contributions"
    assert line.get(path, 404, offset=at["offset"])["detail"].startswith("no points of the series")
    made = judged(chart, series, at["partition"], at["offset"], line.line.name)
    with line.view._lock:
        line.view._board.add_block(made, at["partition"], 10**9, 0, live=False)
    found = line.get(path, offset=at["offset"], limit=2)
    [told] = found["detectors"]
    whole = dict(zip(("T2", "Q"), t2_and_q(chart.model, [1.0, -3.0, np.nan]), strict=True))
    assert {one["name"]: pytest.approx(one["value"]) for one in told["statistics"]} == whole
    assert {one["name"]: one["ucl"] for one in told["statistics"]} == {"T2": 8.5, "Q": 3.5}
    largest = told["statistics"][1]["contributions"]
    assert (largest[0]["name"], largest[0]["value"], len(largest), found["missing"]) == ("power", -3.0, 2, 1)
    gone = line.get(path, 404, offset=10**12)["detail"]
    assert "is not retained any more, or never was" in gone
    single = line.get(f"/charts/{quote(S0, safe='')}/contributions", 404, offset=1)["detail"]
    assert single.endswith("a single value has no parts")
    with line.view._lock:
        other = judged(chart, series, at["partition"], at["offset"] + 1, line.line.name, f"{chart.name}@1-other")
        line.view._board.add_block(other, at["partition"], 10**9 + 1, 0, live=False)
    assert "judged by another model" in line.get(path, 404, offset=at["offset"])["detail"]


def test_records_that_are_no_vectors(line: QualityLine) -> None:
    records = VectorRecords(line.line.cluster, line.line.input)
    with pytest.raises(NoVectorError, match=r"in:1:0 is no vector"):
        records.at(1, 0)
    line.line.write(0, [b"no Avro"])
    with pytest.raises(NoVectorError, match="cannot be read: not_avro"):
        records.at(0, 12)


def test_the_openapi_document_can_be_made(line: QualityLine) -> None:
    paths = json.loads(json.dumps(line.app.openapi()))["paths"]
    assert "/events/{category}" in paths
    assert {"/alerts/{alert_id}/actions", "/limits/{change_id}/approve", "/wafer-maps/{lot}/{wafer}"} <= set(paths)
