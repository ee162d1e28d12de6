"""Limits, resets and exclusions on the real broker: under load, across crashes, once per partition."""

from __future__ import annotations

import logging
import os
import signal
from collections.abc import Sequence
from urllib.parse import urlsplit

import pytest

from actors import supervisor
from actors.engine.control import AppliedChange
from actors.engine.position import CHANGE_KEY
from actors.kafka.client import Cluster
from actors.slot import Slot
from cluster.local.stack import Endpoints
from models.cusum import Cusum
from models.individuals import IndividualsChart
from models.limit_versions import Change, Kind, Limits, SeriesChange, State, to_record
from schemas.decode import decode_event
from schemas.encode import Encoder
from schemas.topics import schema_text
from tests.cluster.relay import Relay
from tests.integration.line import TestLine, series_of, wait_for, wait_owner
from tests.integration.test_slot import owner

FAMILIES = {"spc": (IndividualsChart(10),), "drift": (Cusum(phase_one_rows=10),)}


@pytest.fixture
def line(stack: Endpoints) -> TestLine:
    return TestLine(stack, families=FAMILIES, settings={"snapshot_interval_ms": 600_000})


def change(
    line: TestLine, name: str, *shares: SeriesChange, kind: Kind = Kind.LIMITS, from_ms: int | None = None
) -> Change:
    return Change(
        change_id=name, kind=kind, state=State.APPLIED, pipeline=line.name, topic=line.input, author="ada",
        reason="a test", created_ms=1, approver="bo", approved_ms=2, effective_from_ms=from_ms, changes=shares,
    )  # fmt: skip


def share(series: str, partition: int, **limits: float) -> SeriesChange:
    return SeriesChange(series_of(series), partition, Limits(**limits), 1 if limits else 0)


def publish(line: TestLine, *changes: Change) -> None:
    encoder = Encoder("control", line.registry.register(f"{line.topics.control}-value", schema_text("control")))
    write(line, *((change.change_id, encoder.encode(to_record(change))) for change in changes))


def write(line: TestLine, *records: tuple[str, bytes | None]) -> None:
    for key, value in records:
        line.producer.produce(line.topics.control, value, key, 0)
    assert line.producer.flush(20) == 0


def made(line: TestLine) -> dict[int, list[AppliedChange]]:
    """Return what the state topic says was made, by partition, each change once."""
    found = {}
    for partition, records in line.read(line.topics.state).items():
        keys = [key for key, _ in records if key.startswith(CHANGE_KEY)]
        assert len(set(keys)) == len(keys), "a change was made twice"
        found[partition] = [
            AppliedChange.of(decode_event(value, line.registry.schema))
            for key, value in records
            if key.startswith(CHANGE_KEY)
        ]
    return found


def new_slot(line: TestLine) -> Slot:
    slot = line.slot()
    slot.open()
    return slot


def step_until_made(slot: Slot, changes: int) -> None:
    wait_for(lambda: slot.step() >= 0 and slot.status.changes >= changes, f"{changes} changes")


def step_rows(slot: Slot, rows: int) -> None:
    done = 0
    while done < rows:
        done += slot.step()


def crash(slot: Slot) -> None:
    """Leave the slot as a killed process does; what it had sent is committed."""
    slot._settle(block=True)
    slot.abandon()


def undisturbed(line: TestLine, changes: Sequence[Change]) -> TestLine:
    """Run the same records on another line that nothing disturbs, every change at the offset that it had here."""
    calm = TestLine(line.endpoints, line.partitions, line.families, line.settings | {"hosting": "owner"})
    at = {p: {entry.change.change_id: entry.at_offset for entry in entries} for p, entries in made(line).items()}
    with owner(calm) as loop:
        for number, asked in enumerate(changes, 1):
            for partition, offsets in at.items():
                if asked.change_id in offsets:
                    have = len(calm.written[partition])
                    calm.write(partition, line.written[partition][have : offsets[asked.change_id]])
            calm.wait_done()
            publish(calm, change(calm, asked.change_id, *asked.changes, kind=asked.kind))
            wait_for(lambda n=number: loop.status()["changes"] == 2 * n, f"change {asked.change_id}")  # type: ignore[misc]
        for partition, values in line.written.items():
            calm.write(partition, values[len(calm.written[partition]) :])
        calm.wait_done()
    return calm


def same_as(line: TestLine, calm: TestLine) -> None:
    """Assert that both made the same changes at the same offsets, and said the same of every row."""
    assert [[entry[:2] for entry in entries] for entries in made(line).values()] == [
        [entry[:2] for entry in entries] for entries in made(calm).values()
    ]
    said, expected = line.verdicts(), calm.verdicts()
    assert said.keys() == expected.keys()
    assert [place for place in said if said[place] != expected[place]] == []
    assert line.alerts() == calm.alerts()


def test_changes_under_load_with_crashes_are_bit_for_bit_those_of_an_undisturbed_run(line: TestLine) -> None:
    changes = [
        change(line, "limits", *(share("s0", p, mu=10.5, sigma=0.5) for p in range(2))),
        change(line, "reset", *(share("s1", p) for p in range(2)), kind=Kind.RESET),
        change(line, "again", *(share("s0", p, mu=9.5, sigma=2.0, lsl=1.0) for p in range(2))),
    ]
    line.settings["step_rows_max"] = 37
    line.write_noise(150)
    slot = new_slot(line)
    step_rows(slot, 100)
    publish(line, changes[0])
    step_until_made(slot, 2)
    line.write_noise(30, seed=4)  # what was there may have been judged meanwhile
    step_rows(slot, 40)
    crash(slot)  # no snapshot: from the first row
    slot = new_slot(line)
    assert slot.status.replayed > 100
    publish(line, changes[1])
    step_until_made(slot, 2)
    line.write_noise(60, seed=2)
    step_rows(slot, 20)
    slot._pacer._begun = float("-inf")  # the next step takes a snapshot
    step_rows(slot, 20)
    publish(line, changes[2])
    step_until_made(slot, 4)
    crash(slot)  # with a snapshot between the second change and the third
    line.write_noise(60, seed=3)
    with owner(line) as loop:
        line.wait_done()
        assert loop.status()["changes"] == 0  # all were made before
    same_as(line, undisturbed(line, changes))
    assert {p: len(entries) for p, entries in made(line).items()} == {0: 3, 1: 3}


def test_new_limits_are_in_the_verdicts_from_their_offset_on_and_only_there(line: TestLine) -> None:
    rows = [line.measurement("s0", 10.0, n) for n in range(20)]
    line.write(0, rows[:10])
    with owner(line) as loop:
        line.wait_done()
        publish(line, change(line, "c1", share("s0", 0, mu=4.0, sigma=1.0)))
        wait_for(lambda: loop.status()["changes"] == 1, "an idle partition makes it by an empty step")
        line.write(0, rows[10:])
        line.wait_done()
    assert [(entry.at_offset, entry.event_time_ms) for entry in made(line)[0]] == [(10, 1_700_000_000_009)]
    assert made(line)[1] == []
    signals = {offset: said[-2] for (_, offset, name), said in line.verdicts().items() if name == "spc.individuals"}
    assert [offset for offset in range(20) if signals[offset] & 1] == list(range(10, 20))


def test_a_change_is_made_once_however_often_it_is_written_and_outlives_its_record(line: TestLine) -> None:
    line.write_noise(20)
    asked = change(line, "c1", *(share("s0", p) for p in range(2)), kind=Kind.RESET)
    slot = new_slot(line)
    publish(line, asked, asked)
    step_until_made(slot, 2)
    step_rows(slot, 40 - slot.status.rows)
    crash(slot)
    publish(line, asked)
    write(line, ("c1", None), ("x", b"no Avro"))  # the record is deleted, and somebody writes nonsense
    line.write_noise(20, seed=2)
    publish(line, change(line, "c2", share("s0", 0), kind=Kind.RESET))
    with owner(line) as loop:
        line.wait_done()
        wait_for(lambda: loop.status()["changes"] == 1, "c2")
        assert loop.status()["replayed"] == 40
    assert [[entry.change.change_id for entry in entries] for entries in made(line).values()] == [["c1", "c2"], ["c1"]]


def test_an_effective_time_is_waited_for(line: TestLine) -> None:
    line.write(0, [line.measurement("s0", 10.0, n) for n in range(5)])
    with owner(line) as loop:
        publish(line, change(line, "c1", share("s0", 0, mu=1.0), from_ms=1_700_000_000_007))
        wait_for(lambda: loop.status().get("changes_waiting") == 1, "it waits")
        line.wait_done()
    assert made(line)[0] == []
    with owner(line) as loop:
        line.write(0, [line.measurement("s0", 10.0, n) for n in range(5, 8)])
        wait_for(lambda: loop.status().get("changes") == 1, "the time has come")
        wait_for(lambda: loop.status()["changes_waiting"] == 0, "nothing waits any more")
    assert [entry.at_offset for entry in made(line)[0]] == [8]


def test_a_change_waits_while_the_registry_is_away_and_the_line_goes_on(
    stack: Endpoints, caplog: pytest.LogCaptureFixture
) -> None:
    away = urlsplit(stack.registry_url)
    relay = Relay(away.port or 0)
    cluster = Cluster(stack.bootstrap_servers, f"http://127.0.0.1:{relay.port}{away.path}")
    line = TestLine(stack, families=FAMILIES, settings={"cluster": cluster})
    line.write_noise(10)
    with caplog.at_level(logging.WARNING), owner(line) as loop:
        line.wait_done()
        relay.cut()
        publish(line, change(line, "c1", share("s0", 0), kind=Kind.RESET))
        wait_for(lambda: "records wait for the registry" in caplog.text, "it waits")
        line.write_noise(10, seed=2)
        line.wait_done()
        assert loop.status()["changes"] == 0
        relay.mend()
        wait_for(lambda: loop.status()["changes"] == 1, "it is made")
        assert loop.status()["reopened"] == 0
    relay.close()
    assert [entry.at_offset for entry in made(line)[0]] == [20]


def test_kill_9_of_the_owner_with_families_in_actors(line: TestLine, ray_cluster: None) -> None:
    line.settings["hosting"] = "actor"
    changes = [
        change(line, "limits", *(share("s0", p, mu=10.5, sigma=0.5) for p in range(2))),
        change(line, "reset", *(share("s1", p) for p in range(2)), kind=Kind.RESET),
    ]
    supervisor.start_pipeline(line.pipeline())
    try:
        pid = wait_owner(line, lambda said: said["state"] == "live")["pid"]
        line.write_noise(60)
        publish(line, changes[0])
        wait_for(lambda: all(made(line).get(p) for p in range(2)), "the first change is committed, not only counted")
        os.kill(pid, signal.SIGKILL)
        line.write_noise(60, seed=2)
        publish(line, changes[1])
        wait_owner(line, lambda said: said.get("changes") == 2 and said["pid"] != pid)
        line.wait_done()
    finally:
        supervisor.stop_pipeline(line.name)
    same_as(line, undisturbed(line, changes))
