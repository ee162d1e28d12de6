"""What must change so that the broker has the topics it should: the decisions, without a broker."""

from __future__ import annotations

from dataclasses import replace

import pytest

from actors.kafka.topic_plan import AddPartitions, AlterConfig, Change, CreateTopic, Found, Refusal, compare
from schemas.topics import MEASUREMENTS, STATE, TOPICS, Topic

KEYED = TOPICS[MEASUREMENTS]
PLAIN = Topic("plain", "No keys", None, (), "w", "r", config={"retention.ms": "1000"})


def plan(topic: Topic, found: Found | None, partitions: int = 4, replication: int = 1) -> list[Change]:
    return compare({topic.name: topic}, {topic.name: found} if found else {}, partitions, replication)


def config(topic: Topic, **changed: str | None) -> dict[str, str | None]:
    return {
        **topic.config,
        "min.insync.replicas": "1",
        **{name.replace("_", "."): value for name, value in changed.items()},
    }


def test_what_is_missing_is_made() -> None:
    assert plan(KEYED, None) == [CreateTopic(MEASUREMENTS, 4, 1, config(KEYED))]


@pytest.mark.parametrize(("replication", "least"), [(1, "1"), (2, "1"), (3, "2"), (5, "2")])
def test_three_replicas_mean_two_in_sync(replication: int, least: str) -> None:
    [change] = plan(KEYED, None, replication=replication)
    assert isinstance(change, CreateTopic)
    assert change.config["min.insync.replicas"] == least


def test_a_number_of_its_own_wins_over_the_input_s() -> None:
    [change] = plan(replace(KEYED, partitions=1), None, partitions=9)
    assert isinstance(change, CreateTopic)
    assert change.partitions == 1


def test_what_is_right_is_left_alone() -> None:
    assert plan(KEYED, Found(4, 1, config(KEYED) | {"segment.bytes": "5"})) == []


def test_a_setting_that_differs_is_set() -> None:
    found = Found(4, 1, config(TOPICS[STATE], cleanup_policy="delete", segment_ms=None))
    assert plan(TOPICS[STATE], found) == [
        AlterConfig(STATE, "cleanup.policy", "delete", "compact"),
        AlterConfig(STATE, "segment.ms", None, "600000"),
    ]


def test_partitions_of_a_topic_without_keys_grow() -> None:
    assert plan(PLAIN, Found(2, 1, config(PLAIN))) == [AddPartitions("plain", 2, 4)]


def test_partitions_of_a_topic_with_keys_do_not_grow() -> None:
    [refusal] = plan(KEYED, Found(2, 1, config(KEYED)))
    assert isinstance(refusal, Refusal)
    assert refusal.fatal
    assert "2 partitions and should have 4" in refusal.reason
    assert "keys would move" in refusal.reason
    assert "kafka.partitions = 2" in refusal.reason


@pytest.mark.parametrize("topic", [KEYED, PLAIN], ids=lambda topic: topic.name)
def test_partitions_never_shrink(topic: Topic) -> None:
    [refusal] = plan(topic, Found(5, 1, config(topic)))
    assert isinstance(refusal, Refusal)
    assert refusal.fatal
    assert "cannot take partitions away" in refusal.reason


def test_another_replication_is_told_and_is_no_reason_not_to_start() -> None:
    found = Found(4, 1, config(KEYED))
    [refusal] = plan(KEYED, found, replication=3)
    assert isinstance(refusal, Refusal)
    assert not refusal.fatal
    assert "replication is 1 and should be 3" in refusal.reason


def test_changes_say_what_they_are() -> None:
    said = [
        str(change)
        for change in (
            CreateTopic("t", 4, 1, {"b": "2", "a": "1"}), AlterConfig("t", "a", None, "1"), AddPartitions("t", 1, 2),
            Refusal("t", "because", fatal=True),
        )
    ]  # fmt: skip
    assert said == [
        "create: 4 partitions, replication 1, a=1, b=2", "set a: None → 1", "add partitions: 1 → 2", "refused: because",
    ]  # fmt: skip
