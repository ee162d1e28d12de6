"""The line that the simulation runs: cheap records that a person can read, cheap detectors in plain Python."""

from __future__ import annotations

import marshal
from collections.abc import Mapping
from random import Random
from typing import Any

import numpy as np

from actors.engine.arrivals import Arrivals
from actors.engine.family import FamilyFold
from actors.engine.fold import Topics
from actors.engine.position import Record
from actors.hosts import InOwner
from actors.kafka.client import Cluster
from actors.pipeline import Pipeline
from actors.surroundings import Codec
from models.detector import Detector
from schemas.batch import DeadLetter, MicroBatch, RawBatch, Reason, SeriesDictionary, head
from schemas.columnar.samples import fitting
from schemas.texts import Texts
from tests.actors.engine.world import Above, Fragile, rows_of
from tests.schemas.records import OneByOne

NAME = "sim"
INPUT = "in"
TOPICS = Topics("charts", "alerts", "dead", "state", late="late", deals="deals")
CLEAN_ROWS = 2
ABOVE, FRAGILE = Above(), Fragile()
FAMILIES: Mapping[str, tuple[Detector, ...]] = {"plain": (ABOVE, FRAGILE)}
RECORDS = ("position", "page", "series_page", "applied_change", "alert", "dead_letter", "deal")


class Plain(OneByOne):
    """An encoder that costs next to nothing."""

    def encode(self, record: dict[str, Any]) -> bytes:
        return marshal.dumps(record)


def read(value: bytes) -> dict[str, Any]:
    """Return what `Plain` wrote."""
    found: dict[str, Any] = marshal.loads(value)  # noqa: S302 - our own bytes
    return found


class LineDecoder:
    """Decodes b"series value id time": "nan" is missing; what is not of that form is a dead letter.

    b"series value,value id time" is a record of so many samples, a millisecond apart.
    """

    def decode(
        self, raw: RawBatch, series: SeriesDictionary, *, event_ids: bool = False, rows_max: int | None = None
    ) -> MicroBatch:
        raw = raw if rows_max is None else head(raw, fitting(rows_of(raw), rows_max))
        rows: list[int] = []
        read: list[tuple[int, float, int, int, int]] = []
        rejects: list[DeadLetter] = []
        for i, data in enumerate(raw.values):
            try:
                name, value, ident, time = (data or b"").decode().split()
                values, first = [float(each) for each in value.split(",")], int(time)
                code, event = series.code(name), int(ident)
                read += [(code, each, event, first + k, k) for k, each in enumerate(values)]
                rows += [i] * len(values)
            except ValueError as error:
                at, sent = int(raw.offset[i]), int(raw.timestamp_ms[i])
                rejects.append(DeadLetter(raw.topic, raw.partition, at, sent, Reason.MALFORMED, str(error), None, data))
        n = len(rows)
        blank = np.full(n, np.nan)
        columns: dict[str, Any] = {name: blank.copy() for name in ("lsl", "usl", "target")}
        columns |= {name: Texts.of([""] * n) for name in ("lot", "wafer")}
        if event_ids:
            columns["event_id"] = np.array([ident for _, _, ident, _, _ in read], np.int64)
        if any(sample for *_, sample in read):
            columns["sample"] = np.array([sample for *_, sample in read], np.int32)
        return MicroBatch(
            topic=raw.topic,
            partition=raw.partition,
            offset=raw.offset[rows].astype(np.int64),
            next_offset=raw.next_offset,
            event_time_ms=np.array([time for _, _, _, time, _ in read], np.int64),
            published_ms=raw.timestamp_ms[rows].astype(np.int64),
            series=np.array([code for code, *_ in read], np.int32),
            value=np.array([value for _, value, *_ in read], np.float64),
            subgroup=np.full(n, -1, np.int64),
            columns=columns,
            rejects=tuple(rejects),
        )


class PlainHosts(InOwner):
    """Families in the owner's process, without compiling anything first."""

    def __init__(self) -> None:
        self._folds = [FamilyFold(NAME, family, detectors, CLEAN_ROWS) for family, detectors in FAMILIES.items()]


def codec() -> Codec:
    """Return encoders and decoders that need no registry."""
    return Codec(LineDecoder(), dict.fromkeys(RECORDS, Plain()), read, lambda _: None)


def pipeline(partitions: int, slots: int, commit_ms: int, snapshot_ms: int, arrivals: Arrivals) -> Pipeline:
    """Return the pipeline of the line."""
    return Pipeline(
        name=NAME,
        cluster=Cluster(""),
        input_topic=INPUT,
        partitions=tuple(range(partitions)),
        topics=TOPICS,
        families=FAMILIES,
        schema_ids={},
        hosting="owner",
        step_rows_max=8,
        step_samples_max=10,
        commit_interval_ms=commit_ms,
        snapshot_interval_ms=snapshot_ms,
        clean_rows=CLEAN_ROWS,
        arrivals=arrivals,
        code_version="1",
        slots=slots,
    )


def record(partition: int, value: bytes) -> Record:
    """Return a record of the input."""
    return Record(INPUT, partition, b"key", value)


class Words:
    """Makes the records of one partition: mostly good, some missing, bad, sent twice, late, or such that a detector breaks."""

    def __init__(self, random: Random) -> None:
        self._random = random
        self._made = 0
        self._sent: list[bytes] = []

    def next(self, time_ms: int) -> bytes:
        """Return the next record of the partition, made at a time."""
        random = self._random
        if self._sent and random.random() < 0.08:
            return random.choice(self._sent[-6:])
        self._made += 1
        value = random.choices(("1", "11", "12", "nan", "bad!", "666"), (50, 15, 10, 5, 4, 1))[0]
        if self._made % 4 == 0:  # many samples in one record, more of them than a step takes now and then
            value = ",".join([value, *("12", "1", "1", "nan", "11", "11", "1")[: self._made % 7], value])
        late_ms = random.choice((0, 0, 0, 0, 0, 900, 5000))
        self._sent.append(f"{random.choice('abc')} {value} {self._made} {time_ms - late_ms}".encode())
        return self._sent[-1]
