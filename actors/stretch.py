"""A stretch of an input topic judged again, by the same engine, into topics of its own.

Theory of operation
-------------------
A replay is a pipeline like any other: a name of its own, and with it a group, transactional ids and a deal of its own; a state
topic of its own, and outputs. Its log is the cluster's, with one difference (`Stretch`): of the input it shows what stands from
the start of the stretch to its end, and nothing else. So its fold begins there with no state, as any fold does where there is no
position yet, and its position stops at the end.

What a person gave to the live pipeline (limits, exclusions) is not given to it: its control topic is none, or one of its own.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import Future
from dataclasses import dataclass, replace
from typing import TypeVar

import numpy as np

from actors.engine.fold import Decodes, Topics
from actors.engine.judge import assigned
from actors.engine.share import EVERY_SERIES
from actors.errors import ReopenError
from actors.kafka.client import Cluster
from actors.kafka.log import KafkaLog
from actors.log import Clock, Entry, Log, Polled, Reader, Writer
from actors.pipeline import Pipeline
from schemas.batch import RawBatch, SeriesDictionary, after, cut

T = TypeVar("T")

SCAN_RECORDS_MAX = 500_000  # looked at for an event time, over all partitions
SCAN_S = 20.0
_POLL_ROWS = 10_000
_DECODE_ROWS = 100_000  # at a time


@dataclass(frozen=True)
class Stretch:
    """Which offsets of a topic, by partition: from the start on, before the end. It makes the log that shows only these.

    Without ends it goes on as the topic does: then it only says where a fold begins that has no position yet.
    """

    topic: str
    starts: Mapping[int, int]
    ends: Mapping[int, int] | None
    log: Callable[[Cluster], Log] = KafkaLog

    @property
    def until(self) -> Mapping[int, int]:
        """Return the ends. Raises ValueError where it goes on as the topic does."""
        if self.ends is None:
            raise ValueError(f"this stretch of {self.topic} has no end")
        return self.ends

    def __call__(self, cluster: Cluster) -> Log:
        """Return the log of a cluster with nothing but the stretch in the topic."""
        return StretchLog(self.log(cluster), self)


def replay_name(output: str) -> str:
    """Return the name of the pipeline, and of the group, that judges into `<output>.charts` and so on.

    >>> replay_name("june")
    'replay-june'
    """
    return f"replay-{output}"


def replay_topics(pipeline: Pipeline, output: str, *, control: bool = False) -> Topics:
    """Return where a replay of a pipeline writes; with `control` it has a control topic of its own."""
    late = f"{output}.late" if pipeline.arrivals.on else ""
    deals = pipeline.topics.deals
    charts, alerts, dead_letters, state = (f"{output}.{what}" for what in ("charts", "alerts", "dlq", "state"))
    own = f"{output}.control" if control else ""
    return Topics(charts, alerts, dead_letters, state, control=own, deals=deals, late=late)


def replayed(pipeline: Pipeline, output: str, stretch: Stretch, *, control: bool = False) -> Pipeline:
    """Return the pipeline that judges a stretch as `pipeline` does, into topics of its own; its families in its owners.

    Those of a guest in processes of their own, as ever, and every series, also where it is a canary.
    """
    families = pipeline.families
    if pipeline.guest is not None:
        families = {
            name: tuple(each._replace(share=EVERY_SERIES) for each in assigned(family))
            for name, family in families.items()
        }
    return replace(
        pipeline,
        name=replay_name(output),
        families=families,
        changes_of="",
        topics=replay_topics(pipeline, output, control=control),
        hosting="owner" if pipeline.guest is None else "actor",
        standby=False,
        slots=1,
        log=stretch,
    )


class StretchLog:
    """A log (actors/log.py) that shows a stretch of one topic."""

    def __init__(self, log: Log, stretch: Stretch) -> None:
        self._log = log
        self._stretch = stretch

    def writer(self, transactional_id: str) -> Writer:
        """Return a new producer of this id, not opened yet."""
        return self._log.writer(transactional_id)

    def reader(self, group: str, topic: str) -> Reader:
        """Return a new consumer; of the topic of the stretch one that ends where the stretch does."""
        reader = self._log.reader(group, topic)
        ends = self._stretch.ends
        return reader if ends is None or topic != self._stretch.topic else StretchReader(reader, ends)

    def first(self, topic: str, partitions: Iterable[int]) -> dict[int, int]:
        """Return the first retained offset of each partition; of the stretch its start.

        If that is not retained any more, whoever reads from it is told so, and nobody begins later in silence.
        """
        if topic != self._stretch.topic:
            return self._log.first(topic, partitions)
        return {partition: self._stretch.starts[partition] for partition in partitions}

    def end(self, topic: str, partitions: Iterable[int]) -> dict[int, int]:
        """Return the high watermark of each partition; of the stretch its end."""
        ends = self._stretch.ends
        if ends is None or topic != self._stretch.topic:
            return self._log.end(topic, partitions)
        return {partition: ends[partition] for partition in partitions}

    def committed(self, group: str, topic: str, partitions: Iterable[int]) -> dict[int, int | None]:
        """Return the group's committed offsets."""
        return self._log.committed(group, topic, partitions)

    def read_to_end(
        self, group: str, topic: str, ends: Mapping[int, int], timeout_s: float, *, newest: bool = False
    ) -> dict[int, list[Entry]]:
        """Read partitions from their first record to the given high watermarks."""
        return self._log.read_to_end(group, topic, ends, timeout_s, newest=newest)

    def background(self, work: Callable[[], T]) -> Future[T]:
        """Do something that only reads on another thread."""
        return self._log.background(work)

    def renew(self) -> None:
        """Connect anew."""
        self._log.renew()

    def close(self) -> None:
        """Leave."""
        self._log.close()


class StretchReader:
    """A reader that gives nothing at or beyond the ends of its partitions; their positions stop there."""

    def __init__(self, reader: Reader, ends: Mapping[int, int]) -> None:
        self.topic = reader.topic
        self._reader = reader
        self._ends = ends

    def assign(self, offsets: Mapping[int, int]) -> None:
        """Read these partitions from these offsets, and nothing else."""
        self._reader.assign(self._before_the_end(offsets))

    def add(self, offsets: Mapping[int, int]) -> None:
        """Read these partitions too."""
        self._reader.add(self._before_the_end(offsets))

    def remove(self, partitions: Iterable[int]) -> None:
        """Stop reading these partitions."""
        self._reader.remove(partitions)

    def poll(self, rows_max: int, wait_s: float) -> Polled:
        """Return what has come, up to the ends."""
        polled = self._reader.poll(rows_max, wait_s)
        batches = [cut(raw, [self._ends[raw.partition]])[0] for raw in polled.batches]
        over = [raw.partition for raw in batches if raw.next_offset >= self._ends[raw.partition]]
        if over:
            self._reader.remove(over)
        return Polled(batches, polled.lost)

    def group_metadata(self) -> object:
        """Return what `Writer.commit` wants."""
        return self._reader.group_metadata()

    def close(self) -> None:
        """Leave."""
        self._reader.close()

    def _before_the_end(self, offsets: Mapping[int, int]) -> dict[int, int]:
        return {partition: offset for partition, offset in offsets.items() if offset < self._ends[partition]}


def first_since(
    reader: Reader, decoder: Decodes, spans: Mapping[int, tuple[int, int]], event_time_ms: int, clock: Clock
) -> dict[int, int | None]:
    """Return per partition the offset of the first record between two offsets whose event time is so late; None: there is none.

    Looks at SCAN_RECORDS_MAX records at most, and for SCAN_S. Raises ReopenError if that was not enough. Closes the reader.
    """
    found: dict[int, int | None] = {}
    left = {partition: end for partition, (first, end) in spans.items() if first < end}
    found |= dict.fromkeys(set(spans) - set(left))
    deadline, looked_at = clock.now() + SCAN_S, 0
    try:
        reader.assign({partition: spans[partition][0] for partition in left})
        while left:
            polled = reader.poll(_POLL_ROWS, 0.1)
            for partition, why in polled.lost.items():
                raise ReopenError(f"{reader.topic}:{partition}: {why}")
            for raw in polled.batches:
                if raw.partition not in left:
                    continue
                looked_at += len(raw)
                end = left[raw.partition]
                at = _first_since(decoder, cut(raw, [end])[0], event_time_ms)
                if at is not None or raw.next_offset >= end:
                    found[raw.partition] = at
                    del left[raw.partition]
                    reader.remove([raw.partition])
            if left and (looked_at > SCAN_RECORDS_MAX or clock.now() > deadline):
                raise ReopenError(
                    f"{reader.topic}: no such event time among {looked_at} records of partitions {sorted(left)}: "
                    "say an offset, or a time of publishing"
                )
    finally:
        reader.close()
    return found


def _first_since(decoder: Decodes, raw: RawBatch, event_time_ms: int) -> int | None:
    series = SeriesDictionary()
    rest: RawBatch | None = raw
    while rest is not None:
        batch = decoder.decode(rest, series, rows_max=_DECODE_ROWS)
        rows = np.flatnonzero(batch.event_time_ms >= event_time_ms)
        if len(rows):
            return int(batch.offset[rows[0]])
        rest = after(rest, batch.next_offset)
    return None
