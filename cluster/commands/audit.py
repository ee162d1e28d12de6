"""`chipquality audit`: the audit trail: who did what. Works on Kafka itself; exit code 1: it does not answer."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Annotated, Any

import typer

from cluster.commands.telling import Output, OutputOption, one_line, table, tell
from cluster.commands.where import cluster_of
from cluster.config import load

app = typer.Typer(help="The audit trail: who did what.", no_args_is_help=True)

LIST, LIST_MAX = 50, 500


@app.callback()
def audit() -> None:
    """Keep `list` a command of its own."""


@app.command("list")
def list_events(
    user: Annotated[str | None, typer.Option(help="Of this user only.")] = None,
    event_type: Annotated[str | None, typer.Option(help="E.g. AUTHORISATION_DENIED, AUDIT_RECORDED.")] = None,
    action: Annotated[str | None, typer.Option(help="E.g. limits.approve.")] = None,
    limit: Annotated[int, typer.Option(min=1, max=LIST_MAX)] = LIST,
    output: OutputOption = Output.text,
) -> None:
    """Show the newest events: log-ins, refusals, changes with before and after. A bounded number of records is looked at."""
    from cluster.access.audit_reader import newest
    from schemas.registry import Registry

    wanted = {"user_id": user, "event_type": event_type, "action": action}

    def is_wanted(event: Mapping[str, Any]) -> bool:
        return all(value is None or event.get(name) == value for name, value in wanted.items())

    with one_line():
        cluster = cluster_of(load())
        registry = Registry(cluster.registry_url, cluster.registry_client)
        items = newest(cluster, registry.schema, limit, is_wanted).items
    if output is Output.json:
        typer.echo(json.dumps({"items": items}, default=str))
        return
    rows = [
        (
            _when(one["timestamp"]),
            one["event_type"],
            one["user_id"],
            one.get("action"),
            one.get("resource"),
            one.get("reason"),
        )
        for one in items
    ]
    tell(None, table(["when (UTC)", "event", "user", "action", "resource", "why"], rows), output)


def _when(ms: int) -> str:
    return f"{datetime.fromtimestamp(ms / 1000, UTC):%Y-%m-%d %H:%M:%S}"
