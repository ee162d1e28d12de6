"""From the configuration to the pipelines that it asks for: what owners run, and what commands that look at them need."""

from __future__ import annotations

from collections.abc import Mapping

from actors.engine.fold import Topics
from actors.engine.judge import Assignment
from actors.kafka.client import Cluster
from actors.pipeline import Pipeline, Vector
from cluster.config import Config
from cluster.detectors import Judging
from schemas.topics import (
    ALERTS,
    CHARTS,
    CONTROL,
    DEALS,
    MEASUREMENTS,
    STATE,
    VECTOR_STATE,
    VECTORS,
    dead_letter_topic,
    late_topic,
)


def pipelines_of(
    config: Config, judging: Judging, cluster: Cluster, schema_ids: Mapping[tuple[str, str], int]
) -> list[Pipeline]:
    """Return the pipelines as configured: the main one, and that of vectors if there is one."""
    main = _pipeline(config, config.pipeline.name, MEASUREMENTS, STATE, judging.main, cluster, schema_ids)
    if judging.vector is None:
        return [main]
    vectors = _pipeline(
        config, config.vectors.name, VECTORS, VECTOR_STATE, judging.vectors, cluster, schema_ids, judging.vector
    )
    return [main, vectors]


def _pipeline(
    config: Config,
    name: str,
    topic: str,
    state: str,
    families: Mapping[str, tuple[Assignment, ...]],
    cluster: Cluster,
    schema_ids: Mapping[tuple[str, str], int],
    vector: Vector | None = None,
) -> Pipeline:
    topics = Topics(CHARTS, ALERTS, dead_letter_topic(topic), state, CONTROL, DEALS, late=late_topic(topic))
    wanted = {
        "position": state,
        "page": state,
        "series_page": state,
        "applied_change": state,
        "alert": ALERTS,
        "dead_letter": topics.dead_letters,
        "deal": DEALS,
    }
    return Pipeline(
        name=name,
        cluster=cluster,
        input_topic=topic,
        partitions=tuple(range(config.kafka.input_partitions)),
        topics=topics,
        families=families,
        schema_ids={record: schema_ids[of, record] for record, of in wanted.items()},
        vector=vector,
        hosting="owner" if config.pipeline.hosting == "owner" else "actor",
        standby=config.pipeline.standby,
        commit_interval_ms=config.pipeline.commit_interval_ms,
        snapshot_interval_ms=config.pipeline.snapshot_interval_ms,
        snapshot_bytes_per_s=config.pipeline.snapshot_bytes_per_s,
        arrivals=config.pipeline.arrivals,
    )
