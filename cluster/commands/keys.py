"""`chipquality keys`: keys of the API. Works on Kafka itself, so that there is a way in when no key is left.

Exit codes: 0 done; 1 Kafka does not answer; 2 refused, or there is no such key, with the reason in one line.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated

import typer

from actors.errors import ConfigError, ReopenError
from cluster.access.grants import ROLES
from cluster.access.keys import DAYS_MAX
from cluster.commands.recording import record, who
from cluster.commands.telling import Output, OutputOption
from cluster.commands.where import cluster_of
from cluster.config import load

if TYPE_CHECKING:
    from cluster.access.book import Book
    from cluster.access.desk import Desk

app = typer.Typer(help="Keys of the API: who may use it, and for what.", no_args_is_help=True)

NOT_THERE = 2  # exit code: refused, as by other commands


@app.command()
def create(
    name: Annotated[str, typer.Argument(help="Whose it is; stands in the audit trail.")],
    grant: Annotated[
        list[str],
        typer.Option(
            help=f"role[:resource[:pattern]], may be repeated; roles {', '.join(ROLES)}; e.g. operator:limits:ETCH-*"
        ),
    ],
    days: Annotated[float, typer.Option(min=0.001, max=DAYS_MAX, help="Until it expires.")] = 90.0,
    output: OutputOption = Output.text,
) -> None:
    """Make a key and print it, this once: nobody can print it again."""
    with _desk() as (desk, book):
        minted = desk.create(book, name, grant, days, who())
        shown = minted.key.shown(desk.now_ms())
    if output is Output.json:
        typer.echo(json.dumps({"key": shown, "text": minted.text}))
    else:
        typer.echo(minted.text)
        until = _day(shown["expires_ms"])
        typer.echo(f"{name}: {', '.join(shown['grants'])}; expires {until}; it is not shown again", err=True)
    record(cluster_of(load()), "keys.create", f"key {minted.key.key_id}", None, shown)


@app.command("list")
def list_keys(output: OutputOption = Output.text) -> None:
    """Show keys, newest first."""
    with _desk() as (desk, book):
        found = [key.shown(desk.now_ms()) for key in book.listed()]
    if output is Output.json:
        typer.echo(json.dumps(found))
        return
    for key in found:
        typer.echo(
            f"{key['id']}  {key['state']:<7}  {_day(key['expires_ms'])}  {key['name']}  {', '.join(key['grants'])}"
        )


@app.command()
def revoke(
    key_id: Annotated[str, typer.Argument(help="The public part of the key: its id in the list.")],
    output: OutputOption = Output.text,
) -> None:
    """Make a key worthless on all replicas within a second; its sessions end with it. Exit code 2: there is no such key."""
    with _desk() as (desk, book):
        before = book.get(key_id)
        key = desk.revoke(book, key_id, who())
    if key is None or before is None:
        typer.echo(f"chipquality: no key {key_id[:40]!r}; `chipquality keys list` shows what there is", err=True)
        raise typer.Exit(NOT_THERE)
    typer.echo(json.dumps(key.shown(desk.now_ms())) if output is Output.json else f"{key.name}: revoked")
    if key is not before:
        now_ms = desk.now_ms()
        record(cluster_of(load()), "keys.revoke", f"key {key_id}", before.shown(now_ms), key.shown(now_ms))


@contextmanager
def _desk() -> Iterator[tuple[Desk, Book]]:
    from actors.kafka.delivery import PublishError
    from actors.producers.publisher import Publisher
    from cluster.access.desk import Desk, Refused
    from cluster.access.following import read_book
    from cluster.access.secret import secret_of
    from schemas.registry import Registry, RegistryUnavailable

    config = load()
    cluster = cluster_of(config)
    secret = secret_of(config, ours=config.kafka.bootstrap_servers is None)
    try:
        book = read_book(cluster, secret)
        registry = Registry(cluster.registry_url, cluster.registry_client)
        with Publisher(cluster.bootstrap_servers, registry, cluster.client, name="chipquality-keys") as publisher:
            yield Desk(publisher, lambda: time.time_ns() // 1_000_000), book
    except Refused as error:
        raise ConfigError(str(error)) from error
    except (ReopenError, PublishError, RegistryUnavailable) as error:
        raise ConfigError(f"nothing was done: {error}") from error


def _day(ms: int) -> str:
    return f"{datetime.fromtimestamp(ms / 1000, UTC):%Y-%m-%d %H:%M} UTC"
