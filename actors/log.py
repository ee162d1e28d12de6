"""What a slot needs of a log: the ports behind which Kafka stands, or the model of it that the simulation drives.

Theory of operation
-------------------
The opening protocol, the step and the hand-over of partitions (actors/slot.py), the deal and its writer (actors/deal.py) use
nothing but these protocols and a `Clock`. `actors/kafka/log.py` implements them on confluent_kafka; `tests/simulation/model.py`
on a log in memory that fences and isolates as a broker does. The same contract tests hold for both
(tests/simulation/test_contract.py).

Rules of this file: every call may raise ReopenError, a writer's calls FencedError too; none blocks without a limit.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import Future
from typing import NamedTuple, Protocol, TypeVar

from actors.engine.position import Record
from schemas.batch import RawBatch

T = TypeVar("T")

Entry = tuple[bytes, bytes | None]  # key and value of a record; a record without a key has b""


class Polled(NamedTuple):
    """What one poll brought."""

    batches: list[RawBatch]  # one of a partition at most
    lost: dict[int, str]  # partition → why its offset is not in the log any more


def compact(held: dict[bytes, bytes | None], entries: Iterable[Entry]) -> None:
    """Put further records into what is held of a log, by key: the newest of each, nothing where that is a tombstone.

    >>> held = {b"a": b"1", b"b": b"2"}
    >>> compact(held, [(b"a", b"3"), (b"b", None), (b"c", b"4"), (b"c", b"5")])
    >>> held
    {b'a': b'3', b'c': b'5'}
    """
    for key, value in entries:
        if value is None:
            held.pop(key, None)
        else:
            held[key] = value


class Clock(Protocol):
    """Time that passes. The real one is `actors.kafka.log.SystemClock`."""

    def now(self) -> float:
        """Return seconds since some beginning, never less than before."""
        ...

    def sleep(self, seconds: float) -> None:
        """Let so much time pass."""
        ...


class Writer(Protocol):
    """The transactional producer of one incarnation. Used until its first error and never after it."""

    last_commit_s: float  # what the last commit took

    def open(self) -> None:
        """Fence every older producer of this id and abort its open transaction."""
        ...

    def commit(
        self, records: Sequence[Record], topic: str, offsets: Mapping[int, int], group_metadata: object
    ) -> Future[None]:
        """Write all records and the input offsets of `topic` in one transaction; the future raises what went wrong.

        With no offsets, records only. One commit at a time: wait for the future before the next.
        """
        ...

    def close(self) -> None:
        """End in order, after the last commit was seen to succeed."""
        ...

    def abandon(self) -> None:
        """Leave it behind after an error, without waiting."""
        ...


class Reader(Protocol):
    """An assign-only, read_committed consumer over partitions of one topic."""

    topic: str

    def assign(self, offsets: Mapping[int, int]) -> None:
        """Read these partitions from these offsets, and nothing else."""
        ...

    def add(self, offsets: Mapping[int, int]) -> None:
        """Read these partitions too, from these offsets, leaving the others undisturbed."""
        ...

    def remove(self, partitions: Iterable[int]) -> None:
        """Stop reading these partitions, leaving the others undisturbed."""
        ...

    def poll(self, rows_max: int, wait_s: float) -> Polled:
        """Return up to `rows_max` records, by partition, waiting at most `wait_s` for them; fewer where they are large.

        A batch without records tells that the position has moved over what is not for readers (markers, aborted records).
        """
        ...

    def group_metadata(self) -> object:
        """Return what `Writer.commit` wants."""
        ...

    def close(self) -> None:
        """Leave; nothing is committed."""
        ...


class Log(Protocol):
    """A cluster, as a slot sees it."""

    def writer(self, transactional_id: str) -> Writer:
        """Return a new producer of this id, not opened yet."""
        ...

    def reader(self, group: str, topic: str) -> Reader:
        """Return a new consumer."""
        ...

    def first(self, topic: str, partitions: Iterable[int]) -> dict[int, int]:
        """Return the first retained offset of each partition."""
        ...

    def end(self, topic: str, partitions: Iterable[int]) -> dict[int, int]:
        """Return the high watermark of each partition: above everything written, of open transactions too."""
        ...

    def committed(self, group: str, topic: str, partitions: Iterable[int]) -> dict[int, int | None]:
        """Return the group's committed offsets; None where there is none. Waits out a transaction that is being ended."""
        ...

    def read_to_end(
        self, group: str, topic: str, ends: Mapping[int, int], timeout_s: float, *, newest: bool = False
    ) -> dict[int, list[Entry]]:
        """Read partitions from their first record to the given high watermarks, committed records only.

        With `newest` as `compact` leaves them, and no more than that is held meanwhile.
        Raises ReopenError if a position does not get there in time: it hangs below an open transaction.
        """
        ...

    def background(self, work: Callable[[], T]) -> Future[T]:
        """Do something that only reads, beside what the caller does; a bounded number at a time."""
        ...

    def renew(self) -> None:
        """Connect anew for the next question: what is connected may lead to a broker that says nothing any more."""
        ...

    def close(self) -> None:
        """Leave; readers and writers are closed one by one."""
        ...
