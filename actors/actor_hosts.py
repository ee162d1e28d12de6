"""Detector families in Ray actors of their own: same node as their owner, other cores.

Work goes to every family at once; the batch is put into Ray's object store once and shared when it is large.
"""

from __future__ import annotations

import logging
import pickle
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any
from uuid import uuid4

import ray
from ray.actor import ActorHandle
from ray.exceptions import GetTimeoutError, RayActorError, RayError, RayTaskError
from ray.util import get_current_placement_group
from ray.util.scheduling_strategies import PlacementGroupSchedulingStrategy

from actors.calls import answer
from actors.deal import Seat
from actors.detector_actor import DetectorActor
from actors.engine.family import Work
from actors.engine.judge import Assignment
from actors.errors import ReopenError, StateError
from actors.hosts import Judged, Opening, for_family, merge
from actors.names import NAMESPACE
from models.detector import Detector

_LOG = logging.getLogger("chipquality.slot")

START_TIMEOUT_S = 60.0  # of a detector actor: process, imports, compiled kernels
RESET_TIMEOUT_S = 3.0  # for an actor that was there to answer; one that hangs is replaced
INLINE_BYTES_MAX = 100_000  # a larger batch goes through the object store, once for all families


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
        calls = [actor.open.remote(self._epoch, *for_family(opening, family)) for family, actor in self._actors.items()]
        return tuple(name for names in self._get(calls) for name in names)

    def judge(self, works: Sequence[Work], snapshot: bool) -> Callable[[], Judged]:
        """Send the round to every family; the returned call waits for all."""
        packed = pickle.dumps(list(works), protocol=5)
        argument = ray.put(packed) if len(packed) > INLINE_BYTES_MAX else packed
        calls = [actor.judge.remote(self._epoch, argument, snapshot) for actor in self._actors.values()]
        del argument
        return lambda: merge(works, self._get(calls))

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
