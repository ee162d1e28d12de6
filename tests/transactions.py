"""A transaction of somebody's that stays open: what readers must not wait for."""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

from confluent_kafka import Producer


@contextmanager
def open_transaction(bootstrap_servers: str, topics: Iterable[str]) -> Iterator[None]:
    """Write one record to partition 0 of topics and do not commit it; aborted at the end."""
    producer = Producer({"bootstrap.servers": bootstrap_servers, "transactional.id": f"open-{uuid.uuid4().hex}"})
    producer.init_transactions(20)
    producer.begin_transaction()
    try:
        for topic in topics:
            producer.produce(topic, b"not committed", partition=0)
        assert producer.flush(20) == 0
        yield
    finally:
        producer.abort_transaction(20)
