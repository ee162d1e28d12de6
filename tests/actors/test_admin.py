"""Topics planned and applied, and the standing of topics and groups, on the real broker."""

from __future__ import annotations

import threading
import uuid
from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from confluent_kafka import Consumer, KafkaError, KafkaException, Producer, TopicPartition
from confluent_kafka.admin import AdminClient

from actors.errors import ConfigError, ReopenError
from actors.kafka import admin as module
from actors.kafka import futures
from actors.kafka.admin import Admin
from actors.kafka.groups import groups
from actors.kafka.topic_plan import AddPartitions, AlterConfig, CreateTopic, Refusal
from schemas.topics import MEASUREMENTS, STATE, TOPICS, Topic
from tests.actors.publisher_support import nobody
from tests.transactions import open_transaction

if TYPE_CHECKING:
    from cluster.local import Endpoints

pytestmark = pytest.mark.kafka


@pytest.fixture
def admin(stack: Endpoints) -> Admin:
    return Admin(stack.bootstrap_servers)


@pytest.fixture
def topics(stack: Endpoints) -> Iterator[dict[str, Topic]]:
    """Three topics of our kinds under fresh names; deleted afterwards."""
    mark = f"test.{uuid.uuid4().hex[:8]}"
    named = {
        "keyed": replace(TOPICS[MEASUREMENTS], name=f"{mark}.keyed"),
        "state": replace(TOPICS[STATE], name=f"{mark}.state"),
        "plain": Topic(f"{mark}.plain", "No keys", None, (), "w", "r", config={"retention.ms": "60000"}),
    }
    yield {topic.name: topic for topic in named.values()}
    client = AdminClient({"bootstrap.servers": stack.bootstrap_servers})
    for future in client.delete_topics([topic.name for topic in named.values()]).values():
        future.exception(10)


def of(topics: dict[str, Topic], kind: str) -> str:
    return next(name for name in topics if name.endswith(kind))


def test_applied_once_nothing_is_left_to_do(admin: Admin, topics: dict[str, Topic]) -> None:
    plan = admin.plan(topics, 3, 1)
    assert [type(change) for change in plan] == [CreateTopic] * 3
    admin.apply(plan)
    assert admin.plan(topics, 3, 1) == []
    admin.apply([])
    told = {topic["name"]: topic for topic in admin.topics(topics)}
    assert set(told) == set(topics)
    [leader] = {partition["leader"] for topic in told.values() for partition in topic["partitions"]}
    for topic in told.values():
        assert topic["partitions"] == [
            {"partition": p, "leader": leader, "replicas": [leader], "isr": [leader], "low": 0, "high": 0}
            for p in range(3)
        ]


def test_all_of_our_topics_can_be_made(admin: Admin) -> None:
    have = {topic["name"]: len(topic["partitions"]) for topic in admin.topics()}
    partitions = have.get(MEASUREMENTS, 2)  # another test of the session may have made them
    admin.apply([change for change in admin.plan(TOPICS, partitions, 1) if not isinstance(change, Refusal)])
    left = admin.plan(TOPICS, partitions, 1)
    assert [change for change in left if not isinstance(change, Refusal)] == []


def test_the_same_plan_from_two_places_at_once(stack: Endpoints, topics: dict[str, Topic]) -> None:
    admins = [Admin(stack.bootstrap_servers) for _ in range(2)]
    plans = [admin.plan(topics, 2, 1) for admin in admins]
    failures: list[BaseException] = []

    def work(at: int) -> None:
        try:
            admins[at].apply(plans[at])
        except ConfigError as error:
            failures.append(error)

    threads = [threading.Thread(target=work, args=(at,)) for at in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert admins[0].plan(topics, 2, 1) == []


def test_settings_are_set_back(admin: Admin, topics: dict[str, Topic]) -> None:
    name = of(topics, "state")
    other = {**topics, name: replace(topics[name], config={**topics[name].config, "cleanup.policy": "delete"})}
    admin.apply(admin.plan(other, 1, 1))
    plan = admin.plan(topics, 1, 1)
    assert plan == [AlterConfig(name, "cleanup.policy", "delete", "compact")]
    admin.apply(plan)
    assert admin.plan(topics, 1, 1) == []


def test_partitions_grow_only_where_there_are_no_keys(admin: Admin, topics: dict[str, Topic]) -> None:
    admin.apply(admin.plan(topics, 1, 1))
    plan = admin.plan(topics, 2, 1)
    assert {change.topic: type(change) for change in plan} == {
        of(topics, "keyed"): Refusal,
        of(topics, "state"): Refusal,
        of(topics, "plain"): AddPartitions,
    }
    with pytest.raises(ConfigError, match="keys would move"):
        admin.apply(plan)
    assert len(admin.plan(topics, 2, 1)) == 3  # nothing was done
    admin.apply([change for change in plan if not isinstance(change, Refusal)])
    assert [type(change) for change in admin.plan(topics, 2, 1)] == [Refusal, Refusal]
    assert admin.end_offsets(of(topics, "plain")) == {0: 0, 1: 0}


def test_replicas_that_differ_are_told_and_the_rest_is_applied(admin: Admin, topics: dict[str, Topic]) -> None:
    admin.apply(admin.plan(topics, 1, 1))
    plan = admin.plan(topics, 1, 3)
    assert [change for change in plan if not isinstance(change, Refusal)] == []
    admin.apply(plan)


def test_more_replicas_than_brokers(admin: Admin, topics: dict[str, Topic]) -> None:
    with pytest.raises(ConfigError, match=r"create test\..*replication factor of 7"):
        admin.apply(admin.plan(topics, 1, 7))


def publish(bootstrap: str, topic: str, records: int, transactional_id: str | None = None) -> None:
    settings = {"bootstrap.servers": bootstrap} | ({"transactional.id": transactional_id} if transactional_id else {})
    producer = Producer(settings)
    if transactional_id:
        producer.init_transactions(20)
        producer.begin_transaction()
    for i in range(records):
        producer.produce(topic, b"x", partition=i % 2)
    assert producer.flush(20) == 0
    if transactional_id:
        producer.commit_transaction(20)


def test_offsets_and_lag(admin: Admin, stack: Endpoints, topics: dict[str, Topic]) -> None:
    name, group = of(topics, "keyed"), f"test-{uuid.uuid4().hex[:8]}"
    admin.apply(admin.plan(topics, 3, 1))
    publish(stack.bootstrap_servers, name, 10)
    assert admin.end_offsets(name) == {0: 5, 1: 5, 2: 0}
    consumer = Consumer({"bootstrap.servers": stack.bootstrap_servers, "group.id": group, "enable.auto.commit": False})
    consumer.commit(offsets=[TopicPartition(name, 0, 2), TopicPartition(name, 1, 5)], asynchronous=False)
    consumer.close()
    [told] = admin.groups(only=group)
    assert told in admin.groups()
    assert admin.groups(only="no-such") == []
    assert (told["state"], told["members"]) == ("empty", 0)
    assert told["partitions"] == [
        {"topic": name, "partition": 0, "committed": 2, "end": 5, "lag": 3, "member": None},
        {"topic": name, "partition": 1, "committed": 5, "end": 5, "lag": 0, "member": None},
    ]


def test_an_open_transaction_holds_the_stable_end(admin: Admin, stack: Endpoints, topics: dict[str, Topic]) -> None:
    name = of(topics, "keyed")
    admin.apply(admin.plan(topics, 1, 1))
    with open_transaction(stack.bootstrap_servers, [name]):
        assert admin.end_offsets(name, "read_committed") == {0: 0}
        assert admin.end_offsets(name) == {0: 1}


def test_a_live_group_shows_its_members(admin: Admin, stack: Endpoints, topics: dict[str, Topic]) -> None:
    name, group = of(topics, "keyed"), f"test-{uuid.uuid4().hex[:8]}"
    admin.apply(admin.plan(topics, 2, 1))
    assigned = threading.Event()
    consumer = Consumer({"bootstrap.servers": stack.bootstrap_servers, "group.id": group})
    consumer.subscribe([name], on_assign=lambda *_: assigned.set())
    for _ in range(200):
        if consumer.poll(0.1) is None and assigned.is_set():
            break
    [told] = admin.groups(only=group)
    assert (told["state"], told["members"], told["partitions"]) == ("stable", 1, [])
    consumer.commit(offsets=[TopicPartition(name, 0, 0)], asynchronous=False)
    [told] = admin.groups(only=group)
    assert told["partitions"][0]["member"]["client_id"] == "rdkafka"
    consumer.close()


def test_a_committed_topic_that_is_gone_has_no_lag(admin: Admin, stack: Endpoints, topics: dict[str, Topic]) -> None:
    name, group = of(topics, "keyed"), f"test-{uuid.uuid4().hex[:8]}"
    admin.apply(admin.plan(topics, 1, 1))
    consumer = Consumer({"bootstrap.servers": stack.bootstrap_servers, "group.id": group})
    consumer.commit(offsets=[TopicPartition(name, 0, 7)], asynchronous=False)
    consumer.close()
    told = groups(admin.client, lambda *_: {})  # as where no offset is to be had
    assert [item["partitions"] for item in told if item["group"] == group] == [
        [{"topic": name, "partition": 0, "committed": 7, "end": None, "lag": None, "member": None}]
    ]


def test_a_topic_that_is_not_there_has_no_offsets(admin: Admin, monkeypatch: pytest.MonkeyPatch) -> None:
    assert admin._offsets([TopicPartition("no-such-topic", 0)], module._LATEST, "read_uncommitted") == {}
    monkeypatch.setattr(module, "READY_TIMEOUT_S", 0.3)
    with pytest.raises(ConfigError, match=r"no-such-topic: new partitions do not answer after 0\.3 s"):
        admin._await_partitions({"no-such-topic": 1})


def test_kafka_s_own_topics_only_by_name(admin: Admin) -> None:
    assert [topic["name"] for topic in admin.topics() if topic["name"].startswith("__")] == []
    assert admin.topics(["no-such-topic"]) == []
    with pytest.raises(KeyError):
        admin.end_offsets("no-such-topic")


def test_nobody_listens(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "CALL_TIMEOUT_S", 1.0)
    with nobody() as address:
        admin = Admin(address)
        with pytest.raises(
            ConfigError, match=rf"^kafka\.bootstrap_servers = {address}: no broker answers \(_TRANSPORT\)$"
        ):
            admin.plan(TOPICS, 4, 1)
        with pytest.raises(ReopenError, match="list topics"):
            admin.topics()
        with pytest.raises(ReopenError, match="list consumer groups"):
            admin.groups()
        with pytest.raises(ConfigError, match="no broker answers"):
            admin.apply([CreateTopic("t", 1, 1)])
        with pytest.raises(KafkaException):
            admin._offsets([TopicPartition("t", 0)], module._LATEST, "read_uncommitted")


def test_wrong_settings_are_one_line() -> None:
    with pytest.raises(
        ConfigError, match=r'^kafka\.bootstrap_servers = h:1: settings: No such configuration property: "no\.such"$'
    ):
        Admin("h:1", {"no.such": "setting"})


def test_no_answer_in_time_is_a_timeout(monkeypatch: pytest.MonkeyPatch) -> None:
    from concurrent.futures import Future

    monkeypatch.setattr(futures, "CALL_TIMEOUT_S", 0.01)
    with pytest.raises(KafkaException) as raised:
        futures.result(Future())
    assert raised.value.args[0].code() == KafkaError._TIMED_OUT
