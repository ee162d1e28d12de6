"""`chipquality alerts` and `chipquality capability`, as a person and as a program call them, on the real broker."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from cluster.cli import app
from cluster.commands import alerts, capability
from cluster.local import Endpoints
from models.capability_report import INDICES
from tests.cluster.audit_trail import actions
from tests.cluster.quality_line import QualityLine
from tests.integration.line import series_of

pytestmark = pytest.mark.kafka
S1 = series_of("s1")


@pytest.fixture(autouse=True)
def _here(quality: QualityLine, stack: Endpoints, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Have the commands take the line's topics for the product's."""
    line = quality.line
    monkeypatch.setattr(alerts, "ALERTS", line.topics.alerts)
    monkeypatch.setattr(alerts, "ALERT_ACTIONS", f"{line.name}.actions")
    for name, topic in (("MEASUREMENTS", line.input), ("STATE", line.topics.state), ("CONTROL", line.topics.control)):
        monkeypatch.setattr(capability, name, topic)
    monkeypatch.setenv("CHIPQUALITY_KAFKA__BOOTSTRAP_SERVERS", stack.bootstrap_servers)
    monkeypatch.setenv("CHIPQUALITY_REGISTRY__URL", stack.registry_url)
    monkeypatch.setenv("CHIPQUALITY_PIPELINE__NAME", line.name)
    monkeypatch.chdir(tmp_path)


def call(*arguments: str) -> Result:
    return CliRunner().invoke(app, arguments)


def ask(*arguments: str) -> Any:
    told = call(*arguments, "--output", "json")
    assert told.exit_code == 0, told.output + str(told.exception)
    return json.loads(told.output)


def refused(*arguments: str, code: int = 2) -> str:
    told = call(*arguments)
    assert (told.exit_code, told.stderr.count("\n")) == (code, 1), told.output + str(told.exception)
    return told.stderr.removeprefix("chipquality: ").strip()


def test_an_alert_from_the_command_line(quality: QualityLine, stack: Endpoints) -> None:
    ident = quality.alert(2)["alert_id"]
    assert ident in [one["alert_id"] for one in ask("alerts", "list", "--status", "open", "--tool", "E1")]
    assert ident in call("alerts", "list", "--limit", "9").output
    assert call("alerts", "list", "--tool", "nobody").output == "No alerts.\n"
    assert refused("alerts", "close", ident, "--author", "ada") == "nobody has acknowledged it yet: do that first"
    assert ask("alerts", "ack", ident, "--author", "ada", "--if-version", "0")["life"]["assigned"] == "ada"
    assert refused("alerts", "ack", ident, "--author", "bo", "--if-version", "0").startswith(
        "this alert is at version 1 now, not 0"
    )
    ask("alerts", "step", ident, "--author", "ada", "--text", "gauge calibrated?")
    ask("alerts", "cause", ident, "worn ring", "--author", "ada")
    ask("alerts", "step", ident, "--author", "ada", "--text", "change it", "--kind", "terminator", "--done")
    assert refused("alerts", "close", ident, "--author", "ada") == "step 1 of its OCAP is not done"
    ask("alerts", "step", ident, "--author", "ada", "--done-step", "1", "--text", "yes")
    closed = call("alerts", "close", ident, "--author", "ada", "--text", "wafer measured again")
    assert closed.exit_code == 0, closed.output
    assert "  closed, ada has it, version 6; cause: worn ring" in closed.output
    assert "    1. checkpoint: gauge calibrated? (done by ada: yes)" in closed.output
    ask("alerts", "reopen", ident, "--author", "bo", "--text", "it is back")
    ask("alerts", "comment", ident, "--author", "bo", "--text", "same tool")
    shown = call("alerts", "show", ident).output
    assert "  bo  reopen  it is back" in shown
    assert "  open, version 8; cause: none named" in shown
    seen = quality.wait(
        lambda: (one := quality.get(f"/alerts/{ident}"))["life"]["version"] == 8 and one, "the view has read it"
    )
    assert seen["life"]["history"][-1]["by"] == "bo"
    assert refused("alerts", "show", "nobody").startswith("no alert nobody among the newest")
    done = ["acknowledge", "ocap_step", "assign_cause", "ocap_step", "ocap_step", "close", "reopen", "comment"]
    assert actions(stack, f"alert {ident}") == [f"alerts.{action}" for action in done]


def test_a_capability_report_from_the_command_line() -> None:
    report = ask("capability", "report", S1, "--rows", "10", "--usl", "9")
    assert (report["n"], report["limits"], report["first_offset"]) == (10, {"lsl": 0.0, "usl": 9.0, "target": 10.0}, 2)
    assert set(report["indices"]) == set(INDICES)
    text = call("capability", "report", S1).output
    assert "n 12, 0 missing or left out; normal: " in text
    assert "  Cpk " in text
    rows = {row[0]: row[1] for row in csv.reader(call("capability", "report", S1, "-o", "csv").output.splitlines())}
    assert (rows["n"], rows["series"]) == ("12", S1)
    assert refused("capability", "report", "nobody").startswith("no row of series nobody")
    assert "lsl below usl" in refused("capability", "report", S1, "--usl", "1", "--lsl", "2")


def test_topics_that_are_not_there_and_no_kafka(monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as other:
        other.setenv("CHIPQUALITY_PIPELINE__NAME", "another")
        assert call("alerts", "list").output == "No alerts.\n"
    monkeypatch.setattr(alerts, "ALERTS", "nowhere")
    assert refused("alerts", "list") == "there is no topic nowhere: `chipquality topics apply` makes it"
    monkeypatch.setenv("CHIPQUALITY_REGISTRY__URL", "http://127.0.0.1:1")
    monkeypatch.setenv("CHIPQUALITY_REGISTRY__CLIENT", '{"timeout": "1", "max.retries": "0"}')
    assert "127.0.0.1:1" in refused("capability", "report", S1, code=1)
