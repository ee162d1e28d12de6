"""`chipquality notify`: tell people of alerts, as the section `notify:` of the configuration says.

Exit codes: 0 done; 1 a destination did not take the test message; 2 refused, with the reason in one line.
"""

from __future__ import annotations

import json
import logging
import signal
import threading
from types import FrameType
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from actors.errors import ConfigError
from actors.kafka.client import Cluster
from actors.names import LOG_FORMAT
from actors.sinks.routes import Route
from cluster.commands.where import cluster_of
from cluster.config import Config, load

if TYPE_CHECKING:  # Ray and apprise are slow to import, and not always wanted
    from actors.sinks.escalator import EscalationTask
    from actors.sinks.notify import NotifyTask

app = typer.Typer(help="Tell people of alerts: mail, chat, webhook.", no_args_is_help=True)

FAILED = 1  # exit code
LOOK_S = 0.5  # how often the loop is looked at


def notify_task(config: Config, cluster: Cluster) -> NotifyTask:
    """Return the notifier that the configuration says."""
    from actors.sinks.notify import NotifyTask

    return NotifyTask(cluster, routes_of(config), config.notify.stale_s)


def escalation_task(config: Config, cluster: Cluster) -> EscalationTask | None:
    """Return the escalation that the configuration says; None where no alert is ever escalated."""
    from actors.sinks.escalator import EscalationTask

    after_s = config.alerts.escalate_after_s.model_dump()
    if all(seconds is None for seconds in after_s.values()):
        return None
    return EscalationTask(
        cluster, after_s, config.alerts.escalate_stale_s, routes_of(config), float(config.notify.stale_s)
    )


def routes_of(config: Config) -> tuple[Route, ...]:
    """Return the routes that the configuration says, addresses in the clear."""
    return tuple(
        Route(
            name=route.name,
            urls=tuple(url.get_secret_value() for url in route.urls),
            severities=tuple(route.severities),
            states=tuple(route.states),
            series=tuple(route.patterns),
            per_minute=route.per_minute,
            allow_private=config.notify.allow_private,
        )
        for route in config.notify.routes
    )


@app.command()
def run() -> None:
    """Tell alerts as they come, until stopped. May run several times: they share the work."""
    from actors.sinks.notify import NotifierLoop

    config = load()
    _require_routes(config)
    loop = NotifierLoop(notify_task(config, cluster_of(config)))
    stop = threading.Event()

    def on_signal(_: int, __: FrameType | None) -> None:
        stop.set()

    logging.basicConfig(level=logging.INFO, format=LOG_FORMAT)
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, on_signal)
    loop.start()
    typer.echo(f"telling alerts on {', '.join(route.name for route in loop.task.routes)}; Ctrl-C stops it")
    while not stop.is_set() and not loop.wait(LOOK_S):
        continue
    ended = loop.stop()
    typer.echo(json.dumps(loop.status()))
    raise typer.Exit(0 if ended and stop.is_set() else FAILED)


@app.command("test")
def send_test(
    output: Annotated[
        Literal["text", "json"], typer.Option("--output", "-o", help="for a person, or a program")
    ] = "text",
) -> None:
    """Send one test message to every destination of every route."""
    from actors.sinks.notify import try_routes

    config = load()
    _require_routes(config)
    told = try_routes(routes_of(config))
    if output == "json":
        typer.echo(json.dumps(told))
    else:
        for destination, error in told.items():
            typer.echo(f"{destination}  {'sent' if error is None else error}")
    raise typer.Exit(FAILED if any(told.values()) else 0)


def _require_routes(config: Config) -> None:
    if not config.notify.routes:
        raise ConfigError("notify.routes is not set: nobody would be told; see docs/dead-letters.md")
