"""Faults in the data: poison, duplicates, disorder, wrong clocks."""

from __future__ import annotations

from typing import Any

from tests.faults.case import Case, MissedError, Scene
from tests.faults.stream import Trouble, poisoned

HOUR_MS = 3_600_000


def nothing(scene: Scene) -> None:
    """The fault is in the stream."""


def _every_poison_once(scene: Scene, counts: Any) -> None:
    wanted = poisoned(scene.producer.sent.messages)
    if counts.dead_lettered != wanted:
        raise MissedError(f"{wanted} records were poison, {counts.dead_lettered} are in the dead-letter topic")


CASES = (
    Case("calm", "no fault", "-", 0.0, nothing),
    Case(
        "poison", "1 % poison (truncated, garbage, unknown id, wrong types, oversized)", "every one dead-lettered, once",
        0.0, nothing, trouble=Trouble(poison=0.01), after=_every_poison_once,
    ),
    Case(
        "disorder", "duplicates, reordering, ± 1 h clock skew from producers", "equals the oracle", 0.0, nothing,
        trouble=Trouble(duplicates=0.01, reordered=0.05, skew_ms=HOUR_MS),
    ),
)  # fmt: skip
