"""A log read from its end back, on the real broker."""

from __future__ import annotations

import time
import uuid
from collections.abc import Iterator
from itertools import islice
from typing import TYPE_CHECKING

import pytest
from confluent_kafka import Producer
from confluent_kafka.admin import NewTopic

from actors.kafka import backwards
from actors.kafka.backwards import CutShortError, newest_first
from actors.kafka.changes import Changes
from actors.kafka.client import Cluster
from tests.transactions import open_transaction

if TYPE_CHECKING:
    from cluster.local import Endpoints

RECORDS = 50  # in partition 0; in partition 1 a tenth, in partition 2 none


@pytest.fixture
def topic(stack: Endpoints, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    monkeypatch.setattr(backwards, "FIRST_OFFSETS", 4)
    monkeypatch.setattr(backwards, "LOOK_OFFSETS_MAX", 16)
    changes, name = Changes(stack.bootstrap_servers), f"b{uuid.uuid4().hex[:8]}"
    changes._client.create_topics([NewTopic(name, 3, 1)])[name].result(20)
    producer = Producer({"bootstrap.servers": stack.bootstrap_servers})
    for number in range(RECORDS):
        producer.produce(name, b"%d" % number, partition=0)
    for number in range(RECORDS // 10):
        producer.produce(name, b"%d" % number, partition=1)
    assert producer.flush(20) == 0
    yield name
    changes.delete_topics([name])


def looks(stack: Endpoints, topic: str, offsets_max: int = 1_000, enough: int = -1) -> dict[int, list[list[int]]]:
    """Return the offsets of each look, by partition; a partition is wanted until offset `enough` was seen."""
    found: dict[int, list[list[int]]] = {0: [], 1: [], 2: []}

    def wanted(partition: int) -> bool:
        return all(enough not in look for look in found[partition])

    for partition, records in newest_first(
        Cluster(stack.bootstrap_servers), topic, offsets_max, time.monotonic() + 60, wanted
    ):
        assert [record.value for record in records] == [b"%d" % record.offset for record in records]
        found[partition].append([record.offset for record in records])
    return found


def test_looks_go_back_twice_as_far_each_and_meet(stack: Endpoints, topic: str) -> None:
    found = looks(stack, topic)
    assert [len(look) for look in found[0]] == [4, 8, 16, 16, 6]
    assert [offset for look in reversed(found[0]) for offset in look] == list(range(RECORDS))
    assert found[1] == [[1, 2, 3, 4], [0]]
    assert found[2] == []


def test_no_more_is_read_than_is_wanted_or_allowed(stack: Endpoints, topic: str) -> None:
    assert looks(stack, topic, enough=RECORDS - 5)[0] == [[46, 47, 48, 49], list(range(38, 46))]
    cut = newest_first(Cluster(stack.bootstrap_servers), topic, 5, time.monotonic() + 60, lambda p: p == 0)
    assert [[record.offset for record in records] for _, records in islice(cut, 2)] == [[46, 47, 48, 49], [45]]
    with pytest.raises(CutShortError, match="further back than 5 offsets"):
        next(cut)
    late = newest_first(Cluster(stack.bootstrap_servers), topic, 100, time.monotonic(), lambda _: True)
    with pytest.raises(CutShortError, match="in time"):
        list(late)


def test_large_records_are_asked_for_a_few_at_a_time(
    stack: Endpoints, topic: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(backwards, "LOOK_BYTES", 5)
    assert {len(look) for look in looks(stack, topic, enough=RECORDS - 20)[0]} == {4}


def test_an_open_transaction_is_not_waited_for(stack: Endpoints, topic: str) -> None:
    with open_transaction(stack.bootstrap_servers, [topic]):
        assert looks(stack, topic, enough=RECORDS - 1)[0] == [[46, 47, 48, 49]]
