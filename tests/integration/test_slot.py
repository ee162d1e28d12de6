"""A slot on the real broker: opening, fencing, re-opening, replay, quarantine. Families in the owner's process."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import urlsplit

import pytest
from confluent_kafka import Producer

from actors.errors import FencedError, ReopenError
from actors.kafka.client import Cluster
from actors.kafka.consumer import read_to_end
from actors.partition_owner import OwnerLoop
from actors.slot import Slot
from cluster.local.stack import Endpoints
from tests.cluster.relay import Relay
from tests.integration.line import TestLine, same_as_undisturbed, series_of, wait_for


@contextmanager
def owner(line: TestLine, number: int = 0) -> Iterator[OwnerLoop]:
    loop = OwnerLoop(line.pipeline(), line.deal().seats()[number])
    loop.start()
    try:
        yield loop
    finally:
        assert loop.stop()


def run_to_end(line: TestLine) -> None:
    with owner(line):
        line.wait_done()


def step_until(slot: Slot, rows: int) -> None:
    done = 0
    while done < rows:
        done += slot.step()


@pytest.fixture
def line(stack: Endpoints) -> TestLine:
    return TestLine(stack)


def test_every_row_comes_out_once_and_positions_say_so(line: TestLine) -> None:
    line.write_noise(100)
    run_to_end(line)
    verdicts = line.verdicts()
    for name in ("spc.individuals", "spc.xbar", "capability.running", "anomaly.robust_z", "drift.cusum"):
        assert sorted((p, o) for p, o, n in verdicts if n == name) == [(p, o) for p in range(2) for o in range(100)]
    for partition, position in line.positions().items():
        assert position["next_offset"] == position["snapshot_offset"] == line.committed()[partition] == 100
    assert verdicts[0, 0, "spc.individuals"][0] == series_of("s0")


def test_poison_records_are_dead_letters_and_the_rest_goes_on(line: TestLine) -> None:
    good = [line.measurement("s0", 10.0, n) for n in range(5)]
    unknown = b"\x00\x7f\xff\xff\xff" + good[0][5:]
    bad = {
        1: (good[0][:20], "malformed"),
        3: (b"garbage", "not_avro"),
        5: (unknown, "unknown_schema"),
        7: (good[0] + b"x", "trailing_bytes"),
    }
    values = [*good, *(value for value, _ in bad.values())]
    order = [good[0], bad[1][0], good[1], bad[3][0], good[2], bad[5][0], good[3], bad[7][0], good[4]]
    assert sorted(values) == sorted(order)
    line.write(0, order)
    run_to_end(line)
    letters = line.events(line.topics.dead_letters)
    assert {letter["offset"]: (letter["value"], letter["reason"]) for letter in letters} == bad
    assert {letter["topic"] for letter in letters} == {line.input}
    assert sorted({offset for _, offset, _ in line.verdicts()}) == [0, 2, 4, 6, 8]


def test_a_restart_resumes_where_it_stopped(line: TestLine) -> None:
    line.write_noise(60)
    run_to_end(line)
    line.write_noise(60, seed=2)
    with owner(line) as loop:
        line.wait_done()
        assert loop.status()["replayed"] == 0  # a clean stop left a snapshot
        assert loop.status()["rows"] == 120
    same_as_undisturbed(line, run_to_end)


def test_a_crash_replays_from_the_snapshot_and_changes_nothing(line: TestLine) -> None:
    line.settings["snapshot_interval_ms"] = 600_000
    line.write_noise(80)
    slot = line.slot()
    slot.open()
    step_until(slot, 160)
    slot._settle(block=True)
    slot.abandon()  # as a killed process leaves it: no snapshot since the start
    line.write_noise(40, seed=2)
    with owner(line) as loop:
        line.wait_done()
        assert loop.status()["replayed"] == 160
    same_as_undisturbed(line, run_to_end)


def test_a_crash_in_mid_transaction_leaves_nothing_behind(line: TestLine) -> None:
    line.write_noise(50)
    slot = line.slot()
    slot.open()
    slot._settle(block=True)
    producer = slot._writer._producer
    producer.begin_transaction()
    producer.produce(line.topics.charts, b"half of a step", partition=0)
    assert producer.flush(10) == 0
    slot.abandon()
    run_to_end(line)
    same_as_undisturbed(line, run_to_end)


def test_a_second_owner_fences_the_first(line: TestLine) -> None:
    line.write_noise(30)
    first = line.slot()
    first.open()
    step_until(first, 60)
    first._settle(block=True)
    second = line.slot()
    second.open()
    line.write_noise(30, seed=2)
    with pytest.raises((FencedError, ReopenError)):
        step_until(first, 1_000_000)
    first.abandon()
    step_until(second, 60)
    second.close()
    same_as_undisturbed(line, run_to_end)


def test_a_fenced_loop_opens_again(line: TestLine) -> None:
    line.write_noise(30)
    with owner(line) as loop:
        line.wait_done()
        intruder = line.slot()
        intruder.open()
        intruder.abandon()
        line.write_noise(30, seed=2)
        line.wait_done()
        assert loop.status()["reopened"] == 1
        assert loop.status()["state"] == "live"
    same_as_undisturbed(line, run_to_end)


def test_a_torn_transaction_is_quarantined_and_the_others_go_on(line: TestLine) -> None:
    line.write_noise(20)
    run_to_end(line)
    line.set_committed(0, 7)
    line.write_noise(20, seed=2)
    with owner(line) as loop:
        wait_for(lambda: line.committed()[1] == 40, "partition 1 goes on")
        status = loop.status()
    assert status["quarantined"] == {0: "torn transaction: committed offset 7, position 20"}
    assert line.positions()[0]["next_offset"] == 20


def test_input_that_is_gone_before_it_was_snapshot_is_quarantined(line: TestLine) -> None:
    line.settings["snapshot_interval_ms"] = 600_000
    line.write_noise(20)
    slot = line.slot()
    slot.open()
    step_until(slot, 40)
    slot._settle(block=True)
    slot.abandon()
    line.delete_input(0, 10)
    with owner(line) as loop:
        wait_for(lambda: loop.state == "live", "live")
        quarantined = loop.status()["quarantined"]
    assert list(quarantined) == [0]
    assert "input of partition 0 before 10 is gone" in quarantined[0]


def test_input_that_is_gone_before_it_was_read_is_quarantined(line: TestLine) -> None:
    line.write_noise(20)
    run_to_end(line)
    line.write_noise(20, seed=2)
    line.delete_input(0, 30)
    with owner(line) as loop:
        wait_for(lambda: 0 in loop.status().get("quarantined", {}), "quarantined")
        wait_for(lambda: line.committed()[1] == 40, "partition 1 goes on")


def test_a_lost_position_is_quarantined(line: TestLine) -> None:
    line.set_committed(0, 0)
    with owner(line) as loop:
        wait_for(lambda: loop.state == "live", "live")
        assert "state is lost" in loop.status()["quarantined"][0]


def test_records_wait_while_the_registry_is_away(stack: Endpoints, caplog: pytest.LogCaptureFixture) -> None:
    away = urlsplit(stack.registry_url)
    relay = Relay(away.port or 0)
    line = TestLine(
        stack, settings={"cluster": Cluster(stack.bootstrap_servers, f"http://127.0.0.1:{relay.port}{away.path}")}
    )
    line.write_noise(20)
    relay.cut()
    with caplog.at_level(logging.WARNING), owner(line) as loop:
        wait_for(lambda: "waiting for the registry" in caplog.text, "it waits")
        assert loop.status()["rows"] == 0
        relay.mend()
        line.wait_done()
        assert (loop.status()["reopened"], loop.status()["dead_lettered"]) == (0, 0)
    relay.close()
    same_as_undisturbed(line, run_to_end)


def test_an_owner_that_waits_for_the_registry_can_be_stopped(
    stack: Endpoints, caplog: pytest.LogCaptureFixture
) -> None:
    line = TestLine(stack, settings={"cluster": Cluster(stack.bootstrap_servers, "http://127.0.0.1:1")})
    line.write_noise(5)
    with caplog.at_level(logging.WARNING), owner(line):
        wait_for(lambda: "waiting for the registry" in caplog.text, "it waits")
    assert line.verdicts() == {}


def test_state_below_an_open_transaction_is_not_guessed(line: TestLine) -> None:
    run_to_end(line)
    other = Producer(line.cluster.settings(transactional_id=f"{line.name}-other"))
    other.init_transactions(20)
    other.begin_transaction()
    other.produce(line.topics.state, b"x", b"other", 0)
    assert other.flush(10) == 0
    with pytest.raises(ReopenError, match="a transaction is open"):
        read_to_end(line.cluster, "t", line.topics.state, line.offsets.end(line.topics.state, [0]), 1.0)
    other.abort_transaction(10)
