"""Topics, consumers, schemas and figures of the API, on the real broker and registry, without Ray."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import pytest
from confluent_kafka import Producer

from actors.kafka.rest import look
from actors.lag_status import SAMPLES
from cluster.schemas_told import SCHEMA_CHARS_MAX
from schemas.registry import Registry
from schemas.topics import TOPICS
from tests.actors.view_support import block
from tests.cluster.monitored import Monitored
from tests.fixtures_stack import prepared

if TYPE_CHECKING:
    from cluster.local import Endpoints

pytestmark = pytest.mark.kafka

STEP_MS = 5_000
OWNER = {
    "slot": 1, "incarnation": 2, "pid": 4711, "node": "n0de", "state": "live", "step_ms": 3.0, "commit_ms": 5.0,
    "replay_worst_s": 0.5, "quarantined": {1: "torn"},
    "partitions": {0: {"next_offset": 9, "disabled": ["spc.x@1-a"], "quarantined": None}, 1: {"quarantined": "torn"}},
}  # fmt: skip
STATUS = {"pipeline": "", "deal": 4, "slots": 1, "trouble": "", "owners": [OWNER]}


@pytest.fixture(scope="module")
def api(stack: Endpoints) -> Monitored:
    prepared(stack)
    return Monitored(stack)


@pytest.fixture(autouse=True)
def _fresh(api: Monitored, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Every question is asked anew, and the supervisor is away unless a test says otherwise."""
    for kept in (api.facts._topics, api.facts._groups, api.facts._subjects, api.facts._settings):
        kept.keep_s = -1.0
    api.facts.status, api.facts.others = None, {}
    yield
    api.audit.changes.clear()


def problem(answer: Any, status: int) -> Any:
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    return answer.json()


@pytest.fixture
def began_ms() -> int:
    """When a window began that ends now."""
    return int(time.time() * 1000) - STEP_MS * (SAMPLES - 1)


def watch(api: Monitored, began_ms: int, samples: int = SAMPLES, first: int = 0) -> None:
    """Take samples, STEP_MS apart."""
    for i in range(first, first + samples):
        api.facts.lags.take(began_ms + i * STEP_MS)


# ---- topics


def test_topics_are_all_that_kafka_has_ours_first(api: Monitored) -> None:
    name = api.topic("plain", 2, retention_ms="60000")
    api.publish(name, [3, 4])
    api.commit(f"{api.mark}-any", name, [0])  # or Kafka has no topic of its own yet
    said = api.get("/events/topics")
    names = [topic["name"] for topic in said["items"]]
    assert names[: len(TOPICS)] == list(TOPICS)
    assert (said["total"], said["next"]) == (len(names), None)
    assert not [each for each in names if each.startswith("__")]
    items = {topic["name"]: topic for topic in said["items"]}
    plain, ours = items[name], items["quality.state"]
    assert plain | {"partitions": []} == {
        "name": name, "doc": None, "key": None, "writers": None, "readers": None, "exists": True, "internal": False,
        "ours": False, "partitions": [], "records": 7, "size_bytes": None, "retention_ms": 60_000, "cleanup": "delete",
        "under_replicated": 0, "without_leader": 0,
    }  # fmt: skip
    assert plain["partitions"][1] == {
        "partition": 1, "leader": 1, "replicas": [1], "isr": [1], "low": 0, "high": 4, "size_bytes": None,
    }  # fmt: skip
    assert (ours["ours"], ours["exists"], ours["cleanup"], bool(ours["doc"])) == (True, True, "compact", True)
    internal = {topic["name"]: topic for topic in api.get("/events/topics", internal=True)["items"]}
    assert internal["__consumer_offsets"]["internal"]
    assert "fab.measurements" in internal


def test_topics_are_paged(api: Monitored) -> None:
    seen: list[str] = []
    cursor = None
    while True:
        said = api.get("/events/topics", limit=7, **({"cursor": cursor} if cursor else {}))
        seen += [topic["name"] for topic in said["items"]]
        cursor = said["next"]
        if cursor is None:
            break
    assert seen == [topic["name"] for topic in api.get("/events/topics")["items"]]
    for cursor in ("?", "bnVsbA", "WzEsIDJd", "W1tdXQ"):
        assert "cursor" in problem(api.ask("GET", "/events/topics", params={"cursor": cursor}), 422)["detail"]


def test_a_topic_has_settings_with_their_defaults_and_a_rate(api: Monitored, began_ms: int) -> None:
    name = api.topic("rated", 2, retention_ms="60000", cleanup_policy="compact,delete")
    watch(api, began_ms, 2)
    api.publish(name, [100, 0])
    watch(api, began_ms, SAMPLES - 2, first=2)
    said = api.get(f"/events/topics/{name}")
    assert said["configs"]["retention.ms"] == {"value": "60000", "default": str(7 * 24 * 3600 * 1000)}
    assert said["configs"]["cleanup.policy"] == {"value": "compact,delete", "default": "delete"}
    assert said["configs"]["segment.ms"]["value"] == said["configs"]["segment.ms"]["default"]
    assert said["rates"]["window_s"] == pytest.approx(45, abs=1)
    assert said["rates"]["in_per_s"] == pytest.approx(100 / 45, abs=0.1)
    assert "GET /events/topics" in problem(api.ask("GET", "/events/topics/no-such"), 404)["detail"]
    unmade = api.get(f"/events/topics/{api.topic('unseen')}")
    assert unmade["rates"] is None


# ---- consumers


def group_of(api: Monitored, name: str) -> Any:
    return api.get(f"/events/consumers/{name}")


def test_a_group_that_has_stopped_says_how_far_and_how_long(api: Monitored, began_ms: int) -> None:
    topic, group = api.topic("stopped"), f"{api.mark}/stopped"
    api.publish(topic, [5, 9])
    api.commit(group, topic, [5, 2])
    early = group_of(api, group)
    assert (early["status"], early["lag"], early["lag_s"]) == ("UNKNOWN", 7, None)
    watch(api, began_ms)
    said = group_of(api, group)
    assert (said["kind"], said["state"], said["members"]) == ("group", "empty", 0)
    assert (said["status"], said["lag"], said["lag_s"]) == ("STOPPED", 7, None)
    assert said["why"].startswith(f"{topic}:1: it stands at 2 for 45 s, 7 records behind")
    first, second = said["partitions"]
    assert (first["status"], first["lag"], first["lag_s"], first["owner"]) == ("OK", 0, 0.0, None)
    assert (second["committed"], second["end"], second["lag"], second["status"]) == (2, 9, 7, "STOPPED")
    api.commit(group, topic, [5, 1])
    watch(api, began_ms, 1, first=SAMPLES)
    assert group_of(api, group)["status"] == "REWIND"
    assert "no-such" in problem(api.ask("GET", "/events/consumers/no-such"), 404)["detail"]


def test_a_group_that_does_not_keep_up_is_a_warning_with_seconds(api: Monitored, began_ms: int) -> None:
    topic, group = api.topic("slow", 1), f"{api.mark}-slow"
    for i in range(SAMPLES):
        api.publish(topic, [20])
        api.commit(group, topic, [10 * (i + 1)])
        watch(api, began_ms, 1, first=i)
    said = group_of(api, group)
    late_s = time.time() - (began_ms + STEP_MS * (SAMPLES - 1)) / 1000  # since the window ended
    assert (said["status"], said["lag"]) == ("WARNING", 10 * SAMPLES)
    assert 24 <= said["lag_s"] <= 26 + late_s, "half as fast: where the end was half of the window ago"
    assert "10 to 100 records in 45 s" in said["why"]


def test_markers_of_transactions_are_told_as_lag_and_are_no_trouble(api: Monitored, began_ms: int) -> None:
    topic, group = api.topic("transactions", 2), f"{api.mark}-transactions"
    api.publish(topic, [3, 3], transactional_id=f"{api.mark}-t")
    api.commit(group, topic, [3, 2])
    watch(api, began_ms)
    said = group_of(api, group)
    assert [p["lag"] for p in said["partitions"]] == [1, 2], "as Kafka's own tools say"
    assert [p["status"] for p in said["partitions"]] == ["OK", "STOPPED"]
    assert said["partitions"][0]["why"] == "caught up, to markers of transactions"
    assert said["partitions"][0]["lag_s"] == 0.0


def test_what_a_transaction_may_still_write_is_not_known(api: Monitored) -> None:
    topic = api.topic("open", 2)
    api.publish(topic, [1, 1])
    producer = Producer({"bootstrap.servers": api.cluster.bootstrap_servers, "transactional.id": topic})
    producer.init_transactions(20)
    producer.begin_transaction()
    producer.produce(topic, b"x", partition=0)
    assert producer.flush(20) == 0
    rests = {(topic, 0, 1): 2, (topic, 1, 0): 1, (topic, 7, 0): 1}
    assert look(api.cluster, rests) == ({}, {(topic, 1, 0)})
    producer.abort_transaction(20)
    assert look(api.cluster, {(topic, 0, 1): 3}) == ({(topic, 0, 1): 3}, set()), "what was taken back is no record"


def test_a_pipeline_is_told_with_its_owners(api: Monitored, began_ms: int) -> None:
    topic, pipeline = api.topic("input"), api.facts.pipeline
    api.publish(topic, [4, 4])
    api.commit(pipeline, topic, [4, 1])
    api.commit(f"{api.mark}-other", topic, [0, 0])
    watch(api, began_ms)
    silent = api.get("/events/consumers")
    assert silent["owners"] == []
    assert silent["owners_trouble"] == f"owners: no actor supervisor:{pipeline} runs"
    assert (silent["items"][0]["group"], silent["items"][0]["members"]) == (pipeline, None)
    assert silent["items"][0]["status"] == "STALLED", "a supervisor that is silent proves nothing"
    api.facts.status = STATUS
    api.facts.others = {f"{api.mark}-other": STATUS | {"owners": [OWNER | {"state": "starting"}]}}
    said = api.get("/events/consumers")
    assert (said["pipeline"], said["lag"], said["deal"]) == (pipeline, 3, {"deal": 4, "slots": 1})
    over = api.get("/events/lag", window_s=900)
    assert (over["group"], over["lag"][-1], len(over["at"]), over["step_s"]) == (pipeline, 3, len(over["lag"]), 5.0)
    assert api.get("/events/lag", group=f"{api.mark}-other")["lag"][-1] == 8
    problem(api.ask("GET", "/events/lag", params={"group": "nobody"}), 404)
    assert said["owners"][0]["incarnation"] == 2
    assert [item["kind"] for item in said["items"][:3]] == ["pipeline", "pipeline", "group"]
    ours = next(item for item in said["items"] if item["group"] == pipeline)
    other = next(item for item in said["items"] if item["group"] == f"{api.mark}-other")
    assert (ours["state"], ours["members"], ours["status"]) == ("assigned by our supervisor", 1, "STALLED")
    assert ours["partitions"][1]["owner"] == {"slot": 1, "node": "n0de", "pid": 4711, "state": "live"}
    assert (other["members"], other["status"]) == (0, "STOPPED")
    api.facts.others = None
    page = api.get("/events/consumers", limit=1)
    assert [item["group"] for item in page["items"]] == [pipeline]
    assert pipeline not in [item["group"] for item in api.get("/events/consumers", cursor=page["next"])["items"]]


# ---- schemas


def text(*fields: tuple[str, str], **more: Any) -> str:
    said = [{"name": name, "type": kind, **more} for name, kind in fields]
    return json.dumps({"type": "record", "name": "R", "namespace": "n", "fields": said})


@pytest.fixture
def subject(api: Monitored) -> str:
    """A subject of three versions: b came, and went again."""
    name = f"{api.mark}.{time.monotonic_ns()}-value"
    registry = Registry(api.cluster.registry_url)
    registry.register(name, text(("a", "int")))
    registry.set_compatibility(name, "FORWARD")
    registry.register(name, text(("a", "int"), ("b", "int")))
    registry.set_compatibility(name, "BACKWARD")
    registry.register(name, text(("a", "long")))
    return name


def test_subjects_are_listed_with_what_they_are(api: Monitored, subject: str) -> None:
    said = api.get("/events/schemas", search="fab.measurements")
    items = {item["subject"]: item for item in said["items"]}
    measurement = items["fab.measurements-value"]
    assert (measurement["topic"], measurement["record"], measurement["compatibility"]) == (
        "fab.measurements", "measurement", "BACKWARD",
    )  # fmt: skip
    assert measurement["versions"][-1] == measurement["latest"]["version"]
    array = items["fab.measurements-com.chipquality.events.measurement.MeasurementArray"]
    assert array["record"] == "measurement_array"
    [own] = api.get("/events/schemas", search=subject)["items"]
    assert (own["record"], own["topic"], own["versions"]) == (None, subject.removesuffix("-value"), [1, 2, 3])
    page = api.get("/events/schemas", limit=1)
    assert page["next"]
    assert api.get("/events/schemas", limit=1, cursor=page["next"])["items"] != page["items"]


def test_a_subject_has_its_versions_and_what_differs(api: Monitored, subject: str) -> None:
    said = api.get(f"/events/schemas/{subject}")
    assert [version["version"] for version in said["versions"]] == [1, 2, 3]
    assert json.loads(said["versions"][0]["schema"])["fields"][0]["type"] == "int"
    assert said["compatibility"] == "BACKWARD"
    assert api.get(f"/events/schemas/{subject}/diff", **{"from": 2, "to": 3}) == {
        "from": 2,
        "to": 3,
        "changes": [
            {"path": "a", "kind": "changed", "before": "int", "after": "long", "breaks": ["forward"]},
            {"path": "b", "kind": "removed", "before": "int", "after": None, "breaks": ["forward"]},
        ],
    }
    problem(api.ask("GET", f"/events/schemas/{subject}/diff", params={"from": 1, "to": 9}), 404)
    problem(api.ask("GET", "/events/schemas/no-such"), 404)
    problem(api.ask("GET", f"/events/schemas/{subject}/diff", params={"from": 0, "to": 1}), 422)


def test_a_schema_is_tested_by_the_registry_with_reasons(api: Monitored, subject: str) -> None:
    def tested(schema: str, status: int = 200) -> Any:
        answer = api.ask("POST", f"/events/schemas/{subject}/compatibility", json={"schema": schema})
        return answer.json() if status == 200 else problem(answer, status)

    following = tested(text(("a", "double")))
    assert following == {"compatible": True, "level": "BACKWARD", "against": [3], "reasons": []}
    registry = Registry(api.cluster.registry_url)
    registry.set_compatibility(subject, "FULL")
    good = tested(text(("a", "long")))
    assert (good["compatible"], good["against"], good["reasons"]) == (True, [3], [])
    bad = tested(text(("a", "long"), ("b", "int")))
    assert not bad["compatible"]
    assert bad["reasons"] == ["a reader with it cannot read what version 3 wrote: b: added int"]
    registry.set_compatibility(subject, "BACKWARD_TRANSITIVE")
    assert tested(text(("a", "string")))["against"] == [1, 2, 3]
    assert "not an Avro schema" in tested("{", 422)["detail"]
    tested("x" * (SCHEMA_CHARS_MAX + 1), 422)
    gone = api.ask("POST", "/events/schemas/no-such/compatibility", json={"schema": '"int"'})
    problem(gone, 404)


def test_a_level_is_tested_on_the_versions_that_there_are_first(api: Monitored, subject: str) -> None:
    def put(status: int = 200, **wanted: Any) -> Any:
        answer = api.ask("PUT", f"/events/schemas/{subject}", json=wanted)
        return answer.json() if status == 200 else problem(answer, status)

    planned = put(compatibility="FULL", dry_run=True)
    assert not planned["applied"]
    assert planned["plan"]["tested"] == [1, 2, 3]
    assert [(c["from"], c["to"], c["direction"]) for c in planned["plan"]["conflicts"]] == [
        (1, 2, "backward"), (2, 3, "forward"),
    ]  # fmt: skip
    refused = put(409, compatibility="FULL")
    assert refused["conflicts"][0]["changes"][0]["path"] == "b"
    assert "1 and 2 (backward), 2 and 3 (forward)" in refused["detail"]
    assert "knows no level NONE of a subject" in put(409, compatibility="NONE")["detail"], "Apicurio"
    assert api.get(f"/events/schemas/{subject}")["compatibility"] == "BACKWARD"
    assert api.audit.changes == []
    put(422, compatibility="SIDEWAYS")
    put(422, compatibility="NONE", dryrun=True)


def test_a_level_that_holds_is_set_and_recorded(api: Monitored, subject: str) -> None:
    name = f"{subject}-2"
    Registry(api.cluster.registry_url).register(name, text(("a", "int")))
    wanted = {"compatibility": "FULL_TRANSITIVE"}
    seen = api.ask("PUT", f"/events/schemas/{name}", json=wanted | {"dry_run": True}).json()["plan_hash"]
    Registry(api.cluster.registry_url).register(name, text(("a", "long")))
    other = problem(api.ask("PUT", f"/events/schemas/{name}", json=wanted | {"plan_hash": seen}), 409)
    assert (other["plan"]["tested"], "the plan as it is now has another hash" in other["detail"]) == ([1, 2], True)
    problem(api.ask("PUT", f"/events/schemas/{name}", json=wanted | {"plan_hash": seen, "dry_run": True}), 422)
    wanted = {"compatibility": "BACKWARD_TRANSITIVE"}
    seen = api.ask("PUT", f"/events/schemas/{name}", json=wanted | {"dry_run": True}).json()["plan_hash"]
    answer = api.ask("PUT", f"/events/schemas/{name}", json=wanted | {"plan_hash": seen})
    assert (answer.json()["applied"], answer.json()["plan_hash"]) == (True, seen), answer.text
    assert api.get(f"/events/schemas/{name}")["compatibility"] == "BACKWARD_TRANSITIVE"
    assert api.audit.changes == [("schemas.compatibility", f"subject {name}", "BACKWARD", "BACKWARD_TRANSITIVE")]
    problem(api.ask("PUT", "/events/schemas/no-such", json={"compatibility": "FULL"}), 404)


# ---- figures


def test_key_figures_have_units_and_say_what_is_missing(api: Monitored) -> None:
    said = api.get("/events/metrics")
    figures = {item["name"]: item for item in said["items"]}
    assert figures["slots_live"]["value"] is None
    assert said["trouble"] == {"owners": f"owners: no actor supervisor:{api.facts.pipeline} runs"}
    assert all(item["unit"] and item["doc"] for item in said["items"])
    api.facts.status = STATUS
    topic = api.topic("figures", 1)
    api.publish(topic, [4])
    api.commit(api.facts.pipeline, topic, [1])
    figures = {item["name"]: item["value"] for item in api.get("/events/metrics")["items"]}
    assert (figures["slots_live"], figures["partitions_quarantined"], figures["step"]) == (1, 1, 3.0)
    assert figures["lag"] >= 3
    assert api.ask("GET", "/metrics").status_code == 200


def test_throughput_latency_and_errors_are_over_a_window(api: Monitored) -> None:
    now_ms = int(time.time() * 1000) - 6_000
    for i in range(3):
        rows = block(["a", "b"], [1.0, 2.0], 2 * i, published_ms=now_ms - 40, pipeline=api.facts.pipeline)
        api.facts.board.add_block(rows, 0, i, now_ms, live=True, written_ms=now_ms - 10)
    for reason in ("malformed", "malformed", "too_long"):
        api.facts.board.add_dead_letter(reason, now_ms)
    api.facts.times.add([OWNER], now_ms)
    said = api.get("/events/throughput", window_s=60)
    assert (said["step_s"], len(said["at"]), len(said["rows_per_s"])) == (1, 60, 60)
    assert sum(said["rows_per_s"]) == sum(said["by_partition"]["fab.measurements:0"]) == 6.0
    latency = api.get("/events/latency", window_s=60)
    assert latency["end_to_end"] == {"p50": 41.0, "p95": 41.0, "p99": 41.0, "n": 6}
    assert {name: stage["p50"] for name, stage in latency["stages"].items()} == {
        "publish_to_poll": 28.0, "decode_and_judge": 3.0, "commit": 5.0, "read": 6.0,
    }  # fmt: skip
    assert 41.0 in latency["series"]["p95"]
    api.facts.status = STATUS
    errors = api.get("/events/errors", window_s=60)
    assert errors["dead_letters"] == {
        "total": 3, "by_reason": {"malformed": 2, "too_long": 1}, "per_s": 0.05,
        "per_s_by_reason": {"malformed": 0.0333, "too_long": 0.0167},
        "in_window": {"total": 3, "by_reason": {"malformed": 2, "too_long": 1}},
    }  # fmt: skip
    assert errors["detectors_off"] == [{"slot": 1, "partition": 0, "detector": "spc.x@1-a"}]
    assert errors["quarantined"] == [{"slot": 1, "partition": 1, "why": "torn"}]
    assert (errors["unreadable"], errors["owners_trouble"]) == (0, None)
    api.facts.status = None
    assert "supervisor" in api.get("/events/errors")["owners_trouble"]
    for path in ("throughput", "latency", "errors"):
        problem(api.ask("GET", f"/events/{path}", params={"window_s": 901}), 422)
