"""A loop written by hand: confluent-kafka, fastavro, a dictionary of EWMAs. At least once: it commits after it has flushed.

Its state is lost when it ends; a loop that kept it would do more than this one.
"""

from __future__ import annotations

import time

from common import NEW, VERDICT, Measurements, State, arguments, ewma, say_running, subscribed
from confluent_kafka import Producer


def main() -> None:
    """Judge for ever."""
    asked = arguments()
    consumer = subscribed(asked)
    producer = Producer({"bootstrap.servers": asked.bootstrap, "linger.ms": 5, "enable.idempotence": True})
    measurements, states = Measurements(asked.registry), dict[bytes, State]()
    committed = time.monotonic()
    taken = False
    say_running()
    while True:
        for message in consumer.consume(5_000, 0.02):
            if message.error() is not None:
                raise SystemExit(str(message.error()))
            taken = True
            measured = measurements.read(message.value())
            if measured["value"] is None:
                continue
            key = message.key()
            states[key], z, limit, beyond = ewma(states.get(key, NEW), measured["value"])
            said = VERDICT.pack(
                int(measured["timestamp"].timestamp() * 1000),
                message.timestamp()[1],
                measured["value"],
                z,
                limit,
                beyond,
            )
            while True:
                try:
                    producer.produce(asked.out, said, key)
                    break
                except BufferError:
                    producer.poll(0.01)
        producer.poll(0)
        if taken and time.monotonic() - committed > asked.commit_s:
            producer.flush()
            consumer.commit(asynchronous=False)
            committed, taken = time.monotonic(), False


if __name__ == "__main__":
    main()
