"""`chipquality topics | consumers | schemas`, as a person and as a program call them, on the real broker and registry."""

from __future__ import annotations

import json
import uuid
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from typer.testing import CliRunner, Result

from actors.errors import ConfigError
from cluster.cli import app
from cluster.commands import topics as topics_command
from schemas.registry import Registry
from tests.actors.publisher_support import nobody
from tests.cluster.audit_trail import recorded
from tests.cluster.monitored import Monitored
from tests.fixtures_stack import prepared

if TYPE_CHECKING:
    from cluster.local import Endpoints

pytestmark = pytest.mark.kafka


@pytest.fixture(scope="module")
def api(stack: Endpoints) -> Monitored:
    return Monitored(stack)


@pytest.fixture(autouse=True)
def _where(stack: Endpoints, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("CHIPQUALITY_KAFKA__BOOTSTRAP_SERVERS", stack.bootstrap_servers)
    monkeypatch.setenv("CHIPQUALITY_REGISTRY__URL", stack.registry_url)
    monkeypatch.chdir(tmp_path)


def call(*arguments: str) -> Result:
    return CliRunner().invoke(app, arguments)


def told(code: int, *arguments: str) -> Any:
    result = call(*arguments, "--output", "json")
    assert result.exit_code == code, result.output
    return json.loads(result.stdout)


def test_topics(api: Monitored) -> None:
    name = api.topic("commands", 2, retention_ms="60000")
    api.publish(name, [3, 1])
    items = {item["name"]: item for item in told(0, "topics", "list")["items"]}
    assert (items[name]["records"], items[name]["retention_ms"]) == (4, 60_000)
    assert items[name] == {key: value for key, value in api.get(f"/events/topics/{name}").items() if key in items[name]}
    one = told(0, "topics", "show", name)
    assert one["configs"]["retention.ms"]["value"] == "60000"
    lines = call("topics", "show", name).output.splitlines()
    assert lines[0] == name
    assert lines[2].split() == ["0", "1", "[1]", "[1]", "0", "3"]
    assert "retention.ms = 60000, not 604800000" in lines
    assert name in call("topics", "list").output
    missing = call("topics", "show", "no-such")
    assert (missing.exit_code, missing.stderr) == (2, "chipquality: the cluster has no topic 'no-such'\n")
    assert not topics_command._is_well({"under_replicated": 1, "without_leader": 0})


def test_consumers(api: Monitored) -> None:
    topic, group = api.topic("commands-lag", 2), f"{api.mark}-lagging"
    api.publish(topic, [5, 5])
    api.commit(group, topic, [5, 5])
    assert told(0, "consumers", "show", group)["status"] == "OK"
    api.commit(group, topic, [5, 1])
    one = told(1, "consumers", "show", group, "--watch-s", "0.5")
    assert (one["status"], one["lag"], one["kind"]) == ("STOPPED", 4, "group")
    unwatched = told(0, "consumers", "list", "--watch-s", "0")
    assert next(item for item in unwatched["items"] if item["group"] == group)["status"] == "UNKNOWN"
    shown = call("consumers", "show", group, "--watch-s", "0.5")
    assert shown.exit_code == 1
    assert f"{topic}:1" in shown.output
    assert group in call("consumers", "list", "--watch-s", "0").output
    assert call("consumers", "show", "no-such", "--watch-s", "0").exit_code == 2


def schema(*fields: str) -> str:
    return json.dumps({"type": "record", "name": "R", "fields": [{"name": name, "type": "int"} for name in fields]})


def test_schemas(api: Monitored, tmp_path: Path, stack: Endpoints) -> None:
    prepared(stack)  # the audit trail
    registry, subject = Registry(api.cluster.registry_url), f"{api.mark}.commands-value"
    registry.register(subject, schema("a"))
    items = {item["subject"]: item for item in told(0, "schemas", "list")["items"]}
    assert (items[subject]["versions"], items[subject]["compatibility"]) == ([1], "BACKWARD")
    file = tmp_path / "new.avsc"
    file.write_text(schema("a", "b"))
    refused = told(1, "schemas", "check", subject, str(file))
    assert refused["reasons"] == ["a reader with it cannot read what version 1 wrote: b: added int"]
    file.write_text(schema("a"))
    checked = call("schemas", "check", subject, str(file))
    assert (checked.exit_code, checked.output) == (0, "may follow under BACKWARD; compared with versions: 1\n")
    registry.set_compatibility(subject, "FORWARD")
    registry.register(subject, schema("a", "b"))
    registry.set_compatibility(subject, "BACKWARD")
    assert [change["path"] for change in told(1, "schemas", "diff", subject, "1", "2")["changes"]] == ["b"]
    assert call("schemas", "diff", subject, "1", "2").output == "b: added int  breaks backward\n"
    assert call("schemas", "diff", subject, "1", "1").output == "no difference\n"
    assert told(2, "schemas", "level", subject, "full", "--apply")["conflicts"][0]["to"] == 2
    assert told(0, "schemas", "level", subject, "FORWARD")["applied"] is False
    assert registry.compatibility(subject) == "BACKWARD"
    assert call("schemas", "level", subject, "FORWARD", "--apply").exit_code == 0
    assert registry.compatibility(subject) == "FORWARD"
    [changed] = recorded(stack, f"subject {subject}")
    assert (changed["action"], changed["before"], changed["after"]) == (
        "schemas.compatibility",
        '"BACKWARD"',
        '"FORWARD"',
    )
    told(0, "schemas", "diff", subject, "1", "2")
    assert [each["version"] for each in told(0, "schemas", "show", subject)["versions"]] == [1, 2]
    assert call("schemas", "show", subject).output.startswith(f"{subject}  FORWARD\nversion 1")
    assert subject in call("schemas", "list").output


def test_what_is_refused_and_what_does_not_answer(
    api: Monitored, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    file = tmp_path / "none.avsc"
    file.write_text("{")
    subject = f"{api.mark}.{uuid.uuid4().hex}-value"
    Registry(api.cluster.registry_url).register(subject, schema("a"))
    for arguments in (
        ("schemas", "show", "no-such"),
        ("schemas", "diff", subject, "1", "9"),
        ("schemas", "check", subject, str(file)),
        ("schemas", "level", subject, "SIDEWAYS"),
    ):
        refused = call(*arguments)
        assert refused.exit_code == 2, refused.output
        assert refused.stderr.startswith("chipquality: ")
        assert refused.stderr.count("\n") == 1
    assert isinstance(call("schemas", "check", subject, str(tmp_path)).exception, ConfigError)
    with nobody() as address:
        monkeypatch.setenv("CHIPQUALITY_REGISTRY__URL", f"http://{address}")
        silent = call("schemas", "list")
        assert (silent.exit_code, silent.stderr.count("\n")) == (1, 1)
