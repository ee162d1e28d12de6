"""The newest alerts of a topic, read once: for commands, which have no view."""

from __future__ import annotations

import time

from actors.errors import ReopenError
from actors.kafka.client import Cluster
from actors.kafka.view_consumer import ViewConsumer
from actors.view.alert_book import AlertBook
from schemas.decode import UnreadableRecord, decode_event
from schemas.registry import Registry

SILENT_S = 20.0  # without a record; then the broker is told to be silent
POLL_RECORDS_MAX = 1_000


def newest_alerts(cluster: Cluster, topic: str, back: int, pipelines: frozenset[str], book: AlertBook) -> int:
    """Put the newest alerts of some pipelines into a book; return how many records could not be read.

    Those from `back` offsets before each partition's end. Raises ReopenError, RegistryUnavailable.
    """
    registry = Registry(cluster.registry_url, cluster.registry_client)
    consumer = ViewConsumer(cluster, f"{topic}-look")
    unreadable = 0
    try:
        behind = {place: end for place, end in consumer.begin({topic: back}, {}).items() if end > 0}
        deadline = time.monotonic() + SILENT_S
        while behind:
            polled = consumer.poll(POLL_RECORDS_MAX, 0.1)
            for record in polled.records:
                try:
                    event = decode_event(record.value, registry.schema)
                except UnreadableRecord:
                    unreadable += 1
                    continue
                if event["pipeline"] in pipelines:
                    book.add(event, record.partition, record.offset, record.timestamp_ms)
            for place, position in polled.positions.items():
                if position >= behind.get(place, position + 1):
                    del behind[place]
            if polled.records or polled.positions:
                deadline = time.monotonic() + SILENT_S
            elif time.monotonic() > deadline:
                raise ReopenError(
                    f"{topic}: partitions {sorted(p for _, p in behind)} do not answer for {SILENT_S:g} s"
                )
    finally:
        consumer.close()
    return unreadable
