"""No command that changes something leaves it out of the audit trail, nor hides that it could not be recorded."""

from __future__ import annotations

import ast
import inspect
import sys
from collections.abc import Iterator
from typing import Any

import pytest
import typer

from actors.kafka.client import Cluster
from cluster.cli import app
from cluster.commands import recording

READS = {
    "alerts list", "alerts show", "arl cusum", "arl ewma", "arl shewhart", "asyncapi", "audit list",
    "capability report", "charts list", "charts show", "config", "consumers list", "consumers show",
    "dead-letters list", "dead-letters show", "detector check", "detector compare", "detector list", "detector show",
    "detectors list", "detectors show", "job current", "job history", "job list", "job show", "keys list",
    "limits list", "local status", "metrics errors", "metrics latency", "metrics show", "metrics throughput", "openapi",
    "operations list", "operations show", "pareto", "pipeline check", "pipeline list", "schemas check", "schemas diff",
    "schemas list", "schemas show", "topics diff", "topics list", "topics show", "wafer-maps list", "wafer-maps show",
}  # fmt: skip
CHANGES = {
    "alerts ack", "alerts cause", "alerts close", "alerts comment", "alerts reopen", "alerts step",
    "dead-letters redrive", "detector deploy", "detector promote", "detector remove", "detector rollback",
    "events publish", "groups reset", "import csv", "import parquet", "import stdf", "job cancel", "job remove",
    "job run", "job schedule", "keys create", "keys revoke", "limits apply", "limits exclude", "limits include",
    "limits propose", "limits reset", "operations cancel", "pipeline repair", "pipeline scale", "replay",
    "schemas level", "topics delete",
}  # fmt: skip
ELSE = {  # starts or stops what runs, writes a file, tells people, or makes the topic that the trail stands in
    "backtest", "demo", "detector new", "fit covariance", "fit isolation-forest", "fit pca", "fit reference",
    "local down", "local up", "notify run", "notify test", "run", "topics apply",
}  # fmt: skip


def commands(group: typer.Typer, before: str = "") -> Iterator[tuple[str, Any]]:
    for command in group.registered_commands:
        assert command.callback is not None
        name = command.name or command.callback.__name__.replace("_", "-")
        yield f"{before} {name}".strip(), command.callback
    for part in group.registered_groups:
        assert part.typer_instance is not None
        yield from commands(part.typer_instance, f"{before} {part.name}")


ALL = dict(commands(app))


def called_by(callback: Any) -> set[str]:
    """Return the names that a function calls, and those that the functions of its module call that it calls."""
    tree = ast.parse(inspect.getsource(sys.modules[callback.__module__]))
    within = {
        node.name: {
            one.func.id for one in ast.walk(node) if isinstance(one, ast.Call) and isinstance(one.func, ast.Name)
        }
        for node in tree.body
        if isinstance(node, ast.FunctionDef)
    }
    found: set[str] = set()
    waiting = {callback.__name__}
    while waiting:
        name = waiting.pop()
        found.add(name)
        waiting |= within.get(name, set()) - found
    return found


def test_every_command_is_known_to_change_something_or_not() -> None:
    assert set(ALL) >= CHANGES
    unsaid = set(ALL) - READS - CHANGES - ELSE
    assert unsaid == set(), "does it change something? then record it"


@pytest.mark.parametrize("name", sorted(CHANGES))
def test_what_changes_something_records_it(name: str) -> None:
    assert called_by(ALL[name]) & {"record", "recorded_in_trail", "carry_out"}


@pytest.mark.parametrize("name", sorted(set(ALL) & READS))
def test_what_reads_records_nothing(name: str) -> None:
    assert not called_by(ALL[name]) & {"record", "recorded_in_trail", "carry_out"}


@pytest.mark.kafka
def test_what_cannot_be_recorded_is_said(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recording, "RECORD_S", 0.1)
    nowhere = Cluster("127.0.0.1:1", "http://127.0.0.1:1", registry_client={"timeout": "1", "max.retries": "0"})
    with pytest.raises(typer.Exit) as ended:
        recording.record(nowhere, "limits.approve", "series S", None, {})
    assert ended.value.exit_code == recording.NOT_RECORDED
    assert capsys.readouterr().err.startswith("chipquality: it is done, but it is not in the audit trail: ")
