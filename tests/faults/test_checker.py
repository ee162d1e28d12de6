"""The checker finds what it is there to find: each kind of damage to good outputs is told, and good outputs pass."""

from __future__ import annotations

import json
from collections.abc import Callable
from copy import deepcopy
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pytest

from actors.engine.arrivals import Arrivals
from actors.engine.fold import Topics
from actors.kafka.client import Cluster
from actors.pipeline import Pipeline
from models.builtin import FAMILIES
from schemas.charts import ChartBlock
from schemas.encode import Encoder
from schemas.registry import UnknownSchema
from schemas.texts import Texts
from schemas.topics import load
from tests.faults.checker import Counts, LogCheck, Outputs, check_partition
from tests.faults.oracle import Oracle, Truth
from tests.faults.producer import Sent
from tests.faults.reading import Entry
from tests.faults.stream import WRONG_TYPES, Encoders, Message, Trouble, make, poisoned

ENCODERS = Encoders(Encoder("measurement", 1), Encoder("measurement", 2), 3, Encoder("measurement_array", 4))
SCHEMAS = {1: load("measurement"), 2: load("measurement"), 3: json.loads(WRONG_TYPES), 4: load("measurement_array")}
PARTITIONS = 2
STEP_ROWS = 70  # of what came out: several steps a partition


@dataclass
class Run:
    """A log, what was sent, and what came out of it."""

    sent: Sent
    log: dict[int, list[Entry]]
    blocks: list[ChartBlock]
    alerts: list[dict[str, Any]]
    dead_letters: list[dict[str, Any]]
    aside: list[dict[str, Any]]
    piece: int = 1_000  # records of the log that are checked at a time

    def counts(self) -> Counts:
        counts = Counts()
        for partition, entries in self.log.items():
            pieces = [entries[at : at + self.piece] for at in range(0, len(entries), self.piece)]
            blocks = [block for block in self.blocks if block.partition == partition]
            events = (
                [event for event in events if event["partition"] == partition]
                for events in (self.alerts, self.dead_letters, self.aside)
            )
            oracle = Oracle(pipeline(), partition, schema_of)
            check_partition(counts, self.sent, pieces, oracle, Outputs(blocks, *events))
        return counts


def schema_of(schema_id: int) -> Any:
    try:
        return SCHEMAS[schema_id]
    except KeyError:
        raise UnknownSchema(str(schema_id)) from None


def written(messages: list[Message]) -> tuple[Sent, dict[int, list[Entry]]]:
    """Return the messages as a broker keeps them, all acknowledged."""
    sent = Sent(messages)
    log: dict[int, list[Entry]] = {partition: [] for partition in range(PARTITIONS)}
    for number, message in enumerate(messages):
        entries = log[message.partition]
        sent.sent_at[number], sent.offset[number] = number, len(entries)
        entries.append(Entry(len(entries), 5, message.key, message.value))
    return sent, log


def pipeline() -> Pipeline:
    return Pipeline(
        name="p",
        cluster=Cluster(""),
        input_topic="in",
        partitions=tuple(range(PARTITIONS)),
        topics=Topics("charts", "alerts", "dead", "state", late="late"),
        arrivals=Arrivals(dedupe_window=1_000),
        families={family: FAMILIES[family](10) for family in ("spc", "drift")},
        schema_ids={},
    )


@pytest.fixture(scope="module")
def undamaged() -> Run:
    return came(Trouble(poison=0.05, duplicates=0.02))


def came(trouble: Trouble) -> Run:
    messages = make(ENCODERS, 600, PARTITIONS, 1, trouble, series=4)
    assert poisoned(messages) > 10
    sent, log = written(messages)
    truth = Truth()
    for partition, entries in log.items():
        oracle = Oracle(pipeline(), partition, schema_of)
        for at in range(0, len(entries), STEP_ROWS):
            of_step = oracle.fold(entries[at : at + STEP_ROWS])
            for name in ("blocks", "alerts", "dead_letters", "aside"):
                getattr(truth, name).extend(getattr(of_step, name))
    assert truth.alerts
    return Run(sent, log, truth.blocks, truth.alerts, truth.dead_letters, truth.aside)


@pytest.fixture
def run(undamaged: Run) -> Run:
    return replace(
        undamaged,
        sent=deepcopy(undamaged.sent),
        **{name: list(getattr(undamaged, name)) for name in ("blocks", "alerts", "dead_letters", "aside")},
    )


def test_good_outputs_pass(run: Run) -> None:
    counts = run.counts()
    assert counts.clean, counts.examples
    assert counts.records == counts.acknowledged == len(run.sent.messages)
    assert counts.dead_lettered == poisoned(run.sent.messages)
    assert counts.missing > 0
    assert counts.aside > 0
    assert counts.judged + counts.missing + counts.dead_lettered + counts.aside == counts.records


def test_records_of_many_samples_are_counted_as_records_and_as_rows() -> None:
    run = came(Trouble(poison=0.05, duplicates=0.02, arrays=0.1))
    counts = run.counts()
    assert counts.clean, counts.examples
    assert counts.folded + counts.dead_lettered + counts.aside == counts.records
    assert counts.judged + counts.missing > 2_000
    at, block = next(found for found in enumerate(run.blocks) if found[1].sample is not None)
    value = block.value.copy()
    value[np.flatnonzero((block.sample == 3) & ~np.isnan(value))[0]] += 1.0
    run.blocks[at] = replace(block, value=value)
    assert run.counts().mismatches == 1


@pytest.mark.slow
@pytest.mark.parametrize("piece", [1, 7, 70, 100])
def test_how_the_log_is_cut_to_be_checked_does_not_matter(run: Run, piece: int) -> None:
    whole = run.counts()
    assert replace(run, piece=piece).counts() == whole


def one_bit(run: Run) -> None:
    block = run.blocks[1]
    name, said = next(iter(block.detectors.items()))
    centre = said.centre.copy()
    centre.view(np.int64)[-1, 0] ^= 1
    run.blocks[1] = replace(block, detectors={**block.detectors, name: replace(said, centre=centre)})


def wafer(run: Run) -> None:
    run.blocks[0] = replace(run.blocks[0], wafer=Texts.of(["other", *run.blocks[0].wafer[1:]]))


def series(run: Run) -> None:
    run.blocks[0] = replace(run.blocks[0], series_keys=run.blocks[0].series_keys[::-1])


def minus_zero(run: Run) -> None:
    run.blocks[0] = replace(run.blocks[0], lsl=np.where(run.blocks[0].lsl > 0, -0.0, 0.0))


def alert_value(run: Run) -> None:
    run.alerts[0] = run.alerts[0] | {"value": 1.0}


@pytest.mark.parametrize("damage", [one_bit, wafer, series, minus_zero, alert_value])
def test_what_differs_is_a_mismatch(run: Run, damage: Callable[[Run], None]) -> None:
    damage(run)
    counts = run.counts()
    assert counts.mismatches > 0
    assert not counts.clean


def test_a_block_twice_is_told_as_duplicates_and_as_a_gap(run: Run) -> None:
    run.blocks.insert(1, run.blocks[0])
    counts = run.counts()
    assert counts.duplicates >= len(run.blocks[0])
    assert counts.gaps > 0


@pytest.mark.parametrize("piece", [7, 1_000])
def test_a_block_that_comes_again_later_is_told_as_duplicates_and_as_a_gap(run: Run, piece: int) -> None:
    first = run.blocks[0]
    again = next(at for at in reversed(range(len(run.blocks))) if run.blocks[at].partition == first.partition)
    run.blocks.insert(again, first)
    counts = replace(run, piece=piece).counts()
    assert counts.duplicates >= len(first) > 0
    assert counts.mismatches == counts.lost == 0
    assert counts.gaps > 0


@pytest.mark.parametrize("piece", [7, 1_000])
@pytest.mark.parametrize("which", [0, -1])
def test_a_block_that_is_not_there_is_lost(run: Run, which: int, piece: int) -> None:
    rows = len(run.blocks.pop(which))
    counts = replace(run, piece=piece).counts()
    assert counts.lost >= rows > 0
    assert counts.gaps > 0
    assert not counts.adds_up


def test_blocks_of_a_family_that_says_nothing_are_lost(run: Run) -> None:
    run.blocks[:] = [block for block in run.blocks if block.family != "drift"]
    counts = run.counts()
    assert counts.lost > 0
    assert not counts.adds_up


def test_rows_after_the_end_of_the_log_are_mismatches(run: Run) -> None:
    last = run.blocks[-1]
    run.log = {**run.log, last.partition: run.log[last.partition][:-1]}
    counts = run.counts()
    assert counts.mismatches > 0
    assert counts.lost == 1, "the record that was acknowledged"


@pytest.mark.parametrize("which", ["alerts", "dead_letters", "aside"])
def test_events_are_there_once(run: Run, which: str) -> None:
    events = getattr(run, which)
    events.append(events[0])
    assert run.counts().duplicates == 1
    del events[-1], events[0]
    assert run.counts().lost == 1


def test_an_event_that_the_oracle_does_not_have_is_a_mismatch(run: Run) -> None:
    run.alerts.append(run.alerts[0] | {"alert_id": "0"})
    assert run.counts().mismatches == 1


def test_an_acknowledged_record_that_is_not_in_the_log_is_lost(run: Run) -> None:
    run.sent.offset[7] = 10_000
    counts = run.counts()
    assert counts.lost == 1
    assert "record 7" in counts.examples[0]


def log_counts(sent: Sent, log: dict[int, list[Entry]]) -> Counts:
    counts = Counts()
    for partition, entries in log.items():
        check = LogCheck(counts, sent, partition)
        check.take(entries[:10])
        check.take(entries[10:])
        check.close()
    return counts


def test_a_record_twice_in_the_log_is_a_duplicate_and_a_foreign_one_is_told() -> None:
    messages = make(ENCODERS, 50, PARTITIONS, 1, Trouble(), series=4)
    sent, log = written(messages)
    log[0].append(log[0][0]._replace(offset=len(log[0])))
    log[1].append(Entry(len(log[1]), 5, None, b"foreign"))
    counts = log_counts(sent, log)
    assert (counts.duplicates, counts.mismatches, counts.lost) == (1, 1, 0)


def test_a_record_in_a_partition_that_it_was_not_sent_to_is_a_mismatch() -> None:
    sent, log = written(make(ENCODERS, 50, PARTITIONS, 1, Trouble(), series=4))
    log[1].append(log[0][0]._replace(offset=len(log[1])))
    counts = log_counts(sent, log)
    assert (counts.duplicates, counts.mismatches, counts.lost) == (0, 1, 0)


def test_what_is_sent_twice_on_purpose_may_be_there_twice() -> None:
    messages = make(ENCODERS, 500, PARTITIONS, 1, Trouble(duplicates=0.1), series=4)
    assert len(messages) > 510
    sent, log = written(messages)
    counts = log_counts(sent, log)
    assert counts.duplicates == counts.lost == counts.mismatches == 0
