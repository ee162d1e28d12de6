"""Duplicates, rows out of order and wrong clocks on the real broker, with a crash in the middle: equal to the oracle."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace

import numpy as np
import pytest
from confluent_kafka.admin import NewTopic

from actors.engine.arrivals import Arrivals
from cluster.local.stack import Endpoints
from tests.integration.line import TestLine
from tests.integration.test_slot import owner, run_to_end, step_until
from tests.naive.arrivals import Row, fates

HOUR_MS = 3_600_000
ARRIVALS = Arrivals(dedupe_window=40, allowed_lateness_ms=200, max_ahead_ms=60_000)


@dataclass(frozen=True)
class Sent:
    """A record as a service sends it."""

    n: int
    event_time_ms: int
    published_ms: int
    value: bytes

    @property
    def row(self) -> Row:
        return Row(f"e{self.n}", self.event_time_ms, self.published_ms)


def sent(line: TestLine, rows: int, seed: int) -> list[Sent]:
    """Random measurements every 10 ms: some clocks an hour off, some sent again sooner or later, all somewhat out of order."""
    random = np.random.default_rng(seed)
    base = int(time.time() * 1000) - HOUR_MS
    records = []
    for n in range(rows):
        published = base + 10 * n
        skew = int(random.choice([0, HOUR_MS, -HOUR_MS], p=[0.94, 0.03, 0.03]))
        value = line.measurement(f"s{n % 3}", float(random.normal(10, 1)), n, timestamp=published + skew)
        record = Sent(n, published + skew, published, value)
        records.append((n + random.exponential(8), record))
        if random.random() < 0.1:
            records.append((n + random.exponential(40), record))
    return [record for _, record in sorted(records, key=lambda placed: placed[0])]


def write(line: TestLine, records: list[Sent]) -> None:
    for record in records:
        line.producer.produce(line.input, record.value, b"key", 0, timestamp=record.published_ms)
        line.producer.poll(0)
    assert line.producer.flush(20) == 0


@pytest.fixture
def line(stack: Endpoints) -> TestLine:
    line = TestLine(stack, partitions=1, settings={"arrivals": ARRIVALS, "snapshot_interval_ms": 600_000})
    line.topics = replace(line.topics, late=f"{line.name}.late")
    line.admin.create_topics([NewTopic(line.topics.late, 1, 1)])[line.topics.late].result(20)
    return line


def test_duplicates_reordering_and_skew_with_a_crash_equal_the_oracle(line: TestLine, stack: Endpoints) -> None:
    records = sent(line, 300, seed=4)
    half = len(records) // 2
    write(line, records[:half])
    slot = line.slot()
    slot.open()
    step_until(slot, half)
    slot.abandon()  # as a killed process leaves it: no snapshot, the last commit perhaps in flight
    write(line, records[half:])
    line.written[0] = [record.value for record in records]
    with owner(line) as loop:
        line.wait_done()
        status = loop.status()
    said, _, watermark = fates([record.row for record in records], ARRIVALS)
    assert {why: said.count(why) > 5 for why in set(said)} == dict.fromkeys(("", "duplicate", "late", "ahead"), True)
    letters = {letter["offset"]: letter["reason"] for letter in line.events(line.topics.late)}
    assert letters == {offset: why for offset, why in enumerate(said) if why}
    folded = [record for record, why in zip(records, said, strict=True) if not why]
    verdicts = line.verdicts()
    judged = sorted({offset for _, offset, _ in verdicts})
    assert sorted([*judged, *letters]) == list(range(len(records)))
    assert status["partitions"][0]["watermark_ms"] == status["partitions"][0]["event_time_ms"] == watermark
    counted = status["rows"] + status["duplicates"] + status["late"] + status["ahead"] + status["replayed"]
    assert counted == len(records)

    clean = TestLine(stack, partitions=1)  # has only what was to be judged, and nothing to set aside
    write(clean, folded)
    run_to_end(clean)
    rank = {offset: at for at, offset in enumerate(judged)}
    assert {(0, rank[offset], name): row for (_, offset, name), row in verdicts.items()} == clean.verdicts()
