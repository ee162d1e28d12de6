"""Reading what two versions wrote, for `compare`: their charts and alerts, in the live topics and in those of their own."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator, Mapping, Sequence, Set
from contextlib import suppress
from typing import Any, NamedTuple

from actors.engine.judge import assigned, matches
from actors.errors import ReopenError
from actors.kafka.backwards import CutShortError, newest_first
from actors.kafka.changes import Changes
from actors.kafka.client import Cluster
from actors.pipeline import Pipeline
from actors.sinks.journey import Received
from cluster.deployments.compare import Opened, Rows, compare
from cluster.deployments.plans import running
from cluster.deployments.record import NOTHING, Deployment, Offsets
from cluster.deployments.satellite import satellite_name
from cluster.operations.errors import Absent, Conflict, Invalid, shown
from schemas.charts import ChartBlock, ChartStep, step_of, unpack
from schemas.decode import UnreadableRecord, decode_event
from schemas.registry import Registry

OFFSETS_MAX = 100_000  # input offsets of each partition that are compared, the newest of those that both have judged
LOOK_BACK = 200_000  # records of each partition of a topic that are looked at, the newest
READ_S = 25.0  # for all charts, and for all alerts; the API waits for both
ALERT_MARGIN_MS = 60_000  # an alert is written when its block is
SETTLED_S, SETTLED_POLL_S = 3.0, 0.1  # for transactions that are open over alerts

_LOG = logging.getLogger("chipquality.deployments")
Spans = Mapping[int, tuple[int, int]]  # of the input's offsets, by partition


class Stay(NamedTuple):
    """Where a side's records may stand in a topic: those of a stretch of the input, by partition."""

    began: Offsets
    ended: Offsets | None  # None: it goes on


class Side(NamedTuple):
    """One of the two that are compared."""

    name: str
    pipeline: str  # who wrote
    label: str  # what its charts call it
    families: frozenset[str]  # in which it says it; none: any
    charts: Mapping[str, tuple[Stay, ...]]  # by topic
    alerts: Mapping[str, tuple[Stay, ...]]
    series: tuple[str, ...]  # patterns of those it is for
    began: Offsets  # where it began to judge
    since_ms: int  # what was written before is another's, of the same name
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
    base = running(pipeline)
    other = against or record.replaces
    if other is None:
        known = ", ".join(sorted({*there, *_detectors(base)} - {name}))
        raise Invalid(f"{name} replaces nothing: say with what it is to be compared ({known})")
    a = _side(base, other, there, said)
    b = _side(base, name, there, said)
    rows, spans, oldest_ms = _read(cluster, base, (a, b), since)
    held_back = _held_back(cluster, {topic for side in (a, b) for topic in side.alerts})
    alerts = _opened(cluster, (a, b), rows, spans, oldest_ms)
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
    return {**sides, "offsets": offsets, "alerts_held_back": held_back, **found}


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
        began = dict(record.starts)  # of one that never ran there are none
        always = (Stay(began, None),)
        live = tuple(Stay(spell.began, spell.ended) for spell in record.history if spell.share != NOTHING)
        return Side(
            name,
            satellite_name(name),
            record.label,
            frozenset(),
            {f"{name}.charts": always, base.topics.charts: live},
            {f"{name}.alerts": always, base.topics.alerts: live},
            record.series,
            began,
            record.created_ms,
            cost.get("us_per_row"),
            step_ms,
        )
    families = {family for family, all_of in base.families.items() if name in {each.name for each in assigned(all_of)}}
    if not families:
        raise Absent(f"no deployment {shown(name)}, and pipeline {base.name} has no such detector")
    everywhere = (Stay({}, None),)
    return Side(
        name,
        base.name,
        name,
        frozenset(families),
        {base.topics.charts: everywhere},
        {base.topics.alerts: everywhere},
        _detectors(base)[name],
        {},
        0,
        None,
        None,
    )


def _read(
    cluster: Cluster, base: Pipeline, sides: tuple[Side, Side], since: int | None
) -> tuple[list[Rows], Spans, list[int]]:
    """Read both sides over the stretch that both have judged, of each partition; tell when the oldest blocks were written."""
    found = [Found() for _ in sides]
    spans = _judged_by_both(cluster, base, sides, since)
    deadline = time.monotonic() + READ_S
    for topic in dict.fromkeys(topic for side in sides for topic in side.charts):
        with suppress(CutShortError):  # a shorter stretch is told as such: `first` of what was found
            _read_charts(cluster, topic, [*zip(sides, found, strict=True)], spans, deadline)
    spans = {
        partition: (max(first, *(each.first[partition] for each in found)), end)
        for partition, (first, end) in spans.items()
        if all(partition in each.first for each in found)
    }
    if not spans:
        within = f"within the newest {LOOK_BACK:,} records of a partition of the charts"
        raise Conflict(f"{sides[0].name} and {sides[1].name} have no offsets in common that are retained, {within}")

    def asked(key: str) -> bool:
        return all(side.asked(key) for side in sides)

    rows = [
        Rows(side.label, asked, detector=each.identity(side.label)) for side, each in zip(sides, found, strict=True)
    ]
    for held, each in zip(rows, found, strict=True):
        for step, record in sorted(each.blocks, key=lambda block: block[0].first_offset):
            block = _unpacked(record)
            if block is not None:
                held.add(block, *spans.get(step.partition, (0, 0)))
    return rows, spans, [each.oldest_ms for each in found]


def _opened(
    cluster: Cluster, sides: tuple[Side, Side], rows: Sequence[Rows], spans: Spans, oldest_ms: Sequence[int]
) -> list[list[Opened]]:
    """Return the alerts of both, of series that both are for. Raises ReopenError if they are too many."""
    deadline = time.monotonic() + READ_S
    try:
        return [
            [
                opened
                for opened in _alerts(cluster, side, held.detector, spans, since_ms, deadline)
                if all(each.asked(opened.series) for each in sides)
            ]
            for side, held, since_ms in zip(sides, rows, oldest_ms, strict=True)
        ]
    except CutShortError as error:
        raise ReopenError(f"{error}: compare from a later offset on") from error


def _held_back(cluster: Cluster, topics: Set[str]) -> int:
    """Wait for transactions that are open over alerts, a little; return how many records they still hold back."""
    changes = Changes(cluster.bootstrap_servers, cluster.client)
    ends = changes.bounds([(topic, partition) for topic in topics for partition in changes.partitions(topic)])
    deadline = time.monotonic() + SETTLED_S
    while True:
        stable = changes.bounds(ends, "read_committed")
        behind = sum(max(0, end - stable.get(place, (0, end))[1]) for place, (_, end) in ends.items())
        if not behind or time.monotonic() > deadline:
            return behind
        time.sleep(SETTLED_POLL_S)


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
        self.blocks: list[tuple[ChartStep, Received]] = []
        self.first: dict[int, int] = {}  # the smallest offset of a step of it within the stretch, by partition
        self.oldest_ms = 0  # when the oldest of the blocks was written; 0: there are none

    def add(self, step: ChartStep, record: Received, families: Set[str]) -> None:
        """Take a block that is within the stretch."""
        self.first[step.partition] = min(self.first.get(step.partition, step.first_offset), step.first_offset)
        if not families or step.family in families:
            self.blocks.append((step, record))
            self.oldest_ms = min(self.oldest_ms or record.timestamp_ms, record.timestamp_ms)

    def identity(self, label: str) -> str:
        """Return the identity of the detector that a label means, in the newest block that has it; empty if none has."""
        for _, record in sorted(self.blocks, key=lambda block: -block[1].timestamp_ms):
            block = _unpacked(record)
            if block is not None and label in block.detectors:
                return block.detectors[label].detector
        return ""


def _unpacked(record: Received) -> ChartBlock | None:
    try:
        return unpack(record.value or b"")
    except ValueError as error:  # of another format than this program's
        _LOG.warning("%s:%d:%d is left out: %s", record.topic, record.partition, record.offset, error)
        return None


def _within(stays: Sequence[Stay], partition: int, first: int, end: int) -> int | None:
    """Return from which offset on a stretch has something of such stays; None: it has nothing."""
    begins = [
        max(stay.began.get(partition, 0), first)
        for stay in stays
        if stay.began.get(partition, 0) < end and (stay.ended is None or stay.ended.get(partition, end) > first)
    ]
    return min(begins, default=None)


def _read_charts(
    cluster: Cluster, topic: str, sides: Sequence[tuple[Side, Found]], spans: Spans, deadline: float
) -> None:
    """Take the blocks that sides have in a topic over spans of the input; read no further back than that.

    Raises CutShortError if that is too far.
    """
    reached: dict[tuple[str, int], int] = {}  # of a writer in a partition: the smallest offset of those that were read
    oldest_ms: dict[int, int] = {}  # of what was read, by partition
    writers = [(side, side.charts[topic]) for side, _ in sides if topic in side.charts]

    def wanted(partition: int) -> bool:  # charts stand in the partition of their input
        if partition not in spans:
            return False
        first, end = spans[partition]
        for side, stays in writers:
            begin = _within(stays, partition, first, end)
            newer = oldest_ms.get(partition, side.since_ms) >= side.since_ms
            if begin is not None and newer and reached.get((side.pipeline, partition), end) > begin:
                return True
        return False

    for partition, records in newest_first(cluster, topic, LOOK_BACK, deadline, wanted):
        for record in records:
            oldest_ms[partition] = min(oldest_ms.get(partition, record.timestamp_ms), record.timestamp_ms)
            try:
                step = step_of(record.value or b"")
            except ValueError as error:
                _LOG.warning("%s:%d:%d is left out: %s", topic, partition, record.offset, error)
                continue
            place = step.pipeline, partition
            reached[place] = min(reached.get(place, step.first_offset), step.first_offset)
            first, end = spans.get(partition, (0, 0))
            if step.next_offset <= first or step.first_offset >= end:
                continue
            for side, found in sides:
                stays = side.charts.get(topic, ())
                ours = side.pipeline == step.pipeline and record.timestamp_ms >= side.since_ms
                if ours and _within(stays, partition, step.first_offset, step.next_offset) is not None:
                    found.add(step, record, side.families)


def _alerts(
    cluster: Cluster, side: Side, detector: str, spans: Spans, since_ms: int, deadline: float
) -> Iterator[Opened]:
    """Yield the alerts that a side opened since, for the blocks that were read. Raises CutShortError."""
    if not since_ms:
        return
    registry = Registry(cluster.registry_url, cluster.registry_client)
    for topic, stays in side.alerts.items():
        if all(_within(stays, partition, *span) is None for partition, span in spans.items()):
            continue
        oldest: dict[int, int] = {}

        def wanted(partition: int, oldest: dict[int, int] = oldest) -> bool:
            return oldest.get(partition, since_ms) >= since_ms - ALERT_MARGIN_MS

        for partition, records in newest_first(cluster, topic, LOOK_BACK, deadline, wanted):
            for record in records:
                oldest[partition] = min(oldest.get(partition, record.timestamp_ms), record.timestamp_ms)
                if record.value is None or record.timestamp_ms < side.since_ms:
                    continue
                try:
                    alert = decode_event(record.value, registry.schema)
                except UnreadableRecord as error:
                    _LOG.warning("%s:%d:%d is left out: %s", topic, partition, record.offset, error)
                    continue
                if (alert["pipeline"], alert["detector"], alert["state"]) == (side.pipeline, detector, "OPEN"):
                    yield Opened(alert["partition"], alert["series"], alert["opened_offset"], alert["rule"])
