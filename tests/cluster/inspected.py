"""What tests of the page's views of the work put into Kafka: inspections, dead letters, changes that partitions have made."""

from __future__ import annotations

import time
from typing import Any

import numpy as np
from confluent_kafka import Producer

from actors.engine.control import AppliedChange, PartitionChange
from actors.engine.dead_letters import dead_letter_record
from actors.engine.position import change_record
from models.limit_versions import Kind, Limits, SeriesChange
from schemas.batch import DeadLetter, Reason
from schemas.encode import Encoder
from schemas.registry import Registry
from schemas.topics import STATE, dead_letter_topic, schema_text, subject_of
from tests.cluster.served import Served, wait_for

LETTERS = dead_letter_topic("fab.system")
TYPES = ("SCRATCH", "PARTICLE", "VOID")
DEFECTS = 30
FLUSH_S = 20.0


def inspected(served: Served, inspection_id: str) -> list[dict[str, Any]]:
    """Publish an inspection with DEFECTS defects in mm, and one that says no place; wait until the view has read them."""
    places = np.random.default_rng(3).uniform(-90, 90, (DEFECTS, 2)).round(1)
    defects: list[dict[str, Any]] = [
        {"defect_type": TYPES[i % 3], "severity": "MAJOR", "confidence": 0.9, "location": f"x={x} y={y}"}
        for i, (x, y) in enumerate(places.tolist())
    ]
    defects.append({"defect_type": "STAIN", "severity": "MINOR", "confidence": 1.0, "location": "near the notch"})
    event = {
        "event_type": "DEFECT_DETECTED", "inspection_id": inspection_id, "batch_id": "B-1", "chip_id": "C-1",
        "inspection_type": "AOI", "status": "IN_PROGRESS", "metadata": {"lot": "L-1", "wafer": "W-1"}, "defects": defects,
    }  # fmt: skip
    answer = served.http.post("/events/inspection", json={"event": event})
    assert answer.status_code == 202, answer.text
    path = f"/wafer-maps/{inspection_id}"
    wait_for(lambda: served.http.get(path).status_code == 200, "the view reads the inspection")
    return defects


def letter(served: Served, source: str, target: str, offset: int) -> None:
    """Set a record of `target` aside, as a service `source` does."""
    registry = Registry(served.line.cluster.registry_url)
    encoder = Encoder("dead_letter", registry.register(subject_of(LETTERS, "dead_letter"), schema_text("dead_letter")))
    now = int(time.time() * 1000)
    lost = DeadLetter(target, 0, offset, now, Reason.MALFORMED, f"from {source}", b"key", b"a value")
    record = dead_letter_record(lost, LETTERS, source, encoder)
    producer = Producer({"bootstrap.servers": served.line.cluster.bootstrap_servers})
    producer.produce(record.topic, record.value, record.key, 0)
    assert producer.flush(FLUSH_S) == 0


def make(served: Served, item: dict[str, Any], at_offset: int) -> None:
    """Say, as an owner does in its state, that a partition has made a change (an item of GET /limits) from an offset on."""
    registry = Registry(served.line.cluster.registry_url)
    schema_id = registry.register(subject_of(STATE, "applied_change"), schema_text("applied_change"))
    encoders = {"applied_change": Encoder("applied_change", schema_id)}
    limits = Limits(**{name: item[name] for name in Limits._fields})
    share = SeriesChange(item["series"], item["partition"], limits, item["limits_version"] or 0, item["offset"])
    applied = AppliedChange(PartitionChange(item["change_id"], Kind(item["kind"]), (share,)), at_offset, 1, 0)
    record = change_record(STATE, served.line.partition, applied, encoders)
    producer = Producer({"bootstrap.servers": served.line.cluster.bootstrap_servers})
    producer.produce(STATE, record.value, record.key, served.line.partition)
    assert producer.flush(FLUSH_S) == 0
