"""The registry client on a real registry: evolution well and badly, ids, outages, and answers that are none."""

from __future__ import annotations

import copy
import json
import threading
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any

import pytest
from confluent_kafka.schema_registry import Schema, SchemaReference, SchemaRegistryClient

from schemas import registry as module
from schemas.registry import (
    BACKWARD,
    ID_MAX,
    UNKNOWN_KEPT_S,
    NotAvroSchema,
    Registry,
    RegistryUnavailable,
    SchemaRefused,
    UnknownSchema,
    register_all,
)
from schemas.topics import TOPICS, load, record_names, schema_text, subject_of

if TYPE_CHECKING:
    from cluster.local import Endpoints

pytestmark = pytest.mark.kafka

NAMES = record_names()


@pytest.fixture
def registry(stack: Endpoints) -> Registry:
    return Registry(stack.registry_url)


@pytest.fixture
def subject() -> str:
    return f"test-{uuid.uuid4().hex}-value"


def evolved(name: str, **field: Any) -> str:
    schema = copy.deepcopy(load(name))
    schema["fields"].append({"name": "brand_new", "doc": "New", **field})
    return json.dumps(schema)


def retyped(name: str) -> str:
    """Return the schema with its first string field made a number."""
    schema = copy.deepcopy(load(name))
    field = next(field for field in schema["fields"] if field["type"] in ("string", "int"))
    field["type"] = "double" if field["type"] == "string" else "string"
    return json.dumps(schema)


@pytest.mark.parametrize("name", NAMES)
def test_a_field_with_a_default_may_be_added(registry: Registry, subject: str, name: str) -> None:
    first = registry.register(subject, schema_text(name))
    text = evolved(name, type=["null", "string"], default=None)
    assert registry.test(subject, text)
    assert registry.register(subject, text) != first
    assert registry.versions(subject) == [1, 2]


@pytest.mark.parametrize("name", NAMES)
def test_a_field_without_a_default_may_not_be_added(registry: Registry, subject: str, name: str) -> None:
    registry.register(subject, schema_text(name))
    text = evolved(name, type="string")
    assert not registry.test(subject, text)
    with pytest.raises(SchemaRefused, match=f"register {subject}"):
        registry.register(subject, text)
    assert registry.versions(subject) == [1]


@pytest.mark.parametrize("name", NAMES)
def test_a_type_may_not_change(registry: Registry, subject: str, name: str) -> None:
    registry.register(subject, schema_text(name))
    assert not registry.test(subject, retyped(name))
    with pytest.raises(SchemaRefused):
        registry.register(subject, retyped(name))


def test_an_enum_may_grow(registry: Registry, subject: str) -> None:
    registry.register(subject, schema_text("user"))
    schema = copy.deepcopy(load("user"))
    schema["fields"][1]["type"]["symbols"].append("PASSWORD_CHANGED")
    assert registry.test(subject, json.dumps(schema))


def test_our_inspection_follows_the_request_s(registry: Registry, subject: str) -> None:
    """The schema as the request has it, with the logical type where Avro ignores it: ours reads what was written with it."""
    asked = copy.deepcopy(load("inspection"))
    for field in asked["fields"]:
        del field["doc"]
    asked["fields"][1]["type"] = {
        "type": "enum",
        "name": "InspectionEventType",
        "symbols": load("inspection")["fields"][1]["type"]["symbols"][:6],
    }
    asked["fields"][2] = {"name": "timestamp", "type": "long", "logicalType": "timestamp-millis"}
    registry.register(subject, json.dumps(asked))
    assert registry.test(subject, schema_text("inspection"))


def test_registering_twice_gives_the_same_id(registry: Registry, stack: Endpoints, subject: str) -> None:
    first = registry.register(subject, schema_text("ml"))
    assert registry.register(subject, schema_text("ml")) == first
    assert Registry(stack.registry_url).register(subject, schema_text("ml")) == first
    assert subject in registry.subjects()


def test_every_record_of_every_topic_is_registered(registry: Registry) -> None:
    ids = register_all(registry)
    assert ids == register_all(registry)
    assert set(ids) == {(topic.name, record) for topic in TOPICS.values() for record in topic.records}
    for (topic, record), schema_id in ids.items():
        assert registry.schema(schema_id) == load(record)
        assert registry.compatibility(subject_of(topic, record)) == BACKWARD
    assert set(registry.subjects()) >= {subject_of(topic, record) for topic, record in ids}


@pytest.fixture
def loose(registry: Registry) -> Iterator[Registry]:
    """A registry whose own level checks nothing."""
    before = registry.compatibility()
    registry.set_compatibility(None, "NONE")
    yield registry
    registry.set_compatibility(None, before)


def test_a_level_that_does_not_read_old_records_is_raised(loose: Registry, monkeypatch: pytest.MonkeyPatch) -> None:
    name = f"test.{uuid.uuid4().hex}"
    monkeypatch.setattr(module, "TOPICS", {name: replace(TOPICS["fab.ml"], name=name)})
    [first] = register_all(loose).values()
    assert loose.compatibility(f"{name}-value") == BACKWARD
    assert list(register_all(loose).values()) == [first]
    loose.set_compatibility(f"{name}-value", "FULL")
    register_all(loose)
    assert loose.compatibility(f"{name}-value") == "FULL"


def test_a_level_is_raised_before_the_next_schema(loose: Registry, monkeypatch: pytest.MonkeyPatch) -> None:
    name = f"test.{uuid.uuid4().hex}"
    monkeypatch.setattr(module, "TOPICS", {name: replace(TOPICS["fab.ml"], name=name)})
    loose.register(f"{name}-value", retyped("ml"))
    with pytest.raises(SchemaRefused):
        register_all(loose)
    assert loose.compatibility(f"{name}-value") == BACKWARD


def test_the_level_of_the_registry_holds_where_a_subject_has_none(registry: Registry, subject: str) -> None:
    assert registry.compatibility(subject) == registry.compatibility() == BACKWARD
    assert registry.versions(subject) == []
    assert registry.test(subject, schema_text("ml"))


def test_what_is_no_schema_is_refused(registry: Registry, subject: str) -> None:
    with pytest.raises(SchemaRefused):
        registry.register(subject, '{"type": "recor", "name": "R"}')


@pytest.mark.parametrize("schema_id", [-1, 0, 999_999, ID_MAX, ID_MAX + 1, 2**32 - 1])
def test_an_unknown_id(registry: Registry, schema_id: int) -> None:
    with pytest.raises(UnknownSchema, match=f"schema id {schema_id}"):
        registry.schema(schema_id)


@pytest.mark.parametrize("subject", ["a\x0bb\r", "x" * 600])
def test_a_subject_that_no_registry_can_have_is_unknown(registry: Registry, subject: str) -> None:
    assert registry.versions(subject) == []
    with pytest.raises(UnknownSchema):
        registry.version(subject, 1)


def test_a_schema_is_kept_and_shared(registry: Registry, subject: str) -> None:
    schema_id = registry.register(subject, schema_text("ml"))
    assert registry.schema(schema_id) is registry.schema(schema_id)


def test_another_format_is_not_avro(registry: Registry, stack: Endpoints, subject: str) -> None:
    client = SchemaRegistryClient({"url": stack.registry_url})
    for schema in (
        Schema('{"$schema": "http://json-schema.org/draft-07/schema#"}', "JSON"),
        Schema('syntax = "proto3"; message M { int32 a = 1; }', "PROTOBUF"),
    ):
        schema_id = client.register_schema(f"{schema.schema_type}-{subject}", schema)
        with pytest.raises(NotAvroSchema, match=f"schema id {schema_id} is {schema.schema_type}, not Avro"):
            registry.schema(schema_id)


def test_a_schema_in_several_subjects_is_not_supported(registry: Registry, stack: Endpoints, subject: str) -> None:
    part = f"part-{subject}"
    registry.register(part, '{"type": "record", "name": "Part", "namespace": "t", "fields": []}')
    whole = '{"type": "record", "name": "Whole", "namespace": "t", "fields": [{"name": "p", "type": "t.Part"}]}'
    client = SchemaRegistryClient({"url": stack.registry_url})
    schema_id = client.register_schema(subject, Schema(whole, "AVRO", [SchemaReference("t.Part", part, 1)]))
    with pytest.raises(NotAvroSchema, match="refers to other subjects"):
        registry.schema(schema_id)


@contextmanager
def answering(status: int, body: bytes, asked: list[str] | None = None) -> Iterator[str]:
    """Serve one answer to everything."""

    class Answer(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            if asked is not None:
                asked.append(self.path)
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        do_POST = do_PUT = do_GET  # noqa: N815

        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Answer)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (500, b'{"error_code": 50001, "message": "no store"}'),
        (503, b"<html>try later</html>"),
        (401, b'{"error_code": 40101, "message": "who are you"}'),
        (403, b""),
        (200, b"<html>a login page</html>"),
        (200, b"5"),
        (200, b"[]"),
        (204, b""),
    ],
)
def test_an_answer_that_is_none_is_an_absence(status: int, body: bytes) -> None:
    with answering(status, body) as url:
        registry = Registry(url)
        with pytest.raises(RegistryUnavailable, match=url):
            registry.schema(5)
        with pytest.raises(RegistryUnavailable, match=url):
            registry.register("s", schema_text("ml"))


def test_a_schema_that_is_not_json(subject: str) -> None:
    for text in ("nothing", "[" * 100_000):
        with (
            answering(200, json.dumps({"schema": text}).encode()) as url,
            pytest.raises(NotAvroSchema, match="is not JSON"),
        ):
            Registry(url).schema(5)


def test_nobody_listens() -> None:
    with answering(200, b"") as url:
        pass
    with pytest.raises(RegistryUnavailable, match="schema id 5: ConnectError"):
        Registry(url).schema(5)
    with pytest.raises(RegistryUnavailable):
        Registry(url).subjects()


def test_an_unknown_id_is_asked_for_again_after_a_while() -> None:
    now, asked = [0.0], list[str]()
    with answering(404, b'{"error_code": 40403, "message": "no"}', asked) as url:
        registry = Registry(url, clock=lambda: now[0])
        for _ in range(3):
            with pytest.raises(UnknownSchema):
                registry.schema(5)
        assert len(asked) == 1
        now[0] = UNKNOWN_KEPT_S
        with pytest.raises(UnknownSchema):
            registry.schema(5)
        assert len(asked) == 2


def test_what_is_kept_has_a_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "SCHEMAS_MAX", 3)
    with answering(200, b'{"schema": "{}"}') as url:
        registry = Registry(url)
        for schema_id in range(1, 8):
            assert registry.schema(schema_id) == {}
        assert list(registry._schemas) == [5, 6, 7]


@pytest.mark.parametrize(
    ("url", "client"),
    [
        ("registry:8081", {}),
        ("", {}),
        ("http://localhost", {"no.such": "setting"}),
        ("http://localhost", {"timeout": "soon"}),
        ("http://localhost", {"ssl.ca.location": "/no/such/file"}),
    ],
)
def test_wrong_settings_are_one_line(url: str, client: dict[str, str]) -> None:
    with pytest.raises(ValueError, match=r"^registry\.url = .*, registry\.client: .+$"):
        Registry(url, client)


def test_settings_may_be_text() -> None:
    with answering(200, b"[]") as url:
        assert Registry(url, {"timeout": "5", "max.retries": "0"}).subjects() == []
