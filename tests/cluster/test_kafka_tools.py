"""Lag, offsets, leaders and settings as the API tells them, side by side with what Kafka's own command-line tools say."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.cluster.kafka_tools import KafkaTools
from tests.cluster.monitored import Monitored

if TYPE_CHECKING:
    from cluster.local import Endpoints

pytestmark = pytest.mark.kafka


@pytest.fixture(scope="module")
def api(stack: Endpoints) -> Monitored:
    return Monitored(stack)


@pytest.fixture(scope="module")
def tools(stack: Endpoints, local_cache: Path) -> KafkaTools:
    return KafkaTools(local_cache, stack.bootstrap_servers)


@pytest.fixture(scope="module")
def topic(api: Monitored) -> str:
    """A topic with records, some of them in transactions, the first ones deleted; retention and cleanup of its own."""
    name = api.topic("beside", 3, retention_ms="3600000", cleanup_policy="compact,delete", segment_bytes="1048576")
    api.publish(name, [40, 7, 0])
    api.publish(name, [2, 2, 0], transactional_id=f"{api.mark}-beside")
    return name


def named(rows: list[list[str]], first: str) -> list[dict[str, str]]:
    """Return the rows under the header that begins with a word, by the header's words."""
    at = next(i for i, row in enumerate(rows) if row[0] == first)
    return [dict(zip(rows[at], row, strict=False)) for row in rows[at + 1 :]]


def test_lag_is_what_kafka_consumer_groups_says(api: Monitored, tools: KafkaTools, topic: str) -> None:
    group = f"{api.mark}-beside"
    api.commit(group, topic, [11, 10, 0])
    ours = api.get(f"/events/consumers/{group}")
    rows = tools.run("org.apache.kafka.tools.consumer.group.ConsumerGroupCommand", "--describe", "--group", group)
    theirs = {
        (row["TOPIC"], int(row["PARTITION"])): tuple(
            int(row[name]) for name in ("CURRENT-OFFSET", "LOG-END-OFFSET", "LAG")
        )
        for row in named(rows, "GROUP")
    }
    assert theirs == {
        (topic, 0): (11, 43, 32),  # 40 records, 2 in a transaction, and its marker
        (topic, 1): (10, 10, 0),
        (topic, 2): (0, 0, 0),
    }
    assert {(p["topic"], p["partition"]): (p["committed"], p["end"], p["lag"]) for p in ours["partitions"]} == theirs
    assert ours["lag"] == sum(lag for _, _, lag in theirs.values())


def test_offsets_are_what_kafka_get_offsets_says(api: Monitored, tools: KafkaTools, topic: str) -> None:
    lines = [line[0].split(":") for line in tools.run("org.apache.kafka.tools.GetOffsetShell", "--topic", topic)]
    found = {int(partition): int(offset) for _, partition, offset in lines}
    ours = api.get(f"/events/topics/{topic}")["partitions"]
    assert {p["partition"]: p["high"] for p in ours} == found == {0: 43, 1: 10, 2: 0}


def test_a_topic_is_what_kafka_topics_says(api: Monitored, tools: KafkaTools, topic: str) -> None:
    rows = tools.run("org.apache.kafka.tools.TopicCommand", "--describe", "--topic", topic)
    said: dict[str, Any] = api.get(f"/events/topics/{topic}")
    head, lines = " ".join(rows[0]), [dict(zip(row[::2], row[1::2], strict=False)) for row in rows[1:]]
    assert f"PartitionCount: {len(said['partitions'])}" in head
    theirs = {int(line["Partition:"]): (int(line["Leader:"]), line["Replicas:"], line["Isr:"]) for line in lines}
    assert theirs == {
        p["partition"]: (p["leader"], ",".join(map(str, p["replicas"])), ",".join(map(str, p["isr"])))
        for p in said["partitions"]
    }
    own = dict(pair.split("=", 1) for pair in head.partition("Configs: ")[2].split(",") if "=" in pair)
    differing = {name for name, each in said["configs"].items() if each["value"] != each["default"]}
    assert {"retention.ms", "segment.bytes"} <= differing <= {*own, "cleanup.policy"}
    assert {name: said["configs"][name]["value"] for name in ("retention.ms", "segment.bytes")} == {
        name: own[name] for name in ("retention.ms", "segment.bytes")
    }
