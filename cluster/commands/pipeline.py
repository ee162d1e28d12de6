"""`chipquality pipeline`: what runs, whether its outputs are whole, and the repair of a torn partition.

Exit codes: 0 all is well, or was made so; 1 something is wrong, or Kafka does not answer; 2 wrong usage or configuration.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated, Any

import typer

from actors.engine.torn import Cure
from actors.errors import ConfigError, FencedError, ReopenError
from actors.hosts import InOwner
from actors.kafka.log import SystemClock
from actors.outputs_check import Report, check_outputs
from actors.pipeline import Pipeline
from actors.repair import Plan, apply, plan
from actors.surroundings import Codec, Surroundings
from cluster.commands.recording import record
from cluster.commands.telling import Output, OutputOption
from cluster.commands.where import cluster_of
from cluster.config import load
from cluster.detectors import judging_of
from cluster.pipelines import pipelines_of
from schemas.registry import Registry, RegistryUnavailable, SchemaRefused, register_all

app = typer.Typer(help="Pipelines: what runs, are its outputs whole, repair.", no_args_is_help=True)

FAILED = 1  # exit code


NameArgument = Annotated[str, typer.Argument(help="Name of the pipeline.")]
PartitionOption = Annotated[
    list[int] | None, typer.Option("--partition", min=0, help="Input partition, may be repeated; all unless given.")
]
AddressOption = Annotated[
    str | None,
    typer.Option(help="Address of the Ray cluster; unless given, ray.address, or the one that runs on this machine."),
]


@app.command("list")
def list_pipelines(
    output: OutputOption = Output.text,
    address: AddressOption = None,
) -> None:
    """Show every pipeline's slots: state, position, counts."""
    from actors import supervisor  # Ray is slow to import
    from cluster.ray_address import connect

    connect(load(), address)
    found = supervisor.list_pipelines()
    if output is Output.json:
        typer.echo(json.dumps(found))
        return
    for status in found:
        _show_slots(status)


@app.command()
def scale(
    name: NameArgument,
    slots: Annotated[int, typer.Argument(min=1, help="How many slots share the partitions.")],
    timeout_s: Annotated[float, typer.Option(min=1, help="How long to wait until all are live.")] = 90.0,
    output: OutputOption = Output.text,
    address: AddressOption = None,
) -> None:
    """Spread a running pipeline over another number of slots, without a stop; partitions that need not move stay.

    Exit code 1: not all slots were live in time; they go on trying.
    """
    from actors import supervisor
    from cluster.ray_address import connect

    config = load()
    connect(config, address)
    try:
        before = supervisor.status(name)["slots"]
        status = supervisor.scale(name, slots, timeout_s)
    except ValueError as error:
        raise error if isinstance(error, ConfigError) else ConfigError(f"no pipeline {name!r} runs") from error
    except TimeoutError as error:
        typer.echo(f"chipquality: {error}", err=True)
        status = None
    record(cluster_of(config), "pipelines.scale", f"pipeline {name}", {"slots": before}, {"slots": slots})
    if status is None:
        raise typer.Exit(FAILED)
    if output is Output.json:
        typer.echo(json.dumps(status))
    else:
        _show_slots(status)


@app.command()
def check(name: NameArgument, partition: PartitionOption = None, output: OutputOption = Output.text) -> None:
    """Read all that is retained of a pipeline's outputs: gaps, doubled rows, alerts and dead letters, torn transactions.

    Exit code 1: something does not fit.
    """
    with _one_line():
        pipeline, around = _pipeline(name, partition)
        report = check_outputs(pipeline, around, partition)
    if output is Output.json:
        typer.echo(json.dumps(report.to_json()))
    else:
        _show_report(report)
    raise typer.Exit(FAILED if report.problem_count else 0)


@app.command()
def repair(
    name: NameArgument,
    partition: PartitionOption = None,
    write: Annotated[
        bool, typer.Option("--apply", help="Do it; without this the plan is shown, nothing is written.")
    ] = False,
    output: OutputOption = Output.text,
) -> None:
    """Complete what a torn transaction left in part; docs/torn.md says what can be repaired. The pipeline may run meanwhile.

    Exit code 1: something is to be done, or cannot be.
    """
    with _one_line():
        pipeline, around = _pipeline(name, partition)
        hosts = InOwner(pipeline.name, pipeline.families, pipeline.clean_rows)
        plans = plan(pipeline, around, hosts, partition)
        wanted = [each for each in plans if each.records]
        report = None
        if write and wanted:
            apply(pipeline, around, hosts, wanted)
            done = [{"partition": each.partition, "writes": each.writes(pipeline)} for each in wanted]
            record(cluster_of(load()), "pipelines.repair", f"pipeline {name}", None, done)
            report = check_outputs(pipeline, around, [each.partition for each in wanted])
    if output is Output.json:
        said = {"pipeline": name, "applied": write, "plans": [each.to_json(pipeline) for each in plans]}
        typer.echo(json.dumps(said | ({"check": report.to_json()} if report is not None else {})))
    else:
        for each in plans:
            _show_plan(pipeline, each, done=write)
        if report is not None:
            _show_report(report)
        elif wanted:
            typer.echo("Nothing was written: `--apply` does it.")
    left = [each for each in plans if each.diagnosis.cure is Cure.REFUSED or (each.records and not write)]
    raise typer.Exit(FAILED if left or (report is not None and report.problem_count) else 0)


def _pipeline(name: str, partitions: list[int] | None) -> tuple[Pipeline, Surroundings]:
    """Return a configured pipeline and what it stands on. Raises ConfigError if there is none of this name."""
    config = load()
    cluster = cluster_of(config)
    ids = register_all(Registry(cluster.registry_url, cluster.registry_client))
    found = {each.name: each for each in pipelines_of(config, judging_of(config), cluster, ids)}
    if name not in found:
        raise ConfigError(f"no pipeline {name!r} is configured; there are {', '.join(sorted(found))}")
    pipeline = found[name]
    unknown = set(partitions or ()) - set(pipeline.partitions)
    if unknown:
        raise ConfigError(f"{pipeline.input_topic} has no partition {min(unknown)}")
    return pipeline, Surroundings(pipeline.log(cluster), SystemClock(), Codec.of(pipeline))


@contextmanager
def _one_line() -> Iterator[None]:
    try:
        yield
    except (ReopenError, FencedError, RegistryUnavailable, SchemaRefused) as error:
        typer.echo(f"chipquality: {error}", err=True)
        sys.exit(FAILED)


def _show_slots(status: dict[str, Any]) -> None:
    trouble = f"  {status['trouble']}" if status.get("trouble") else ""
    slots = "1 slot" if status["slots"] == 1 else f"{status['slots']} slots"
    warm = sum(status.get("warm", {}).values())
    loaded = f"  {warm} processes loaded on other nodes" if warm else ""
    typer.echo(f"{status['pipeline']}  {slots}  deal {status['deal']}{loaded}{trouble}")
    for owner in status["owners"]:
        places = {p: said.get("next_offset", "quarantined") for p, said in sorted(owner["partitions"].items())}
        arriving = f"  arriving {owner['arriving']}" if owner.get("arriving") else ""
        standby = "  standby ready" if owner.get("standby") else ""
        worst = f"  replay at most {owner['replay_worst_s']:.1f} s" if owner.get("replay_worst_s") else ""
        typer.echo(
            f"  slot {owner['slot']}  {owner['state']}  incarnation {owner['incarnation']}  "
            f"re-opened {owner['reopened']}×  {places}{arriving}{standby}{worst}  process {owner['pid']}"
        )
        if owner.get("last_error"):
            typer.echo(f"    last: {owner['last_error']}")


def _show_report(report: Report) -> None:
    for partition, position in sorted(report.positions.items()):
        where = "no position yet" if position is None else f"position {position.next_offset}, step {position.seq}"
        blocks = sum(chain.blocks for (of, _), chain in report.chains.items() if of == partition)
        typer.echo(
            f"{report.pipeline}:{partition}  {where}, committed {report.committed[partition]}; {blocks} chart blocks, "
            f"{report.alerts.get(partition, 0)} alert records, {report.letters.get(partition, 0)} dead letters"
        )
    for problem in report.problems:
        typer.echo(f"  partition {problem.partition}: {problem.kind.value}: {problem.what}")
    left_out = report.problem_count - len(report.problems)
    if left_out:
        typer.echo(f"  and {left_out} more")
    if not report.problem_count:
        typer.echo("Whole: no gap, nothing twice.")


def _show_plan(pipeline: Pipeline, each: Plan, *, done: bool) -> None:
    found = each.diagnosis
    typer.echo(f"{pipeline.name}:{each.partition}  {found.cure.value}{': ' + found.why if found.why else ''}")
    if found.cure is Cure.REFUSED:
        typer.echo(f"  what is left: {found.way}")
    if each.records and each.position is not None:
        steps = f"the step from {found.start} to {each.position.next_offset}: " if found.cure is Cure.COMPLETE else ""
        writes = ", ".join(f"{count} {kind}" for kind, count in sorted(each.writes(pipeline).items()))
        typer.echo(
            f"  {'wrote' if done else 'would write'} {steps}{writes}; committed offset {each.position.next_offset}"
        )
