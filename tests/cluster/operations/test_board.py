"""Which operations may begin, which are kept, how they are listed: plain calls."""

from __future__ import annotations

import pytest

from cluster.operations import board as module
from cluster.operations.board import Board
from cluster.operations.errors import Absent, Conflict, Invalid, TooMany
from cluster.operations.operation import LINE_MAX, Operation, Request, State
from schemas.decode import decode_event
from schemas.encode import Encoder
from schemas.topics import load


def request(subject: str = "topic t", key: str = "", body: str = "b", by: str = "ada") -> Request:
    return Request("delete", subject, {"topic": "t"}, "0" * 16, by, key, body)


def test_one_operation_at_a_time_works_on_a_subject() -> None:
    board = Board("quality")
    board.begin(request(), "1", 1)
    with pytest.raises(Conflict, match=r"operation 1 \(delete\) works on that"):
        board.begin(request(), "2", 2)
    replay = Request("replay", "replay o", {"topics": ["o.charts", "t"]}, "0" * 16, "ada")
    with pytest.raises(Conflict, match="operation 1"):
        board.begin(replay, "2", 2)
    board.ended("1", State.done, 3)
    assert board.begin(replay, "2", 4).id == "2"
    with pytest.raises(Conflict, match="operation 2"):
        board.begin(request("topic o.charts"), "3", 5)


def test_no_more_run_than_may(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "RUNNING_MAX", 2)
    board = Board("quality")
    for number in range(2):
        board.begin(request(str(number)), str(number), number)
    with pytest.raises(TooMany, match="2 operations run"):
        board.begin(request("other"), "9", 9)


def test_a_key_is_one_operation_of_one_person() -> None:
    board = Board("quality")
    begun = board.begin(request(key="k"), "1", 1)
    assert board.known("ada", "k", "b") == begun
    assert board.known("bob", "k", "b") is board.known("ada", "", "b") is board.known("ada", "j", "b") is None
    with pytest.raises(Invalid, match="has begun operation 1 with another request"):
        board.known("ada", "k", "other")


def test_the_oldest_that_have_ended_are_forgotten_never_one_that_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "KEPT_MAX", 2)
    board = Board("quality")
    for number in range(4):
        board.begin(request(str(number)), str(number), number)
    for number in (2, 1, 3):
        board.ended(str(number), State.done, 10)
    assert board.forget_surplus() == ["1", "2"]
    assert board.forget_surplus() == []
    assert [op.id for op in board.running()] == ["0"]
    with pytest.raises(Absent, match="no operation 1;"):
        board.get("1")


def test_progress_and_errors_are_one_line() -> None:
    board = Board("quality")
    board.begin(request(), "1", 1)
    assert board.get("1").progress == 0.0
    assert board.moved("1", 5, 20, "a\nb").told()["progress"] == 0.25
    ended = board.ended("1", State.failed, 9, error="it\n broke " + "x" * 1000)
    assert (ended.what, len(ended.error or ""), ended.ended_ms) == ("a b", LINE_MAX, 9)
    assert board.moved("1", 30, 20, "").progress == 1.0


def test_pages_are_newest_first_and_filtered() -> None:
    board = Board("quality")
    for number in range(5):
        board.begin(request(str(number)), str(number), 100 + number // 2)
        board.ended(str(number), State.cancelled if number == 3 else State.done, 200)
    first = board.page(2)
    assert [item["id"] for item in first["items"]] == ["4", "3"]
    second = board.page(2, first["next"])
    third = board.page(2, second["next"])
    assert [item["id"] for item in second["items"] + third["items"]] == ["2", "1", "0"]
    assert third["next"] is None
    assert [item["id"] for item in board.page(9, state="cancelled")["items"]] == ["3"]
    for cursor in ("nonsense", "x:1", "9" * 20 + ":1"):
        with pytest.raises(ValueError, match="not given by this API"):
            board.page(2, cursor)


def test_an_operation_is_a_record_of_its_schema_and_back() -> None:
    board = Board("quality")
    board.begin(request(key="k"), "1", 1)
    board.moved("1", 5, 20, "half")
    for operation in (board.get("1"), board.ended("1", State.failed, 9, error="no")):
        value = Encoder("operation", 1).encode(operation.to_record())
        assert Operation.of_record(decode_event(value, {1: load("operation")}.__getitem__)) == operation
    with pytest.raises(ValueError, match="unknown"):
        Operation.of_record({**board.get("1").to_record(), "state": "UNKNOWN"})
