"""Topics and schemas: complete, documented, and consistent with each other."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import fastavro
import pytest

from schemas.topics import (
    ALERT_ACTIONS,
    ALERTS,
    AVRO,
    CHARTS,
    CONTROL,
    MEASUREMENTS,
    NOTIFY,
    REDRIVES,
    RETRY_DELAYS_S,
    STATE,
    TOPICS,
    VECTORS,
    dead_letter_topic,
    full_name,
    group_dead_letter_topic,
    late_topic,
    load,
    record_names,
    retry_topic,
    schema_text,
    subject_of,
)

NAMES = record_names()
FAB = [topic for topic in TOPICS.values() if topic.dead_letters is not None]


def named_types(schema: Any) -> Iterator[dict[str, Any]]:
    """Yield all records, enums and fixeds of a schema."""
    if isinstance(schema, list):
        for branch in schema:
            yield from named_types(branch)
    elif isinstance(schema, dict):
        if schema["type"] in {"record", "enum", "fixed"}:
            yield schema
        for field in schema.get("fields", ()):
            yield from named_types(field["type"])
        for inside in ("type", "items", "values"):
            if isinstance(schema.get(inside), dict | list):
                yield from named_types(schema[inside])


def test_the_schemas_are_the_ones_agreed() -> None:
    assert set(NAMES) == {
        "access_key", "access_session", "alert", "alert_life", "applied_change", "control", "deal", "dead_letter", "deployment",
        "inspection", "job", "job_alias", "job_run", "manufacturing", "measurement", "measurement_array", "ml", "operation",
        "page", "position",
        "quality", "redrive", "series_page", "system", "user", "vector_measurement",
    }  # fmt: skip


@pytest.mark.parametrize("name", NAMES)
def test_every_field_enum_and_record_says_what_it_is(name: str) -> None:
    fastavro.parse_schema(load(name))
    for schema in named_types(load(name)):
        assert schema["doc"].strip(), schema["name"]
        for field in schema.get("fields", ()):
            assert field["doc"].strip(), f"{schema['name']}.{field['name']}"


@pytest.mark.parametrize("name", NAMES)
def test_every_enum_can_grow(name: str) -> None:
    for schema in named_types(load(name)):
        if schema["type"] == "enum":
            assert schema["default"] in schema["symbols"]


@pytest.mark.parametrize("name", NAMES)
def test_logical_types_stand_inside_the_type(name: str) -> None:
    for schema in named_types(load(name)):
        assert all("logicalType" not in field for field in schema.get("fields", ()))


@pytest.mark.parametrize("name", NAMES)
def test_every_schema_travels_in_a_topic(name: str) -> None:
    assert any(name in topic.records for topic in TOPICS.values())


def test_the_request_s_inspection_fields_are_kept() -> None:
    fields = {field["name"]: field["type"] for field in load("inspection")["fields"]}
    assert list(fields) == [
        "event_id", "event_type", "timestamp", "inspection_id", "batch_id", "chip_id", "inspection_type", "status",
        "quality_score", "defects", "metadata",
    ]  # fmt: skip
    assert fields["timestamp"] == {"type": "long", "logicalType": "timestamp-millis"}
    assert fields["event_type"]["symbols"][:6] == [
        "INSPECTION_CREATED", "INSPECTION_STARTED", "INSPECTION_COMPLETED", "INSPECTION_FAILED", "DEFECT_DETECTED",
        "QUALITY_ASSESSED",
    ]  # fmt: skip


def test_the_registered_text_is_the_file_whatever_its_layout() -> None:
    assert json.loads(schema_text("alert")) == json.loads((AVRO / "alert.avsc").read_text()) == load("alert")
    assert "\n" not in schema_text("alert")


def test_an_unknown_schema_is_named() -> None:
    with pytest.raises(
        KeyError,
        match="no schema 'measurements'; there are access_key, access_session, alert, alert_life, applied_change",
    ):
        load("measurements")


@pytest.mark.parametrize("topic", FAB, ids=lambda topic: topic.name)
def test_every_input_has_its_dead_letters(topic: Any) -> None:
    letters = TOPICS[dead_letter_topic(topic.name)]
    assert topic.dead_letters == letters.name
    assert letters.records == ("dead_letter",)
    assert letters.partition_count(9) == topic.partition_count(9) == 9
    assert letters.dead_letters is None


@pytest.mark.parametrize("name", [MEASUREMENTS, VECTORS])
def test_what_is_folded_has_a_topic_for_what_is_set_aside(name: str) -> None:
    late = TOPICS[late_topic(name)]
    assert late.records == ("dead_letter",)
    assert late.partition_count(9) == TOPICS[name].partition_count(9) == 9


@pytest.mark.parametrize("topic", TOPICS.values(), ids=lambda topic: topic.name)
def test_every_topic_says_all_about_itself(topic: Any) -> None:
    assert topic.doc
    assert topic.key
    assert topic.writers
    assert topic.readers
    assert topic.config["cleanup.policy"] in {"delete", "compact", "compact,delete"}
    assert topic.config["message.timestamp.type"] == "CreateTime"
    assert all(isinstance(value, str) for value in topic.config.values())


def test_state_is_compacted_within_minutes() -> None:
    config = TOPICS[STATE].config
    assert config["cleanup.policy"] == "compact"
    assert int(config["segment.ms"]) <= 15 * 60_000
    assert int(config["max.compaction.lag.ms"]) <= 15 * 60_000


def test_changes_are_in_one_order_and_kept() -> None:
    control = TOPICS[CONTROL]
    assert control.partition_count(9) == 1
    assert control.config["cleanup.policy"] == "compact"
    assert control.key == "change_id"


def test_the_life_of_an_alert_is_kept_for_longer_than_the_alert() -> None:
    lives = TOPICS[ALERT_ACTIONS]
    assert (lives.key, lives.partition_count(9)) == ("alert_id", 1)
    assert int(lives.config["retention.ms"]) > int(TOPICS[ALERTS].config["retention.ms"])


def test_what_is_written_of_a_series_when_it_took_effect_is_what_the_change_said() -> None:
    control, applied = (
        {f["name"]: f for f in load(name)["fields"]}["changes"] for name in ("control", "applied_change")
    )
    assert control["type"]["items"]["fields"] == applied["type"]["items"]["fields"]


def test_outputs_are_partitioned_as_the_input() -> None:
    assert {TOPICS[name].partition_count(6) for name in (MEASUREMENTS, ALERTS, CHARTS, STATE)} == {6}


def test_a_plain_consumer_has_a_topic_for_every_delay_and_one_for_what_it_gave_up() -> None:
    waiting = [TOPICS[retry_topic(ALERTS, NOTIFY, delay_s)] for delay_s in RETRY_DELAYS_S]
    assert list(RETRY_DELAYS_S) == sorted(RETRY_DELAYS_S)
    for topic, delay_s in zip(waiting, RETRY_DELAYS_S, strict=True):
        assert int(topic.config["retention.ms"]) > 10 * delay_s * 1000
        assert int(topic.config["max.message.bytes"]) > 1_048_588 + 64 * 1024
        assert topic.partition_count(9) == 1
    assert TOPICS[group_dead_letter_topic(ALERTS, NOTIFY)].records == ("dead_letter",)


def test_redrives_are_known_for_longer_than_dead_letters_are_kept() -> None:
    kept = [int(topic.config["retention.ms"]) for name, topic in TOPICS.items() if name.endswith(".dlq")]
    assert int(TOPICS[REDRIVES].config["retention.ms"]) > max(kept)


def test_samples_have_the_fields_of_a_measurement_and_their_times() -> None:
    single, many = ({f["name"]: f for f in load(name)["fields"]} for name in ("measurement", "measurement_array"))
    assert many.keys() - single.keys() == {"values", "period_us"}
    assert single.keys() - many.keys() == {"value"}
    shared = single.keys() & many.keys()
    assert {name: many[name]["type"] for name in shared} == {name: single[name]["type"] for name in shared}


def test_subjects() -> None:
    assert subject_of(MEASUREMENTS, "measurement") == "fab.measurements-value", "as when it stood there alone"
    assert subject_of(MEASUREMENTS, "measurement_array") == f"fab.measurements-{full_name('measurement_array')}"
    assert subject_of(STATE, "position") == "quality.state-com.chipquality.state.Position"
    assert subject_of("yours", "alert") == "yours-value"
    assert full_name("alert") == "com.chipquality.events.alert.Alert"


def test_a_topic_may_have_a_number_of_partitions_of_its_own() -> None:
    from dataclasses import replace

    assert replace(TOPICS[ALERTS], partitions=1).partition_count(9) == 1
