"""A detector family as a Ray actor: it holds the family's state of the slot's partitions, which the log can give back.

Which family it has is said at its start, or later: a spare has loaded the kernels of all families and has none until one is
lost.

Where the pipeline is a guest, its detectors are somebody's packages, and this is the only process that runs their code:
within limits (actors/packages/limits.py), which it takes upon itself before it loads them. What cannot be loaded in time,
or at all, it says when it is given the family; then it is of no use, and is ended.
"""

from __future__ import annotations

import os
import pickle
from collections.abc import Mapping, Sequence

import ray

from actors.engine.family import FamilyFold, FamilyOutput
from actors.engine.judge import Assignment
from actors.engine.state import Page
from actors.errors import ReopenError
from actors.packages.errors import PackageRefused
from actors.packages.limits import Guest, confine, relieve
from actors.packages.packaged import prepare, resolve
from actors.packages.watching import PREPARE_S, within
from actors.priority import take_what_is_left
from models.detector import Detector

SPARE = ""  # stands for the family of an actor that has none


@ray.remote
class DetectorActor:
    """One family of one slot. Whoever has reset it last is obeyed; calls that name another epoch are refused."""

    def __init__(
        self,
        pipeline: str,
        slot: int,
        number: int,
        family: str,
        families: Mapping[str, tuple[Detector | Assignment, ...]],
        clean_rows: int,
        guest: Guest | None = None,
    ) -> None:
        self._name = f"detector:{pipeline}:{slot}:{number}"
        self._pipeline = pipeline
        self._families = families
        self._clean_rows = clean_rows
        self._family = family
        self._guest = guest
        self._trouble: PackageRefused | None = None
        if guest is not None:
            confine(guest.limits)
            if guest.idle:
                take_what_is_left()
        self._folds: dict[str, FamilyFold] = {}  # those whose kernels are loaded; only the family's own has partitions
        for name in (family,) if family != SPARE else families:
            self._load(name)
        self._epoch = ""

    def __repr__(self) -> str:
        """Name pipeline, slot and number in the Ray dashboard and in logs."""
        return getattr(self, "_name", "detector")

    def reset(self, epoch: str) -> tuple[str, int]:
        """Forget all partitions; obey this epoch from now on. Return the family, SPARE for none, and the process id."""
        self._epoch = epoch
        for fold in self._folds.values():
            fold.clear()
        return self._family if self._trouble is None else SPARE, os.getpid()

    def take(self, epoch: str, family: str) -> int:
        """Have this family from now on, without partitions, instead of the one before; return the process id.

        Raises PackageRefused if its detectors cannot be loaded.
        """
        self._check(epoch)
        if family not in self._folds:
            self._load(family)
        if self._trouble is not None:
            raise self._trouble
        for fold in self._folds.values():
            fold.clear()
        self._family = family
        return os.getpid()

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
        return self._fold(epoch).open(topic, partition, series, pages, disabled)

    def judge(self, epoch: str, packed: bytes, snapshot: bool) -> tuple[list[FamilyOutput], dict[int, list[Page]]]:
        """Step through a round of works (pickled once for all families); with `snapshot`, copy dirty pages out."""
        judged = self._fold(epoch).run(pickle.loads(packed), snapshot)  # noqa: S301 - from our owner, through Ray
        if self._guest is not None and any(output.failures for output in judged[0]):
            relieve()
        return judged

    def disable(self, epoch: str, partition: int, detector: str) -> None:
        """Switch a detector off, in a replay."""
        self._fold(epoch).disable(partition, detector)

    def drop(self, epoch: str, partition: int) -> None:
        """Forget a partition."""
        self._fold(epoch).drop(partition)

    def _load(self, family: str) -> None:
        if self._trouble is not None:
            return
        try:
            self._folds[family] = self._warmed(family) if self._guest is None else self._guests(family, self._guest)
        except PackageRefused as error:
            self._trouble = error

    def _warmed(self, family: str) -> FamilyFold:
        fold = FamilyFold(self._pipeline, family, self._families[family], self._clean_rows)
        fold.warm()
        return fold

    def _guests(self, family: str, guest: Guest) -> FamilyFold:
        """Return the fold of a guest. Raises PackageRefused, in time."""
        detectors, limit_s = self._families[family], guest.limits.load_s
        within(PREPARE_S, "fetching the package and what it needs", lambda: prepare(detectors))

        def load() -> FamilyFold:
            return FamilyFold(self._pipeline, family, resolve(detectors), self._clean_rows)

        fold = within(limit_s, "loading the package", load)
        within(limit_s, "the first step", fold.warm)
        return fold

    def _fold(self, epoch: str) -> FamilyFold:
        self._check(epoch)
        return self._folds[self._family]

    def _check(self, epoch: str) -> None:
        if epoch != self._epoch:
            raise ReopenError("another owner has taken this detector actor over")
