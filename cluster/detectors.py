"""From the configuration to detector families: which detectors a pipeline runs, and which series each of them judges."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from actors.engine.judge import Assignment, assigned
from actors.errors import ConfigError
from actors.pipeline import Vector
from cluster.config import Config, DetectorConfig, VectorsConfig
from models.artefact import Artefact
from models.builtin import FAMILIES
from models.catalogue import ARTEFACTS, family_of, make
from models.detector import dimension


def families_of(
    setting: str, detectors: Sequence[DetectorConfig] | None, phase_one_rows: int
) -> Mapping[str, tuple[Assignment, ...]]:
    """Return assignments by family: the configured ones, or the built-in set where nothing is configured.

    Raises ConfigError that names the setting, its value and what is wrong with it.
    """
    if detectors is None:
        return {family: assigned(make_all(phase_one_rows)) for family, make_all in FAMILIES.items()}
    families: dict[str, list[Assignment]] = {}
    for i, wanted in enumerate(detectors):
        try:
            detector = make(wanted.detector, wanted.parameters)
        except ValueError as error:
            raise ConfigError(f"{setting}[{i}]: {error}") from error
        assignment = Assignment(detector, tuple(wanted.patterns), wanted.label)
        families.setdefault(family_of(detector.name), []).append(assignment)
    try:
        return {family: assigned(found) for family, found in families.items()}
    except ConfigError as error:
        raise ConfigError(f"{setting}: {error}") from error


def vector_of(config: VectorsConfig, families: Mapping[str, tuple[Assignment, ...]]) -> Vector:
    """Return the configured vector that these families judge. Raises ConfigError; see vector_of_families."""
    return vector_of_families(config.vector or "", families)


def vector_of_families(vector: str, families: Mapping[str, tuple[Assignment, ...]]) -> Vector:
    """Return the vector that these families judge: its characteristics are those of their models, in the same order.

    Raises ConfigError if there is no detector, one that judges single values, or two whose models differ in this.
    """
    found = {}
    for assignment in (each for family in families.values() for each in family):
        held = [getattr(assignment.detector, name, None) for name in ARTEFACTS]
        names = next((model.facts.get("names") for model in held if isinstance(model, Artefact)), None)
        if names is None or dimension(assignment.detector) is None:
            raise ConfigError(f"vectors.detectors: {assignment.name} does not judge vectors by a model with names")
        found[tuple(names)] = assignment.name
    if len(found) != 1:
        raise ConfigError(
            f"vectors.detectors: one model, or several of the same characteristics; got {len(found)} kinds"
        )
    return Vector(vector, next(iter(found)))


class Judging(NamedTuple):
    """What the product's pipelines judge by."""

    main: Mapping[str, tuple[Assignment, ...]]
    vectors: Mapping[str, tuple[Assignment, ...]]
    vector: Vector | None  # None: no pipeline of vectors runs


def vector_families(config: Config) -> Mapping[str, tuple[Assignment, ...]]:
    """Return what judges vectors, by family; nothing where no pipeline of vectors is configured. Raises ConfigError."""
    if config.vectors.vector is None:
        return {}
    return families_of("vectors.detectors", config.vectors.detectors, config.pipeline.phase_one_rows)


def judging_of(config: Config) -> Judging:
    """Return what the configuration says of both pipelines. Raises ConfigError."""
    rows = config.pipeline.phase_one_rows
    main = families_of("pipeline.detectors", config.pipeline.detectors, rows)
    for assignment in (each for family in main.values() for each in family):
        if dimension(assignment.detector) is not None:
            raise ConfigError(f"pipeline.detectors: {assignment.name} judges vectors: it belongs to vectors.detectors")
    vectors = vector_families(config)
    if config.vectors.vector is None:
        return Judging(main, {}, None)
    return Judging(main, vectors, vector_of(config.vectors, vectors))
