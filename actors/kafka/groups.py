"""How consumer groups stand: `Admin.groups` says in which shape."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from confluent_kafka import ConsumerGroupTopicPartitions, KafkaException, TopicPartition
from confluent_kafka.admin import AdminClient, OffsetSpec  # type: ignore[attr-defined]  # its stubs do not re-export them

from actors.kafka.errors import translated
from actors.kafka.futures import CALL_TIMEOUT_S, answers, result

GROUPS_MAX = 1000  # groups told of: each costs a request

_LATEST = OffsetSpec.latest()  # type: ignore[no-untyped-call]
_Offsets = Callable[[Sequence[TopicPartition], OffsetSpec, Any], dict[tuple[str, int], int]]


def groups(client: AdminClient, offsets: _Offsets, only: str | None = None) -> list[dict[str, Any]]:
    """Return consumer groups by name, at most GROUPS_MAX, or one. `offsets` asks for ends. Raises ReopenError."""
    with translated("list consumer groups"):
        listed = result(client.list_consumer_groups(request_timeout=CALL_TIMEOUT_S))
        names = sorted(group.group_id for group in listed.valid if only in {None, group.group_id})[:GROUPS_MAX]
        if not names:
            if listed.errors:  # no broker could be asked
                raise KafkaException(listed.errors[0])
            return []
        asked = {
            name: client.list_consumer_group_offsets(
                [ConsumerGroupTopicPartitions(name)], request_timeout=CALL_TIMEOUT_S
            )[name]
            for name in names
        }
        described = answers(client.describe_consumer_groups(names, request_timeout=CALL_TIMEOUT_S))
        committed = {
            name: sorted(tp for tp in answer.topic_partitions or [] if tp.offset >= 0)
            for name, answer in answers(asked).items()
            if name in described
        }
        client.list_topics(timeout=CALL_TIMEOUT_S)  # or the client knows only the partitions that it has met
        places = sorted({(tp.topic, tp.partition) for tps in committed.values() for tp in tps})
        ends = offsets([TopicPartition(*place) for place in places], _LATEST, "read_uncommitted")
    return [_told(name, described[name], standing, ends) for name, standing in committed.items()]


def _told(
    name: str, described: Any, committed: Sequence[TopicPartition], ends: dict[tuple[str, int], int]
) -> dict[str, Any]:
    members = {
        (tp.topic, tp.partition): {"client_id": member.client_id, "host": member.host.lstrip("/")}
        for member in described.members
        if member.assignment
        for tp in member.assignment.topic_partitions
    }
    partitions = [
        {
            "topic": tp.topic,
            "partition": tp.partition,
            "committed": tp.offset,
            "end": (end := ends.get((tp.topic, tp.partition))),
            "lag": None if end is None else max(0, end - tp.offset),
            "member": members.get((tp.topic, tp.partition)),
        }
        for tp in committed
    ]
    return {
        "group": name,
        "state": described.state.name.lower(),
        "members": len(described.members),
        "partitions": partitions,
    }
