"""What is asked of a backtest, and what becomes of it when the topic has been looked at.

A plan is whole before anything is judged: labels are read, the detector is made, every partition has its offsets. What cannot be
done is refused here, with a sentence that says what can be.
"""

from __future__ import annotations

import importlib
import inspect
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from actors.backtest import TOPICS
from actors.engine.arrivals import Arrivals
from actors.engine.judge import Assignment, assigned
from actors.errors import ConfigError
from actors.kafka.changes import Changes
from actors.kafka.client import Cluster
from actors.kafka.consumer import Offsets
from actors.packages import PackageRefused, PackageStore, read_package
from actors.packages.examine import examine
from actors.pipeline import Pipeline, Vector
from actors.stretch import Stretch
from cluster.backtest.labels import Label, read_labels
from cluster.config import VectorsConfig
from cluster.detectors import vector_of
from cluster.operations.bounds import EARLIEST, LATEST, Bound
from cluster.operations.errors import Absent, Invalid, shown
from cluster.operations.replay import located
from models.catalogue import family_of, make, plain
from models.detector import Detector, dimension, identity

NAME = "backtest"  # of the pipeline that judges, which nobody sees
PARAMETERS_CHARS_MAX = 100_000
_OURS = frozenset({"schemas", "models", "actors", "cluster"})


@dataclass(frozen=True)
class Wish:
    """What somebody asks for. Plain values: it travels as it is."""

    target: str  # "module:Class", or a name of the catalogue
    topic: str
    since: Bound = EARLIEST
    until: Bound = LATEST
    warm_from: Bound | None = None  # where the fold begins; None: at `since`
    parameters: Mapping[str, Any] | None = None
    series: tuple[str, ...] = ("*",)  # patterns of those that are judged
    labels: str | None = None  # path
    vector: str | None = None  # of a topic of vectors: which of them
    missed_cost: float = 10.0
    package: str | None = None  # path; `target` is then one of its entry points, or a class in it
    store: str | None = None  # where packages are kept (actors/packages/store.py)


@dataclass(frozen=True)
class BacktestPlan:
    """What is judged, and what it is measured against."""

    wish: Wish
    pipeline: Pipeline  # its log shows the stretch
    since: Mapping[int, int]  # where partitions begin to be told; those without a record are left out
    labels: tuple[Label, ...]

    @property
    def stretch(self) -> Stretch:
        """Return the stretch that is folded."""
        found = self.pipeline.log
        assert isinstance(found, Stretch)  # noqa: S101 - for mypy
        return found

    @property
    def assignment(self) -> Assignment:
        """Return what is measured: the only assignment."""
        (family,) = self.pipeline.families.values()
        return assigned(family)[0]

    @property
    def records(self) -> int:
        """Return how many offsets are folded."""
        return sum(self.stretch.until[partition] - self.stretch.starts[partition] for partition in self.since)

    def told(self) -> dict[str, Any]:
        """Return what a report says of it."""
        detector = self.assignment.detector
        return {
            "target": self.wish.target,
            "detector": identity(detector),
            "label": self.assignment.name,
            "parameters": dict(self.wish.parameters or {}),
            "series": list(self.wish.series),
            "topic": self.pipeline.input_topic,
            "code_version": self.pipeline.code_version,
            "labels": self.wish.labels,
            "partitions": [
                {
                    "partition": partition,
                    "warm_from": self.stretch.starts[partition],
                    "from": since,
                    "to": self.stretch.until[partition],
                }
                for partition, since in sorted(self.since.items())
            ],
        }


def parameters_of(text: str | None) -> dict[str, Any]:
    """Return parameters given as JSON. Raises Invalid."""
    if not text:
        return {}
    try:
        found = json.loads(text[:PARAMETERS_CHARS_MAX])
    except ValueError as error:
        raise Invalid(f"--parameters is no JSON: {error}") from None
    if not isinstance(found, dict):
        raise Invalid('--parameters must be a JSON object, e.g. {"limit": 5.0}')
    return found


def detector_of(target: str, parameters: Mapping[str, Any]) -> Detector:
    """Return the detector that a person names: a built-in one, or a class that can be imported here. Raises Invalid."""
    if ":" not in target:
        try:
            return make(target, parameters)
        except ValueError as error:
            raise Invalid(f"{error}; a detector of yours is named MODULE:CLASS") from error
    module, _, name = target.partition(":")
    try:
        found = getattr(importlib.import_module(module), name, None)
    except ModuleNotFoundError as error:
        raise Invalid(f"{shown(target)}: {error}: install it, or say PYTHONPATH") from error
    except Exception as error:  # a module of somebody else may raise anything
        raise Invalid(f"{shown(target)}: importing it raises {type(error).__name__}: {error}") from error
    if not inspect.isclass(found):
        raise Invalid(f"{shown(target)}: {module} has no class {shown(name)}")
    try:
        made = found(**{given: plain(target, given, value) for given, value in parameters.items()})
    except Exception as error:
        raise Invalid(f"{shown(target)}: making it raises {type(error).__name__}: {error}") from error
    if not isinstance(made, Detector):
        raise Invalid(f"{shown(target)} is no detector: see models/detector.py for what one has")
    return made


def _detector(wish: Wish) -> Detector:
    """Return the detector; of a package what stands for it, which every process that judges loads for itself."""
    given = wish.parameters or {}
    if wish.package is None:
        return detector_of(wish.target, given)
    package, store = read_package(wish.package), PackageStore(wish.store or "")
    examined = examine(store, store.put(package.data), package.target_of(wish.target), given)  # its code runs elsewhere
    if examined.packaged is None or not examined.ok:
        failure = examined.failure
        raise PackageRefused(*(("it cannot be loaded", "") if failure is None else (failure.reason, failure.traceback)))
    return examined.packaged


def own_module(wish: Wish) -> Path | None:
    """Return the file or folder of a detector's top-level module, if it is neither ours nor installed: it has to travel."""
    top = wish.target.partition(":")[0].partition(".")[0]
    if ":" not in wish.target or top in _OURS or wish.package is not None:
        return None
    module = importlib.import_module(top)
    where = Path(module.__file__) if module.__file__ else Path(next(iter(module.__path__)))
    where = where.parent if where.name == "__init__.py" else where
    return None if {"site-packages", "dist-packages"} & set(where.parts) else where


def plan_of(wish: Wish, cluster: Cluster, vectors: VectorsConfig, arrivals: Arrivals) -> BacktestPlan:
    """Look at the topic, and plan. `vectors`, `arrivals`: as configured. Raises Refused, ConfigError, ReopenError."""
    if not 0 <= wish.missed_cost <= 1e9:
        raise Invalid(f"a missed label costs {wish.missed_cost:g}; it must be 0 to 1e9")
    if wish.until.edge == "earliest" or wish.since.edge == "latest":
        raise Invalid(
            "a stretch begins at the earliest, an offset or a time, and ends at the latest, an offset or a time"
        )
    detector = _detector(wish)
    labels = read_labels(Path(wish.labels)) if wish.labels else ()
    families = {family_of(detector.name): assigned([Assignment(detector, wish.series)])}
    changes = Changes(cluster.bootstrap_servers, cluster.client)
    partitions = changes.partitions(wish.topic)
    if not partitions:
        raise Absent(f"there is no topic {shown(wish.topic)}; `chipquality topics list` shows them")
    pipeline = Pipeline(
        name=NAME,
        cluster=cluster,
        input_topic=wish.topic,
        partitions=tuple(partitions),
        topics=TOPICS,
        families=families,
        schema_ids={},
        vector=_vector(wish, detector, vectors, families),
        hosting="owner",
        arrivals=arrivals,
    )
    offsets = Offsets(cluster)
    low = offsets.first(wish.topic, partitions)
    high = offsets.end(wish.topic, partitions, committed=True)  # what an open transaction has written is not there yet
    bounds = {partition: (low[partition], high[partition]) for partition in partitions}
    since = _begins(wish.since, "--from", pipeline, changes, bounds)
    ends = _ends(wish.until, pipeline, changes, bounds)
    starts = since if wish.warm_from is None else _begins(wish.warm_from, "--warm-from", pipeline, changes, bounds)
    told = {partition: at for partition, at in since.items() if at < ends[partition]}
    if not told:
        held = ", ".join(f"{partition}: {first} to {end}" for partition, (first, end) in sorted(bounds.items()))
        raise Invalid(f"nothing of {wish.topic} is in that stretch; its partitions hold {held}"[:2_000])
    starts = {partition: min(starts[partition], at) for partition, at in told.items()}
    ends = {partition: ends[partition] for partition in told}
    return BacktestPlan(wish, replace(pipeline, log=Stretch(wish.topic, starts, ends)), told, labels)


def _vector(
    wish: Wish, detector: Detector, vectors: VectorsConfig, families: Mapping[str, Sequence[Assignment]]
) -> Vector | None:
    if dimension(detector) is None:
        return None
    name = wish.vector or vectors.vector
    if name is None:
        raise Invalid(f"{detector.name} judges vectors: say which of {wish.topic} with --vector")
    try:
        asked = vectors.model_copy(update={"vector": name})
        return vector_of(asked, {family: tuple(found) for family, found in families.items()})
    except ConfigError as error:
        raise Invalid(str(error)) from error


def _begins(
    bound: Bound, option: str, pipeline: Pipeline, changes: Changes, bounds: Mapping[int, tuple[int, int]]
) -> dict[int, int]:
    """Return where each partition begins; its end where it has nothing so late. Raises Invalid for what is not retained."""
    found = located(pipeline.cluster, changes, pipeline, bound, bounds)
    begins, gone = {}, []
    for partition, (low, high) in bounds.items():
        asked = low if bound.edge else _named(bound, partition, found)
        begins[partition] = high if asked is None else min(asked, high)
        if asked is not None and asked < low:
            gone.append(f"{partition} (from {low} on)")
    if gone:
        raise Invalid(
            f"{option}: offset {bound.offset} is not retained any more in partition {', '.join(gone)}: "
            "say a later one, a time, or earliest"
        )
    return begins


def _ends(bound: Bound, pipeline: Pipeline, changes: Changes, bounds: Mapping[int, tuple[int, int]]) -> dict[int, int]:
    found = located(pipeline.cluster, changes, pipeline, bound, bounds)
    ends = {}
    for partition, (_, high) in bounds.items():
        asked = None if bound.edge else _named(bound, partition, found)
        ends[partition] = high if asked is None else min(asked, high)
    return ends


def _named(bound: Bound, partition: int, found: Mapping[int, int | None]) -> int | None:
    """Return the offset that a bound names; None: beyond what there is."""
    timed = bound.time_ms is not None or bound.event_time_ms is not None
    return found.get(partition) if timed else bound.at(partition)
