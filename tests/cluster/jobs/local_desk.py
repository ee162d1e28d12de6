"""A desk of a run that keeps what the run says, for runs without a scheduler."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from cluster.jobs.run import Run, State, Trigger
from cluster.jobs.stage import Stage
from tests.integration.line import TestLine


class Local:
    """What a run says, kept here."""

    def __init__(self) -> None:
        self.notes: dict[str, Any] = {}
        self.told: list[str] = []
        self.swapped: list[Mapping[str, Any]] = []
        self.dies_at = ""

    def note(self, submission_id: str, notes: Mapping[str, Any]) -> None:
        self.notes |= notes

    def swap(self, submission_id: str, made: Mapping[str, Any], keep: int) -> Run:
        self.swapped.append(made)
        return Run("x", 1, 1, Trigger.hand, "train", {}, "", notes=self.notes)

    def tell(self, submission_id: str, done: int, of: int, what: str) -> None:
        self.told.append(what)
        if self.dies_at and what == self.dies_at:
            raise KeyboardInterrupt

    def stage(self, line: TestLine, store: str, kind: str, **parameters: Any) -> Stage:
        """Return what a run of a kind is given."""
        run = Run(
            "local",
            1_780_000_000_000,
            1,
            Trigger.hand,
            kind,
            parameters,
            "ada",
            State.running,
            attempt=1,
            notes=self.notes,
        )
        return Stage(line.cluster, line.name, store, run, self)
