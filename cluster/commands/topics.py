"""`chipquality topics`: what the code says of topics against what the cluster has, and how all topics stand.

Exit codes of `list` and `show`: 0 all is well;
1 a partition has no leader or too few in-sync replicas, or Kafka does not answer; 2 refused.
"""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Annotated, Any

import typer

from actors.errors import ConfigError
from actors.kafka.admin import Admin
from actors.kafka.client import Cluster
from actors.kafka.survey import Survey
from actors.kafka.topic_plan import Change, Refusal
from cluster import topics_told
from cluster.commands.carrying_out import AddressOption, ApplyOption, carry_out
from cluster.commands.carrying_out import Change as Planned
from cluster.commands.telling import NOT_WELL, Output, OutputOption, one_line, refuse, table, tell
from cluster.config import Config, load, reveal
from cluster.local import running
from cluster.operations.plans import Plan
from schemas.topics import TOPICS

app = typer.Typer(help="Topics as schemas/topics.py states them, against the cluster.", no_args_is_help=True)

DIFFERS = 1  # exit code


@app.command()
def diff(output: OutputOption = Output.text) -> None:
    """Show what `apply` would change. Exit code 0: nothing; 1: something differs."""
    _, changes = _plan()
    _show(changes, output, done=False)
    raise typer.Exit(DIFFERS if changes else 0)


@app.command()
def apply(output: OutputOption = Output.text) -> None:
    """Make the cluster match; a second time changes nothing. Exit code 1: something differs that is not changed in place."""
    admin, changes = _plan()
    _show(changes, output, done=True)
    admin.apply([change for change in changes if not isinstance(change, Refusal)])
    raise typer.Exit(DIFFERS if any(isinstance(change, Refusal) for change in changes) else 0)


@app.command()
def delete(
    topic: Annotated[str, typer.Argument(help="What a replay has left, or a topic that is not ours.")],
    hash_of_plan: ApplyOption = None,
    output: OutputOption = Output.text,
    address: AddressOption = None,
) -> None:
    """Delete a topic with all of its records; those that the product stands on are refused. Shows the plan first."""

    def plan_of(cluster: Cluster) -> Plan:
        from cluster.operations.delete import delete_plan

        return delete_plan(cluster, topic)

    carry_out(Planned("topics.delete", f"topic {topic}", plan_of), _show_deletion, hash_of_plan, output, address)


def _show_deletion(plan: dict[str, Any]) -> None:
    typer.echo(f"{plan['topic']}: {plan['records']} records in {len(plan['partitions'])} partitions are lost")
    for group in plan["groups"]:
        members = f", with {group['members']} members now" if group["members"] else ""
        typer.echo(f"  read by group {group['group']}{members}")


@app.command("list")
def list_topics(
    internal: Annotated[bool, typer.Option("--internal", help="Kafka's own topics too.")] = False,
    output: OutputOption = Output.text,
) -> None:
    """Show every topic of the cluster, ours first, those too that are missing."""
    with one_line():
        admin = _admin()
        found = topics_told.listed(admin.topics(internal=True), Survey(admin).settings(), internal=internal)
    rows = [
        (
            topic["name"],
            len(topic["partitions"]) if topic["exists"] else "missing",
            topic["records"],
            topic["under_replicated"],
            topic["cleanup"],
            topic["retention_ms"],
        )
        for topic in found
    ]
    lines = table(["topic", "partitions", "records", "under-replicated", "cleanup", "retention ms"], rows)
    tell({"items": found, "total": len(found)}, lines, output)
    raise typer.Exit(0 if all(map(_is_well, found)) else NOT_WELL)


@app.command()
def show(
    name: Annotated[str, typer.Argument(help="The topic.")],
    output: OutputOption = Output.text,
) -> None:
    """Show a topic: its partitions, and the settings that are its own."""
    with one_line():
        admin = _admin()
        broker = next(iter(admin.topics([name])), None)
        settings = Survey(admin).settings([name]).get(name, {})
    topic = topics_told.told(name, broker, settings)
    if broker is None:
        raise refuse(f"the cluster has no topic {name!r}")
    rows = [(p["partition"], p["leader"], p["replicas"], p["isr"], p["low"], p["high"]) for p in topic["partitions"]]
    lines = [
        f"{name}  {topic['doc'] or ''}".rstrip(),
        *table(["partition", "leader", "replicas", "isr", "low", "high"], rows),
    ]
    lines += [
        f"{setting} = {said['value']}, not {said['default']}"
        for setting, said in settings.items()
        if said["value"] != said["default"]
    ]
    tell({**topic, "configs": settings, "rates": None}, lines, output)
    raise typer.Exit(0 if _is_well(topic) else NOT_WELL)


def _is_well(topic: dict[str, Any]) -> bool:
    return not topic["under_replicated"] and not topic["without_leader"]


def _admin() -> Admin:
    config = load()
    return Admin(_bootstrap(config), reveal(config.kafka.client))


def _plan() -> tuple[Admin, list[Change]]:
    config = load()
    kafka = config.kafka
    admin = Admin(_bootstrap(config), reveal(kafka.client))
    return admin, admin.plan(TOPICS, kafka.input_partitions, kafka.replication_factor)


def _bootstrap(config: Config) -> str:
    """Return where Kafka is: as configured, or what `local up` left running."""
    if config.kafka.bootstrap_servers is not None:
        return config.kafka.bootstrap_servers
    local = running.load(config.local.directory)
    if local is None:
        raise ConfigError(
            "kafka.bootstrap_servers is not set, and no local broker runs: set it, or `chipquality local up`"
        )
    return local.bootstrap_servers


def _show(changes: list[Change], output: Output, *, done: bool) -> None:
    if output is Output.json:
        listed = [{"kind": type(change).__name__, **asdict(change), "text": str(change)} for change in changes]
        typer.echo(json.dumps({"topics": len(TOPICS), "changes": listed}))
        return
    if not changes:
        typer.echo(f"{len(TOPICS)} topics are as they should be.")
        return
    typer.echo(f"{'changes' if done else 'would change'}:")
    width = max(len(change.topic) for change in changes)
    for change in changes:
        typer.echo(f"  {change.topic:<{width}}  {change}")
