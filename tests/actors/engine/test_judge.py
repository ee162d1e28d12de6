"""Which detector judges which series, vectors in the engine, and what a detector says of an alert that it opens."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
import pytest

from actors.engine.alerts import RULES_MAX
from actors.engine.family import FamilyFold, FamilyOutput, Work
from actors.engine.judge import Assignment, assigned
from actors.errors import ConfigError
from models.cusum import Cusum
from models.detector import Column, Rule, SeriesBatch, Verdicts
from models.individuals import IndividualsChart
from schemas.batch import MicroBatch
from schemas.charts import unpack
from schemas.texts import Texts
from tests.actors.engine.world import Above, World


@dataclass(frozen=True)
class Far:
    """Signals a vector of two whose sum is above a limit; says so of the row that opens an alert."""

    limit: float = 10.0
    dimension: int = 2
    name: str = "test.far"
    version: int = 1
    statistics: tuple[str, ...] = ("sum",)
    rules: tuple[Rule, ...] = (Rule("far", "the sum is above the limit"),)

    @property
    def state(self) -> Mapping[str, Column]:
        return {"n": Column("i8")}

    def update(self, state: Mapping[str, np.ndarray], batch: SeriesBatch) -> Verdicts:
        np.add.at(state["n"], batch.row, 1)
        total = np.nansum(batch.value, axis=1)
        blank = np.full((len(batch), 1), np.nan)
        valid = ~np.isnan(batch.value).all(axis=1)
        signal = (valid & (total > self.limit)).astype(np.uint32)
        return Verdicts(total[:, None], blank, blank, np.full((len(batch), 1), self.limit), signal, valid)

    def explain(self, state: Mapping[str, np.ndarray], batch: SeriesBatch, i: int) -> str:
        return f"entries {batch.value[i].tolist()} after {state['n'][batch.row[i]]} rows"


def batch_of(value: np.ndarray, series: list[int]) -> MicroBatch:
    n = len(series)
    zero, blank = np.zeros(n, np.int64), np.full(n, np.nan)
    return MicroBatch(
        topic="fab",
        partition=0,
        offset=np.arange(n),
        next_offset=n,
        event_time_ms=zero,
        published_ms=zero.copy(),
        series=np.array(series, np.int32),
        value=value,
        subgroup=zero - 1,
        columns={name: blank.copy() for name in ("lsl", "usl", "target", "sample_size")}
        | {name: Texts.of([""] * n) for name in ("lot", "wafer")},
    )


def step(fold: FamilyFold, batch: MicroBatch, new_series: tuple[str, ...], seq: int = 1) -> FamilyOutput:
    first = int(batch.offset[0])
    return fold.step(Work(0, seq, first, batch, new_series, True))


def test_a_detector_judges_the_series_that_its_patterns_name() -> None:
    fold = FamilyFold("p", "test", [Assignment(Above(), ("*|CD", "E9*")), Above(limit=0.5, name="test.all")])
    fold.open("fab", 0, (), ())
    values = np.array([11.0, 11.0, 11.0, 1.0])
    output = step(fold, batch_of(values, [0, 1, 2, 0]), ("E1|CD", "E1|OVERLAY", "E9|OVERLAY"))
    said = unpack(output.chart or b"").detectors
    assert said["test.all"].valid.all()
    assert said["test.above"].valid.tolist() == [True, False, True, True]
    np.testing.assert_array_equal(said["test.above"].statistic[:, 0], [11.0, np.nan, 11.0, 1.0])
    assert said["test.above"].signal.tolist() == [1, 0, 1, 0]
    (opened,) = (events for events in output.alerts if events.detector.startswith("test.above"))
    assert (opened.series, opened.changes.at.tolist()) == (["E1|CD", "E9|OVERLAY"], [0, 2])
    later = replace(batch_of(np.array([11.0]), [1]), offset=np.array([4]), next_offset=5)
    assert list(unpack(step(fold, later, (), 2).chart or b"").detectors) == ["test.all"], "no row is its own"


def test_other_series_do_not_reach_a_detectors_state() -> None:
    chosen = World((Assignment(Above(), ("a*",)),))
    alone = World((Above(),))
    chosen.step(["a1 11", "b1 12", "a2 3", "b2 11"])
    chosen.step(["b3 1", "a1 12"])
    alone.step(["a1 11", "a2 3"])
    alone.step(["a1 12"])
    judge, other = chosen.family._partitions[0].judges[0], alone.family._partitions[0].judges[0]
    assert judge.table.arrays["n"][:5].tolist() == [2, 0, 1, 0, 0]
    assert judge.table.arrays["run"][[0, 2]].tolist() == other.table.arrays["run"][:2].tolist()
    assert [(a["series"], a["rule"]) for a in chosen.alerts()] == [(a["series"], a["rule"]) for a in alone.alerts()]


def test_a_restored_partition_judges_the_same_series() -> None:
    world = World((Assignment(Above(), ("a*",)),))
    world.step(["b1 12", "a1 11", "b2 1"], snapshot=True)
    world.open()
    world.step(["b2 12", "a1 12"])
    assert [(a["series"], a["rule"], a["opened_offset"]) for a in world.alerts()] == [
        ("a1", "above", 1),
        ("a1", "twice", 4),
    ]


def test_vectors_are_judged_and_an_alert_says_why() -> None:
    fold = FamilyFold("p", "multivariate", [Far()])
    fold.warm()
    fold.open("fab", 0, (), ())
    value = np.array([[1.0, 2.0], [8.0, 7.0], [np.nan, 30.0], [np.nan, np.nan]])
    output = step(fold, batch_of(value, [0, 0, 1, 0]), ("E1|trace", "E2|trace"))
    block = unpack(output.chart or b"")
    np.testing.assert_array_equal(block.value, [2.0, 2.0, 1.0, np.nan])  # how many entries are there
    assert block.detectors["test.far"].signal.tolist() == [0, 1, 1, 0]
    (events,) = output.alerts
    assert events.series == ["E1|trace", "E2|trace"]
    assert events.details == ["entries [8.0, 7.0] after 3 rows", "entries [nan, 30.0] after 1 rows"]
    assert events.changes.numbers[0, 0] == 2.0


def test_what_a_detector_says_stands_in_the_alert() -> None:
    @dataclass(frozen=True)
    class Says(Above):
        def explain(self, state: Mapping[str, np.ndarray], batch: SeriesBatch, i: int) -> str:
            return f"{batch.value[i]} is far"

    world = World((Says(),), clean_rows=1)
    world.step(["a 11", "a 1"])
    assert [(a["state"], a["detail"]) for a in world.alerts()] == [("OPEN", "11.0 is far"), ("CLOSED", "")]


def test_a_detector_whose_explanation_raises_is_off() -> None:
    @dataclass(frozen=True)
    class Mute(Above):
        def explain(self, state: Mapping[str, np.ndarray], batch: SeriesBatch, i: int) -> str:
            raise LookupError("no words")

    world = World((Mute(),))
    world.step(["a 11"])
    [alert] = world.alerts()
    assert alert["rule"] == "detector_error"
    assert "no words" in alert["detail"]


@dataclass(frozen=True)
class Hoarder(Above):
    """As Above, and keeps so many rows of every series."""

    kept: int = 32_768

    @property
    def state(self) -> Mapping[str, Column]:
        return {"ring": Column("f8", (self.kept,))}


@pytest.mark.parametrize(
    ("detectors", "says"),
    [
        ([Cusum(), Assignment(Cusum(), ("a",))], "detector spc.cusum@.* stands twice"),
        ([Cusum(), Assignment(Cusum(k=0.25), ("a",))], "label spc.cusum stands twice"),
        ([Cusum(), Far()], "judge vectors of"),
        ([Above(rules=(Rule("r", "", statistic=7),))], "judges statistic 7"),
        ([Hoarder(kept=32_769)], r"test.above@1-\w+: .* 262,152 bytes of state, .*; the limit is 262,144"),
    ],
)
def test_what_a_family_cannot_hold_is_refused(detectors: list[Above | Assignment], says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        assigned(detectors)


def test_a_series_that_fits_a_page_is_held_with_as_many_rules_as_there_can_be() -> None:
    rules = tuple(Rule(f"r{i}", "") for i in range(RULES_MAX))
    assert len(assigned([Hoarder(rules=rules)])) == 1


def test_labels_tell_two_configurations_of_a_detector_apart() -> None:
    found = assigned([IndividualsChart(), Assignment(IndividualsChart(nelson=(1,)), ("a",), "shewhart")])
    assert [each.name for each in found] == ["spc.individuals", "shewhart"]
