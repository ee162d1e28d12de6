"""What operators change by hand in Kafka: the committed offsets of a group, a group, a topic; and what they look at before."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from typing import NamedTuple

from confluent_kafka import ConsumerGroupTopicPartitions, KafkaError, KafkaException, TopicPartition
from confluent_kafka.admin import OffsetSpec  # type: ignore[attr-defined]

from actors.errors import ReopenError
from actors.kafka.admin import _EARLIEST, _LATEST, Admin, Isolation
from actors.kafka.errors import kafka_error, translate, translated
from actors.kafka.futures import CALL_TIMEOUT_S, answers, result
from actors.kafka.groups import GROUPS_MAX

Place = tuple[str, int]  # topic, partition

GONE_S, LOOK_S = 30.0, 0.1  # for brokers to say that topics are gone; between two looks

_NO_GROUP = frozenset({KafkaError.GROUP_ID_NOT_FOUND, KafkaError.INVALID_GROUP_ID})
_IN_USE = frozenset({KafkaError.NON_EMPTY_GROUP, KafkaError.UNKNOWN_MEMBER_ID, KafkaError.REBALANCE_IN_PROGRESS})
_NO_TOPIC = frozenset({KafkaError.UNKNOWN_TOPIC_OR_PART, KafkaError._UNKNOWN_TOPIC})


def _pause() -> None:
    time.sleep(LOOK_S)


class InUseError(RuntimeError):
    """The group has members: they would commit their own offsets after ours."""


class Standing(NamedTuple):
    """How a consumer group stands."""

    state: str  # "empty", "stable", …; "dead": there is no such group
    members: int
    committed: Mapping[Place, int]


class GroupOfTopic(NamedTuple):
    """A consumer group that reads a topic, or has read it and may go on."""

    group: str
    state: str
    members: int


class Changes(Admin):
    """Kafka's admin API for what changes things. Every call has a timeout, and raises ReopenError if no broker answers."""

    def standing(self, group: str) -> Standing:
        """Return how a group stands."""
        with translated(f"look at group {group}"):
            described = result(self._client.describe_consumer_groups([group], request_timeout=CALL_TIMEOUT_S)[group])
            asked = [ConsumerGroupTopicPartitions(group)]
            futures = self._client.list_consumer_group_offsets(asked, request_timeout=CALL_TIMEOUT_S)
            offsets = result(futures[group]).topic_partitions or []
        committed = {(tp.topic, tp.partition): tp.offset for tp in offsets if tp.offset >= 0}
        return Standing(described.state.name.lower(), len(described.members), committed)

    def partitions(self, topic: str) -> list[int]:
        """Return the partitions of a topic; none if there is no such topic."""
        with translated(f"look at topic {topic}"):
            found = self._metadata().get(topic)
        return [] if found is None else sorted(found.partitions)

    def bounds(
        self, places: Iterable[Place], isolation: Isolation = "read_uncommitted"
    ) -> dict[Place, tuple[int, int]]:
        """Return first retained offset and end of partitions; those whose topic is gone are left out.

        isolation: "read_committed" ends at the last stable offset, up to which one can read now, whoever has a transaction open;
        "read_uncommitted" at the high watermark.
        """
        with translated("list offsets"):
            there = self._metadata()
            asked = [TopicPartition(*place) for place in places if place[0] in there]
            low = self._offsets(asked, _EARLIEST, "read_uncommitted")
            high = self._offsets(asked, _LATEST, isolation)
        silent = [
            place for place in ((tp.topic, tp.partition) for tp in asked) if place not in low or place not in high
        ]
        if silent:
            raise ReopenError(f"{silent[0][0]}:{silent[0][1]} does not answer")
        return {place: (low[place], high[place]) for place in low}

    def at_time(self, places: Iterable[Place], time_ms: int) -> dict[Place, int | None]:
        """Return the offset of the first record published since, by Kafka's timestamp; None: none was."""
        asked = [TopicPartition(*place) for place in places]
        with translated("list offsets by time"):
            self._metadata()  # or the client knows only the partitions that it has met
            spec = OffsetSpec.for_timestamp(time_ms)
            found = self._offsets(asked, spec, "read_uncommitted")
        return {place: offset if offset >= 0 else None for place, offset in found.items()}

    def set_offsets(self, group: str, offsets: Mapping[Place, int]) -> None:
        """Commit offsets for a group without members. Raises InUseError if it has some."""
        wanted = ConsumerGroupTopicPartitions(group, [TopicPartition(*place, at) for place, at in offsets.items()])
        try:
            futures = self._client.alter_consumer_group_offsets([wanted], request_timeout=CALL_TIMEOUT_S)
            done = result(futures[group])
        except KafkaException as error:
            raise translate(error, f"set offsets of {group}") from error
        for place in done.topic_partitions or []:  # each has an answer of its own
            if place.error is None:
                continue
            if place.error.code() in _IN_USE:
                raise InUseError(f"group {group} has members: stop them first")
            raise translate(place.error, f"set the offset of {group} on {place.topic}:{place.partition}")

    def delete_group(self, group: str) -> None:
        """Forget a group without members, with its offsets; nothing if there is none. Raises InUseError."""
        try:
            result(self._client.delete_consumer_groups([group], request_timeout=CALL_TIMEOUT_S)[group])
        except KafkaException as error:
            code = kafka_error(error).code()
            if code in _IN_USE:
                raise InUseError(f"group {group} has members: stop them first") from error
            if code not in _NO_GROUP:
                raise translate(error, f"delete group {group}") from error

    def delete_topics(self, topics: Iterable[str], meanwhile: Callable[[], None] = _pause) -> list[str]:
        """Delete topics with all of their records; return those that were there, when brokers say that they are gone.

        `meanwhile` is called between two looks. Raises ReopenError if one is still there after GONE_S.
        """
        there = [topic for topic in topics if self.partitions(topic)]
        for topic in there:
            try:
                result(self._client.delete_topics([topic], request_timeout=CALL_TIMEOUT_S)[topic])
            except KafkaException as error:
                if kafka_error(error).code() not in _NO_TOPIC:
                    raise translate(error, f"delete {topic}") from error
        deadline = time.monotonic() + GONE_S
        while left := [topic for topic in there if self.partitions(topic)]:
            if time.monotonic() > deadline:
                raise ReopenError(f"{', '.join(left)}: marked to be deleted, and still there after {GONE_S:g} s")
            meanwhile()
        return there

    def replication(self, topic: str) -> int:
        """Return how many replicas a topic has, at least. Raises KeyError if there is no such topic."""
        with translated(f"look at topic {topic}"):
            return min(len(partition.replicas) for partition in self._metadata()[topic].partitions.values())

    def groups_of(self, topic: str) -> list[GroupOfTopic]:
        """Return the groups with members on a topic, or with committed offsets there; of GROUPS_MAX groups at most."""
        with translated("list consumer groups"):
            listed = result(self._client.list_consumer_groups(request_timeout=CALL_TIMEOUT_S))
            names = sorted(group.group_id for group in listed.valid)[:GROUPS_MAX]
            if not names:
                return []
            asked = {
                name: self._client.list_consumer_group_offsets(
                    [ConsumerGroupTopicPartitions(name)], request_timeout=CALL_TIMEOUT_S
                )[name]
                for name in names
            }
            groups = answers(self._client.describe_consumer_groups(names, request_timeout=CALL_TIMEOUT_S))
            offsets = answers(asked)
        found = []
        for name in names:
            group, committed = groups.get(name), offsets.get(name)
            members = [] if group is None else group.members
            reads = any(tp.topic == topic for member in members for tp in member.assignment.topic_partitions)
            has_read = committed is not None and any(tp.topic == topic for tp in committed.topic_partitions or [])
            if group is not None and (reads or has_read):
                found.append(GroupOfTopic(name, group.state.name.lower(), len(members)))
        return found
