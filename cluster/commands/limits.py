"""`chipquality limits`: new limits from history, applied while the line runs; resets; measurements that do not count.

Every change acts from an input offset on, which each partition chooses and writes down; what was judged before stays as it was
said. Exit codes: 0 done; 1 not applied everywhere in time, or Kafka does not answer; 2 refused, with the reason in one line.
"""

from __future__ import annotations

import json
import math
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Annotated, NoReturn

import typer

from actors.control_desk import ControlDesk, Made, Places
from actors.errors import ReopenError
from actors.kafka.delivery import PublishError
from actors.kafka.errors import ConfigError
from actors.kafka.history import Bound
from actors.limit_desk import ROWS, LimitDesk, Span, Study, before_and_after, facts_of, facts_of_proposal
from cluster.commands.limits_text import show_change, show_made, show_proposal
from cluster.commands.recording import record
from cluster.commands.telling import Output, OutputOption
from cluster.commands.where import cluster_of
from cluster.config import load
from models.limit_versions import Change, ChangeRefused, Kind
from schemas.registry import RegistryUnavailable, SchemaRefused
from schemas.topics import CONTROL, MEASUREMENTS, STATE

app = typer.Typer(help="Limits, resets and exclusions, while the line runs.", no_args_is_help=True)

FAILED, REFUSED = 1, 2  # exit codes
MADE_TIMEOUT_S = 30.0


SeriesOption = Annotated[
    str, typer.Option("--series", "-s", help="Series key: equipment|chamber|recipe|operation|characteristic.")
]
AuthorOption = Annotated[str, typer.Option("--author", help="Who you are.")]
ReasonOption = Annotated[str, typer.Option("--reason", help="Why; it stands in the record for ever.")]
PartitionOption = Annotated[
    int | None, typer.Option("--partition", min=0, help="Input partition, if the series stands in several.")
]
TimeoutOption = Annotated[
    float,
    typer.Option("--timeout-s", min=0, help="How long to wait until the partitions have made it; 0: do not wait."),
]
_NUMBER = "A number, or none to take it back."
NumberOption = Annotated[str | None, typer.Option(help=_NUMBER)]


@app.command("propose")
def propose_limits(
    series: SeriesOption,
    reason: ReasonOption,
    author: AuthorOption,
    rows: Annotated[
        int | None, typer.Option("--rows", min=2, max=100_000, help=f"Newest rows to look at; {ROWS} unless --from.")
    ] = None,
    since: Annotated[
        str | None, typer.Option("--from", help="First row: an offset, or an event time (ISO 8601).")
    ] = None,
    until: Annotated[str | None, typer.Option("--to", help="Last row: an offset, or an event time (ISO 8601).")] = None,
    exclude: Annotated[
        list[int] | None, typer.Option("--exclude", help="Offset to leave out of this study; may be repeated.")
    ] = None,
    estimator: Annotated[
        str | None, typer.Option(help="Of sigma, see models/estimators.py; mr (moving range) unless given.")
    ] = None,
    rules: Annotated[
        str, typer.Option(help="Nelson rules by which the study takes points out, e.g. 1,2; none: no point.")
    ] = "1",
    study: Annotated[
        bool | None, typer.Option("--study/--no-study", help="Compute mu and sigma; default: unless a limit is given.")
    ] = None,
    mu: NumberOption = None,
    sigma: NumberOption = None,
    lsl: NumberOption = None,
    usl: NumberOption = None,
    target: NumberOption = None,
    partition: PartitionOption = None,
    output: OutputOption = Output.text,
) -> None:
    """Propose the next version of a series' limits: what holds now, changed by a Phase I study of its history or by hand.

    Nothing takes effect before somebody applies it.
    """
    with _refusals(), _desk() as desk:
        given = {
            name: _number(name, text)
            for name, text in {"mu": mu, "sigma": sigma, "lsl": lsl, "usl": usl, "target": target}.items()
            if text is not None
        }
        span = Span(series, partition, rows, bound_of("--from", since), bound_of("--to", until))
        wanted = Study(given, study, estimator, _rules(rules), exclude or [])
        change, proposal = LimitDesk(desk).propose(span, wanted, author, reason, _now_ms())
    show_proposal(change, proposal, as_json=output is Output.json)
    said = facts_of_proposal(change, proposal)
    after = {"change_id": change.change_id, "author": author} | said["new"]
    record(cluster_of(load()), "limits.propose", f"series {series}", said["old"], after)


@app.command()
def apply(
    change_id: Annotated[str, typer.Argument(help="Id of a proposed change.")],
    author: AuthorOption,
    effective_from: Annotated[
        str | None, typer.Option(help="Event time (ISO 8601) from which it holds; at once unless given.")
    ] = None,
    timeout_s: TimeoutOption = MADE_TIMEOUT_S,
    output: OutputOption = Output.text,
) -> None:
    """Apply a proposed change, and wait until the pipeline has made it."""
    with _refusals(), _desk() as desk:
        from_ms = None if effective_from is None else _time_ms("--effective-from", effective_from)
        change, made = LimitDesk(desk).approve(change_id, author, _now_ms(), from_ms, own=True, wait_s=timeout_s)
    _tell("limits.approve", change, made, timeout_s, output)


@app.command()
def reset(
    series: SeriesOption,
    reason: ReasonOption,
    author: AuthorOption,
    partition: PartitionOption = None,
    timeout_s: TimeoutOption = MADE_TIMEOUT_S,
    output: OutputOption = Output.text,
) -> None:
    """Start a series' charts anew, as after a repair; its limits stay."""
    with _refusals(), _desk() as desk:
        change, made = LimitDesk(desk).reset(series, partition, author, reason, _now_ms(), timeout_s)
    _tell("series.reset", change, made, timeout_s, output)


@app.command()
def exclude(
    series: SeriesOption,
    offset: Annotated[int, typer.Option(min=0, help="Input offset of the measurement.")],
    comment: Annotated[str, typer.Option(help="Its assignable cause; it stands in the record for ever.")],
    author: AuthorOption,
    partition: PartitionOption = None,
    timeout_s: TimeoutOption = MADE_TIMEOUT_S,
    output: OutputOption = Output.text,
) -> None:
    """Have a past measurement not count when limits are computed; charts end their windows. Propose limits after it."""
    _count(Kind.EXCLUDE, series, offset, comment, author, partition, timeout_s, output)


@app.command()
def include(
    series: SeriesOption,
    offset: Annotated[int, typer.Option(min=0, help="Input offset of the measurement.")],
    comment: Annotated[str, typer.Option(help="Why it counts again.")],
    author: AuthorOption,
    partition: PartitionOption = None,
    timeout_s: TimeoutOption = MADE_TIMEOUT_S,
    output: OutputOption = Output.text,
) -> None:
    """Take an exclusion back."""
    _count(Kind.INCLUDE, series, offset, comment, author, partition, timeout_s, output)


@app.command("list")
def list_changes(
    series: Annotated[str | None, typer.Option("--series", "-s", help="Of this series only.")] = None,
    output: OutputOption = Output.text,
) -> None:
    """Show all changes: who, why, from when on, and at which offset each partition made them."""
    with _refusals(), _desk() as desk:
        limits = LimitDesk(desk)
        chosen, made = limits.changes(series), limits.made()
    if output is Output.json:
        typer.echo(json.dumps([facts_of(change, made.get(change.change_id, [])) for change in chosen]))
        return
    if not chosen:
        typer.echo("No changes.")
    for change in chosen:
        show_change(change, made.get(change.change_id, []))


# ---- making changes


def _count(
    kind: Kind,
    series: str,
    offset: int,
    comment: str,
    author: str,
    partition: int | None,
    timeout_s: float,
    output: Output,
) -> None:
    with _refusals(), _desk() as desk:
        change, made = LimitDesk(desk).count(kind, series, offset, partition, author, comment, _now_ms(), timeout_s)
    _tell("exclusions.add" if kind is Kind.EXCLUDE else "exclusions.remove", change, made, timeout_s, output)


def _tell(action: str, change: Change, made: Mapping[int, Made | None], timeout_s: float, output: Output) -> None:
    """Print where the change was made, and record it; end with a failure if a partition has not made it although we waited."""
    show_made(change, made, as_json=output is Output.json)
    record(cluster_of(load()), action, f"series {change.changes[0].series}", *before_and_after(change))
    late = sorted(partition for partition, entry in made.items() if entry is None)
    if late and timeout_s > 0:
        until = "its event time comes" if change.effective_from_ms is not None else "the pipeline runs: does it?"
        where = ", ".join(map(str, late))
        _end(TimeoutError(f"partition {where} has not made it after {timeout_s:g} s; it will when {until}"), FAILED)


# ---- where Kafka is


def _desk() -> ControlDesk:
    config = load()
    return ControlDesk(cluster_of(config), Places(config.pipeline.name, MEASUREMENTS, STATE, CONTROL))


@contextmanager
def _refusals() -> Iterator[None]:
    """Turn what goes wrong into one line and an exit code."""
    try:
        yield
    except (ChangeRefused, SchemaRefused, ConfigError) as error:
        _end(error, REFUSED)
    except (ReopenError, PublishError, RegistryUnavailable, TimeoutError) as error:
        _end(error, FAILED)


def _end(error: Exception, code: int) -> NoReturn:
    typer.echo(f"chipquality: {' '.join(str(error).split())}", err=True)
    sys.exit(code)


# ---- reading options


def _now_ms() -> int:
    return time.time_ns() // 1_000_000


def _number(name: str, text: str) -> float | None:
    if text.lower() == "none":
        return None
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not math.isfinite(number):
        raise ChangeRefused(f"--{name} {text}: a number, or none, is wanted")
    return number


def bound_of(option: str, text: str | None) -> Bound | None:
    """Return where history begins or ends. Raises ChangeRefused, naming the option, for a time that is none."""
    if text is None:
        return None
    return Bound(offset=int(text)) if text.isdecimal() else Bound(time_ms=_time_ms(option, text))


def _time_ms(option: str, text: str) -> int:
    try:
        when = datetime.fromisoformat(text)
    except ValueError:
        raise ChangeRefused(f"{option} {text}: no time as ISO 8601 has it, e.g. 2026-05-04T12:00:00Z") from None
    return round((when if when.tzinfo else when.replace(tzinfo=UTC)).timestamp() * 1000)


def _rules(text: str) -> tuple[int, ...]:
    if text.lower() == "none":
        return ()
    try:
        return tuple(int(number) for number in text.split(","))
    except ValueError:
        raise ChangeRefused(f"--rules {text}: numbers of Nelson rules, e.g. 1,2, or none") from None
