"""The two systems that the contract tests run against: the model, and the real broker."""

from __future__ import annotations

import threading
import time
import uuid
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from random import Random
from typing import Protocol, TypeVar

from confluent_kafka import Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic

from actors.engine.position import Record
from actors.errors import ReopenError
from actors.kafka.client import Cluster
from actors.kafka.errors import translated
from actors.kafka.log import KafkaLog
from actors.log import Log
from tests.integration.line import wait_for
from tests.simulation.broker import TRANSACTION_TIMEOUT_S, Broker, Late
from tests.simulation.model import Client, Faults, ModelLog, Runtime, VirtualClock
from tests.simulation.raw_end import INVALID_PRODUCER_EPOCH, NONE, PRODUCER_FENCED, producer_of, send_end

SOCKET_TIMEOUT_MS = 5_000

T = TypeVar("T")


class RawClient(Protocol):
    """A transactional producer, step by step: what a writer that dies in the middle has done until then."""

    def init(self) -> None: ...
    def begin(self) -> None: ...
    def produce(self, record: Record) -> None: ...
    def flush(self) -> None: ...
    def send_offsets(self, group: str, offsets: Mapping[tuple[str, int], int]) -> None: ...
    def commit(self) -> None: ...
    def abort(self) -> None: ...


class System(Protocol):
    """A log, and what a test does to it from outside."""

    log: Log

    def topic(self, partitions: int) -> str: ...
    def append(self, topic: str, partition: int, *values: bytes) -> None: ...
    def delete_before(self, topic: str, partition: int, offset: int) -> None: ...
    def client(self, transactional_id: str, timeout_s: float = TRANSACTION_TIMEOUT_S) -> RawClient: ...
    def now(self) -> float: ...
    def end_of(self, transactional_id: str, *, committed: bool) -> Callable[[], None]:
        """Return what lets an end arrive, of whatever transaction is open then, in the epoch that the id has now."""
        ...

    def meanwhile(self, call: Callable[[], T], other: Callable[[], None]) -> T:
        """Do `other` a moment after `call` has begun to wait; return what `call` returns."""
        ...


class Model:
    """The model, all its faults switched off."""

    def __init__(self) -> None:
        self.clock = VirtualClock()
        self.broker = Broker(self.clock, Random(1))
        self.log = ModelLog(self.broker, self.clock)

    def topic(self, partitions: int) -> str:
        name = f"t{len(self.broker.topics)}"
        self.broker.create(name, partitions)
        return name

    def append(self, topic: str, partition: int, *values: bytes) -> None:
        for value in values:
            self.broker.append((topic, partition), value, b"key")

    def delete_before(self, topic: str, partition: int, offset: int) -> None:
        self.broker.partition((topic, partition)).delete_before(offset)

    def client(self, transactional_id: str, timeout_s: float = TRANSACTION_TIMEOUT_S) -> Client:
        return Client(self.broker, transactional_id, Runtime(), Faults(), timeout_s)

    def now(self) -> float:
        return self.clock.now()

    def end_of(self, transactional_id: str, *, committed: bool) -> Callable[[], None]:
        late = Late(transactional_id, self.broker.producers[transactional_id].epoch, committed)

        def arrive() -> None:
            self.broker.late.append(late)
            self.broker.arrive(late)

        return arrive

    def meanwhile(self, call: Callable[[], T], other: Callable[[], None]) -> T:
        clock, sleep = self.clock, self.clock.sleep
        waiting = [other]

        def first_other(seconds: float) -> None:
            sleep(seconds)
            while waiting:
                waiting.pop()()

        clock.sleep = first_other  # type: ignore[method-assign]
        try:
            result = call()
        finally:
            clock.sleep = sleep  # type: ignore[method-assign]
        assert not waiting, "it did not wait"
        return result


class RealClient:
    """A producer of librdkafka."""

    def __init__(self, cluster: Cluster, transactional_id: str, timeout_s: float) -> None:
        timeout_ms = round(timeout_s * 1000)
        settings = cluster.settings(
            transactional_id=transactional_id,
            transaction_timeout_ms=timeout_ms,
            socket_timeout_ms=min(timeout_ms, SOCKET_TIMEOUT_MS),  # librdkafka wants a request to fit the transaction
            linger_ms=0,
        )
        self._producer = Producer(settings)

    def init(self) -> None:
        self._producer.init_transactions(20)

    def begin(self) -> None:
        self._producer.begin_transaction()

    def produce(self, record: Record) -> None:
        with translated("produce"):
            self._producer.produce(record.topic, record.value, record.key, record.partition)

    def flush(self) -> None:
        assert self._producer.flush(10) == 0

    def send_offsets(self, group: str, offsets: Mapping[tuple[str, int], int]) -> None:
        from confluent_kafka import Consumer

        consumer = Consumer({"bootstrap.servers": "127.0.0.1:1", "group.id": group, "logger": None})
        places = [TopicPartition(*place, offset) for place, offset in offsets.items()]
        self._producer.send_offsets_to_transaction(places, consumer.consumer_group_metadata(), 10)
        consumer.close()

    def commit(self) -> None:
        with translated("commit"):
            self._producer.commit_transaction(10)

    def abort(self) -> None:
        with translated("abort"):
            self._producer.abort_transaction(10)


class Real:
    """The real broker."""

    def __init__(self, bootstrap_servers: str) -> None:
        self.cluster = Cluster(bootstrap_servers)
        self.log = KafkaLog(self.cluster)
        self._admin = AdminClient({"bootstrap.servers": bootstrap_servers})
        self._producer = Producer({"bootstrap.servers": bootstrap_servers, "linger.ms": 0})

    def topic(self, partitions: int) -> str:
        name = f"t{uuid.uuid4().hex[:8]}"
        self._admin.create_topics([NewTopic(name, partitions, 1)])[name].result(20)
        wait_for(lambda: self._answers(name, partitions), f"{name}: all leaders know it")
        return name

    def _answers(self, topic: str, partitions: int) -> bool:
        try:
            return len(self.log.end(topic, range(partitions))) == partitions
        except ReopenError:
            return False

    def append(self, topic: str, partition: int, *values: bytes) -> None:
        for value in values:
            self._producer.produce(topic, value, b"key", partition)
        assert self._producer.flush(20) == 0

    def delete_before(self, topic: str, partition: int, offset: int) -> None:
        asked = [TopicPartition(topic, partition, offset)]
        for future in self._admin.delete_records(asked).values():
            future.result(20)

    def client(self, transactional_id: str, timeout_s: float = TRANSACTION_TIMEOUT_S) -> RealClient:
        return RealClient(self.cluster, transactional_id, timeout_s)

    def now(self) -> float:
        return time.monotonic()

    def end_of(self, transactional_id: str, *, committed: bool) -> Callable[[], None]:
        brokers = [(broker.host, broker.port) for broker in self._admin.list_topics(timeout=10).brokers.values()]
        producer = producer_of(brokers, transactional_id)

        def arrive() -> None:
            code = send_end(producer, committed=committed)
            assert code in (NONE, INVALID_PRODUCER_EPOCH, PRODUCER_FENCED), f"EndTxn: error {code}"

        return arrive

    def meanwhile(self, call: Callable[[], T], other: Callable[[], None]) -> T:
        answer: Future[T] = Future()

        def run() -> None:
            try:
                answer.set_result(call())
            except BaseException as error:  # noqa: BLE001 - the test gets it
                answer.set_exception(error)

        threading.Thread(target=run, daemon=True).start()
        with_patience = 0.4
        try:
            answer.result(with_patience)
        except TimeoutError:
            other()
            return answer.result(20)
        raise AssertionError("it did not wait")
