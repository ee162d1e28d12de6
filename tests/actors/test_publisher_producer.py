"""The producer under the publishers: outcomes, backpressure, closing. Where no broker is needed, none is there."""

from __future__ import annotations

import contextlib
import math
import os
import pickle
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from actors.errors import ConfigError
from actors.kafka.delivery import (
    BackpressureError,
    BrokerUnavailableError,
    ClosedError,
    Delivery,
    Failure,
    PublishError,
    Settle,
    UndeliveredError,
)
from actors.kafka.producer import Limits, ReliableProducer
from cluster.local import LocalStack
from tests.actors.publisher_support import make_topic, nobody, read

if TYPE_CHECKING:
    from cluster.local import Endpoints

pytestmark = pytest.mark.kafka  # also where nobody answers: librdkafka knocks on real ports

TINY = Limits(buffer_records_max=3, backpressure_wait_s=0.2, delivery_deadline_s=30.0)


def test_delivers_in_order_and_says_where(stack: Endpoints) -> None:
    topic = make_topic(stack.bootstrap_servers)
    producer = ReliableProducer(stack.bootstrap_servers)
    deliveries = [producer.send(topic, b"%d" % i, b"key", [("h", b"x")], 1_700_000_000_000 + i) for i in range(200)]
    places = [delivery.result(10) for delivery in deliveries]
    assert len({partition for partition, _ in places}) == 1
    assert [offset for _, offset in places] == list(range(200))
    messages = read(stack.bootstrap_servers, topic, *places[0], count=200)
    assert [message.value() for message in messages] == [b"%d" % i for i in range(200)]
    assert messages[7].headers() == [("h", b"x")]
    assert messages[7].timestamp()[1] == 1_700_000_000_007
    metrics = producer.metrics()
    assert (metrics.published, metrics.delivered, metrics.failed, metrics.buffered) == (200, 200, 0, 0)
    assert metrics.bytes == sum(len(b"%d" % i) + 3 for i in range(200))
    assert 0 < metrics.latency_p50_ms <= metrics.latency_p95_ms
    producer.close()


def test_partitioner_is_that_of_javas_clients(stack: Endpoints) -> None:
    """Java's murmur2 of "foobar" is -790332482 (Kafka's UtilsTest): & 0x7fffffff, modulo 5 partitions."""
    topic = make_topic(stack.bootstrap_servers, partitions=5)
    producer = ReliableProducer(stack.bootstrap_servers)
    assert producer.send(topic, b"v", b"foobar").result(10)[0] == (-790332482 & 0x7FFFFFFF) % 5
    producer.close()


def test_a_batch_has_one_outcome_and_waits_for_room(stack: Endpoints) -> None:
    topic = make_topic(stack.bootstrap_servers)
    producer = ReliableProducer(stack.bootstrap_servers, limits=Limits(buffer_records_max=50))
    values = [b"%d" % i for i in range(2000)]
    batch = producer.send_batch(topic, values, [b"one"] * 2000)
    assert batch.result(20) == 2000
    assert batch.done
    assert producer.metrics().backpressure_waits > 0
    partition, _ = producer.send(topic, b"last", b"one").result(10)
    assert [message.value() for message in read(stack.bootstrap_servers, topic, partition, 0, 2001)] == [
        *values,
        b"last",
    ]
    producer.close()


def test_threads_share_one_producer_and_each_keeps_its_order(stack: Endpoints) -> None:
    topic = make_topic(stack.bootstrap_servers, partitions=1)
    producer = ReliableProducer(stack.bootstrap_servers, limits=Limits(buffer_records_max=100))

    def work(name: bytes) -> None:
        for i in range(300):
            producer.send(topic, b"%s %d" % (name, i), name)

    threads = [threading.Thread(target=work, args=(b"t%d" % i,)) for i in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert producer.drain(20) == 0
    seen = [(message.value() or b"").split() for message in read(stack.bootstrap_servers, topic, 0, 0, 1200)]
    for i in range(4):
        assert [int(n) for name, n in seen if name == b"t%d" % i] == list(range(300))
    producer.close()


def test_close_delivers_what_is_buffered(stack: Endpoints) -> None:
    topic = make_topic(stack.bootstrap_servers, partitions=1)
    producer = ReliableProducer(stack.bootstrap_servers, limits=Limits(linger_ms=500))
    batch = producer.send_batch(topic, [b"v"] * 5000, [b"k"] * 5000)
    producer.close()
    producer.close()
    assert batch.result(0) == 5000
    assert len(read(stack.bootstrap_servers, topic, 0, 0, 5000)) == 5000
    with pytest.raises(ClosedError, match="is closed"):
        producer.send(topic, b"v")


def test_closing_while_threads_send_settles_all_that_was_taken(stack: Endpoints) -> None:
    topic = make_topic(stack.bootstrap_servers)
    producer = ReliableProducer(stack.bootstrap_servers, limits=Limits(buffer_records_max=200))
    taken: list[Delivery] = []

    def work() -> None:
        with contextlib.suppress(ClosedError):
            while True:
                taken.append(producer.send(topic, b"v", b"k"))

    threads = [threading.Thread(target=work) for _ in range(3)]
    for thread in threads:
        thread.start()
    assert producer.wait_until(lambda: len(taken) > 1000, 10)
    producer.close()
    for thread in threads:
        thread.join(10)
    assert sorted(delivery.result(0)[1] for delivery in taken) == list(range(len(taken)))
    assert producer.metrics().delivered == producer.metrics().published == len(taken)


@pytest.mark.processes
def test_a_broker_that_is_killed_and_comes_back_costs_nothing(tmp_path: Path, local_cache: Path) -> None:
    with LocalStack(tmp_path, cache=local_cache, registry=False) as own:
        bootstrap = own.endpoints.bootstrap_servers
        topic = make_topic(bootstrap, partitions=1)
        producer = ReliableProducer(bootstrap, limits=Limits(delivery_deadline_s=60))
        before = producer.send_batch(topic, [b"%d" % i for i in range(500)], [b"k"] * 500)
        own.kill("broker-1")  # with some of them acknowledged, in flight, or buffered
        after = producer.send_batch(topic, [b"%d" % i for i in range(500, 1000)], [b"k"] * 500)
        own.restart("broker-1")
        assert before.result(60) + after.result(60) == 1000
        seen = [int(message.value() or b"") for message in read(bootstrap, topic, 0, 0, 1000)]
        assert seen == list(range(1000))
        partition, offset = producer.send(topic, b"last", b"k").result(60)
        assert (partition, offset) == (0, 1000)  # nothing stands there twice
        producer.close()


def test_what_is_refused_for_good_reaches_its_own_delivery(stack: Endpoints) -> None:
    topic = make_topic(stack.bootstrap_servers, partitions=1, max_message_bytes="2000")
    producer = ReliableProducer(stack.bootstrap_servers, limits=Limits(linger_ms=0, record_bytes_max=100_000))
    producer.send(topic, b"before").result(10)
    with pytest.raises(PublishError, match="MSG_SIZE_TOO_LARGE") as refused:
        producer.send(topic, os.urandom(50_000)).result(10)  # the broker looks at the compressed size
    assert (refused.value.topic, refused.value.code) == (topic, "MSG_SIZE_TOO_LARGE")
    with pytest.raises(PublishError, match="MSG_SIZE_TOO_LARGE"):
        producer.send(topic, b"x" * 200_000).result(0)  # librdkafka refuses this one itself
    batch = producer.send_batch(topic, [b"ok", b"x" * 200_000, b"ok"], [b"k"] * 3)
    with pytest.raises(PublishError, match=r"1 of 3 records were not delivered; the first: .*TOO_LARGE") as some:
        batch.result(10)
    assert [failure.code for failure in some.value.failures] == ["MSG_SIZE_TOO_LARGE"]
    assert producer.metrics().failed == 3
    producer.close()


def test_a_topic_that_does_not_exist(stack: Endpoints) -> None:
    producer = ReliableProducer(stack.bootstrap_servers, limits=Limits(delivery_deadline_s=3))
    with pytest.raises(PublishError, match="UNKNOWN_TOPIC_OR_PART"):
        producer.send("test.nosuch", b"v").result(10)
    producer.close()


def test_check_is_silent_when_a_broker_answers(stack: Endpoints) -> None:
    producer = ReliableProducer(stack.bootstrap_servers)
    producer.check()
    producer.close()


def test_no_broker_is_said_in_one_line() -> None:
    with nobody() as address:
        producer = ReliableProducer(address)
        with pytest.raises(BrokerUnavailableError) as told:
            producer.check(0.3)
        producer.close()
    message = str(told.value)
    assert message.startswith(f"no Kafka broker answers at {address} within 0.3 s: ")
    assert "Connection refused" in message
    assert "\n" not in message


def test_a_full_buffer_is_waited_for_then_refused() -> None:
    with nobody() as address:
        producer = ReliableProducer(address, limits=TINY)
        deliveries = [producer.send("t", b"v") for _ in range(3)]
        began = time.monotonic()
        with pytest.raises(BackpressureError, match=r"t: the buffer \(3 records, .*\) stayed full") as full:
            producer.send("t", b"v")
        assert 0.2 <= time.monotonic() - began < 5
        assert full.value.code == "_QUEUE_FULL"
        with pytest.raises(BackpressureError):
            producer.send("t", b"v", wait_s=0)
        assert producer.buffered == 3
        with pytest.raises(TimeoutError, match=r"no outcome within 0\.01 s"):
            deliveries[0].result(0.01)
        with pytest.raises(UndeliveredError, match="closed with 3 records not acknowledged") as left:
            producer.close(0.1)
        assert left.value.count == 3
        for delivery in deliveries:
            with pytest.raises(PublishError, match="_PURGE_QUEUE"):
                delivery.result(0)
        assert producer.metrics().failed == 3
        assert math.isnan(producer.metrics().latency_p50_ms)


def test_a_batch_that_finds_no_room_says_how_far_it_came() -> None:
    with nobody() as address:
        producer = ReliableProducer(address, limits=TINY)
        with pytest.raises(BackpressureError) as full:
            producer.send_batch("t", [b"v"] * 10, [b"k"] * 10)
        batch = full.value.delivery
        assert full.value.sent == producer.buffered == 3
        assert batch is not None
        assert (batch.records, batch.open) == (3, 3)
        with pytest.raises(TimeoutError, match="3 of 3 records"):
            batch.result(0.01)
        with pytest.raises(UndeliveredError):
            producer.close(0)
        with pytest.raises(PublishError, match="3 of 3 records were not delivered"):
            batch.result(0)
        with pytest.raises(ValueError, match="1 values and 2 keys"):
            producer.send_batch("t", [b"v"], [b"k"] * 2)


def test_closing_frees_a_sender_that_waits_for_room() -> None:
    with nobody() as address:
        producer = ReliableProducer(address, limits=Limits(buffer_records_max=2, backpressure_wait_s=60))
        raised: list[PublishError] = []

        def work() -> None:
            try:
                producer.send_batch("t", [b"v"] * 5, [b"k"] * 5)
            except PublishError as error:
                raised.append(error)

        thread = threading.Thread(target=work)
        thread.start()
        assert producer.wait_until(lambda: producer.metrics().backpressure_waits > 0, 5)
        with pytest.raises(UndeliveredError):
            producer.close(0)
        thread.join(5)
        assert [type(error) for error in raised] == [ClosedError]
        assert producer.buffered == 0


def test_the_deadline_ends_the_retries_and_names_the_cause() -> None:
    with nobody() as address:
        producer = ReliableProducer(address, limits=Limits(delivery_deadline_s=0.5))
        with pytest.raises(PublishError, match=r"_MSG_TIMED_OUT: .*Connection refused"):
            producer.send("t", b"v").result(10)
        producer.close()


def test_the_failure_hook_decides_when_a_record_is_settled() -> None:
    held: list[tuple[Failure, Settle]] = []
    with nobody() as address:
        producer = ReliableProducer(
            address, limits=Limits(delivery_deadline_s=0.3), on_failure=lambda *args: held.append(args)
        )
        delivery = producer.send("t", b"value", b"key", [("h", b"x")])
        assert producer.wait_until(lambda: bool(held), 10)
        assert producer.buffered == 1
        failure, settle = held.pop()
        assert (failure.topic, failure.key, failure.value) == ("t", b"key", b"value")
        assert (failure.headers, failure.unreachable, failure.purged) == ([("h", b"x")], True, False)
        assert not delivery.done
        settle(PublishError("told by the hook"))
        with pytest.raises(PublishError, match="told by the hook"):
            delivery.result(0)
        producer.close()


@pytest.mark.parametrize(
    ("client", "said"),
    [
        ({"no.such.setting": "1"}, "no.such.setting"),
        ({"acks": "1"}, "acks=1: a publisher needs acks=all"),
        ({"enable.idempotence": "false"}, "a publisher needs enable.idempotence=true"),
        ({"partitioner": "consistent"}, "a publisher needs partitioner=murmur2_random"),
    ],
)
def test_settings_that_are_wrong_or_weaken_the_promise_are_refused(client: dict[str, str], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        ReliableProducer("127.0.0.1:1", client)


def test_settings_of_the_user_are_passed_on() -> None:
    with nobody() as address:
        ReliableProducer(address, {"acks": "-1", "compression.type": "zstd", "enable.idempotence": "True"}).close()


def test_errors_survive_the_way_between_processes() -> None:
    error = UndeliveredError("closed with 3 records", count=3)
    again = pickle.loads(pickle.dumps(error))  # noqa: S301
    assert (str(again), again.count) == ("closed with 3 records", 3)
