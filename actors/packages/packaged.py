"""A detector of a package, without its code: what owners, supervisors and the API hold in place of it.

Theory of operation
-------------------
Somebody's code runs in its detector process and nowhere else. All others need to know of a detector what it says of itself:
name, version, state, statistics, rules, identity. `Packaged` has that, and where the code is; it stands wherever a detector
may stand. Judges, state tables and snapshots are made of it as of the detector itself, and `models.detector.identity` says
the same of both. Only `update` is not there. A detector process asks for the real ones (`resolve`) before it makes its
fold.

What a package says of itself was found when it was examined. When it is loaded, it must say the same, or it is refused: its
state would be read by another one.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from actors.engine.judge import Assignment
from actors.errors import ConfigError
from actors.packages import describing
from actors.packages.cache import cache_folder
from actors.packages.errors import PackageRefused
from actors.packages.loading import installed, load, unpacked
from actors.packages.package import Package
from actors.packages.store import PackageStore
from models.detector import Column, Description, Detector, Rule

if TYPE_CHECKING:
    from pathlib import Path

    import numpy as np

    from models.detector import SeriesBatch, Verdicts


@dataclass(frozen=True, eq=False)
class Packaged:
    """Stands for a detector: its description, and where its code is."""

    store: str  # URL
    digest: str  # of the package
    target: str  # "module:Class"
    given: Mapping[str, Any]  # the parameters it is made with, as JSON has them; {"artefact": digest} is a fitted model
    described: Description

    @property
    def name(self) -> str:
        """Say what it is."""
        return self.described.name

    @property
    def version(self) -> int:
        """Return its version."""
        return self.described.version

    @property
    def state(self) -> Mapping[str, Column]:
        """Return its state columns."""
        return self.described.state

    @property
    def statistics(self) -> tuple[str, ...]:
        """Return the names of its statistics."""
        return self.described.statistics

    @property
    def rules(self) -> tuple[Rule, ...]:
        """Return its rules."""
        return self.described.rules

    @property
    def dimension(self) -> int | None:
        """Return the p of a detector of vectors."""
        return self.described.dimension

    @property
    def cut_dependent(self) -> bool:
        """Tell whether its last bits depend on the batch."""
        return self.described.cut_dependent

    @property
    def identity(self) -> str:
        """Return the identity of the detector that this stands for."""
        return self.described.identity

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Packaged) and other.to_json() == self.to_json()

    def __hash__(self) -> int:
        return hash((self.digest, self.target, self.identity))

    def update(self, state: Mapping[str, np.ndarray], batch: SeriesBatch) -> Verdicts:
        """Refuse: the code is elsewhere."""
        raise PackageRefused(
            f"{self.identity} judges by code of package {self.digest[:12]}, which runs in a detector process only"
        )

    def load(self, cache: Path | None = None) -> Detector:
        """Return the detector itself: its code is fetched, unpacked and run **in this process**. Raises PackageRefused."""
        detector = load(PackageStore(self.store), self.digest, self.target, self.given, cache)
        found = describing.to_json(Description.of(detector))
        said = describing.to_json(self.described)
        if found != said:
            differs = ", ".join(sorted(part for part in said if found[part] != said[part]))
            raise PackageRefused(
                f"package {self.digest[:12]}: {self.target} says another {differs} of itself than when it was examined"
            )
        return detector

    def to_json(self) -> dict[str, Any]:
        """Return it as plain JSON."""
        return {
            "store": self.store,
            "digest": self.digest,
            "target": self.target,
            "parameters": json.loads(json.dumps(dict(self.given))),
            "description": describing.to_json(self.described),
        }

    @classmethod
    def of_json(cls, said: Mapping[str, Any]) -> Packaged:
        """Read what `to_json` gave. Raises PackageRefused."""
        try:
            parts = str(said["store"]), str(said["digest"]), str(said["target"]), dict(said["parameters"])
            return cls(*parts, describing.of_json(said["description"]))
        except (KeyError, TypeError, ValueError) as error:
            if isinstance(error, PackageRefused):
                raise
            raise PackageRefused(f"not a detector of a package: {error!r}") from error


def resolve(detectors: Iterable[Detector | Assignment]) -> tuple[Detector | Assignment, ...]:
    """Return the detectors with those of packages loaded into this process. Raises PackageRefused."""
    return tuple(replace_detector(each) if isinstance(each, Assignment) else _loaded(each) for each in detectors)


def prepare(detectors: Iterable[Detector | Assignment]) -> None:
    """Fetch, unpack and install on this node what is needed to load these; runs none of their code. Raises PackageRefused."""
    for each in packaged_in(detectors):
        package = Package.get(PackageStore(each.store), each.digest)
        unpacked(package, cache_folder())
        installed(package.requires, cache_folder())


def replace_detector(assignment: Assignment) -> Assignment:
    """Return the assignment with its detector loaded, if that is of a package. Raises PackageRefused."""
    return assignment._replace(detector=_loaded(assignment.detector))


def packaged_in(detectors: Iterable[Detector | Assignment]) -> list[Packaged]:
    """Return those that are of packages."""
    every = (each.detector if isinstance(each, Assignment) else each for each in detectors)
    return [each for each in every if isinstance(each, Packaged)]


def check_hosting(families: Iterable[Iterable[Detector | Assignment]], *, hosted_apart: bool) -> None:
    """Raise ConfigError if there are detectors of packages that would run in an owner, or in a process without limits."""
    found = [each.identity for family in families for each in packaged_in(family)]
    if found and not hosted_apart:
        raise ConfigError(
            f"detectors of packages run in processes of their own: {', '.join(found)} need hosting 'actor' and a guest's limits"
        )


def _loaded(detector: Detector) -> Detector:
    return detector.load() if isinstance(detector, Packaged) else detector
