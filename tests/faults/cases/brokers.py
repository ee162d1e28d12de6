"""Faults of brokers and of the registry."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from http import HTTPStatus
from typing import Any

from cluster.local.errors import LocalStackError
from cluster.local.stack import LocalStack
from tests.faults import steering
from tests.faults.case import Case, MissedError, Scene
from tests.faults.readiness import Answer, Readiness
from tests.faults.recovery import gap
from tests.faults.stream import Trouble

DOWN_S = 12.0  # longer than a broker's session of 6 s
GAP_MAX_S = 10.0
UP_TIMEOUT_S = 90.0
REGISTRY_DOWN_S = 60.0
SECOND_FROM = 0.8  # of the stream
PAUSE_MAX_S = 2.5


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
    for name in ("broker-2", "broker-3"):
        scene.stack.launch(name)
    scene.stack.wait_up("broker-2")
    scene.fault()  # two of three are back
    scene.stack.wait_up("broker-3")


def registry(scene: Scene) -> None:
    """Down for a minute; in the last part of the stream there are records of a schema that nobody has asked for yet."""
    producer = scene.producer
    scene.stack.kill("registry")
    began = scene.facts["began"] = time.monotonic()
    known = int(len(producer.sent.messages) * SECOND_FROM)
    producer.wait_sent(known)
    scene.facts["until"] = time.monotonic()
    time.sleep(max(0.0, began + REGISTRY_DOWN_S - time.monotonic()))
    judged = scene.tail.total()
    if judged >= producer.done:
        raise MissedError("records of a schema that cannot be asked for were judged")
    scene.facts["waiting"] = producer.done - judged
    scene.stack.restart("registry")
    scene.fault()


def disk_full(scene: Scene) -> None:
    stack = scene.stack
    brokers = [name for name in stack.pids if name != "registry"]
    with Readiness(scene.line) as readiness:
        steering.wait(lambda: readiness.ask().ready, "it is ready before", UP_TIMEOUT_S)
        scene.disk.fill()
        steering.wait(lambda: _dead(stack, brokers), "a broker stops", UP_TIMEOUT_S)
        steering.wait(lambda: _says_why(scene, readiness.ask(), brokers), "it says that it is not ready", UP_TIMEOUT_S)
        _stack_names_the_disk(scene)
        scene.disk.free()
        for name in set(brokers) - _dead(stack, brokers):
            stack.kill(name)
        for name in brokers:
            stack.launch(name)
        for name in brokers:
            stack.wait_up(name)
        scene.fault()
        took = steering.wait(lambda: readiness.ask().ready, "it is ready again", UP_TIMEOUT_S)
        scene.facts["ready again after s"] = round(took, 1)


def _dead(stack: LocalStack, names: Iterable[str]) -> set[str]:
    return {name for name in names if stack.exit_code(name) is not None}


def _says_why(scene: Scene, answer: Answer, brokers: Sequence[str]) -> bool:
    """Say whether the API names the slot that does not work and its error, and Kafka if all of it is dead."""
    scene.facts["said by the API"] = f"{answer.status} {answer.body.get('detail', '')}"
    failing = answer.failing()
    wanted = {"owners", "kafka"} if _dead(scene.stack, brokers) == set(brokers) else {"owners"}
    named = wanted <= failing.keys() and all(failing[part] in answer.body["detail"] for part in wanted)
    return answer.status == HTTPStatus.SERVICE_UNAVAILABLE and named and "ReopenError" in failing["owners"]


def _stack_names_the_disk(scene: Scene) -> None:
    try:
        scene.stack.check()
    except LocalStackError as error:
        scene.facts["said by the stack"] = str(error)[:300]
    if "disk is full" not in scene.facts.get("said by the stack", ""):
        raise MissedError(f"the local stack does not name the disk: {scene.facts.get('said by the stack')}")


def _kill_and_restart(scene: Scene, number: int) -> None:
    scene.fault()
    scene.stack.kill(f"broker-{number}")
    time.sleep(DOWN_S)
    scene.stack.restart(f"broker-{number}")


def _known_flow(scene: Scene, _: Any) -> None:
    began, until = scene.facts["began"], scene.facts["until"]
    longest = max(gap(receipts, began, until) for receipts in scene.tail.receipts.values())
    scene.facts["pause_s"] = round(longest, 3)
    if longest > PAUSE_MAX_S:
        raise MissedError(f"known schemas paused for {longest:.2f} s")


def _short_gaps(scene: Scene, _: Any) -> None:
    longest = max(gap(receipts, scene.facts["began"]) for receipts in scene.tail.receipts.values())
    if longest > GAP_MAX_S:
        raise MissedError(f"a gap of {longest:.1f} s")


CASES = (
    Case("leader", "kill -9 leader broker", "20 s", 20.0, leader, seconds=45),
    Case("controller", "kill -9 controller", "20 s", 20.0, controller, seconds=45),
    Case("rolling", "rolling restart of all three", "gap 10 s", 10.0, rolling, seconds=75, after=_short_gaps),
    Case(
        "registry", "registry down 60 s", "known schemas flow; unknown wait", 0.0, registry, seconds=95,
        trouble=Trouble(second_schema_from=SECOND_FROM), after=_known_flow, drain_s=120,
    ),
    Case(
        "disk-full", "disk full on the broker (small tmpfs)", "not ready, clear error, goes on when freed", 0.0, disk_full,
        kind="small disk", seconds=80, drain_s=150, tells=("said by the API", "ready again after s"),
    ),
    Case("two-of-three", "two of three brokers down, then back", "30 s after return", 30.0, two_of_three, seconds=60),
)  # fmt: skip
