"""What members of groups and the dead letters' desk say when the broker refuses, is not there, or has fenced them."""

from __future__ import annotations

import uuid
from collections.abc import Iterator

import pytest

from actors.errors import FencedError, ReopenError
from actors.kafka import group, letters
from actors.kafka.client import Cluster
from actors.kafka.group import GroupMember, RecordTooLargeError
from actors.kafka.letters import RedriveWriter, fetch, partitions_of, read_records
from actors.sinks.redrive import Letter, Outgoing
from cluster.local import Endpoints
from schemas.topics import RETRY_BYTES_MAX
from tests.actors.publisher_support import make_topic, nobody
from tests.integration.line import wait_for

pytestmark = pytest.mark.kafka


@pytest.fixture
def cluster(stack: Endpoints) -> Cluster:
    return Cluster(stack.bootstrap_servers)


@pytest.fixture
def gone(monkeypatch: pytest.MonkeyPatch) -> Iterator[Cluster]:
    """A broker that does not answer, and little patience."""
    for module, name in ((group, "SEND_S"), (letters, "FETCH_S"), (letters, "COMMIT_S"), (letters, "IDLE_S")):
        monkeypatch.setattr(module, name, 0.3)
    with nobody() as address:
        yield Cluster(address)


def outgoing(topic: str, value: bytes = b"v") -> Outgoing:
    return Outgoing(Letter("dlq", 0, 0, 0, {}), "name", topic, b"k", value, (), 1)


def mark(*_: object) -> bytes:
    return b"mark"


def test_a_member_without_a_broker_says_what_it_could_not_do(gone: Cluster) -> None:
    member = GroupMember(gone, "g", ["t"], lambda _: None)
    with pytest.raises(ReopenError, match=r"^t: "):
        member.send("t", b"k", b"v", ())
    member.commit({})  # nothing to ask anybody for
    wait_for(lambda: member.poll(0.05) is None and member.trouble is not None, "trouble")
    wait_for(lambda: member._producer.buffered == 0, "the record is given up")
    member.close()


def test_a_member_refuses_what_no_topic_takes(cluster: Cluster) -> None:
    topic = make_topic(cluster.bootstrap_servers, partitions=1)
    member = GroupMember(cluster, f"g-{uuid.uuid4().hex[:8]}", [topic], lambda _: None)
    with pytest.raises(RecordTooLargeError, match=topic):
        member.send(topic, None, b"x" * (RETRY_BYTES_MAX + 1), ())
    member.close()


def test_a_commit_for_partitions_that_are_anothers_now_is_passed_over(
    cluster: Cluster, caplog: pytest.LogCaptureFixture
) -> None:
    topic, name = make_topic(cluster.bootstrap_servers, partitions=1), f"g-{uuid.uuid4().hex[:8]}"
    holder = GroupMember(cluster, name, [topic], lambda _: None)
    stranger = GroupMember(cluster, name, [topic], lambda _: None)
    stranger._consumer.unsubscribe()  # it has left, or never joined: the group does not know it

    def held() -> bool:
        holder.poll(0.05)
        return bool(holder.partitions)

    wait_for(held, "the partition is assigned")
    with caplog.at_level("INFO"):
        stranger.commit({(topic, 0): 7})
    assert "the partitions are another's now" in caplog.text
    stranger.close()
    holder.close()


def test_a_lost_offset_ends_a_member(cluster: Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    topic = make_topic(cluster.bootstrap_servers, partitions=1)
    strict = Cluster(cluster.bootstrap_servers)
    settings = strict.settings
    monkeypatch.setattr(
        Cluster,
        "settings",
        lambda _, **ours: (
            {**settings(**ours), "auto.offset.reset": "error"} if "session_timeout_ms" in ours else settings(**ours)
        ),
    )
    member = GroupMember(strict, f"g-{uuid.uuid4().hex[:8]}", [topic], lambda _: None)

    def poll_until_it_ends() -> None:
        while True:
            member.poll(0.05)

    with pytest.raises(ReopenError, match=r"^group g-.*_AUTO_OFFSET_RESET"):
        poll_until_it_ends()
    member.close()


def test_letters_without_a_broker(gone: Cluster) -> None:
    with pytest.raises(ReopenError, match="read single records"):
        fetch(gone, [("t", 0, 0)])
    with pytest.raises(ReopenError, match="begin to redrive"):
        RedriveWriter(gone).open()
    assert fetch(gone, []) == {}


def test_letters_are_not_read_past_a_partition_that_does_not_answer(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(letters, "IDLE_S", 0.3)
    topic = make_topic(cluster.bootstrap_servers, partitions=1)
    writer = RedriveWriter(cluster)
    writer.open()
    writer._producer.begin_transaction()
    writer._producer.produce(topic, b"open", b"k", 0)  # below it everything hangs
    assert writer._producer.flush(10) == 0
    with pytest.raises(ReopenError, match=r"partitions \[0\] do not answer"):
        list(read_records(cluster, topic, [0], None))
    writer._producer.abort_transaction(10)
    assert list(read_records(cluster, topic, [0], 0)) == []
    writer.close()


def test_a_record_that_is_nowhere(cluster: Cluster) -> None:
    topic = make_topic(cluster.bootstrap_servers, partitions=1)
    places = [(topic, 0, 5), ("nowhere", 0, 0), (topic, 7, 0)]
    assert fetch(cluster, places) == dict.fromkeys(places)
    assert partitions_of(cluster, [topic, "nowhere"]) == {topic: [0]}


def test_a_redrive_that_cannot_be_written_has_done_nothing(cluster: Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    marks = make_topic(cluster.bootstrap_servers, partitions=1)
    small = make_topic(cluster.bootstrap_servers, partitions=1, max_message_bytes="1000")
    writer = RedriveWriter(cluster)
    writer.open()
    with pytest.raises(ReopenError, match=r"nothing was redriven: .*larger than|nothing was redriven: .*too large"):
        writer.write([outgoing(small), outgoing(small, b"x" * 2000)], marks, mark)
    with pytest.raises(ReopenError, match="MSG_SIZE_TOO_LARGE"):
        writer.write([outgoing(small, b"x" * (RETRY_BYTES_MAX + 1))], marks, mark)
    writer.close()
    assert list(read_records(cluster, small, [0], None)) == []
    assert list(read_records(cluster, marks, [0], None)) == []


def test_a_fenced_redrive_writes_no_more(cluster: Cluster) -> None:
    topic = make_topic(cluster.bootstrap_servers, partitions=1)
    old, new = RedriveWriter(cluster), RedriveWriter(cluster)
    old.open()
    new.open()
    with pytest.raises(FencedError):
        old.write([outgoing(topic)], topic, mark)
    assert new.write([outgoing(topic)], topic, mark) == [(0, 0)]
    old.close()
    new.close()
