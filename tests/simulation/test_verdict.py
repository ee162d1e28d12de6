"""When a seed fails, and when it does not: worlds in which nothing went wrong, with outputs that are wrong put in by hand."""

from __future__ import annotations

from collections import Counter
from typing import Any, NamedTuple

import pytest

from actors.engine.position import Record
from tests.simulation import line, world
from tests.simulation.broker import Late
from tests.simulation.model import Client, Faults, Runtime
from tests.simulation.oracle import position
from tests.simulation.verdict import judge, torn_partitions
from tests.simulation.world import World

pytestmark = pytest.mark.slow  # each builds worlds

SEEDS = range(50)  # among them is one with a detector that fails
TOPICS = line.TOPICS


class Calm(NamedTuple):
    """A world without faults, at rest, and where a detector has failed in it."""

    world: World
    partition: int
    detector: str
    offset: int  # from which on it is off

    @property
    def other(self) -> int:
        """Return another partition."""
        return (self.partition + 1) % self.world.scenario.partitions

    def alert(self, offset: int, **further: Any) -> Record:
        """Return an alert of the detector."""
        alert = {
            "pipeline": line.NAME, "topic": line.INPUT, "partition": self.partition, "alert_id": f"{offset:032x}",
            "detector": self.detector, "rule": "above", "series": "a", "state": "OPEN", "opened_offset": offset,
            "opened_sample": 0,
            "last_offset": offset, "closed_offset": None, "rows": 1, **further,
        }  # fmt: skip
        return Record(TOPICS.alerts, 0, b"alert", line.Plain().encode(alert))

    def write(self, record: Record) -> None:
        """Write a record outside of any transaction."""
        self.world.broker.append((record.topic, record.partition), record.value, record.key)

    def tear(self, *records: Record, offsets: dict[tuple[str, int], int] | None = None) -> None:
        """Let an end of the transaction before come when a transaction holds these records and offsets."""
        broker = self.world.broker
        client = Client(broker, "sim-0", Runtime(), Faults())
        client.init()
        client.begin()
        for record in records:
            client.produce(record)
        client.send_offsets(line.NAME, offsets or {})
        broker.late.append(late := Late("sim-0", broker.producers["sim-0"].epoch, True))
        broker.arrive(late)

    def judged(self, quarantined: int | None = None) -> tuple[list[str], Counter[str]]:
        """Return the verdict, and what was told."""
        met, made = Counter[str](), self.world
        why = {} if quarantined is None else {quarantined: "torn transaction"}
        wrong = judge(made.broker, made.pipeline, made.scenario.arrivals, why, met)
        return wrong, Counter({what: times for what, times in met.items() if what.startswith("told")})


@pytest.fixture
def calm(monkeypatch: pytest.MonkeyPatch) -> Calm:
    monkeypatch.setattr(world, "FAULTS", {})
    for seed in SEEDS:
        made = World(seed)
        assert made.run() == []
        for partition in made.pipeline.partitions if made.scenario.partitions > 1 else ():
            stands = position(made.broker, partition) or {"applied": ()}
            for entry in stands["applied"]:
                if entry["at_offset"] > 0:
                    return Calm(made, partition, entry["subject"], entry["at_offset"])
    raise AssertionError("no detector failed")


def loose(partition: int) -> Record:
    """Return a record of the state of a step that has no position."""
    return Record(TOPICS.state, partition, b"series|0", line.Plain().encode({"seq": 999}))


BY_THE_CHECKER, BY_QUARANTINE = {"told: by the checker": 1}, {"told: by quarantine": 1}


def test_an_alert_of_a_detector_that_was_off_is_told_where_a_transaction_was_torn(calm: Calm) -> None:
    calm.tear(calm.alert(calm.offset))
    assert calm.judged() == ([], BY_THE_CHECKER)


def test_a_failure_at_another_offset_is_told_where_a_transaction_was_torn(calm: Calm) -> None:
    calm.tear(calm.alert(calm.offset - 1, rule="detector_error", series=""))
    assert calm.judged() == ([], BY_THE_CHECKER)


def test_an_alert_that_no_check_tells_of_fails_the_seed(calm: Calm) -> None:
    calm.tear(calm.alert(calm.offset - 1))
    ((wrong,), told) = calm.judged()
    assert wrong.startswith(f"partition {calm.partition}: alerts: missing [], too many [")
    assert not told


def test_where_nothing_was_torn_it_does_not_help_that_the_checker_tells(calm: Calm) -> None:
    calm.write(calm.alert(calm.offset))
    ((wrong,), told) = calm.judged()
    assert wrong.startswith(f"partition {calm.partition}: alerts: missing [], too many [")
    assert not told


def test_a_transaction_torn_elsewhere_excuses_nothing(calm: Calm) -> None:
    calm.tear(loose(calm.other))
    assert calm.judged() == ([], {}), "the outputs are as they were"
    calm.write(calm.alert(calm.offset))
    wrong, told = calm.judged(quarantined=calm.partition)
    assert [each.split(":")[0] for each in wrong] == [
        f"partition {calm.partition} is in quarantine for no reason",
        f"partition {calm.partition}",
    ]
    assert not told


def test_a_quarantine_is_excused_where_something_was_torn(calm: Calm) -> None:
    calm.tear(loose(calm.partition), calm.alert(calm.offset - 1))
    assert calm.judged(quarantined=calm.partition) == ([], BY_QUARANTINE)
    ((wrong, *_), _) = calm.judged(quarantined=calm.other)
    assert wrong == f"partition {calm.other} is in quarantine for no reason: torn transaction"


def test_what_the_checker_tells_does_not_excuse_what_is_missing(calm: Calm) -> None:
    calm.tear(calm.alert(calm.offset))
    for log in calm.world.broker.topics[TOPICS.alerts]:
        log.entries = [entry for entry in log.entries if b"detector_error" not in (entry.value or b"")]
    (wrong, told) = calm.judged()
    assert [each for each in wrong if each.startswith(f"partition {calm.partition}: alerts: missing [Alert(")]
    assert not told


def test_a_torn_transaction_is_of_the_partitions_of_which_it_holds_something(calm: Calm) -> None:
    broker, partition, other = calm.world.broker, calm.partition, calm.other
    assert torn_partitions(broker) == set()
    calm.tear(Record(TOPICS.deals, 0, b"sim", b""), offsets={("another", other): 3})
    assert torn_partitions(broker) == set()
    for topic in (TOPICS.state, TOPICS.charts, TOPICS.dead_letters, TOPICS.late):
        broker.torn.clear()
        calm.tear(Record(topic, other, b"k", b"v"))
        assert torn_partitions(broker) == {other}
    broker.torn.clear()
    calm.tear(offsets={(line.INPUT, other): 3})
    assert torn_partitions(broker) == {other}
    calm.tear(calm.alert(calm.offset))
    assert torn_partitions(broker) == {partition, other}
