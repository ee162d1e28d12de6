"""Where detector families run: in Ray actors of their own, or in the owner's process. The slot does not know which.

Work goes to every family at once; the batch is put into Ray's object store once and shared when it is large.
"""

from __future__ import annotations

import logging
import pickle
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple, Protocol
from uuid import uuid4

import ray
from ray.actor import ActorHandle
from ray.exceptions import GetTimeoutError, RayActorError, RayError, RayTaskError
from ray.util import get_current_placement_group
from ray.util.scheduling_strategies import PlacementGroupSchedulingStrategy

from actors.calls import answer
from actors.deal import Seat
from actors.detector_actor import DetectorActor
from actors.engine.family import FamilyFold, FamilyOutput, Work
from actors.engine.judge import Assignment
from actors.engine.state import Page
from actors.errors import ReopenError, StateError
from actors.names import NAMESPACE
from models.detector import Detector

_LOG = logging.getLogger("chipquality.slot")

START_TIMEOUT_S = 60.0  # of a detector actor: process, imports, compiled kernels
RESET_TIMEOUT_S = 3.0  # for an actor that was there to answer; one that hangs is replaced
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
    """The families of a slot; they outlive it. `reset` before a slot opens partitions in them."""

    def reset(self) -> None:
        """Be there, without any partition. Raises ReopenError."""
        ...

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

    def reset(self) -> None:
        """Forget all partitions."""
        for fold in self._folds:
            fold.clear()

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
    """Each family in a Ray actor, in the owner's placement group: same node, other cores.

    The actors outlive the slot and, where they belong to a placement group, their owner's process: a process that imports Ray,
    numba and our kernels costs two seconds of a core, so an owner that comes back finds them by name. They end with the
    placement group. Every `reset` has an epoch of its own, which each call names: what a dead owner has sent is not obeyed.
    """

    def __init__(
        self,
        pipeline: str,
        seat: Seat,
        families: Mapping[str, tuple[Detector | Assignment, ...]],
        clean_rows: int,
        cpus: float,
        step_timeout_s: float,
    ) -> None:
        self.pipeline = pipeline
        self.seat = seat
        self.families = families
        self.clean_rows = clean_rows
        self._cpus = cpus
        self._step_timeout_s = step_timeout_s  # of any one call of an actor
        self._epoch = ""
        self._actors: dict[str, ActorHandle[Any]] = {}

    def reset(self) -> None:
        """Have an actor for every family, without partitions: those that are there and answer, new ones for the others.

        Raises ReopenError if one does not come up in time.
        """
        self._epoch = uuid4().hex
        deadline = time.monotonic() + START_TIMEOUT_S
        missing = list(self.families)
        while missing:
            if time.monotonic() > deadline:
                raise ReopenError(f"no detector actor for {', '.join(missing)} within {START_TIMEOUT_S:.0f} s")
            before = dict(self._actors)
            for family in missing:
                self._actors.setdefault(family, self._find_or_start(family))
            calls = {family: self._actors[family].reset.remote(self._epoch) for family in missing}
            missing = [family for family in missing if not self._answers(calls[family], new=family not in before)]
            for family in missing:
                ray.kill(self._actors.pop(family))

    def _find_or_start(self, family: str) -> ActorHandle[Any]:
        group = get_current_placement_group()
        actor: ActorHandle[Any] = DetectorActor.options(  # type: ignore[attr-defined]
            name="detector:{}:{}:{}:{}".format(self.pipeline, *self.seat, family),
            namespace=NAMESPACE,
            lifetime="detached" if group else None,
            get_if_exists=True,
            num_cpus=self._cpus,
            scheduling_strategy=PlacementGroupSchedulingStrategy(group) if group else "DEFAULT",
            max_restarts=0,
            max_task_retries=0,
        ).remote(self.pipeline, self.seat.slot, family, self.families[family], self.clean_rows)
        return actor

    def _answers(self, call: Any, *, new: bool) -> bool:
        """Say whether an actor has been reset; one that was just started, or found, has the time of a start."""
        try:
            answer(call, START_TIMEOUT_S if new else RESET_TIMEOUT_S)
        except (RayActorError, GetTimeoutError) as error:
            _LOG.warning("slot %d of %s: a detector actor is replaced: %s", self.seat.slot, self.pipeline, error)
            return False
        return True

    def open(self, opening: Opening) -> tuple[str, ...]:
        """Open a partition in every family."""
        calls = [
            actor.open.remote(self._epoch, *_for_family(opening, family)) for family, actor in self._actors.items()
        ]
        return tuple(name for names in self._get(calls) for name in names)

    def judge(self, works: Sequence[Work], snapshot: bool) -> Callable[[], Judged]:
        """Send the round to every family; the returned call waits for all."""
        packed = pickle.dumps(list(works), protocol=5)
        argument = ray.put(packed) if len(packed) > INLINE_BYTES_MAX else packed
        calls = [actor.judge.remote(self._epoch, argument, snapshot) for actor in self._actors.values()]
        del argument
        return lambda: _merge(works, self._get(calls))

    def disable(self, partition: int, detector: str) -> None:
        """Switch a detector off."""
        self._get([actor.disable.remote(self._epoch, partition, detector) for actor in self._actors.values()])

    def drop(self, partition: int) -> None:
        """Forget a partition."""
        self._get([actor.drop.remote(self._epoch, partition) for actor in self._actors.values()])

    def close(self) -> None:
        """End the actors; their state is in the log."""
        for actor in self._actors.values():
            ray.kill(actor)
        self._actors = {}

    def pids(self) -> dict[str, int]:
        """Return the process id of each family's actor."""
        return dict(zip(self._actors, self._get([a.pid.remote() for a in self._actors.values()], 5.0), strict=True))

    def _get(self, calls: list[Any], timeout_s: float | None = None) -> list[Any]:
        try:
            return list(answer(calls, timeout_s or self._step_timeout_s))
        except RayTaskError as error:
            if isinstance(error.cause, StateError):
                raise error.cause from error
            raise ReopenError(f"a detector actor failed: {error}") from error
        except RayError as error:
            raise ReopenError(f"a detector actor is gone or slow: {error}") from error


def _for_family(opening: Opening, family: str) -> tuple[str, int, Sequence[str], tuple[Page, ...], frozenset[str]]:
    pages = tuple(page for page in opening.pages if page.family == family)
    return opening.topic, opening.partition, opening.series, pages, opening.disabled
