"""`chipquality alerts`: the worklist of alerts, and what people do about them: acknowledge, cause, OCAP steps, close.

It works on Kafka, as `chipquality limits` does, through the same desk as the API. Exit codes: 0 done; 1 Kafka or the registry
does not answer; 2 refused, with the reason in one line.
"""

from __future__ import annotations

import json
import sys
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer

from actors.alert_desk import AlertDesk, RefusedError, StaleError, Wanted, alert_desk
from actors.errors import ConfigError, ReopenError
from actors.kafka.client import Cluster
from actors.kafka.letters import partitions_of
from cluster.commands.recording import record
from cluster.commands.telling import Output, OutputOption
from cluster.commands.where import cluster_of
from cluster.config import load
from models.alert_life import About, Action, Kind, StepKind, to_json
from schemas.registry import RegistryUnavailable, SchemaRefused
from schemas.topics import ALERT_ACTIONS, ALERTS

if TYPE_CHECKING:
    from actors.view.alert_book import AlertBook

app = typer.Typer(help="Alerts, and what is done about them.", no_args_is_help=True)

FAILED, REFUSED = 1, 2  # exit codes
RECORDS_BACK = 50_000  # offsets per partition of the alert topic that are read
LIST = 50
LIST_MAX = 10_000


class StatusOption(StrEnum):
    """How far people are."""

    open = "open"
    acknowledged = "acknowledged"
    caused = "caused"
    in_ocap = "in_ocap"
    closed = "closed"


IdArgument = Annotated[str, typer.Argument(help="Id of the alert.")]
AuthorOption = Annotated[str, typer.Option("--author", help="Who you are.")]
TextOption = Annotated[str, typer.Option("--text", help="In your words; it stands in the history for ever.")]
VersionOption = Annotated[
    int | None, typer.Option("--if-version", min=0, help="Refuse if its life is not at this version any more.")
]


@app.command("list")
def list_alerts(
    status: Annotated[StatusOption | None, typer.Option(help="How far people are with it.")] = None,
    state: Annotated[str | None, typer.Option(help="Of the signal: OPEN or CLOSED.")] = None,
    severity: Annotated[str | None, typer.Option(help="WARNING or CRITICAL.")] = None,
    series: Annotated[str | None, typer.Option("--series", "-s", help="Series key.")] = None,
    detector: Annotated[str | None, typer.Option(help="Its name, e.g. spc.individuals.")] = None,
    tool: Annotated[str | None, typer.Option(help="First part of the series key.")] = None,
    limit: Annotated[int, typer.Option(min=1, max=LIST_MAX)] = LIST,
    output: OutputOption = Output.text,
) -> None:
    """Show the newest alerts: the signal's state, and how far people are."""
    from actors.view.alert_book import Chosen

    chosen = Chosen(
        state.upper() if state else None, series, status.value if status else None, severity.upper() if severity else None,
        detector, tool,
    )  # fmt: skip
    with _refusals(), _floor() as floor:
        items, _ = floor.book().newest(limit, chosen)
    if output is Output.json:
        typer.echo(json.dumps(items))
        return
    if not items:
        typer.echo("No alerts.")
    for item in items:
        life = item["life"]
        who = f", {life['assigned']}" if life["assigned"] else ", escalated" if life["escalated"] else ""
        typer.echo(
            f"{item['alert_id']}  {_iso(item['raised_ms'])}  {item['severity'].lower():<8}  signal {item['state'].lower():<6}  "
            f"{life['status']}{who}  {item['rule']}  {item['series'] or 'a whole partition'}"
        )


@app.command()
def show(alert_id: IdArgument, output: OutputOption = Output.text) -> None:
    """Show one alert with its whole history."""
    with _refusals(), _floor() as floor:
        found = floor.found(alert_id)
    _show(found, output)


@app.command()
def ack(
    alert_id: IdArgument, author: AuthorOption, text: TextOption = "", version: VersionOption = None,
    output: OutputOption = Output.text,
) -> None:  # fmt: skip
    """Acknowledge an alert: you have it now, whoever had it before."""
    _act(alert_id, Kind.ACKNOWLEDGE, author, version, output, text=text)


@app.command()
def cause(
    alert_id: IdArgument,
    cause: Annotated[str, typer.Argument(help="Its assignable cause; where none was found, say that it is common cause.")],
    author: AuthorOption, text: TextOption = "", version: VersionOption = None, output: OutputOption = Output.text,
) -> None:  # fmt: skip
    """Name the assignable cause of an alert."""
    _act(alert_id, Kind.ASSIGN_CAUSE, author, version, output, text=text, cause=cause)


@app.command()
def step(
    alert_id: IdArgument,
    author: AuthorOption,
    text: TextOption = "",
    number: Annotated[int | None, typer.Option("--done-step", min=1, help="The planned step that is done.")] = None,
    kind: Annotated[StepKind, typer.Option(help="A new step looks for the cause, or takes it away.")] = StepKind.CHECKPOINT,
    done: Annotated[bool, typer.Option("--done", help="The new step is done already.")] = False,
    version: VersionOption = None,
    output: OutputOption = Output.text,
) -> None:  # fmt: skip
    """Plan a step of the out-of-control action plan, or say that a planned one is done."""
    _act(alert_id, Kind.OCAP_STEP, author, version, output, text=text, step=number, step_kind=kind, done=done)


@app.command()
def close(
    alert_id: IdArgument, author: AuthorOption, text: TextOption = "", version: VersionOption = None,
    output: OutputOption = Output.text,
) -> None:  # fmt: skip
    """Close an alert whose cause is named and whose steps are done."""
    _act(alert_id, Kind.CLOSE, author, version, output, text=text)


@app.command()
def reopen(
    alert_id: IdArgument, author: AuthorOption, text: TextOption = "", version: VersionOption = None,
    output: OutputOption = Output.text,
) -> None:  # fmt: skip
    """Open a closed alert again, with the reason."""
    _act(alert_id, Kind.REOPEN, author, version, output, text=text)


@app.command()
def comment(
    alert_id: IdArgument, author: AuthorOption, text: TextOption = "", output: OutputOption = Output.text
) -> None:
    """Say something about an alert."""
    _act(alert_id, Kind.COMMENT, author, None, output, text=text)


def _act(alert_id: str, kind: Kind, author: str, version: int | None, output: Output, **what: Any) -> None:
    action = Action(kind, author, time.time_ns() // 1_000_000, uuid.uuid4().hex, **what)
    with _refusals(), _floor() as floor:
        found = floor.found(alert_id)
        about = About(**{name: found[name] for name in About._fields})
        before, life = floor.desk.act(Wanted(alert_id, about, action, version))
        floor.alerts.add_life(life, 0)
        told = floor.found(alert_id)
    _show(told, output)
    record(floor.cluster, f"alerts.{kind.value}", f"alert {alert_id}", to_json(before, 1), to_json(life, 1))


def _show(alert: dict[str, Any], output: Output) -> None:
    if output is Output.json:
        typer.echo(json.dumps(alert))
        return
    life = alert["life"]
    typer.echo(f"{alert['alert_id']}  {alert['severity'].lower()}  {alert['rule']}: {alert['rule_doc']}")
    typer.echo(f"  {alert['series'] or 'a whole partition'}  lot {alert['lot'] or '-'}  wafer {alert['wafer'] or '-'}")
    typer.echo(f"  raised {_iso(alert['raised_ms'])}, signal {alert['state'].lower()}, {alert['rows']} rows with it")
    who = f", {life['assigned']} has it" if life["assigned"] else ""
    typer.echo(f"  {life['status']}{who}, version {life['version']}; cause: {life['cause'] or 'none named'}")
    for number, one in enumerate(life["steps"], start=1):
        done = f"done by {one['by']}: {one['finding'] or '-'}" if one["done"] else f"planned by {one['by']}"
        typer.echo(f"    {number}. {one['kind']}: {one['text']} ({done})")
    for entry in life["history"]:
        said = "  ".join(filter(None, (entry["cause"], entry["text"])))
        typer.echo(f"    {_iso(entry['at_ms'])}  {entry['by']}  {entry['action']}  {said}".rstrip())


def _iso(ms: int) -> str:
    return datetime.fromtimestamp(ms / 1000, UTC).isoformat(timespec="seconds").replace("+00:00", "Z")


class _Floor:
    """The alerts and their lives as Kafka has them now."""

    def __init__(self, cluster: Cluster, pipelines: frozenset[str], topic: str, actions: str) -> None:
        from actors.view.alert_book import AlertBook

        self.cluster, self.pipelines, self.topic = cluster, pipelines, topic
        for name in (topic, actions):
            if not partitions_of(cluster, [name]):
                raise ConfigError(f"there is no topic {name}: `chipquality topics apply` makes it")
        self.desk: AlertDesk = alert_desk(cluster, actions)
        self.alerts = AlertBook(alerts_max=LIST_MAX)
        self._read = False

    def book(self) -> AlertBook:
        """Return the newest alerts, joined to their lives."""
        from actors.alert_history import newest_alerts

        if not self._read:
            newest_alerts(self.cluster, self.topic, RECORDS_BACK, self.pipelines, self.alerts)
            for life in self.desk.lives():
                self.alerts.add_life(life, 0)
            self._read = True
        return self.alerts

    def found(self, alert_id: str) -> dict[str, Any]:
        """Return an alert. Raises ConfigError if there is none."""
        found = self.book().one(alert_id)
        if found is None:
            raise ConfigError(
                f"no alert {alert_id} among the newest {len(self.alerts)}; `chipquality alerts list` shows them"
            )
        return found


@contextmanager
def _floor() -> Iterator[_Floor]:
    config = load()
    names = frozenset((config.pipeline.name, config.vectors.name))
    floor = _Floor(cluster_of(config), names, ALERTS, ALERT_ACTIONS)
    try:
        yield floor
    finally:
        floor.desk.close()


@contextmanager
def _refusals() -> Iterator[None]:
    """Turn what goes wrong into one line and an exit code."""
    try:
        yield
    except (RefusedError, StaleError, ConfigError, SchemaRefused) as error:
        _end(error, REFUSED)
    except (ReopenError, RegistryUnavailable) as error:
        _end(error, FAILED)


def _end(error: Exception, code: int) -> NoReturn:
    typer.echo(f"chipquality: {' '.join(str(error).split())}", err=True)
    sys.exit(code)
