"""When a seed fails, and when it does not: worlds in which nothing went wrong, with outputs that are wrong put in by hand."""

from __future__ import annotations

from typing import Any, NamedTuple

import pytest

from tests.simulation import line, world
from tests.simulation.broker import Torn
from tests.simulation.oracle import position
from tests.simulation.world import World

SEEDS = range(50)  # among them is one with a detector that fails


class Calm(NamedTuple):
    """A world without faults, at rest, and where a detector has failed in it."""

    world: World
    partition: int
    detector: str
    offset: int  # from which on it is off


@pytest.fixture
def calm(monkeypatch: pytest.MonkeyPatch) -> Calm:
    monkeypatch.setattr(world, "FAULTS", {})
    for seed in SEEDS:
        made = World(seed)
        assert made.run() == []
        for partition in made.pipeline.partitions:
            stands = position(made.broker, partition) or {"applied": ()}
            for entry in stands["applied"]:
                if entry["at_offset"] > 0:
                    return Calm(made, partition, entry["subject"], entry["at_offset"])
    raise AssertionError("no detector failed")


def put_alert(calm: Calm, offset: int, **further: Any) -> None:
    """Write an alert of the detector."""
    alert = {
        "pipeline": line.NAME, "topic": line.INPUT, "partition": calm.partition, "alert_id": f"{offset:032x}",
        "detector": calm.detector, "rule": "above", "series": "a", "state": "OPEN", "opened_offset": offset,
        "last_offset": offset, "closed_offset": None, "rows": 1, **further,
    }  # fmt: skip
    calm.world.broker.append((line.TOPICS.alerts, 0), line.Plain().encode(alert))


def tear(calm: Calm) -> None:
    calm.world.broker.torn.append(Torn("sim-0", frozenset({(line.TOPICS.alerts, 0)})))


def test_an_alert_of_a_detector_that_was_off_is_told_where_a_transaction_was_torn(calm: Calm) -> None:
    put_alert(calm, calm.offset)
    assert any("alerts: missing [], too many" in said for said in calm.world._judge()), "nothing was torn"
    tear(calm)
    assert calm.world._judge() == []


def test_an_alert_that_no_check_tells_of_fails_the_seed(calm: Calm) -> None:
    put_alert(calm, calm.offset - 1)
    tear(calm)
    assert any("alerts: missing [], too many" in said for said in calm.world._judge())


def test_a_failure_at_another_offset_is_told_where_a_transaction_was_torn(calm: Calm) -> None:
    put_alert(calm, calm.offset - 1, rule="detector_error", series="")
    assert calm.world._judge() != []
    tear(calm)
    assert calm.world._judge() == []
