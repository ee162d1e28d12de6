"""`chipquality import`: STDF, CSV and Parquet files become events; docs/importing.md.

A file is read whole before anything of it is published. Exit codes: 0 published, or told (--dry-run), or it was imported before;
1 rows were left out, the file broke off, not everything was delivered, or Kafka or the registry does not answer; 2 refused.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from actors.kafka.errors import ConfigError
from cluster.commands.recording import record
from cluster.commands.telling import NOT_WELL, Output, OutputOption, one_line, refuse, tell
from cluster.config import load

if TYPE_CHECKING:
    from datetime import tzinfo

    from actors.inputs.sources import Plan, Source

app = typer.Typer(help="Publish what files hold: STDF, CSV, Parquet.", no_args_is_help=True)


class OnError(StrEnum):
    """What becomes of a file with bad rows."""

    stop = "stop"
    skip = "skip"


class Retests(StrEnum):
    """Which tests of a part that was tested again count."""

    last = "last"
    all = "all"


class LimitsOf(StrEnum):
    """What lsl and usl are."""

    test = "test"
    spec = "spec"


FileArgument = Annotated[Path, typer.Argument(help="The file.")]
ZoneOption = Annotated[
    str, typer.Option("--timezone", help="Of times that do not say theirs, as IANA names it: Europe/Berlin.")
]
SetOption = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="FIELD=VALUE", help="What a field is, instead of what the file says."),
]
MapOption = Annotated[
    list[str] | None, typer.Option("--map", metavar="COLUMN=FIELD", help="Which field a column is; may be repeated.")
]
DryOption = Annotated[
    bool, typer.Option("--dry-run", help="Read and check all of it, and tell what would be published.")
]
AgainOption = Annotated[bool, typer.Option("--again", help="Publish it even if it was imported before.")]
OnErrorOption = Annotated[OnError, typer.Option(help="With bad rows: publish nothing, or leave them out.")]


@app.command()
def stdf(
    file: FileArgument,
    timezone: ZoneOption = "UTC",
    given: SetOption = None,
    retests: Annotated[
        Retests, typer.Option(help="Of a part that was tested again, which tests count.")
    ] = Retests.last,
    limits: Annotated[
        LimitsOf, typer.Option(help="lsl and usl are LO_LIMIT and HI_LIMIT, or LO_SPEC and HI_SPEC.")
    ] = LimitsOf.test,
    partial: Annotated[
        bool, typer.Option("--partial", help="Of a file that breaks off, the parts before that.")
    ] = False,
    dry_run: DryOption = False,
    again: AgainOption = False,
    output: OutputOption = Output.text,
) -> None:
    """Import a test data file of a tester: STDF V4 of either byte order, plain, gzip or bzip2."""
    from actors.inputs.sources import StdfSource
    from actors.inputs.stdf_events import FIELDS, StdfOptions

    with _refusals():
        named = _pairs("--set", given)
        unknown = sorted(set(named) - set(FIELDS))
        if unknown:
            raise refuse(f"--set {unknown[0]}: of STDF one of {', '.join(FIELDS)} can be set")
        options = StdfOptions(_zone(timezone), named, retests.value, limits.value)
        _carry_out(StdfSource(file, options, partial=partial), "stdf", OnError.stop, dry_run, again, output)


@app.command()
def csv(
    file: FileArgument,
    mapped: MapOption = None,
    given: SetOption = None,
    timezone: ZoneOption = "UTC",
    delimiter: Annotated[str, typer.Option(help="Between cells; \\t for a tab.")] = ",",
    on_error: OnErrorOption = OnError.stop,
    dry_run: DryOption = False,
    again: AgainOption = False,
    output: OutputOption = Output.text,
) -> None:
    """Import measurements from a CSV file with a line of column names."""
    from functools import partial as bound

    from actors.inputs.rows import csv_rows
    from actors.inputs.sources import TableSource
    from actors.inputs.tables import Mapped

    with _refusals():
        delimiter = delimiter.replace("\\t", "\t")
        if len(delimiter) != 1:
            raise refuse(f"--delimiter {delimiter!r}: one character")
        how = Mapped(_pairs("--map", mapped), _pairs("--set", given), _zone(timezone))
        rows_of = bound(csv_rows, delimiter=delimiter)
        _carry_out(TableSource(file, rows_of, how), "csv", on_error, dry_run, again, output)


@app.command()
def parquet(
    file: FileArgument,
    mapped: MapOption = None,
    given: SetOption = None,
    timezone: ZoneOption = "UTC",
    on_error: OnErrorOption = OnError.stop,
    dry_run: DryOption = False,
    again: AgainOption = False,
    output: OutputOption = Output.text,
) -> None:
    """Import measurements from a Parquet file."""
    from actors.inputs.rows import parquet_rows
    from actors.inputs.sources import TableSource
    from actors.inputs.tables import Mapped

    with _refusals():
        how = Mapped(_pairs("--map", mapped), _pairs("--set", given), _zone(timezone))
        _carry_out(TableSource(file, parquet_rows, how), "parquet", on_error, dry_run, again, output)


# ---- reading, telling, publishing


def _carry_out(source: Source, kind: str, on_error: OnError, dry_run: bool, again: bool, output: Output) -> None:
    from actors.inputs.sources import planned
    from cluster.commands.imports_text import Progress, lines_of

    plan = planned(source, Progress("read"))
    said: dict[str, Any] = {
        "file": str(source.path),
        "kind": kind,
        "found": source.facts(),
        "events": plan.counts,
        "series": len(plan.series),
        "bad_rows": {"count": plan.bad_rows, "items": [one._asdict() for one in plan.bad]},
        "dry_run": dry_run,
        "before": None,
        "delivered": None,
    }
    refused = plan.bad_rows > 0 and on_error is OnError.stop
    if not refused and not dry_run:
        said |= _published(source, plan, again)
    tell(said, lines_of(said, plan.bad), output)
    if refused:
        raise refuse(f"{plan.bad_rows:,} bad rows: nothing was published; --on-error skip leaves them out")
    if plan.bad_rows or said["found"].get("error"):
        raise typer.Exit(NOT_WELL)


def _published(source: Source, plan: Plan, again: bool) -> dict[str, Any]:
    """Publish a file unless it was imported before; return what is to be told of that."""
    from actors.inputs.before import known_before
    from actors.inputs.feed import TOPIC_OF, Feed
    from actors.inputs.tables import BadRow
    from actors.producers.publisher import Publisher
    from cluster.commands.imports_text import Progress
    from cluster.commands.where import cluster_of
    from schemas.registry import Registry

    config = load()
    cluster = cluster_of(config)
    ends = {plan.first, plan.last} - {""}
    known = known_before(cluster, TOPIC_OF[source.marker], ends) if ends and not again else set()
    before = "whole" if known and known == ends else "partly" if known else "no"
    if before == "whole":
        return {"before": before, "delivered": dict.fromkeys(TOPIC_OF, 0)}
    if before == "partly":
        window = config.pipeline.dedupe_window
        hint = f"pipeline.dedupe_window ({window:,}) recognises what stands there" if window else (
            "set pipeline.dedupe_window, or what stands there is judged twice"
        )  # fmt: skip
        typer.echo(f"an import of this file before was broken off: all of it is published again; {hint}", err=True)
    registry = Registry(cluster.registry_url, cluster.registry_client)
    with Publisher(cluster.bootstrap_servers, registry, cluster.client, name="chipquality-import") as publisher:
        publisher.check()
        events = (found for found in source.events(check=plan.bad_rows > 0) if not isinstance(found, BadRow))
        delivered = Feed(publisher, source.name[:200]).publish(events, Progress("published", plan.events))
    record(cluster, "events.import", f"file {source.path.name}", None, {"delivered": delivered, "before": before})
    return {"before": before, "delivered": delivered}


# ---- options


def _pairs(option: str, given: list[str] | None) -> dict[str, str]:
    pairs = {}
    for text in given or []:
        name, equals, value = text.partition("=")
        if not (equals and name and value):
            raise refuse(f"{option} {text}: a name, =, and a value")
        if name in pairs:
            raise refuse(f"{option} {name}: it is said twice")
        pairs[name] = value
    return pairs


def _zone(name: str) -> tzinfo:
    from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise refuse(f"--timezone {name}: no time zone of that name, e.g. UTC, Europe/Berlin, Asia/Taipei") from None


@contextmanager
def _refusals() -> Iterator[None]:
    """Turn what goes wrong into one line and an exit code."""
    from actors.inputs.feed import NotDeliveredError
    from actors.inputs.opened import InputError
    from actors.kafka.delivery import PublishError, UndeliveredError

    try:
        with one_line():
            yield
    except (InputError, ConfigError) as error:
        raise refuse(" ".join(str(error).split())) from error
    except (NotDeliveredError, PublishError, UndeliveredError) as error:
        typer.echo(f"chipquality: {' '.join(str(error).split())}", err=True)
        sys.exit(NOT_WELL)
