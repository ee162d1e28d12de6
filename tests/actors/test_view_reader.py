"""The view's reading thread on the real broker: topics that come late, a registry that is away, a pipeline that is another's."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from urllib.parse import urlsplit

from confluent_kafka import Consumer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic

from actors.view.board import Board
from actors.view.reader import Reader, Sources
from cluster.local import Endpoints
from schemas.charts import pack
from tests.actors.view_support import block
from tests.cluster.output_line import CALL_S, OutputLine
from tests.cluster.relay import Relay
from tests.cluster.served import wait_for


@contextmanager
def reading(line: OutputLine, sources: Sources | None = None, registry_url: str | None = None) -> Iterator[Reader]:
    cluster = replace(line.cluster, registry_url=registry_url or line.cluster.registry_url)
    board = Board(line.pipeline)
    reader = Reader(cluster, sources or line.sources, board, threading.Lock(), lambda: None)
    reader.board = board  # type: ignore[attr-defined]
    reader.start()
    try:
        yield reader
    finally:
        reader.stop()
        assert not reader.is_alive()


def board_of(reader: Reader) -> Board:
    """Return the board as it is between two records: what was seen of one is all there."""
    board: Board = reader.board  # type: ignore[attr-defined]
    with reader._lock:
        return board


def test_a_topic_that_is_not_there_yet_is_said_and_waited_for(stack: Endpoints) -> None:
    line = OutputLine(stack)
    late = f"{line.pipeline}.late.dlq"
    with reading(line, replace(line.sources, dead_letters=(late,))) as reader:
        wait_for(lambda: late in (reader.trouble or ""), "the missing topic is named")
        admin = AdminClient({"bootstrap.servers": stack.bootstrap_servers})
        for future in admin.create_topics([NewTopic(late, 1, 1)]).values():
            future.result(20)
        wait_for(lambda: reader.trouble is None and reader.caught_up, "it reads")
        line.publish([("a", 1.0)])
        wait_for(lambda: board_of(reader).summary(0)["judged"] == 1, "a row is read")


def test_alerts_wait_for_a_registry_that_is_away(stack: Endpoints) -> None:
    line = OutputLine(stack)
    url = urlsplit(stack.registry_url)
    relay = Relay(url.port or 80)
    relay.cut()
    try:
        with reading(line, registry_url=f"http://127.0.0.1:{relay.port}{url.path}") as reader:
            line.publish(line.in_control(["a"], 40))
            events = line.publish([("a", 60.0)])
            wait_for(lambda: "registry" in (reader.trouble or ""), "the registry is named")
            wait_for(lambda: board_of(reader).summary(0)["judged"] == 41, "charts need no registry")
            assert board_of(reader).alerts.opened == 0
            relay.mend()
            wait_for(lambda: board_of(reader).alerts.opened >= len(events), "the alerts are read after all")
            wait_for(lambda: reader.trouble is None, "all is well")
            assert board_of(reader).unreadable == 0
    finally:
        relay.close()


def stable(line: OutputLine) -> bool:
    """Say whether whoever reads only what is committed is given all of the charts."""

    def end(isolation: str) -> int:
        settings = {
            "bootstrap.servers": line.cluster.bootstrap_servers,
            "group.id": "ends",
            "isolation.level": isolation,
        }
        consumer = Consumer(settings)
        try:
            found: int = consumer.get_watermark_offsets(TopicPartition(line.sources.charts, line.partition), CALL_S)[1]
        finally:
            consumer.close()
        return found

    return end("read_committed") == end("read_uncommitted") > 0


def test_what_is_there_already_counts_but_has_no_latency(stack: Endpoints) -> None:
    line = OutputLine(stack)
    line.publish(line.in_control(["a", "b"], 10))
    wait_for(lambda: stable(line), "the transaction's end is in its topics")  # a commit returns a little before
    with reading(line) as reader:
        wait_for(lambda: reader.caught_up, "it has caught up")
        said = board_of(reader).summary(0)
        assert (said["judged"], said["since_mark_rows"]) == (20, 0)
        line.publish([("a", 1.0)])
        wait_for(lambda: board_of(reader).summary(0)["since_mark_rows"] == len(line.folds), "a live row has a latency")


def test_records_of_another_pipeline_in_the_same_topic_are_not_ours(stack: Endpoints) -> None:
    line = OutputLine(stack)
    with reading(line) as reader:
        line.raw(line.sources.charts, pack(block(["theirs"], [1.0], pipeline="other")))
        line.publish([("ours", 1.0)])
        wait_for(lambda: board_of(reader).summary(0)["judged"] == 1, "ours is read")
        assert board_of(reader).rings.keys == ["ours"]
        assert board_of(reader).unreadable == 0
