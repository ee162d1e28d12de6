"""Detector families in Ray actors of their own: same node as their owner, other cores.

Theory of operation
-------------------
A process that imports Ray, numba and our kernels costs more than a second of a core, and several seconds beside load. So whoever
needs one finds one that is there already:

- The actors outlive the slot and, where they belong to a placement group, their owner's process; they end with that group. They
  are named by number, `detector:{pipeline}:{slot}:{incarnation}:{k}`, with k from 0 to the number of families: one for each,
  and a spare. Which family an actor has only it knows, and says in its answer to `reset`: an owner that comes back asks all
  that have such a name, and families stay where they are.
- The spare has the kernels of all families loaded. A family that is lost goes to it at once; any actor without a family is one.
- A new spare is started behind the back of the slot, when that has been live for a while, on a thread of its own: creating a
  named actor asks Ray's head, which may be away. Whatever comes of it, the slot does not wait for it, and does not hear of it.

Every `reset` has an epoch of its own, which each later call names. What a dead owner has sent is not obeyed, `take` included: two
owners of a seat cannot give an actor two families, and an actor whose family another one has already counts as a spare.

Work goes to every family at once; the batch is put into Ray's object store once and shared when it is large.
"""

from __future__ import annotations

import logging
import pickle
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import count
from typing import Any, NamedTuple
from uuid import uuid4

import ray
from ray.actor import ActorHandle
from ray.exceptions import GetTimeoutError, RayActorError, RayError, RayTaskError
from ray.util import get_current_placement_group
from ray.util.scheduling_strategies import PlacementGroupSchedulingStrategy

from actors.calls import answer
from actors.deal import Seat
from actors.detector_actor import SPARE, DetectorActor
from actors.engine.family import Work
from actors.engine.judge import Assignment
from actors.errors import GuestFailed, ReopenError, StateError
from actors.hosts import Judged, Opening, for_family, merge
from actors.names import NAMESPACE
from actors.packages.errors import PackageRefused
from actors.packages.limits import Guest
from actors.packages.watching import load_limit_s
from models.detector import Detector

_LOG = logging.getLogger("chipquality.slot")

START_TIMEOUT_S = 60.0  # of a detector actor: process, imports, compiled kernels
RESET_TIMEOUT_S = 3.0  # for an actor that was there to answer; one that hangs is replaced
SPARE_AFTER_S = (
    5.0  # from the first live step of slot 0 to the start of its spare: first it catches up; one slot after the other
)
SPARE_ASK_S = 5.0  # between two questions to the spare whether it is there
SPARE_PAUSE_MAX_S = 300.0  # between two attempts to have one, which are further apart after every failure
INLINE_BYTES_MAX = 100_000  # a larger batch goes through the object store, once for all families


@dataclass(eq=False)
class _Member:
    """An actor of the crew."""

    number: int  # in its name
    handle: ActorHandle[Any]
    family: str | None = None  # which it has, or is to have; SPARE: none; None: it has not said yet
    pid: int = 0  # 0: it has not answered yet, so it may be starting
    epoch: str = ""  # in which it has said that it has the family


class Cast(NamedTuple):
    """Which actors a seat has."""

    pipeline: str
    seat: Seat
    families: Mapping[str, tuple[Detector | Assignment, ...]]
    clean_rows: int
    cpus: float  # of an actor that is started for a family; a spare has none
    guest: Guest | None = None  # how processes with somebody's code are held


class _Crew:
    """The actors of a seat: one for every family, and a spare. Only its keeper of the spare is on another thread."""

    def __init__(self, cast: Cast) -> None:
        self._cast = cast
        self._families = cast.families
        self._start_timeout_s = START_TIMEOUT_S + (0.0 if cast.guest is None else load_limit_s(cast.guest.limits))
        self._members: dict[int, _Member] = {}  # by number
        self._lock = threading.Lock()  # of _members and of who of them is a spare: the keeper is on another thread
        self._closed = False
        self._keeper: threading.Thread | None = None
        self._tend_at: float | None = None  # None: the slot has not been live since it was opened
        self._pause_s = SPARE_ASK_S

    # ---- an actor for every family

    def assemble(self, epoch: str) -> dict[str, _Member]:
        """Have an actor for every family that obeys this epoch, and return them in the order of the families.

        Raises ReopenError if one does not come up in time, RayError if Ray's head does not answer.
        """
        deadline = time.monotonic() + self._start_timeout_s
        self._hear(epoch, self._known() or self._find())
        while missing := [family for family in self._families if family not in self._holders(epoch)]:
            if time.monotonic() > deadline:
                raise ReopenError(f"no detector actor for {', '.join(missing)} within {self._start_timeout_s:.0f} s")
            self._give(epoch, missing)
        holders = self._holders(epoch)
        self._tend_at = None
        return {family: holders[family] for family in self._families}

    def _known(self) -> list[_Member]:
        with self._lock:
            return list(self._members.values())

    def _find(self) -> list[_Member]:
        """Find those that an owner before us has started."""
        for number in range(len(self._families) + 1):
            try:
                handle = ray.get_actor(self._name(number), NAMESPACE)
            except ValueError:
                continue
            with self._lock:
                self._members.setdefault(number, _Member(number, handle))
        return self._known()

    def _holders(self, epoch: str) -> dict[str, _Member]:
        return {member.family: member for member in self._known() if member.family and member.epoch == epoch}

    def _hear(self, epoch: str, members: Sequence[_Member]) -> None:
        """Reset these, and wait until every family has said that it is there, or all have answered. Nobody waits for a spare."""
        asked = [member for member in members if member.family != SPARE]
        calls: dict[Any, _Member] = {member.handle.reset.remote(epoch): member for member in asked}
        patience_s = RESET_TIMEOUT_S if all(member.pid for member in asked) else self._start_timeout_s
        until = time.monotonic() + patience_s
        while calls and len(self._holders(epoch)) < len(self._families) and time.monotonic() < until:
            for call in ray.wait(list(calls), timeout=max(0.0, until - time.monotonic()))[0]:
                self._heard(epoch, calls.pop(call), call)
        complete = len(self._holders(epoch)) == len(self._families)
        for member in calls.values():
            if complete:
                member.family = SPARE  # a spare that is starting, and has not said so yet
            else:
                self._dismiss(member, f"no answer in {patience_s:.0f} s")

    def _heard(self, epoch: str, member: _Member, call: Any) -> None:
        try:
            family, member.pid = answer(call, RESET_TIMEOUT_S)
        except RayActorError as error:
            self._dismiss(member, error)
            return
        held = self._holders(epoch)
        with self._lock:
            member.family = family if family in self._families and family not in held else SPARE
            member.epoch = epoch

    def _give(self, epoch: str, families: Sequence[str]) -> None:
        """Give each of these to a spare, or to a new actor if there is none; dismiss those that do not answer."""
        calls: list[tuple[_Member, Any]] = []
        for family in families:
            member = self._spare(family) or self._start(family)
            member.handle.reset.remote(epoch)
            calls.append((member, member.handle.take.remote(epoch, family)))
        for member, call in calls:
            try:
                member.pid = answer(call, RESET_TIMEOUT_S if member.pid else self._start_timeout_s)
            except (RayActorError, GetTimeoutError) as error:
                self._dismiss(member, error)
            except RayTaskError as error:
                raise self._refused(member, error) from error
            else:
                member.epoch = epoch

    def _refused(self, member: _Member, error: RayTaskError) -> Exception:
        """Return what to raise for an actor that has no detectors, because their package cannot be loaded."""
        if not isinstance(error.cause, PackageRefused):
            return error
        self._dismiss(member, error.cause)  # the next opening has a new one try
        return GuestFailed("\n".join(filter(None, (str(error.cause), error.cause.detail))))

    def _spare(self, family: str) -> _Member | None:
        """Return a spare, which is none any more unless `family` is SPARE; one that runs before one that starts."""
        with self._lock:
            spares = [member for member in self._members.values() if member.family == SPARE]
            spare = max(spares, key=lambda member: member.pid > 0, default=None)
            if spare is not None:
                spare.family = family
        return spare

    def _start(self, family: str) -> _Member:
        """Start an actor with a free number; if the keeper has just done so, it is that one."""
        with self._lock:
            number = next(k for k in count() if k not in self._members)
        group = get_current_placement_group()
        actor: ActorHandle[Any] = DetectorActor.options(  # type: ignore[attr-defined]
            name=self._name(number),
            namespace=NAMESPACE,
            lifetime="detached" if group else None,
            get_if_exists=True,
            num_cpus=0 if family == SPARE else self._cast.cpus,
            scheduling_strategy=PlacementGroupSchedulingStrategy(group) if group else "DEFAULT",
            max_restarts=0,
            max_task_retries=0,
            runtime_env=self._cast.guest and self._cast.guest.runtime_env(),
        ).remote(
            self._cast.pipeline,
            self._cast.seat.slot,
            number,
            family,
            self._families,
            self._cast.clean_rows,
            self._cast.guest,
        )
        with self._lock:
            member = self._members.setdefault(number, _Member(number, actor, family))
            if family != SPARE:
                member.family = family
        return member

    def _name(self, number: int) -> str:
        return "detector:{}:{}:{}:{}".format(self._cast.pipeline, *self._cast.seat, number)

    def _dismiss(self, member: _Member, why: object) -> None:
        _LOG.warning(
            "slot %d of %s: detector actor %d is replaced: %s",
            self._cast.seat.slot,
            self._cast.pipeline,
            member.number,
            why,
        )
        with self._lock:
            if self._members.get(member.number) is member:
                del self._members[member.number]
        ray.kill(member.handle)

    # ---- the spare

    def tend(self) -> None:
        """See to it from time to time that there is a spare; returns at once. Call it while the slot is live."""
        now = time.monotonic()
        if self._tend_at is None:
            self._tend_at = now + SPARE_AFTER_S * (1 + self._cast.seat.slot)  # those of several slots not all at once
        if now >= self._tend_at and (self._keeper is None or not self._keeper.is_alive()):
            self._keeper = threading.Thread(target=self._keep, name=f"spare-{self._name(0)}", daemon=True)
            self._keeper.start()

    def _keep(self) -> None:
        """Have a spare that answers. What fails is tried again later, by another call."""
        pause_s, self._pause_s = self._pause_s, min(2 * self._pause_s, SPARE_PAUSE_MAX_S)
        spare = None
        try:
            spare = self._spare(SPARE) or self._start(SPARE)
            spare.pid = answer(spare.handle.pid.remote(), self._start_timeout_s)
            pause_s = self._pause_s = SPARE_ASK_S
        except (RayError, ValueError) as error:  # ValueError: its name was there, and then was not
            if spare is None:
                _LOG.warning(
                    "slot %d of %s has no spare detector: %s", self._cast.seat.slot, self._cast.pipeline, error
                )
            elif spare.family == SPARE:  # else an opening has it now, and sees for itself
                self._dismiss(spare, error)
        finally:
            self._tend_at = time.monotonic() + pause_s
            if self._closed and spare is not None:
                ray.kill(spare.handle)

    def spare_pid(self) -> int | None:
        """Return the process id of the spare, None while there is none that has answered."""
        return next((member.pid for member in self._known() if member.family == SPARE and member.pid), None)

    def close(self) -> None:
        """End all actors."""
        self._closed = True
        with self._lock:
            members, self._members = list(self._members.values()), {}
        for member in members:
            ray.kill(member.handle)
        if self._keeper is not None:
            self._keeper.join(RESET_TIMEOUT_S)


class InActors:
    """Each family in a Ray actor, in the owner's placement group: same node, other cores."""

    def __init__(self, cast: Cast, step_timeout_s: float, *, with_spare: bool = True) -> None:
        self.cast = cast
        self._crew = _Crew(cast)
        self._with_spare = with_spare
        self._step_timeout_s = step_timeout_s  # of any one call of an actor
        self._epoch = ""
        self._actors: dict[str, ActorHandle[Any]] = {}
        self._pids: dict[str, int] = {}

    def reset(self) -> None:
        """Have an actor for every family, without partitions: those that are there and answer, the spare, then new ones.

        Raises ReopenError if one does not come up in time.
        """
        self._epoch = uuid4().hex
        try:
            members = self._crew.assemble(self._epoch)
        except RayError as error:
            raise ReopenError(f"no detector actors: {error}") from error
        self._actors = {family: member.handle for family, member in members.items()}
        self._pids = {family: member.pid for family, member in members.items()}

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

    def tend(self) -> None:
        """See to it that there is a spare, if there is to be one."""
        if self._with_spare:
            self._crew.tend()

    def disable(self, partition: int, detector: str) -> None:
        """Switch a detector off."""
        self._get([actor.disable.remote(self._epoch, partition, detector) for actor in self._actors.values()])

    def drop(self, partition: int) -> None:
        """Forget a partition."""
        self._get([actor.drop.remote(self._epoch, partition) for actor in self._actors.values()])

    def close(self) -> None:
        """End the actors; their state is in the log."""
        self._actors = {}
        self._crew.close()

    def pids(self) -> dict[str, int]:
        """Return the process id of each family's actor, as of the last reset."""
        return dict(self._pids)

    def spare_pid(self) -> int | None:
        """Return the process id of the spare, None while there is none that has answered."""
        return self._crew.spare_pid()

    def _get(self, calls: list[Any]) -> list[Any]:
        try:
            return list(answer(calls, self._step_timeout_s))
        except RayTaskError as error:
            if isinstance(error.cause, StateError | ReopenError):
                raise error.cause from error
            raise self._failed(f"a detector actor failed: {error}") from error
        except GetTimeoutError as error:
            slow = f"a detector actor is gone or slow: no answer within {self._step_timeout_s:g} s"
            raise self._failed(slow) from error
        except RayError as error:
            raise ReopenError(f"a detector actor is gone or slow: {error}") from error

    def _failed(self, why: str) -> ReopenError:
        return ReopenError(why) if self.cast.guest is None else GuestFailed(why)
