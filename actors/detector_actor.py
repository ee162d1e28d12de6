"""A detector family as a Ray actor: it holds the family's state of the slot's partitions, which the log can give back."""

from __future__ import annotations

import os
import pickle
from collections.abc import Sequence

import ray

from actors.engine.family import FamilyFold, FamilyOutput
from actors.engine.judge import Assignment
from actors.engine.state import Page
from actors.errors import ReopenError
from models.detector import Detector


@ray.remote
class DetectorActor:
    """One family of one slot. Whoever has reset it last is obeyed; calls that name another epoch are refused."""

    def __init__(
        self, pipeline: str, slot: int, family: str, detectors: tuple[Detector | Assignment, ...], clean_rows: int
    ) -> None:
        self._fold = FamilyFold(pipeline, family, detectors, clean_rows)
        self._fold.warm()
        self._name = f"detector:{pipeline}:{slot}:{family}"
        self._epoch = ""

    def __repr__(self) -> str:
        """Name pipeline, slot and family in the Ray dashboard and in logs."""
        return getattr(self, "_name", "detector")

    def reset(self, epoch: str) -> None:
        """Forget all partitions; obey this epoch from now on."""
        self._epoch = epoch
        self._fold.clear()

    def pid(self) -> int:
        """Return the process id."""
        return os.getpid()

    def open(
        self,
        epoch: str,
        topic: str,
        partition: int,
        series: Sequence[str],
        pages: tuple[Page, ...],
        disabled: frozenset[str],
    ) -> tuple[str, ...]:
        """Take a partition over; see FamilyFold.open."""
        self._check(epoch)
        return self._fold.open(topic, partition, series, pages, disabled)

    def judge(self, epoch: str, packed: bytes, snapshot: bool) -> tuple[list[FamilyOutput], dict[int, list[Page]]]:
        """Step through a round of works (pickled once for all families); with `snapshot`, copy dirty pages out."""
        self._check(epoch)
        return self._fold.run(pickle.loads(packed), snapshot)  # noqa: S301 - from our owner, through Ray

    def disable(self, epoch: str, partition: int, detector: str) -> None:
        """Switch a detector off, in a replay."""
        self._check(epoch)
        self._fold.disable(partition, detector)

    def drop(self, epoch: str, partition: int) -> None:
        """Forget a partition."""
        self._check(epoch)
        self._fold.drop(partition)

    def _check(self, epoch: str) -> None:
        if epoch != self._epoch:
            raise ReopenError("another owner has taken this detector actor over")
