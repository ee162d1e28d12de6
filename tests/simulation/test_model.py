"""What only the model can be made to do: answers lost, ends repeated when it is told to, slow markers, compaction."""

from __future__ import annotations

from collections import Counter
from random import Random

import pytest

from actors.engine.position import Record
from actors.errors import ReopenError
from tests.simulation.broker import Broker
from tests.simulation.model import Client, Crash, Faults, ModelLog, Runtime, VirtualClock


class Scripted(Faults):
    """Faults that happen when the test says so."""

    def __init__(self, *what: str, seed: int = 0) -> None:
        super().__init__(Random(seed))
        self.due = list(what)

    def happens(self, what: str) -> bool:
        if what in self.due:
            self.due.remove(what)
            return True
        return False


class DiesAt(Runtime):
    """A process that dies the moment before a phase."""

    def __init__(self, phase: str) -> None:
        self.phase = phase

    def at(self, phase: str) -> None:
        if phase.startswith(self.phase):
            raise Crash(phase)


@pytest.fixture
def broker() -> Broker:
    broker = Broker(VirtualClock(), Random(3))
    broker.create("t", 2)
    return broker


def rec(value: bytes, partition: int = 0) -> Record:
    return Record("t", partition, b"k" + value, value)


def values(broker: Broker, partition: int = 0) -> list[bytes | None]:
    return [entry.value for entry in broker.partition(("t", partition)).fetch(0, 100)[0]]


@pytest.mark.parametrize(
    ("phase", "leaves_open", "visible"),
    [
        ("init", False, []),
        ("begin", False, []),
        ("produce t:0", False, []),
        ("produce t:1", True, []),
        ("flush", True, []),
        ("send offsets", True, []),
        ("before commit", True, []),
        ("commit answered", False, [b"a"]),
    ],
)
def test_a_crash_at_each_phase_leaves_what_a_dead_process_leaves(
    broker: Broker, phase: str, leaves_open: bool, visible: list[bytes]
) -> None:
    log = ModelLog(broker, broker.clock, DiesAt(phase))
    writer = log.writer("id")
    with pytest.raises(Crash):
        writer.open() or writer.commit([rec(b"a"), rec(b"b", 1)], "t", {0: 1}, "g").result(0)
    assert any(state.open for state in broker.producers.values()) is leaves_open
    Client(broker, "id", Runtime(), Faults()).init()
    assert (values(broker), broker.committed("g", ("t", 0))) == (visible, 1 if visible else None)


def test_a_commit_without_answer_is_done_or_not_and_its_late_end_is_dropped_after_fencing(broker: Broker) -> None:
    seen = Counter[str]()
    for seed in range(12):
        faults = Scripted("commit_unknown", seed=seed)
        client = Client(broker, "id", Runtime(), faults)
        client.init()
        client.begin()
        client.produce(rec(b"%d" % seed))
        with pytest.raises(ReopenError, match="no answer") as raised:
            client.commit()
        how = str(raised.value).rpartition("(")[2].rstrip(")")
        seen[f"commit_unknown: {how}"] += 1
        assert faults.met == {f"commit_unknown: {how}": 1}
        Client(broker, "id", Runtime(), Faults()).init()
        for late in list(broker.late):
            broker.arrive(late)
        assert (b"%d" % seed in values(broker)) is (how == "done")
    assert seen.keys() == {"commit_unknown: lost", "commit_unknown: done", "commit_unknown: late"}
    assert broker.met["late end: dropped"] == seen["commit_unknown: late"]
    assert broker.met["aborted: by the next owner"] == 12 - seen["commit_unknown: done"]
    assert broker.torn == []


def test_a_late_end_that_comes_in_time_commits_the_whole_and_tears_nothing(broker: Broker) -> None:
    faults = Scripted()
    faults.random.choice = lambda ways: "late"  # type: ignore[method-assign,assignment,return-value]
    client = Client(broker, "id", Runtime(), faults)
    client.init()
    for word in (b"before", b"late"):
        client.begin()
        client.produce(rec(word))
        if word == b"late":
            faults.due.append("commit_unknown")
            with pytest.raises(ReopenError):
                client.commit()
        else:
            client.commit()
    broker.arrive(*broker.late)
    assert values(broker) == [b"before", b"late"]
    assert (broker.torn, broker.met) == ([], {"late end: in time": 1})


def test_an_end_that_was_sent_twice_tears_the_next_transaction(broker: Broker) -> None:
    faults = Scripted("end_twice")
    faults.random.randint = lambda low, high: 3  # type: ignore[method-assign]  # phases later
    client = Client(broker, "id", Runtime(), faults)
    client.init()
    client.begin()
    client.produce(rec(b"whole"))
    client.commit()
    client.begin()
    client.produce(rec(b"first half"))
    assert broker.torn == []
    client.produce(rec(b"elsewhere", 1))  # a partition that joins now opens a transaction anew
    assert [torn.producer for torn in broker.torn] == ["id"]
    assert (faults.met, broker.met) == ({"end_twice": 1}, {"late end: of the transaction before": 1})
    with pytest.raises(ReopenError, match="not in an open transaction"):
        client.produce(rec(b"second half"))
    Client(broker, "id", Runtime(), Faults()).init()
    assert (values(broker), values(broker, 1)) == ([b"whole", b"first half"], [])


def test_markers_may_come_after_the_answer_and_then_all_waits_for_them() -> None:
    broker = Broker(VirtualClock(), Random(5), slow_markers=0.8)
    broker.create("t", 1)
    client = Client(broker, "id", Runtime(), Faults())
    client.init()
    waited = 0
    for n in range(30):
        client.begin()
        client.produce(rec(b"%d" % n))
        client.send_offsets("g", {("t", 0): n})
        client.commit()
        waited += len(values(broker)) == n
        log = ModelLog(broker, broker.clock)
        assert log.committed("g", "t", [0]) == {0: n}
    assert 0 < waited < 30
    assert broker.met["slow_markers"] >= waited
    client.init()
    assert len(values(broker)) == 30


def test_compaction_keeps_the_newest_of_each_key_and_leaves_the_active_segment_and_open_transactions(
    broker: Broker,
) -> None:
    log = broker.partition(("t", 0))
    client = Client(broker, "id", Runtime(), Faults())
    client.init()
    client.begin()
    client.produce(rec(b"a"))
    client.abort()
    for value in (b"1", b"2", b"3"):
        broker.append(("t", 0), value, b"key")
    broker.append(("t", 0), b"other", b"other key")
    client.begin()
    client.produce(rec(b"open"))
    broker.append(("t", 0), b"4", b"key")
    assert log.compact(active=0) == 2
    assert [(e.offset, e.value) for e in log.entries] == [(4, b"3"), (5, b"other"), (6, b"open"), (7, b"4")]
    client.commit()
    assert log.compact(active=4) == 0
    assert len(log.entries) == 5
    log.compact(active=0)
    assert values(broker) == [b"other", b"open", b"4"]
    assert log.fetch(0, 2) == (log.entries[:2], 7)


def test_records_keep_their_order_within_a_partition_however_they_are_mixed(broker: Broker) -> None:
    faults = Faults(Random(2), {"shuffle": 1.0})
    writer = ModelLog(broker, broker.clock, None, faults).writer("id")
    writer.open()
    records = [rec(b"%d" % n, n % 2) for n in range(20)]
    sent = writer._sent(records)
    assert sorted(sent) == sorted(records)
    assert sent != records
    assert faults.met == {"shuffle": 1}
    writer.commit(records, "t", {}, None).result(0)
    assert values(broker) == [b"%d" % n for n in range(0, 20, 2)]
