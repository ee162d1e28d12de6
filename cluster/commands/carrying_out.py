"""How a command does something dangerous: without --apply it shows the plan; with the plan's hash it has it done, and watches.

What is done is an operation of the actor "operations:<pipeline>" (docs/api.md): it goes on if the command is stopped. Exit codes:
0 done, or the plan is shown; 1 it failed, was cancelled, or Kafka or Ray does not answer; 2 refused, with the reason in one line.
"""

from __future__ import annotations

import getpass
import json
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Annotated, Any, NamedTuple, NoReturn

import typer

from actors.errors import ConfigError, FencedError, ReopenError
from actors.kafka.client import Cluster
from cluster.commands.recording import record
from cluster.commands.telling import Output
from cluster.commands.where import cluster_of
from cluster.config import Config, load
from cluster.operations.errors import Conflict, Refused, shown
from cluster.operations.operation import Request
from cluster.operations.plans import HASH_CHARS, Plan
from schemas.registry import RegistryUnavailable

FAILED, REFUSED = 1, 2  # exit codes
LOOK_S = 0.5  # between two looks at an operation


ApplyOption = Annotated[
    str | None,
    typer.Option(
        "--apply", metavar="HASH", help=f"Do it: the plan of this hash ({HASH_CHARS} digits). Without: show the plan."
    ),
]
AddressOption = Annotated[
    str | None,
    typer.Option(help="Address of the Ray cluster; unless given, ray.address, or the one that runs on this machine."),
]


class Change(NamedTuple):
    """What a command does, as the audit trail calls it; see the API's (cluster/api/carrying_out.py)."""

    action: str
    resource: str
    plan_of: Callable[[Cluster], Plan]


def carry_out(
    change: Change,
    show: Callable[[dict[str, Any]], None],
    apply: str | None,
    output: Output,
    address: str | None,
) -> None:
    """Show a plan, or have it done and follow it to its end. Ends the process with what has come of it."""
    with in_one_line():
        config, cluster = connected(address)
        plan = change.plan_of(cluster)
        told = plan.told()
        if apply is None or apply != plan.hash:
            if output is Output.json:
                typer.echo(json.dumps({**told, "applied": False}))
            else:
                show(told["plan"])
                typer.echo(f"plan {plan.hash}")
            if apply is not None:
                differs = f"the plan as it is now has another hash than {shown(apply)}: nothing was done"
                raise Conflict(f"{differs}; look at it, then --apply {plan.hash}")
            if output is Output.text:
                typer.echo(f"Nothing was done: --apply {plan.hash} does it.")
            return
        request = Request(plan.kind, plan.subject, told["plan"], plan.hash, getpass.getuser())
        handle = operations_of(config, cluster)
        begun = begin(handle, request)
        record(cluster, change.action, change.resource, None, {"operation": begun["id"], "plan": told["plan"]})
        ended = follow(handle, begun)
    tell_end(ended, output)


def connected(address: str | None) -> tuple[Config, Cluster]:
    """Connect to Ray; return the configuration, and where Kafka and the registry are. Raises ConfigError."""
    from cluster.ray_address import connect  # Ray is slow to import

    config = load()
    cluster = cluster_of(config)
    connect(config, address)
    return config, cluster


def operations_of(config: Config, cluster: Cluster) -> Any:
    """Return the operations actor of the main pipeline."""
    from cluster.operations import actor

    return actor.connect(cluster, config.pipeline.name)


def begin(handle: Any, request: Request) -> dict[str, Any]:
    """Begin an operation. Raises Refused."""
    from cluster.operations import actor

    told: dict[str, Any] = actor.ask(handle, "begin", request)
    return told


def follow(handle: Any, operation: dict[str, Any]) -> dict[str, Any]:
    """Show on stderr how far an operation is until it has ended; return it. It goes on if this is stopped."""
    from cluster.operations import actor

    typer.echo(f"operation {operation['id']}", err=True)
    said = ""
    while operation["state"] == "running":
        time.sleep(LOOK_S)
        operation = actor.ask(handle, "get", operation["id"])
        line = f"{operation['progress']:4.0%}  {operation['what']}"
        if line != said:
            typer.echo(line, err=True)
            said = line
    return operation


def tell_end(operation: dict[str, Any], output: Output) -> None:
    """Print what has come of an operation. Raises typer.Exit if it is not done."""
    if output is Output.json:
        typer.echo(json.dumps(operation))
    else:
        typer.echo(f"{operation['state']}: {operation['error'] or operation['what']}")
    if operation["state"] != "done":
        raise typer.Exit(FAILED)


@contextmanager
def in_one_line() -> Iterator[None]:
    """Turn what goes wrong into one line and an exit code."""
    from ray.exceptions import RayError

    try:
        yield
    except (Refused, ConfigError) as error:  # PackageRefused is a ConfigError
        _end(str(error), REFUSED)
    except (ReopenError, FencedError, RegistryUnavailable, RayError) as error:
        _end(str(error), FAILED)


def _end(text: str, code: int) -> NoReturn:
    typer.echo(f"chipquality: {' '.join(text.split())}", err=True)
    sys.exit(code)
