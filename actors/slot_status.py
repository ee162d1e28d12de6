"""What a slot tells of itself: counts, times, and what its partitions wait for."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import numpy as np

from actors.engine.family import FamilyOutput
from actors.engine.fold import Step
from schemas.batch import Reason


@dataclass
class SlotStatus:
    """Counts are of this incarnation."""

    rows: int = 0
    records: int = 0  # that the rows are of; fewer where some have several samples
    missing: int = 0
    dead_lettered: int = 0
    duplicates: int = 0  # set aside, as are the next two (actors/engine/gate.py)
    late: int = 0
    ahead: int = 0
    steps: int = 0
    step_ms: float = 0.0
    replay_worst_s: float = 0.0  # how long a recovery could have to fold again (actors/engine/pacing.py)
    commit_ms: float = 0.0
    replayed: int = 0
    changes: int = 0  # of limits, resets, exclusions, that took effect on a partition
    changes_waiting: int = 0  # for a partition's event time, or for its next step
    deal: int = 0  # number of the deal that the slot follows
    arriving: dict[int, str] = field(default_factory=dict)  # partition → what it waits for
    waiting_for_registry: list[int] = field(
        default_factory=list
    )  # partitions with a record of an unknown schema in front
    quarantined: dict[int, str] = field(default_factory=dict)
    without_state: dict[int, tuple[str, ...]] = field(default_factory=dict)  # detectors that began in Phase I

    failures: dict[str, str] = field(default_factory=dict)  # detector that raised → traceback of the first time

    def told(self) -> dict[str, Any]:
        """Return all of it as plain values; may be asked on another thread than the slot's."""
        return asdict(
            replace(
                self,
                quarantined=self.quarantined.copy(),
                without_state=self.without_state.copy(),
                failures=self.failures.copy(),
            )
        )

    def note_failures(self, outputs: Iterable[FamilyOutput]) -> None:
        """Keep what detectors said that raised."""
        for output in outputs:
            for failure in output.failures:
                self.failures.setdefault(failure.detector, failure.detail)

    def add(self, step: Step) -> int:
        """Add a step to the counts; return how many records it had."""
        batch = step.work.batch
        self.rows += len(batch)
        self.records += batch.records
        self.missing += int(np.isnan(batch.value).sum())
        self.dead_lettered += len(step.rejects)
        aside = Counter(letter.reason for letter in step.aside)
        self.duplicates += aside[Reason.DUPLICATE]
        self.late += aside[Reason.LATE]
        self.ahead += aside[Reason.AHEAD]
        self.changes += len(step.changes)
        return batch.records + len(step.rejects) + len(step.aside)
