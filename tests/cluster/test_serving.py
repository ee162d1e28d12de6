"""Two replicas of the API and of the stream, on real Ray Serve: nothing is lost when they are replaced, or killed."""

from __future__ import annotations

import itertools
import json
import os
import signal
import threading
import time
import uuid
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from confluent_kafka import Consumer, TopicPartition
from ray.serve.context import _get_global_client

from cluster.api import publisher
from cluster.api.app import API_APP, STREAM_APP, deploy
from cluster.operations import actor as operations
from tests.cluster.conftest import FAST, config_at
from tests.cluster.served import Served, wait_for
from tests.cluster.test_api import events

KAFKA_S = 60.0  # for another test's open transaction to end
SERIES = [f"KILL|A|R|{number}|torn" for number in range(12)]
READERS = 6
ONCE = {"Idempotency-Key": uuid.uuid4().hex}
PAUSE_S = 0.04  # between two requests of a caller: the processors are for those who start, too
PATHS = ("/status", "/charts?limit=5", "/alerts?limit=5", "/events/topics?limit=5", "/session", "/detectors", "/keys")


def replicas(app: str) -> dict[int, str]:
    """Return the processes of an app's replicas, with their states."""
    client = _get_global_client()
    assert client is not None
    [deployment] = client.get_serve_details()["applications"][app]["deployments"].values()
    return {replica["pid"]: replica["state"] for replica in deployment["replicas"] if replica.get("pid")}


def running(app: str) -> set[int]:
    return {pid for pid, state in replicas(app).items() if state == "RUNNING"}


class Caller(threading.Thread):
    """Asks until told to end, one request after the other; keeps what went wrong."""

    def __init__(self, served: Served, over: threading.Event) -> None:
        super().__init__(daemon=True)
        self.served, self.over = served, over
        self.wrong: list[str] = []
        self.count = 0

    def run(self) -> None:
        with httpx.Client(base_url=self.served.url, timeout=30, headers=self.served.headers()) as http:
            while not self.over.is_set():
                try:
                    self.ask(http, self.count)
                except (httpx.HTTPError, AssertionError) as error:
                    self.wrong.append(f"{type(error).__name__}: {error}"[:300])
                self.count += 1
                self.over.wait(PAUSE_S)

    def ask(self, http: httpx.Client, turn: int) -> None:
        path = PATHS[turn % len(PATHS)]
        answer = http.get(path)
        assert answer.status_code == 200, f"{path}: {answer.status_code} {answer.text}"


class Changer(Caller):
    """Publishes each event twice, and begins the same operation again and again."""

    def __init__(self, served: Served, over: threading.Event, group: str) -> None:
        super().__init__(served, over)
        asked = {"group": group, "to": "earliest"}
        # a plan looks at every pipeline of the broker, of other tests too: it is made before
        planned = wait_for(lambda: begun(served.http, {**asked, "dry_run": True}, 200), "a plan is made")
        self.asked = {**asked, "plan_hash": planned["plan_hash"]}
        self.begun = {wait_for(lambda: begun(served.http, self.asked, 202), "the operation begins")["id"]}
        self.places: list[tuple[str, int, int]] = []

    def ask(self, http: httpx.Client, turn: int) -> None:
        event = {"event_id": uuid.uuid4().hex, "event_type": "SERVICE_HEALTH", "service": "s", "status": "UP"}
        said = [post(http, "/events/system", {"event": event}, 202) for _ in range(2)]
        assert [one["repeated"] for one in said] == [False, True], said
        places = {(one["topic"], one["partition"], one["offset"]) for one in said}
        assert len(places) == 1, said
        self.places += places
        self.begun.add(post(http, "/events/reset", self.asked, 202, ONCE)["id"])


def begun(http: httpx.Client, body: Any, status: int) -> Any:
    """Return the answer to a reset; None if Kafka does not answer just now."""
    answer = http.post("/events/reset", json=body, headers=ONCE)
    assert answer.status_code in (status, 503), answer.text
    return answer.json() if answer.status_code == status else None


def post(http: httpx.Client, path: str, body: Any, status: int, headers: dict[str, str] | None = None) -> Any:
    """Ask, and again where Kafka cannot just now, and the API says so: no request is lost by that."""
    deadline = time.monotonic() + KAFKA_S
    while True:
        answer = http.post(path, json=body, headers=headers)
        if answer.status_code != 503 or answer.json().get("part") != "kafka" or time.monotonic() > deadline:
            break
    assert answer.status_code == status, f"{path}: {answer.status_code} {answer.text}"
    return answer.json()


@pytest.fixture
def group(served: Served) -> str:
    """A plain consumer group that has committed something."""
    name = f"g{uuid.uuid4().hex[:8]}"
    consumer = Consumer({"bootstrap.servers": served.line.cluster.bootstrap_servers, "group.id": name})
    consumer.commit(offsets=[TopicPartition(served.line.sources.charts, 0, 1)], asynchronous=False)
    consumer.close()
    return name


@pytest.fixture(scope="module")
def doubled(served: Served) -> Iterator[Served]:
    line = served.line
    line.publish(line.in_control(SERIES, 30))
    yield served
    operations.stop(line.pipeline)
    publisher.stop(line.pipeline)


def test_a_new_deployment_loses_no_request(doubled: Served, group: str) -> None:
    line, over = doubled.line, threading.Event()
    callers = [Caller(doubled, over), Caller(doubled, over), Changer(doubled, over, group)]
    changer = callers[-1]
    assert isinstance(changer, Changer)
    for caller in callers:
        caller.start()
    before = running(API_APP)
    changed = config_at(doubled.port).model_copy(update={"access": FAST.model_copy(update={"streams_max": 150})})
    try:
        wait_for(lambda: all(caller.count > 2 for caller in callers), "all have begun")
        assert deploy(changed, line.pipeline, line.cluster, doubled.secret) == doubled.url
        wait_for(lambda: len(running(API_APP)) == len(replicas(API_APP)) == 2, "the old replicas have ended")
        turns = [caller.count for caller in callers]
        wait_for(lambda: all(c.count > n + 5 for c, n in zip(callers, turns, strict=True)), "they go on")
    finally:
        over.set()
    for caller in callers:
        caller.join(60)
    assert [caller.wrong for caller in callers] == [[], [], []]
    assert len(before) == 2
    assert not before & running(API_APP), "both are replaced"
    assert len(changer.begun) == 1, "one key, one operation"
    assert len(set(changer.places)) == len(changer.places) == changer.count


def test_a_key_made_by_one_replica_is_known_to_the_other(doubled: Served) -> None:
    assert len(running(API_APP)) == 2
    for number in range(3):
        made = doubled.http.post("/keys", json={"name": f"twin {number}", "grants": ["viewer"]}).json()
        headers = {"Authorization": f"Bearer {made['text']}"}
        told = [httpx.get(f"{doubled.url}{path}", headers=headers).status_code for path in ("session",) * 6]
        told += [httpx.get(f"{doubled.url}stream/x", headers=headers).status_code for _ in range(4)]
        assert told == [200] * 6 + [404] * 4


class Reader(threading.Thread):
    """A page: reads the stream, and resumes with the last id that it has seen whenever it is cut."""

    def __init__(self, served: Served, since: str, over: threading.Event) -> None:
        super().__init__(daemon=True)
        self.served, self.over, self.last, self.since = served, over, "", since
        self.cuts = 0
        self.alerts: dict[str, str] = {}  # id → newest state
        self.offsets: dict[str, list[int]] = {name: [] for name in SERIES}  # of points
        self.told: list[str] = []
        self.resets = 0

    def run(self) -> None:
        with httpx.Client(base_url=self.served.url, timeout=30, headers=self.served.headers()) as http:
            while not self.over.is_set():
                headers = {"Last-Event-ID": self.last} if self.last else {}
                wanted = {"series": SERIES, "since": self.since}
                try:
                    with http.stream("GET", "/stream", params=wanted, headers=headers) as answer:
                        self.told.append(str(answer.status_code))
                        for event in events(answer.iter_lines()):
                            if self.over.is_set():
                                return
                            if event.get("event") == "update":
                                self.take(event["id"], json.loads(event["data"]))
                except httpx.HTTPError as error:
                    self.told.append(f"{type(error).__name__}: {error}"[:200])
                self.cuts += 1

    def take(self, vector: str, said: Any) -> None:
        self.resets += said["reset"]
        self.alerts |= {one["alert_id"]: one["state"] for one in said["alerts"]}
        for chart in said["charts"]:
            self.offsets[chart["series"]] += (chart["points"] or {"offset": []})["offset"]
        self.last = vector


def test_streams_go_on_elsewhere_when_a_replica_is_killed_and_miss_nothing(doubled: Served) -> None:
    line = doubled.line
    pids = wait_for(lambda: found if len(found := running(STREAM_APP)) == 2 else None, "two replicas of the stream")
    doubled.read_up_to(line.next_offset)
    over, since = threading.Event(), doubled.summary()["vector"]
    readers = [Reader(doubled, since, over) for _ in range(READERS)]
    for reader in readers:
        reader.start()
    truth: dict[str, str] = {}
    offsets: dict[str, list[int]] = {name: [] for name in SERIES}
    rows = itertools.cycle([(name, value) for value in (30.0, 10.0) for name in SERIES])

    def publish(count: int) -> None:
        """Publish rows one by one, every other twelve out of control."""
        for _ in range(count):
            name, value = next(rows)
            offsets[name].append(line.next_offset)
            truth.update({one["alert_id"]: one["state"] for one in line.publish([(name, value)])})

    try:
        publish(12)
        wait_for(lambda: all(reader.alerts for reader in readers), "all hear of alerts")
        publish(6)
        os.kill(min(pids), signal.SIGKILL)
        publish(24)
        wait_for(lambda: any(reader.cuts for reader in readers), "some of them read from it")
        wait_for(lambda: all(reader.alerts == truth for reader in readers), "all have heard of every alert")
        wait_for(lambda: all(reader.offsets == offsets for reader in readers), "all have every point once, in order")
        wait_for(lambda: len(running(STREAM_APP)) == 2, "the killed replica is replaced")
    finally:
        over.set()
    for reader in readers:
        reader.join(30)
    assert len(truth) >= len(SERIES)
    assert sum(reader.resets for reader in readers) == 0
    assert not all(reader.cuts for reader in readers), [reader.told for reader in readers]
