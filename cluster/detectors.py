"""From the configuration to detector families: which detectors a pipeline runs, and which series each of them judges."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from actors.engine.judge import Assignment, assigned
from actors.errors import ConfigError
from cluster.config import DetectorConfig
from models.builtin import FAMILIES
from models.catalogue import family_of, make


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
