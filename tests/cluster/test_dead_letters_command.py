"""`chipquality dead-letters`, as a person and as a program call it, on the real broker with letters of every kind."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Any

import pytest
from confluent_kafka import Producer
from confluent_kafka.admin import NewTopic
from typer.testing import CliRunner, Result

from actors import letter_desk as module
from actors.engine.dead_letters import PREFIX_BYTES, dead_letter_record
from actors.errors import FencedError
from actors.kafka.letters import RedriveWriter, read_records
from actors.sinks.journey import Journey, Received, dead_letter_fields, journey_of
from actors.sinks.redrive import Letter, Outgoing
from cluster.commands.dead_letters import FAILED, REFUSED, app
from schemas.batch import DeadLetter, Reason
from schemas.encode import Encoder
from schemas.topics import RETRY_BYTES_MAX, schema_text
from tests.actors.sinks.group_line import GroupLine
from tests.cluster.audit_trail import recorded
from tests.fixtures_stack import prepared

if TYPE_CHECKING:
    from pathlib import Path

    from cluster.local import Endpoints

pytestmark = pytest.mark.kafka
NOW_MS = time.time_ns() // 1_000_000


class Desk:
    """An input topic with its dead letters, and a consumer group's, as the command finds them."""

    def __init__(self, stack: Endpoints, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        self.line = GroupLine(stack, delays_s=(0.1,))
        self.topic, self.dlq, self.redrives = (
            self.line.plan.topic,
            f"{self.line.plan.topic}.dlq",
            f"{self.line.plan.topic}.redrives",
        )
        new = [NewTopic(self.dlq, 1, 1), NewTopic(self.redrives, 1, 1)]
        for future in self.line.admin.create_topics(new).values():
            future.result(20)
        registry = self.line.registry
        self.letter = Encoder("dead_letter", registry.register(f"{self.dlq}-value", schema_text("dead_letter")))
        self.producer = Producer({"bootstrap.servers": stack.bootstrap_servers, "message.max.bytes": RETRY_BYTES_MAX})
        monkeypatch.setattr(module, "TARGETS", {self.dlq: None, self.line.plan.dead_letters: self.line.plan.retries[0]})
        monkeypatch.setattr(module, "REDRIVES", self.redrives)
        monkeypatch.setenv("CHIPQUALITY_KAFKA__BOOTSTRAP_SERVERS", stack.bootstrap_servers)
        monkeypatch.setenv("CHIPQUALITY_REGISTRY__URL", stack.registry_url)
        monkeypatch.chdir(tmp_path)

    def put(self, topic: str, value: bytes, key: bytes, headers: Any = None) -> None:
        self.producer.produce(topic, value, key, 0, headers=headers)
        assert self.producer.flush(20) == 0

    def dead(self, offset: int, value: bytes | None, reason: Reason = Reason.MALFORMED, detail: str = "bad") -> None:
        """Write a letter as a pipeline does."""
        letter = DeadLetter(self.topic, 0, offset, NOW_MS, reason, detail, b"key", value)
        record = dead_letter_record(letter, self.dlq, "quality", self.letter)
        self.put(record.topic, record.value or b"", record.key)

    def given_up(self, offset: int, value: bytes, redriven: int = 0) -> None:
        """Write a letter as a consumer group does."""
        record = Received(self.topic, 0, offset, NOW_MS, b"key", value)
        journey = Journey(self.topic, 0, offset, NOW_MS, attempts=2, redriven=redriven)
        fields = dead_letter_fields(record, journey, "sink", Reason.HANDLING_FAILED, "503", "Traceback: 503")
        self.put(self.line.plan.dead_letters, self.letter.encode(fields), b"k", [("traceparent", b"00-7")])

    def records(self, topic: str) -> list[Received]:
        return list(read_records(self.line.cluster, topic, [0], None))


@pytest.fixture
def desk(stack: Endpoints, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Desk:
    prepared(stack)  # the audit trail
    return Desk(stack, monkeypatch, tmp_path)


def call(*arguments: str) -> Result:
    return CliRunner().invoke(app, arguments)


def ask(*arguments: str) -> Any:
    told = call(*arguments, "--output", "json")
    assert told.exit_code == 0, told.output + str(told.exception)
    return json.loads(told.output)


def refused(*arguments: str, code: int = REFUSED) -> str:
    told = call(*arguments)
    assert (told.exit_code, told.stderr.count("\n")) == (code, 1), told.output + str(told.exception)
    return told.stderr.removeprefix("chipquality: ").strip()


def test_list_with_filters(desk: Desk) -> None:
    assert call("list").output == "0 dead letters.\n"
    desk.dead(3, b"x")
    desk.dead(4, b"y", Reason.NOT_AVRO, "first\n byte is 0x79")
    desk.given_up(5, b"z")
    text = call("list").output.splitlines()
    assert text[0].startswith(f"{desk.dlq}:0:0  20")
    assert text[1].endswith(f"  not_avro  quality  {desk.topic}:0:4  first byte is 0x79")
    assert text[-1] == "3 dead letters: 1 malformed, 1 not_avro, 1 handling_failed."
    listed = ask("list", "--limit", "2")
    assert listed["found"] == 3
    assert listed["by_reason"] == {"malformed": 1, "not_avro": 1, "handling_failed": 1}
    assert [item["record"] for item in listed["items"]] == [f"{desk.topic}:0:4", f"{desk.topic}:0:5"]

    def found(*filters: str) -> list[int]:
        return [int(item["record"].split(":")[-1]) for item in ask("list", *filters)["items"]]

    assert found("--topic", desk.topic) == [3, 4, 5]
    assert found("--topic", desk.dlq) == [3, 4]
    assert found("--reason", "not_avro") == [4]
    assert found("--source", "sink") == [5]
    assert found("--partition", "1") == []
    assert found("--since", "1h") == [3, 4, 5]
    assert found("--since", "2999-01-01") == []
    assert "the newest 1 shown" in call("list", "--limit", "1").output


def test_show_one_in_full(desk: Desk) -> None:
    desk.dead(3, desk.line.event("e3"))
    desk.given_up(5, b"\x01no avro" * 100)
    shown = ask("show", f"{desk.topic}:0:3")
    assert (shown["at"], shown["record"], shown["reason"]) == (f"{desk.dlq}:0:0", f"{desk.topic}:0:3", "malformed")
    assert shown["value_decoded"]["event_id"] == "e3"
    assert shown["advice"].startswith("The bytes are not what the schema says")
    text = call("show", f"{desk.line.plan.dead_letters}:0:0").output
    assert "trace\n  Traceback: 503" in text
    assert "value_hex     01 6e 6f 20" in text
    assert "only that consumer gets it again" in text
    assert "value decoded" not in text
    desk.dead(3, None)
    again = call("show", f"{desk.topic}:0:3").output
    assert again.endswith("There are 2 dead letters of this record; this is the newest.\n")


def test_redrive_shows_then_does_then_never_again(desk: Desk, stack: Endpoints) -> None:
    before = len(recorded(stack, "dead letters"))
    desk.dead(3, desk.line.event("e3"))
    desk.dead(4, None, Reason.NO_VALUE)
    desk.given_up(5, desk.line.event("e5"))
    desk.given_up(5, desk.line.event("e5"))
    dry = ask("redrive", "--since", "1h")
    assert not dry["applied"]
    assert [(sent["record"], sent["to_topic"]) for sent in dry["would_redrive"]] == [
        (f"{desk.topic}:0:3", desk.topic), (f"{desk.topic}:0:5", desk.line.plan.retries[0]),
    ]  # fmt: skip
    assert [left["why"] for left in dry["left"]] == [
        "it has no value",
        f"the same record as {desk.line.plan.dead_letters}:0:0",
    ]
    assert desk.records(desk.topic) == desk.records(desk.redrives) == []
    text = call("redrive", "--since", "1h").output
    assert text.endswith("2 records would be redriven, 2 left. Nothing was done: --apply does it.\n")
    done = ask("redrive", "--since", "1h", "--apply", "--author", "ada")
    assert [(sent["times"], sent["to_offset"]) for sent in done["redriven"]] == [(1, 0), (1, 0)]
    [record] = desk.records(desk.topic)
    assert (record.key, record.value) == (b"key", desk.line.event("e3"))
    assert dict(record.headers) == {
        "chipquality-redriven": b"1",
        "chipquality-redriven-from": f"{desk.dlq}:0:0".encode(),
    }
    [waiting] = desk.records(desk.line.plan.retries[0])
    assert journey_of(waiting, desk.line.plan) == Journey(desk.topic, 0, 5, NOW_MS, redriven=1)
    assert dict(waiting.headers)["traceparent"] == b"00-7"
    again = call("redrive", "--since", "1h", "--apply")
    assert "4 left" in again.output
    assert f"left: redriven already by ada, to {desk.topic}:0:0" in again.output
    assert len(desk.records(desk.topic)) == len(desk.records(desk.line.plan.retries[0])) == 1
    assert f"redriven to {desk.topic}:0:0" in call("list").output
    assert ask("show", f"{desk.topic}:0:3")["redriven"] == 1
    [redriven] = recorded(stack, "dead letters")[before:]
    assert (redriven["action"], json.loads(redriven["after"])["records"]) == ("dead-letters.redrive", 2)


def test_a_record_that_fails_again_is_redriven_until_its_limit(desk: Desk) -> None:
    """The pipeline sees no headers: that its record was redriven is known from where the redrive put it."""
    desk.dead(100, b"first")
    for times in (1, 2, 3):
        [sent] = ask("redrive", "--reason", "malformed", "--apply")["redriven"]
        assert sent["times"] == times
        desk.dead(sent["to_offset"], b"first")
    told = ask("redrive", "--reason", "malformed", "--apply")
    assert told["redriven" if told["applied"] else "would_redrive"] == []
    assert told["left"][-1]["why"] == "redriven 3 times, and it failed again: mend the cause"
    desk.given_up(7, b"x", redriven=3)
    assert ask("redrive", "--source", "sink")["left"][0]["why"].startswith("redriven 3 times")


def test_a_truncated_record_is_fetched_or_told_to_be_gone(desk: Desk) -> None:
    whole = b"\x01" + b"v" * (PREFIX_BYTES + 10)
    desk.put(desk.topic, whole, b"its key", [("traceparent", b"00-9")])
    desk.dead(0, whole)
    desk.dead(77, whole)
    told = ask("redrive", "--topic", desk.topic, "--apply")
    assert [left["why"] for left in told["left"]] == [
        f"only its first bytes were kept, and {desk.topic}:0:77 is no longer retained"
    ]
    first, again = desk.records(desk.topic)
    assert (again.key, again.value) == (b"its key", whole)
    assert again.headers[0] == first.headers[0] == ("traceparent", b"00-9")
    assert ask("show", f"{desk.topic}:0:77")["truncated"]


def test_a_redrive_that_was_killed_has_done_nothing_and_a_second_fences_the_first(desk: Desk) -> None:
    desk.dead(3, b"x")
    killed, late = RedriveWriter(desk.line.cluster), RedriveWriter(desk.line.cluster)
    killed.open()
    killed._producer.begin_transaction()
    killed._producer.produce(desk.topic, b"half")
    killed._producer.flush(20)
    late.open()
    [sent] = ask("redrive", "--reason", "malformed", "--apply")["redriven"]
    other = Outgoing(
        Letter(desk.dlq, 0, 0, 0, {"topic": desk.topic, "partition": 0, "offset": 3}),
        "n",
        desk.topic,
        b"k",
        b"z",
        (),
        1,
    )
    with pytest.raises(FencedError):
        late.write([other], desk.redrives, lambda *_: b"")
    late.close()
    killed.close()
    [record] = desk.records(desk.topic)
    assert (record.value, record.offset) == (b"x", sent["to_offset"])


def test_a_filter_that_takes_more_letters_than_the_cap_is_refused_and_nothing_is_done(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where no more than --max of them would go: all of them are held in memory."""
    for number in range(3):
        desk.dead(number, b"x")
    desk.dead(3, None, Reason.MALFORMED)
    monkeypatch.setattr(module, "REDRIVE_CAP", 3)
    for apply in ([], ["--apply"]):
        told = refused("redrive", "--reason", "malformed", "--max", "3", *apply)
        assert told == "more than 3 dead letters: narrow the filter"
    assert desk.records(desk.topic) == desk.records(desk.redrives) == []
    monkeypatch.setattr(module, "REDRIVE_CAP", 4)
    done = ask("redrive", "--reason", "malformed", "--max", "3", "--apply")
    assert len(done["redriven"]) == len(desk.records(desk.topic)) == 3


def test_no_max_reaches_beyond_the_cap(desk: Desk) -> None:
    desk.dead(0, b"x")
    assert len(ask("redrive", "--reason", "malformed", "--max", "10000")["would_redrive"]) == 1
    told = call("redrive", "--reason", "malformed", "--max", "10001")
    assert told.exit_code == REFUSED
    assert "--max" in told.stderr
    assert "10000" in told.stderr


def test_bad_input_is_one_clear_line(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(3):
        desk.dead(number, b"x")
    assert refused("redrive", "--reason", "malformed", "--max", "2") == (
        "3 records would be redriven, and --max is 2: narrow the filter, or say --max 3"
    )
    assert refused("redrive").startswith("say which: --topic, --reason")
    assert refused("list", "--reason", "nonsense").startswith(
        "--reason nonsense: no such reason; there are no_value, not_avro"
    )
    assert (
        refused("list", "--since", "noon") == "--since noon: a time as ISO 8601 has it is wanted, or e.g. 30m, 12h, 7d"
    )
    assert refused("show", "fab") == "fab: TOPIC:PARTITION:OFFSET is wanted, e.g. fab.measurements:3:1207"
    assert refused("show", f"{desk.topic}:0:99").startswith(
        f"no dead letter {desk.topic}:0:99; `chipquality dead-letters list`"
    )
    assert refused("list", "--topic", "other").startswith("--topic other: no dead letters of such a topic")
    monkeypatch.setattr(module, "REDRIVES", "absent.redrives")
    assert refused("redrive", "--record", f"{desk.topic}:0:1", "--apply") == (
        "there is no topic absent.redrives: `chipquality topics apply` makes it"
    )
    monkeypatch.setenv("CHIPQUALITY_KAFKA__BOOTSTRAP_SERVERS", "127.0.0.1:1")
    monkeypatch.setattr("actors.kafka.admin.CALL_TIMEOUT_S", 1.0)
    assert refused("list", code=FAILED).startswith("list topics: ")
