"""A case of the matrix, what it finds when it runs, and what comes of it."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Literal

from actors.pipeline import Pipeline
from cluster.local.stack import LocalStack
from tests.faults.line import FaultLine
from tests.faults.producer import Sent, VerifiableProducer
from tests.faults.ray_nodes import RayNodes
from tests.faults.recovery import Tail, back_within
from tests.faults.stream import Trouble

Kind = Literal["plain", "proxied", "small disk"]


class NotHereError(Exception):
    """The case cannot be run here; the message says why. It is told, and does not pass."""


class MissedError(Exception):
    """Something that the case promises, beside the gate of all cases, was not so."""


@dataclass
class Scene:
    """What a fault has to work with."""

    stack: LocalStack
    nodes: RayNodes
    line: FaultLine
    pipeline: Pipeline
    producer: VerifiableProducer
    tail: Tail
    options: Any  # of the command line
    proxy: Any = None  # BrokerProxy, of the kind "proxied"
    disk: Any = None  # SmallDisk, of the kind "small disk"
    repetition: int = 1
    facts: dict[str, Any] = field(default_factory=dict)  # what the case wants to tell beside the figures
    recoveries: list[float] = field(default_factory=list)
    _measure: list[tuple[float, tuple[int, ...] | None]] = field(default_factory=list)

    def fault(self, partitions: tuple[int, ...] | None = None) -> None:
        """Say that the clock of the recovery starts now (for these partitions)."""
        self.fault_at(time.monotonic(), partitions)

    def fault_at(self, moment: float, partitions: tuple[int, ...] | None = None) -> None:
        """Say that it started then."""
        self._measure.append((moment, partitions))

    def measured(self, sent: Sent) -> list[float]:
        """Return how long outputs stayed away after each fault that there was something to show of, s."""
        back = [back_within(self.tail.receipts, sent, at, which) for at, which in self._measure]
        return self.recoveries + [seconds for seconds in back if seconds is not None]

    @property
    def waits_for(self) -> dict[int, int]:
        """The input offsets that the tail must reach: the ends of what was acknowledged."""
        return self.producer.sent.ends()


@dataclass(frozen=True)
class Case:
    """One row of the matrix."""

    name: str
    row: str  # as the issue says it
    target: str
    target_s: float  # of the p95; 0: there is none
    run: Callable[[Scene], None]
    kind: Kind = "plain"
    seconds: float = 25.0  # for which the stream lasts: longer than the fault
    settings: dict[str, Any] = field(default_factory=dict)  # of the pipeline
    trouble: Trouble = field(default_factory=Trouble)
    needs: Callable[[], str] = lambda: ""  # why it cannot be run: "" = it can
    log: Callable[[Any], Any] | None = None  # makes the pipeline's log from the folder of the repetition
    drain_s: float = 90.0  # after the last record
    after: Callable[[Scene, Any], None] | None = None  # checks of its own; raises MissedError
    tells: tuple[str, ...] = ()  # names of facts that are printed below the table, of every repetition
    fault_at: float = 0.25  # of the stream
    endless: bool = False  # the case ends the stream itself; records are sent again and again
    may_quarantine: bool = False  # a partition that is torn is repaired, and then checked as all others
