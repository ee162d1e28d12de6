"""One partition over the model of a log, driven by plain calls: steps, torn steps, owners that come back."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from random import Random
from typing import Any

from actors.engine.control import PartitionChange
from actors.engine.fold import PartitionFold, Topics
from actors.engine.position import Position, Record, read_image
from actors.engine.replay import Piece, Replay
from actors.engine.snapshot import Snapshot
from actors.hosts import InOwner, Opening
from actors.kafka.client import Cluster
from actors.pipeline import Pipeline
from actors.surroundings import Codec, Surroundings
from schemas.batch import RawBatch, cut
from schemas.charts import unpack
from tests.actors.engine.world import Above, Fragile, Json, Words, decode_json
from tests.simulation.broker import Broker
from tests.simulation.model import Client, Faults, ModelLog, Runtime, VirtualClock

RECORDS = ("position", "page", "series_page", "applied_change", "alert", "dead_letter", "deal")
FAMILIES = {"high": (Above(), Fragile()), "low": (Above(limit=5.0, name="test.low"),)}
START = Position("fab", 0, 0, 0, 0, 0, "1")
WHOLE = 1 << 30


@dataclass
class TornLine:
    """A pipeline of one partition and two families."""

    families: Mapping[str, tuple[Any, ...]] = field(default_factory=lambda: FAMILIES)
    topics: Topics = field(default_factory=lambda: Topics("charts", "alerts", "dead", "state"))
    sent: int = 0  # records of the input

    def __post_init__(self) -> None:
        clock = VirtualClock()
        self.broker = Broker(clock, Random(1))
        for topic in ("fab", "charts", "alerts", "dead", "state", *filter(None, (self.topics.deals, self.topics.late))):
            self.broker.create(topic, 1)
        self.pipeline = Pipeline(
            "quality", Cluster(""), "fab", (0,), self.topics, self.families, {}, clean_rows=2, code_version="1"
        )
        encoders = dict.fromkeys(RECORDS, Json())
        self.around = Surroundings(
            ModelLog(self.broker, clock), clock, Codec(Words(), encoders, decode_json, lambda _: None)
        )
        self.open()

    def hosts(self) -> InOwner:
        return InOwner("quality", self.families, 2)

    # ---- the owner

    def read(self, topic: str, partitions: Sequence[int] = (0,)) -> list[tuple[bytes, bytes | None]]:
        log = self.around.log
        found = log.read_to_end("t", topic, log.end(topic, partitions), 1.0)
        return [entry for partition in partitions for entry in found[partition]]

    def open(self) -> None:
        """Forget everything and open from the log; the slot's own checks are not made."""
        image = read_image(self.read("state"), decode_json)
        position = image.position or START
        self.families_of = self.hosts()
        disabled = frozenset(position.disabled_before(position.snapshot_offset))
        self.families_of.open(Opening("fab", 0, image.series, tuple(image.pages), disabled))
        start = position._replace(next_offset=position.snapshot_offset)
        codec = self.around.codec
        self.fold = PartitionFold(
            "quality", start, image.series, codec.decoder, codec.encoders, self.topics, image.changes,
            pages=image.pages, snapshot=Snapshot(image),
        )  # fmt: skip
        replay = Replay(position, image.changes)
        for raw in self.input(replay.at):
            for piece in replay.pieces(raw):
                self._again(piece)
        rest = replay.rest()
        if rest is not None:
            self._again(rest)
        self.writer = self.around.log.writer("quality-0")
        self.writer.open()

    def _again(self, piece: Piece) -> None:
        for detector in piece.disabled:
            self.families_of.disable(0, detector)
        step = self.fold.begin(piece.raw, piece.changes, emit=False)
        self.families_of.judge([step.work], snapshot=False)()
        self.fold.replayed(step)

    def input(self, start: int, end: int | None = None) -> list[RawBatch]:
        """Return the records from `start` on; with `end`, one batch that ends there."""
        reader = self.around.log.reader("t", "fab")
        reader.assign({0: start})
        batches = reader.poll(10_000, 0.0).batches
        return batches if end is None else [cut(raw, [end])[0] for raw in batches]

    def send(self, words: Sequence[str]) -> None:
        for word in words:
            self.broker.append(("fab", 0), word.encode(), timestamp_ms=1_000 + self.sent)
            self.sent += 1

    def fold_step(
        self, rows: int, *, snapshot: bool = False, changes: Sequence[PartitionChange] = (), bytes_max: int = WHOLE
    ) -> list[Record]:
        """Fold the next records and return what the transaction must hold."""
        at = self.fold.position.next_offset
        (raw,) = self.input(at, min(at + rows, self.sent))
        step = self.fold.begin(raw, changes)
        judged = self.families_of.judge([step.work], snapshot=snapshot)()
        return self.fold.conclude(step, judged.outputs[0], judged.pages.get(0) if snapshot else None, bytes_max)

    def step(self, rows: int, **how: Any) -> None:
        """Take a step and commit it."""
        records = self.fold_step(rows, **how)
        offsets = {0: self.fold.position.next_offset}
        self.writer.commit(records, "fab", offsets, "quality").result(1)

    def tear(self, rows: int, seen: Mapping[str, int], **how: Any) -> None:
        """Take a step of which only the first records of each topic partition can be seen; nobody owns it then."""
        records = self.fold_step(rows, **how)
        client = Client(self.broker, "quality-0", Runtime(), Faults())
        client.init()
        client.begin()
        counts: dict[str, int] = {}
        for record in records:
            counts[record.topic] = counts.get(record.topic, 0) + 1
            if counts[record.topic] <= seen.get(record.topic, 0):
                client.produce(record)
        client.commit()

    # ---- what came of it

    def committed(self) -> int | None:
        return self.broker.committed("quality", ("fab", 0))

    def rows(self) -> dict[tuple[int, str], tuple[Any, ...]]:
        """Unpack every row of every chart record. Each once."""
        rows: dict[tuple[int, str], tuple[Any, ...]] = {}
        for _, value in self.read("charts"):
            block = unpack(value or b"")
            for name, said in block.detectors.items():
                for i, offset in enumerate(block.offset.tolist()):
                    assert (offset, name) not in rows
                    numbers = (said.statistic[i], said.centre[i], said.lcl[i], said.ucl[i])
                    rows[offset, name] = (
                        block.seq, block.series_keys[block.series[i]], block.value[i].tobytes(),
                        *(n.tobytes() for n in numbers), int(said.signal[i]), bool(said.valid[i]),
                    )  # fmt: skip
        return rows

    def events(self) -> list[str]:
        """Return alerts and dead letters, sorted; tracebacks left out, which name lines."""
        found = [decode_json(value or b"") for value in self.values("alerts") + self.values("dead")]
        return sorted(str({name: said for name, said in event.items() if name != "detail"}) for event in found)

    def values(self, topic: str, partitions: Sequence[int] = (0,)) -> list[bytes]:
        return [value or b"" for _, value in self.read(topic, partitions)]

    def state(self) -> dict[str, Any]:
        """Return all that detectors and alert books hold, and where the fold stands."""
        held: dict[str, Any] = {"series": list(self.fold.series.keys)}
        for family in self.families_of._folds:
            opened = family._partitions[0]
            for judge in opened.judges:
                for table in (judge.table, judge.book):
                    held[table.detector] = [(n, a[: table.rows].tobytes()) for n, a in sorted(table.arrays.items())]
        position = self.fold.position
        return held | {"position": (position.next_offset, position.applied, position.event_time_ms)}
