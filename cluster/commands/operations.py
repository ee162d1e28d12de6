"""`chipquality operations`: what was asked for that takes a while, how far it is, and what has come of it.

Exit codes: 0 done; 1 Kafka or Ray does not answer; 2 there is no such operation.
"""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Annotated, Any

import typer

from cluster.commands.carrying_out import AddressOption, connected, in_one_line, operations_of
from cluster.commands.recording import record
from cluster.commands.telling import Output, OutputOption

app = typer.Typer(help="Operations: replays, redrives, resets, deletions under way.", no_args_is_help=True)

LIST_MAX = 20  # unless told otherwise

IdArgument = Annotated[str, typer.Argument(help="Id of the operation.")]


@app.command("list")
def list_operations(
    limit: Annotated[int, typer.Option(min=1, max=200, help="Show so many, the newest.")] = LIST_MAX,
    output: OutputOption = Output.text,
    address: AddressOption = None,
) -> None:
    """List operations, the newest first."""
    found = _asked(address, "page", limit)["items"]
    if output is Output.json:
        typer.echo(json.dumps(found))
        return
    for operation in found:
        typer.echo(_line(operation))
    if not found:
        typer.echo("No operations.")


@app.command()
def show(operation: IdArgument, output: OutputOption = Output.text, address: AddressOption = None) -> None:
    """Show one operation, with its plan."""
    _tell(_asked(address, "get", operation), output)


@app.command()
def cancel(operation: IdArgument, output: OutputOption = Output.text, address: AddressOption = None) -> None:
    """Have an operation end where it can stop in order; one that has ended stays as it is."""
    from cluster.operations.actor import ask

    with in_one_line():
        config, cluster = connected(address)
        handle = operations_of(config, cluster)
        before, told = ask(handle, "get", operation), ask(handle, "cancel", operation)
    _tell(told, output)
    if before["state"] == "running":
        record(cluster, "operations.cancel", f"operation {operation}", {"state": "running"}, {"state": told["state"]})


def _asked(address: str | None, method: str, *arguments: Any) -> Any:
    from cluster.operations import actor

    with in_one_line():
        config, cluster = connected(address)
        return actor.ask(operations_of(config, cluster), method, *arguments)


def _tell(operation: dict[str, Any], output: Output) -> None:
    if output is Output.json:
        typer.echo(json.dumps(operation))
        return
    typer.echo(_line(operation))
    typer.echo(json.dumps(operation["plan"], indent=1))


def _line(operation: dict[str, Any]) -> str:
    began = datetime.fromtimestamp(operation["started_ms"] / 1000, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    what = operation["error"] or operation["what"]
    by = f"  by {operation['by']}" if operation["by"] else ""
    return (
        f"{operation['id']}  {began}  {operation['kind']}  {operation['subject']}  {operation['state']} "
        f"{operation['progress']:.0%}{by}  {what}"
    )
