"""A plain consumer on the real broker: retries, dead letters, order, what a crash and a rebalance bring again."""

from __future__ import annotations

import random
import time
from urllib.parse import urlsplit

import pytest
from confluent_kafka.admin import AlterConfigOpType, ConfigEntry, ConfigResource

from actors.kafka.client import Cluster
from actors.kafka.letters import read_records
from actors.producers.trace import CORRELATION_ID, TRACEPARENT, TRACESTATE
from actors.sinks.journey import PREFIX
from actors.sinks.retrying import RetryingConsumer
from cluster.local import Endpoints
from tests.actors.sinks.group_line import GroupLine, Scripted, later
from tests.cluster.relay import Relay
from tests.integration.line import wait_for

pytestmark = pytest.mark.kafka


def test_retries_then_success_or_a_dead_letter_and_nobody_waits_behind(stack: Endpoints) -> None:
    line = GroupLine(stack, delays_s=(0.3, 0.6))
    handler = Scripted(
        heals=[later("no answer", "half of it")],
        never=[later("no"), later("no"), later("no, at last")],
        broken=[KeyError("oops")],
    )
    names = ["heals", "never", "broken", "good", "last"]
    began = time.monotonic()
    line.write(*[line.event(name) for name in names], headers=[("traceparent", b"00-7")])
    line.write(b"\x00\x7f\xff\xff\xff?", None)
    with line.consuming(handler) as made:
        wait_for(lambda: handler.calls.count(("never", 2)) == 1 and handler.done("heals"), "both tried to the end")
        assert time.monotonic() - began >= 0.9
        wait_for(lambda: made[0].counts["dead_lettered"] == 4, "dead letters")
    assert handler.calls[:5] == [(name, 0) for name in names]
    assert sorted(handler.calls[5:]) == [("heals", 1), ("never", 1), ("never", 2)]
    assert "half of it" in handler.rests
    letters = {letter["offset"]: letter for letter in line.letters()}
    said = {at: (letter["reason"], letter["attempts"], letter["detail"]) for at, letter in letters.items()}
    assert said[1] == ("handling_failed", 3, "no, at last")
    assert said[2] == ("handling_failed", 1, "KeyError: 'oops'")
    assert said[5][:2] == ("unknown_schema", 1)
    assert said[6][:2] == ("no_value", 1)
    assert letters[1]["kafka_key"] == f"{line.plan.topic}:0:1".encode()
    assert (letters[1]["topic"], letters[1]["partition"], letters[1]["key"]) == (line.plan.topic, 0, b"key")
    assert letters[1]["value"] == line.event("never")
    assert letters[1]["source"] == line.plan.group
    assert "RetryLater: no, at last" in letters[1]["trace"]
    assert "KeyError" in letters[2]["trace"]
    committed = line.committed()
    assert committed[line.plan.topic, 0] == 7
    assert [committed[topic, 0] for topic in line.plan.retries] == [2, 1]
    assert dict(made[0].counts) == {"retried": 3, "handled": 3, "dead_lettered": 4}


def test_the_trace_of_a_record_goes_with_it_to_every_retry_and_to_its_dead_letter(stack: Endpoints) -> None:
    line = GroupLine(stack, delays_s=(0.1, 0.2))
    trace = [(TRACEPARENT, b"00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"), (TRACESTATE, b"fab=7")]
    line.write(line.event("traced"), b"not Avro", headers=[*trace, (CORRELATION_ID, b"lot-1")])
    line.write(line.event("untraced"))
    handler = Scripted(traced=[later("no")] * 3, untraced=[later("no")] * 3)
    with line.consuming(handler) as made:
        wait_for(lambda: bool(made) and made[0].counts["dead_lettered"] == 3, "dead letters")
    came = {b"traced": 0, b"untraced": 0, b"not Avro": 0}
    for topic in (*line.plan.retries, line.plan.dead_letters):
        for record in read_records(line.cluster, topic, [0], None):
            name = next(name for name in (b"untraced", b"traced", b"not Avro") if name in (record.value or b""))
            came[name] += 1
            own = [(header, value) for header, value in record.headers if not header.startswith(PREFIX)]
            assert own == ([] if name == b"untraced" else [*trace, (CORRELATION_ID, b"lot-1")]), (topic, name)
    assert came == {b"traced": 3, b"untraced": 3, b"not Avro": 1}


def test_what_was_not_committed_comes_again_and_what_was_does_not(stack: Endpoints) -> None:
    line = GroupLine(stack, delays_s=(0.1,))
    handler = Scripted()
    handler.holds = True
    line.write(line.event("a"), line.event("b"))
    with line.consuming(handler):
        wait_for(lambda: len(handler.calls) == 2, "both handled")
    assert line.committed() == {}
    handler.holds = False
    with line.consuming(handler):
        wait_for(lambda: len(handler.calls) == 4, "both again")
    assert line.committed() == {(line.plan.topic, 0): 2}
    line.write(line.event("c"))
    with line.consuming(handler):
        wait_for(lambda: handler.done("c"), "the third")
    assert [name for name, _ in handler.calls] == ["a", "b", "a", "b", "c"]


def test_a_record_that_waits_moves_with_its_partition_and_the_session_lives_on(stack: Endpoints) -> None:
    """The delay is longer than the session: whoever slept it out would be thrown out of the group."""
    line = GroupLine(stack, delays_s=(8,), partitions=2)
    first, second = Scripted(slow=[later("wait")]), Scripted()
    line.write(line.event("slow"))
    with line.consuming(first, session_ms=6_000) as made:
        wait_for(lambda: bool(made) and made[0].waiting == 1, "held")
        with line.consuming(second, session_ms=6_000) as joined:
            wait_for(lambda: bool(joined and joined[0].partitions), "partitions move")
            line.write(line.event("quick"), partition=1)
            wait_for(lambda: first.done("quick") or second.done("quick"), "others flow")
            wait_for(lambda: ("slow", 1) in first.calls + second.calls, "the record that waited")
            assert len(made) == len(joined) == 1
            shares = [member.partitions for member in (made[0], joined[0])]
            assert all(shares)
            assert len(shares[0] | shares[1]) == 3
    assert (first.calls + second.calls).count(("slow", 1)) == 1


def test_an_unknown_schema_waits_for_the_registry_and_is_no_dead_letter(stack: Endpoints) -> None:
    relay = Relay(urlsplit(stack.registry_url).port or 0)
    registry = stack.registry_url.replace(str(relay.target), str(relay.port))
    cluster = Cluster(stack.bootstrap_servers, registry, registry_client={"timeout": "2", "max.retries": "0"})
    line = GroupLine(stack, delays_s=(0.1,))
    handler = Scripted()
    line.write(line.event("a"))
    relay.cut()
    with line.consuming(handler, cluster=cluster) as made:
        wait_for(lambda: bool(made and made[0].counts["waited_for_registry"]), "it waits")
        relay.mend()
        wait_for(lambda: handler.done("a"), "handled")
        wait_for(lambda: made[0].counts["handled"] == 1, "counted")
        assert made[0].counts.keys() == {"waited_for_registry", "handled"}
    relay.close()


def test_a_record_too_large_to_wait_is_a_dead_letter(stack: Endpoints) -> None:
    line = GroupLine(stack, delays_s=(0.1,))
    small = ConfigEntry("max.message.bytes", "20000", incremental_operation=AlterConfigOpType.SET)
    resource = ConfigResource(ConfigResource.Type.TOPIC, line.plan.retries[0], incremental_configs=[small])
    line.admin.incremental_alter_configs([resource])[resource].result(20)
    handler = Scripted(large=[later("no")])
    line.write(line.event("large", metadata={"x": random.Random(1).randbytes(40_000).hex()}))
    with line.consuming(handler) as made:
        wait_for(lambda: bool(made and made[0].counts["dead_lettered"]), "dead letter")
    [letter] = line.letters()
    assert letter["truncated"]
    assert letter["detail"].startswith("no; and it cannot be tried again: ")


def test_without_a_broker_it_says_so_and_goes_on_trying(stack: Endpoints) -> None:
    line = GroupLine(stack, delays_s=(0.1,))
    consumer = RetryingConsumer(Cluster("127.0.0.1:1", stack.registry_url), line.plan, Scripted())
    try:

        def told() -> bool:
            consumer.step(0.05)
            return consumer.trouble is not None

        wait_for(told, "trouble is told")
        assert "refused" in str(consumer.trouble) or "down" in str(consumer.trouble)
    finally:
        consumer.abandon()
