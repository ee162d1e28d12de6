"""What there is on a cluster, as an operator asks for it: every topic with its settings, and what the broker would have instead.

Bytes on disk are not told: Kafka has the request (DescribeLogDirs, KIP-113), librdkafka 2.16 has not (its pull request 5333).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from confluent_kafka.admin import (  # type: ignore[attr-defined]  # its stubs do not re-export them
    ConfigEntry,
    ConfigResource,
    ConfigSource,
)

from actors.kafka.admin import Admin
from actors.kafka.errors import translated
from actors.kafka.futures import CALL_TIMEOUT_S, answers

TOPICS_MAX = 5_000  # whose settings are asked for

Place = tuple[str, int]  # topic, partition
_OF_TOPIC = ConfigSource.DYNAMIC_TOPIC_CONFIG
_MS = {"hours": 3_600_000, "minutes": 60_000}  # units in which a broker's setting may stand for a topic's in ms
_OF_BROKER = {  # what Kafka does not name as the default of a topic's setting that has been set, the first that is set
    "retention.ms": ("log.retention.ms", "log.retention.minutes", "log.retention.hours"),
    "segment.ms": ("log.roll.ms", "log.roll.hours"),
    "segment.jitter.ms": ("log.roll.jitter.ms", "log.roll.jitter.hours"),
}


class Survey:
    """Questions about all topics. Raises ReopenError if Kafka does not answer."""

    def __init__(self, admin: Admin) -> None:
        self._admin = admin

    def settings(self, names: Sequence[str] | None = None) -> dict[str, dict[str, dict[str, str | None]]]:
        """Return every setting of topics, all unless named: `{topic: {setting: {"value": …, "default": …}}}`; at most TOPICS_MAX.

        default: what would hold if the topic did not say. value is None where Kafka keeps it to itself. A topic that is not there
        is left out.
        """
        with translated("describe topic settings"):
            if names is None:
                names = sorted(self._admin.client.list_topics(timeout=CALL_TIMEOUT_S).topics)
            resources = [ConfigResource(ConfigResource.Type.TOPIC, name) for name in names[:TOPICS_MAX]]
            if not resources:
                return {}
            broker = self._broker()
            found = answers(self._admin.client.describe_configs(resources, request_timeout=CALL_TIMEOUT_S))
        return {
            str(resource.name): {
                name: {"value": entry.value, "default": default(entry, broker)}
                for name, entry in sorted(entries.items())
            }
            for resource, entries in found.items()
        }

    def _broker(self) -> dict[str, str | None]:
        """Return the settings of a broker; nothing if it keeps them to itself. All of a cluster should be set alike."""
        brokers = self._admin.client.list_topics(timeout=CALL_TIMEOUT_S).brokers
        resources = [ConfigResource(ConfigResource.Type.BROKER, str(number)) for number in sorted(brokers)[:1]]
        found = answers(self._admin.client.describe_configs(resources, request_timeout=CALL_TIMEOUT_S))
        return {name: entry.value for entries in found.values() for name, entry in entries.items()}


def default(entry: ConfigEntry, broker: Mapping[str, str | None]) -> str | None:
    """Return what a topic's setting would be if the topic did not say: what the broker says, or Kafka itself.

    None: neither Kafka's answer for the topic nor the broker's settings tell.
    """
    if ConfigSource(entry.source) is not _OF_TOPIC:
        return entry.value
    for name, synonym in entry.synonyms.items():
        if ConfigSource(synonym.source) is not _OF_TOPIC:
            return _in_ms(name, synonym.value)
    of_broker = ((name, broker.get(name)) for name in _OF_BROKER.get(entry.name, ()))
    return next((_in_ms(name, value) for name, value in of_broker if value), None)


def _in_ms(name: str, value: str | None) -> str | None:
    """Return a broker's setting in the unit of the topic's: log.retention.hours is in hours, retention.ms is not.

    >>> _in_ms("log.retention.hours", "168"), _in_ms("log.cleanup.policy", "delete")
    ('604800000', 'delete')
    """
    factor = _MS.get(name.rpartition(".")[2])
    return value if factor is None or value is None else str(int(value) * factor)


def ends_of(topics: Sequence[Mapping[str, Any]]) -> dict[Place, int]:
    """Return the ends of partitions of `Admin.topics`, those that answered."""
    return {
        (topic["name"], partition["partition"]): partition["high"]
        for topic in topics
        for partition in topic["partitions"]
        if partition["high"] is not None
    }
