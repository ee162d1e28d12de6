"""What a run is given: what it is to do, what attempts before it have noted, and where it says how far it is."""

from __future__ import annotations

import signal
from collections.abc import Callable, Mapping
from types import FrameType
from typing import Any, NamedTuple, NoReturn, Protocol

from actors.kafka.client import Cluster
from cluster.jobs.run import Run

TERMINATED = 128 + signal.SIGTERM  # exit code


class Desk(Protocol):
    """The scheduler, as a run needs it; every call is by the id of the attempt, and refused if that is not wanted any more."""

    def note(self, submission_id: str, notes: Mapping[str, Any]) -> None:
        """Keep what further attempts have to know."""
        ...

    def swap(self, submission_id: str, made: Mapping[str, Any], keep: int) -> Run:
        """Have what the run has made be the current version; return the run."""
        ...

    def tell(self, submission_id: str, done: int, of: int, what: str) -> None:
        """Say how far it is."""
        ...


class Outcome(NamedTuple):
    """What has come of a run."""

    what: str  # in a line
    result: Mapping[str, Any]  # JSON


class Stage:
    """One attempt of a run."""

    def __init__(self, cluster: Cluster, pipeline: str, store: str, run: Run, desk: Desk) -> None:
        self.cluster = cluster
        self.pipeline = pipeline
        self.store = store
        self.run = run
        self.parameters = run.parameters
        self.notes: dict[str, Any] = dict(run.notes)
        self._desk = desk

    @property
    def author(self) -> str:
        """Return who does it, as it stands in records."""
        return f"job {self.run.job}"

    def note(self, **notes: Any) -> None:
        """Keep what the attempts after this one have to know. Raises Refused."""
        self._desk.note(self.run.submission_id, notes)
        self.notes |= notes

    def tell(self, done: int, of: int, what: str) -> None:
        """Say how far it is. Raises Refused."""
        self._desk.tell(self.run.submission_id, done, of, what)

    def swap(self, made: Mapping[str, Any], keep: int) -> list[int]:
        """Have what the run has made be the current version of its job; return the versions that are dropped. Raises Refused."""
        self.notes = dict(self._desk.swap(self.run.submission_id, made, keep).notes)
        return list(self.notes.get("dropped", ()))


Runs = Callable[[Stage], Outcome]


def end_in_order() -> None:
    """Have SIGTERM, by which Ray stops a job, end the process as an exception does."""

    def ended(_: int, __: FrameType | None) -> NoReturn:
        raise SystemExit(TERMINATED)

    signal.signal(signal.SIGTERM, ended)
