"""Reading what two versions wrote, for `compare`: their charts and alerts, in the live topics and in those of their own."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NamedTuple

from actors import supervisor
from actors.engine.judge import assigned, matches
from actors.errors import ReopenError
from actors.kafka.changes import Changes
from actors.kafka.client import Cluster
from actors.kafka.consumer import PartitionReader
from actors.pipeline import Pipeline
from cluster.deployments.compare import Opened, Rows, compare
from cluster.deployments.record import Deployment
from cluster.deployments.satellite import satellite_name
from cluster.operations.errors import Absent, Conflict, Invalid, shown
from schemas.charts import step_of, unpack
from schemas.decode import UnreadableRecord, decode_event
from schemas.registry import Registry

OFFSETS_MAX = 100_000  # input offsets of each partition that are compared, the newest of those that both have judged
READ_S = 30.0  # for all that is read
BLOCKS_MAX = 200_000  # records of each topic that are looked at, the newest
_POLL_ROWS = 2_000


class Side(NamedTuple):
    """One of the two that are compared."""

    name: str
    pipeline: str  # who wrote
    label: str  # what its charts call it
    topics: tuple[str, ...]  # of charts
    alerts: tuple[str, ...]
    series: tuple[str, ...]  # patterns of those it is for
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
        return Side(
            name,
            satellite_name(name),
            record.label,
            (base.topics.charts, f"{name}.charts"),
            (base.topics.alerts, f"{name}.alerts"),
            record.series,
            cost.get("us_per_row"),
            step_ms,
        )
    series = _detectors(base).get(name)
    if series is None:
        raise Absent(f"no deployment {shown(name)}, and pipeline {base.name} has no such detector")
    return Side(name, base.name, name, (base.topics.charts,), (base.topics.alerts,), series, None, None)


def _read(
    cluster: Cluster, base: Pipeline, sides: tuple[Side, Side], since: int | None
) -> tuple[list[Rows], list[list[Opened]], dict[int, tuple[int, int]]]:
    """Read both sides over the stretch that both have judged, of each partition."""
    deadline = time.monotonic() + READ_S
    charts = [list(_charts(cluster, side, deadline)) for side in sides]
    spans: dict[int, tuple[int, int]] = {}
    for partition in base.partitions:
        reaches = []
        for blocks in charts:
            steps = [step for step, _ in blocks if step.partition == partition]
            if steps:
                reaches.append((min(s.first_offset for s in steps), max(s.next_offset for s in steps)))
        if len(reaches) == len(sides):
            end = min(reach for _, reach in reaches)
            first = max(*(first for first, _ in reaches), end - OFFSETS_MAX, since or 0)
            if first < end:
                spans[partition] = first, end
    if not spans:
        raise Conflict(f"{sides[0].name} and {sides[1].name} have no offsets in common that are retained")
    rows = []

    def asked(key: str) -> bool:
        return all(side.asked(key) for side in sides)

    for side, blocks in zip(sides, charts, strict=True):
        held = Rows(side.label, asked)
        for step, packed in blocks:
            first, end = spans.get(step.partition, (0, 0))
            if step.next_offset > first and step.first_offset < end:
                held.add(unpack(packed), first, end)
        rows.append(held)
    alerts = [
        [opened for opened in _alerts(cluster, side, held.detector, deadline) if asked(opened.series)]
        for side, held in zip(sides, rows, strict=True)
    ]
    return rows, alerts, spans


def _charts(cluster: Cluster, side: Side, deadline: float) -> Iterator[tuple[Any, bytes]]:
    for value in _values(cluster, side.topics, deadline):
        step = step_of(value)
        if step.pipeline == side.pipeline:
            yield step, value


def _alerts(cluster: Cluster, side: Side, detector: str, deadline: float) -> Iterator[Opened]:
    registry = Registry(cluster.registry_url, cluster.registry_client)
    for value in _values(cluster, side.alerts, deadline):
        try:
            alert = decode_event(value, registry.schema)
        except UnreadableRecord:
            continue
        if (alert["pipeline"], alert["detector"], alert["state"]) == (side.pipeline, detector, "OPEN"):
            yield Opened(alert["partition"], alert["series"], alert["opened_offset"], alert["rule"])


def _values(cluster: Cluster, topics: Iterable[str], deadline: float) -> Iterator[bytes]:
    """Give the values of the newest records of topics. Raises ReopenError if that takes too long."""
    changes = Changes(cluster.bootstrap_servers, cluster.client)
    for topic in topics:
        places = [(topic, partition) for partition in changes.partitions(topic)]
        bounds = {partition: span for (_, partition), span in changes.bounds(places).items()}
        left = {p: end for p, (low, end) in bounds.items() if low < end}
        if not left:
            continue
        reader = PartitionReader(cluster, "chipquality-compare", topic)
        try:
            reader.assign({p: max(bounds[p][0], end - BLOCKS_MAX // len(left)) for p, end in left.items()})
            while left:
                if time.monotonic() > deadline:
                    raise ReopenError(f"{topic} could not be read within {READ_S:g} s: ask from a later offset on")
                for batch in reader.poll(_POLL_ROWS, 0.1).batches:
                    yield from (value for value in batch.values if value is not None)
                    if batch.next_offset >= left.get(batch.partition, batch.next_offset + 1):
                        del left[batch.partition]
        finally:
            reader.close()
