"""`chipquality asyncapi`: valid by the specification's own schema, and everything of topics.py in it."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml
from typer.testing import CliRunner

from actors.sinks.journey import PREFIX, Journey
from cluster import cli
from cluster.asyncapi import AVRO, document
from cluster.config import KafkaConfig, RegistryConfig, load
from schemas.topics import CHARTS, MEASUREMENTS, TOPICS, record_names

SPECIFICATION = Path(__file__).parent / "vendor" / "asyncapi-3.0.0.json"
SECRET = "s3cret"  # noqa: S105


@pytest.fixture(scope="module")
def specification() -> Any:
    schema = json.loads(SPECIFICATION.read_text())
    return jsonschema.Draft7Validator(schema)


@pytest.fixture(scope="module")
def said() -> dict[str, Any]:
    return document(load())


def found(document: Any, reference: str) -> Any:
    assert reference.startswith("#/")
    for part in reference[2:].split("/"):
        document = document[part]
    return document


def references(part: Any) -> list[str]:
    if isinstance(part, dict):
        own = [part["$ref"]] if "$ref" in part else []
        return own + [reference for value in part.values() for reference in references(value)]
    return [reference for value in part for reference in references(value)] if isinstance(part, list) else []


def test_it_is_valid(specification: Any, said: dict[str, Any]) -> None:
    assert [error.message for error in specification.iter_errors(said)] == []


def test_the_specification_refuses_what_is_wrong(specification: Any, said: dict[str, Any]) -> None:
    channel = said["channels"][MEASUREMENTS]
    binding = {"kafka": channel["bindings"]["kafka"] | {"partitions": "many"}}
    for wrong in (
        {"asyncapi": "2.6.0"},
        {"channels": {"t": channel | {"bindings": binding}}},
        {"components": {"schemas": {"t": {"schemaFormat": AVRO, "schema": {"type": "recrod"}}}}},
        {"operations": {"o": {"action": "listen", "channel": {"$ref": "#/channels/t"}}}},
    ):
        assert not specification.is_valid(said | wrong), wrong


def test_every_reference_leads_somewhere(said: dict[str, Any]) -> None:
    told = references(said)
    assert len(told) > 4 * len(TOPICS)
    assert all(found(said, reference) for reference in told)


def test_every_topic_has_a_channel_with_its_settings_and_who_uses_it(said: dict[str, Any]) -> None:
    assert list(said["channels"]) == list(TOPICS)
    for topic in TOPICS.values():
        channel = said["channels"][topic.name]
        kafka = channel["bindings"]["kafka"]
        settings = {
            name: ",".join(value) if isinstance(value, list) else str(value)
            for name, value in kafka["topicConfiguration"].items()
        }
        assert settings == topic.config
        assert kafka["partitions"] == topic.partition_count(2)
        assert (channel["address"], channel["description"], channel.get("x-key")) == (topic.name, topic.doc, topic.key)
        for action, whose in (("send", topic.writers), ("receive", topic.readers)):
            operation = said["operations"][f"{action}.{topic.name}"]
            assert (operation["action"], operation["summary"]) == (action, whose)
            assert found(said, operation["channel"]["$ref"]) is channel
            assert [found(said, one["$ref"]) for one in operation["messages"]] == list(channel["messages"].values())


def test_messages_are_the_avro_schemas_as_they_are_registered(said: dict[str, Any]) -> None:
    schemas = said["components"]["schemas"]
    assert {name for name, one in schemas.items() if one.get("schemaFormat") == AVRO} == set(record_names())
    assert {name for topic in TOPICS.values() for name in topic.records} == set(record_names())
    messages = said["channels"][MEASUREMENTS]["messages"]
    assert [(name, one["x-subject"], one["bindings"]["kafka"]["schemaLookupStrategy"]) for name, one in messages.items()] == [
        ("measurement", "fab.measurements-value", "TopicNameStrategy"),
        (
            "measurement_array",
            "fab.measurements-com.chipquality.events.measurement.MeasurementArray",
            "TopicRecordNameStrategy",
        ),
    ]  # fmt: skip
    assert messages["measurement"]["correlationId"] == {"location": "$message.header#/correlation-id"}
    assert list(said["channels"][CHARTS]["messages"]) == ["block"]


def test_headers_of_a_retry_are_those_of_a_journey(said: dict[str, Any]) -> None:
    headers = said["components"]["schemas"]["journey"]["properties"]
    assert {name for name in headers if name.startswith(PREFIX)} == {f"{PREFIX}{name}" for name in Journey._fields}


def test_servers_are_as_configured_and_without_secrets() -> None:
    kafka = KafkaConfig(
        bootstrap_servers="k1:9093,k2:9093",
        client={"security.protocol": "SASL_SSL", "sasl.password": SECRET},  # type: ignore[dict-item]  # pydantic makes them
        partitions=7,
        replication_factor=3,
    )
    registry = RegistryConfig(url=f"https://ada:{SECRET}@registry:8081", client={"basic.auth.user.info": SECRET})  # type: ignore[dict-item]
    said = document(load(kafka=kafka, registry=registry))
    server = said["servers"]["kafka"]
    assert (server["protocol"], server["variables"]["bootstrap_servers"]["default"]) == (
        "kafka-secure",
        "k1:9093,k2:9093",
    )
    assert server["bindings"]["kafka"]["schemaRegistryUrl"] == "https://registry:8081"
    binding = said["channels"][MEASUREMENTS]["bindings"]["kafka"]
    assert (binding["partitions"], binding["replicas"]) == (7, 3)
    assert SECRET not in json.dumps(said)


@pytest.mark.slow
def test_the_command_prints_json_or_yaml(said: dict[str, Any]) -> None:
    as_json = CliRunner().invoke(cli.app, ["asyncapi"])
    as_yaml = CliRunner().invoke(cli.app, ["asyncapi", "--output", "yaml"])
    assert (as_json.exit_code, as_yaml.exit_code) == (0, 0)
    assert json.loads(as_json.stdout) == yaml.safe_load(as_yaml.stdout) == said


@pytest.mark.processes
@pytest.mark.parametrize("command", ["asyncapi", "openapi"])
def test_it_needs_neither_ray_nor_a_broker(command: str) -> None:
    script = (
        f"import sys; from cluster.cli import app; app([{command!r}], standalone_mode=False); "
        "print(sorted(sys.modules.keys() & {'ray', 'pandas', 'sklearn', 'matplotlib'}))"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.splitlines()[-1] == "[]"
    assert done.stderr == ""
