"""A stretch of one partition judged by the engine as a live slot judges it, and nothing of it written to Kafka.

Theory of operation
-------------------
    reader ──records──▶ PartitionFold.begin ──▶ FamilyFold.step ──▶ PartitionFold.conclude ──▶ Said

The fold, the families, the decoder and the log are those of a live slot; so are verdicts, alerts and their ids, bit for bit, for
the same records from where the fold begins. What differs is where outputs go: chart blocks are kept as they are instead of being
packed, and the encoders of alerts and dead letters keep the columns that they are given. State is not written at all.

A stretch that begins in the middle of a topic begins with no state, as any fold does. `since`: from there on it is said what
the detectors say; what stands before warms them up, as records between a snapshot and the position do in a recovery.

What a person gave to the live pipeline (limits, exclusions) is not given to a backtest.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from actors.engine.alert_records import DetectorFailure
from actors.engine.family import FamilyFold
from actors.engine.fold import Decodes, PartitionFold, Step, Topics
from actors.engine.position import Encodes, Position
from actors.errors import ReopenError
from actors.log import Clock
from actors.pipeline import Pipeline
from schemas.batch import MicroBatch, RawBatch, after, cut
from schemas.charts import ChartBlock
from schemas.columnar.writer import Value

POLL_S = 0.2  # of one poll that finds nothing
STALL_S = 60.0  # without a record; then it is given up
_STATE = ("position", "page", "series_page", "applied_change")
TOPICS = Topics("charts", "alerts", "dead-letters", "state", late="late")  # names only: nothing is written


class NotRetained(ReopenError):  # noqa: N818 - named as what it tells
    """A record of the stretch is not in the log any more."""


class Alerts(NamedTuple):
    """Alerts that opened or closed in a step, as the columns of their records (schemas/avro/alert.avsc)."""

    n: int
    columns: Mapping[str, Value]


class Said(NamedTuple):
    """What one step has brought."""

    batch: MicroBatch
    blocks: tuple[ChartBlock, ...]  # one of each family that said something
    alerts: tuple[Alerts, ...]
    failures: tuple[DetectorFailure, ...]  # detectors that are off from here on
    letters: Mapping[str, int]  # records that could not be read, by reason
    aside: int  # records that came twice or too late
    series: list[str]  # keys of all series so far, by code; grows from step to step
    next_offset: int


@dataclass
class _Kept:
    """An encoder that keeps what it is given."""

    columns: list[Alerts] = field(default_factory=list)
    records: list[Mapping[str, Any]] = field(default_factory=list)

    def encode(self, record: dict[str, Any]) -> bytes:
        """Keep a record."""
        self.records.append(record)
        return b""

    def encode_columns(self, n: int, columns: Mapping[str, Value]) -> list[bytes]:
        """Keep n records."""
        self.columns.append(Alerts(n, columns))
        return [b""] * n


class _Nothing(_Kept):
    """An encoder of what is not kept."""

    def encode(self, record: dict[str, Any]) -> bytes:
        """Do nothing."""
        return b""


class PartitionBacktest:
    """The fold of a stretch of one partition. `start` is where it begins, `since` from where on it is told what is said."""

    def __init__(self, pipeline: Pipeline, partition: int, start: int, since: int, decoder: Decodes) -> None:
        self.pipeline = pipeline
        self.partition = partition
        self.since = since
        self._blocks: list[ChartBlock] = []
        self._alerts, self._letters = _Kept(), _Kept()
        self._families = [
            FamilyFold(pipeline.name, family, detectors, pipeline.clean_rows, self._keep)
            for family, detectors in pipeline.families.items()
        ]
        for family in self._families:
            family.warm()
            family.open(pipeline.input_topic, partition, (), ())
        self._blocks.clear()
        self._on = sum(len(family.assignments) for family in self._families)
        encoders: dict[str, Encodes] = dict.fromkeys(_STATE, _Nothing())
        encoders |= {"alert": self._alerts, "dead_letter": self._letters}
        at = Position(pipeline.input_topic, partition, start, 0, start, 0, pipeline.code_version)
        self.fold = PartitionFold(pipeline.name, at, (), decoder, encoders, TOPICS, arrivals=pipeline.arrivals)

    @property
    def next_offset(self) -> int:
        """Return where it stands."""
        return self.fold.position.next_offset

    @property
    def off(self) -> bool:
        """Say whether no detector is left that could say anything."""
        return self._on == 0

    def judge(self, raw: RawBatch) -> Iterator[Said]:
        """Fold the next records; yield what is said of those from `since` on, step by step."""
        for part in cut(raw, [self.since]):
            rest: RawBatch | None = part
            while rest is not None and rest.next_offset > self.next_offset and not self.off:
                step = self.fold.begin(
                    rest, emit=self.next_offset >= self.since, rows_max=self.pipeline.step_samples_max
                )
                rest = after(rest, step.work.batch.next_offset)
                yield self._judge(step)

    def _judge(self, step: Step) -> Said:
        outputs = [family.step(step.work) for family in self._families]
        failures = tuple(failure for output in outputs for failure in output.failures)
        self._on -= len(failures)
        if step.work.emit:
            self.fold.conclude(step, outputs)
        else:
            self.fold.replayed(step)
        aside = len(step.aside)
        letters = Counter(reject.reason.value for reject in step.rejects) if step.work.emit else Counter[str]()
        said = Said(
            step.work.batch,
            tuple(self._blocks),
            tuple(self._alerts.columns),
            failures,
            letters,
            aside,
            self.fold.series.keys,
            self.next_offset,
        )
        self._blocks.clear()
        for kept in (self._alerts, self._letters):
            kept.columns.clear()
            kept.records.clear()
        return said

    def _keep(self, block: ChartBlock) -> list[bytes]:
        self._blocks.append(block)
        return []


def judge_partition(pipeline: Pipeline, partition: int, since: int, decoder: Decodes, clock: Clock) -> Iterator[Said]:
    """Judge what the pipeline's log shows of a partition (actors/stretch.py), to its end; yield what is said.

    Raises NotRetained, ReopenError, RegistryUnavailable.
    """
    topic = pipeline.input_topic
    log = pipeline.log(pipeline.cluster)
    try:
        start, end = log.first(topic, [partition])[partition], log.end(topic, [partition])[partition]
        backtest = PartitionBacktest(pipeline, partition, start, since, decoder)
        reader = log.reader(f"{pipeline.name}-{partition}", topic)  # nothing is committed
        try:
            reader.assign({partition: start})
            heard = clock.now()
            while backtest.next_offset < end and not backtest.off:
                polled = reader.poll(pipeline.step_rows_max, POLL_S)
                for why in polled.lost.values():
                    raise NotRetained(
                        f"{topic}:{partition}: what stands from offset {backtest.next_offset} on is not retained any more ({why})"
                    )
                for raw in polled.batches:
                    yield from backtest.judge(raw)
                    heard = clock.now()
                if clock.now() - heard > STALL_S:
                    raise ReopenError(
                        f"{topic}:{partition}: no record at offset {backtest.next_offset} for {STALL_S:g} s: "
                        "a transaction is open there, or the broker is away"
                    )
        finally:
            reader.close()
    finally:
        log.close()
