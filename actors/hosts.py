"""Where detector families run: in Ray actors of their own, or in the owner's process. The slot does not know which.

Work goes to every family at once; the batch is put into Ray's object store once and shared when it is large.
"""

from __future__ import annotations

import pickle
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple, Protocol

import ray
from ray.actor import ActorHandle
from ray.exceptions import RayError, RayTaskError
from ray.util import get_current_placement_group
from ray.util.scheduling_strategies import PlacementGroupSchedulingStrategy

from actors.calls import answer
from actors.detector_actor import DetectorActor
from actors.engine.family import FamilyFold, FamilyOutput, Work
from actors.engine.judge import Assignment
from actors.engine.state import Page
from actors.errors import ReopenError, StateError
from models.detector import Detector

START_TIMEOUT_S = 60.0  # of a detector actor: process, imports, compiled kernels
INLINE_BYTES_MAX = 100_000  # a larger batch goes through the object store, once for all families


class Opening(NamedTuple):
    """A partition as a family takes it over."""

    topic: str
    partition: int
    series: Sequence[str]
    pages: tuple[Page, ...]
    disabled: frozenset[str]


class Judged(NamedTuple):
    """What the families say of one round of steps."""

    outputs: dict[int, list[FamilyOutput]]  # by partition
    pages: dict[int, list[Page]]  # by partition, for those that were to be snapshot


class Hosts(Protocol):
    """The families of a slot."""

    def open(self, opening: Opening) -> tuple[str, ...]:
        """Open a partition in every family; return the detectors that start without state. Raises StateError."""
        ...

    def judge(self, works: Sequence[Work], snapshot: bool) -> Callable[[], Judged]:
        """Start one round of steps in every family; the returned call waits for it. Raises ReopenError."""
        ...

    def disable(self, partition: int, detector: str) -> None:
        """Switch a detector off, in a replay."""
        ...

    def drop(self, partition: int) -> None:
        """Forget a partition that is another slot's now, or is in quarantine."""
        ...

    def close(self) -> None:
        """Drop the families and their state."""
        ...


def _merge(works: Sequence[Work], rounds: Iterable[tuple[list[FamilyOutput], dict[int, list[Page]]]]) -> Judged:
    judged = Judged({work.partition: [] for work in works}, {})
    for outputs, pages in rounds:
        for work, output in zip(works, outputs, strict=True):
            judged.outputs[work.partition].append(output)
        for partition, copied in pages.items():
            judged.pages.setdefault(partition, []).extend(copied)
    return judged


class InOwner:
    """Families in the calling process: fastest on a small machine."""

    def __init__(
        self, pipeline: str, families: Mapping[str, tuple[Detector | Assignment, ...]], clean_rows: int
    ) -> None:
        self._folds = [FamilyFold(pipeline, family, detectors, clean_rows) for family, detectors in families.items()]
        for fold in self._folds:
            fold.warm()

    def open(self, opening: Opening) -> tuple[str, ...]:
        """Open a partition in every family."""
        return tuple(name for fold in self._folds for name in fold.open(*_for_family(opening, fold.family)))

    def judge(self, works: Sequence[Work], snapshot: bool) -> Callable[[], Judged]:
        """Step every family, now."""
        judged = _merge(works, [fold.run(works, snapshot) for fold in self._folds])
        return lambda: judged

    def disable(self, partition: int, detector: str) -> None:
        """Switch a detector off."""
        for fold in self._folds:
            fold.disable(partition, detector)

    def drop(self, partition: int) -> None:
        """Forget a partition."""
        for fold in self._folds:
            fold.drop(partition)

    def close(self) -> None:
        """Drop the families."""
        self._folds = []


class InActors:
    """Each family in a Ray actor, in the owner's placement group: same node, other cores."""

    def __init__(
        self,
        pipeline: str,
        slot: int,
        families: Mapping[str, tuple[Detector | Assignment, ...]],
        clean_rows: int,
        cpus: float,
        step_timeout_s: float,
    ) -> None:
        self._step_timeout_s = step_timeout_s  # of any one call of an actor
        group = get_current_placement_group()
        strategy = PlacementGroupSchedulingStrategy(group) if group else "DEFAULT"
        self._actors: dict[str, ActorHandle[Any]] = {
            family: DetectorActor.options(  # type: ignore[attr-defined]
                num_cpus=cpus, scheduling_strategy=strategy, max_restarts=0, max_task_retries=0
            ).remote(pipeline, slot, family, detectors, clean_rows)
            for family, detectors in families.items()
        }
        self._get([actor.ready.remote() for actor in self._actors.values()], START_TIMEOUT_S)

    def open(self, opening: Opening) -> tuple[str, ...]:
        """Open a partition in every family."""
        calls = [actor.open.remote(*_for_family(opening, family)) for family, actor in self._actors.items()]
        return tuple(name for names in self._get(calls, self._step_timeout_s) for name in names)

    def judge(self, works: Sequence[Work], snapshot: bool) -> Callable[[], Judged]:
        """Send the round to every family; the returned call waits for all."""
        packed = pickle.dumps(list(works), protocol=5)
        argument = ray.put(packed) if len(packed) > INLINE_BYTES_MAX else packed
        calls = [actor.judge.remote(argument, snapshot) for actor in self._actors.values()]
        del argument
        return lambda: _merge(works, self._get(calls, self._step_timeout_s))

    def disable(self, partition: int, detector: str) -> None:
        """Switch a detector off."""
        self._get([actor.disable.remote(partition, detector) for actor in self._actors.values()], self._step_timeout_s)

    def drop(self, partition: int) -> None:
        """Forget a partition."""
        self._get([actor.drop.remote(partition) for actor in self._actors.values()], self._step_timeout_s)

    def close(self) -> None:
        """End the actors; their state is in the log."""
        for actor in self._actors.values():
            ray.kill(actor)
        self._actors = {}

    def pids(self) -> dict[str, int]:
        """Return the process id of each family's actor."""
        return dict(zip(self._actors, self._get([a.pid.remote() for a in self._actors.values()], 5.0), strict=True))

    def _get(self, calls: list[Any], timeout_s: float) -> list[Any]:
        try:
            return list(answer(calls, timeout_s))
        except RayTaskError as error:
            if isinstance(error.cause, StateError):
                raise error.cause from error
            raise ReopenError(f"a detector actor failed: {error}") from error
        except RayError as error:
            raise ReopenError(f"a detector actor is gone or slow: {error}") from error


def _for_family(opening: Opening, family: str) -> tuple[str, int, Sequence[str], tuple[Page, ...], frozenset[str]]:
    pages = tuple(page for page in opening.pages if page.family == family)
    return opening.topic, opening.partition, opening.series, pages, opening.disabled
