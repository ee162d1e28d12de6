"""Topics as they should be against topics as they are: the list of changes between the two. No I/O.

Partitions of a topic whose records have a key never grow in place, because keys would move and a series would be folded in two
partitions; Kafka cannot take partitions away; replicas are moved with Kafka's own tool. Such differences are `Refusal`s.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from schemas.topics import Topic


class Found(NamedTuple):
    """A topic as the broker has it."""

    partitions: int
    replication: int
    config: Mapping[str, str | None]


@dataclass(frozen=True, slots=True)
class CreateTopic:
    """A topic is missing."""

    topic: str
    partitions: int
    replication: int
    config: Mapping[str, str] = field(default_factory=dict)

    def __str__(self) -> str:
        settings = ", ".join(f"{name}={value}" for name, value in sorted(self.config.items()))
        return f"create: {self.partitions} partitions, replication {self.replication}, {settings}"


@dataclass(frozen=True, slots=True)
class AlterConfig:
    """A setting of a topic has another value."""

    topic: str
    setting: str
    current: str | None
    wanted: str

    def __str__(self) -> str:
        return f"set {self.setting}: {self.current} → {self.wanted}"


@dataclass(frozen=True, slots=True)
class AddPartitions:
    """A topic whose records have no key has fewer partitions than it should."""

    topic: str
    current: int
    wanted: int

    def __str__(self) -> str:
        return f"add partitions: {self.current} → {self.wanted}"


@dataclass(frozen=True, slots=True)
class Refusal:
    """Something differs that is not changed in place. `fatal`: the product does not start with it."""

    topic: str
    reason: str
    fatal: bool

    def __str__(self) -> str:
        return f"refused: {self.reason}"


Change = CreateTopic | AlterConfig | AddPartitions | Refusal


def compare(topics: Mapping[str, Topic], found: Mapping[str, Found], partitions: int, replication: int) -> list[Change]:
    """Return what must change so that the broker has these topics, inputs with `partitions` partitions.

    >>> from schemas.topics import ML, TOPICS
    >>> [str(change) for change in compare({ML: TOPICS[ML]}, {ML: Found(4, 1, {})}, 8, 1)][0]
    'refused: it has 4 partitions and should have 8; they are not added in place, because keys would move ...'
    """
    changes: list[Change] = []
    for name, topic in topics.items():
        wanted = topic.partition_count(partitions)
        if name not in found:
            changes.append(CreateTopic(name, wanted, replication, _wanted_config(topic, replication)))
            continue
        has = found[name]
        changes += _partition_changes(topic, has.partitions, wanted)
        if has.replication != replication:
            changes.append(Refusal(name, _REPLICATION.format(current=has.replication, wanted=replication), fatal=False))
        changes += [
            AlterConfig(name, setting, has.config.get(setting), value)
            for setting, value in _wanted_config(topic, has.replication).items()
            if has.config.get(setting) != value
        ]
    return changes


_KEYED = (
    "it has {current} partitions and should have {wanted}; they are not added in place, because keys would move to other "
    "partitions and a series would be folded in two: set kafka.partitions = {current}, or rebuild into a new topic"
)
_SHRINK = (
    "it has {current} partitions and should have {wanted}; Kafka cannot take partitions away: "
    "set kafka.partitions = {current}, or rebuild into a new topic"
)
_REPLICATION = (
    "replication is {current} and should be {wanted}; replicas are moved with Kafka's kafka-reassign-partitions"
)


def _partition_changes(topic: Topic, current: int, wanted: int) -> list[Change]:
    if current == wanted:
        return []
    if current > wanted:
        return [Refusal(topic.name, _SHRINK.format(current=current, wanted=wanted), fatal=True)]
    if topic.key is not None:
        return [Refusal(topic.name, _KEYED.format(current=current, wanted=wanted), fatal=True)]
    return [AddPartitions(topic.name, current, wanted)]


def _wanted_config(topic: Topic, replication: int) -> dict[str, str]:
    """Return the topic's settings; with three replicas or more, acks=all means at least two of them."""
    return {**topic.config, "min.insync.replicas": "2" if replication >= 3 else "1"}
