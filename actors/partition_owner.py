"""The owner of a slot as a Ray actor: a synchronous loop on one thread, control calls on another.

The loop knows one cure: on ReopenError or FencedError it abandons the slot and opens it again from what the broker says, which
ends it (SupersededError) if the deal names another incarnation of the slot. The loop starts by itself, because it is started by
the constructor.

A process that imports Ray, numba and our kernels costs more than a second of a core, which a machine that judges does not have to
spare. So there are two processes for a seat, in its placement group, where the pipeline says `standby`: the one that has the turn
(actors/turn.py) is the owner, the other has everything loaded and waits for the turn. Which was started first does not matter.
The supervisor replaces the one that died. Without a standby Ray starts the owner's process again.
"""

from __future__ import annotations

import logging
import os
import threading
import time
from random import random
from typing import Any

import ray
from ray.util import get_current_placement_group

from actors.actor_hosts import Cast, InActors
from actors.collecting import collect_seldom
from actors.deal import Seat
from actors.errors import FencedError, ReopenError, SupersededError
from actors.hosts import Hosts, InOwner
from actors.kafka.log import SystemClock
from actors.names import LOG_FORMAT
from actors.pipeline import Pipeline
from actors.priority import take_what_is_left
from actors.slot import Slot
from actors.surroundings import Codec, Surroundings
from actors.turn import Turn
from schemas.columnar.reader import warm
from schemas.registry import RegistryUnavailable

_LOG = logging.getLogger("chipquality.owner")

BACKOFF_FIRST_S = 0.2
BACKOFF_MAX_S = 3.0  # between attempts to open, times 0.5 to 1.5: what an outage costs after its end
STOP_TIMEOUT_S = 30.0
TURN_S = 0.02  # between two looks at whose turn it is
STANDBY = "standby"  # state of a process that waits for its turn


class OwnerLoop:
    """Opens the slot, steps it, re-opens it after an error, until it is told to stop. Run it on a thread.

    `turn`: to be waited for before the first opening; None: it is ours.
    """

    def __init__(self, pipeline: Pipeline, seat: Seat, turn: Turn | None = None) -> None:
        self.pipeline = pipeline
        self.seat = seat
        self.state = "opening" if turn is None else STANDBY
        self.node = ""  # of Ray on which it runs
        self._turn = turn
        self.last_error = ""
        self.reopened = 0
        self.opened_s = 0.0
        self._slot: Slot | None = None
        self._hosts: Hosts | None = None
        self._stop = threading.Event()
        self._around = Surroundings(
            pipeline.log(pipeline.cluster), SystemClock(), Codec.of(pipeline), self._stop.is_set
        )
        self._name = pipeline.transactional_id(seat.slot)
        self._thread = threading.Thread(target=self._run, name=f"slot-{self._name}", daemon=True)

    def start(self) -> None:
        """Start the loop's thread."""
        self._thread.start()

    def stop(self, timeout_s: float = STOP_TIMEOUT_S) -> bool:
        """Ask the loop to commit a snapshot and end; return whether it did in time."""
        self._stop.set()
        self._thread.join(timeout_s)
        return not self._thread.is_alive()

    def take_over(self) -> int | None:
        """End the process that has the turn, if we stand by for it; return its id."""
        return self._turn.end_holder() if self._turn is not None and self.state == STANDBY else None

    def status(self) -> dict[str, Any]:
        """Return where the slot stands."""
        slot = self._slot
        said: dict[str, Any] = {
            "pipeline": self.pipeline.name,
            "slot": self.seat.slot,
            "incarnation": self.seat.incarnation,
            "pid": os.getpid(),
            "node": self.node,
            "state": self.state,
            "hosting": self.pipeline.hosting,
            "opened_s": self.opened_s,
            "reopened": self.reopened,
            "last_error": self.last_error,
            "spare": self._hosts.spare_pid() if isinstance(self._hosts, InActors) else None,
            "partitions": {},
        }
        if slot is not None:
            said |= slot.status.told()
            said["partitions"] = {
                partition: {
                    "next_offset": fold.position.next_offset,
                    "seq": fold.position.seq,
                    "snapshot_offset": fold.position.snapshot_offset,
                    "series": len(fold.series),
                    "event_time_ms": fold.position.event_time_ms,
                    "watermark_ms": fold.watermark_ms,
                    "disabled": [entry.subject for entry in fold.position.applied],
                    "disabled_why": {entry.subject: entry.detail for entry in fold.position.applied},
                    "quarantined": None,
                }
                for partition, fold in list(slot.folds.items())
            } | {partition: {"quarantined": why} for partition, why in said["quarantined"].items()}
        return said

    def detector_pids(self) -> dict[str, int]:
        """Return the process ids of the detector actors; empty when they are hosted here."""
        return self._hosts.pids() if isinstance(self._hosts, InActors) else {}

    def _new_hosts(self) -> Hosts:
        pipeline = self.pipeline
        if pipeline.hosting == "owner":
            return InOwner(pipeline.name, pipeline.families, pipeline.clean_rows)
        cast = Cast(
            pipeline.name, self.seat, pipeline.families, pipeline.clean_rows, pipeline.detector_cpus, pipeline.guest
        )
        return InActors(cast, pipeline.step_timeout_s, with_spare=pipeline.standby)

    def _new_slot(self) -> Slot:
        assert self._hosts is not None  # noqa: S101 - for mypy
        return Slot(self.pipeline, self.seat, self._hosts, self._around)

    def _run(self) -> None:
        """Whatever ends the loop, the state says so: an owner that looked live would never be replaced."""
        try:
            self._run_until_told()
        except BaseException as error:
            self.state = "failed"
            self.last_error = f"{type(error).__name__}: {error}"
            _LOG.exception("slot %s failed", self._name)
            raise
        finally:
            if self._hosts is not None:
                self._hosts.close()
            self._around.log.close()

    def _is_our_turn(self) -> bool:
        """Wait for the turn, with everything loaded and connected; return False if we are to stop."""
        if self._turn is None or self._turn.take():
            return True
        try:
            self._slot = self._new_slot()
            self._slot.prepare()
        except (ReopenError, RegistryUnavailable) as error:
            _LOG.warning("slot %s: its standby could not ask the broker: %s", self._name, error)
        while not self._turn.take():
            if self._stop.wait(TURN_S):
                return False
        return True

    def _note_takeover(self, owner: int) -> None:
        """Say that the process that was the owner has ended: nothing else of the slot tells of it."""
        at = time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime())
        self.last_error = f"{at}: process {owner} ended; its standby took over"
        _LOG.warning("slot %s: %s", self._name, self.last_error)

    def _run_until_told(self) -> None:
        owner = self._turn.holder() if self._turn is not None else None
        warm()
        self._hosts = self._new_hosts()
        if not self._is_our_turn():
            return
        if owner is not None:
            self._note_takeover(owner)
        backoff_s = BACKOFF_FIRST_S
        while not self._stop.is_set():
            live_since = time.monotonic()
            try:
                self._live()
            except SupersededError as error:
                self._leave(error)
                self.state = "superseded"
                return
            except (ReopenError, FencedError, RegistryUnavailable) as error:
                self._leave(error)
                if time.monotonic() - live_since > BACKOFF_MAX_S:
                    backoff_s = BACKOFF_FIRST_S
                self._stop.wait(backoff_s * (0.5 + random()))  # noqa: S311 - or two that fence each other do so for ever
                backoff_s = min(2 * backoff_s, BACKOFF_MAX_S)
            else:
                return
        self.state = "stopped"

    def _live(self) -> None:
        """Open the slot and step it until it is told to stop or something breaks."""
        self.state = "opening"
        started = time.monotonic()
        slot = self._slot = self._slot or self._new_slot()
        slot.open()
        self.opened_s = time.monotonic() - started
        self.state = "live"
        _LOG.info("slot %s live after %.2f s", self._name, self.opened_s)
        while not self._stop.is_set() and not slot.retired:
            slot.step()
        slot.close()
        self.state = "stopped" if self._stop.is_set() else "retired"

    def _leave(self, error: Exception) -> None:
        self.last_error = f"{type(error).__name__}: {error}"
        self.reopened += 1
        _LOG.warning("slot %s is abandoned: %s", self._name, self.last_error)
        if self._slot is not None:
            self._slot.abandon()
            self._slot = None
        self._around.log.renew()


@ray.remote
class PartitionOwner:
    """An incarnation of a slot, or the process that stands by for it. Detached; opens the slot by itself, when its turn comes."""

    def __init__(self, pipeline: Pipeline, seat: Seat) -> None:
        logging.basicConfig(level=logging.INFO, format=LOG_FORMAT)
        collect_seldom()
        if pipeline.idle:
            take_what_is_left()
        group = get_current_placement_group()
        turn = Turn(group.id.hex()) if group is not None and pipeline.standby else None
        self._loop = OwnerLoop(pipeline, seat, turn)
        self._loop.node = ray.get_runtime_context().get_node_id()
        self._loop.start()

    def __repr__(self) -> str:
        """Name pipeline and slot in the Ray dashboard and in logs."""
        return "owner:{}:{}:{}".format(self._loop.pipeline.name, *self._loop.seat)

    def status(self) -> dict[str, Any]:
        """Return where the slot stands; answers while a step runs."""
        return self._loop.status()

    def detector_pids(self) -> dict[str, int]:
        """Return the process ids of the detector actors."""
        return self._loop.detector_pids()

    def take_over(self) -> int | None:
        """End the process that works, if this one stands by for it, and work in its place; return its id."""
        pid = self._loop.take_over()
        _LOG.warning("%r takes over from process %s, which is ended", self, pid)
        return pid

    def stop(self) -> dict[str, Any]:
        """Commit a snapshot, end the loop, return the last status."""
        self._loop.stop()
        return self._loop.status()
