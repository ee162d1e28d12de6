"""`chipquality notify`, as a person and as a program call it."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from confluent_kafka import Producer
from typer.testing import CliRunner

from actors.kafka.client import Cluster
from actors.sinks.routes import Route
from actors.sinks.sending import AppriseSender
from cluster.commands.notify import FAILED, app, notify_task, routes_of
from cluster.config import RouteConfig, load, render
from cluster.local import Endpoints
from schemas.encode import Encoder
from schemas.topics import ALERTS
from tests.actors.sinks.alert_records import alert
from tests.actors.sinks.webhook import Webhook
from tests.fixtures_stack import prepared
from tests.integration.line import wait_for

COMMAND = [sys.executable, "-c", "from cluster.cli import main; main()", "notify", "run"]


def configure(monkeypatch: pytest.MonkeyPatch, *routes: dict[str, object]) -> None:
    monkeypatch.setenv("CHIPQUALITY_NOTIFY__ROUTES", json.dumps(routes))
    monkeypatch.setenv("CHIPQUALITY_NOTIFY__ALLOW_PRIVATE", "true")  # the webhooks of tests are on this machine


def test_routes_as_configured_and_no_address_is_shown(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    configure(
        monkeypatch,
        {
            "name": "line",
            "urls": ["json://user:hunter2@h"],
            "severities": ["critical"],
            "series": "ETCH*",
            "per_minute": 3,
        },
        {"name": "mail", "urls": ["json://a", "json://b"], "states": ["open"], "series": ["A*", "B*"]},
    )
    monkeypatch.setenv("CHIPQUALITY_NOTIFY__STALE_S", "120")
    config = load()
    line, mail = routes_of(config)
    assert (line.name, line.urls, line.severities, line.per_minute) == (
        "line",
        ("json://user:hunter2@h",),
        ("critical",),
        3,
    )
    assert (line.states, line.series) == (("open", "closed"), ("ETCH*",))
    assert (mail.states, mail.series, mail.urls) == (("open",), ("A*", "B*"), ("json://a", "json://b"))
    task = notify_task(config, Cluster("h:1"))
    assert (task.stale_s, task.plan.topic) == (120, ALERTS)
    assert "hunter2" not in render(config) + repr(task)


def test_the_routes_that_docs_dead_letters_shows_are_read(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    page = (Path(__file__).parents[2] / "docs/dead-letters.md").read_text()
    (tmp_path / "chipquality.yaml").write_text(page.split("```yaml\n")[1].split("```")[0])
    chat, mail = routes = routes_of(load())
    send = AppriseSender(routes)
    [slack], [email] = (send._services[route.urls[0]] for route in (chat, mail))
    assert (slack.service_name, slack.channels) == ("Slack", ["#line"])
    assert (email.service_name, email.secure, email.smtp_host) == ("E-Mail", True, "mail.example.com")
    assert email.targets == [(False, "quality@example.com")]
    assert ([len(route.urls) for route in routes], chat.per_minute, mail.states) == ([1, 1], 10, ("open",))


def test_the_addresses_that_the_setting_describes_are_read() -> None:
    shown = re.findall(r"\w+://[^\s,]+", str(RouteConfig.model_fields["urls"].description))
    send = AppriseSender([Route("shown", tuple(shown))])
    names = [service.service_name for url in shown for service in send._services[url]]
    assert names == ["E-Mail", "Slack", "JSON"]


@pytest.mark.slow
def test_without_routes_it_is_one_clear_line(tmp_path: Path) -> None:
    told = subprocess.run(
        COMMAND, cwd=tmp_path, capture_output=True, text=True, check=False,
        env=os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])},
    )  # fmt: skip
    assert told.returncode == 2
    assert told.stderr == "chipquality: notify.routes is not set: nobody would be told; see docs/dead-letters.md\n"


@pytest.mark.kafka
def test_a_test_message(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    with Webhook() as hook:
        hook.answers = {"/bad": [500]}
        configure(monkeypatch, {"name": "chat", "urls": [hook.url("good"), hook.url("bad")]})
        told = CliRunner().invoke(app, ["test"])
        assert told.exit_code == FAILED
        good, bad = told.output.splitlines()
        assert good.endswith("  sent")
        assert "500" in bad
        again = CliRunner().invoke(app, ["test", "--output", "json"])
        assert again.exit_code == 0
        assert list(json.loads(again.output).values()) == [None, None]


@pytest.mark.processes
def test_it_runs_until_it_is_stopped(stack: Endpoints, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    ids = prepared(stack)
    producer = Producer({"bootstrap.servers": stack.bootstrap_servers})
    with Webhook() as hook:
        configure(monkeypatch, {"name": "chat", "urls": [hook.url("chat")], "series": "only-here*"})
        monkeypatch.setenv("CHIPQUALITY_KAFKA__BOOTSTRAP_SERVERS", stack.bootstrap_servers)
        monkeypatch.setenv("CHIPQUALITY_REGISTRY__URL", stack.registry_url)
        value = Encoder("alert", ids[ALERTS, "alert"]).encode(alert("only", series="only-here|a"))
        producer.produce(ALERTS, value, b"only")
        assert producer.flush(20) == 0
        running = subprocess.Popen(
            COMMAND, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
            text=True, env=os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])},
        )  # fmt: skip
        try:
            wait_for(lambda: hook.titles("chat") == ["CRITICAL: nelson_1 on only-here|a"], "told", 100)
            running.send_signal(signal.SIGTERM)
            out, _ = running.communicate(timeout=60)
        finally:
            running.kill()
    assert running.returncode == 0
    first, last = out.splitlines()
    assert first == "telling alerts on chat; Ctrl-C stops it"
    assert json.loads(last)["messages"]["sent"] == 1
