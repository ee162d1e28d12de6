"""`chipquality detector deploy | list | show | promote | rollback | remove | compare`: a detector's way to the live line.

What changes something shows its plan first; `--apply HASH` does it. Exit codes: 0 done, or
the plan is shown; 1 it failed, or something does not answer; 2 refused.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from actors.errors import ConfigError
from actors.kafka.client import Cluster
from actors.packages.limits import Limits
from cluster.commands.carrying_out import (
    AddressOption,
    ApplyOption,
    Change,
    carry_out,
    connected,
    in_one_line,
    operations_of,
)
from cluster.commands.detector import DetectorOption, ParametersOption, parameters_of
from cluster.commands.telling import Output, OutputOption, table, tell
from cluster.operations.plans import Plan

NameArgument = Annotated[str, typer.Argument(help="Of the deployment.")]
_DEFAULT = Limits()


def deploy(
    path: Annotated[Path, typer.Argument(help="A project's folder, a zip of it, or a wheel.")],
    name: Annotated[str, typer.Option(help="Of the deployment; makes NAME.charts, .alerts, .dlq, .state.")],
    mode: Annotated[str, typer.Option(help="shadow, canary:10%, live.")] = "shadow",
    pipeline: Annotated[str | None, typer.Option(help="Beside which; the main pipeline unless given.")] = None,
    detector: DetectorOption = None,
    parameters: ParametersOption = "{}",
    series: Annotated[list[str] | None, typer.Option(help="Patterns of series keys that it judges; all.")] = None,
    replaces: Annotated[str | None, typer.Option(help="The deployment whose place it takes when promoted.")] = None,
    since: Annotated[str, typer.Option("--warm-from", help="earliest, latest, an offset, or a time.")] = "earliest",
    step_s: Annotated[float, typer.Option(help="Seconds for a step; then it is switched off.")] = _DEFAULT.step_s,
    load_s: Annotated[float, typer.Option(help="Seconds to import and construct it.")] = _DEFAULT.load_s,
    memory_mb: Annotated[float, typer.Option(help="MiB beyond what its process starts with.")] = 1024,
    apply: ApplyOption = None,
    output: OutputOption = Output.text,
    address: AddressOption = None,
) -> None:
    """Examine a detector, warm it up on what is retained, and have it judge beside the running line."""
    limits = Limits(step_s=step_s, load_s=load_s, memory_bytes=int(memory_mb * 2**20))
    given = parameters_of(parameters)

    def plan_of(cluster: Cluster) -> Plan:
        from actors.packages import read_package
        from cluster.config import load
        from cluster.deployments.plans import DeployWish, deploy_plan
        from cluster.operations.bounds import bound_of
        from cluster.packages import store_of

        package, store = read_package(path), store_of(load())
        store.put(package.data)
        wish = DeployWish(
            name, package.digest, store.url, mode, detector, given, series or ["*"], limits.to_json(), bound_of(since),
            replaces,
        )  # fmt: skip
        return deploy_plan(cluster, _pipeline(pipeline), wish, _there(cluster))

    carry_out(Change("detectors.deploy", f"deployment {name}", plan_of), _show_deploy, apply, output, address)


def promote(
    name: NameArgument,
    mode: Annotated[str, typer.Option(help="live, canary:10%, shadow.")] = "live",
    apply: ApplyOption = None,
    output: OutputOption = Output.text,
    address: AddressOption = None,
) -> None:
    """Let a deployment judge live from a logged offset on; what it replaces gives the series up there."""

    def plan_of(cluster: Cluster) -> Plan:
        from cluster.deployments.plans import promote_plan

        return promote_plan(_pipeline(None), name, mode, _there(cluster))

    carry_out(Change("detectors.promote", f"deployment {name}", plan_of), _show_turns, apply, output, address)


def rollback(
    name: NameArgument, apply: ApplyOption = None, output: OutputOption = Output.text, address: AddressOption = None
) -> None:
    """Stop a deployment at a logged offset; the version that it replaced judges live from there on."""

    def plan_of(cluster: Cluster) -> Plan:
        from cluster.deployments.plans import rollback_plan

        return rollback_plan(_pipeline(None), name, _there(cluster))

    carry_out(Change("detectors.rollback", f"deployment {name}", plan_of), _show_turns, apply, output, address)


def remove(
    name: NameArgument, apply: ApplyOption = None, output: OutputOption = Output.text, address: AddressOption = None
) -> None:
    """Delete a deployment that does not judge live: processes, topics, group, record."""

    def plan_of(cluster: Cluster) -> Plan:
        from cluster.deployments.plans import remove_plan

        return remove_plan(_pipeline(None), name, _there(cluster))

    carry_out(Change("detectors.remove", f"deployment {name}", plan_of), _show_removal, apply, output, address)


def list_(output: OutputOption = Output.text, address: AddressOption = None) -> None:
    """List what is deployed: phase, mode, how far it has judged, why it is off."""
    with in_one_line():
        _, cluster = connected(address)
        records = _there(cluster)
    told = [record.told() for _, record in sorted(records.items())]
    rows = [[t["name"], t["phase"], t["mode"], t["detector"], t["replaces"], t["reason"]] for t in told]
    tell(told, table(["name", "phase", "mode", "detector", "replaces", "reason"], rows), output)


def show(name: NameArgument, output: OutputOption = Output.text, address: AddressOption = None) -> None:
    """Show a deployment: the offsets at which its modes began and ended, and the traceback where it is off."""
    with in_one_line():
        _, cluster = connected(address)
        told = _one(_there(cluster), name).told()
    tell(told, shown_lines(told), output)


def compare(
    name: NameArgument,
    against: Annotated[
        str | None, typer.Option(help="A deployment, or a detector of the pipeline; what it replaces unless given.")
    ] = None,
    since: Annotated[int | None, typer.Option("--from", help="Input offset from which on.")] = None,
    output: OutputOption = Output.text,
    address: AddressOption = None,
) -> None:
    """Say where two versions agree and differ: statistics, signals, alerts, cost. The deployment is b, the other a."""
    from cluster.deployments.compare import compared_lines
    from cluster.deployments.comparing import compared
    from cluster.operations import actor

    with in_one_line():
        config, cluster = connected(address)
        handle = operations_of(config, cluster)
        there, said = _there(cluster), actor.ask(handle, "deployed")
        found = compared(cluster, config.pipeline.name, name, against, there, said, since)
    tell(found, compared_lines(found), output)


def add_to(app: typer.Typer) -> None:
    """Add the commands to `chipquality detector`."""
    commands: Mapping[str, Callable[..., None]] = {
        "deploy": deploy,
        "list": list_,
        "show": show,
        "promote": promote,
        "rollback": rollback,
        "remove": remove,
        "compare": compare,
    }
    for name, command in commands.items():
        app.command(name)(command)


def shown_lines(told: Mapping[str, Any]) -> list[str]:
    """Return a deployment as a person reads it."""
    lines = [
        f"{told['name']}: {told['phase']} beside {told['pipeline']}, as {told['label']}",
        f"  detector {told['detector'] or told['target']} {json.dumps(told['parameters'])} of package {told['package'][:12]}",
        f"  series {', '.join(told['series'])}" + (f"; replaces {told['replaces']}" if told["replaces"] else ""),
    ]
    for spell in told["history"]:
        ends = spell["to"] or {}
        at = ", ".join(f"{p}:{first}–{ends.get(p, '')}" for p, first in spell["from"].items())
        lines.append(f"  {spell['mode']}: {at} (by {spell['by']})")
    if told["reason"]:
        lines += [f"  off: {told['reason']}", *(f"    {line}" for line in (told["traceback"] or "").splitlines())]
    return lines


def _pipeline(given: str | None) -> str:
    from cluster.config import load

    main = load().pipeline.name
    if given not in (None, main):
        raise ConfigError(f"--pipeline {given}: detectors are deployed beside the main pipeline, {main}")
    return main


def _there(cluster: Cluster) -> dict[str, Any]:
    from cluster.config import load
    from cluster.operations import actor

    records = actor.ask(operations_of(load(), cluster), "deployments")
    return {record.name: record for record in records}


def _one(there: Mapping[str, Any], name: str) -> Any:
    from cluster.operations.errors import Absent, shown

    if name not in there:
        raise Absent(f"no deployment {shown(name)}")
    return there[name]


def _show_deploy(plan: dict[str, Any]) -> None:
    of, since = plan["estimate"]["warm_up_records"], plan["from"]
    begin = ", ".join(f"{p}:{at}" for p, at in since.items()) or "the first retained offsets"
    typer.echo(f"{plan['deployment']}: {plan['target']} of {plan['code']} {json.dumps(plan['parameters'])}")
    typer.echo(f"  judges {', '.join(plan['series'])} of {plan['input']} beside {plan['pipeline']}, as {plan['label']}")
    if known := plan["estimate"]["series"]:
        none = "" if known["matching"] else ": none: is the pattern right? (* and ? stand for any text)"
        typer.echo(f"  of the {known['of']} series that are shown it judges {known['matching']}{none}")
    typer.echo(f"  warms up on {of} records from {begin}, then is in {plan['mode']}")
    if plan["replaces"]:
        typer.echo(f"  takes the place of {plan['replaces']} when it is promoted")
    typer.echo(f"would make {', '.join(plan['topics'])}")


def _show_turns(plan: dict[str, Any]) -> None:
    typer.echo("at one offset of each partition, which is logged:")
    for turn in plan["turns"]:
        typer.echo(f"  {turn['deployment']} → {turn['to']}")


def _show_removal(plan: dict[str, Any]) -> None:
    typer.echo(f"{plan['deployment']} ({plan['phase']}) would be gone, and with it {', '.join(plan['deletes'])}")
