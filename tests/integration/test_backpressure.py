"""What stands still upstream or downstream holds no memory: a detector, a reader of state, a broker (docs/guarantees.md)."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

import psutil
import pytest
from confluent_kafka import Producer

from actors.engine.family import Work
from actors.hosts import InOwner, Judged
from actors.kafka import consumer, group
from actors.kafka.consumer import POLL_BYTES_MAX, QUEUE_KBYTES, STATE_FETCH_BYTES, Offsets, PartitionReader, read_to_end
from actors.kafka.delivery import BackpressureError
from actors.kafka.producer import Limits
from actors.producers.publisher import Publisher
from actors.sinks.journey import Journey, Plan
from actors.sinks.retrying import RetryingConsumer, run
from actors.slot import Slot
from cluster.local import Endpoints, LocalStack
from tests.background import again_and_again
from tests.integration.line import TestLine, wait_for
from tests.integration.test_slot import owner

MIB = 1024 * 1024
LARGE_BYTES = 500_000  # of one record
BACKLOG = 320  # records: 160 MB
SLACK_BYTES = 24 * MIB  # of allocators, of fetches on their way, of decoded columns
STALLED_BYTES_MAX = QUEUE_KBYTES * 1024 + 2 * POLL_BYTES_MAX + SLACK_BYTES  # fetched, and a step: raw and decoded
READING_BYTES_MAX = QUEUE_KBYTES * 1024 + 2 * POLL_BYTES_MAX + 2 * STATE_FETCH_BYTES + SLACK_BYTES  # two polls
SETTLED_S = 1.0


class Memory:
    """How much this process has grown since now, at the most."""

    def __init__(self) -> None:
        self._process = psutil.Process()
        self._before = self._process.memory_full_info().uss
        self.peak = 0
        self._rose = time.monotonic()

    def look(self) -> None:
        grown = self._process.memory_full_info().uss - self._before
        if grown > self.peak + MIB:
            self._rose = time.monotonic()
        self.peak = max(self.peak, grown)

    def settled(self) -> bool:
        """Look; say whether it has not grown for a while."""
        self.look()
        return time.monotonic() - self._rose > SETTLED_S

    def watched(self) -> AbstractContextManager[None]:
        """Look all the time."""
        return again_and_again(self.look, 0.02)


class Stalling(InOwner):
    """Families that do not answer before they may."""

    def __init__(self, line: TestLine) -> None:
        pipeline = line.pipeline()
        super().__init__(pipeline.name, pipeline.families, pipeline.clean_rows)
        self.may = threading.Event()
        self.rounds: list[int] = []  # rows of each round with rows

    def judge(self, works: Sequence[Work], snapshot: bool) -> Callable[[], Judged]:
        rows = sum(len(work.batch) for work in works)
        if rows:
            self.rounds.append(rows)
            assert self.may.wait(60)
        return super().judge(works, snapshot)


@contextmanager
def stepping(slot: Slot) -> Iterator[None]:
    """Step a slot beside the test."""
    over = threading.Event()

    def run() -> None:
        while not over.is_set():
            slot.step()
        slot.close()

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join(60)
        assert not thread.is_alive()


class StallingHandler:
    """Handles records of a plain consumer; does not come back from the first before it may."""

    holds = False

    def __init__(self) -> None:
        self.may = threading.Event()
        self.taken: list[tuple[int, int]] = []

    def handle(self, event: dict[str, Any], journey: Journey) -> None:
        self.taken.append((journey.partition, journey.offset))
        assert self.may.wait(60)

    def tick(self) -> None:
        """Nothing is due."""

    def finish(self) -> None:
        """Nothing is left."""


def write_large(line: TestLine, records: int = BACKLOG) -> None:
    """Write the backlog; nothing of it stays with us."""
    own = {"queue.buffering.max.kbytes": 4 * 1024, "linger.ms": 5}
    producer = Producer({"bootstrap.servers": line.endpoints.bootstrap_servers, **own})
    ballast = {"picture": "x" * LARGE_BYTES}
    for n in range(records):
        value = line.measurement("s0", 10.0 + n % 3, n, metadata=ballast)
        while True:
            try:
                producer.produce(line.input, value, b"key", n % line.partitions)
                break
            except BufferError:
                producer.poll(0.1)
    assert producer.flush(30) == 0


@pytest.fixture
def backlog(stack: Endpoints) -> TestLine:
    line = TestLine(stack)
    write_large(line)
    return line


def test_large_records_wait_in_the_log_while_a_detector_or_a_reader_of_state_holds_what_it_must(
    backlog: TestLine,
) -> None:
    line = backlog
    hosts = Stalling(line)
    slot = line.slot(hosts)
    slot.open()
    memory = Memory()
    with stepping(slot):
        wait_for(lambda: bool(hosts.rounds), "the first step")
        wait_for(memory.settled, "librdkafka has fetched what it may")
        assert (len(hosts.rounds), slot.status.steps) == (1, 0)  # and nothing more was taken
        hosts.may.set()
        while slot.status.rows < BACKLOG:
            memory.look()
        line.wait_done()
    assert slot.status.rows == BACKLOG
    assert max(hosts.rounds) * LARGE_BYTES <= POLL_BYTES_MAX + LARGE_BYTES
    assert memory.peak < STALLED_BYTES_MAX
    said = {(partition, offset) for partition, offset, name in line.verdicts() if name == "spc.individuals"}
    assert said == {(n % line.partitions, n // line.partitions) for n in range(BACKLOG)}

    memory = Memory()  # as state: many versions of one key
    with memory.watched():
        found = read_to_end(line.cluster, line.name, line.input, line.ends(), 60.0, newest=True)
    assert {partition: [key for key, _ in records] for partition, records in found.items()} == {
        0: [b"key"],
        1: [b"key"],
    }
    assert memory.peak < READING_BYTES_MAX


def test_a_plain_consumer_that_stands_still_holds_what_it_must_and_holds_up_nobody(stack: Endpoints) -> None:
    line, handler, records = TestLine(stack), StallingHandler(), BACKLOG // 2
    write_large(line, records)
    every = sorted((n % line.partitions, n // line.partitions) for n in range(records))
    consumer = RetryingConsumer(line.cluster, Plan(line.input, f"stalled-{line.name}", ()), handler)
    stop = threading.Event()
    memory = Memory()
    consuming = threading.Thread(target=run, args=(lambda: consumer, stop))
    consuming.start()
    try:
        wait_for(lambda: bool(handler.taken), "the first record")
        wait_for(memory.settled, "librdkafka has fetched what it may")
        held, taken = memory.peak, len(handler.taken)
        with owner(line):
            line.wait_done()  # the pipeline judges all of it meanwhile
        assert len(handler.taken) == taken == 1
        handler.may.set()
        wait_for(lambda: len(handler.taken) == records, "all of it, in the end")
    finally:
        handler.may.set()
        stop.set()
        consuming.join(30)
    assert held < group.QUEUE_KBYTES * 1024 + SLACK_BYTES
    assert sorted(handler.taken) == every, "each once"
    assert sorted((p, offset) for p, offset, name in line.verdicts() if name == "spc.individuals") == every


@contextmanager
def stopped(pid: int) -> Iterator[None]:
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGCONT)


def test_a_broker_that_stands_still_holds_up_both_ends_and_costs_neither_rows_nor_memory(
    stack: Endpoints, tmp_path: Path, local_cache: Path
) -> None:
    with LocalStack(tmp_path, cache=local_cache, registry=False) as own:
        line = TestLine(Endpoints(own.endpoints.bootstrap_servers, stack.registry_url, "java"), partitions=1)
        limits = Limits(buffer_bytes_max=100_000, backpressure_wait_s=0.2, delivery_deadline_s=120)
        publisher = Publisher(line.cluster.bootstrap_servers, line.registry, limits=limits)
        taken, refused, over = [], [], threading.Event()

        def publish() -> None:
            while not over.wait(0.002):
                try:
                    value = line.measurement("s0", 10.0 + len(taken) % 3, len(taken))
                    taken.append(publisher.send_raw(line.input, value, b"key"))
                except BackpressureError as error:
                    refused.append(str(error))

        publishing = threading.Thread(target=publish)
        with owner(line) as loop:
            publishing.start()
            try:
                wait_for(lambda: loop.status().get("rows", 0) > 0, "rows are judged")
                memory = Memory()
                with stopped(own.pids["broker-1"]):
                    wait_for(lambda: loop.reopened > 0, "the slot has noticed")
                    why = loop.last_error  # the first; the next are of attempts to open
                    wait_for(lambda: bool(refused), "so has the publisher")
                    wait_for(memory.settled, "memory stands still too")
                    held = memory.peak
                    reopened = loop.reopened
                before = len(taken)
                wait_for(lambda: len(taken) > before + 10, "publishing goes on")
            finally:
                over.set()
                publishing.join(30)
            publisher.close(60)
            place = {"next_offset": len(taken)}
            wait_for(lambda: place.items() <= loop.status()["partitions"].get(0, {}).items(), "all is judged")
        line.offsets = Offsets(line.cluster)  # of a client that has seen only the broker that goes on
        assert "stayed full" in refused[0]
        assert reopened >= 1
        assert why.startswith("ReopenError: transaction of ")
        assert held < SLACK_BYTES
        offsets = [delivery.result(0)[1] for delivery in taken]
        assert offsets == list(range(len(taken)))  # each once, in order
        judged = sorted(offset for _, offset, name in line.verdicts() if name == "spc.individuals")
        assert judged == offsets


def test_a_queue_that_was_full_is_filled_up_at_once(stack: Endpoints, monkeypatch: pytest.MonkeyPatch) -> None:
    """librdkafka waits a second by itself: here for each of sixteen fetches, in a backlog of a pipeline a second of three."""
    line = TestLine(stack, 1)
    line.write(0, [bytes(LARGE_BYTES)] * 32)
    monkeypatch.setattr(consumer, "QUEUE_KBYTES", 1)
    reader = PartitionReader(line.cluster, line.name, line.input)
    reader.assign({0: 0})
    began, records = time.monotonic(), 0
    while records < 32:
        records += sum(len(batch) for batch in reader.poll(1, 1.0).batches)  # one, so that the queue is found full
    reader.close()
    assert time.monotonic() - began < 5.0
