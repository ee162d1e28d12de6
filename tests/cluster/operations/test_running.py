"""Operations at work and after a restart: on the model of the log (tests/simulation), with kinds that do as they are told."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from itertools import count
from random import Random
from typing import Any

import pytest

from actors.engine.position import Record
from actors.errors import ConfigError, FencedError, ReopenError
from actors.kafka.client import Cluster
from cluster.operations import running as module
from cluster.operations.errors import Absent, Conflict, Invalid, Refused
from cluster.operations.journal import Journal
from cluster.operations.operation import Operation, Request
from cluster.operations.running import Kind, Operations, Work
from tests.cluster.served import wait_for
from tests.simulation.broker import Broker
from tests.simulation.line import Plain, read
from tests.simulation.model import ModelLog, VirtualClock

TOPIC = "operations"


class Scripted:
    """Kinds of operations that the test holds in its hand."""

    def __init__(self) -> None:
        self.go = threading.Event()
        self.works: list[Work] = []
        self.error: Exception | None = None
        self.kinds = {"once": Kind(self.run), "again": Kind(self.run, resumes=True)}

    def run(self, work: Work) -> str:
        self.works.append(work)
        work.tell(1, 4, "waits")
        while not self.go.is_set():
            work.pause(0.005, "a quarter")
        if self.error is not None:
            raise self.error
        work.tell(4, 4, "ready")
        return "all of it"


class Desk:
    """A broker in memory, and the operations that come and go on it."""

    def __init__(self) -> None:
        self.clock = VirtualClock()
        self.broker = Broker(self.clock, Random(1))
        self.broker.create(TOPIC, 1)
        self.ids = map(str, count())
        self.now = count(1000)
        self.away: Exception | None = None
        self.started: list[Operations] = []

    def journal(self, pipeline: str = "quality") -> Journal:
        if self.away is not None:
            raise self.away
        return Journal(ModelLog(self.broker, self.clock), pipeline, TOPIC, Plain(), read)

    def start(self, script: Scripted, pipeline: str = "quality") -> Operations:
        made = Operations(
            Cluster(""),
            pipeline,
            lambda: self.journal(pipeline),
            script.kinds,
            lambda: next(self.now),
            lambda: next(self.ids),
        )
        made.run()
        self.started.append(made)
        return made


@pytest.fixture
def desk(monkeypatch: pytest.MonkeyPatch) -> Iterator[Desk]:
    monkeypatch.setattr(module, "KEEP_S", 0.01)
    monkeypatch.setattr(module, "RETRY_S", 0.01)
    made = Desk()
    yield made
    for operations in made.started:
        operations.stop()


def request(kind: str = "once", subject: str = "s", key: str = "", body: str = "b") -> Request:
    return Request(kind, subject, {"does": 1}, "0" * 16, "ada", key, body)


def ended(operations: Operations, operation_id: str) -> dict[str, Any]:
    wait_for(lambda: operations.get(operation_id)["state"] != "running", "it ends", 20)
    return operations.get(operation_id)


def test_from_asked_for_to_done(desk: Desk) -> None:
    script = Scripted()
    operations = desk.start(script)
    begun = operations.begin(request())
    assert (begun["state"], begun["plan"], begun["by"]) == ("running", {"does": 1}, "ada")
    wait_for(lambda: operations.get(begun["id"])["progress"] == 0.25, "it says how far it is", 20)
    script.go.set()
    done = ended(operations, begun["id"])
    assert (done["state"], done["progress"], done["what"], done["error"]) == ("done", 1.0, "all of it", None)
    assert operations.page(5)["items"] == [done]
    assert not script.works[0].resumed


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (Refused("it has members"), "it has members"),
        (ReopenError("no broker"), "no broker"),
        (ConfigError("kafka.x = 1: no"), "kafka.x = 1: no"),
        (KeyError("a bug"), "KeyError: 'a bug'"),
    ],
)
def test_why_it_failed_is_told_in_one_line(desk: Desk, error: Exception, said: str) -> None:
    script = Scripted()
    script.error = error
    script.go.set()
    operations = desk.start(script)
    told = ended(operations, operations.begin(request())["id"])
    assert (told["state"], told["error"]) == ("failed", said)


def test_one_that_is_cancelled_says_what_was_done(desk: Desk) -> None:
    script = Scripted()
    operations = desk.start(script)
    begun = operations.begin(request())
    assert operations.cancel(begun["id"])["state"] == "running"
    told = ended(operations, begun["id"])
    assert (told["state"], told["what"], told["error"]) == ("cancelled", "a quarter", None)
    assert operations.cancel(begun["id"]) == told
    with pytest.raises(Absent):
        operations.cancel("9")


def test_one_that_is_cancelled_while_it_is_being_kept_is_cancelled(desk: Desk) -> None:
    script = Scripted()
    operations = desk.start(script)
    assert operations.page(1)["items"] == []
    write = operations._must_journal().write

    def cancelled_meanwhile(*records: Any) -> None:
        operations.cancel("0")
        write(*records)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(operations._journal, "write", cancelled_meanwhile)
        begun = operations.begin(request())
    assert ended(operations, begun["id"])["state"] == "cancelled"
    assert operations._unwanted == set()


def test_the_same_key_begins_nothing_new(desk: Desk) -> None:
    script = Scripted()
    operations = desk.start(script)
    begun = operations.begin(request(key="k"))
    assert operations.known("ada", "k", "b")["id"] == operations.begin(request(key="k"))["id"] == begun["id"]  # type: ignore[index]
    assert operations.known("ada", "j", "b") is None
    with pytest.raises(Invalid):
        operations.begin(request(key="k", body="other"))
    with pytest.raises(Conflict):
        operations.begin(request())
    assert len(script.works) == 1
    script.go.set()


def test_after_a_restart_all_is_known_and_what_ran_goes_on_or_is_told_as_failed(desk: Desk) -> None:
    first = Scripted()
    operations = desk.start(first)
    ids = [operations.begin(request(kind, kind, key=f"key {kind}"))["id"] for kind in ("once", "again")]
    wait_for(lambda: all(operations.get(name)["done"] for name in ids), "both run", 20)
    wait_for(lambda: not operations._unsaved, "it is written", 20)
    second = Scripted()
    second.go.set()
    again = desk.start(second)  # whatever the first still does is of a process that has died
    interrupted, resumed = (ended(again, name) for name in ids)
    assert (interrupted["state"], interrupted["error"]) == ("failed", module.INTERRUPTED)
    assert (resumed["state"], resumed["what"]) == ("done", "all of it")
    assert [work.resumed for work in second.works] == [True]
    wait_for(lambda: not again._unsaved, "it is written", 20)
    third = desk.start(Scripted())
    assert [item["state"] for item in third.page(9)["items"]] == ["done", "failed"]
    assert third.known("ada", "key once", "b") == interrupted, "keys are kept too"
    first.go.set()


def test_pipelines_share_the_topic_and_records_that_cannot_be_read_are_left_out(desk: Desk) -> None:
    script = Scripted()
    script.go.set()
    operations = desk.start(script)
    mine = operations.begin(request())["id"]
    ended(operations, mine)
    wait_for(lambda: not operations._unsaved, "it is written", 20)
    writer = ModelLog(desk.broker, desk.clock).writer("somebody")
    writer.open()
    odd = [b"\xff", Plain().encode({"pipeline": "quality"})]
    writer.commit([Record(TOPIC, 0, b"odd %d" % n, value) for n, value in enumerate(odd)], "", {}, None).result()
    assert [item["id"] for item in desk.start(Scripted()).page(9)["items"]] == [mine]
    assert desk.start(Scripted(), "vectors").page(9)["items"] == []


def test_those_that_are_forgotten_are_deleted_from_the_topic(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    from cluster.operations import board

    monkeypatch.setattr(board, "KEPT_MAX", 2)
    script = Scripted()
    script.go.set()
    operations = desk.start(script)
    ids = []
    for _ in range(4):
        ids.append(operations.begin(request())["id"])
        ended(operations, ids[-1])
    wait_for(lambda: not operations._unsaved and not operations._forgotten, "it is written", 20)
    assert [item["id"] for item in desk.start(Scripted()).page(9)["items"]] == ids[:1:-1]


def test_nothing_begins_that_cannot_be_kept(desk: Desk) -> None:
    script = Scripted()
    operations = desk.start(script)
    operations.page(1)

    def fail(*_: object) -> None:
        raise ReopenError("no broker answers")

    honest = Journal.write
    with pytest.MonkeyPatch.context() as broken:
        broken.setattr(Journal, "write", fail)
        with pytest.raises(ReopenError, match="no broker answers"):
            operations.begin(request())
    assert Journal.write is honest
    [told] = operations.page(5)["items"]
    assert (told["state"], told["error"]) == ("failed", "not begun: it could not be kept: no broker answers")
    assert script.works == []
    wait_for(lambda: not operations._unsaved, "that it failed is written as soon as it can be", 20)


def test_a_key_whose_operation_could_not_be_kept_begins_one_the_next_time(desk: Desk) -> None:
    script = Scripted()
    script.go.set()
    operations = desk.start(script)
    wait_for(lambda: operations._journal is not None, "the journal is read", 20)
    journal, error = operations._must_journal(), ReopenError("no broker")

    def fail(*_: object) -> None:
        raise error

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(journal, "write", fail)
        with pytest.raises(ReopenError, match="no broker"):
            operations.begin(request(key="k"))
        assert operations.known("ada", "k", "b") is None
    begun = operations.begin(request(key="k"))
    assert (ended(operations, begun["id"])["state"], begun["id"]) == ("done", "1")
    wait_for(lambda: not operations._unsaved, "it is written", 20)
    again = desk.start(Scripted())
    assert [item["state"] for item in again.page(9)["items"]] == ["done", "failed"]
    assert again.known("ada", "k", "b")["id"] == begun["id"]  # type: ignore[index]


def test_what_cannot_be_written_now_is_written_later(desk: Desk) -> None:
    script = Scripted()
    operations = desk.start(script)
    begun = operations.begin(request())
    other = desk.journal()
    assert [op.id for op in other.load()] == [begun["id"]]  # whoever reads it fences the writer
    script.go.set()
    ended(operations, begun["id"])
    wait_for(lambda: not operations._unsaved, "it is written with another producer", 20)
    assert [op.state.value for op in other.load()] == ["done"]
    other.close()


def test_a_journal_that_is_fenced_goes_on_with_another_producer(desk: Desk) -> None:
    first, second = desk.journal(), desk.journal()
    operation = Operation("1", "quality", "once", "s", 1, "ada", {}, "0" * 16)
    assert (first.load(), second.load()) == ([], [])
    with pytest.raises(FencedError):
        first.write([operation])
    first.write([operation])
    first.write([])
    assert second.load() == first.load() == [operation]


def test_until_the_journal_is_read_nothing_is_answered(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "READY_S", 0.05)
    desk.away = ReopenError("no broker answers")
    operations = desk.start(Scripted())
    with pytest.raises(ReopenError, match="operations: no broker answers"):
        wait_for(lambda: operations.page(1), "never")
    desk.away = None
    monkeypatch.setattr(module, "READY_S", 20.0)
    assert operations.page(1)["items"] == []
