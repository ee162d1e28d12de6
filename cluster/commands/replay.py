"""`chipquality replay`: judge a stretch of an input topic again, into topics of its own, beside the live line."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from actors.kafka.client import Cluster
from cluster.commands.carrying_out import AddressOption, ApplyOption, Change, carry_out
from cluster.commands.telling import Output, OutputOption
from cluster.operations.bounds import bound_of
from cluster.operations.plans import Plan


def replay(
    output_name: Annotated[str, typer.Argument(metavar="OUTPUT", help="Makes OUTPUT.charts, .alerts, .dlq, .state.")],
    since: Annotated[str, typer.Option("--from", help="The first that is judged: earliest, an offset, or a time.")],
    until: Annotated[
        str, typer.Option("--to", help="The first that is not judged any more: latest, an offset, or a time.")
    ] = "latest",
    event_time: Annotated[
        bool, typer.Option("--event-time", help="Times are event times; without this, times of publishing.")
    ] = False,
    pipeline: Annotated[str | None, typer.Option(help="Whose detectors judge; the main pipeline unless given.")] = None,
    apply: ApplyOption = None,
    output: OutputOption = Output.text,
    address: AddressOption = None,
) -> None:
    """Judge a stretch of a pipeline's input again with its detectors, into topics of its own. Shows the plan first."""
    from cluster.config import load

    name = pipeline or load().pipeline.name

    def plan_of(cluster: Cluster) -> Plan:
        from cluster.operations.replay import ReplayWish, replay_plan

        bounds = bound_of(since, event_time=event_time), bound_of(until, event_time=event_time)
        return replay_plan(cluster, ReplayWish(name, output_name, *bounds))

    carry_out(Change("replay.begin", f"pipeline {name}", plan_of), _show, apply, output, address)


def _show(plan: dict[str, Any]) -> None:
    estimate = plan["estimate"]
    typer.echo(f"{plan['pipeline']} judges {estimate['records']} records of {plan['input']} again:")
    for planned, estimated in zip(plan["partitions"], estimate["partitions"], strict=True):
        lost = f"; {planned['not_retained']} offsets before it are gone" if planned["not_retained"] else ""
        if not estimated["records"]:
            typer.echo(f"  partition {planned['partition']}: nothing{lost}")
            continue
        to = estimated["to"] if planned["to"] is not None else f"its end, {estimated['to']} now"
        typer.echo(f"  partition {planned['partition']}: from {planned['from']} to {to}{lost}")
    typer.echo(f"would make {', '.join(plan['topics'])}")
