"""The AsyncAPI 3.0 document of all topics, made from schemas/topics.py, the Avro schemas and the configuration.

Theory of operation
-------------------
A channel is a topic, under its own name. What AsyncAPI has a place for stands there: partitions and settings in Kafka's bindings,
the registry's framing in the messages' bindings, who writes and who reads as operations `send` and `receive`, seen from the
product. What it has none for has an `x-` of its own: the meaning of the key, the topic of dead letters, the registry's subject.
Nothing of the configuration that may be a secret is told: of Kafka's client settings only whether they ask for TLS.

Source: AsyncAPI 3.0.0 (https://www.asyncapi.com/docs/reference/specification/v3.0.0), Kafka bindings 0.5.0.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit, urlunsplit

from actors.producers.trace import (
    CORRELATION_ID,
    CORRELATION_ID_CHARS_MAX,
    TRACEPARENT,
    TRACESTATE,
    TRACESTATE_CHARS_MAX,
)
from actors.sinks.journey import PREFIX, REDRIVEN, REDRIVEN_FROM
from cluster.config import Config, reveal
from schemas.topics import ACCESS, TOPICS, Topic, load, record_names, subject_of

ASYNCAPI = "3.0.0"
BINDING = "0.5.0"
AVRO = "application/vnd.apache.avro+json;version=1.9.0"  # the newest that AsyncAPI's own list of formats has
FRAMED = "application/avro"  # behind Confluent's header of 5 bytes, as the messages' bindings say
ARROW = "application/vnd.apache.arrow.stream"
TLS = "ssl"  # in security.protocol
SERVER = {"$ref": "#/servers/kafka"}

_TRACE = {
    CORRELATION_ID: {"type": "string", "maxLength": CORRELATION_ID_CHARS_MAX, "description": "follows a lot through services"},
    TRACEPARENT: {"type": "string", "description": "W3C Trace Context, §3.2"},
    TRACESTATE: {"type": "string", "maxLength": TRACESTATE_CHARS_MAX, "description": "W3C Trace Context, §3.3"},
}  # fmt: skip
_REDRIVEN = {
    REDRIVEN: {"type": "string", "pattern": r"^\d+$", "description": "how often it was published again from a dead letter"},
    REDRIVEN_FROM: {"type": "string", "description": "the dead letter that it was: topic:partition:offset"},
}  # fmt: skip
_JOURNEY = {
    f"{PREFIX}{field}": {"type": "string", "description": said}
    for field, said in {
        "topic": "the record's own topic",
        "partition": "and partition",
        "offset": "and offset",
        "timestamp_ms": "its Kafka timestamp, milliseconds since 1970 UTC",
        "attempts": "made, and failed",
        "due_ms": "not to be handled before, milliseconds since 1970 UTC",
        "error": "of the last attempt",
        "rest": "what of it is still to be done; empty: all",
        "redriven": "how often it was published again from a dead letter",
    }.items()
}


def document(config: Config) -> dict[str, Any]:
    """Return the document as JSON has it."""
    return {
        "asyncapi": ASYNCAPI,
        "info": {
            "title": "chipquality: topics",
            "version": "1",
            "description": "Every topic of the product: what it carries, what its key is, how it is kept, who writes it and who "
            "reads it. `send` is what the product, or a service of the fab, writes; `receive` what is read.",
            "license": {"name": "Apache-2.0", "url": "https://www.apache.org/licenses/LICENSE-2.0"},
        },
        "defaultContentType": FRAMED,
        "servers": {"kafka": _server(config)},
        "channels": {topic.name: _channel(topic, config) for topic in TOPICS.values()},
        "operations": {
            f"{action}.{topic.name}": _operation(topic, action, said)
            for topic in TOPICS.values()
            for action, said in (("send", topic.writers), ("receive", topic.readers))
        },
        "components": {
            "schemas": {
                "trace": {"type": "object", "properties": _TRACE | _REDRIVEN},
                "journey": {"type": "object", "properties": _TRACE | _JOURNEY},
                **{name: {"schemaFormat": AVRO, "schema": load(name)} for name in record_names()},
            }
        },
    }


def _server(config: Config) -> dict[str, Any]:
    kafka, url = config.kafka, config.registry.url
    tls = TLS in reveal(kafka.client).get("security.protocol", "").lower()
    return {
        "host": "{bootstrap_servers}",
        "protocol": "kafka-secure" if tls else "kafka",
        "description": "Kafka with its Schema Registry (Confluent API)",
        "variables": {
            "bootstrap_servers": {
                "default": kafka.bootstrap_servers or f"127.0.0.1:{config.local.kafka_port}",
                "description": "host:port,… of your Kafka: kafka.bootstrap_servers",
            }
        },
        "bindings": {
            "kafka": {
                "schemaRegistryUrl": without_user(url or f"http://127.0.0.1:{config.local.registry_port}"),
                "schemaRegistryVendor": "confluent",
                "bindingVersion": BINDING,
            }
        },
    }


def without_user(url: str) -> str:
    """Return an address without the user and the password that may stand in it.

    >>> without_user("https://ada:secret@registry.fab:8081/apis?token=x")
    'https://registry.fab:8081/apis'
    """
    parts = urlsplit(url)
    return urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2], query="", fragment=""))


def _channel(topic: Topic, config: Config) -> dict[str, Any]:
    ours = {
        "x-key": topic.key,
        "x-partitions": "as many as inputs have" if topic.partitions == "input" else "a fixed number",
        "x-dead-letters": topic.dead_letters,
    }
    return {
        "address": topic.name,
        "title": topic.name,
        "description": topic.doc,
        "servers": [SERVER],
        "messages": {record: _message(topic, record) for record in topic.records} or {"block": _block(topic)},
        "bindings": {
            "kafka": {
                "topic": topic.name,
                "partitions": topic.partition_count(config.kafka.input_partitions),
                "replicas": config.kafka.replication_factor,
                "topicConfiguration": _settings(topic.config),
                "bindingVersion": BINDING,
            }
        },
        **{name: value for name, value in ours.items() if value is not None},
    }


def _settings(config: Mapping[str, str]) -> dict[str, Any]:
    """Return a topic's settings as the binding has them: numbers as numbers, the policies as a list.

    >>> _settings({"cleanup.policy": "compact,delete", "retention.ms": "60000", "message.timestamp.type": "CreateTime"})
    {'cleanup.policy': ['compact', 'delete'], 'retention.ms': 60000, 'message.timestamp.type': 'CreateTime'}
    """
    found: dict[str, Any] = {name: int(value) if value.isdigit() else value for name, value in config.items()}
    if "cleanup.policy" in found:
        found["cleanup.policy"] = found["cleanup.policy"].split(",")
    return found


def _message(topic: Topic, record: str) -> dict[str, Any]:
    schema = load(record)
    message: dict[str, Any] = {
        "name": f"{schema['namespace']}.{schema['name']}",
        "title": schema["name"],
        "summary": schema.get("doc", ""),
        "contentType": FRAMED,
        "payload": {"$ref": f"#/components/schemas/{record}"},
        "bindings": {"kafka": _framing(topic, record)},
        "x-subject": subject_of(topic.name, record),
    }
    headers = _headers(topic)
    if headers is not None:
        message["headers"] = {"$ref": f"#/components/schemas/{headers}"}
        message["correlationId"] = {"location": f"$message.header#/{CORRELATION_ID}"}
    return message


def _block(topic: Topic) -> dict[str, Any]:
    """Return the message of a topic that carries packed Arrow instead of Avro."""
    return {
        "name": "chart_block",
        "title": "ChartBlock",
        "summary": "Every row of a step as one family of detectors judged it: an Arrow IPC stream (schemas/charts.py)",
        "contentType": ARROW,
        "payload": {"type": "string", "format": "binary", "description": "Arrow IPC stream, one record batch"},
        "bindings": {"kafka": {"key": _key(topic), "bindingVersion": BINDING}},
    }


def _framing(topic: Topic, record: str) -> dict[str, Any]:
    by_topic = subject_of(topic.name, record) == f"{topic.name}-value"
    return {
        "key": _key(topic),
        "schemaIdLocation": "payload",
        "schemaIdPayloadEncoding": "confluent",
        "schemaLookupStrategy": "TopicNameStrategy" if by_topic else "TopicRecordNameStrategy",
        "bindingVersion": BINDING,
    }


def _key(topic: Topic) -> dict[str, Any]:
    return {"type": "string", "description": topic.key or "none"}


def _headers(topic: Topic) -> str | None:
    """Return which headers the records of a topic have: those of who publishes, those of a retry, or none."""
    if ".retry." in topic.name:
        return "journey"
    return "trace" if topic.dead_letters is not None or topic.name == ACCESS else None


def _operation(topic: Topic, action: str, said: str) -> dict[str, Any]:
    channel = f"#/channels/{topic.name}"
    return {
        "action": action,
        "channel": {"$ref": channel},
        "title": f"{'written' if action == 'send' else 'read'}: {topic.name}",
        "summary": said,
        "messages": [{"$ref": f"{channel}/messages/{record}"} for record in topic.records or ("block",)],
    }
