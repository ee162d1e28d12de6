"""The command `chipquality`. Exit codes: 0 done, 1 something differs or failed, 2 wrong usage or configuration."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from actors.errors import ConfigError
from cluster.commands import (
    alerts,
    arl,
    audit,
    capability,
    charts,
    consumers,
    dead_letters,
    detectors,
    documents,
    events,
    fit,
    groups,
    keys,
    limits,
    local,
    metrics,
    notify,
    operations,
    pareto,
    pipeline,
    replay,
    schemas,
    topics,
    wafer_maps,
)
from cluster.config import load, render

app = typer.Typer(no_args_is_help=True, pretty_exceptions_enable=False, help=__doc__, add_completion=False)
app.add_typer(alerts.app, name="alerts")
app.add_typer(arl.app, name="arl")
app.add_typer(audit.app, name="audit")
app.add_typer(capability.app, name="capability")
app.add_typer(charts.app, name="charts")
app.add_typer(consumers.app, name="consumers")
app.add_typer(dead_letters.app, name="dead-letters")
app.add_typer(detectors.app, name="detectors")
app.add_typer(events.app, name="events")
app.add_typer(fit.app, name="fit")
app.add_typer(groups.app, name="groups")
app.add_typer(keys.app, name="keys")
app.add_typer(limits.app, name="limits")
app.add_typer(local.app, name="local")
app.add_typer(metrics.app, name="metrics")
app.add_typer(notify.app, name="notify")
app.add_typer(operations.app, name="operations")
app.add_typer(schemas.app, name="schemas")
app.add_typer(topics.app, name="topics")
app.add_typer(pipeline.app, name="pipeline")
app.add_typer(wafer_maps.app, name="wafer-maps")
app.command()(pareto.pareto)
app.command()(replay.replay)
app.command()(documents.openapi)
app.command()(documents.asyncapi)


@app.command()
def demo(
    once: Annotated[
        bool, typer.Option(help="Stream the whole set as fast as it goes, measure, print JSON, exit.")
    ] = False,
    wafers_per_s: Annotated[
        float, typer.Option(min=0.1, max=1000, help="Speed of the line; a wafer is 590 measurements.")
    ] = 5.0,
    paced_s: Annotated[float, typer.Option(min=1, max=600, help="Length of the latency phase of --once.")] = 20.0,
    wafers: Annotated[
        int | None, typer.Option(min=1, help="Stop after so many wafers; all 1,096 unless given.")
    ] = None,
) -> None:
    """Stream a real semiconductor line through everything, to a live page."""
    from cluster.demo.app import run_demo

    raise typer.Exit(run_demo(load(), once=once, wafers_per_s=wafers_per_s, paced_s=paced_s, wafers=wafers))


@app.command()
def run() -> None:
    """Run the product on what the configuration points at, until it is stopped."""
    from cluster.demo.app import run_product

    raise typer.Exit(run_product(load()))


@app.command()
def config() -> None:
    """Print the configuration that is in force, secrets masked; refuse one whose detectors cannot be made."""
    from cluster.detectors import judging_of

    loaded = load()
    judging_of(loaded)
    typer.echo(render(loaded), nl=False)


def main() -> None:
    """Run the command; a configuration error is one clear line, not a traceback."""
    from cluster.local.errors import LocalStackError

    try:
        app()
    except (ConfigError, LocalStackError, TimeoutError) as error:
        typer.echo(f"chipquality: {error}", err=True)
        sys.exit(2)
