"""`chipquality groups`: the committed offsets of consumer groups."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from actors.kafka.client import Cluster
from cluster.commands.carrying_out import AddressOption, ApplyOption, Change, carry_out
from cluster.commands.telling import Output, OutputOption
from cluster.operations.bounds import bound_of
from cluster.operations.plans import Plan

app = typer.Typer(help="Consumer groups: set their offsets.", no_args_is_help=True)


@app.callback()
def groups() -> None:
    """Keep `reset` a command of its own."""


@app.command()
def reset(
    group: Annotated[str, typer.Argument(help="A consumer group without members; a pipeline's is refused.")],
    to: Annotated[str, typer.Option("--to", help="earliest, latest, an offset, or a time of publishing (ISO 8601).")],
    topic: Annotated[
        str | None, typer.Option(help="Only of this topic; unless given, of all that the group has offsets on.")
    ] = None,
    apply: ApplyOption = None,
    output: OutputOption = Output.text,
    address: AddressOption = None,
) -> None:
    """Set the committed offsets of a group. Shows the plan first."""

    def plan_of(cluster: Cluster) -> Plan:
        from cluster.operations.reset import ResetWish, reset_plan

        return reset_plan(cluster, ResetWish(bound_of(to), group=group, topic=topic))

    carry_out(Change("consumers.reset", f"group {group}", plan_of), _show, apply, output, address)


def _show(plan: dict[str, Any]) -> None:
    if plan["new"]:
        typer.echo(f"there is no group {plan['group']} yet: this makes it")
    for item, estimated in zip(plan["offsets"], plan["estimate"]["offsets"], strict=True):
        before = "none" if item["committed"] is None else item["committed"]
        to = f"its end, {estimated['to']} now" if item["to"] is None else item["to"]
        typer.echo(f"{item['topic']}:{item['partition']}  {before} → {to}  lag then {estimated['lag']}")
