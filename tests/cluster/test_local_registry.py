"""What the product takes for granted of a Schema Registry with Confluent's API: ours, Confluent's, or a user's own."""

from __future__ import annotations

import json
import uuid
from typing import Any

import pytest
from confluent_kafka.schema_registry import Schema, SchemaRegistryClient
from confluent_kafka.schema_registry.avro import AvroDeserializer, AvroSerializer
from confluent_kafka.schema_registry.error import SchemaRegistryError
from confluent_kafka.serialization import MessageField, SerializationContext

from cluster.local import Endpoints, LocalStackError, registry

pytestmark = pytest.mark.kafka


def record(*fields: dict[str, Any]) -> Schema:
    return Schema(json.dumps({"type": "record", "name": "M", "namespace": "q", "fields": fields}), "AVRO")


EMPTY = record()
FIRST = record({"name": "a", "type": "double"})
WIDER = record({"name": "a", "type": "double"}, {"name": "b", "type": ["null", "string"], "default": None})
BREAKING = record({"name": "a", "type": "double"}, {"name": "z", "type": "long"})


@pytest.fixture
def client(stack: Endpoints) -> SchemaRegistryClient:
    return SchemaRegistryClient({"url": stack.registry_url})


@pytest.fixture
def subject() -> str:
    """A subject that no other run has."""
    return f"contract-{uuid.uuid4().hex}-value"


def test_registering_is_idempotent(client: SchemaRegistryClient, stack: Endpoints, subject: str) -> None:
    number = client.register_schema(subject, FIRST)
    assert number > 0
    other = SchemaRegistryClient({"url": stack.registry_url})  # with an empty cache: it asks the registry
    assert other.register_schema(subject, FIRST) == number
    assert json.loads(other.get_schema(number).schema_str) == json.loads(FIRST.schema_str)


def test_the_same_schema_has_one_id_in_all_subjects(client: SchemaRegistryClient, subject: str) -> None:
    assert client.register_schema(subject, FIRST) == client.register_schema(f"other-{subject}", FIRST)


def test_versions_lookup_and_subjects(client: SchemaRegistryClient, subject: str) -> None:
    first = client.register_schema(subject, FIRST)
    second = client.register_schema(subject, WIDER)
    assert first != second
    assert client.get_versions(subject) == [1, 2]
    assert client.get_latest_version(subject).version == 2
    assert client.get_latest_version(subject).schema_id == second
    assert client.lookup_schema(subject, FIRST).version == 1
    assert subject in client.get_subjects()


def test_compatibility_is_backward_from_the_start(client: SchemaRegistryClient, subject: str) -> None:
    assert client.get_compatibility() == "BACKWARD"
    client.register_schema(subject, FIRST)
    assert client.test_compatibility(subject, WIDER)
    assert not client.test_compatibility(subject, BREAKING)
    with pytest.raises(SchemaRegistryError) as refused:
        client.register_schema(subject, BREAKING)
    assert refused.value.http_status_code == 409
    client.register_schema(subject, WIDER)
    assert client.get_versions(subject) == [1, 2]


def test_a_subject_can_be_stricter(client: SchemaRegistryClient, subject: str) -> None:
    """Not laxer: on a subject, Apicurio takes NONE for "as the global level says"."""
    client.register_schema(subject, FIRST)
    assert client.test_compatibility(subject, EMPTY)
    client.set_compatibility(subject, "FULL")
    assert client.get_compatibility(subject) == "FULL"
    assert client.get_compatibility() == "BACKWARD"
    assert not client.test_compatibility(subject, EMPTY)  # an old reader would miss the field
    with pytest.raises(SchemaRegistryError) as refused:
        client.register_schema(subject, EMPTY)
    assert refused.value.http_status_code == 409


def test_what_is_not_there(client: SchemaRegistryClient, subject: str) -> None:
    with pytest.raises(SchemaRegistryError) as missing:
        client.get_latest_version(subject)
    assert (missing.value.http_status_code, missing.value.error_code) == (404, 40401)
    with pytest.raises(SchemaRegistryError) as unknown:
        client.get_schema(2_000_000_000)
    assert (unknown.value.http_status_code, unknown.value.error_code) == (404, 40403)


def test_confluents_serializer_and_an_older_reader(client: SchemaRegistryClient, subject: str) -> None:
    context = SerializationContext(subject.removesuffix("-value"), MessageField.VALUE)
    data = AvroSerializer(client, WIDER)({"a": 1.5, "b": "x"}, context)
    number = client.get_latest_version(subject).schema_id
    assert data is not None
    assert data[:5] == b"\0" + number.to_bytes(4, "big")
    assert AvroDeserializer(client, FIRST)(data, context) == {"a": 1.5}


def test_deleted_subjects_are_gone(client: SchemaRegistryClient, subject: str) -> None:
    client.register_schema(subject, FIRST)
    assert client.delete_subject(subject) == [1]
    assert subject not in client.get_subjects()


def test_health(stack: Endpoints) -> None:
    assert registry.answers(stack.registry_url)
    assert not registry.answers(stack.registry_url + "/no-such-path")
    assert not registry.answers("http://127.0.0.1:9")


def test_a_compatibility_that_it_does_not_take(stack: Endpoints) -> None:
    with pytest.raises(LocalStackError, match="does not take compatibility SIDEWARD"):
        registry.set_compatibility(stack.registry_url, "SIDEWARD")
    with pytest.raises(LocalStackError, match="does not take compatibility BACKWARD"):
        registry.set_compatibility("http://127.0.0.1:9")
