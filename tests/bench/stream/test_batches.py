"""A producer made by hand: what it appends is what a consumer reads."""

from __future__ import annotations

import time
import uuid

import numpy as np
import pytest
from confluent_kafka import Consumer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic

from cluster.local.stack import Endpoints
from tests.bench.stream.batches import Appender, RecordBatch

pytestmark = pytest.mark.kafka

RECORDS = [(b"k%d" % n, bytes([n % 256]) * (n * 7 % 500)) for n in range(200)]
NUMBERS = np.arange(50) + 0.5
MEASURED = [(b"k", b"before" + np.float64(number).tobytes() + b"after") for number in NUMBERS]


def test_what_is_appended_is_read(stack: Endpoints) -> None:
    topic = f"appended-{uuid.uuid4().hex[:8]}"
    admin = AdminClient({"bootstrap.servers": stack.bootstrap_servers})
    for future in admin.create_topics([NewTopic(topic, 2, 1)]).values():
        future.result(20)
    batches = {0: RecordBatch(RECORDS[:150]), 1: RecordBatch(RECORDS[150:])}
    with Appender(stack.bootstrap_servers, topic) as appender:
        appender.append(batches)
        time_before = time.time_ns() // 1_000_000
        batches[1].stamp()
        appender.append({1: batches[1]})
        measured = RecordBatch(MEASURED, NUMBERS.tolist())
        appender.append({0: measured})
        measured.stamp(NUMBERS[::-1].copy())
        appender.append({0: measured})
    consumer = Consumer({"bootstrap.servers": stack.bootstrap_servers, "group.id": topic, "check.crcs": True})
    consumer.assign([TopicPartition(topic, partition, 0) for partition in (0, 1)])
    read = []
    while len(read) < 350:
        messages = consumer.consume(250, 10)
        assert messages
        assert [message.error() for message in messages] == [None] * len(messages)
        read += messages
    consumer.close()
    by_partition = {p: [m for m in read if m.partition() == p] for p in (0, 1)}
    assert [(m.key(), m.value()) for m in by_partition[0]] == RECORDS[:150] + MEASURED + MEASURED[::-1]
    assert [(m.key(), m.value()) for m in by_partition[1]] == RECORDS[150:] * 2
    assert {m.timestamp()[1] >= time_before for m in by_partition[1][50:]} == {True}


def test_a_refused_batch_is_told(stack: Endpoints) -> None:
    with (
        Appender(stack.bootstrap_servers, f"missing-{uuid.uuid4().hex[:8]}") as appender,
        pytest.raises(RuntimeError, match=r"\{0: 3\}"),
    ):
        appender.append({0: RecordBatch(RECORDS[:1])})
