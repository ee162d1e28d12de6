"""Faults in the data: poison, duplicates, disorder, wrong clocks."""

from __future__ import annotations

from collections import Counter
from typing import Any

from actors.engine.arrivals import Arrivals
from tests.faults.case import Case, MissedError, Scene
from tests.faults.stream import Trouble, poisoned

HOUR_MS = 3_600_000


def nothing(scene: Scene) -> None:
    """The fault is in the stream."""


def _every_poison_once(scene: Scene, counts: Any) -> None:
    wanted = poisoned(scene.producer.sent.messages)
    if counts.dead_lettered != wanted:
        raise MissedError(f"{wanted} records were poison, {counts.dead_lettered} are in the dead-letter topic")


def _all_kinds_aside(scene: Scene, counts: Any) -> None:
    rows = Counter(row["reason"] for row in scene.line.events(scene.line.topics.late))
    scene.facts["aside"] = dict(rows)
    if set(rows) != {"duplicate", "late"}:
        raise MissedError(f"duplicates and late rows were to be set aside, not {dict(rows)}")


CASES = (
    Case("calm", "no fault", "-", 0.0, nothing),
    Case(
        "poison", "1 % poison (truncated, garbage, unknown id, wrong types, oversized)", "every one dead-lettered, once",
        0.0, nothing, trouble=Trouble(poison=0.01, arrays=0.02), after=_every_poison_once,
    ),
    Case(
        "disorder", "duplicates, reordering, ± 1 h clock skew from producers", "equals the oracle", 0.0, nothing,
        trouble=Trouble(duplicates=0.01, reordered=0.05, skew_ms=HOUR_MS), after=_all_kinds_aside,
        settings={"arrivals": Arrivals(dedupe_window=10_000, allowed_lateness_ms=HOUR_MS // 2)},
    ),
)  # fmt: skip
