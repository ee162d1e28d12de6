"""Reading the outputs of a pipeline from end to end, a bounded number of records at a time, and checking them.

What is read is what is retained, `read_committed`. The pipeline may run meanwhile: its positions are read before the outputs and
after them (actors/engine/outputs.py). Nothing is written and nothing is committed.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

from actors.engine.outputs import Chain, Kind, OutputsCheck, Problem, Standing
from actors.engine.position import POSITION_KEY, Position, position_of, read_image
from actors.errors import ReopenError, StateError
from actors.pipeline import Pipeline
from actors.surroundings import Surroundings
from schemas.batch import RawBatch
from schemas.charts import ChartStep, step_of
from schemas.resolution import UnreadableRecord

_LOG = logging.getLogger("chipquality.outputs")

POLL_ROWS = 500  # records in memory at a time; a chart record has up to 8 MiB, most have some 10 KiB
POLL_WAIT_S = 0.1
IDLE_S = 30.0  # without getting on: an open transaction holds readers up, or the broker is away
STATE_TIMEOUT_S = 60.0
TAIL_OFFSETS = 300  # of a chart partition, at its end: some seconds of all pipelines that write there
TAIL_GROWS = 4  # times as many are looked at next, where there is none of ours
TAIL_OFFSETS_MAX = TAIL_OFFSETS * TAIL_GROWS**4  # some 20 minutes of another pipeline in which ours has stood
TAIL_IDLE_S = 12.0  # longer than a transaction of any pipeline may last


@dataclass
class Report:
    """What a check found."""

    pipeline: str
    positions: dict[int, Position | None]  # by partition
    committed: dict[int, int | None]
    chains: dict[tuple[int, str], Chain]  # by partition and family
    alerts: dict[int, int]  # records by partition
    letters: dict[int, int]
    problems: list[Problem] = field(default_factory=list)
    problem_count: int = 0  # of all, also those that are not listed
    alerts_forgotten: int = 0

    def to_json(self) -> dict[str, Any]:
        """Return the report as JSON knows it."""
        partitions = {}
        for partition, position in sorted(self.positions.items()):
            chains = {family: chain for (of, family), chain in sorted(self.chains.items()) if of == partition}
            partitions[str(partition)] = {
                "position": None if position is None else position.next_offset,
                "seq": None if position is None else position.seq,
                "committed": self.committed[partition],
                "families": {
                    family: {"blocks": c.blocks, "first_offset": c.first_offset, "next_offset": c.next_offset}
                    for family, c in chains.items()
                },
                "alert_records": self.alerts.get(partition, 0),
                "dead_letters": self.letters.get(partition, 0),
            }
        return {
            "pipeline": self.pipeline,
            "whole": not self.problem_count,
            "problems": [problem._asdict() for problem in self.problems],
            "problem_count": self.problem_count,
            "alerts_forgotten": self.alerts_forgotten,
            "partitions": partitions,
        }


def check_outputs(pipeline: Pipeline, around: Surroundings, partitions: Iterable[int] | None = None) -> Report:
    """Read all that is retained of a pipeline's outputs and state; say what does not fit. Raises ReopenError."""
    asked = list(pipeline.partitions if partitions is None else partitions)
    check = OutputsCheck(pipeline.name, pipeline.input_topic, tuple(pipeline.families))
    before = read_positions(pipeline, around, asked)
    unreadable = read_charts(pipeline, around, asked, lambda step, _: check.chart(step))
    chosen = frozenset(asked)

    def take_alert(alert: dict[str, Any], whole: bool) -> None:
        if alert["partition"] in chosen:
            check.alert(alert, whole=whole)

    unreadable += read_alerts(pipeline, around, take_alert)
    topics = pipeline.topics
    unreadable += read_letters(pipeline, around, topics.dead_letters, asked, check.letter)
    if topics.late:
        unreadable += read_letters(pipeline, around, topics.late, asked, check.set_aside)
    committed = around.log.committed(pipeline.name, pipeline.input_topic, asked)
    after = read_positions(pipeline, around, asked)
    standings = {p: Standing(before[p], after[p], committed[p], _state_error(pipeline, around, p)) for p in asked}
    problems = check.conclude(standings)
    if unreadable:
        problems.append(Problem(Kind.UNREADABLE, -1, f"{unreadable} records of the outputs"))
    return Report(
        pipeline.name,
        after,
        committed,
        check.chains,
        check.alerts,
        check.letters,
        problems,
        check.problem_count + bool(unreadable),
        check.forgotten,
    )


def _state_error(pipeline: Pipeline, around: Surroundings, partition: int) -> str:
    topic = pipeline.topics.state
    ends = around.log.end(topic, [partition])
    records = around.log.read_to_end(pipeline.name, topic, ends, STATE_TIMEOUT_S, newest=True)
    try:
        read_image(records[partition], around.codec.read)
    except StateError as error:
        return str(error)
    return ""


# ---- reading


def stream(
    around: Surroundings,
    group: str,
    topic: str,
    partitions: Iterable[int],
    newest: int | None = None,
    idle_s: float = IDLE_S,
) -> Iterator[RawBatch]:
    """Yield what partitions hold, committed records only, up to the ends that they have now. Raises ReopenError.

    With `newest`, only records of the last so many offsets.
    """
    asked = list(partitions)
    first, ends = around.log.first(topic, asked), around.log.end(topic, asked)
    if newest is not None:
        first = {partition: max(start, ends[partition] - newest) for partition, start in first.items()}
    open_ends = {partition: end for partition, end in ends.items() if end > first[partition]}
    reader = around.log.reader(group, topic)
    moved = around.clock.now()
    try:
        reader.assign({partition: first[partition] for partition in open_ends})
        while open_ends:
            polled = reader.poll(POLL_ROWS, POLL_WAIT_S)
            for partition, why in polled.lost.items():
                raise ReopenError(f"{topic}:{partition}: {why}")
            for batch in polled.batches:
                if batch.partition in open_ends:
                    moved = around.clock.now()
                    yield batch
                    if batch.next_offset >= open_ends[batch.partition]:
                        del open_ends[batch.partition]
            if around.clock.now() - moved > idle_s:
                raise ReopenError(f"{topic}: offsets {open_ends} not reached: no record for {idle_s:.0f} s")
    finally:
        reader.close()


def read_positions(pipeline: Pipeline, around: Surroundings, partitions: Iterable[int]) -> dict[int, Position | None]:
    """Return the newest position of each partition."""
    newest: dict[int, bytes | None] = dict.fromkeys(partitions)
    for batch in stream(around, pipeline.name, pipeline.topics.state, newest):
        for key, value in zip(batch.keys, batch.values, strict=True):
            if key == POSITION_KEY and value is not None:
                newest[batch.partition] = value
    return {p: None if value is None else position_of(around.codec.read(value)) for p, value in newest.items()}


def newest_steps(
    pipeline: Pipeline,
    around: Surroundings,
    partitions: Iterable[int],
    written: Collection[int],
    timeout_s: float = TAIL_IDLE_S,
) -> dict[int, ChartStep]:
    """Return of each partition the newest step that has a chart block, for a look at opening.

    Of the last TAIL_OFFSETS offsets; further back, up to TAIL_OFFSETS_MAX, for partitions that the pipeline has `written`:
    other pipelines write there too, and may have gone on for long while this one stood. An open transaction of another pipeline
    may hide the end: it is waited for as long as one may last, or for `timeout_s`. Raises ReopenError where it lasts longer.
    """
    newest: dict[int, ChartStep] = {}
    topic, window, wanted = pipeline.topics.charts, TAIL_OFFSETS, list(partitions)
    while wanted:
        for batch in stream(around, pipeline.name, topic, wanted, window, min(timeout_s, TAIL_IDLE_S)):
            for step in _steps_of(pipeline, batch):
                newest[step.partition] = step
        first, ends = around.log.first(topic, wanted), around.log.end(topic, wanted)
        wanted = [p for p in wanted if p in written and p not in newest and ends[p] - first[p] > window]
        if wanted and window >= TAIL_OFFSETS_MAX:
            _LOG.warning("no chart block of %s among the last %d of partitions %s", pipeline.name, window, wanted)
            break
        window *= TAIL_GROWS
    return newest


def _steps_of(pipeline: Pipeline, batch: RawBatch) -> Iterator[ChartStep]:
    for value in batch.values:
        try:
            step = step_of(value or b"")
        except ValueError:
            continue  # the checker tells of it
        if (step.pipeline, step.topic) == (pipeline.name, pipeline.input_topic):
            yield step


def read_charts(
    pipeline: Pipeline, around: Surroundings, partitions: Iterable[int], take: Callable[[ChartStep, bytes], None]
) -> int:
    """Hand every block of the pipeline over with its bytes; return how many records could not be read."""
    unreadable = 0
    for batch in stream(around, pipeline.name, pipeline.topics.charts, partitions):
        for value in batch.values:
            try:
                step = step_of(value or b"")
            except ValueError:
                unreadable += 1
                continue
            if (step.pipeline, step.topic) == (pipeline.name, pipeline.input_topic):
                take(step, value or b"")
    return unreadable


def read_alerts(pipeline: Pipeline, around: Surroundings, take: Callable[[dict[str, Any], bool], None]) -> int:
    """Hand every alert of the pipeline over, with whether its topic partition has lost nothing to retention."""
    topic = pipeline.topics.alerts
    first = around.log.first(topic, pipeline.partitions)

    def take_ours(partition: int, alert: dict[str, Any]) -> None:
        if (alert["pipeline"], alert["topic"]) == (pipeline.name, pipeline.input_topic):
            take(alert, first[partition] == 0)

    return _read_events(pipeline, around, topic, pipeline.partitions, take_ours)


def read_letters(
    pipeline: Pipeline,
    around: Surroundings,
    topic: str,
    partitions: Iterable[int],
    take: Callable[[dict[str, Any]], None],
) -> int:
    """Hand every dead letter of the pipeline over that stands in a topic; those of publishers stand there too."""

    def take_ours(_: int, letter: dict[str, Any]) -> None:
        if (letter["source"], letter["topic"]) == (pipeline.name, pipeline.input_topic):
            take(letter)

    return _read_events(pipeline, around, topic, partitions, take_ours)


def _read_events(
    pipeline: Pipeline,
    around: Surroundings,
    topic: str,
    partitions: Iterable[int],
    take: Callable[[int, dict[str, Any]], None],
) -> int:
    unreadable = 0
    for batch in stream(around, pipeline.name, topic, partitions):
        for value in batch.values:
            try:
                event = around.codec.read(value or b"")
            except UnreadableRecord:
                unreadable += 1
                continue
            take(batch.partition, event)
    return unreadable
