"""An owner hears that a partition in quarantine has new state, whatever else there is to do."""

from __future__ import annotations

from concurrent.futures import Future
from random import Random
from typing import Any

from actors.engine.fold import Topics
from actors.kafka.client import Cluster
from actors.pipeline import Pipeline
from actors.quarantine import WATCH_S, QuarantineWatch
from actors.surroundings import Codec, Surroundings
from tests.simulation.broker import Broker
from tests.simulation.model import ModelLog, VirtualClock


def watched() -> tuple[QuarantineWatch, Broker, VirtualClock, ModelLog]:
    clock = VirtualClock()
    broker = Broker(clock, Random(1))
    broker.create("state", 2)
    log = ModelLog(broker, clock)
    topics = Topics("charts", "alerts", "dead", "state")
    pipeline = Pipeline("quality", Cluster(""), "fab", (0, 1), topics, {}, {}, code_version="1")
    codec: Any = Codec(None, {}, lambda _: {}, lambda _: None)  # type: ignore[arg-type]
    return QuarantineWatch(pipeline, Surroundings(log, clock, codec)), broker, clock, log


def test_new_state_of_a_partition_in_quarantine_is_noticed_once_a_while() -> None:
    watch, broker, clock, _ = watched()
    assert watch.repaired([1], {}) == []
    broker.append(("state", 0), b"another partition goes on")
    broker.append(("state", 1), b"repaired")
    assert watch.repaired([1], {}) == []  # it does not look all the time
    clock.passes(WATCH_S)
    assert watch.repaired([1], {}) == [1]


def test_where_nothing_is_in_quarantine_nothing_is_asked() -> None:
    watch, _, _, log = watched()
    log.end = None  # type: ignore[assignment, method-assign]
    assert watch.repaired([], {}) == []


def test_a_look_that_takes_long_holds_nothing_up() -> None:
    watch, _, clock, log = watched()
    looks: list[Future[Any]] = []

    def later(work: Any) -> Future[Any]:
        looks.append(Future())
        return looks[-1]

    log.background = later  # type: ignore[assignment, method-assign]
    assert watch.repaired([0, 1], {}) == watch.repaired([0, 1], {}) == []
    assert len(looks) == 1
    looks[0].set_result({0: 3, 1: 5})
    assert watch.repaired([0, 1], {}) == []
    clock.passes(WATCH_S)
    watch.repaired([1], {})
    looks[1].set_result({1: 6})
    assert watch.repaired([1], {}) == [1]


def test_a_repair_between_the_look_and_the_first_question_is_noticed() -> None:
    watch, broker, _, log = watched()
    looked_to = log.end("state", [0, 1])
    broker.append(("state", 1), b"repaired")
    assert watch.repaired([0, 1], looked_to) == [1]
