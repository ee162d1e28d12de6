"""`chipquality keys`, as a person and as a program call it."""

from __future__ import annotations

import json
import time
import uuid
from pathlib import Path

import pytest
from typer.testing import CliRunner

from actors.errors import ConfigError
from cluster.access.following import read_book
from cluster.access.secret import secret_of
from cluster.cli import app
from cluster.commands.where import cluster_of
from cluster.config import load
from cluster.local import Endpoints
from tests.cluster.audit_trail import actions
from tests.fixtures_stack import prepared

RUN = CliRunner()


@pytest.fixture
def configured(stack: Endpoints, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    prepared(stack)
    monkeypatch.setenv("CHIPQUALITY_KAFKA__BOOTSTRAP_SERVERS", stack.bootstrap_servers)
    monkeypatch.setenv("CHIPQUALITY_REGISTRY__URL", stack.registry_url)
    monkeypatch.setenv("CHIPQUALITY_ACCESS__SECRET", uuid.uuid4().hex)


def test_made_listed_and_revoked(configured: None, stack: Endpoints) -> None:
    made = RUN.invoke(
        app, ["keys", "create", "ann", "--grant", "viewer", "--grant", "operator:limits:E*", "--days", "2"]
    )
    assert made.exit_code == 0, made.output
    text = made.stdout.strip()
    assert "it is not shown again" in made.stderr
    assert text not in made.stderr
    config = load()
    book = read_book(cluster_of(config), secret_of(config, ours=False))
    key = book.find(text, time.time_ns() // 1_000_000)
    assert key
    assert key.created_by.startswith("command line, ")
    listed = RUN.invoke(app, ["keys", "list"]).output
    assert (key.key_id in listed, "live" in listed, "viewer, operator:limits:E*" in listed) == (True, True, True)
    assert RUN.invoke(app, ["keys", "revoke", key.key_id]).output == "ann: revoked\n"
    again = RUN.invoke(app, ["keys", "revoke", key.key_id, "--output", "json"])
    assert json.loads(again.output)["state"] == "revoked"
    [shown] = json.loads(RUN.invoke(app, ["keys", "list", "--output", "json"]).output)
    assert shown["revoked_by"] == key.created_by
    assert text.rpartition("_")[2] not in listed + json.dumps(shown)
    assert actions(stack, f"key {key.key_id}") == ["keys.create", "keys.revoke"]
    missing = RUN.invoke(app, ["keys", "revoke", "nobody"])
    assert missing.exit_code == 2
    assert "no key 'nobody'" in missing.output


def test_as_a_program_calls_it_and_what_is_refused(configured: None) -> None:
    made = RUN.invoke(app, ["keys", "create", "bob", "--grant", "admin", "--output", "json"])
    said = json.loads(made.stdout)
    assert said["text"].startswith(f"cq_{said['key']['id']}_")
    for arguments, why in (
        (["keys", "create", "bob", "--grant", "viewer"], "live key with the name 'bob'"),
        (["keys", "create", "eve", "--grant", "root"], "no role 'root'"),
    ):
        refused = RUN.invoke(app, arguments)
        assert isinstance(refused.exception, ConfigError)
        assert why in str(refused.exception)


def test_without_kafka_nothing_is_done(configured: None, monkeypatch: pytest.MonkeyPatch) -> None:
    from actors.kafka import consumer

    monkeypatch.setenv("CHIPQUALITY_KAFKA__BOOTSTRAP_SERVERS", "127.0.0.1:1")
    monkeypatch.setattr(consumer, "LIST_TIMEOUTS_S", (0.3,))
    refused = RUN.invoke(app, ["keys", "list"])
    assert isinstance(refused.exception, ConfigError)
    assert "nothing was done" in str(refused.exception)
