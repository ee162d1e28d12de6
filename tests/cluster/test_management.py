"""Replay, redrive, reset, deletion and scaling over the API, on the real broker and real Ray, beside a running line."""

from __future__ import annotations

import json
import os
import signal
import time
import uuid
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import ray
from confluent_kafka import Consumer, ConsumerGroupTopicPartitions, Producer, TopicPartition
from confluent_kafka.admin import NewTopic
from typer.testing import CliRunner, Result

from actors import supervisor
from actors.engine.dead_letters import dead_letter_record
from actors.names import NAMESPACE
from actors.stretch import replayed
from cluster import cli
from cluster.local import Endpoints
from cluster.operations import actor as operations
from cluster.operations.bounds import EARLIEST, LATEST
from cluster.operations.delete import run_delete
from cluster.operations.errors import Refused
from cluster.operations.operation import Operation
from cluster.operations.replay import ReplayWish, replay_plan, run_replay
from cluster.operations.reset import run_reset
from cluster.operations.running import Work
from models.builtin import FAMILIES
from schemas.batch import DeadLetter, Reason
from schemas.charts import ChartBlock, unpack
from schemas.encode import Encoder
from schemas.registry import Registry
from schemas.topics import MEASUREMENTS, OPERATIONS, STATE, dead_letter_topic, schema_text, subject_of
from tests.cluster.audit_trail import actions, recorded
from tests.cluster.in_process import Api
from tests.cluster.served import wait_for
from tests.faults.oracle import Oracle
from tests.faults.reading import Entry
from tests.fixtures_stack import prepared
from tests.integration.line import TestLine

RECORDS = 1_500  # of each partition
FROM, TO = 400, 1_400  # of partition 1; partition 0 is replayed from its beginning
FEW = {family: FAMILIES[family](10) for family in ("spc", "drift")}
DLQ = dead_letter_topic("fab.system")


@pytest.fixture(scope="module")
def line(stack: Endpoints, ray_cluster: None) -> Iterator[TestLine]:
    """A pipeline in Ray that has judged all there is."""
    prepared(stack)
    line = TestLine(stack, families=FEW)
    line.write_noise(RECORDS)
    supervisor.start_pipeline(line.pipeline())
    line.wait_done()
    yield line
    operations.stop(line.name)
    supervisor.stop_pipeline(line.name)


@pytest.fixture(scope="module")
def api(line: TestLine) -> Iterator[Api]:
    with Api(line.cluster, line.name) as api:
        yield api


@pytest.fixture(scope="module")
def output() -> str:
    return f"o{uuid.uuid4().hex[:8]}"


def rows(blocks: list[ChartBlock]) -> dict[tuple[int, str], tuple[Any, ...]]:
    """Return all that was said of each row by each detector, bit for bit; each once."""
    found: dict[tuple[int, str], tuple[Any, ...]] = {}
    for block in blocks:
        for name, said in block.detectors.items():
            for i, offset in enumerate(block.offset.tolist()):
                numbers = (block.value, said.statistic, said.centre, said.lcl, said.ucl, said.signal, said.valid)
                assert (offset, name) not in found
                found[offset, name] = (
                    block.series_keys[block.series[i]],
                    *(np.asarray(n[i]).tobytes() for n in numbers),
                )
    return found


def charts(line: TestLine, topic: str) -> dict[int, list[ChartBlock]]:
    return {p: [unpack(value or b"") for _, value in records] for p, records in line.read(topic).items()}


def test_a_replay_outlives_whoever_asked_and_says_what_a_fold_of_the_stretch_says(
    line: TestLine, api: Api, output: str
) -> None:
    body = {
        "pipeline": line.name, "output": output, "from": {"offset": {"0": 0, "1": FROM}}, "to": {"offset": {"0": TO, "1": TO}},
    }  # fmt: skip
    committed = line.committed()
    plan, plan_hash = api.planned("POST", "/events/replay", **body)
    assert plan["topics"] == [f"{output}.{what}" for what in ("charts", "alerts", "dlq", "state")]
    assert [(item["from"], item["to"]) for item in plan["partitions"]] == [(0, TO), (FROM, TO)]
    assert plan["estimate"]["records"] == 2 * TO - FROM
    changed = api("POST", "/events/replay", {**body, "plan_hash": "0" * 16}, status=409)
    assert (changed["plan_hash"], changed["plan"]) == (plan_hash, plan)
    key = {"Idempotency-Key": "once"}
    asked = {**body, "plan_hash": plan_hash}
    answer = api.answer("POST", "/events/replay", asked, headers=key)
    assert answer.status_code == 202, answer.text
    begun = answer.json()
    assert answer.headers["location"] == f"/operations/{begun['id']}"

    os.kill(ray.get(ray.get_actor(operations.operations_name(line.name), NAMESPACE).pid.remote()), signal.SIGKILL)
    with Api(line.cluster, line.name) as other:  # another replica of the API, and another process of the operations
        wait_for(lambda: other.answer("GET", f"/operations/{begun['id']}").status_code == 200, "they are back")
        assert other("POST", "/events/replay", asked, status=202, headers=key)["id"] == begun["id"]
        other("POST", "/events/replay", {**asked, "output": "x"}, status=422, headers=key)
        wait_for(lambda: f"replay-{output}" in supervisor.running(), "it is judged")
        in_use = api.answer("DELETE", f"/events/topics/{output}.charts", json={"dry_run": True})
        assert in_use.status_code == 409 or f"replay-{output}" not in supervisor.running(), in_use.text
        done = other.ended(begun)
    assert (done["state"], done["progress"], done["error"]) == ("done", 1.0, None), done

    pipeline = line.pipeline()
    assert supervisor.running().count(f"replay-{output}") == 0
    assert line.committed() == committed, "the live group is where it was"
    found = charts(line, f"{output}.charts")
    live = rows(charts(line, line.topics.charts)[0])
    assert rows(found[0]) == {place: said for place, said in live.items() if place[0] < TO}
    stretch = replayed(pipeline, output, None)  # type: ignore[arg-type]
    oracle = Oracle(stretch, 1, line.registry.schema, FROM)
    values = line.written[1][FROM:TO]
    truth = oracle.fold([Entry(FROM + n, 0, b"key", value) for n, value in enumerate(values)])
    assert rows(found[1]) == rows(truth.blocks)
    said = [alert for alert in line.events(f"{output}.alerts") if alert["partition"] == 1]
    ids = sorted((alert["alert_id"], alert["state"], alert["rows"]) for alert in said)
    assert ids == sorted((alert["alert_id"], alert["state"], alert["rows"]) for alert in truth.alerts)
    assert ids, "there was something to say"
    again = api("POST", "/events/replay", {**body, "dry_run": True}, status=409)
    assert "is there already: delete it" in again["detail"]


def test_a_replay_by_times_and_what_is_refused(line: TestLine, api: Api) -> None:
    begins = 1_700_000_000_000
    body = {
        "pipeline": line.name,
        "output": "never",
        "to": {"event_time": begins + 700},
        "from": {"event_time": begins + 600},
    }
    plan, _ = api.planned("POST", "/events/replay", **body)
    assert [(item["from"], item["to"]) for item in plan["partitions"]] == [(600, 700), (600, 700)]
    everything, first = api.planned("POST", "/events/replay", **{**body, "from": {"time": 1}, "to": "latest"})
    assert [(item["from"], item["to"]) for item in everything["partitions"]] == [(0, None), (0, None)]
    _, second = api.planned("POST", "/events/replay", **{**body, "from": "earliest", "to": {"time": "2999-01-01"}})
    assert first == second
    for wrong, status in (
        ({"pipeline": "nobody"}, 404),
        ({"from": {"offset": 10**9}, "to": "latest"}, 422),
        ({"output": "No Name"}, 422),
        ({"from": {"offset": 11, "time": 1}}, 422),
        ({"from": {"time": "noon"}}, 422),
        ({"to": "earliest"}, 422),
        ({"dry_run": False}, 422),
        ({"surplus": 1}, 422),
    ):
        api("POST", "/events/replay", {**body, "dry_run": True, **wrong}, status=status)


def test_topics_are_deleted_by_plan_and_ours_never(line: TestLine, api: Api, output: str) -> None:
    for topic in (MEASUREMENTS, STATE, OPERATIONS, "__consumer_offsets", line.input, line.topics.state):
        refused = api("DELETE", f"/events/topics/{topic}", {"dry_run": True}, status=409)
        assert topic in refused["detail"]
    api("DELETE", "/events/topics/absent", {"dry_run": True}, status=404)
    topic = f"{output}.dlq"
    path = f"/events/topics/{topic}"
    plan, plan_hash = api.planned("DELETE", path)
    assert (plan["records"], plan["groups"]) == (0, [])
    producer = Producer({"bootstrap.servers": line.endpoints.bootstrap_servers})
    producer.produce(topic, b"x", partition=0)
    assert producer.flush(20) == 0
    changed = api("DELETE", path, {"plan_hash": plan_hash}, status=409)
    assert changed["plan"]["records"] == 1
    done = api.done("DELETE", path, changed["plan_hash"])
    assert done["what"] == f"{topic} is gone, with 1 records"
    api("DELETE", path, {"dry_run": True}, status=404)


def consumer(line: TestLine, group: str) -> Consumer:
    return Consumer(
        {"bootstrap.servers": line.endpoints.bootstrap_servers, "group.id": group, "auto.offset.reset": "earliest",
         "enable.auto.commit": False}
    )  # fmt: skip


def committed(line: TestLine, group: str) -> dict[int, int]:
    asked = [ConsumerGroupTopicPartitions(group)]
    found = line.admin.list_consumer_group_offsets(asked)[group].result(20).topic_partitions
    return {tp.partition: tp.offset for tp in found if tp.topic == line.input}


def test_a_plain_group_is_reset_when_it_has_no_members(line: TestLine, api: Api) -> None:
    group = f"{line.name}-plain"
    member = consumer(line, group)
    member.subscribe([line.input])
    wait_for(lambda: member.poll(0.1) is not None, "it reads")
    member.commit(offsets=[TopicPartition(line.input, p, 100) for p in range(2)], asynchronous=False)
    body = {"group": group, "to": {"offset": 300}}
    assert "has 1 members" in api("POST", "/events/reset", {**body, "dry_run": True}, status=409)["detail"]
    member.close()
    plan, plan_hash = api.planned("POST", "/events/reset", **body)
    assert plan["offsets"] == [{"topic": line.input, "partition": p, "committed": 100, "to": 300} for p in range(2)]
    api.done("POST", "/events/reset", plan_hash, **body)
    assert committed(line, group) == {0: 300, 1: 300}
    api("POST", "/events/reset", {**body, "plan_hash": plan_hash}, status=409)
    latest = {"group": group, "to": "latest"}
    _, plan_hash = api.planned("POST", "/events/reset", **latest)
    api.done("POST", "/events/reset", plan_hash, **latest)
    assert committed(line, group) == line.ends()
    by_time = {"group": group, "to": {"time": 1}, "topic": line.input}
    _, plan_hash = api.planned("POST", "/events/reset", **by_time)
    api.done("POST", "/events/reset", plan_hash, **by_time)
    assert committed(line, group) == {0: 0, 1: 0}
    api("POST", "/events/reset", {"group": "nobody", "to": "earliest", "dry_run": True}, status=404)
    for wrong in ("somewhere", {"offset": "x"}, {"offset": 1, "time": 5}, {}):
        said = api("POST", "/events/reset", {"group": group, "to": wrong, "dry_run": True}, status=422)
        assert said["detail"].startswith("body.to: earliest, latest, {offset: a whole number"), said
        assert len(said["errors"]) == 1


def test_a_pipeline_is_never_reset_and_the_refusal_says_why_and_what_instead(line: TestLine, api: Api) -> None:
    before = line.committed()
    for name in ({"pipeline": line.name}, {"group": line.name}):
        refused = api("POST", "/events/reset", {**name, "to": "earliest", "dry_run": True}, status=409)
        assert "its position stands in its state topic" in refused["detail"]
        assert "/events/replay" in refused["detail"]
    api("POST", "/events/reset", {"pipeline": "nobody", "to": "earliest", "dry_run": True}, status=404)
    api("POST", "/events/reset", {"group": "g", "pipeline": "p", "to": "earliest", "dry_run": True}, status=422)
    assert line.committed() == before


@pytest.fixture(scope="module")
def letters(line: TestLine) -> Iterator[str]:
    """Three dead letters of the test's own, among those of others; their source."""
    source = f"{line.name}-source"
    registry = Registry(line.endpoints.registry_url)
    encoder = Encoder("dead_letter", registry.register(subject_of(DLQ, "dead_letter"), schema_text("dead_letter")))
    producer = Producer({"bootstrap.servers": line.endpoints.bootstrap_servers})
    target = f"{line.name}.again"
    line.admin.create_topics([NewTopic(target, 1, 1)])[target].result(20)
    now = time.time_ns() // 1_000_000
    values = [line.measurement("s0", float("nan"), 1), b"a Hostile <b>value</b>", None]
    for offset, value in enumerate(values, 10):
        reason = Reason.NO_VALUE if value is None else Reason.MALFORMED
        letter = DeadLetter(target, 0, offset, now, reason, f"detail {offset}", b"key", value)
        record = dead_letter_record(letter, DLQ, source, encoder)
        producer.produce(record.topic, record.value, record.key, 0)
    assert producer.flush(20) == 0
    return source


def test_dead_letters_are_listed_searched_shown_and_counted(line: TestLine, api: Api, letters: str) -> None:
    def found(**query: Any) -> list[dict[str, Any]]:
        items = api("GET", "/dead-letters", params={"topic": DLQ, "limit": 500, **query})["items"]
        return [item for item in items if item["source"] == letters]

    newest = found()
    assert [item["offset"] for item in newest] == [12, 11, 10]
    assert newest[1] | {"at_ms": 0, "place": ""} == {
        "place": "", "topic": f"{line.name}.again", "partition": 0, "offset": 11, "reason": "malformed", "detail": "detail 11",
        "at_ms": 0, "source": letters, "attempts": 1, "waits": True, "redriven": 0, "bytes": 22, "truncated": False,
    }  # fmt: skip
    assert [item["offset"] for item in found(reason="no_value")] == [12]
    assert [item["offset"] for item in found(search="hostile <B>")] == [11]
    assert found(since="2999-01-01") == []
    pages, cursor = [], None
    while True:
        page = api(
            "GET", "/dead-letters", params={"limit": 1, "search": letters, **({"cursor": cursor} if cursor else {})}
        )
        pages += [item["offset"] for item in page["items"]]
        cursor = page["next"]
        if cursor is None:
            break
    assert pages == [12, 11, 10]
    topic, partition, offset = newest[1]["place"].rsplit(":", 2)
    shown = api("GET", f"/dead-letters/{topic}/{partition}/{offset}")
    assert shown["value"]["text"] == "a Hostile <b>value</b>"
    assert bytes.fromhex(shown["value"]["hex"]) == b"a Hostile <b>value</b>"
    assert (shown["key"]["text"], shown["decoded"]) == ("key", None)
    topic, partition, offset = newest[2]["place"].rsplit(":", 2)
    assert api("GET", f"/dead-letters/{topic}/{partition}/{offset}")["decoded"]["characteristic"] == "s0"
    summary = api("GET", "/dead-letters/summary", params={"topic": DLQ})
    counted = {item["reason"]: item["count"] for item in summary["items"]}
    assert counted["malformed"] >= 2
    assert counted["no_value"] >= 1
    assert summary["complete"]
    api("GET", f"/dead-letters/{DLQ}/0/{10**9}", status=404)
    api("GET", "/dead-letters/other/0/0", status=404)
    for wrong in ({"cursor": "nonsense"}, {"topic": "nothing"}, {"since": "noon"}, {"reason": "none"}, {"limit": 0}):
        api("GET", "/dead-letters", params=wrong, status=422)


def test_a_redrive_is_an_operation_and_nothing_is_redriven_twice(line: TestLine, api: Api, letters: str) -> None:
    chosen = {"filter": {"source": letters, "topic": DLQ}}
    plan, plan_hash = api.planned("POST", "/dead-letters/redrive", **chosen)
    assert [item["record"] for item in plan["redrive"]] == [f"{line.name}.again:0:{n}" for n in (10, 11)]
    assert [item["why"] for item in plan["left"]] == ["it has no value"]
    done = api.done("POST", "/dead-letters/redrive", plan_hash, **chosen)
    assert (done["what"], done["by"]) == ("2 records redriven", "everybody")
    assert line.offsets.end(f"{line.name}.again", [0])[0] == 3, "two records and the end of their transaction"
    assert (
        "nothing to redrive; 3 dead letters are left"
        in api("POST", "/dead-letters/redrive", {**chosen, "dry_run": True}, status=409)["detail"]
    )
    places = {"places": [plan["redrive"][0]["at"], f"{DLQ}:0:{10**9}"]}
    api("POST", "/dead-letters/redrive", {**places, "dry_run": True}, status=409)
    for wrong in (
        {"places": ["nonsense"]},
        {"places": ["other.dlq:0:0"]},
        {"filter": {}},
        {"filter": {"topic": "x"}},
        {},
    ):
        api("POST", "/dead-letters/redrive", {**wrong, "dry_run": True}, status=422)


def test_scaling_is_an_operation(line: TestLine, api: Api) -> None:
    path = f"/pipelines/{line.name}/scale"
    api("POST", path, {"slots": 3}, status=422)
    api("POST", "/pipelines/nobody/scale", {"slots": 1}, status=404)
    done = api.ended(api("POST", path, {"slots": 2}, status=202))
    assert (done["state"], done["what"]) == ("done", f"{line.name} has 2 slots, all live"), done
    assert supervisor.status(line.name)["slots"] == 2


def test_operations_are_listed_and_one_can_be_cancelled(line: TestLine, api: Api) -> None:
    output = f"o{uuid.uuid4().hex[:8]}"
    body = {"pipeline": line.name, "output": output, "from": "earliest"}
    _, plan_hash = api.planned("POST", "/events/replay", **body)
    begun = api("POST", "/events/replay", {**body, "plan_hash": plan_hash}, status=202)
    told = api("DELETE", f"/operations/{begun['id']}", status=202)
    assert told["id"] == begun["id"]
    cancelled = api.ended(begun)
    assert cancelled["state"] == "cancelled", cancelled
    assert api("DELETE", f"/operations/{begun['id']}") == cancelled
    wait_for(lambda: f"replay-{output}" not in supervisor.running(), "its pipeline is stopped")
    page = api("GET", "/operations", params={"limit": 1})
    assert page["items"] == [cancelled]
    assert api("GET", "/operations", params={"cursor": page["next"], "limit": 1})["items"] != [cancelled]
    assert all(item["state"] == "done" for item in api("GET", "/operations", params={"state": "done"})["items"])
    api("GET", "/operations/nothing", status=404)
    api("DELETE", "/operations/nothing", status=404)
    api("GET", "/operations", params={"cursor": "nonsense"}, status=422)


# ---- what is found when it is done


def test_what_has_changed_since_the_plan_is_refused_when_it_is_done(line: TestLine, api: Api) -> None:
    group = f"{line.name}-late"
    member = consumer(line, group)
    member.subscribe([line.input])
    wait_for(lambda: member.poll(0.1) is not None, "it reads")
    places = [{"topic": line.input, "partition": 0, "committed": None, "to": 3}]
    with pytest.raises(Refused, match="has members: stop them first"):
        run_reset(work(line, {"group": group, "offsets": places}))
    member.close()
    with pytest.raises(Refused, match=r"is used by .* by now"):
        run_delete(work(line, {"topic": line.input, "records": 1}))
    plan = replay_plan(line.cluster, ReplayWish(line.name, "never", EARLIEST, LATEST)).to_json()
    with pytest.raises(Refused, match="does not run any more"):
        run_replay(work(line, {**plan, "pipeline": "nobody"}))
    with pytest.raises(Refused, match="has other detectors by now"):
        run_replay(work(line, {**plan, "detectors": []}))
    output = f"o{uuid.uuid4().hex[:8]}"
    named = replay_plan(line.cluster, ReplayWish(line.name, output, EARLIEST, LATEST)).to_json()
    for future in line.admin.create_topics([NewTopic(topic, 1, 1) for topic in named["topics"]]).values():
        future.result(20)
    with pytest.raises(Refused, match=f"{output}.alerts, .*{output}.state is there by now: plan again"):
        run_replay(work(line, named))


def test_a_replay_of_records_that_are_gone_fails_and_says_so(line: TestLine, api: Api) -> None:
    """Last of those that need the line's input: it is deleted in part."""
    output = f"o{uuid.uuid4().hex[:8]}"
    plan = replay_plan(line.cluster, ReplayWish(line.name, output, EARLIEST, LATEST)).to_json()
    line.delete_input(1, 10)
    told: list[str] = []
    with pytest.raises(Refused, match=f"{line.input}:1 is in quarantine: .*(out of range|not in the log)"):
        run_replay(work(line, plan, told))
    assert told[0] == "makes topics"
    assert f"replay-{output}" not in supervisor.running()
    asked = {"pipeline": line.name, "output": "never", "from": {"offset": 4}, "to": {"offset": 20}}
    lost, _ = api.planned("POST", "/events/replay", **asked)
    assert [(item["from"], item["not_retained"]) for item in lost["partitions"]] == [(4, 0), (10, 6)]


def work(line: TestLine, plan: dict[str, Any], told: list[str] | None = None) -> Work:
    operation = Operation("1", line.name, "kind", "subject", 1, "ada", plan, "0" * 16)
    return Work(line.cluster, operation, lambda _, __, what: None if told is None else told.append(what))


# ---- the same from the command line


@pytest.fixture
def command(line: TestLine, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setenv("CHIPQUALITY_KAFKA__BOOTSTRAP_SERVERS", line.endpoints.bootstrap_servers)
    monkeypatch.setenv("CHIPQUALITY_REGISTRY__URL", line.endpoints.registry_url)
    monkeypatch.setenv("CHIPQUALITY_PIPELINE__NAME", line.name)

    def call(*arguments: str, code: int = 0) -> Result:
        result = CliRunner().invoke(cli.app, arguments)
        assert result.exit_code == code, result.output + repr(result.exception)
        return result

    return call


def test_commands_show_the_plan_and_apply_it(line: TestLine, api: Api, output: str, command: Any) -> None:
    text = command("replay", "never", "--from", "500", "--to", "600").stdout
    assert f"{line.name} judges 200 records of {line.input} again:" in text
    assert "partition 1: from 500 to 600" in text
    assert "Nothing was done: --apply " in text
    assert "no pipeline nobody runs" in command("replay", "x", "--from", "1", "--pipeline", "nobody", code=2).stderr

    topic = f"{output}.alerts"
    told = json.loads(command("topics", "delete", topic, "--output", "json").stdout)
    assert not told["applied"]
    refused = command("topics", "delete", topic, "--apply", "0" * 16, code=2)
    assert f"plan {told['plan_hash']}" in refused.stdout
    assert "the plan as it is now has another hash than" in refused.stderr
    done = command("topics", "delete", topic, "--apply", told["plan_hash"])
    assert done.stdout.startswith(f"done: {topic} is gone")
    assert done.stderr.startswith("operation ")
    assert "never deleted" in command("topics", "delete", MEASUREMENTS, code=2).stderr

    [deleted] = recorded(line.endpoints, f"topic {topic}")
    assert (deleted["action"], json.loads(deleted["after"])["operation"]) == ("topics.delete", done.stderr.split()[1])

    group = f"{line.name}-plain"
    shown = command("groups", "reset", f"{group}-new", "--topic", line.input, "--to", "200").stdout
    assert shown.startswith(f"there is no group {group}-new yet: this makes it\n")
    shown = command("groups", "reset", group, "--to", "200").stdout
    assert f"{line.input}:0  " in shown
    plan_hash = shown.split()[-3]
    assert (
        json.loads(command("groups", "reset", group, "--to", "200", "--apply", plan_hash, "-o", "json").stdout)["state"]
        == "done"
    )
    assert committed(line, group) == {0: 200, 1: 200}
    assert actions(line.endpoints, f"group {group}") == ["consumers.reset"]

    slots = {"slots": supervisor.status(line.name)["slots"]}
    assert f"{line.name}  " in command("pipeline", "scale", line.name, str(slots["slots"])).stdout
    scaled = recorded(line.endpoints, f"pipeline {line.name}")[-1]
    assert (scaled["action"], json.loads(scaled["before"]), json.loads(scaled["after"])) == (
        "pipelines.scale",
        slots,
        slots,
    )
    assert "no pipeline 'nobody' runs" in str(command("pipeline", "scale", "nobody", "1", code=1).exception)

    listed = json.loads(command("operations", "list", "-o", "json").stdout)
    assert [item["kind"] for item in listed[:2]] == ["reset", "delete"]
    assert f"group {group}  done 100%" in command("operations", "list").stdout
    assert '"committed"' in command("operations", "show", listed[0]["id"]).stdout
    assert json.loads(command("operations", "cancel", listed[0]["id"], "-o", "json").stdout)["state"] == "done"
    assert "no operation nothing" in command("operations", "show", "nothing", code=2).stderr
