"""`chipquality events`: publish events of a category: validated, keyed, acknowledged. Works on Kafka itself.

Exit codes: 0 all stand in Kafka; 1 some do not, or Kafka or the registry does not answer; 2 nothing was published, with why.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from actors.errors import ConfigError
from cluster.commands.recording import record, who
from cluster.commands.telling import NOT_WELL, Output, OutputOption, one_line, refuse, tell
from cluster.commands.where import cluster_of
from cluster.config import load

app = typer.Typer(help="Events: publish them.", no_args_is_help=True)

EVENTS_MAX = 500  # of one call, as of one request
CHARS_MAX = 4 * 1024 * 1024
OUTCOME_S = 15.0


@app.callback()
def events() -> None:
    """Keep `publish` a command of its own."""


@app.command()
def publish(
    category: Annotated[
        str, typer.Argument(help="measurement, manufacturing, inspection, quality, user, system or ml.")
    ],
    file: Annotated[Path, typer.Argument(help="JSON: an event, or a list of them; - reads what is piped in.")],
    output: OutputOption = Output.text,
) -> None:
    """Publish events. If one is wrong none is published. An event_id of your own lets readers know it when it comes twice."""
    from actors.kafka.delivery import BackpressureError
    from actors.producers.events import CATEGORIES, WrongEventsError, event_desk

    if category not in CATEGORIES:
        raise refuse(f"no category {category!r}; there are {', '.join(CATEGORIES)}")
    wanted = _read(file)
    cluster = cluster_of(load())
    with one_line():
        desk = event_desk(cluster)
        try:
            sent = desk.send(category, wanted, who())
            items = [_outcome(one) for one in sent]
        except WrongEventsError as error:
            raise refuse(f"nothing was published: {error}") from error
        except BackpressureError as error:  # what was taken before may still get there
            typer.echo(f"chipquality: {error}", err=True)
            raise typer.Exit(NOT_WELL) from error
        finally:
            desk.close()
    failed = sum("error" in item for item in items)
    lines = [item.get("error") or f"{item['topic']}:{item['partition']}:{item['offset']}" for item in items]
    tell({"items": items}, lines, output)
    if failed < len(items):
        topics = sorted({one.topic for one in sent})
        told = {"events": len(items), "failed": failed, "first": items[0]}
        record(cluster, "events.publish", f"topic {', '.join(topics)}", None, told)
    raise typer.Exit(NOT_WELL if failed else 0)


def _outcome(one: Any) -> dict[str, Any]:
    from actors.kafka.delivery import PublishError

    said = {"event_id": one.event_id, "topic": one.topic, "repeated": one.repeated}
    try:
        partition, offset = one.delivery.result(OUTCOME_S)
    except (PublishError, TimeoutError) as error:
        return said | {"error": str(error)}
    return said | {"partition": partition, "offset": offset}


def _read(file: Path) -> list[Any]:
    try:
        if str(file) == "-":
            text = sys.stdin.read(CHARS_MAX + 1)
        else:
            with file.open(encoding="utf-8") as opened:
                text = opened.read(CHARS_MAX + 1)
        said = json.loads(text) if len(text) <= CHARS_MAX else None
    except (OSError, ValueError, RecursionError) as error:
        raise ConfigError(f"{file}: no JSON: {str(error)[:200]}") from error
    found = said if isinstance(said, list) else [said]
    if said is None or not 0 < len(found) <= EVENTS_MAX:
        raise ConfigError(f"{file}: 1 to {EVENTS_MAX} events of at most {CHARS_MAX} characters in all")
    return found
