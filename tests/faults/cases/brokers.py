"""Faults of brokers and of the registry."""

from __future__ import annotations

import time
from typing import Any

from tests.faults import steering
from tests.faults.case import Case, MissedError, Scene
from tests.faults.recovery import gap

DOWN_S = 12.0  # longer than a broker's session of 6 s
GAP_MAX_S = 10.0
UP_TIMEOUT_S = 90.0


def leader(scene: Scene) -> None:
    _kill_and_restart(scene, scene.line.leaders()[0])


def controller(scene: Scene) -> None:
    _kill_and_restart(scene, scene.line.controller())


def rolling(scene: Scene) -> None:
    scene.facts["began"] = time.monotonic()
    for number in (1, 2, 3):
        name = f"broker-{number}"
        scene.fault()
        scene.stack.terminate(name)
        scene.stack.restart(name)
        steering.wait(scene.line.in_sync, "all replicas in sync", UP_TIMEOUT_S)


def two_of_three(scene: Scene) -> None:
    scene.stack.kill("broker-2")
    scene.stack.kill("broker-3")
    time.sleep(DOWN_S)
    acknowledged = scene.producer.sent.acknowledged
    time.sleep(1.0)
    if scene.producer.sent.acknowledged != acknowledged:
        raise MissedError("records were acknowledged while two of three brokers were down")
    scene.stack.restart("broker-2")
    scene.stack.restart("broker-3")
    scene.fault()


def _kill_and_restart(scene: Scene, number: int) -> None:
    scene.fault()
    scene.stack.kill(f"broker-{number}")
    time.sleep(DOWN_S)
    scene.stack.restart(f"broker-{number}")


def _short_gaps(scene: Scene, _: Any) -> None:
    longest = max(gap(receipts, scene.facts["began"]) for receipts in scene.tail.receipts.values())
    if longest > GAP_MAX_S:
        raise MissedError(f"a gap of {longest:.1f} s")


CASES = (
    Case("leader", "kill -9 leader broker", "20 s", 20.0, leader, seconds=45),
    Case("controller", "kill -9 controller", "20 s", 20.0, controller, seconds=45),
    Case("rolling", "rolling restart of all three", "gap 10 s", 10.0, rolling, seconds=75, after=_short_gaps),
    Case("two-of-three", "two of three brokers down, then back", "30 s after return", 30.0, two_of_three, seconds=60),
)
