"""`chipquality local`: a broker and a registry that stay, for work on this machine."""

from __future__ import annotations

import json
import sys
from typing import Annotated, NoReturn

import typer

from actors.kafka.errors import ConfigError
from cluster.commands.telling import Output, OutputOption
from cluster.config import Config, load
from cluster.local import LocalStack, LocalStackError, running

app = typer.Typer(help="Apache Kafka and a Schema Registry on this machine.", no_args_is_help=True)

NOT_RUNNING = 3  # exit code of `status`, as of an init script's


@app.command()
def up(
    brokers: Annotated[int, typer.Option(help="1, or 3 that replicate")] = 1,
    keep_data: Annotated[bool, typer.Option("--keep-data", help="keep records and schemas for the next up")] = False,
    output: OutputOption = Output.text,
) -> None:
    """Start them; they run until `local down`. Exit code 0: they answer."""
    config = _config()
    seconds: dict[str, float] = {}

    def progress(step: str, took_s: float) -> None:
        seconds[step] = round(took_s, 2)
        if output is Output.text:
            typer.echo(f"{step:<16} {took_s:6.2f} s")

    try:
        where = LocalStack.from_config(config, brokers=brokers, keep_data=keep_data, keep_running=True).start(progress)
    except LocalStackError as error:
        _fail(error)
    if output is Output.json:
        typer.echo(json.dumps({**vars(where), "seconds": seconds}))
        return
    typer.echo(f"Kafka            {where.bootstrap_servers}\nSchema Registry  {where.registry_url}")
    if where.how == "yours":
        typer.echo("Both are yours, by kafka.bootstrap_servers and registry.url: nothing was started.")
    else:
        typer.echo(f"Started with {where.how}; `chipquality local down` stops them.")


@app.command()
def down(output: OutputOption = Output.text) -> None:
    """Stop what `local up` started; data that it was not told to keep is deleted. Exit code 0: nothing runs any more."""
    directory = _config().local.directory
    try:
        stopped = running.stop_in(directory)
    except LocalStackError as error:
        _fail(error)
    if output is Output.json:
        typer.echo(json.dumps({"stopped": stopped}))
    else:
        typer.echo(f"Stopped {', '.join(stopped)}." if stopped else "Nothing was running.")


@app.command()
def status(output: OutputOption = Output.text) -> None:
    """Say what runs and whether it answers. Exit code 0: all of it does; 1: a part does not; 3: nothing runs."""
    directory = _config().local.directory
    try:
        found = running.load(directory)
    except LocalStackError as error:
        _fail(error)
    alive = found is not None and found.alive()
    health = found.health() if found and alive else {}
    processes = {process.name: process.pid if process.find() else None for process in found.processes} if found else {}
    if output is Output.json:
        typer.echo(json.dumps({"running": alive, "how": found and found.how, "answers": health, "pids": processes}))
    elif not alive:
        typer.echo("Nothing is running.")
    else:
        for name, pid in processes.items():
            typer.echo(f"{name:<16} {f'pid {pid}' if pid else 'is gone'}")
        for address, good in health.items():
            typer.echo(f"{address}  {'answers' if good else 'does not answer'}")
    if not alive:
        raise typer.Exit(NOT_RUNNING)
    if not all(health.values()) or None in processes.values():
        raise typer.Exit(1)


def _config() -> Config:
    try:
        return load()
    except ConfigError as error:
        _fail(error)


def _fail(error: Exception) -> NoReturn:
    print(error, file=sys.stderr)
    raise typer.Exit(1)
