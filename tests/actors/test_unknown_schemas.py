"""Partitions that wait for the registry: what is folded before, and how often it is asked."""

from __future__ import annotations

from concurrent.futures import Future
from random import Random
from typing import Any

import numpy as np

from actors.unknown_schemas import REGISTRY_RETRY_S, UnknownSchemas
from schemas.batch import RawBatch
from schemas.registry import RegistryUnavailable, UnknownSchema
from tests.simulation.broker import Broker
from tests.simulation.model import ModelLog, VirtualClock


def framed(schema_id: int) -> bytes:
    return b"\0" + schema_id.to_bytes(4, "big") + b"rest"


def raw_of(*values: bytes | None, first: int = 10) -> RawBatch:
    n = len(values)
    return RawBatch("t", 3, np.arange(first, first + n), np.zeros(n, np.int64), [None] * n, list(values), first + n)


def away(schema_id: int | None) -> RegistryUnavailable:
    error = RegistryUnavailable("away")
    error.schema_id = schema_id
    return error


class Asked:
    """A registry that is asked; `says` is raised if it is an error."""

    def __init__(self) -> None:
        self.says: Exception | None = RegistryUnavailable("away")
        self.ids: list[int] = []

    def look_up(self, schema_id: int) -> object:
        self.ids.append(schema_id)
        if self.says is not None:
            raise self.says
        return {}


def waiting() -> tuple[UnknownSchemas, Asked, VirtualClock, ModelLog]:
    clock, asked = VirtualClock(), Asked()
    log = ModelLog(Broker(clock, Random(1)), clock)
    return UnknownSchemas(log, clock, asked.look_up), asked, clock, log


def test_what_stands_before_the_first_record_of_the_schema_is_folded() -> None:
    unknown, _, _, _ = waiting()
    before = unknown.put_aside(raw_of(framed(1), None, b"garbage", framed(7), framed(1), framed(7)), away(7))
    assert before is not None
    assert (before.offset.tolist(), before.next_offset) == ([10, 11, 12], 13)
    assert unknown.partitions == [3]


def test_where_it_is_the_first_nothing_is() -> None:
    unknown, _, _, _ = waiting()
    assert unknown.put_aside(raw_of(framed(7), framed(1)), away(7)) is None
    assert unknown.put_aside(raw_of(framed(1)), away(7)) is None, "nor where it is not there at all"


def test_the_registry_is_asked_now_and_then_until_it_answers() -> None:
    unknown, asked, clock, _ = waiting()
    unknown.put_aside(raw_of(framed(7)), away(7))
    for _ in range(100):
        assert unknown.known_again() == []
        clock.passes(REGISTRY_RETRY_S / 10)
    assert 8 <= len(asked.ids) <= 11
    asked.says = None
    clock.passes(REGISTRY_RETRY_S)
    assert unknown.known_again() == []  # asks
    assert unknown.known_again() == [3]
    assert unknown.partitions == []
    assert set(asked.ids) == {7}


def test_an_answer_that_nobody_knows_the_schema_is_an_answer() -> None:
    unknown, asked, _, _ = waiting()
    asked.says = UnknownSchema("7")
    unknown.put_aside(raw_of(framed(7)), away(7))
    unknown.known_again()
    assert unknown.known_again() == [3]


def test_without_an_id_nobody_is_asked() -> None:
    unknown, asked, _, _ = waiting()
    unknown.put_aside(raw_of(framed(7)), away(None))
    unknown.known_again()
    assert unknown.known_again() == [3]
    assert asked.ids == []


def test_an_answer_is_not_waited_for() -> None:
    unknown, _, _, log = waiting()
    answers: list[Future[bool]] = []

    def later(work: Any) -> Future[bool]:
        answers.append(Future())
        return answers[-1]

    log.background = later  # type: ignore[assignment, method-assign]
    unknown.put_aside(raw_of(framed(7)), away(7))
    assert [unknown.known_again() for _ in range(3)] == [[], [], []]
    assert len(answers) == 1
    answers[0].set_result(True)
    assert unknown.known_again() == [3]


def test_a_partition_that_is_let_go_waits_no_more() -> None:
    unknown, asked, _, _ = waiting()
    unknown.put_aside(raw_of(framed(7)), away(7))
    unknown.forget(3)
    unknown.forget(4)
    assert unknown.known_again() == []
    assert (unknown.partitions, asked.ids) == ([], [])
