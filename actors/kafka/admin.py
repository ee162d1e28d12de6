"""What the cluster should hold against what it holds: topics planned and applied, and how topics and groups stand.

Theory of operation
-------------------
`plan` compares `schemas/topics.py` with the broker and returns a list of changes; `apply` makes them. Applied twice, the second
plan is empty. What cannot be done in place is in the plan as a `Refusal` with the reason, never done half: partitions of a topic
whose records have a key never grow, because keys would move and a series would be folded in two partitions.

Rules of this file: every call has a timeout; the AdminClient is kept for as long as its futures run; `plan` and `apply` belong to
the start and raise ConfigError, the others belong to a running system and raise what `translate` says.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from typing import Any, Literal

from confluent_kafka import IsolationLevel, KafkaError, KafkaException, TopicPartition
from confluent_kafka.admin import (  # type: ignore[attr-defined]  # its stubs do not re-export them
    AdminClient,
    AlterConfigOpType,
    ConfigEntry,
    ConfigResource,
    NewPartitions,
    NewTopic,
    OffsetSpec,
    TopicMetadata,
)

from actors.errors import ConfigError
from actors.kafka.client import Cluster
from actors.kafka.errors import kafka_error, translated
from actors.kafka.futures import CALL_TIMEOUT_S, UNREACHABLE, answers, result
from actors.kafka.groups import groups
from actors.kafka.topic_plan import AddPartitions, AlterConfig, Change, CreateTopic, Found, Refusal, compare
from schemas.topics import Topic

READY_TIMEOUT_S = 20.0  # until partitions just made answer
READY_POLL_S = 0.05

Isolation = Literal["read_committed", "read_uncommitted"]
_LEVEL = {"read_committed": IsolationLevel.READ_COMMITTED, "read_uncommitted": IsolationLevel.READ_UNCOMMITTED}
_EARLIEST, _LATEST = OffsetSpec.earliest(), OffsetSpec.latest()  # type: ignore[no-untyped-call]


class Admin:
    """What operators ask of Kafka. `client` holds librdkafka's further settings. Raises ConfigError if they are wrong."""

    def __init__(self, bootstrap: str, client: Mapping[str, str] | None = None) -> None:
        self.bootstrap = bootstrap
        with self._starting("settings"):
            self._client = AdminClient(Cluster(bootstrap, client=client or {}).settings())

    def plan(self, topics: Mapping[str, Topic], partitions: int, replication: int) -> list[Change]:
        """Return what must change so that the cluster has these topics, inputs with `partitions` partitions.

        Raises ConfigError, in one line, if the broker cannot be reached or refuses to tell.
        """
        with self._starting("list topics"):
            there = self._metadata()
            configs = self._configs([name for name in topics if name in there])
        found = {name: _found(there[name], config) for name, config in configs.items()}
        return compare(topics, found, partitions, replication)

    def apply(self, plan: Sequence[Change]) -> None:
        """Make the changes of a plan and wait until new partitions answer. Safe to repeat, also from two places at once.

        Raises ConfigError, before anything is changed, if the plan has a fatal refusal; and for what the broker refuses.
        """
        fatal = [f"{change.topic}: {change.reason}" for change in plan if isinstance(change, Refusal) and change.fatal]
        if fatal:
            raise ConfigError("; ".join(fatal))
        creates = [change for change in plan if isinstance(change, CreateTopic)]
        grows = [change for change in plan if isinstance(change, AddPartitions)]
        alters: dict[str, list[AlterConfig]] = {}
        for change in plan:
            if isinstance(change, AlterConfig):
                alters.setdefault(change.topic, []).append(change)
        self._create(creates)
        with self._starting("change topics"):
            if grows:
                new = [NewPartitions(change.topic, change.wanted) for change in grows]
                self._settle(self._client.create_partitions(new, request_timeout=CALL_TIMEOUT_S))
            if alters:
                resources = [_resource(name, changes) for name, changes in alters.items()]
                self._settle(self._client.incremental_alter_configs(resources, request_timeout=CALL_TIMEOUT_S))
            expected = {change.topic: change.partitions for change in creates} | {
                change.topic: change.wanted for change in grows
            }
            self._await_partitions(expected)

    @property
    def client(self) -> AdminClient:
        """Return librdkafka's client, for further questions (actors/kafka/survey.py)."""
        return self._client

    def topics(self, names: Iterable[str] | None = None, *, internal: bool = False) -> list[dict[str, Any]]:
        """Return topics (all but Kafka's own, unless named or `internal`) by name: leader, replicas, in-sync replicas, offsets.

        `{"name": …, "partitions": [{"partition", "leader", "replicas", "isr", "low", "high"}, …]}`; low and high are None for a
        partition that does not answer; leader is -1 for one that has none.
        """
        with translated("list topics"):
            there = self._metadata()
            chosen = (
                sorted(name for name in there if internal or not name.startswith("__"))
                if names is None
                else sorted(set(names) & set(there))
            )
            places = [
                TopicPartition(name, partition) for name in chosen for partition in sorted(there[name].partitions)
            ]
            low = self._offsets(places, _EARLIEST, "read_uncommitted")
            high = self._offsets(places, _LATEST, "read_uncommitted")
        return [
            {
                "name": name,
                "partitions": [
                    {
                        "partition": number,
                        "leader": partition.leader,
                        "replicas": list(partition.replicas),
                        "isr": list(partition.isrs),
                        "low": low.get((name, number)),
                        "high": high.get((name, number)),
                    }
                    for number, partition in sorted(there[name].partitions.items())
                ],
            }
            for name in chosen
        ]

    def groups(self, only: str | None = None) -> list[dict[str, Any]]:
        """Return consumer groups by name, or one: state, members, and per partition committed offset, end and lag.

        `{"group", "state", "members", "partitions": [{"topic", "partition", "committed", "end", "lag", "member"}, …]}`. A group
        without members may well have an owner that assigns partitions itself (ours do). end and lag are None where the topic is
        gone; member, `{"client_id", "host"}`, where none of the group has the partition.
        """
        return groups(self._client, self._offsets, only)

    def end_offsets(self, topic: str, isolation: Isolation = "read_uncommitted") -> dict[int, int]:
        """Return the end of each partition: its high watermark, or with read_committed its last stable offset.

        Raises KeyError if there is no such topic.
        """
        with translated(f"end offsets of {topic}"):
            places = [TopicPartition(topic, partition) for partition in self._metadata()[topic].partitions]
            return {partition: end for (_, partition), end in self._offsets(places, _LATEST, isolation).items()}

    def _metadata(self) -> dict[str, TopicMetadata]:
        return {
            name: topic
            for name, topic in self._client.list_topics(timeout=CALL_TIMEOUT_S).topics.items()
            if topic.error is None
        }

    def _configs(self, names: Sequence[str]) -> dict[str, dict[str, str | None]]:
        if not names:
            return {}
        resources = [ConfigResource(ConfigResource.Type.TOPIC, name) for name in names]
        futures = self._client.describe_configs(resources, request_timeout=CALL_TIMEOUT_S)
        return {
            resource.name: {name: entry.value for name, entry in result(future).items()}
            for resource, future in futures.items()
        }

    def _create(self, creates: Sequence[CreateTopic]) -> None:
        if not creates:
            return
        new = [
            NewTopic(change.topic, change.partitions, change.replication, config=dict(change.config))
            for change in creates
        ]
        with self._starting("create topics"):
            futures = self._client.create_topics(new, request_timeout=CALL_TIMEOUT_S, operation_timeout=CALL_TIMEOUT_S)
        for name, future in futures.items():
            with self._starting(f"create {name}"):
                try:
                    result(future)
                except KafkaException as error:
                    if (
                        kafka_error(error).code() != KafkaError.TOPIC_ALREADY_EXISTS
                    ):  # somebody was quicker: the same plan
                        raise

    def _settle(self, futures: Mapping[Any, Future[Any]]) -> None:
        for future in futures.values():
            result(future)

    def _await_partitions(self, expected: Mapping[str, int]) -> None:
        """Wait until every new partition answers: for a second after a topic is made its leader does not know it yet."""
        deadline = time.monotonic() + READY_TIMEOUT_S
        silent = [TopicPartition(name, partition) for name, count in expected.items() for partition in range(count)]
        while silent:
            self._metadata()  # or the client goes on with the partitions that it knew
            answered = self._offsets(silent, _LATEST, "read_uncommitted")
            silent = [place for place in silent if (place.topic, place.partition) not in answered]
            if silent and time.monotonic() > deadline:
                names = ", ".join(sorted({place.topic for place in silent}))
                raise ConfigError(f"{names}: new partitions do not answer after {READY_TIMEOUT_S:g} s")
            if silent:
                time.sleep(READY_POLL_S)

    def _offsets(
        self, places: Sequence[TopicPartition], spec: OffsetSpec, isolation: Isolation
    ) -> dict[tuple[str, int], int]:
        """Return offsets of the partitions that answer."""
        if not places:
            return {}
        futures = self._client.list_offsets(
            dict.fromkeys(places, spec), isolation_level=_LEVEL[isolation], request_timeout=CALL_TIMEOUT_S
        )
        return {(tp.topic, tp.partition): answer.offset for tp, answer in answers(futures).items()}

    @contextmanager
    def _starting(self, doing: str) -> Iterator[None]:
        """Turn Kafka's errors into ConfigError: the program does not start."""
        try:
            yield
        except KafkaException as error:
            cause = kafka_error(error)
            what = f"no broker answers ({cause.name()})" if cause.code() in UNREACHABLE else f"{doing}: {cause.str()}"
            raise ConfigError(f"kafka.bootstrap_servers = {self.bootstrap}: {what}") from error


def _resource(name: str, changes: Iterable[AlterConfig]) -> ConfigResource:
    entries = [
        ConfigEntry(change.setting, change.wanted, incremental_operation=AlterConfigOpType.SET) for change in changes
    ]
    return ConfigResource(ConfigResource.Type.TOPIC, name, incremental_configs=entries)


def _found(topic: TopicMetadata, config: Mapping[str, str | None]) -> Found:
    replication = min((len(partition.replicas) for partition in topic.partitions.values()), default=0)
    return Found(len(topic.partitions), replication, config)
