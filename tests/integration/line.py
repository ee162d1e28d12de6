"""A line for tests: topics of its own on the real broker, measurements in, unpacked verdicts out."""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from confluent_kafka import Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic

from actors import supervisor
from actors.deal import Deal, Dealer, Seat
from actors.engine.fold import Topics
from actors.hosts import Hosts, InOwner
from actors.kafka.client import Cluster
from actors.kafka.consumer import Offsets, PartitionReader, read_to_end
from actors.kafka.log import KafkaLog, SystemClock
from actors.pipeline import Pipeline
from actors.slot import Slot
from actors.surroundings import Codec, Surroundings
from cluster.local.stack import Endpoints
from models.builtin import FAMILIES
from models.detector import Detector
from schemas.batch import series_key
from schemas.charts import unpack
from schemas.decode import decode_event
from schemas.encode import Encoder
from schemas.registry import Registry
from schemas.topics import schema_text

WAIT_S = 150.0  # patience with a busy machine, which starts processes slowly; no bound of ours
OUTPUT_RECORDS = {
    "alert": "alerts",
    "dead_letter": "dead_letters",
    "position": "state",
    "page": "state",
    "series_page": "state",
    "applied_change": "state",
    "deal": "deals",
}


def wait_for(condition: Callable[[], bool], what: str, timeout_s: float = WAIT_S) -> None:
    """Wait until a condition holds; fail the test with `what` otherwise."""
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, f"{what}: not within {timeout_s} s"
        time.sleep(0.02)


@dataclass
class TestLine:
    """One pipeline's topics, and ways to write and read them."""

    __test__ = False

    endpoints: Endpoints
    partitions: int = 2
    families: Mapping[str, tuple[Detector, ...]] = field(
        default_factory=lambda: {family: make(10) for family, make in FAMILIES.items()}
    )
    settings: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.name = f"t{uuid.uuid4().hex[:8]}"
        self.cluster = Cluster(self.endpoints.bootstrap_servers, self.endpoints.registry_url)
        self.registry = Registry(self.endpoints.registry_url)
        self.input = f"{self.name}.in"
        self.topics = Topics(
            f"{self.name}.charts",
            f"{self.name}.alerts",
            f"{self.name}.dlq",
            f"{self.name}.state",
            f"{self.name}.control",
            f"{self.name}.deals",
        )
        self.admin = AdminClient({"bootstrap.servers": self.endpoints.bootstrap_servers})
        compacted = {"cleanup.policy": "compact"}
        large = {"max.message.bytes": "8388608"}
        new = [
            NewTopic(self.input, self.partitions, 1),
            NewTopic(self.topics.charts, self.partitions, 1, config=large),
            NewTopic(self.topics.alerts, self.partitions, 1),
            NewTopic(self.topics.dead_letters, self.partitions, 1),
            NewTopic(self.topics.state, self.partitions, 1, config=compacted),
            NewTopic(self.topics.control, 1, 1, config=compacted),
            NewTopic(self.topics.deals, 1, 1, config=compacted),
        ]
        for future in self.admin.create_topics(new).values():
            future.result(20)
        self.encoder = Encoder("measurement", self.registry.register(f"{self.input}-value", schema_text("measurement")))
        self.schema_ids = {
            record: self.registry.register(f"{getattr(self.topics, topic)}-{record}", schema_text(record))
            for record, topic in OUTPUT_RECORDS.items()
        }
        self.producer = Producer({"bootstrap.servers": self.endpoints.bootstrap_servers, "linger.ms": 5})
        self.offsets = Offsets(self.cluster)
        self.written: dict[int, list[bytes]] = {partition: [] for partition in range(self.partitions)}

    def pipeline(self) -> Pipeline:
        return Pipeline(
            name=self.name,
            input_topic=self.input,
            partitions=tuple(range(self.partitions)),
            topics=self.topics,
            families=self.families,
            schema_ids=self.schema_ids,
            **{
                "cluster": self.cluster,
                "hosting": "owner",
                "commit_interval_ms": 10,
                "snapshot_interval_ms": 300,
                **self.settings,
            },
        )

    def deal(self, change: Callable[[Deal], Deal] = lambda deal: deal, slots: int = 1) -> Deal:
        """Change the deal as a supervisor does, beginning with one over `slots` slots; return what holds."""
        pipeline = self.pipeline()
        codec = Codec.of(pipeline)
        dealer = Dealer(KafkaLog(self.cluster), self.name, self.topics.deals, codec.encoders["deal"], codec.read)
        dealt = dealer.change(lambda deal: change(deal or Deal.first(self.name, self.partitions, slots)))
        assert dealt is not None
        return dealt

    def slot(self, hosts: Hosts | None = None, seat: Seat | None = None) -> Slot:
        """Return a slot, not opened yet, its families in this process: the newest incarnation of slot 0, or this seat."""
        pipeline = self.pipeline()
        seat = seat or self.deal().seats()[0]
        around = Surroundings(pipeline.log(self.cluster), SystemClock(), Codec.of(pipeline))
        return Slot(pipeline, seat, hosts or InOwner(pipeline.name, pipeline.families, pipeline.clean_rows), around)

    # ---- writing

    def measurement(self, series: str, value: float | None, n: int, **further: Any) -> bytes:
        return self.encoder.encode(
            {
                "event_id": f"e{n}", "timestamp": 1_700_000_000_000 + n, "equipment": "E1", "chamber": "A", "recipe": "R",
                "operation": "10", "characteristic": series, "lot": "L1", "wafer": f"W{n}", "site": None, "subgroup": None,
                "value": value, "unit": "nm", "lsl": 0.0, "usl": 20.0, "target": 10.0, "metadata": {}, **further,
            }
        )  # fmt: skip

    def write(self, partition: int, values: Sequence[bytes]) -> None:
        """Write raw records to a partition and wait until they are there."""
        for value in values:
            self.producer.produce(self.input, value, b"key", partition)
            self.producer.poll(0)
        assert self.producer.flush(20) == 0
        self.written[partition] += values

    def write_noise(self, rows: int, seed: int = 1, series: int = 3) -> None:
        """Write random measurements with some excursions and missing values to every partition."""
        random = np.random.default_rng(seed)
        for partition in range(self.partitions):
            value = random.normal(10, 1, rows)
            value[random.random(rows) < 0.02] += 8
            missing = random.random(rows) < 0.05
            first = len(self.written[partition])
            self.write(
                partition,
                [
                    self.measurement(f"s{i % series}", None if gone else float(x), first + i)
                    for i, (x, gone) in enumerate(zip(value, missing, strict=True))
                ],
            )

    # ---- reading

    def ends(self) -> dict[int, int]:
        return self.offsets.end(self.input, range(self.partitions))

    def committed(self) -> dict[int, int | None]:
        reader = PartitionReader(self.cluster, self.name, self.input)
        try:
            return reader.committed(range(self.partitions))
        finally:
            reader.close()

    def wait_done(self) -> None:
        """Wait until everything written is judged and committed."""
        ends = self.ends()
        reader = PartitionReader(self.cluster, self.name, self.input)
        try:
            wait_for(lambda: reader.committed(ends) == ends, f"{self.name}: offsets {ends} committed")
        finally:
            reader.close()

    def read(self, topic: str) -> dict[int, list[tuple[bytes, bytes | None]]]:
        """Read all of a topic, read_committed."""
        ends = self.offsets.end(topic, range(self.partitions), committed=True)
        return read_to_end(self.cluster, f"{self.name}-reader", topic, ends, 20.0)

    def verdicts(self) -> dict[tuple, tuple]:
        """Unpack every row of every chart record: (partition, offset, detector) → all that was said. Each once.

        Of a record of many samples, (offset, sample) stands for the offset of those after the first.
        """
        rows: dict[tuple, tuple] = {}
        for partition, records in self.read(self.topics.charts).items():
            for _, value in records:
                block = unpack(value or b"")
                for name, said in block.detectors.items():
                    samples = [0] * len(block) if block.sample is None else block.sample.tolist()
                    for i, (offset, sample) in enumerate(zip(block.offset.tolist(), samples, strict=True)):
                        place = (partition, (offset, sample) if sample else offset, name)
                        assert place not in rows, f"{place} stands twice in the output"
                        numbers = (said.statistic[i], said.centre[i], said.lcl[i], said.ucl[i])
                        rows[place] = (
                            block.series_keys[block.series[i]], block.wafer[i], block.value[i].tobytes(),
                            *(n.tobytes() for n in numbers), int(said.signal[i]), bool(said.valid[i]),
                        )  # fmt: skip
        return rows

    def events(self, topic: str) -> list[dict[str, Any]]:
        return [
            decode_event(value, self.registry.schema)
            for records in self.read(topic).values()
            for _, value in records
            if value is not None
        ]

    def alerts(self) -> list[tuple]:
        """Return what identifies each alert record, sorted; the pipeline's and topic's own names left out."""
        keep = (
            "partition",
            "series",
            "detector",
            "rule",
            "state",
            "opened_offset",
            "last_offset",
            "closed_offset",
            "rows",
        )
        return sorted(tuple(str(alert[name]) for name in keep) for alert in self.events(self.topics.alerts))

    def positions(self) -> dict[int, dict[str, Any]]:
        found = {}
        for partition, records in self.read(self.topics.state).items():
            newest = [value for key, value in records if key == b"position" and value is not None][-1]
            found[partition] = decode_event(newest, self.registry.schema)
        return found

    def set_committed(self, partition: int, offset: int) -> None:
        """Change the group's committed offset behind the pipeline's back."""
        from confluent_kafka import ConsumerGroupTopicPartitions

        wanted = ConsumerGroupTopicPartitions(self.name, [TopicPartition(self.input, partition, offset)])
        self.admin.alter_consumer_group_offsets([wanted])[self.name].result(20)

    def delete_input(self, partition: int, before: int) -> None:
        asked = [TopicPartition(self.input, partition, before)]
        for future in self.admin.delete_records(asked).values():
            future.result(20)


def wait_owner(line: TestLine, until: Callable[[dict[str, Any]], bool], slot: int = 0) -> dict[str, Any]:
    """Wait until the owner of a slot in Ray is as wanted; return what it says."""

    def owner(said: dict[str, Any]) -> dict[str, Any]:
        return next((owner for owner in said["owners"] if owner["slot"] == slot), {"state": "none"})

    return owner(supervisor.wait_status(line.name, lambda said: until(owner(said)), WAIT_S))


def series_of(name: str) -> str:
    """Return the series key of a test measurement."""
    return series_key("E1", "A", "R", "10", name)


def same_as_undisturbed(line: TestLine, run: Callable[[TestLine], None]) -> None:
    """Assert that what a disturbed line put out is what an undisturbed one puts out for the same records."""
    calm = TestLine(
        line.endpoints, line.partitions, line.families, line.settings | {"hosting": "owner", "cluster": line.cluster}
    )
    for partition, values in line.written.items():
        calm.write(partition, values)
    run(calm)
    disturbed, undisturbed = line.verdicts(), calm.verdicts()
    assert disturbed.keys() == undisturbed.keys()
    assert [place for place in disturbed if disturbed[place] != undisturbed[place]] == []
    assert line.alerts() == calm.alerts()
