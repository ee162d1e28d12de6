"""`chipquality topics diff | apply`, as a person and as a program call them, on the real broker."""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from confluent_kafka.admin import AdminClient
from typer.testing import CliRunner, Result

from actors.errors import ConfigError
from cluster.commands import topics as module
from cluster.commands.topics import DIFFERS, app
from cluster.local.running import Running
from schemas.topics import ML, STATE, TOPICS, Topic

if TYPE_CHECKING:
    from cluster.local import Endpoints

pytestmark = pytest.mark.kafka


@pytest.fixture
def ours(stack: Endpoints, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[dict[str, Topic]]:
    """Two topics under fresh names in place of all; deleted afterwards."""
    mark = uuid.uuid4().hex[:8]
    named = [replace(TOPICS[name], name=f"test.{mark}.{name}") for name in (ML, STATE)]
    topics = {topic.name: topic for topic in named}
    monkeypatch.setattr(module, "TOPICS", topics)
    monkeypatch.setenv("CHIPQUALITY_KAFKA__BOOTSTRAP_SERVERS", stack.bootstrap_servers)
    monkeypatch.setenv("CHIPQUALITY_KAFKA__PARTITIONS", "2")
    monkeypatch.chdir(tmp_path)
    yield topics
    client = AdminClient({"bootstrap.servers": stack.bootstrap_servers})
    for future in client.delete_topics(list(topics)).values():
        future.exception(10)


def call(*arguments: str) -> Result:
    return CliRunner().invoke(app, arguments)


def test_diff_apply_diff(ours: dict[str, Topic]) -> None:
    before = call("diff")
    assert before.exit_code == DIFFERS
    assert before.output.splitlines()[0] == "would change:"
    assert all(f"{name}  create: 2 partitions" in before.output.replace("   ", "") for name in [max(ours, key=len)])
    applied = call("apply")
    assert applied.exit_code == 0
    assert applied.output.splitlines()[0] == "changes:"
    for again in (call("apply"), call("diff")):
        assert again.exit_code == 0
        assert again.output == "2 topics are as they should be.\n"


def test_for_a_program(ours: dict[str, Topic]) -> None:
    told = json.loads(call("diff", "--output", "json").output)
    assert told["topics"] == 2
    assert [change["topic"] for change in told["changes"]] == list(ours)
    assert {change["kind"] for change in told["changes"]} == {"CreateTopic"}
    assert told["changes"][1]["config"]["cleanup.policy"] == "compact"
    assert call("apply", "-o", "json").exit_code == 0
    assert json.loads(call("diff", "-o", "json").output) == {"topics": 2, "changes": []}


def test_growing_a_keyed_topic_is_refused_with_the_reason(
    ours: dict[str, Topic], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert call("apply").exit_code == 0
    monkeypatch.setenv("CHIPQUALITY_KAFKA__PARTITIONS", "3")
    for command in ("diff", "apply", "diff"):
        told = call(command)
        assert told.exit_code == DIFFERS
        assert told.output.count("refused: it has 2 partitions and should have 3") == len(ours)
        assert "keys would move to other partitions" in told.output
    monkeypatch.setenv("CHIPQUALITY_KAFKA__PARTITIONS", "2")
    assert call("diff").exit_code == 0


def test_what_local_up_left_running_is_found(
    ours: dict[str, Topic], stack: Endpoints, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.delenv("CHIPQUALITY_KAFKA__BOOTSTRAP_SERVERS")
    monkeypatch.setenv("CHIPQUALITY_LOCAL__DIRECTORY", str(tmp_path))
    Running("java", stack.bootstrap_servers, stack.registry_url, keep_data=False, data="", processes=()).save(tmp_path)
    assert call("apply").exit_code == 0
    assert call("diff").exit_code == 0


def test_no_kafka_is_one_clear_line(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    told = call("diff")
    assert isinstance(told.exception, ConfigError)
    assert str(told.exception).startswith("kafka.bootstrap_servers is not set, and no local broker runs")
