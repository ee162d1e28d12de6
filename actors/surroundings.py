"""What a slot stands on: the log, the clock, and how records are written and read. In the simulation all three are models."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from actors.engine.fold import Decodes
from actors.engine.position import Encodes
from actors.log import Clock, Log
from actors.pipeline import Pipeline
from schemas.decode import MeasurementDecoder, decode_event
from schemas.decode_vectors import VectorDecoder
from schemas.encode import Encoder
from schemas.registry import Registry
from schemas.topics import load

REGISTRY_TIMEOUT_S = 2.0  # of one request: a slot stands still so long, once for each schema, if nothing answers


@dataclass(frozen=True)
class Codec:
    """How records are read and written."""

    decoder: Decodes  # of the input
    encoders: Mapping[str, Encodes]  # of what we write, by record name
    read: Callable[[bytes], dict[str, Any]]  # of state, deals, changes; raises RegistryUnavailable
    look_up: Callable[[int], object]  # a schema by its id; raises RegistryUnavailable, LookupError

    @classmethod
    def of(cls, pipeline: Pipeline) -> Codec:
        """Return the codec of a pipeline: Avro with the registry's schemas.

        What this version writes it can read without asking: a slot opens while the registry is away.
        """
        cluster = pipeline.cluster
        registry = Registry(cluster.registry_url, cluster.registry_client, REGISTRY_TIMEOUT_S)
        ours = {schema_id: load(name) for name, schema_id in pipeline.schema_ids.items()}
        return cls(
            _decoder(pipeline, registry),
            {name: Encoder(name, schema_id) for name, schema_id in pipeline.schema_ids.items()},
            lambda value: decode_event(value, lambda schema_id: ours.get(schema_id) or registry.schema(schema_id)),
            registry.schema,
        )


@dataclass(frozen=True)
class Surroundings:
    """What a slot stands on."""

    log: Log
    clock: Clock
    codec: Codec
    should_stop: Callable[[], bool] = lambda: False


def _decoder(pipeline: Pipeline, registry: Registry) -> Decodes:
    if pipeline.vector is None:
        return MeasurementDecoder(registry.schema)
    return VectorDecoder(registry.schema, *pipeline.vector)
