"""By what else a stretch may be judged again: other detectors, rules and versions of them, and other limits.

Limits get into a replay as they get into a live pipeline, by a control topic: one of its own, that is written whole before its
first step. So they hold from the first record of the stretch on, and a replay that begins again judges by the same.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

from actors.errors import ConfigError
from actors.kafka.client import Cluster
from actors.kafka.log import KafkaLog
from actors.ledger import Ledger
from actors.log import Entry
from actors.pipeline import Pipeline
from cluster.config import DetectorConfig
from cluster.detectors import families_of, vector_of_families
from cluster.operations.errors import Invalid
from models.limit_versions import (
    SERIES_PER_CHANGE_MAX,
    Change,
    ChangeRefused,
    Kind,
    SeriesChange,
    State,
    checked,
    share_of,
    share_to_record,
    to_record,
)
from schemas.encode import Encoder
from schemas.registry import Registry
from schemas.topics import schema_text


class Judging(NamedTuple):
    """What is other than in the running pipeline."""

    detectors: tuple[Mapping[str, Any], ...] = ()  # as pipeline.detectors has them; none: the pipeline's own
    limits: tuple[SeriesChange, ...] = ()  # given from the first record on

    def to_json(self) -> dict[str, Any]:
        """Return it as a plan has it."""
        return {
            "detectors": [dict(detector) for detector in self.detectors],
            "limits": [share_to_record(share) for share in self.limits],
        }

    @classmethod
    def of(cls, said: Mapping[str, Any]) -> Judging:
        """Return what a plan says."""
        return cls(tuple(said["detectors"]), tuple(share_of(share) for share in said["limits"]))


def judged_by(pipeline: Pipeline, judging: Judging | None) -> Pipeline:
    """Return a pipeline with other detectors. Raises Invalid for some that cannot be made, or do not judge its input."""
    if judging is None or not judging.detectors:
        return pipeline
    try:
        wanted = [DetectorConfig.model_validate(detector) for detector in judging.detectors]
        families = families_of("detectors", wanted, phase_one_rows=0)
        vector = None if pipeline.vector is None else vector_of_families(pipeline.vector.name, families)
    except (ConfigError, ValueError) as error:
        raise Invalid(" ".join(str(error).split())) from error
    return replace(pipeline, families=families, vector=vector)


def write_limits(cluster: Cluster, pipeline: Pipeline, limits: Sequence[SeriesChange], by: str) -> None:
    """Write limits to the control topic of a pipeline that does not run yet. Idempotent. Raises ReopenError, Invalid."""
    topic = pipeline.topics.control
    registry = Registry(cluster.registry_url, cluster.registry_client)
    encoder = Encoder("control", registry.register(f"{topic}-value", schema_text("control")))
    entries: list[Entry] = []
    try:
        for first in range(0, len(limits), SERIES_PER_CHANGE_MAX):
            change = _change(f"given-{first}", pipeline, limits[first : first + SERIES_PER_CHANGE_MAX], by)
            entries.append((change.change_id.encode(), encoder.encode(to_record(checked(change)))))
    except ChangeRefused as error:
        raise Invalid(f"limits: {error}") from error
    log = KafkaLog(cluster)
    ledger = Ledger(log, f"{pipeline.name}-control", topic)
    try:
        ledger.write(entries)
    finally:
        ledger.close()
        log.close()


def _change(change_id: str, pipeline: Pipeline, limits: Sequence[SeriesChange], by: str) -> Change:
    author = by or "replay"
    return Change(
        change_id=change_id,
        kind=Kind.LIMITS,
        state=State.APPLIED,
        pipeline=pipeline.name,
        topic=pipeline.input_topic,
        author=author,
        reason="given to this replay",
        created_ms=0,
        approver=author,
        approved_ms=0,
        changes=tuple(limits),
    )
