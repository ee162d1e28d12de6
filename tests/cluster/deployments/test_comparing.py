"""Which records of a topic are one side's, on the real broker."""

from __future__ import annotations

import time
import uuid
from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest
from confluent_kafka import Producer
from confluent_kafka.admin import NewTopic

from actors.errors import ReopenError
from actors.kafka.changes import Changes
from actors.kafka.client import Cluster
from cluster.deployments import comparing
from cluster.deployments.compare import Rows
from cluster.deployments.comparing import Found, Side, Stay, _read_charts
from cluster.local import Endpoints
from schemas.charts import pack
from tests.cluster.deployments.test_compare import block

PIPELINE, STEP = "p", 10  # offsets of a block
BLOCKS = 6


@pytest.fixture
def topic(stack: Endpoints) -> Iterator[str]:
    """Blocks of one writer over ten offsets each, written a second after another; among them a record that is none."""
    changes, name = Changes(stack.bootstrap_servers), f"c{uuid.uuid4().hex[:8]}"
    changes._client.create_topics([NewTopic(name, 1, 1)])[name].result(20)
    producer = Producer({"bootstrap.servers": stack.bootstrap_servers})
    n = BLOCKS * STEP
    columns = np.zeros((n, 1)), np.zeros(n, np.uint32), np.ones(n, bool)
    for number in range(BLOCKS):
        made = replace(block(number * STEP, (number + 1) * STEP, *columns), pipeline=PIPELINE)
        producer.produce(name, pack(made), partition=0, timestamp=1_000 * (number + 1))
    producer.produce(name, b"no block", partition=0, timestamp=7_000)
    assert producer.flush(20) == 0
    yield name
    changes.delete_topics([name])


def firsts(stack: Endpoints, topic: str, stays: tuple[Stay, ...], since_ms: int, span: tuple[int, int]) -> list[int]:
    """Return where the blocks begin that are a side's."""
    side = Side("n", PIPELINE, "d", frozenset(), {topic: stays}, {}, ("*",), {}, since_ms, None, None)
    found = Found()
    _read_charts(Cluster(stack.bootstrap_servers), topic, [(side, found)], {0: span}, time.monotonic() + 30)
    taken = sorted(step.first_offset for step, _ in found.blocks)
    assert found.first == ({0: taken[0]} if taken else {})
    assert found.identity("d") == ("d@1-0" if taken else "")
    return taken


def test_a_side_has_what_it_wrote_since_it_was_made_where_it_could(stack: Endpoints, topic: str) -> None:
    always = (Stay({}, None),)
    assert firsts(stack, topic, always, 0, (0, 60)) == [0, 10, 20, 30, 40, 50]
    assert firsts(stack, topic, always, 0, (15, 35)) == [10, 20, 30], "what the stretch has a part of"
    assert firsts(stack, topic, always, 3_000, (0, 60)) == [20, 30, 40, 50], "before, one of the same name wrote"
    live = (Stay({0: 10}, {0: 20}), Stay({0: 40}, None))
    assert firsts(stack, topic, live, 0, (0, 60)) == [10, 40, 50]
    assert firsts(stack, topic, (), 0, (0, 60)) == []


def test_alerts_that_go_back_too_far_are_not_told_in_part(
    stack: Endpoints, topic: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(comparing, "LOOK_BACK", 3)
    always = {topic: (Stay({}, None),)}
    side = Side("n", PIPELINE, "d", frozenset(), always, always, ("*",), {}, 0, None, None)
    cluster = Cluster(stack.bootstrap_servers, stack.registry_url)
    with pytest.raises(ReopenError, match="further back than 3 offsets of a partition: compare from a later offset on"):
        comparing._opened(cluster, (side, side), (Rows("d"), Rows("d")), {0: (0, 60)}, (1, 1))
