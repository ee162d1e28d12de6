"""A bare loop: consume, produce a small record for each, commit in a transaction; nothing is read and nothing is judged.

What it takes is what Kafka itself takes: the floor for latency.
"""

from __future__ import annotations

import struct
import time

from common import arguments, say_running, subscribed
from confluent_kafka import Producer

CALL_S = 10.0


def main() -> None:
    """Copy for ever."""
    asked = arguments()
    consumer = subscribed(asked, **{"isolation.level": "read_committed"})
    producer = Producer(
        {"bootstrap.servers": asked.bootstrap, "transactional.id": asked.group, "linger.ms": 0, "retry.backoff.ms": 10}
    )
    producer.init_transactions(CALL_S)
    say_running()
    while True:
        began = time.monotonic()
        messages = consumer.consume(5_000, asked.commit_s)
        if not messages:
            continue
        producer.begin_transaction()
        for message in messages:
            if message.error() is not None:
                raise SystemExit(str(message.error()))
            producer.produce(asked.out, struct.pack(">q", message.timestamp()[1]), message.key())
        places = consumer.position(consumer.assignment())
        producer.send_offsets_to_transaction(places, consumer.consumer_group_metadata(), CALL_S)
        producer.commit_transaction(CALL_S)
        time.sleep(max(0.0, began + asked.commit_s - time.monotonic()))


if __name__ == "__main__":
    main()
