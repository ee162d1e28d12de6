"""What the outputs must be: a plain fold over the log as written, in one process, without Kafka's transactions, Ray or faults.

The decoder and the folds are the product's own; that they are right is shown by the tests of `actors/engine`. What is shown here
is that no fault changes what they say.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from actors.engine.family import FamilyFold
from actors.engine.fold import PartitionFold
from actors.engine.position import Position
from actors.pipeline import Pipeline
from schemas.charts import ChartBlock, unpack
from schemas.decode import MeasurementDecoder, decode_event
from schemas.encode import Encoder
from schemas.reading import SchemaOf
from schemas.topics import load
from tests.faults.reading import Entry, as_raw

STEP_ROWS = 5_000
_STATE = ("position", "page", "series_page", "applied_change")


class _Nothing:
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


def fold_log(pipeline: Pipeline, log: Mapping[int, list[Entry]], schema_of: SchemaOf) -> Truth:
    """Fold the input topic's partitions, from offset 0 to their ends."""
    truth = Truth()
    families = [
        FamilyFold(pipeline.name, family, detectors, pipeline.clean_rows)
        for family, detectors in pipeline.families.items()
    ]
    for partition, entries in log.items():
        start = Position(pipeline.input_topic, partition, 0, 0, 0, 0, pipeline.code_version)
        for family in families:
            family.open(pipeline.input_topic, partition, (), (), frozenset())
        fold = PartitionFold(
            pipeline.name,
            start,
            (),
            MeasurementDecoder(schema_of),
            _ENCODERS,
            pipeline.topics,
            arrivals=pipeline.arrivals,
        )
        for first in range(0, len(entries), STEP_ROWS):
            _step(fold, families, as_raw(pipeline.input_topic, partition, entries[first : first + STEP_ROWS]), truth)
    return truth


def _step(fold: PartitionFold, families: list[FamilyFold], raw: Any, truth: Truth) -> None:
    step = fold.begin(raw)
    outputs = [family.step(step.work) for family in families]
    charts = [chart for output in outputs for chart in (output.chart, *output.more_charts) if chart is not None]
    truth.blocks += [unpack(chart) for chart in charts]
    for record in fold.conclude(step, outputs):
        if record.topic == fold.topics.alerts:
            truth.alerts.append(decode_event(record.value, _SCHEMAS.__getitem__))
        elif record.topic == fold.topics.dead_letters:
            truth.dead_letters.append(decode_event(record.value, _SCHEMAS.__getitem__))
        elif record.topic == fold.topics.late:
            truth.aside.append(decode_event(record.value, _SCHEMAS.__getitem__))
