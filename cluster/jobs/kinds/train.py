"""Fit a model to history, as an artefact in the store, and tell of it in fab.ml.

The artefact says what it was fitted to (data range), by what (hash of the code, parameters) and how well (scores). An attempt
that has kept it notes its digest: those after it fit nothing, and tell of the same one. The event has the id of the run.
"""

from __future__ import annotations

import hashlib
import inspect
import time
from collections.abc import Callable, Mapping
from fnmatch import fnmatchcase
from functools import cache
from importlib.metadata import version
from pathlib import Path
from types import MappingProxyType
from typing import Annotated, Any, Literal, NamedTuple, Self

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, JsonValue, model_validator

import models
from actors.kafka.history import Bound, HistoryReader
from actors.kafka.vector_history import read_vectors
from actors.packages.store import PackageStore
from actors.producers.category import Context
from actors.producers.ml import MlPublisher, Model
from actors.producers.publisher import Publisher
from cluster.jobs.book import VERSIONS_MAX
from cluster.jobs.stage import Outcome, Stage
from cluster.operations.errors import Invalid, Refused
from models.artefact import Artefact
from models.covariance import fit_covariance
from models.isolation_forest import fit_isolation_forest
from models.ks import sample_reference
from models.mmd import mmd_reference
from models.pca_fit import fit_pca
from schemas.registry import Registry
from schemas.topics import MEASUREMENTS, VECTORS

ROWS_MAX = 500_000
DELIVERY_S = 30.0
_FITS: Mapping[str, Callable[..., Artefact]] = MappingProxyType(
    {
        "pca": fit_pca,
        "covariance": fit_covariance,
        "isolation-forest": fit_isolation_forest,
        "sample": sample_reference,
        "mmd": mmd_reference,
    }
)
_OURS = {"values", "names", "facts", "subgroup"}  # arguments that do not come from the job
_SINGLE = {"isolation-forest", "sample", "mmd"}  # take (n,) of one characteristic


class TrainParameters(BaseModel):
    """Which model, fitted to what."""

    model_config = ConfigDict(extra="forbid", frozen=True, protected_namespaces=())

    model: Literal["pca", "covariance", "isolation-forest", "sample", "mmd"] = Field(
        description="loadings, covariance, trees; or a reference that drift is measured from (drift.ks, drift.mmd)"
    )
    vector: str | None = Field(None, max_length=200, description="name of a vector, or")
    series: str | None = Field(None, max_length=1_000, description="key of a series, whose rows it is fitted to")
    topic: str | None = Field(
        None, max_length=249, description="where they stand; the topic of the product unless given"
    )
    columns: list[str] = Field(
        default_factory=lambda: ["*"], min_length=1, max_length=1_000, description="of a vector: patterns"
    )
    rows: int | None = Field(None, ge=2, le=ROWS_MAX, description="the newest so many, or")
    last_s: float | None = Field(
        None, gt=0, le=10 * 366 * 86_400, description="those of so many seconds before it is due, by event time"
    )
    parameters: Annotated[dict[str, JsonValue], Field(max_length=20)] = Field(
        default_factory=dict,
        description="of the fit: components, explained, limits, estimator, seed, trees, contamination …",
    )
    keep: int = Field(
        10, ge=1, le=VERSIONS_MAX, description="versions that the alias names; nothing is deleted from the store"
    )

    @model_validator(mode="after")
    def _can_be(self) -> Self:
        if (self.vector is None) == (self.series is None):
            raise ValueError("either vector or series")
        if self.series is not None and self.model not in _SINGLE:
            raise ValueError(f"{self.model} is fitted to a vector")
        if self.rows is not None and self.last_s is not None:
            raise ValueError("either rows or last_s")
        taken = set(inspect.signature(_FITS[self.model]).parameters) - _OURS
        unknown = set(self.parameters) - taken
        if unknown:
            raise ValueError(
                f"{', '.join(sorted(unknown))}: {self.model} has {', '.join(sorted(taken)) or 'no parameters'}"
            )
        if self.model == "isolation-forest" and "seed" not in self.parameters:
            raise ValueError("isolation-forest wants a seed among its parameters")
        return self


class Data(NamedTuple):
    """Rows to fit to."""

    names: tuple[str, ...]
    value: np.ndarray  # (n, p)
    facts: dict[str, Any]  # where they are from


def run_train(stage: Stage) -> Outcome:
    """Fit, keep, tell. Raises Refused, ConfigError, ReopenError."""
    parameters = TrainParameters.model_validate(dict(stage.parameters))
    if "trained" not in stage.notes:
        stage.tell(0, 3, "reads rows")
        data = _data(stage, parameters)
        stage.tell(1, 3, f"fits {parameters.model} to {len(data.value)} rows")
        began = time.monotonic()
        model = fitted(parameters, data, stage.run.id)
        duration_s = time.monotonic() - began
        digest = PackageStore(stage.store).put_artefact(model)
        scores = {name: float(fact) for name, fact in model.facts.items() if _is_score(name, fact)}
        stage.note(trained={"artefact": digest, "duration_s": duration_s, "rows": len(data.value), "scores": scores})
    trained = stage.notes["trained"]
    stage.tell(2, 3, "tells of it")
    _announce(stage, parameters, trained)
    made = {"model": parameters.model, "store": stage.store, **trained}
    stage.swap(made, parameters.keep)
    what = f"{parameters.model} fitted to {trained['rows']} rows: artefact {trained['artefact']}"
    return Outcome(what, made)


def fitted(parameters: TrainParameters, data: Data, run: str) -> Artefact:
    """Return the model, which says what it comes from. Raises Refused for rows that it cannot be fitted to."""
    value = data.value[:, 0] if len(data.names) == 1 and parameters.model in _SINGLE else data.value
    try:
        model = _FITS[parameters.model](value, **parameters.parameters)
    except (ValueError, TypeError) as error:
        raise Refused(f"{parameters.model} cannot be fitted to {len(value)} rows: {error}") from error
    facts = {
        **model.facts,
        "names": list(data.names),
        **data.facts,
        "parameters": dict(parameters.parameters),
        "code": code_hash(),
        "code_version": version("chipquality"),
        "run": run,
    }
    return Artefact(model.kind, model.arrays, facts)


@cache
def code_hash() -> str:
    """Return the hash of the code that fits: every module of models/."""
    content = hashlib.sha256()
    for path in sorted(Path(next(iter(models.__path__))).rglob("*.py")):
        content.update(path.name.encode() + b"\0" + path.read_bytes())
    return content.hexdigest()[:16]


def _is_score(name: str, fact: Any) -> bool:
    return name in {"explained", "level", "rows", "gaps", "rounds"} and isinstance(fact, int | float)


def _data(stage: Stage, parameters: TrainParameters) -> Data:
    registry = Registry(stage.cluster.registry_url, stage.cluster.registry_client)
    group = f"{stage.pipeline}-jobs"  # nothing is committed
    first_ms = None if parameters.last_s is None else max(0, stage.run.due_ms - round(parameters.last_s * 1000))
    if parameters.series is not None:
        topic = parameters.topic or MEASUREMENTS
        reader = HistoryReader(stage.cluster, group, topic, registry.schema)
        since = None if first_ms is None else Bound(time_ms=first_ms)
        found = reader.rows(parameters.series, partition=None, rows=parameters.rows or ROWS_MAX, since=since)
        times, value = found.event_time_ms, found.value[:, np.newaxis]
        names: tuple[str, ...] = (parameters.series,)
        facts: dict[str, Any] = {"source": topic, "partition": found.partition}
        facts |= {"first_offset": int(found.offset[0]), "last_offset": int(found.offset[-1])}
    else:
        topic = parameters.topic or VECTORS
        read = read_vectors(stage.cluster, group, topic, parameters.vector or "", registry.schema)
        within = read.event_time_ms >= (first_ms or 0)
        newest = slice(-parameters.rows if parameters.rows else None, None)
        chosen = [j for j, name in enumerate(read.names) if any(fnmatchcase(name, p) for p in parameters.columns)]
        if not chosen or not within.any():
            raise Invalid(f"nothing of vector {parameters.vector} is in that range, or among those columns")
        times = read.event_time_ms[within][newest]
        value = read.value[within][newest][:, chosen]
        names = tuple(read.names[j] for j in chosen)
        facts = {"source": f"{topic}/{parameters.vector}", "left_out": read.left_out}
    return Data(names, value, {**facts, "first_time_ms": int(times[0]), "last_time_ms": int(times[-1])})


def _announce(stage: Stage, parameters: TrainParameters, trained: Mapping[str, Any]) -> None:
    """Say in fab.ml that a model was trained; an event that is said again has the same id. Raises PublishError."""
    registry = Registry(stage.cluster.registry_url, stage.cluster.registry_client)
    metadata = {
        "job": stage.run.job,
        "run": stage.run.id,
        "kind": parameters.model,
        "artefact": trained["artefact"],
        "store": stage.store,
    }
    with Publisher(stage.cluster.bootstrap_servers, registry, stage.cluster.client) as publisher:
        MlPublisher(publisher).training_completed(
            Model(stage.run.job, f"v{stage.run.number}"),
            duration_s=trained["duration_s"],
            rows=trained["rows"],
            scores=trained["scores"],
            context=Context(event_id=f"{stage.run.id}-trained", timestamp_ms=stage.run.due_ms, metadata=metadata),
        ).result(DELIVERY_S)
