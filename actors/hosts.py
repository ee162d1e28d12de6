"""Where detector families run: the contract, and families in the owner's process. The slot does not know which hosts it has.

Families in Ray actors of their own are in actors/actor_hosts.py, so that what needs no Ray does not import it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import NamedTuple, Protocol

from actors.engine.family import FamilyFold, FamilyOutput, Work
from actors.engine.judge import Assignment
from actors.engine.state import Page
from actors.packages.packaged import check_hosting
from models.detector import Detector


class Opening(NamedTuple):
    """A partition as a family takes it over."""

    topic: str
    partition: int
    series: Sequence[str]
    pages: tuple[Page, ...]
    disabled: frozenset[str]


class Judged(NamedTuple):
    """What the families say of one round of steps."""

    outputs: dict[int, list[FamilyOutput]]  # by partition
    pages: dict[int, list[Page]]  # by partition, for those that were to be snapshot


class Hosts(Protocol):
    """The families of a slot; they outlive it. `reset` before a slot opens partitions in them."""

    def reset(self) -> None:
        """Be there, without any partition. Raises ReopenError."""
        ...

    def open(self, opening: Opening) -> tuple[str, ...]:
        """Open a partition in every family; return the detectors that start without state. Raises StateError."""
        ...

    def judge(self, works: Sequence[Work], snapshot: bool) -> Callable[[], Judged]:
        """Start one round of steps in every family; the returned call waits for it. Raises ReopenError."""
        ...

    def tend(self) -> None:
        """See to what the next fault will want; returns at once. Called at every step of a live slot."""
        ...

    def disable(self, partition: int, detector: str) -> None:
        """Switch a detector off, in a replay."""
        ...

    def drop(self, partition: int) -> None:
        """Forget a partition that is another slot's now, or is in quarantine."""
        ...

    def close(self) -> None:
        """Drop the families and their state."""
        ...


def merge(works: Sequence[Work], rounds: Iterable[tuple[list[FamilyOutput], dict[int, list[Page]]]]) -> Judged:
    """Put together what each family says of a round."""
    judged = Judged({work.partition: [] for work in works}, {})
    for outputs, pages in rounds:
        for work, output in zip(works, outputs, strict=True):
            judged.outputs[work.partition].append(output)
        for partition, copied in pages.items():
            judged.pages.setdefault(partition, []).extend(copied)
    return judged


class InOwner:
    """Families in the calling process: fastest on a small machine."""

    def __init__(
        self, pipeline: str, families: Mapping[str, tuple[Detector | Assignment, ...]], clean_rows: int
    ) -> None:
        check_hosting(families.values(), hosted_apart=False)
        self._folds = [FamilyFold(pipeline, family, detectors, clean_rows) for family, detectors in families.items()]
        for fold in self._folds:
            fold.warm()

    def reset(self) -> None:
        """Forget all partitions."""
        for fold in self._folds:
            fold.clear()

    def open(self, opening: Opening) -> tuple[str, ...]:
        """Open a partition in every family."""
        return tuple(name for fold in self._folds for name in fold.open(*for_family(opening, fold.family)))

    def judge(self, works: Sequence[Work], snapshot: bool) -> Callable[[], Judged]:
        """Step every family, now."""
        judged = merge(works, [fold.run(works, snapshot) for fold in self._folds])
        return lambda: judged

    def tend(self) -> None:
        """Nothing is to be seen to."""

    def disable(self, partition: int, detector: str) -> None:
        """Switch a detector off."""
        for fold in self._folds:
            fold.disable(partition, detector)

    def drop(self, partition: int) -> None:
        """Forget a partition."""
        for fold in self._folds:
            fold.drop(partition)

    def close(self) -> None:
        """Drop the families."""
        self._folds = []


def for_family(opening: Opening, family: str) -> tuple[str, int, Sequence[str], tuple[Page, ...], frozenset[str]]:
    """Return the arguments of `FamilyFold.open`: of all pages only the family's."""
    pages = tuple(page for page in opening.pages if page.family == family)
    return opening.topic, opening.partition, opening.series, pages, opening.disabled
