"""What operators change in Kafka by hand, on the real broker: refused for groups with members, nothing where there is nothing."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest
from confluent_kafka import Consumer, Producer
from confluent_kafka.admin import NewTopic

from actors.errors import ReopenError
from actors.kafka import admin
from actors.kafka.changes import Changes, GroupOfTopic, InUseError
from actors.kafka.client import Cluster
from actors.kafka.letters import read_spans
from tests.cluster.served import wait_for
from tests.transactions import open_transaction

if TYPE_CHECKING:
    from cluster.local import Endpoints


@pytest.fixture
def changes(stack: Endpoints) -> Changes:
    return Changes(stack.bootstrap_servers)


@pytest.fixture
def topic(stack: Endpoints, changes: Changes) -> Iterator[str]:
    name = f"c{uuid.uuid4().hex[:8]}"
    changes._client.create_topics([NewTopic(name, 2, 1)])[name].result(20)
    producer = Producer({"bootstrap.servers": stack.bootstrap_servers})
    for number in range(4):
        producer.produce(name, b"v%d" % number, partition=0, timestamp=1_000 + number)
    assert producer.flush(20) == 0
    yield name
    changes.delete_topics([name])


def test_a_group_with_members_is_left_alone(stack: Endpoints, changes: Changes, topic: str) -> None:
    group = f"{topic}-group"
    member = Consumer(
        {"bootstrap.servers": stack.bootstrap_servers, "group.id": group, "auto.offset.reset": "earliest"}
    )
    member.subscribe([topic])
    wait_for(lambda: member.poll(0.1) is not None, "it reads")
    assert changes.standing(group).members == 1
    assert changes.groups_of(topic) == [GroupOfTopic(group, "stable", 1)]
    with pytest.raises(InUseError, match="has members"):
        changes.set_offsets(group, {(topic, 0): 1})
    with pytest.raises(InUseError, match="has members"):
        changes.delete_group(group)
    member.close()
    changes.set_offsets(group, {(topic, 0): 1})
    assert changes.standing(group).committed == {(topic, 0): 1}
    changes.delete_group(group)
    changes.delete_group(group)
    assert changes.standing(group).committed == {}


def test_where_partitions_stand_and_where_times_are(stack: Endpoints, changes: Changes, topic: str) -> None:
    places = [(topic, 0), (topic, 1)]
    assert changes.partitions(topic) == [0, 1]
    assert changes.bounds([*places, ("absent", 0)]) == {(topic, 0): (0, 4), (topic, 1): (0, 0)}
    with open_transaction(stack.bootstrap_servers, [topic]):
        assert changes.bounds(places)[topic, 0] == (0, 5)
        assert changes.bounds(places, "read_committed")[topic, 0] == (0, 4), "what one can read now"
    assert changes.at_time(places, 1_002) == {(topic, 0): 2, (topic, 1): None}
    assert changes.replication(topic) == 1
    assert changes.partitions("absent") == []


def test_topics_are_gone_when_their_deletion_returns(changes: Changes, topic: str) -> None:
    looks = []
    assert changes.delete_topics(["absent", topic], lambda: looks.append(topic)) == [topic]
    assert changes.partitions(topic) == []
    assert set(looks) <= {topic}
    assert changes.delete_topics([topic]) == []


def test_spans_of_several_partitions_are_read(stack: Endpoints, topic: str) -> None:
    cluster = Cluster(stack.bootstrap_servers)
    found = read_spans(cluster, {(topic, 0): (1, 3), (topic, 1): (0, 0)}, 20.0)
    assert [record.value for record in found[topic, 0]] == [b"v1", b"v2"]
    assert found[topic, 1] == []
    with pytest.raises(ReopenError, match="are not read within"):
        read_spans(cluster, {(topic, 1): (0, 5)}, 0.0)


def test_no_broker_is_told_as_such(stack: Endpoints, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(admin, "CALL_TIMEOUT_S", 0.5)
    nowhere = Changes("127.0.0.1:1")
    with pytest.raises(ReopenError, match="look at topic t"):
        nowhere.partitions("t")
