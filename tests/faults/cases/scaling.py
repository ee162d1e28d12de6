"""More slots and fewer, under load."""

from __future__ import annotations

import time
from typing import Any

from tests.faults import steering
from tests.faults.case import Case, MissedError, Scene
from tests.faults.recovery import gap

SLOTS = (4, 2)
OTHERS_GAP_MAX_S = 0.25
SETTLED_S = 5.0


def rescale(scene: Scene) -> None:
    scene.facts["changes"] = changes = []
    for slots in SLOTS:
        before, at = steering.shares(scene.line.name), time.monotonic()
        steering.scale(scene.line.name, slots)
        after = steering.shares(scene.line.name)
        moved = tuple(p for p in after if after[p] != before.get(p))
        others = tuple(p for p in after if p not in moved)
        changes.append({"slots": slots, "at": at, "until": time.monotonic(), "moved": moved, "others": others})
        scene.fault_at(at, moved)
        scene.producer.wait_sent(scene.producer.done + int(SETTLED_S * scene.producer.rate))


def _others_go_on(scene: Scene, _: Any) -> None:
    for change in scene.facts["changes"]:
        gaps = [gap(scene.tail.receipts[p], change["at"], change["until"]) for p in change["others"]]
        change["others gap s"] = round(max(gaps, default=0.0), 3)
    longest = scene.facts["others' gap, s"] = max(change["others gap s"] for change in scene.facts["changes"])
    if longest > OTHERS_GAP_MAX_S:
        raise MissedError(f"partitions that stayed had a gap of {longest * 1000:.0f} ms")


def _slotted() -> str:
    return "" if steering.SLOTTED else "this version has one slot"


CASES = (
    Case(
        "rescale", "rescale 1→4→2 under load", "moved 5 s; others' gap 250 ms", 5.0, rescale,
        settings={"hosting": "owner", "commit_interval_ms": 50},  # four slots of six processes are no load for one machine
        needs=_slotted, seconds=60, after=_others_go_on, tells=("others' gap, s",),
    ),
)  # fmt: skip
