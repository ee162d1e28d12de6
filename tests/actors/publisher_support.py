"""What the publishers' tests share: topics on the real broker, and reading the record a Delivery names."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from uuid import uuid4

from confluent_kafka import Consumer, KafkaException, Message, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic

READ_S = 15.0


def make_topic(bootstrap: str, name: str | None = None, partitions: int = 3, **config: str) -> str:
    """Create a topic (of a fresh name, if none is given) unless it is there; return its name."""
    topic = name or f"test.{uuid4().hex[:12]}"
    admin = AdminClient({"bootstrap.servers": bootstrap})
    if topic not in admin.list_topics(timeout=10).topics:
        future = admin.create_topics(
            [NewTopic(topic, partitions, 1, config={k.replace("_", "."): v for k, v in config.items()})]
        )[topic]
        future.result(10)
    return topic


def read(bootstrap: str, topic: str, partition: int, offset: int, count: int = 1) -> list[Message]:
    """Read `count` records from exactly this position."""
    consumer = Consumer({"bootstrap.servers": bootstrap, "group.id": "unused", "enable.auto.commit": False})
    try:
        consumer.assign([TopicPartition(topic, partition, offset)])
        messages: list[Message] = []
        deadline = time.monotonic() + READ_S
        while len(messages) < count and time.monotonic() < deadline:
            for message in consumer.consume(count - len(messages), 0.2):
                if message.error():
                    raise KafkaException(message.error())
                messages.append(message)
        assert len(messages) == count, f"{topic}[{partition}]@{offset}: {len(messages)} of {count} records"
        return messages
    finally:
        consumer.close()


@contextmanager
def nobody() -> Iterator[str]:
    """Give an address where nobody listens, for sure: the port is ours, and we do not accept."""
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        yield f"127.0.0.1:{held.getsockname()[1]}"
