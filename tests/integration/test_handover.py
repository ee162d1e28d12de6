"""Partitions change slots on the real broker: handed over, or taken from one that does not; nothing lost, nothing twice."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from urllib.parse import urlsplit

import pytest

from actors.deal import Seat
from actors.engine.position import Record
from actors.errors import FencedError, ReopenError
from actors.kafka.client import Cluster
from actors.partition_owner import OwnerLoop
from cluster.local.stack import Endpoints
from schemas.topics import schema_text
from tests.cluster.relay import Relay
from tests.integration.line import TestLine, same_as_undisturbed, wait_for
from tests.integration.test_slot import owner, run_to_end, step_until


@pytest.fixture
def line(stack: Endpoints) -> TestLine:
    return TestLine(stack)


def holds(loop: OwnerLoop) -> list[int]:
    return sorted(partition for partition, said in loop.status()["partitions"].items() if "next_offset" in said)


@contextmanager
def ended(loop: OwnerLoop, state: str) -> Iterator[None]:
    yield
    wait_for(lambda: loop.state == state, state)


def test_partitions_are_handed_over_and_back_without_a_replay(line: TestLine) -> None:
    line.write_noise(60)
    with ExitStack() as owners:
        first = owners.enter_context(owner(line))
        line.wait_done()
        line.deal(lambda deal: deal.scaled(2))
        second = owners.enter_context(owner(line, 1))
        wait_for(lambda: (holds(first), holds(second)) == ([0], [1]), "one partition has moved")
        line.write_noise(60, seed=2)
        line.wait_done()
        assert second.status()["replayed"] == 0, "it was handed over with a snapshot"
        with ended(second, "retired"):
            line.deal(lambda deal: deal.scaled(1))
        wait_for(lambda: holds(first) == [0, 1], "it has come back")
        line.write_noise(60, seed=3)
        line.wait_done()
        assert (first.reopened, second.reopened, first.status()["replayed"]) == (0, 0, 0)
    positions = line.positions()
    assert {(position["slot"], position["next_offset"]) for position in positions.values()} == {(0, 180)}
    same_as_undisturbed(line, run_to_end)


def test_a_slot_that_does_not_hand_over_is_fenced(line: TestLine) -> None:
    line.settings["snapshot_interval_ms"] = 600_000
    line.write_noise(50)
    stuck = line.slot()
    stuck.open()
    step_until(stuck, 100)
    stuck._settle(block=True)
    line.deal(lambda deal: deal.scaled(2))
    line.write_noise(50, seed=2)
    with owner(line, 1) as heir:
        wait_for(lambda: line.committed()[1] == 100, "partition 1 goes on")
        assert heir.status()["replayed"] == 50, "there was no snapshot since the start"
        with pytest.raises((FencedError, ReopenError)):
            step_until(stuck, 1_000_000)
        stuck.abandon()
        with owner(line, 0):
            line.wait_done()
    same_as_undisturbed(line, run_to_end)


def test_what_was_never_written_is_fenced_too(line: TestLine) -> None:
    """Partition 1 was dealt to slot 0, which has not come so far as to write a position for it."""
    line.deal()
    slow = line.slot()
    slow._writer.open()
    line.deal(lambda deal: deal.scaled(2))
    line.write_noise(20)
    with owner(line, 1), owner(line, 0):
        line.wait_done()
        commit = slow._writer.commit([Record(line.topics.charts, 1, b"late", b"late")], line.input, {}, None)
        with pytest.raises((FencedError, ReopenError)):
            commit.result()
        slow.abandon()
    same_as_undisturbed(line, run_to_end)


def test_an_owner_of_an_older_incarnation_ends_and_fences_nobody(line: TestLine) -> None:
    line.write_noise(20)
    before = line.deal()
    with owner(line) as current:
        wait_for(lambda: current.state == "live", "live")
        late = OwnerLoop(line.pipeline(), before.seats()[0]._replace(incarnation=0))
        with ended(late, "superseded"):
            late.start()
        line.wait_done()
        assert current.reopened == 0
        with ended(current, "superseded"):
            line.deal(lambda deal: deal.renewed(0))
    with owner(line):
        line.write_noise(20, seed=2)
        line.wait_done()
    same_as_undisturbed(line, run_to_end)


def test_without_a_deal_nobody_starts(line: TestLine) -> None:
    slot = line.slot(seat=Seat(0, 1))
    with pytest.raises(ReopenError, match=f"there is no deal of {line.name} yet"):
        slot.open()
    slot.abandon()


def test_a_schema_that_cannot_be_looked_up_holds_up_nobody_else(
    stack: Endpoints, caplog: pytest.LogCaptureFixture
) -> None:
    away = urlsplit(stack.registry_url)
    relay = Relay(away.port or 0)
    line = TestLine(
        stack, settings={"cluster": Cluster(stack.bootstrap_servers, f"http://127.0.0.1:{relay.port}{away.path}")}
    )
    other = line.registry.register(
        f"{line.name}-other", schema_text("measurement").replace("Unique event id", "Event id")
    )
    with caplog.at_level(logging.WARNING), owner(line) as loop:
        line.write_noise(20)
        line.wait_done()
        relay.cut()
        good = [line.measurement("s0", 10.0, n) for n in range(4)]
        new = [b"\0" + other.to_bytes(4, "big") + value[5:] for value in good[2:]]
        line.write(0, [*good[:2], *new])
        line.write(1, good)
        wait_for(lambda: line.committed() == {0: 22, 1: 24}, "all but what is behind the unknown schema")
        assert loop.status()["waiting_for_registry"] == [0]
        relay.mend()
        line.wait_done()
        assert (loop.status()["dead_lettered"], loop.reopened) == (0, 0)
    relay.close()
    same_as_undisturbed(line, run_to_end)
