"""The engine driven by plain calls: no Ray, no Kafka. Records are JSON so that a test can read them."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from actors.engine.arrivals import Arrivals
from actors.engine.control import PartitionChange
from actors.engine.family import FamilyFold, configured
from actors.engine.fold import PartitionFold, Topics
from actors.engine.judge import Assignment
from actors.engine.position import Position, Record, StateImage, read_image
from actors.engine.replay import Piece, Replay
from actors.engine.snapshot import TRANSACTION_BYTES_MAX, Snapshot
from models.detector import Column, Detector, Rule, SeriesBatch, Verdicts
from schemas.batch import DeadLetter, MicroBatch, RawBatch, Reason, SeriesDictionary, cut, head
from schemas.columnar.samples import fitting
from schemas.reading import event_codes
from schemas.texts import Texts
from tests.schemas.records import OneByOne

TOPICS = Topics("charts", "alerts", "dead", "state", late="late", rest_charts="rest.charts", rest_alerts="rest.alerts")


class Json(OneByOne):
    """An encoder whose bytes a test can read."""

    def encode(self, record: dict[str, Any]) -> bytes:
        return json.dumps(record, default=lambda data: {"hex": data.hex()}).encode()


def decode_json(value: bytes) -> dict[str, Any]:
    def revive(found: dict[str, Any]) -> Any:
        return bytes.fromhex(found["hex"]) if set(found) == {"hex"} else found

    read: dict[str, Any] = json.loads(value, object_hook=revive)
    return read


class Words:
    """Decodes b"series value": "nan" is missing, anything that is no number is a dead letter.

    b"series value time" and b"series value time id" give an event time (else ten times the offset) and an event id too.
    b"series value,value" is a record of so many samples, a millisecond apart.
    """

    def decode(
        self, raw: RawBatch, series: SeriesDictionary, *, event_ids: bool = False, rows_max: int | None = None
    ) -> MicroBatch:
        raw = raw if rows_max is None else head(raw, fitting(rows_of(raw), rows_max))
        rows, codes, values, times, ids, samples, rejects = [], [], [], [], [], [], []
        for i, data in enumerate(raw.values):
            try:
                name, number, *rest = (data or b"").decode().split()
                time, event_id = (*rest, *(str(int(raw.offset[i]) * 10), "")[len(rest) :])
                numbers, at = [float(each) for each in number.split(",")], int(time)
            except ValueError as error:
                at = int(raw.offset[i])
                rejects.append(DeadLetter(raw.topic, raw.partition, at, 0, Reason.MALFORMED, str(error), None, data))
                continue
            n = len(numbers)
            rows += [i] * n
            codes += [series.code(name)] * n
            values += numbers
            times += range(at, at + n)
            ids += [event_id] * n
            samples += range(n)
        n = len(rows)
        blank = np.full(n, np.nan)
        return MicroBatch(
            topic=raw.topic,
            partition=raw.partition,
            offset=raw.offset[rows].astype(np.int64),
            next_offset=raw.next_offset,
            event_time_ms=np.array(times, np.int64),
            published_ms=raw.timestamp_ms[rows],
            series=np.array(codes, np.int32),
            value=np.array(values, np.float64),
            subgroup=np.full(n, -1, np.int64),
            columns={name: blank.copy() for name in ("lsl", "usl", "target")}
            | {name: Texts.of("" for _ in rows) for name in ("lot", "wafer")}
            | ({"event_id": event_codes(ids)} if event_ids else {})
            | ({"sample": np.array(samples, np.int32)} if any(samples) else {}),
            rejects=tuple(rejects),
        )


@dataclass(frozen=True)
class Above:
    """Signals a value above a limit, and (rule 1) the second one in a row. Counts rows per series in its state."""

    limit: float = 10.0
    name: str = "test.above"
    version: int = 1
    statistics: tuple[str, ...] = ("x",)
    rules: tuple[Rule, ...] = (Rule("above", "above the limit"), Rule("twice", "above twice in a row", "critical"))

    @property
    def state(self) -> Mapping[str, Column]:
        return {"run": Column("i8"), "n": Column("i8")}

    def update(self, state: Mapping[str, np.ndarray], batch: SeriesBatch) -> Verdicts:
        n = len(batch)
        signal = np.zeros(n, np.uint32)
        for i, (row, value) in enumerate(zip(batch.row.tolist(), batch.value.tolist(), strict=True)):
            if np.isnan(value):
                continue
            state["n"][row] += 1
            state["run"][row] = state["run"][row] + 1 if value > self.limit else 0
            signal[i] = (state["run"][row] > 0) | (int(state["run"][row] > 1) << 1)
        wide = batch.value.reshape(-1, 1).copy()
        blank = np.full((n, 1), np.nan)
        return Verdicts(wide, blank, blank, np.full((n, 1), self.limit), signal, ~np.isnan(batch.value))


@dataclass(frozen=True)
class Fragile(Above):
    """As Above, and raises at a value of 666."""

    name: str = "test.fragile"

    def update(self, state: Mapping[str, np.ndarray], batch: SeriesBatch) -> Verdicts:
        if (batch.value == 666).any():
            raise ArithmeticError("666 is not for me")
        return super().update(state, batch)


def rows_of(raw: RawBatch) -> np.ndarray:
    """How many rows each record would have at most, (n,) int64."""
    return np.array([(value or b"").count(b",") + 1 for value in raw.values], np.int64)


def raw_of(words: Sequence[str], first: int = 0) -> RawBatch:
    """Records of partition 0 from offset `first` on."""
    n = len(words)
    offset = np.arange(first, first + n, dtype=np.int64)
    return RawBatch("fab", 0, offset, offset + 1_000, [None] * n, [w.encode() for w in words], first + n)


@dataclass
class World:
    """One partition with one family, and the log of what it committed."""

    detectors: tuple[Detector | Assignment, ...] = (Above(),)
    clean_rows: int = 2
    log: list[Record] = field(default_factory=list)
    arrivals: Arrivals = field(default_factory=Arrivals)

    def __post_init__(self) -> None:
        self.open()

    def image(self) -> StateImage:
        return read_image([(r.key, r.value) for r in self.log if r.topic == "state"], decode_json)

    def open(self) -> tuple[str, ...]:
        """Forget everything and open from the log, as a new owner does; return the detectors without state."""
        image = self.image()
        position = image.position or Position("fab", 0, 0, 0, 0, 0, "1")
        self.family = FamilyFold("quality", "test", self.detectors, self.clean_rows)
        disabled = position.disabled_before(position.snapshot_offset)
        without = self.family.open("fab", 0, image.series, image.pages, disabled)
        start = position._replace(next_offset=position.snapshot_offset)
        encoders = dict.fromkeys(("position", "page", "series_page", "applied_change", "alert", "dead_letter"), Json())
        snapshot = Snapshot(image, configured({"test": self.detectors}))
        self.fold = PartitionFold(
            "quality",
            start,
            image.series,
            Words(),
            encoders,
            TOPICS,
            image.changes,
            self.arrivals,
            image.pages,
            snapshot,
        )
        return without

    def replay(self, words: Sequence[str], target: Position, at_most: int = 1000) -> None:
        """Fold the log's records between snapshot and position again, in batches of `at_most`, as a slot does."""
        replay = Replay(target, self.image().changes)
        for raw in cut(raw_of(words), range(0, len(words), at_most)):
            for piece in replay.pieces(raw):
                self.again(piece)
        assert replay.done
        rest = replay.rest()
        if rest is not None:
            self.again(rest)

    def again(self, piece: Piece) -> None:
        for detector in piece.disabled:
            self.family.disable(0, detector)
        step = self.fold.begin(piece.raw, piece.changes, emit=False)
        self.family.step(step.work)
        self.fold.replayed(step)

    def step(
        self,
        words: Sequence[str],
        *,
        snapshot: bool = False,
        changes: Sequence[PartitionChange] = (),
        bytes_max: int = TRANSACTION_BYTES_MAX,
    ) -> list[Record]:
        """Fold a batch and commit what comes out."""
        step = self.fold.begin(raw_of(words, self.fold.position.next_offset), changes)
        outputs, pages = self.family.run([step.work], snapshot)
        records = self.fold.conclude(step, outputs, pages.get(0) if snapshot else None, bytes_max)
        self.log += records
        return records

    def state(self) -> dict[str, list[tuple[str, bytes]]]:
        """Everything that the detectors and alert books hold, for comparison bit by bit."""
        opened = self.family._partitions[0]
        return {
            table.detector: [(name, array[: table.rows].tobytes()) for name, array in sorted(table.arrays.items())]
            for judge in opened.judges
            for table in (judge.table, judge.book)
        } | {"params": [("rows", opened.params.rows[: len(opened.series)].tobytes())]}

    def alerts(self) -> list[dict[str, Any]]:
        return [decode_json(record.value) for record in self.log if record.topic == "alerts"]
