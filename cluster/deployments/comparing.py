"""Reading what two versions wrote, for `compare`: their charts and alerts, in the live topics and in those of their own."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from actors import supervisor
from actors.engine.judge import assigned, matches
from actors.kafka.backwards import newest_first
from actors.kafka.changes import Changes
from actors.kafka.client import Cluster
from actors.pipeline import Pipeline
from actors.sinks.journey import Received
from cluster.deployments.compare import Opened, Rows, compare
from cluster.deployments.record import NOTHING, Deployment, Offsets
from cluster.deployments.satellite import satellite_name
from cluster.operations.errors import Absent, Conflict, Invalid, shown
from schemas.charts import ChartStep, step_of, unpack
from schemas.decode import UnreadableRecord, decode_event
from schemas.registry import Registry

OFFSETS_MAX = 100_000  # input offsets of each partition that are compared, the newest of those that both have judged
BLOCKS_MAX = 200_000  # records of each partition of a topic that are looked at, the newest
ALERT_MARGIN_MS = 60_000  # an alert is written when its block is

_LOG = logging.getLogger("chipquality.deployments")
Spans = Mapping[int, tuple[int, int]]  # of the input's offsets, by partition


class Side(NamedTuple):
    """One of the two that are compared."""

    name: str
    pipeline: str  # who wrote
    label: str  # what its charts call it
    families: frozenset[str]  # in which it says it; none: any
    charts: Mapping[str, Offsets]  # where that stands: topic → from which input offsets on
    alerts: tuple[str, ...]
    series: tuple[str, ...]  # patterns of those it is for
    began: Offsets  # where it began to judge
    us_per_row: float | None
    step_ms: float | None

    def asked(self, key: str) -> bool:
        """Say whether it is asked about a series."""
        return matches(key, self.series)


def compared(
    cluster: Cluster,
    pipeline: str,
    name: str,
    against: str | None,
    there: Mapping[str, Deployment],
    said: Mapping[str, Any],
    since: int | None = None,
) -> dict[str, Any]:
    """Compare a deployment with another, with what it replaces, or with a detector of the pipeline beside it.

    since: only input offsets from there on. Raises Refused, ReopenError.
    """
    record = there.get(name)
    if record is None:
        raise Absent(f"no deployment {shown(name)}")
    base = supervisor.pipeline_of(pipeline)
    other = against or record.replaces
    if other is None:
        known = ", ".join(sorted({*there, *_detectors(base)} - {name}))
        raise Invalid(f"{name} replaces nothing: say with what it is to be compared ({known})")
    a = _side(base, other, there, said)
    b = _side(base, name, there, said)
    rows, alerts, spans = _read(cluster, base, (a, b), since)
    found = compare(rows[0], rows[1], alerts[0], alerts[1]).to_json()
    sides = {
        key: {
            "name": side.name,
            "detector": held.detector or None,
            "us_per_row": side.us_per_row,
            "step_ms": side.step_ms,
            "rows": held.count,
        }
        for key, side, held in (("a", a, rows[0]), ("b", b, rows[1]))
    }
    offsets = {str(p): {"from": first, "to": end} for p, (first, end) in sorted(spans.items())}
    return {**sides, "offsets": offsets, **found}


def _detectors(base: Pipeline) -> dict[str, tuple[str, ...]]:
    """Return what charts call a pipeline's detectors → patterns of the series that each is for."""
    return {each.name: each.series for family in base.families.values() for each in assigned(family)}


def _side(base: Pipeline, name: str, there: Mapping[str, Deployment], said: Mapping[str, Any]) -> Side:
    """Return where what a deployment, or a detector of the pipeline, says is to be found. Raises Absent."""
    record = there.get(name)
    if record is not None:
        cost = (record.examined or {}).get("cost") or {}
        owners = said.get(name, {}).get("owners", ())
        step_ms = next((owner["step_ms"] for owner in owners if owner.get("step_ms")), None)
        charts: dict[str, Offsets] = {f"{name}.charts": record.starts}
        alerts = [f"{name}.alerts"]
        shown_live = [spell.began for spell in record.history if spell.share != NOTHING]
        if shown_live:
            charts[base.topics.charts] = shown_live[0]
            alerts.append(base.topics.alerts)
        return Side(
            name,
            satellite_name(name),
            record.label,
            frozenset(),
            charts,
            tuple(alerts),
            record.series,
            record.starts,
            cost.get("us_per_row"),
            step_ms,
        )
    families = {family for family, all_of in base.families.items() if name in {each.name for each in assigned(all_of)}}
    if not families:
        raise Absent(f"no deployment {shown(name)}, and pipeline {base.name} has no such detector")
    series = _detectors(base)[name]
    everywhere: Offsets = {}
    return Side(
        name,
        base.name,
        name,
        frozenset(families),
        {base.topics.charts: everywhere},
        (base.topics.alerts,),
        series,
        everywhere,
        None,
        None,
    )


def _read(
    cluster: Cluster, base: Pipeline, sides: tuple[Side, Side], since: int | None
) -> tuple[list[Rows], list[list[Opened]], Spans]:
    """Read both sides over the stretch that both have judged, of each partition."""
    found = [Found() for _ in sides]
    spans = _judged_by_both(cluster, base, sides, since)
    for topic in dict.fromkeys(topic for side in sides for topic in side.charts):
        _read_charts(cluster, topic, [*zip(sides, found, strict=True)], spans)
    spans = {
        partition: (max(first, *(each.first[partition] for each in found)), end)
        for partition, (first, end) in spans.items()
        if all(partition in each.first for each in found)
    }
    if not spans:
        raise Conflict(f"{sides[0].name} and {sides[1].name} have no offsets in common that are retained")

    def asked(key: str) -> bool:
        return all(side.asked(key) for side in sides)

    rows = [Rows(side.label, asked) for side in sides]
    for held, each in zip(rows, found, strict=True):
        for step, packed in sorted(each.blocks, key=lambda block: block[0].first_offset):
            held.add(unpack(packed), *spans.get(step.partition, (0, 0)))
    alerts = [
        [opened for opened in _alerts(cluster, side, held.detector, each.oldest_ms) if asked(opened.series)]
        for side, held, each in zip(sides, rows, found, strict=True)
    ]
    return rows, alerts, spans


def _judged_by_both(cluster: Cluster, base: Pipeline, sides: Sequence[Side], since: int | None) -> Spans:
    """Return the stretch of each partition that both have judged, the newest OFFSETS_MAX of it."""
    changes = Changes(cluster.bootstrap_servers, cluster.client)
    committed = [changes.standing(side.pipeline).committed for side in sides]
    spans = {}
    for partition in base.partitions:
        end = min(each.get((base.input_topic, partition), 0) for each in committed)
        first = max(*(side.began.get(partition, 0) for side in sides), end - OFFSETS_MAX, since or 0)
        if first < end:
            spans[partition] = first, end
    return spans


class Found:
    """What was found of one side's charts."""

    def __init__(self) -> None:
        self.blocks: list[tuple[ChartStep, bytes]] = []
        self.first: dict[int, int] = {}  # the smallest offset that it judged of those that were read, by partition
        self.oldest_ms = 0  # when the oldest of the blocks was written; 0: there are none

    def add(self, step: ChartStep, record: Received) -> None:
        """Take a block."""
        self.blocks.append((step, record.value or b""))
        self.oldest_ms = min(self.oldest_ms or record.timestamp_ms, record.timestamp_ms)


def _read_charts(cluster: Cluster, topic: str, sides: Sequence[tuple[Side, Found]], spans: Spans) -> None:
    """Take the blocks that sides have in a topic over spans of the input; read no further back than that."""
    reached: dict[tuple[str, int], int] = {}  # of a writer: the smallest offset of those that were read
    writers = {side.pipeline: side.charts[topic] for side, _ in sides if topic in side.charts}

    def wanted(partition: int) -> bool:  # charts stand in the partition of their input
        if partition not in spans:
            return False
        first, end = spans[partition]
        return any(
            reached.get((writer, partition), end) > max(first, began.get(partition, 0))
            for writer, began in writers.items()
        )

    for partition, records in newest_first(cluster, topic, BLOCKS_MAX, wanted):
        for record in records:
            try:
                step = step_of(record.value or b"")
            except ValueError as error:
                _LOG.warning("%s:%d:%d is left out: %s", topic, partition, record.offset, error)
                continue
            place = step.pipeline, partition
            reached[place] = min(reached.get(place, step.first_offset), step.first_offset)
            first, end = spans.get(partition, (0, 0))
            for side, found in sides:
                if side.pipeline != step.pipeline:
                    continue
                found.first[partition] = min(found.first.get(partition, step.first_offset), step.first_offset)
                overlaps = step.next_offset > first and step.first_offset < end
                if overlaps and (not side.families or step.family in side.families):
                    found.add(step, record)


def _alerts(cluster: Cluster, side: Side, detector: str, since_ms: int) -> Iterator[Opened]:
    """Yield the alerts that a side opened since, for the blocks that were read."""
    if not since_ms:
        return
    registry = Registry(cluster.registry_url, cluster.registry_client)
    for topic in side.alerts:
        oldest: dict[int, int] = {}

        def wanted(partition: int, oldest: dict[int, int] = oldest) -> bool:
            return oldest.get(partition, since_ms) >= since_ms - ALERT_MARGIN_MS

        for partition, records in newest_first(cluster, topic, BLOCKS_MAX, wanted):
            for record in records:
                oldest[partition] = min(oldest.get(partition, record.timestamp_ms), record.timestamp_ms)
                if record.value is None:
                    continue
                try:
                    alert = decode_event(record.value, registry.schema)
                except UnreadableRecord as error:
                    _LOG.warning("%s:%d:%d is left out: %s", topic, partition, record.offset, error)
                    continue
                if (alert["pipeline"], alert["detector"], alert["state"]) == (side.pipeline, detector, "OPEN"):
                    yield Opened(alert["partition"], alert["series"], alert["opened_offset"], alert["rule"])
