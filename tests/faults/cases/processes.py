"""Faults of processes: owners, detector actors, supervisors, Ray's nodes and its GCS."""

from __future__ import annotations

import contextlib
import os
import signal
import time
from collections import Counter
from collections.abc import Iterable
from functools import partial
from pathlib import Path
from typing import Any

import psutil

from tests.faults import steering
from tests.faults.case import Case, MissedError, Scene
from tests.faults.control import Control
from tests.faults.recovery import gap
from tests.faults.witness import Attempt, Witness

PAUSE_MAX_S = 1.5  # a longer gap between two steps of a partition is a pause
CONTROL_S = 15.0
CONTROL_MAX_S = 60.0  # that it is waited for
BACK_S = 120.0  # for an owner to be live on a machine that is busy
STOPPED_S = 30.0
GCS_DOWN_S = 10.0
ZOMBIE_STEPS = ("commit", "produce")  # before one of which the owner is frozen
BESIDE_S = 8.0  # for which two supervisors run


def owner(scene: Scene) -> None:
    pid = _owner_pid(scene)
    scene.fault()
    os.kill(pid, signal.SIGKILL)


def detector(scene: Scene) -> None:
    pid = steering.detector_pids(scene.line.name)["spc"]
    scene.fault()
    os.kill(pid, signal.SIGKILL)


def supervisor(scene: Scene) -> None:
    pid, control = steering.supervisor_pid(scene.line.name), Control(scene.line.name)
    began = time.monotonic()
    os.kill(pid, signal.SIGKILL)
    scene.facts["began"] = began
    scene.recoveries.append(_control_back(scene, control, began))
    if steering.supervisor_pid(scene.line.name) == pid:
        raise MissedError("the supervisor was not killed")


def two_supervisors(scene: Scene) -> None:
    control, began = Control(scene.line.name), time.monotonic()
    end = steering.second_supervisor(scene.pipeline)
    scene.facts["began"] = began
    scene.recoveries.append(_control_back(scene, control, began))
    scene.producer.wait_sent(scene.producer.done + int(BESIDE_S * scene.producer.rate))
    control, since = Control(scene.line.name), time.monotonic()
    end()
    if (took := _control_back(scene, control, since)) > CONTROL_S:
        raise MissedError(f"after the end of the second supervisor control was back after {took:.1f} s")


def step_of_the_transaction(scene: Scene) -> None:
    killer = scene.pipeline.log
    killer.arm()
    steering.wait(lambda: killer.fired_at() is not None, f"the owner dies {killer.step}", BACK_S)
    scene.fault_at(killer.fired_at())


def stopped_beside_its_successor(scene: Scene) -> None:
    """Its whole node is frozen: if its process alone were, the one that stands by would end it, and there would be no zombie.

    It is frozen in the middle of a transaction, so that it goes on with writing.
    """
    witness, name = scene.pipeline.log, scene.line.name
    step = scene.facts["frozen before"] = ZOMBIE_STEPS[scene.repetition % len(ZOMBIE_STEPS)]
    witness.hold(step)
    steering.wait(lambda: witness.held() is not None, f"the owner is about to {step}", BACK_S)
    pid = witness.held()
    scene.fault()
    began = time.monotonic()
    with scene.nodes.frozen_node_of(pid):
        witness.release()
        steering.wait(lambda: set(steering.pids(name).values()) - {pid}, "a successor is live", BACK_S)
        _sleep(max(0.0, began + STOPPED_S - time.monotonic()))
        if not psutil.pid_exists(pid):
            raise MissedError("the owner was ended before it went on: there was no zombie")
        resumed = time.monotonic()
        psutil.Process(pid).resume()  # before its raylet, which ends it
        steering.wait(lambda: any(a.raised for a in witness.attempts(pid, resumed)), "the zombie is refused", BACK_S)
    steering.wait(lambda: not psutil.pid_exists(pid), "the zombie ends", BACK_S)
    tried = witness.attempts(pid, resumed)
    scene.facts["zombie"] = _told(tried)
    if any(attempt.succeeded for attempt in tried):
        raise MissedError("the zombie wrote")


def _told(attempts: Iterable[Attempt]) -> str:
    """Return attempts in a line: "3 x record: _PURGE_QUEUE; commit: KafkaException …"."""
    outcomes = Counter(
        f"{each.step}: {each.raised or ('done' if each.succeeded else 'no answer')}" for each in attempts
    )
    return "; ".join(f"{times} x {what}" if times > 1 else what for what, times in outcomes.items())


def silent(scene: Scene) -> None:
    pid = _owner_pid(scene)
    scene.fault()
    os.kill(pid, signal.SIGSTOP)  # it is ended, and so needs no going on
    steering.wait(lambda: set(steering.pids(scene.line.name).values()) - {pid}, "the other works", BACK_S)


def stopped_alone(scene: Scene) -> None:
    pid = _owner_pid(scene)
    with contextlib.ExitStack() as left:
        if steering.SLOTTED:  # so that nobody takes its place
            left.enter_context(stopped(steering.supervisor_pid(scene.line.name)))
        with stopped(pid):
            _sleep(STOPPED_S)
        scene.fault()
        _sleep(5.0)


def node(scene: Scene) -> None:
    pid = _owner_pid(scene)
    scene.fault()
    scene.nodes.kill_node_of(pid)


def gcs(scene: Scene) -> None:
    control, began = Control(scene.line.name), time.monotonic()
    scene.nodes.kill_gcs()
    _sleep(GCS_DOWN_S)
    since = time.monotonic()
    scene.nodes.start_gcs()
    scene.facts["began"] = began
    scene.recoveries.append(_control_back(scene, control, since))


def goes_on(scene: Scene, _: Any) -> None:
    """Raise MissedError if processing paused."""
    longest = max(gap(receipts, scene.facts["began"]) for receipts in scene.tail.receipts.values())
    scene.facts["pause_s"] = round(longest, 3)
    if longest > PAUSE_MAX_S:
        raise MissedError(f"processing paused for {longest:.2f} s")


def _owner_pid(scene: Scene) -> int:
    return next(iter(steering.pids(scene.line.name).values()))


def _control_back(scene: Scene, control: Control, since: float) -> float:
    """Wait until control is back, undo what showed it; return how long it took."""

    def reached() -> bool:
        with contextlib.suppress(*steering.UNREACHABLE):
            return control.is_back()
        return False

    steering.wait(reached, "control is back", CONTROL_MAX_S)
    took = time.monotonic() - since
    scene.facts.setdefault("control after s", []).append(control.parts(since))
    control.undo()
    return took


@contextlib.contextmanager
def stopped(pid: int) -> Any:
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGCONT)


def _sleep(seconds: float) -> None:
    """Let a fault last; nothing else here waits for time."""
    time.sleep(seconds)


def _slotted() -> str:
    return "" if steering.SLOTTED else "this version has no supervisor actor"


def _log() -> str:
    return "" if steering.HAS_LOG else "Pipeline has no field `log` in this version"


def _witness(folder: Path) -> Any:
    return Witness(str(folder))


def _killer(step: str, folder: Path) -> Any:
    from tests.faults.killer import KillAt

    return KillAt(str(folder), step)


_GOES_ON = {
    "after": goes_on,
    "target_s": CONTROL_S,
    "target": "goes on; control back in 15 s",
    "tells": ("control after s",),
}
STEPS = ("after poll", "after produce", "after send offsets", "before commit", "after commit")

CASES = (
    Case("owner", "kill -9 owner", "5 s", 5.0, owner, settings={"hosting": "actor"}),
    Case("detector", "kill -9 a detector actor", "5 s", 5.0, detector, settings={"hosting": "actor"}),
    Case("supervisor", "kill -9 supervisor", run=supervisor, needs=_slotted, **_GOES_ON),
    Case("two-supervisors", "a second supervisor started", run=two_supervisors, needs=_slotted, seconds=40, **_GOES_ON),
    *(
        Case(
            f"step-{step.replace(' ', '-')}",
            f"kill -9 {step}",
            "5 s",
            5.0,
            step_of_the_transaction,
            needs=_log,
            log=partial(_killer, step),
        )
        for step in STEPS
    ),
    Case(
        "zombie", "SIGSTOP owner and its node 30 s, then resume, beside its successor", "8 s", 8.0,
        stopped_beside_its_successor, needs=_slotted, seconds=60, log=_witness,
        tells=("frozen before", "zombie"),
    ),
    Case(
        "silent", "SIGSTOP owner, where another process stands by", "8 s", 8.0, silent, needs=_slotted, seconds=40,
    ),
    Case("stopped", "SIGSTOP owner 30 s, then resume, alone", "8 s", 8.0, stopped_alone, seconds=60),
    Case("node", "kill -9 a Ray node", "8 s", 8.0, node, settings={"hosting": "actor"}, seconds=30),
    Case("gcs", "Ray's GCS killed, 10 s down", run=gcs, seconds=40, **_GOES_ON),
)  # fmt: skip
