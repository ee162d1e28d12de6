"""How many records a system has consumed for good: by the offsets that its group has committed, or by what it has written."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from confluent_kafka import Consumer, TopicPartition

CALL_S = 5.0


def progress(asked: Mapping[str, Any]) -> Callable[[], int]:
    """Return a function that says how many records of `topic` are consumed.

    `group`: of the consumer group; empty: the records of `out` count, one for each.
    """
    consumer = Consumer(
        {"bootstrap.servers": asked["bootstrap"], "group.id": asked["group"] or "nobody", "enable.auto.commit": False}
    )
    topic = asked["topic"] if asked["group"] else asked["out"]
    places = [TopicPartition(topic, partition) for partition in range(asked["partitions"])]

    def by_group() -> int:
        return sum(max(0, place.offset) for place in consumer.committed(places, CALL_S))

    def by_output() -> int:
        return sum(consumer.get_watermark_offsets(place, CALL_S)[1] for place in places)

    return by_group if asked["group"] else by_output
