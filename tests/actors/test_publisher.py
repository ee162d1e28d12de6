"""The publisher: dead letters, closing, backpressure, a broker or a registry that is not there."""

from __future__ import annotations

import queue
import subprocess
import sys
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import fastavro
import pytest

from actors.kafka.delivery import Failure
from actors.producers import (
    BackpressureError,
    BrokerUnavailableError,
    ClosedError,
    Context,
    Limits,
    ManufacturingPublisher,
    MeasurementPublisher,
    Publisher,
    PublishError,
    TraceError,
    UndeliveredError,
)
from actors.producers.dead_letters import VALUE_PREFIX_BYTES, DeadLetters
from actors.producers.publisher import BATCH_RECORDS_MAX
from schemas.encode import Encoder
from schemas.framing import EncodeError
from schemas.registry import Registry, RegistryUnavailable
from schemas.topics import TOPICS, load
from tests.actors.publisher_support import make_topic, nobody, read

if TYPE_CHECKING:
    from cluster.local import Endpoints

HURRIED = Limits(delivery_deadline_s=0.5, backpressure_wait_s=0.1, buffer_records_max=5)


@pytest.fixture(autouse=True, scope="module")
def _topics(stack: Endpoints) -> None:
    for topic in TOPICS:
        if topic.startswith("fab.manufacturing"):
            make_topic(stack.bootstrap_servers, topic)


@pytest.fixture
def registry(stack: Endpoints) -> Registry:
    return Registry(stack.registry_url)


@pytest.fixture
def hasty(registry: Registry) -> Iterator[Publisher]:
    """A publisher whose broker is not there."""
    with nobody() as address:
        publisher = Publisher(address, registry, limits=HURRIED)
        yield publisher
        publisher.close()


def _dead_letter(value: bytes | None) -> dict[str, Any]:
    decoded = fastavro.schemaless_reader(
        BytesIO((value or b"")[5:]), fastavro.parse_schema(dict(load("dead_letter"))), None
    )
    assert isinstance(decoded, dict)
    return decoded


@pytest.mark.parametrize(("size", "limit"), [(200_000, 100_000), (1_300_000, 2_000_000)], ids=["client", "broker"])
def test_a_record_too_large_becomes_a_dead_letter_and_its_delivery_fails(
    size: int, limit: int, stack: Endpoints, registry: Registry
) -> None:
    blob = "".join(uuid4().hex for _ in range(size // 32))  # does not compress: the broker looks at the compressed size
    limits = Limits(record_bytes_max=limit, linger_ms=0)
    with Publisher(
        stack.bootstrap_servers, registry, limits=limits, clock=lambda: 1_700_000_000.0, name="mes"
    ) as publisher:
        lots = ManufacturingPublisher(publisher)
        context = Context(correlation_id="flow-9", metadata={"blob": blob})
        delivery = lots.lot_started("L1", context=context)
        with pytest.raises(
            PublishError, match=r"^fab\.manufacturing: MSG_SIZE_TOO_LARGE: .*; dead letter at"
        ) as failed:
            delivery.result(20)
        assert lots.lot_completed("L1").result(10)[1] >= 0  # the next one is not held up
        metrics = publisher.metrics()
    assert (failed.value.topic, failed.value.code) == ("fab.manufacturing", "MSG_SIZE_TOO_LARGE")
    assert (metrics.dead_lettered, metrics.producer.failed, metrics.producer.delivered) == (1, 1, 1)
    topic, _, place = failed.value.dead_letter.partition("[")
    partition, offset = map(int, place.split("]@"))
    (message,) = read(stack.bootstrap_servers, topic, partition, offset)
    assert (topic, message.key()) == ("fab.manufacturing.dlq", b"L1")
    assert dict(message.headers() or ())["correlation-id"] == b"flow-9"
    letter = _dead_letter(message.value())
    assert (letter["topic"], letter["partition"], letter["offset"]) == ("fab.manufacturing", -1, -1)
    assert (letter["reason"], letter["key"], letter["source"]) == ("publish_failed", b"L1", "mes")
    assert letter["timestamp_ms"].timestamp() == 1_700_000_000.0
    assert len(letter["value"]) == VALUE_PREFIX_BYTES
    assert letter["value"][:1] == b"\x00"
    assert letter["detail"].startswith("MSG_SIZE_TOO_LARGE: ")
    true_size = int(letter["detail"].split("the value has ")[1].split()[0])
    assert size < true_size < size + 200


def _failure(**changed: Any) -> Failure:
    settings: dict[str, Any] = {
        "topic": "t", "key": b"k", "value": b"v", "headers": (), "code": "TOPIC_AUTHORIZATION_FAILED", "text": "no",
        "too_large": False, "unreachable": False, "purged": False,
    }  # fmt: skip
    return Failure(**(settings | changed))


def _told(dead_letters: DeadLetters, failure: Failure) -> PublishError:
    told: queue.Queue[PublishError] = queue.Queue()
    dead_letters.take(failure, told.put)
    return told.get(timeout=15)


def _dead_letters(stack: Endpoints, topic: str | None, **changed: Any) -> DeadLetters:
    settings: dict[str, Any] = {
        "limits": Limits(delivery_deadline_s=3), "name": "test", "clock": lambda: 0.0,
        "encode": lambda _, record: Encoder("dead_letter", 1).encode(record), "topic_of": lambda _: topic,
    }  # fmt: skip
    return DeadLetters(stack.bootstrap_servers, {}, **(settings | changed))


def test_a_value_is_kept_whole_if_it_fits_and_by_its_beginning_if_not(stack: Endpoints) -> None:
    topic = make_topic(stack.bootstrap_servers, partitions=1)
    dead_letters = _dead_letters(stack, topic)
    assert _told(dead_letters, _failure(value=b"v" * 300_000)).dead_letter == f"{topic}[0]@0"
    assert _told(dead_letters, _failure(value=b"v" * 999_990)).dead_letter == f"{topic}[0]@1"
    assert _told(dead_letters, _failure(value=None, key=None)).dead_letter == f"{topic}[0]@2"
    dead_letters.close(5)
    whole, beginning, nothing = (_dead_letter(m.value()) for m in read(stack.bootstrap_servers, topic, 0, 0, 3))
    assert whole["value"] == b"v" * 300_000
    assert whole["detail"] == "TOPIC_AUTHORIZATION_FAILED: no"
    assert beginning["value"] == b"v" * VALUE_PREFIX_BYTES
    assert beginning["detail"].endswith("the value has 999990 bytes, of which the first 65536 are kept")
    assert (nothing["key"], nothing["value"]) == (None, None)
    assert dead_letters.written == 3


def test_a_dead_letter_that_cannot_be_written_is_told(stack: Endpoints) -> None:
    def broken(topic: str, record: object) -> bytes:
        raise EncodeError("detail", f"{topic}: {type(record).__name__}")

    lost = _dead_letters(stack, "test.nosuch.dlq")
    error = _told(lost, _failure())
    assert str(error).startswith("t: TOPIC_AUTHORIZATION_FAILED: no; no dead letter either: test.nosuch.dlq: UNKNOWN")
    assert error.dead_letter == ""
    lost.close(5)
    assert "no dead letter either: the publisher is closed" in str(_told(_closed(stack), _failure()))
    assert "no dead letter either: detail: x.dlq" in str(
        _told(_dead_letters(stack, "x.dlq", encode=broken), _failure())
    )
    assert "no dead-letter topic" in str(_told(_dead_letters(stack, None), _failure()))
    assert "no broker answers" in str(_told(_dead_letters(stack, "x.dlq"), _failure(unreachable=True)))
    assert "given up when the publisher was closed" in str(_told(_dead_letters(stack, "x.dlq"), _failure(purged=True)))


def _closed(stack: Endpoints) -> DeadLetters:
    dead_letters = _dead_letters(stack, "x.dlq")
    dead_letters.close(1)
    return dead_letters


def test_a_topic_of_ones_own_has_no_dead_letters(stack: Endpoints, registry: Registry) -> None:
    topic = f"test.{uuid4().hex[:8]}"
    with Publisher(stack.bootstrap_servers, registry, limits=Limits(delivery_deadline_s=3)) as publisher:
        delivery = publisher.publish(topic, "series_page", {"page": 0, "first_code": 0, "seq": 0, "keys": []}, key="k")
        with pytest.raises(PublishError, match=r"UNKNOWN_TOPIC_OR_PART.*this topic has no dead-letter topic"):
            delivery.result(10)


def test_close_loses_nothing(stack: Endpoints, registry: Registry) -> None:
    topic = make_topic(stack.bootstrap_servers, partitions=1)
    publisher = Publisher(stack.bootstrap_servers, registry, limits=Limits(linger_ms=200))
    page = {"page": 0, "first_code": 0, "keys": []}
    deliveries = [publisher.publish(topic, "series_page", {**page, "seq": i}, key="k") for i in range(3000)]
    assert publisher.metrics().producer.buffered > 0
    publisher.close()
    publisher.close()
    assert [delivery.result(0) for delivery in deliveries] == [(0, i) for i in range(3000)]
    assert len(read(stack.bootstrap_servers, topic, 0, 0, 3000)) == 3000
    with pytest.raises(ClosedError):
        publisher.publish(topic, "series_page", {**page, "seq": 0}, key="k")


def test_a_program_that_ends_without_closing_loses_nothing(stack: Endpoints) -> None:
    topic = make_topic(stack.bootstrap_servers, partitions=1)
    program = (
        "from actors.producers import Limits, Publisher; from schemas.registry import Registry\n"
        f"publisher = Publisher({stack.bootstrap_servers!r}, Registry({stack.registry_url!r}), limits=Limits(linger_ms=500))\n"
        f"for i in range(100): publisher.send_raw({topic!r}, b'%d' % i, b'k')\n"
    )
    root = Path(__file__).parents[2]
    subprocess.run([sys.executable, "-c", program], cwd=root, check=True, timeout=60)
    assert [message.value() for message in read(stack.bootstrap_servers, topic, 0, 0, 100)] == [
        b"%d" % i for i in range(100)
    ]


def test_raw_records_travel_as_they_are(stack: Endpoints, registry: Registry) -> None:
    topic = make_topic(stack.bootstrap_servers, partitions=1)
    with Publisher(stack.bootstrap_servers, registry) as publisher:
        publisher.check()
        for value in (b"\x00garbage", None):
            publisher.send_raw(topic, value, b"key")
        assert publisher.flush() == 0
        first, tombstone = read(stack.bootstrap_servers, topic, 0, 0, 2)
    assert (first.value(), first.key(), tombstone.value()) == (b"\x00garbage", b"key", None)
    assert [name for name, _ in first.headers() or ()] == ["correlation-id", "traceparent"]


def test_a_broker_that_is_not_there_is_told_to_every_caller(hasty: Publisher) -> None:
    with pytest.raises(BrokerUnavailableError, match=r"no Kafka broker answers at 127\.0\.0\.1:\d+ within 0\.2 s"):
        hasty.check(0.2)
    delivery = ManufacturingPublisher(hasty).lot_started("L1")
    with pytest.raises(PublishError, match=r"_MSG_TIMED_OUT: .*refused.*no dead letter either: no broker answers"):
        delivery.result(10)


def test_a_full_buffer_reaches_the_caller_and_close_counts_what_is_left(registry: Registry) -> None:
    with nobody() as address:
        publisher = Publisher(address, registry, limits=Limits(backpressure_wait_s=0.1, buffer_records_max=5))
        rows = [{"equipment": "E", "characteristic": "C", "value": 1.0}] * 8
        with pytest.raises(BackpressureError, match=r"fab\.measurements: the buffer") as full:
            MeasurementPublisher(publisher).publish_batch(rows)
        assert full.value.sent == 5
        assert publisher.flush(0.01) == 5
        with pytest.raises(UndeliveredError, match="closed with 5 records that 127") as left:
            publisher.close(0.1)
        assert left.value.count == 5
        assert full.value.delivery is not None
        with pytest.raises(PublishError, match="given up when the publisher was closed"):
            full.value.delivery.result(0)


def test_a_registry_that_is_not_there_is_told(stack: Endpoints) -> None:
    with (
        nobody() as address,
        Publisher(stack.bootstrap_servers, Registry(f"http://{address}", timeout_s=0.5)) as publisher,
    ):
        with pytest.raises(RegistryUnavailable, match=address):
            ManufacturingPublisher(publisher).lot_started("L1")
        assert publisher.metrics().producer.published == 0


def test_what_is_refused_is_counted_and_not_taken(hasty: Publisher) -> None:
    lots, measurements = ManufacturingPublisher(hasty), MeasurementPublisher(hasty)
    with pytest.raises(EncodeError):
        lots.lot_created("L1", wafer_count="25")  # type: ignore[arg-type]
    with pytest.raises(EncodeError):
        measurements.publish_batch([{"equipment": "E", "characteristic": "C", "value": "x"}])
    with pytest.raises(TraceError, match="traceparent"):
        lots.lot_started("L1", context=Context(traceparent="00-1-2-3"))
    with pytest.raises(ValueError, match=f"at most {BATCH_RECORDS_MAX}"):
        measurements.publish_batch([{}] * (BATCH_RECORDS_MAX + 1))
    with pytest.raises(EncodeError):
        lots.lot_created("")
    with pytest.raises(EncodeError):
        measurements.measured(equipment="E", characteristic="C", value=float("inf"))
    with pytest.raises(EncodeError):
        measurements.publish_batch([{"equipment": "E", "characteristic": "C", "value": float("inf")}])
    assert hasty.metrics().invalid == 5
    assert hasty.metrics().producer.published == 0
