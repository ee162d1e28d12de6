"""A reader that nobody waits for: brokers send it what is new in lumps, and what it is behind by at once."""

from __future__ import annotations

import time
import uuid
from collections.abc import Iterator

import pytest
from confluent_kafka import Producer
from confluent_kafka.admin import AdminClient, NewTopic

from actors.kafka.client import Cluster
from actors.kafka.consumer import LUMP_BYTES, LUMP_MS
from actors.kafka.log import KafkaLog
from cluster.local import Endpoints
from tests.background import again_and_again

pytestmark = pytest.mark.kafka

WAIT_S = 30.0
RECORD = b"x" * 10_000


@pytest.fixture
def topic(stack: Endpoints) -> Iterator[str]:
    name = f"l{uuid.uuid4().hex[:8]}"
    admin = AdminClient({"bootstrap.servers": stack.bootstrap_servers})
    admin.create_topics([NewTopic(name, 1, 1)])[name].result(20)
    yield name
    admin.delete_topics([name])[name].result(20)


def read(stack: Endpoints, topic: str, count: int, *, lumps: bool) -> tuple[list[int], float]:
    """Return how many records each poll brought that brought some, and how long all took."""
    log = KafkaLog(Cluster(stack.bootstrap_servers), lumps=lumps)
    reader = log.reader("nobody", topic)
    began, brought = time.monotonic(), []
    try:
        reader.assign({0: 0})
        while sum(brought) < count and time.monotonic() - began < WAIT_S:
            brought += [len(batch) for batch in reader.poll(10_000, 0.05).batches]
    finally:
        reader.close()
        log.close()
    return [each for each in brought if each], time.monotonic() - began


def test_what_comes_now_and_then_is_sent_in_lumps(stack: Endpoints, topic: str) -> None:
    found = {}
    for lumps in (False, True):
        producer = Producer({"bootstrap.servers": stack.bootstrap_servers, "linger.ms": 0})

        def feed(producer: Producer = producer) -> None:
            producer.produce(topic, b"x", partition=0)
            producer.poll(0)

        with again_and_again(feed, 0.02):
            end = 60 + (0 if not lumps else sum(found[False]))
            found[lumps], took = read(stack, topic, end, lumps=lumps)
        assert producer.flush(20) == 0
        assert sum(found[lumps]) >= end
    assert len(found[True]) <= took * 1000 / LUMP_MS + 3
    assert len(found[True]) < len(found[False])


def test_what_it_is_behind_by_comes_at_once(stack: Endpoints, topic: str) -> None:
    producer = Producer({"bootstrap.servers": stack.bootstrap_servers})
    count = 20 * LUMP_BYTES // len(RECORD)
    for _ in range(count):
        producer.produce(topic, RECORD, partition=0)
    assert producer.flush(20) == 0
    brought, took = read(stack, topic, count, lumps=True)
    assert sum(brought) == count
    assert took < 20 * LUMP_MS / 1000 / 2, "it does not wait for each lump"
