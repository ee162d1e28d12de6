"""The API on real Ray Serve, over topics of the real broker."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
import ray
from confluent_kafka import Consumer, TopicPartition
from prometheus_client.parser import text_string_to_metric_families

from actors import view
from actors.errors import ConfigError
from cluster.access.secret import Secret
from cluster.api.app import STREAMS_MAX, deploy
from cluster.api.stream import STREAM_SERIES_MAX
from cluster.config import ServeConfig, load
from tests.cluster.served import Served, free_port, wait_for

HOSTILE = "ETCH/07|50%25|<b>R|..|x?y#z&ä"


def problem(answer: httpx.Response, status: int) -> Any:
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    body = answer.json()
    assert body["status"] == status
    assert body["title"]
    assert body["detail"]
    return body


def events(lines: Iterator[str]) -> Iterator[dict[str, str]]:
    """Parse server-sent events."""
    event: dict[str, str] = {}
    for line in lines:
        if line:
            name, _, value = line.partition(": ")
            event[name] = value
        elif event:
            yield event
            event = {}


@pytest.fixture(scope="module")
def filled(served: Served) -> Served:
    """A view that has read two series in control, one of them with gaps, and a hostile name."""
    line = served.line
    rows = line.in_control(["E|A|R|1|width", HOSTILE], 60)
    rows += [("E|A|R|1|width", float("nan")), ("E|A|R|1|width", 10.0)]
    for start in range(0, len(rows), 40):
        line.publish(rows[start : start + 40], lsl=4.0, usl=16.0)
    served.read_up_to(line.next_offset)
    return served


def test_charts_are_listed_searched_and_paged(filled: Served) -> None:
    page = filled.get("/charts", search="r|1 WIDTH")
    assert [item["series"] for item in page["items"]] == ["E|A|R|1|width"]
    assert page["items"][0]["parts"] == ["E", "A", "R", "1", "width"]
    seen: list[str] = []
    cursor = None
    while True:
        page = filled.get("/charts", limit=1, **({"cursor": cursor} if cursor else {}))
        seen += [item["series"] for item in page["items"]]
        cursor = page["next"]
        if cursor is None:
            break
    assert sorted(seen) == sorted(set(filled.line.keys))


def test_a_chart_has_points_limits_signals_and_capability(filled: Served) -> None:
    chart = filled.get("/charts/E%7CA%7CR%7C1%7Cwidth")
    assert len(chart["points"]["offset"]) == 62
    assert chart["points"]["value"][-2:] == [None, 10.0]
    assert chart["points"]["usl"][0] == 16.0
    detectors = {one["detector"]: one for one in chart["detectors"]}
    assert set(detectors) == {"spc.individuals", "spc.xbar", "capability.running", "anomaly.robust_z", "drift.cusum"}
    x = detectors["spc.individuals"]["statistics"][0]
    assert x["name"] == "x"
    assert x["ucl"][0] is None, "Phase I has no limits"
    assert x["lcl"][-1] < x["centre"][-1] < x["ucl"][-1]
    assert detectors["spc.individuals"]["valid"][-2:] == [False, True]
    assert detectors["spc.individuals"]["phase_one_until"] > 0
    assert {"Cp", "Cpk", "Pp", "Ppk", "Cpm", "offset"} <= set(chart["capability"])
    assert chart["capability"]["Cp"] > 1
    assert sum(chart["histogram"]["counts"]) == chart["histogram"]["n"] == 61
    assert len(filled.get("/charts/E%7CA%7CR%7C1%7Cwidth", points=3)["points"]["offset"]) == 3


def test_a_series_name_travels_whole(filled: Served) -> None:
    answer = filled.http.get(
        httpx.URL(filled.url).join(
            "/charts/"
            + httpx.QueryParams({"s": HOSTILE})["s"]
            .replace("%", "%25")
            .replace("?", "%3F")
            .replace("#", "%23")
            .replace("/", "%2F")
        )
    )
    assert answer.status_code == 200, answer.text
    assert answer.json()["series"] == HOSTILE


def test_counts_are_by_input_partition(filled: Served) -> None:
    said = filled.summary()
    partition = said["partitions"]["fab.measurements:0"]
    assert partition["judged"] + partition["missing"] == partition["rows"] == filled.line.next_offset
    assert (said["duplicated"], said["gaps"], said["unreadable"]) == (0, 0, 0)
    assert said["latency_ms"]["p95"] is None or said["latency_ms"]["p95"] > 0
    assert said["reader"] == {"alive": True, "caught_up": True, "trouble": None}


def test_latencies_since_a_mark_are_of_later_rows(filled: Served) -> None:
    ray.get(view.connect(filled.line.pipeline).mark.remote())
    assert filled.summary()["since_mark_rows"] == 0
    filled.line.publish([(HOSTILE, 10.0)])
    wait_for(lambda: filled.summary()["since_mark_rows"] == len(filled.line.folds), "each family's row has a latency")
    assert 0 < filled.summary()["since_mark_ms"]["p50"] < 5_000


def test_alerts_follow_an_excursion_and_its_end(filled: Served) -> None:
    line = filled.line
    opened = line.publish([("E|A|R|1|width", 30.0)], lsl=4.0, usl=16.0)
    assert opened
    ids = {alert["detector"] + alert["rule"] for alert in opened}

    def found() -> Any:
        items = filled.get("/alerts", state="OPEN", series="E|A|R|1|width")["items"]
        return items if {one["detector"] + one["rule"] for one in items} >= ids else None

    first = wait_for(found, "alerts turn up")[0]
    assert (first["state"], first["value"], first["severity"] in {"WARNING", "CRITICAL"}) == ("OPEN", 30.0, True)
    assert filled.get("/charts", limit=1)["items"][0]["status"] == "alarm"
    line.publish(line.in_control(["E|A|R|1|width"], 60, seed=3), lsl=4.0, usl=16.0)
    wait_for(lambda: filled.get("/alerts", state="CLOSED")["items"], "an alert closes")
    pages = filled.get("/alerts", limit=1)
    assert pages["next"]
    assert filled.get("/alerts", limit=1, cursor=pages["next"])["items"] != pages["items"]


def test_what_a_transaction_took_back_is_never_shown(filled: Served) -> None:
    before = filled.line.next_offset
    filled.line.publish([("aborted|||1|", 1.0)], abort=True)
    filled.line.next_offset = before
    filled.line.publish([("E|A|R|1|width", 10.0)])
    filled.read_up_to(filled.line.next_offset)
    problem(filled.http.get("/charts/aborted%7C%7C%7C1%7C"), 404)
    assert filled.summary()["duplicated"] == 0


def test_what_cannot_be_read_is_counted_and_dead_letters_are(filled: Served) -> None:
    line = filled.line
    line.raw(line.sources.charts, b"garbage", b"", None)
    line.raw(line.sources.alerts, b"\0\0\0\0\1x", b"")
    line.dead_letter("malformed")
    wait_for(lambda: filled.summary()["unreadable"] >= 5, "unreadable records are counted")
    wait_for(
        lambda: filled.summary()["dead_letters"] == {"total": 1, "by_reason": {"malformed": 1}},
        "dead letters are counted",
    )
    assert filled.summary()["reader"]["trouble"] is None


def test_errors_are_problems(filled: Served) -> None:
    http = filled.http
    missing = problem(http.get("/charts/nobody"), 404)
    assert missing["series"] == "nobody"
    assert missing["vector"], "a stream that begins here will not miss its first point"
    problem(http.get("/nowhere"), 404)
    problem(http.post("/charts"), 405)
    assert problem(http.get("/charts", params={"limit": 5000}), 422)["errors"][0]["in"] == "query.limit"
    for path in ("/charts", "/alerts"):
        assert "cursor" in problem(http.get(path, params={"cursor": "!"}), 422)["detail"]
    problem(http.get("/alerts", params={"state": "SHUT"}), 422)
    problem(http.get("/stream", params={"since": "nonsense"}), 422)
    problem(http.get("/stream", headers={"Last-Event-ID": "nonsense"}), 422)


def test_health_names_what_is_missing_and_then_is_ready(filled: Served) -> None:
    assert filled.get("/events/health", probe="live") == {"live": True}
    body = problem(filled.http.get("/events/health"), 503)
    assert (body["live"], body["ready"]) == (True, False)
    parts = body["dependencies"]
    assert {name: part["ok"] for name, part in parts.items()} == {
        "kafka": True,
        "registry": True,
        "owners": False,
        "view": True,
        "access": True,
    }
    assert f"supervisor:{filled.line.pipeline}" in parts["owners"]["reason"]
    assert "owners" in body["detail"]
    metrics = filled.http.get("/metrics").text
    assert 'chipquality_part_up{part="owners"} 0.0' in metrics

    supervisor = Answers.options(name=f"supervisor:{filled.line.pipeline}", namespace="chipquality").remote()
    ray.get(supervisor.set.remote("state", "opening"))
    said = wait_for(lambda: (now := filled.http.get("/events/health").json()) != body and now, "it is asked anew", 5)
    assert "opening" in said["detail"]
    ray.get(supervisor.set.remote("state", "live"))
    assert wait_for(lambda: filled.http.get("/events/health").json()["ready"], "it is asked anew", 5)
    assert filled.get("/events/consumers")["owners"][0]["incarnation"] == 3
    ray.kill(supervisor)


@ray.remote(num_cpus=0)
class Answers:
    """An actor that answers `status` as a supervisor does."""

    def __init__(self) -> None:
        self._owner: dict[str, Any] = {
            "slot": 0, "incarnation": 3, "state": "live", "partitions": {0: {"next_offset": 9, "quarantined": None}},
            "rows": 120, "dead_lettered": 2, "reopened": 1, "last_error": None, "step_ms": 1.5, "commit_ms": 4.0,
        }  # fmt: skip

    def set(self, name: str, value: Any) -> None:
        self._owner[name] = value

    def status(self) -> dict[str, Any]:
        return {"pipeline": "", "deal": 4, "slots": 1, "trouble": "", "owners": [self._owner]}


def test_topics_and_consumers(filled: Served) -> None:
    topics = {topic["name"]: topic for topic in filled.get("/events/topics")["items"]}
    assert {"fab.measurements", "quality.charts", "quality.alerts"} <= set(topics)
    assert topics["quality.charts"]["doc"]
    line = filled.line
    consumer = Consumer({"bootstrap.servers": line.cluster.bootstrap_servers, "group.id": line.pipeline})
    committed = [TopicPartition(line.sources.alerts, 0, 0), TopicPartition(line.sources.alerts, 1, 0)]
    consumer.commit(offsets=committed, asynchronous=False)
    consumer.close()

    def known() -> Any:
        """Return an answer of a replica that has read the group: the next one may be of another replica."""
        said = filled.get("/events/consumers")
        return said if (said["lag"] or 0) > 0 else None

    consumers = wait_for(known, "the group's lag is known")
    [ours] = [item for item in consumers["items"] if item["group"] == line.pipeline]
    assert len(ours["partitions"]) == 2
    assert consumers["lag"] == sum(partition["end"] for partition in ours["partitions"])
    assert consumers["owners"] == []
    assert "supervisor:" in consumers["owners_trouble"]
    told = f'chipquality_consumer_lag{{group="{line.pipeline}"'
    wait_for(lambda: told in filled.http.get("/metrics").text, "the metrics have it")
    assert (ours["kind"], ours["state"]) == ("pipeline", "assigned by our supervisor")


def test_every_pipeline_that_runs_is_told_as_one(filled: Served) -> None:
    line, name = filled.line, f"{filled.line.pipeline}-b"
    consumer = Consumer({"bootstrap.servers": line.cluster.bootstrap_servers, "group.id": name})
    consumer.commit(offsets=[TopicPartition(line.sources.alerts, 0, 0)], asynchronous=False)
    consumer.close()
    supervisor = Answers.options(name=f"supervisor:{name}", namespace="chipquality").remote()
    ray.get(supervisor.status.remote())
    said = wait_for(
        lambda: [item for item in filled.get("/events/consumers")["items"] if item["group"] == name],
        "its group is told",
    )[0]
    assert (said["kind"], said["members"], said["partitions"][0]["owner"]["slot"]) == ("pipeline", 1, 0)
    stages = wait_for(
        lambda: (found := filled.get("/events/latency")["stages"])["commit"]["n"] and found,
        "its owner's times are sampled",
    )
    assert (stages["decode_and_judge"]["p95"], stages["commit"]["p95"]) == (1.5, 4.0)
    ray.kill(supervisor)


def test_throughput_latency_and_errors_come_from_the_view(filled: Served) -> None:
    filled.line.publish([(HOSTILE, 10.0)])
    filled.read_up_to(filled.line.next_offset)  # or what is asked twice below is not the same
    wait_for(
        lambda: sum(filled.get("/events/throughput", window_s=60)["rows_per_s"]) > 0, "a whole second with rows is told"
    )
    latency = filled.get("/events/latency")
    assert latency["end_to_end"]["n"] >= latency["stages"]["read"]["n"] > 0
    errors = filled.get("/events/errors")
    assert errors["unreadable"] == filled.summary()["unreadable"]
    figures = {item["name"]: item["value"] for item in filled.get("/events/metrics")["items"]}
    assert figures["rows"] == filled.summary()["judged"]
    filled.get("/events/topics/quality.charts")
    assert filled.get("/events/schemas", limit=1)["total"] >= 2


def test_metrics_are_prometheus_text(filled: Served) -> None:
    answer = filled.http.get("/metrics")
    assert answer.headers["content-type"].startswith("text/plain; version=0.0.4")
    samples = {
        (sample.name, sample.labels.get("kind"), sample.labels.get("partition")): sample.value
        for family in text_string_to_metric_families(answer.text)
        for sample in family.samples
    }
    judged = samples["chipquality_rows_total", "judged", "fab.measurements:0"]
    assert judged + samples["chipquality_rows_total", "missing", "fab.measurements:0"] == filled.line.next_offset
    assert samples["chipquality_rows_total", "duplicated", "fab.measurements:0"] == 0


def test_the_page_loads_nothing_from_elsewhere(filled: Served) -> None:
    for path in ("/", "/docs", "/favicon.ico", "/web/app.js", "/web/vendor/echarts.esm.min.js", "/openapi.json"):
        answer = filled.http.get(path)
        assert answer.status_code == 200, path
        assert "default-src 'none'" in answer.headers["content-security-policy"]
        assert answer.headers["x-content-type-options"] == "nosniff"
    assert {"/charts", "/charts/{series}", "/stream", "/metrics", "/alerts", "/events/health"} <= set(
        filled.get("/openapi.json")["paths"]
    )
    assert "http" not in filled.http.get("/docs").text.replace("<!doctype html>", "")


def test_nothing_is_open_but_health_and_the_sign_in_page(filled: Served) -> None:
    with httpx.Client(base_url=filled.url, timeout=20) as nobody:
        for path in ("/charts", "/stream", "/metrics", "/openapi.json", "/keys", "/audit", "/nowhere", "/stream/x"):
            assert problem(nobody.get(path), 401)["detail"].startswith("show a key")
        assert nobody.get("/events/health", params={"probe": "live"}).status_code == 200
        assert "signin.js" in nobody.get("/").text
        assert nobody.post("/session", json={"key": filled.key}).status_code == 200  # the client keeps the cookie
        assert "app.js" in nobody.get("/").text
        with nobody.stream("GET", "/stream") as answer:
            assert next(events(answer.iter_lines()))["retry"]
    assert filled.get("/session")["name"] == "tests"


def test_a_revoked_key_ends_its_streams_and_is_worth_nothing_on_any_replica(filled: Served) -> None:
    made = filled.http.post("/keys", json={"name": "short-lived", "grants": ["viewer"]}).json()
    headers = {"Authorization": f"Bearer {made['text']}"}
    wait_for(
        lambda: httpx.get(f"{filled.url}stream/x", headers=headers).status_code == 404, "the stream's replica knows it"
    )
    with httpx.stream("GET", f"{filled.url}stream", headers=headers, timeout=20) as answer:
        lines = events(answer.iter_lines())
        assert next(lines)["retry"]
        filled.http.delete(f"/keys/{made['key']['id']}").raise_for_status()
        began = time.monotonic()
        for _ in lines:
            pass
        assert time.monotonic() - began < 10
    assert httpx.get(f"{filled.url}charts", headers=headers).status_code == 401


def test_the_stream_sends_new_points_and_resumes(filled: Served) -> None:
    line, series = filled.line, "E|A|R|1|width"
    filled.read_up_to(line.next_offset)
    vector = filled.get("/charts/E%7CA%7CR%7C1%7Cwidth")["vector"]
    line.publish([(series, 10.5)])
    with filled.http.stream("GET", "/stream", params={"series": series, "since": vector}) as answer:
        assert answer.headers["content-type"].startswith("text/event-stream")
        updates = (event for event in events(answer.iter_lines()) if event.get("event") == "update")
        first = next(event for event in updates if json.loads(event["data"])["points"])
    said = json.loads(first["data"])
    assert said["points"]["value"] == [10.5]
    assert (said["series"], said["notes"], said["reset"]) == (series, ["Test data <b>made up</b> by the test."], False)
    assert said["summary"]["pipeline"] == line.pipeline
    line.publish([(series, 10.6)])
    line.publish([(series, 10.7)])
    headers = {"Last-Event-ID": first["id"]}
    seen: list[float] = []
    with filled.http.stream("GET", "/stream", params={"series": series, "since": vector}, headers=headers) as answer:
        for event in events(answer.iter_lines()):
            if event.get("event") == "update":
                seen += (json.loads(event["data"])["points"] or {"value": []})["value"]
            if len(seen) >= 2:
                break
    assert seen == [10.6, 10.7], "each point once, from where the first stream ended"


def test_one_stream_carries_several_series(filled: Served) -> None:
    line, series = filled.line, "E|A|R|1|width"
    vector = filled.summary()["vector"]
    line.publish([(series, 10.8), (HOSTILE, 10.9)])
    wanted = {"series": [series, HOSTILE, "nobody"], "since": vector}
    seen: dict[str, list[float]] = {}
    with filled.http.stream("GET", "/stream", params=wanted) as answer:
        for event in events(answer.iter_lines()):
            if event.get("event") == "update":
                for chart in json.loads(event["data"])["charts"]:
                    seen.setdefault(chart["series"], []).extend((chart["points"] or {"value": []})["value"])
            if len(seen) == 2:
                break
    assert seen == {series: [10.8], HOSTILE: [10.9]}
    problem(filled.http.get("/stream", params={"series": [f"s{i}" for i in range(STREAM_SERIES_MAX + 1)]}), 422)


def test_detectors_say_their_versions(filled: Served) -> None:
    found = {one["detector"]: one for one in filled.get("/detectors")["items"]}
    assert found["spc.individuals"]["identity"].startswith("spc.individuals@")
    assert found["spc.individuals"]["series"] >= 2


def test_frames_are_coalesced(filled: Served) -> None:
    line, series = filled.line, "E|A|R|1|width"
    over = threading.Event()

    def publish() -> None:
        while not over.wait(0.02):
            line.publish([(series, 10.0)])

    with filled.http.stream("GET", "/stream", params={"series": series}) as answer:
        updates = (event for event in events(answer.iter_lines()) if event.get("event") == "update")
        next(updates)
        writer = threading.Thread(target=publish)
        writer.start()
        began, frames, points = time.monotonic(), 0, 0
        for event in updates:
            frames += 1
            points += len((json.loads(event["data"])["points"] or {"value": []})["value"])
            if time.monotonic() - began > 2:
                break
        took = time.monotonic() - began
        over.set()
        writer.join()
    assert frames <= 4 * took + 1
    assert points > 2 * frames, "a frame holds what came since the last one"


def test_many_open_streams_do_not_starve_a_get(filled: Served) -> None:
    assert STREAMS_MAX >= 100
    limits = httpx.Limits(max_connections=40)
    with httpx.Client(base_url=filled.url, timeout=20, limits=limits, headers=filled.headers()) as other:
        streams = [other.send(other.build_request("GET", "/stream"), stream=True) for _ in range(30)]
        for stream in streams:
            next(stream.iter_lines())
        began = time.monotonic()
        assert filled.get("/charts", limit=1)["items"]
        assert time.monotonic() - began < 5
        for stream in streams:
            stream.close()


def test_a_view_that_dies_is_told_and_fills_again_from_the_topics(filled: Served) -> None:
    line, series = filled.line, "E|A|R|1|width"
    filled.read_up_to(line.next_offset)
    before = filled.get("/charts/E%7CA%7CR%7C1%7Cwidth")
    handle = view.connect(line.pipeline)
    with filled.http.stream("GET", "/stream", params={"series": series, "since": before["vector"]}) as answer:
        kinds = events(answer.iter_lines())
        next(event for event in kinds if event.get("event") == "update")
        ray.kill(handle, no_restart=False)
        unavailable = next(event for event in kinds if event.get("event") == "unavailable")
        assert "view" in json.loads(unavailable["data"])["detail"]
        line.publish([(series, 10.25)])
        updates = (json.loads(event["data"]) for event in kinds if event.get("event") == "update")
        shown: list[float] = []  # as the page keeps them
        for said in updates:
            shown = ([] if said["reset"] else shown) + (said["points"]["value"] if said["points"] else [])
            if 10.25 in shown:
                break
    filled.read_up_to(line.next_offset)
    after = filled.get("/charts/E%7CA%7CR%7C1%7Cwidth")
    # one that had not read up to what we have seen says so, and sends all that it has anew
    assert shown in ([10.25], after["points"]["value"])
    kept = before["points"]["offset"]
    assert after["points"]["offset"][: len(kept)] == kept or after["points"]["offset"][-len(kept) - 1 : -1] == kept
    assert filled.summary()["duplicated"] == 0


def test_a_view_that_is_not_there_is_a_503(ray_cluster: None) -> None:
    import asyncio

    from cluster.api.facts import Actors
    from cluster.api.problems import Unavailable

    with pytest.raises(Unavailable, match="no actor view:nobody runs"):
        asyncio.run(Actors().ask("view:nobody", "view", "summary"))
    with pytest.raises(ValueError, match="view:nobody"):
        view.connect("nobody")
    view.stop("nobody")


def test_serve_cannot_listen_in_two_places(filled: Served) -> None:
    with pytest.raises(ConfigError, match=f"runs already, on 127.0.0.1:{filled.port}") as caught:
        deploy(load(serve=ServeConfig(port=free_port())), filled.line.pipeline, filled.line.cluster, filled.secret)
    assert "\n" not in str(caught.value)


def test_a_taken_port_is_one_clear_line(ray_cluster: None, monkeypatch: pytest.MonkeyPatch) -> None:
    import socket

    from cluster.api import app

    monkeypatch.setattr(app, "_where_serve_listens", lambda: None)
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        with pytest.raises(ConfigError, match=f"port {port} .*serve.port") as caught:
            deploy(load(serve=ServeConfig(port=port)), "quality", secret=Secret("s" * 32))
        assert "\n" not in str(caught.value)
    with pytest.raises(ConfigError, match=r"serve\.host"):
        deploy(
            load(serve=ServeConfig(host="no.such.host.invalid", port=free_port())), "quality", secret=Secret("s" * 32)
        )
    with pytest.raises(ConfigError, match=r"access\.secret_file"):
        deploy(load(), "quality")


def test_an_actor_that_is_another_one_now_is_found_by_its_name(ray_cluster: None) -> None:
    import asyncio

    from cluster.api.facts import Actors
    from cluster.api.problems import Unavailable

    async def run() -> None:
        actors, name = Actors(), "supervisor:twice"
        for _ in range(2):
            handle = Answers.options(name=name, namespace="chipquality").remote()
            assert (await actors.ask(name, "owners", "status"))["deal"] == 4
            ray.kill(handle)
            wait_for(lambda: name not in {one["name"] for one in ray.util.list_named_actors(True)}, "it is gone")
        with pytest.raises(Unavailable, match="no actor supervisor:twice runs"):
            await actors.ask(name, "owners", "status")

    asyncio.run(run())
