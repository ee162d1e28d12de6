"""The contract of actors/log.py, held by the model of the log and by the real broker."""

from __future__ import annotations

import uuid
from collections.abc import Iterable

import pytest

from actors.engine.position import Record
from actors.errors import FencedError, ReopenError
from actors.log import Reader
from tests.integration.line import wait_for
from tests.simulation.systems import Model, RawClient, Real, System

POLLS_MAX = 100
WAIT_S = 0.1
TIMEOUT_S = 2.0  # of a transaction that is left open; a broker of ours looks every second


@pytest.fixture(params=["model", pytest.param("kafka", marks=pytest.mark.kafka)])
def system(request: pytest.FixtureRequest) -> System:
    if request.param == "model":
        return Model()
    return Real(request.getfixturevalue("stack").bootstrap_servers)


def new_id() -> str:
    return f"id-{uuid.uuid4().hex[:8]}"


def read(reader: Reader, ends: dict[int, int]) -> dict[int, list[tuple[int, bytes | None]]]:
    """Poll until the position reaches `ends`; return offset and value of what came."""
    found: dict[int, list[tuple[int, bytes | None]]] = {partition: [] for partition in ends}
    behind = dict(ends)
    for _ in range(POLLS_MAX):
        for batch in reader.poll(100, WAIT_S).batches:
            if len(batch):
                found.setdefault(batch.partition, []).extend(zip(batch.offset.tolist(), batch.values, strict=True))
            if batch.next_offset >= behind.get(batch.partition, batch.next_offset + 1):
                del behind[batch.partition]
        if not behind:
            return found
    raise AssertionError(f"{behind} not reached; found {found}")


def of(topic: str, *values: bytes, partition: int = 0) -> list[Record]:
    return [Record(topic, partition, b"k" + value, value) for value in values]


def leave_open(system: System, transactional_id: str, records: Iterable[Record]) -> None:
    """Do what a writer does that dies before the end of its transaction."""
    client = system.client(transactional_id)
    client.init()
    client.begin()
    for record in records:
        client.produce(record)
    client.flush()
    KEPT.append(client)  # or the real one ends its transaction when it is collected


KEPT: list[object] = []


def test_records_come_in_order_and_with_their_positions(system: System) -> None:
    topic = system.topic(2)
    system.append(topic, 0, b"a", b"b")
    system.append(topic, 1, b"c")
    reader = system.log.reader("g", topic)
    reader.assign({0: 0, 1: 0})
    assert read(reader, {0: 2, 1: 1}) == {0: [(0, b"a"), (1, b"b")], 1: [(0, b"c")]}
    system.append(topic, 0, b"d")
    assert read(reader, {0: 3}) == {0: [(2, b"d")]}
    reader.close()


def test_a_poll_brings_at_most_as_many_rows_as_asked(system: System) -> None:
    topic = system.topic(1)
    system.append(topic, 0, *[b"%d" % n for n in range(10)])
    reader = system.log.reader("g", topic)
    reader.assign({0: 0})
    values: list[bytes | None] = []
    for _ in range(POLLS_MAX):
        brought = [value for batch in reader.poll(3, WAIT_S).batches for value in batch.values]
        assert len(brought) <= 3
        values += brought
        if len(values) == 10:
            break
    assert values == [b"%d" % n for n in range(10)]
    reader.close()


def test_a_transaction_shows_when_it_is_committed_and_its_marker_takes_an_offset(system: System) -> None:
    topic = system.topic(1)
    writer = system.log.writer(new_id())
    writer.open()
    writer.commit(of(topic, b"a", b"b"), topic, {}, group(system, topic)).result(10)
    wait_for(lambda: system.log.end(topic, [0]) == {0: 3}, "the marker, which may come after the answer")
    writer.commit(of(topic, b"c"), "", {}, None).result(10)
    reader = system.log.reader("g", topic)
    reader.assign({0: 0})
    assert read(reader, {0: 5}) == {0: [(0, b"a"), (1, b"b"), (3, b"c")]}
    assert system.log.read_to_end("g", topic, {0: 5}, 5.0) == {0: [(b"ka", b"a"), (b"kb", b"b"), (b"kc", b"c")]}
    writer.close()
    reader.close()


def test_below_an_open_transaction_everything_hangs_and_the_high_watermark_counts_it(system: System) -> None:
    topic = system.topic(1)
    system.append(topic, 0, b"before")
    leave_open(system, owner := new_id(), of(topic, b"open"))
    system.append(topic, 0, b"after")
    assert system.log.end(topic, [0]) == {0: 3}
    reader = system.log.reader("g", topic)
    reader.assign({0: 0})
    assert read(reader, {0: 1}) == {0: [(0, b"before")]}
    with pytest.raises(ReopenError, match="a transaction is open"):
        system.log.read_to_end("g", topic, {0: 3}, 0.5)
    system.log.writer(owner).open()  # aborts it
    assert read(reader, {0: 4}) == {0: [(2, b"after")]}
    assert system.log.read_to_end("g", topic, {0: 4}, 5.0) == {0: [(b"key", b"before"), (b"key", b"after")]}
    reader.close()


def test_a_position_moves_over_what_is_not_for_readers(system: System) -> None:
    topic = system.topic(1)
    leave_open(system, owner := new_id(), of(topic, b"x", b"y"))
    system.log.writer(owner).open()
    reader = system.log.reader("g", topic)
    reader.assign({0: 0})
    assert read(reader, {0: 3}) == {0: []}
    assert system.log.read_to_end("g", topic, {0: 3}, 5.0) == {0: []}
    reader.close()


def test_a_newer_writer_of_the_same_id_fences_the_older(system: System) -> None:
    topic, owner = system.topic(1), new_id()
    old, new, other = system.log.writer(owner), system.log.writer(owner), system.log.writer(new_id())
    old.open()
    other.open()
    old.commit(of(topic, b"old"), topic, {0: 1}, group(system, topic)).result(10)
    new.open()
    with pytest.raises(FencedError):
        old.commit(of(topic, b"zombie"), topic, {0: 99}, group(system, topic)).result(10)
    new.commit(of(topic, b"new"), topic, {}, group(system, topic)).result(10)
    other.commit(of(topic, b"other"), topic, {}, group(system, topic)).result(10)
    end = system.log.end(topic, [0])
    values = [value for _, value in system.log.read_to_end("g", topic, end, 5.0)[0]]
    assert values == [b"old", b"new", b"other"]
    assert committed(system, topic) == {0: 1}
    old.abandon()


def test_a_transaction_that_is_open_for_too_long_is_aborted_and_its_producer_fenced(system: System) -> None:
    topic, owner = system.topic(1), new_id()
    client = system.client(owner, TIMEOUT_S)
    client.init()
    began = system.now()
    client.begin()
    client.produce(*of(topic, b"slow"))
    client.flush()
    system.append(topic, 0, b"after")
    assert system.log.read_to_end("g", topic, {0: 3}, 20.0) == {0: [(b"key", b"after")]}
    assert system.now() - began >= TIMEOUT_S
    with pytest.raises(FencedError):
        client.commit()
    writer = system.log.writer(owner)
    writer.open()
    writer.commit(of(topic, b"next"), "", {}, None).result(10)
    assert system.log.read_to_end("g", topic, {0: 5}, 5.0) == {0: [(b"key", b"after"), (b"knext", b"next")]}
    writer.close()


def test_a_late_end_commits_what_was_left_open_if_nobody_has_opened_the_id_since(system: System) -> None:
    topic = system.topic(1)
    leave_open(system, owner := new_id(), of(topic, b"a"))
    system.end_of(owner, committed=True)()
    assert system.log.read_to_end("g", topic, {0: 2}, 5.0) == {0: [(b"ka", b"a")]}


def test_a_late_end_is_dropped_after_the_id_was_opened_anew(system: System) -> None:
    topic = system.topic(1)
    leave_open(system, owner := new_id(), of(topic, b"old"))
    late = system.end_of(owner, committed=True)
    client = system.client(owner)
    client.init()
    client.begin()
    client.produce(*of(topic, b"new"))
    client.flush()
    late()
    client.abort()
    assert system.log.read_to_end("g", topic, {0: 4}, 5.0) == {0: []}


def half_ended(system: System, topic: str, owner: str) -> RawClient:
    """Commit a transaction, write a record of the next one, and let the end of the first arrive once more."""
    client = system.client(owner)
    client.init()
    client.begin()
    client.produce(*of(topic, b"whole"))
    client.flush()
    again = system.end_of(owner, committed=True)
    client.commit()
    client.begin()
    client.produce(*of(topic, b"half"))
    client.flush()
    again()
    wait_for(
        lambda: system.log.end(topic, [0]) == {0: 4}, "the marker: until then the partition takes more of what is ended"
    )
    return client


def test_an_end_that_comes_twice_commits_a_part_of_what_its_producer_then_aborts(system: System) -> None:
    """The hole that docs/guarantees.md tells of: nothing in the request says which transaction of the epoch is meant."""
    topic = system.topic(2)
    client = half_ended(system, topic, new_id())
    client.produce(*of(topic, b"other half", partition=1))  # a partition that joins now opens a transaction anew
    client.flush()
    client.abort()
    found = system.log.read_to_end("g", topic, {0: 4, 1: 2}, 5.0)
    assert found == {0: [(b"kwhole", b"whole"), (b"khalf", b"half")], 1: []}


def test_after_an_end_that_came_twice_a_partition_that_it_ended_takes_no_more(system: System) -> None:
    topic, owner = system.topic(1), new_id()
    client = half_ended(system, topic, owner)

    def go_on() -> None:
        client.produce(*of(topic, b"other half"))
        client.flush()
        client.commit()

    with pytest.raises(ReopenError):
        go_on()
    system.log.writer(owner).open()
    end = system.log.end(topic, [0])
    assert system.log.read_to_end("g", topic, end, 5.0) == {0: [(b"kwhole", b"whole"), (b"khalf", b"half")]}
    KEPT.append(client)


def group(system: System, topic: str) -> object:
    """Return the metadata of a group named as the topic."""
    reader = system.log.reader(topic, topic)
    KEPT.append(reader)
    return reader.group_metadata()


def committed(system: System, topic: str, partitions: Iterable[int] = (0,)) -> dict[int, int | None]:
    return system.log.committed(topic, topic, partitions)


def test_offsets_are_committed_with_the_records_or_not_at_all(system: System) -> None:
    topic, owner = system.topic(2), new_id()
    assert committed(system, topic, (0, 1)) == {0: None, 1: None}
    writer = system.log.writer(owner)
    writer.open()
    writer.commit(of(topic, b"a"), topic, {0: 5, 1: 7}, group(system, topic)).result(10)
    writer.commit([], topic, {1: 8}, group(system, topic)).result(10)
    assert committed(system, topic, (0, 1)) == {0: 5, 1: 8}
    writer.close()


def test_committed_offsets_wait_for_the_end_of_a_transaction_that_holds_them(system: System) -> None:
    topic, owner = system.topic(1), new_id()
    client = system.client(owner)
    client.init()
    client.begin()
    client.send_offsets(topic, {(topic, 0): 3})
    assert system.meanwhile(lambda: committed(system, topic), client.commit) == {0: 3}
    client.begin()
    client.send_offsets(topic, {(topic, 0): 4})
    assert system.meanwhile(lambda: committed(system, topic), client.abort) == {0: 3}
    client.begin()
    client.send_offsets(topic, {(topic, 0): 5})
    system.log.writer(owner).open()
    assert committed(system, topic) == {0: 3}
    KEPT.append(client)


def test_partitions_are_added_and_removed_and_the_others_go_on(system: System) -> None:
    topic = system.topic(3)
    for partition in range(3):
        system.append(topic, partition, b"a", b"b")
    reader = system.log.reader("g", topic)
    reader.assign({0: 0})
    assert read(reader, {0: 2}) == {0: [(0, b"a"), (1, b"b")]}
    reader.add({1: 1, 2: 0})
    assert read(reader, {1: 2, 2: 2}) == {1: [(1, b"b")], 2: [(0, b"a"), (1, b"b")]}
    reader.remove([0])
    for partition in range(3):
        system.append(topic, partition, b"c")
    assert read(reader, {1: 3, 2: 3}) == {1: [(2, b"c")], 2: [(2, b"c")]}
    reader.add({0: 1})
    assert read(reader, {0: 3}) == {0: [(1, b"b"), (2, b"c")]}
    reader.assign({1: 0})
    assert read(reader, {1: 3}) == {1: [(0, b"a"), (1, b"b"), (2, b"c")]}
    reader.close()


def test_an_offset_that_is_gone_is_told_and_the_others_go_on(system: System) -> None:
    topic = system.topic(2)
    for partition in range(2):
        system.append(topic, partition, b"a", b"b", b"c")
    system.delete_before(topic, 0, 2)
    assert system.log.first(topic, [0, 1]) == {0: 2, 1: 0}
    reader = system.log.reader("g", topic)
    reader.assign({0: 0, 1: 0})
    lost: dict[int, str] = {}
    values: list[bytes | None] = []
    for _ in range(POLLS_MAX):
        polled = reader.poll(100, WAIT_S)
        lost |= polled.lost
        values += [value for batch in polled.batches for value in batch.values]
        if lost and len(values) == 3:
            break
    assert set(lost) == {0}
    assert lost[0]
    assert values == [b"a", b"b", b"c"]
    assert system.log.read_to_end("g", topic, {0: 3, 1: 3}, 5.0)[0] == [(b"key", b"c")]
    reader.close()


def test_records_without_a_partition_go_by_their_key(system: System) -> None:
    topic = system.topic(4)
    writer = system.log.writer(new_id())
    writer.open()
    records = [Record(topic, -1, b"key-%d" % (n % 8), b"%d" % n) for n in range(32)]
    writer.commit(records, topic, {}, group(system, topic)).result(10)
    ends = system.log.end(topic, range(4))
    found = system.log.read_to_end("g", topic, ends, 5.0)
    places: dict[bytes, set[int]] = {}
    for partition, entries in found.items():
        for key, _ in entries:
            places.setdefault(key, set()).add(partition)
    assert len(places) == 8
    assert all(len(where) == 1 for where in places.values())
    assert sorted(int(value or b"-1") for entries in found.values() for _, value in entries) == list(range(32))
    writer.close()


def test_a_log_is_read_as_compaction_would_leave_it(system: System) -> None:
    topic = system.topic(2)
    writer = system.log.writer(new_id())
    writer.open()
    versions = [(b"a", b"1"), (b"b", b"2"), (b"c", b"3"), (b"a", b"4"), (b"b", None), (b"d", None)]
    writer.commit([Record(topic, 0, key, value) for key, value in versions], topic, {}, None).result(10)
    ends = system.log.end(topic, [0, 1])
    assert system.log.read_to_end("g", topic, ends, 5.0) == {0: versions, 1: []}
    assert system.log.read_to_end("g", topic, ends, 5.0, newest=True) == {0: [(b"a", b"4"), (b"c", b"3")], 1: []}
    writer.close()


def test_an_unknown_topic_is_a_reopen_error(system: System) -> None:
    with pytest.raises(ReopenError):
        system.log.end("nowhere", [0])


def test_background_work_gives_its_answer_or_its_error(system: System) -> None:
    assert system.log.background(lambda: 7).result(10) == 7
    with pytest.raises(ReopenError, match="gone"):
        system.log.background(raises).result(10)


def raises() -> None:
    raise ReopenError("gone")
