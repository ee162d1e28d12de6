"""What the outputs must be: a plain fold over the log as written, in one process, without Kafka's transactions, Ray or faults.

The decoder and the folds are the product's own; that they are right is shown by the tests of `actors/engine`. What is shown here
is that no fault changes what they say.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from actors.engine.family import FamilyFold
from actors.engine.fold import PartitionFold
from actors.engine.position import Position
from actors.pipeline import Pipeline
from schemas.batch import RawBatch
from schemas.charts import ChartBlock, unpack
from schemas.decode import MeasurementDecoder, decode_event
from schemas.encode import Encoder
from schemas.reading import SchemaOf
from schemas.topics import load
from tests.faults.reading import Entry, as_raw
from tests.schemas.records import OneByOne

STEP_ROWS = 5_000
_STATE = ("position", "page", "series_page", "applied_change")


class _Nothing(OneByOne):
    """An encoder of what the oracle does not keep."""

    def encode(self, record: dict[str, Any]) -> bytes:
        return b""


_SCHEMAS = {1: load("alert"), 2: load("dead_letter")}
_ENCODERS = dict.fromkeys(_STATE, _Nothing()) | {"alert": Encoder("alert", 1), "dead_letter": Encoder("dead_letter", 2)}


@dataclass
class Truth:
    """What was to be put out."""

    blocks: list[ChartBlock] = field(default_factory=list)
    alerts: list[dict[str, Any]] = field(default_factory=list)
    dead_letters: list[dict[str, Any]] = field(default_factory=list)
    aside: list[dict[str, Any]] = field(default_factory=list)  # came twice, too late or from a wrong clock


class Oracle:
    """Folds one partition of the input from an offset on, some records at a time; keeps the fold's state, and nothing else."""

    def __init__(self, pipeline: Pipeline, partition: int, schema_of: SchemaOf, first: int = 0) -> None:
        topic = self._topic = pipeline.input_topic
        self.partition = partition
        self.families = tuple(pipeline.families)
        self._families = [
            FamilyFold(pipeline.name, family, detectors, pipeline.clean_rows)
            for family, detectors in pipeline.families.items()
        ]
        for family in self._families:
            family.open(topic, partition, (), (), frozenset())
        self._fold = PartitionFold(
            pipeline.name,
            Position(topic, partition, first, 0, first, 0, pipeline.code_version),
            (),
            MeasurementDecoder(schema_of),
            _ENCODERS,
            pipeline.topics,
            arrivals=pipeline.arrivals,
        )

    def fold(self, entries: Sequence[Entry]) -> Truth:
        """Return what was to be put out because of the next records."""
        truth = Truth()
        for first in range(0, len(entries), STEP_ROWS):
            self._step(as_raw(self._topic, self.partition, list(entries[first : first + STEP_ROWS])), truth)
        return truth

    def _step(self, raw: RawBatch, truth: Truth) -> None:
        step = self._fold.begin(raw)
        outputs = [family.step(step.work) for family in self._families]
        charts = [chart for output in outputs for chart in (output.chart, *output.more_charts) if chart is not None]
        truth.blocks += [unpack(chart) for chart in charts]
        topics = self._fold.topics
        events = {topics.alerts: truth.alerts, topics.dead_letters: truth.dead_letters, topics.late: truth.aside}
        for record in self._fold.conclude(step, outputs):
            if record.topic in events:
                events[record.topic].append(decode_event(record.value, _SCHEMAS.__getitem__))
