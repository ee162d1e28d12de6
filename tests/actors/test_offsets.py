"""Listing offsets where a broker says nothing, and where there is no such partition."""

from __future__ import annotations

import socket
import time

import pytest
from confluent_kafka.admin import AdminClient

from actors.errors import ReopenError
from actors.kafka import consumer as module
from actors.kafka.client import Cluster
from actors.kafka.consumer import Offsets
from actors.kafka.log import KafkaLog
from cluster.local import Endpoints
from tests.fixtures_stack import prepared

pytestmark = pytest.mark.kafka


def test_a_broker_that_says_nothing_is_asked_by_a_new_client_each_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "LIST_TIMEOUTS_S", (0.2, 0.4))
    clients: list[AdminClient] = []

    def new(settings: dict[str, object]) -> AdminClient:
        clients.append(AdminClient(settings))
        return clients[-1]

    monkeypatch.setattr(module, "AdminClient", new)
    with socket.create_server(("127.0.0.1", 0)) as silent:  # it takes connections and never answers
        offsets = Offsets(Cluster(f"127.0.0.1:{silent.getsockname()[1]}"))
        began = time.monotonic()
        with pytest.raises(ReopenError, match="list offsets of t"):
            offsets.end("t", [0])
    assert 0.6 <= time.monotonic() - began < 10.0
    assert len(clients) == 1 + 2, "one to begin with, and one after each attempt"


def test_a_partition_that_is_not_there_is_told_at_once(stack: Endpoints) -> None:
    began = time.monotonic()
    with pytest.raises(ReopenError, match="_NOENT"):
        Offsets(Cluster(stack.bootstrap_servers)).first("no-such-topic", [0])
    assert time.monotonic() - began < sum(module.LIST_TIMEOUTS_S)


def test_a_log_that_is_renewed_answers_as_before(stack: Endpoints) -> None:
    prepared(stack)
    log = KafkaLog(Cluster(stack.bootstrap_servers))
    try:
        before = [log.end("quality.deals", [0]), log.committed("nobody", "quality.deals", [0])]
        log.renew()
        assert [log.end("quality.deals", [0]), log.committed("nobody", "quality.deals", [0])] == before
    finally:
        log.close()
