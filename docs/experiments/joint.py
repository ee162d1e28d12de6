"""Prove the joint on a real broker: see docs/joint.md. Exits non-zero where an observation is not as written there."""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Callable
from pathlib import Path

from confluent_kafka import Consumer, IsolationLevel, KafkaError, KafkaException, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic, OffsetSpec

from cluster.config import load
from cluster.local.stack import LocalStack

FAILED: list[str] = []


def observe(what: str, seen: object, as_written: bool) -> None:
    print(f"{'ok  ' if as_written else 'NOT '} {what}: {seen}", flush=True)
    if not as_written:
        FAILED.append(what)


def outcome(do: Callable[[], object]) -> str:
    try:
        do()
    except KafkaException as error:
        return str(error.args[0].name())
    return "no error"


class Bench:
    def __init__(self, bootstrap: str) -> None:
        self.bootstrap = bootstrap
        self.admin = AdminClient({"bootstrap.servers": bootstrap})

    def topic(self) -> str:
        name = f"joint-{uuid.uuid4().hex[:8]}"
        self.admin.create_topics([NewTopic(name, 1, 1)])[name].result(10)
        return name

    def producer(self, transactional_id: str, timeout_ms: int = 10_000) -> Producer:
        return Producer(
            {
                "bootstrap.servers": self.bootstrap, "transactional.id": transactional_id,
                "transaction.timeout.ms": timeout_ms, "retry.backoff.ms": 10, "linger.ms": 0, "log_level": 0,
            }
        )  # fmt: skip

    def consumer(self, group: str) -> Consumer:
        return Consumer(
            {
                "bootstrap.servers": self.bootstrap, "group.id": group, "group.protocol": "classic",
                "enable.auto.commit": False, "auto.offset.reset": "error", "isolation.level": "read_committed",
                "enable.partition.eof": True,
            }
        )  # fmt: skip

    def end(self, topic: str, level: IsolationLevel = IsolationLevel.READ_UNCOMMITTED) -> int:
        asked = {TopicPartition(topic, 0): OffsetSpec.latest()}
        (future,) = self.admin.list_offsets(asked, isolation_level=level).values()
        return int(future.result(10).offset)

    def stable(self, topic: str) -> int:
        return self.end(topic, IsolationLevel.READ_COMMITTED)

    def read(self, topic: str, until: int, seconds: float) -> tuple[list[bytes], int]:
        consumer = self.consumer("joint")
        consumer.assign([TopicPartition(topic, 0, 0)])
        values: list[bytes] = []
        deadline, position = time.monotonic() + seconds, 0
        while position < until and time.monotonic() < deadline:
            values += [m.value() for m in consumer.consume(100, 0.05) if m.error() is None]
            position = max(0, consumer.position([TopicPartition(topic, 0)])[0].offset)
        consumer.close()
        return values, position


def killed_in_mid_transaction(bench: Bench) -> None:
    topic = bench.topic()
    child = subprocess.Popen([sys.executable, __file__, "child", bench.bootstrap, topic], stdout=subprocess.PIPE)
    child.stdout.readline()
    child.kill()
    child.wait()
    observe(
        "open transaction: LSO below HW",
        (bench.stable(topic), bench.end(topic)),
        bench.stable(topic) < bench.end(topic),
    )
    again = bench.producer(topic)
    started = time.monotonic()
    again.init_transactions(20)
    observe(
        "init_transactions after a kill takes seconds at most",
        round(time.monotonic() - started, 2),
        time.monotonic() - started < 5,
    )
    observe("LSO reaches HW", (bench.stable(topic), bench.end(topic)), bench.stable(topic) == bench.end(topic))
    again.begin_transaction()
    again.produce(topic, b"clean")
    again.commit_transaction(10)
    values, _ = bench.read(topic, bench.end(topic), 10)
    observe("only the committed record is read", values, values == [b"clean"])


def fenced_while_alive(bench: Bench) -> None:
    topic = bench.topic()
    old = bench.producer(topic)
    old.init_transactions(20)
    old.begin_transaction()
    old.produce(topic, b"zombie")
    old.flush(5)
    bench.producer(topic).init_transactions(20)
    old.produce(topic, b"zombie again")
    calls: tuple[Callable[[], object], ...] = (
        lambda: old.flush(5),
        lambda: old.commit_transaction(5),
        lambda: old.produce(topic, b"x"),
        lambda: old.abort_transaction(5),
    )
    seen = [outcome(call) for call in calls]
    observe("zombie: flush, commit, produce, abort", seen, seen == ["_FENCED", "_FENCED", "_FATAL", "_FENCED"])
    started = time.monotonic()
    old.purge()
    old.close()
    observe("closing a fenced producer is quick", round(time.monotonic() - started, 2), time.monotonic() - started < 3)


def timed_out(bench: Bench) -> None:
    topic = bench.topic()
    slow = bench.producer(topic, timeout_ms=1000)
    slow.init_transactions(20)
    slow.begin_transaction()
    slow.produce(topic, b"slow")
    slow.flush(5)
    deadline = time.monotonic() + 15
    while bench.stable(topic) < bench.end(topic) and time.monotonic() < deadline:
        time.sleep(0.1)
    slow.produce(topic, b"late")
    seen = [outcome(lambda: slow.flush(5)), outcome(lambda: slow.commit_transaction(5))]
    observe("a transaction past its timeout looks fenced", seen, seen[1] == "_FENCED")
    slow.purge()
    slow.close()


def state_below_an_open_transaction(bench: Bench) -> None:
    topic = bench.topic()
    other = bench.producer(topic)
    other.init_transactions(20)
    other.begin_transaction()
    other.produce(topic, b"pending")
    other.flush(5)
    values, position = bench.read(topic, bench.end(topic), 2)
    observe("reading hangs below an open transaction", (values, position), not values and position < bench.end(topic))
    other.commit_transaction(10)
    values, position = bench.read(topic, bench.end(topic), 10)
    observe("and reaches the end after it", (values, position), values == [b"pending"] and position >= 2)


def offsets_in_a_transaction(bench: Bench) -> None:
    topic, output = bench.topic(), bench.topic()
    consumer = bench.consumer(topic)
    consumer.assign([TopicPartition(topic, 0, 0)])
    writer = bench.producer(output)
    writer.init_transactions(20)
    writer.begin_transaction()
    writer.produce(output, b"o")
    writer.send_offsets_to_transaction([TopicPartition(topic, 0, 3)], consumer.consumer_group_metadata(), 5)
    seen = outcome(lambda: consumer.committed([TopicPartition(topic, 0)], timeout=2))
    observe("committed() waits for the open transaction", seen, seen == "_TIMED_OUT")
    writer.commit_transaction(5)
    found = consumer.committed([TopicPartition(topic, 0)], timeout=5)[0].offset
    observe("and then has the offset, from an assign-only consumer's metadata", found, found == 3)
    took = []
    for i in range(100):
        started = time.monotonic()
        writer.begin_transaction()
        writer.produce(output, b"v")
        writer.send_offsets_to_transaction([TopicPartition(topic, 0, i + 4)], consumer.consumer_group_metadata(), 5)
        writer.commit_transaction(5)
        took.append(time.monotonic() - started)
    took.sort()
    observe(
        "back-to-back transactions, p50 and p95 in ms", (round(took[50] * 1e3), round(took[95] * 1e3)), took[95] < 1
    )
    writer.begin_transaction()
    writer.produce(output, b"open")
    writer.flush(5)
    low_high = consumer.get_watermark_offsets(TopicPartition(output, 0), timeout=5)
    observe(
        "get_watermark_offsets of read_committed gives the LSO",
        (low_high, bench.end(output)),
        low_high[1] < bench.end(output),
    )
    writer.abort_transaction(5)


def offset_that_is_gone(bench: Bench) -> None:
    topic = bench.topic()
    consumer = bench.consumer(topic)
    consumer.assign([TopicPartition(topic, 0, 1_000_000)])
    message = None
    for _ in range(40):
        message = consumer.poll(0.25)
        if message is not None:
            break
    code = message.error().code() if message is not None and message.error() else None
    observe(
        "an offset out of range is an error event",
        message and message.error().name(),
        code == KafkaError._AUTO_OFFSET_RESET,
    )
    consumer.close()


def child(bootstrap: str, topic: str) -> None:
    writer = Bench(bootstrap).producer(topic)
    writer.init_transactions(20)
    writer.begin_transaction()
    writer.produce(topic, b"dirty")
    writer.flush(5)
    print("open", flush=True)
    sys.stdin.read()
    time.sleep(60)


def main() -> int:
    with tempfile.TemporaryDirectory() as folder:
        stack = LocalStack(Path(folder), cache=load().local.cache, registry=False)
        bench = Bench(stack.start(lambda what, seconds: print(f"{what}: {seconds:.1f} s")).bootstrap_servers)
        try:
            for prove in (
                killed_in_mid_transaction, fenced_while_alive, timed_out, state_below_an_open_transaction,
                offsets_in_a_transaction, offset_that_is_gone,
            ):  # fmt: skip
                prove(bench)
        finally:
            stack.stop()
    return len(FAILED)


if __name__ == "__main__":
    if sys.argv[1:2] == ["child"]:
        child(*sys.argv[2:])
    else:
        sys.exit(main())
