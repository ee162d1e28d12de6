"""`chipquality capability`: how capable a process is. Exit codes: 0 done; 1 Kafka does not answer; 2 refused."""

from __future__ import annotations

import json
import sys
from typing import Annotated, Any, Literal, NoReturn

import numpy as np
import typer

from actors.control_desk import ControlDesk, Places
from actors.errors import ReopenError
from actors.limit_desk import LimitDesk, Span, counted, specification_of
from cluster.commands.limits import bound_of
from cluster.commands.where import cluster_of
from cluster.config import load
from models.capability_report import INDICES, Specification, as_csv, capability_report
from models.limit_versions import ChangeRefused
from schemas.registry import RegistryUnavailable
from schemas.topics import CONTROL, MEASUREMENTS, STATE

app = typer.Typer(help="Capability of processes: Cp, Cpk, Pp, Ppk.", no_args_is_help=True)

FAILED, REFUSED = 1, 2  # exit codes
ROWS_MAX = 50_000


@app.callback()
def _group() -> None:
    """Keep `report` a command of its own: there will be others."""


@app.command()
def report(
    series: Annotated[str, typer.Argument(help="Series key: equipment|chamber|recipe|operation|characteristic.")],
    rows: Annotated[int | None, typer.Option("--rows", min=2, max=ROWS_MAX, help="Newest rows; 100 unless --from.")] = None,
    since: Annotated[str | None, typer.Option("--from", help="First row: an offset, or an event time (ISO 8601).")] = None,
    until: Annotated[str | None, typer.Option("--to", help="Last row: an offset, or an event time (ISO 8601).")] = None,
    partition: Annotated[int | None, typer.Option("--partition", min=0, help="If the series stands in several.")] = None,
    method: Annotated[Literal["normal", "percentile", "box-cox", "johnson"], typer.Option()] = "normal",
    within: Annotated[Literal["moving_range", "pooled", "range"] | None, typer.Option(help="Sigma within, by.")] = None,
    confidence: Annotated[float, typer.Option(min=0.5, max=0.9999)] = 0.95,
    lsl: Annotated[float | None, typer.Option(help="Instead of the one that holds.")] = None,
    usl: Annotated[float | None, typer.Option(help="Instead of the one that holds.")] = None,
    target: Annotated[float | None, typer.Option(help="Instead of the one that holds.")] = None,
    output: Annotated[Literal["text", "json", "csv"], typer.Option("--output", "-o")] = "text",
) -> None:  # fmt: skip
    """Report the capability of a series, from the topic; excluded measurements are left out."""
    try:
        config = load()
        places = Places(config.pipeline.name, MEASUREMENTS, STATE, CONTROL)
        with ControlDesk(cluster_of(config), places) as control:
            desk = LimitDesk(control)
            found = desk.rows(Span(series, partition, rows, bound_of("--from", since), bound_of("--to", until)))
            changes = desk.changes(series)
        if len(found) > ROWS_MAX:
            raise ChangeRefused(f"{len(found)} rows; at most {ROWS_MAX}: say --rows, or a narrower --from and --to")
        value, left_out = counted(found, changes)
        limits, version = specification_of(found, changes, Specification(lsl, usl, target))
        grouped = bool((found.subgroup >= 0).all())
        said = capability_report(
            value,
            limits,
            subgroup=found.subgroup if grouped else None,
            method=method,
            within=within,
            confidence=confidence,
        )
    except (ReopenError, RegistryUnavailable) as error:
        _end(error, FAILED)
    except ValueError as error:  # ChangeRefused and ConfigError too
        _end(error, REFUSED)
    span = {"first_offset": int(found.offset[0]), "last_offset": int(found.offset[-1])}
    whole = {
        "series": series,
        "partition": found.partition,
        **span,
        "excluded": left_out,
        "limits_version": version,
    } | said
    if output == "json":
        typer.echo(json.dumps(whole))
    elif output == "csv":
        typer.echo(as_csv(whole), nl=False)
    else:
        _show(whole)


def _show(report: dict[str, Any]) -> None:
    say = typer.echo
    say(
        f"{report['series']}  partition {report['partition']}, offsets {report['first_offset']} to {report['last_offset']}"
    )
    say(f"n {report['n']}, {report['missing']} missing or left out; {report['method']}: {report['method_text']}")
    say(f"limits {report['limits']}")
    say(
        f"mean {report['mean']:.6g}, sigma within {_cell(report['sigma_within'])}, overall {_cell(report['sigma_overall'])}"
    )
    for name in INDICES:
        found = report["indices"][name]
        if found["value"] is not None:
            between = "" if found["low"] is None else f"  {found['low']:.3f} to {found['high']:.3f}"
            say(f"  {name:<13}{found['value']:8.3f}{between}")
    for note in report["notes"]:
        say(f"  {note}")


def _cell(number: object) -> str:
    return f"{number:.6g}" if isinstance(number, float) and np.isfinite(number) else "-"


def _end(error: Exception, code: int) -> NoReturn:
    typer.echo(f"chipquality: {' '.join(str(error).split())}", err=True)
    sys.exit(code)
