"""Output topics of a pipeline on the real broker, written as an owner writes them: real verdicts, in transactions."""

from __future__ import annotations

import time
import uuid
from collections.abc import Sequence
from typing import Any

import numpy as np
from confluent_kafka import Producer
from confluent_kafka.admin import AdminClient, NewTopic

from actors.engine.alert_records import Source, alert_records
from actors.engine.family import FamilyFold, Work
from actors.kafka.client import Cluster
from actors.view import Sources
from cluster.local import Endpoints
from models.builtin import FAMILIES
from schemas.batch import MicroBatch
from schemas.decode import decode_event
from schemas.encode import Encoder
from schemas.registry import Registry
from schemas.texts import Texts
from schemas.topics import load, schema_text

PHASE_ONE_ROWS = 20
PARTITIONS = 2
CALL_S = 20.0


class OutputLine:
    """Judges rows with the built-in families and publishes what an owner would; one input partition."""

    def __init__(self, endpoints: Endpoints, partition: int = 0) -> None:
        self.pipeline = f"t{uuid.uuid4().hex[:8]}"
        self.cluster = Cluster(endpoints.bootstrap_servers, endpoints.registry_url)
        self.sources = Sources(f"{self.pipeline}.charts", f"{self.pipeline}.alerts", (f"{self.pipeline}.dlq",))
        self.partition = partition
        self.keys: list[str] = []
        self.next_offset = 0
        self.seq = 0
        self.folds = [FamilyFold(self.pipeline, family, make(PHASE_ONE_ROWS)) for family, make in FAMILIES.items()]
        for fold in self.folds:
            fold.open("fab.measurements", partition, (), ())
        admin = AdminClient({"bootstrap.servers": endpoints.bootstrap_servers})
        new = [
            NewTopic(self.sources.charts, PARTITIONS, 1),
            NewTopic(self.sources.alerts, PARTITIONS, 1),
            NewTopic(self.sources.dead_letters[0], 1, 1),
        ]
        for future in admin.create_topics(new).values():
            future.result(CALL_S)
        registry = Registry(endpoints.registry_url)
        self.encoder = {
            record: Encoder(record, registry.register(f"{topic}-value", schema_text(record)))
            for record, topic in (("alert", self.sources.alerts), ("dead_letter", self.sources.dead_letters[0]))
        }
        self.producer = Producer(
            {"bootstrap.servers": endpoints.bootstrap_servers, "transactional.id": self.pipeline, "linger.ms": 0}
        )
        self.producer.init_transactions(CALL_S)

    def publish(
        self,
        rows: Sequence[tuple[str, float]],
        *,
        lsl: float = np.nan,
        usl: float = np.nan,
        published_ms: int | None = None,
        abort: bool = False,
    ) -> list[dict[str, Any]]:
        """Judge (series, value) rows as one step and publish charts and alerts; return the alerts."""
        n = len(rows)
        known = {key: code for code, key in enumerate(self.keys)}
        for series, _ in rows:
            known.setdefault(series, len(known))
        new_series = tuple(list(known)[len(self.keys) :])
        self.keys += new_series
        now = int(time.time() * 1000) if published_ms is None else published_ms
        offset = np.arange(self.next_offset, self.next_offset + n)
        batch = MicroBatch(
            topic="fab.measurements",
            partition=self.partition,
            offset=offset,
            next_offset=self.next_offset + n,
            event_time_ms=1_216_468_500_000 + 60_000 * offset,
            published_ms=np.full(n, now),
            series=np.array([known[series] for series, _ in rows], np.int32),
            value=np.array([value for _, value in rows], np.float64),
            subgroup=np.full(n, -1, np.int64),
            columns={name: np.full(n, value) for name, value in (("lsl", lsl), ("usl", usl), ("target", np.nan))}
            | {
                "lot": Texts.of(f"LOT{i // 25}" for i in offset),
                "wafer": Texts.of(f"W{i % 25}" for i in offset),
            },
        )
        self.seq += 1
        outputs = [
            fold.step(Work(self.partition, self.seq, self.next_offset, batch, new_series, emit=True))
            for fold in self.folds
        ]
        self.next_offset += n
        self.producer.begin_transaction()
        for output in outputs:
            self.producer.produce(self.sources.charts, output.chart, partition=self.partition)
        source = Source(self.pipeline, batch.topic, self.partition)
        records = [
            record
            for output in outputs
            for events in output.alerts
            for record in alert_records(events, batch, source, self.sources.alerts, self.encoder["alert"])
        ]
        for record in records:
            self.producer.produce(record.topic, record.value, key=record.key)
        if abort:
            self.producer.abort_transaction(CALL_S)
        else:
            self.producer.commit_transaction(CALL_S)
        return [decode_event(record.value or b"", lambda _: load("alert")) for record in records]

    def raw(self, topic: str, *values: bytes | None, partition: int = 0) -> None:
        """Publish records as they are."""
        self.producer.begin_transaction()
        for value in values:
            self.producer.produce(topic, value, partition=partition)
        self.producer.commit_transaction(CALL_S)

    def dead_letter(self, reason: str) -> None:
        """Publish a dead letter."""
        record = {
            "topic": "fab.measurements", "partition": 0, "offset": 1, "timestamp_ms": 1, "reason": reason, "detail": "",
            "key": None, "value": b"x", "attempts": 1, "source": self.pipeline,
        }  # fmt: skip
        self.raw(self.sources.dead_letters[0], self.encoder["dead_letter"].encode(record))

    def in_control(self, series: Sequence[str], rows: int, seed: int = 1) -> list[tuple[str, float]]:
        """Return `rows` rows of each series around 10 with sigma 1, without runs: rounds of the series."""
        values = 10 + np.random.default_rng(seed).uniform(-1.5, 1.5, (rows, len(series)))
        return [(key, float(value)) for row in values for key, value in zip(series, row, strict=True)]
