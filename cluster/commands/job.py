"""`chipquality job`: work that is done on a schedule or by hand, in Ray's jobs. See docs/jobs.md.

Exit codes: 0 done; 1 Kafka or Ray does not answer, or with `run --wait` the run did not end well; 2 refused, with the reason.
"""

from __future__ import annotations

import getpass
import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cluster.commands.carrying_out import FAILED, AddressOption, connected, in_one_line
from cluster.commands.recording import record
from cluster.commands.telling import Output, OutputOption, table

if TYPE_CHECKING:
    from actors.kafka.client import Cluster

app = typer.Typer(help="Scheduled jobs: rejudging, limits, training.", no_args_is_help=True)

LIST_MAX = 500
LOOK_S = 0.5
ENDED = ("done", "failed", "cancelled", "skipped")

NameArgument = Annotated[str, typer.Argument(help="Name of the job.")]


@app.command()
def schedule(
    name: Annotated[str, typer.Argument(help="Small letters, digits, hyphens. A job of that name is defined anew.")],
    kind: Annotated[str, typer.Option(help="rejudge, limits or train.")],
    cron: Annotated[str, typer.Option(help="Minute hour day month weekday; without it: only by hand.")] = "",
    zone: Annotated[str, typer.Option(help="Time zone of the schedule, e.g. Europe/Berlin.")] = "UTC",
    parameters: Annotated[str, typer.Option(help="Of the kind, as JSON, or @FILE.")] = "{}",
    catch_up: Annotated[str, typer.Option(help="Missed times: none, last, all.")] = "last",
    catch_up_max: Annotated[int, typer.Option(help="With all: the newest so many.")] = 10,
    retries: Annotated[int, typer.Option(help="Further attempts after one that failed.")] = 3,
    backoff_s: Annotated[float, typer.Option(help="Before the first of them; then twice as long each time.")] = 30.0,
    timeout_s: Annotated[float, typer.Option(help="Of one attempt.")] = 3600.0,
    output: OutputOption = Output.text,
    address: AddressOption = None,
) -> None:
    """Define a job; it is due from now on."""
    from cluster.jobs.job import CatchUp, Job
    from cluster.operations.errors import Invalid

    with _asking(address) as (ask, cluster):
        if catch_up not in {*CatchUp}:
            raise Invalid(f"--catch-up {catch_up}: none, last, all")
        job = Job(
            name, kind, _parameters(parameters), cron, zone, CatchUp(catch_up), catch_up_max, retries, backoff_s, timeout_s,
            by=getpass.getuser(),
        )  # fmt: skip
        before = _known(ask, name)
        told = ask("schedule", job)
        record(cluster, "jobs.schedule", f"job {name}", before, job.told())
    _print(told, [_job_line(told)], output)


@app.command("list")
def list_jobs(output: OutputOption = Output.text, address: AddressOption = None) -> None:
    """List the jobs, when each is due next, and how its newest run stands."""
    with _asking(address) as (ask, _):
        found = ask("page", LIST_MAX)["items"]
    rows = [
        [
            job["name"], job["kind"], job["cron"], job["zone"], _time(job["next_ms"]),
            _run_text(job["newest"]), f"v{job['current']['version']}" if job["current"] else None,
        ]
        for job in found
    ]  # fmt: skip
    head = ["job", "kind", "cron", "zone", "next", "newest run", "current"]
    _print(found, table(head, rows) if rows else ["No jobs."], output)


@app.command()
def show(name: NameArgument, output: OutputOption = Output.text, address: AddressOption = None) -> None:
    """Show one job: what it does, when, its newest run, the current version of what it makes."""
    with _asking(address) as (ask, _):
        told = ask("get", name)
    _print(told, [_job_line(told), json.dumps(told, indent=1)], output)


@app.command()
def run(
    name: NameArgument,
    wait: Annotated[bool, typer.Option("--wait", help="Until it has ended, telling how far it is.")] = False,
    output: OutputOption = Output.text,
    address: AddressOption = None,
) -> None:
    """Run a job now, whatever its schedule."""
    with _asking(address) as (ask, cluster):
        told = ask("start", name, getpass.getuser())
        record(cluster, "jobs.run", f"job {name}", None, {"id": told["id"]})
        said = ""
        while wait and told["state"] not in ENDED:
            time.sleep(LOOK_S)
            told = next(run for run in ask("history", name, LIST_MAX)["items"] if run["id"] == told["id"])
            line = f"{told['state']} {told['progress']:4.0%}  {told['error'] or told['what']}"
            if line != said:
                typer.echo(line, err=True)
                said = line
    _print(told, [_run_line(told)], output)
    if wait and told["state"] != "done":
        raise typer.Exit(FAILED)


@app.command()
def cancel(
    name: Annotated[str, typer.Argument(help="Name of the job, or id of the run.")],
    output: OutputOption = Output.text,
    address: AddressOption = None,
) -> None:
    """Have the run of a job end."""
    with _asking(address) as (ask, cluster):
        told = ask("cancel", name)
        record(cluster, "jobs.cancel", f"job {told['job']}", None, {"id": told["id"]})
    _print(told, [_run_line(told)], output)


@app.command()
def history(
    name: NameArgument,
    limit: Annotated[int, typer.Option(min=1, max=LIST_MAX, help="Show so many, the newest.")] = 20,
    output: OutputOption = Output.text,
    address: AddressOption = None,
) -> None:
    """Show the runs of a job, the newest first."""
    with _asking(address) as (ask, _):
        found = ask("history", name, limit)["items"]
    _print(found, [_run_line(run) for run in found] or ["No runs."], output)


@app.command()
def current(name: NameArgument, output: OutputOption = Output.text, address: AddressOption = None) -> None:
    """Show the current version of what a job makes: its topics, or the artefact."""
    with _asking(address) as (ask, _):
        told = ask("current", name)
    _print(
        told, [f"{name} v{told['version']} since {_time(told['since_ms'])}", json.dumps(told["made"], indent=1)], output
    )


@app.command()
def remove(name: NameArgument, output: OutputOption = Output.text, address: AddressOption = None) -> None:
    """Have a job no more, nor its history; what it has made stays."""
    with _asking(address) as (ask, cluster):
        told = ask("remove", name)
        record(cluster, "jobs.remove", f"job {name}", told, None)
    _print(told, [f"{name} is removed"], output)


@contextmanager
def _asking(address: str | None) -> Iterator[tuple[Any, Cluster]]:
    """Give how the scheduler is asked, and where Kafka is; it is started if it does not run."""
    from cluster.jobs import actor
    from cluster.operations.actor import ask
    from cluster.packages import store_of

    with in_one_line():
        config, cluster = connected(address)
        settings = actor.Settings(cluster, config.pipeline.name, store_of(config).url)
        handle = actor.connect(settings)
        yield lambda method, *arguments: ask(handle, method, *arguments), cluster


def _known(ask: Any, name: str) -> dict[str, Any] | None:
    from cluster.operations.errors import Absent

    try:
        told: dict[str, Any] = ask("get", name)
    except Absent:
        return None
    return told


def _parameters(text: str) -> dict[str, Any]:
    from pathlib import Path

    from cluster.operations.errors import Invalid

    try:
        found = json.loads(Path(text[1:]).read_text() if text.startswith("@") else text)
    except (OSError, ValueError) as error:
        raise Invalid(f"--parameters: {error}") from error
    if not isinstance(found, dict):
        raise Invalid("--parameters: a JSON object is wanted")
    return found


def _print(said: Any, lines: list[str], output: Output) -> None:
    typer.echo(json.dumps(said) if output is Output.json else "\n".join(lines))


def _time(ms: int | None) -> str | None:
    return None if ms is None else datetime.fromtimestamp(ms / 1000, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _job_line(job: dict[str, Any]) -> str:
    when = f"{job['cron']} ({job['zone']}), next {_time(job['next_ms'])}" if job["cron"] else "only by hand"
    return f"{job['name']}  {job['kind']}  {when}"


def _run_text(run: dict[str, Any] | None) -> str | None:
    return None if run is None else f"{run['state']} {run['progress']:.0%} of {_time(run['due_ms'])}"


def _run_line(run: dict[str, Any]) -> str:
    attempt = f"  attempt {run['attempt']}" if run["attempt"] > 1 else ""
    version = f"  v{run['number']}" if run["number"] else ""
    what = run["error"] or run["what"]
    return f"{run['id']}{version}  {run['trigger']}  {run['state']} {run['progress']:.0%}{attempt}  {what}".rstrip()
