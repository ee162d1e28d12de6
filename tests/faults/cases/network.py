"""Faults of the network: a broker that nobody hears, ends of transactions that come late or twice."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path
from typing import Any

from tests.faults import steering
from tests.faults.case import Case, MissedError, Scene
from tests.faults.killer import KillAt

CUT_OFF_S = 60.0
HELD_S = (2.0, 4.0, 8.0, 12.0)  # below and above what a commit may take (3 s), and a transaction (10 s)
BACK_S = 90.0  # for an owner to commit again
REPEAT_S = 3.0
LATER_S = 0.03  # so that it meets the next transaction


def cut_off(scene: Scene) -> None:
    number = scene.line.leaders()[0]
    scene.fault()
    scene.proxy.cut_off(number)
    time.sleep(CUT_OFF_S)
    scene.proxy.let_all_through()


def ends_held(scene: Scene) -> None:
    scene.proxy.held = 0
    for number, seconds in enumerate(HELD_S, 1):
        scene.proxy.hold_ends(seconds)
        steering.wait(lambda held=number: scene.proxy.held == held, "an end of a transaction to hold", BACK_S)
        scene.fault()
        time.sleep(seconds)
    scene.facts["held"] = scene.proxy.held


def ends_repeated(scene: Scene) -> None:
    """The end of every transaction comes twice, the second in the middle of the next one; the owner dies of kill -9 meanwhile."""
    scene.proxy.repeated = 0
    pid = next(iter(steering.pids(scene.line.name).values()))
    scene.proxy.repeat_ends(REPEAT_S, LATER_S)
    time.sleep(REPEAT_S / 2)
    scene.fault()
    os.kill(pid, signal.SIGKILL)
    time.sleep(REPEAT_S)
    scene.facts["repeated"] = scene.proxy.repeated
    if not scene.proxy.repeated:
        raise MissedError("no end of a transaction was repeated")


def ends_torn(scene: Scene) -> None:
    """The end of the step before comes once more when all records of a step are written and its offsets are not."""
    tear = scene.pipeline.log
    scene.proxy.note_ends(scene.pipeline.transactional_id(0))
    steering.wait(lambda: scene.proxy.has_noted, "an end of a transaction to repeat", BACK_S)
    tear.arm()
    steering.wait(lambda: tear.fired_at() is not None, "the owner is in the middle of a step", BACK_S)
    scene.proxy.repeat_last()
    scene.facts["answers"] = scene.proxy.answers
    tear.release()
    said = f"the tear is found, after {scene.proxy.answers}"
    steering.wait(lambda: steering.quarantined(scene.line.name), said, BACK_S)
    scene.facts |= {"repeated": scene.proxy.repeated, "torn": steering.quarantined(scene.line.name)}
    scene.facts["repair"] = steering.repair(scene.line.pipeline())


def was_torn(scene: Scene, _: Any) -> None:
    """Raise MissedError if nothing was torn, or not repaired."""
    if not scene.facts.get("torn"):
        raise MissedError("nothing was torn")


def _tear(folder: Path) -> Any:
    return KillAt(str(folder), "after produce", waits=True)


CASES = (
    Case(
        "cut-off", "one broker behind a proxy that drops everything for 60 s", "20 s", 20.0, cut_off,
        kind="proxied", seconds=85,
    ),
    Case(
        "end-late", "EndTxn delayed past the timeout by the proxy", "none torn silently", 0.0, ends_held,
        kind="proxied", seconds=60, may_quarantine=True,
    ),
    Case(
        "end-twice", "EndTxn repeated in the next transaction, and the owner killed", "none torn silently", 0.0, ends_repeated,
        kind="proxied", seconds=30, may_quarantine=True,
    ),
    Case(
        "end-torn", "EndTxn repeated between the records and the offsets of the next transaction", "torn, found, repaired", 0.0,
        ends_torn, kind="proxied", seconds=60, log=_tear, after=was_torn,
    ),
)  # fmt: skip
