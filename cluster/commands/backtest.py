"""`chipquality backtest`: judge a recorded stretch by a detector, measure what it would have said, as a report."""

from __future__ import annotations

import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer

from actors.errors import ConfigError, FencedError, ReopenError
from cluster.commands.carrying_out import FAILED, REFUSED, AddressOption
from cluster.commands.telling import Output, OutputOption, tell
from cluster.commands.where import cluster_of
from cluster.config import load
from cluster.operations.bounds import bound_of
from cluster.operations.errors import Refused
from schemas.registry import RegistryUnavailable

if TYPE_CHECKING:
    from cluster.backtest.plan import BacktestPlan

STOPPED = 130  # exit code, as of whatever a terminal stops


def backtest(
    detector: Annotated[
        str, typer.Argument(help="MODULE:CLASS that can be imported here, a name of `detectors list`, or one of the package's.")
    ],
    topic: Annotated[str, typer.Option(help="Whose records are judged, e.g. fab.measurements.")],
    since: Annotated[
        str, typer.Option("--from", help="The first that counts: earliest, an offset, or a time.")
    ] = "earliest",
    until: Annotated[
        str, typer.Option("--to", help="The first that does not any more: latest, an offset, or a time.")
    ] = "latest",
    warm_from: Annotated[
        str | None, typer.Option(help="Judge from here on, tell from --from on: so nothing starts in Phase I there.")
    ] = None,
    event_time: Annotated[
        bool, typer.Option("--event-time", help="Times are event times; without this, times of publishing.")
    ] = False,
    package: Annotated[Path | None, typer.Option(help="A detector package: a project folder, a zip of one, a wheel.")] = None,
    parameters: Annotated[str | None, typer.Option(help="Of the detector, as a JSON object.")] = None,
    series: Annotated[
        list[str] | None, typer.Option(help="Patterns of series that it judges, with * and ?; all unless given.")
    ] = None,
    vector: Annotated[str | None, typer.Option(help="Of a topic of vectors: which of them.")] = None,
    labels: Annotated[
        Path | None, typer.Option(help="What is to be found, CSV or Parquet: series, lot, wafer, from, to, kind.")
    ] = None,
    missed_cost: Annotated[float, typer.Option(help="What a missed label costs, in false alarms.")] = 10.0,
    report: Annotated[Path, typer.Option(help="Folder of the report, which must not be there yet.")] = Path("backtest"),
    local: Annotated[
        bool, typer.Option("--local", help="In processes of this command, not as a job in the Ray cluster.")
    ] = False,
    output: OutputOption = Output.text,
    address: AddressOption = None,
) -> None:  # fmt: skip
    """Judge a stretch of a topic by a detector, as the live pipeline would, and measure it. Nothing is written to Kafka."""
    from cluster.backtest.plan import Wish, parameters_of, plan_of
    from cluster.packages import store_of

    config = load()
    sys.path.insert(0, str(Path.cwd()))  # a detector's module may lie where one works
    with _in_one_line(), _stopped_by_signals():
        bounds = [bound_of(text, event_time=event_time) for text in (since, until)]
        wish = Wish(
            target=detector,
            topic=topic,
            since=bounds[0],
            until=bounds[1],
            warm_from=None if warm_from is None else bound_of(warm_from, event_time=event_time),
            parameters=parameters_of(parameters),
            series=tuple(series or ("*",)),
            labels=None if labels is None else str(labels),
            vector=vector,
            missed_cost=missed_cost,
            package=None if package is None else str(package),
            store=store_of(config).url if package is not None else None,
        )
        plan = plan_of(wish, cluster_of(config), config.vectors, config.pipeline.arrivals)
        with _progress(plan.records) as told:
            said = _here(plan, report, told) if local else _as_job(plan, report, told, config, address)
    tell(said, _lines(said, report), output)
    if said["failures"]:
        raise typer.Exit(FAILED)


def _here(plan: BacktestPlan, report: Path, told: Callable[[int, str], None]) -> dict[str, Any]:
    from cluster.backtest.running import carry_out
    from cluster.backtest.tasks import here

    return carry_out(plan, report, here, told)


def _as_job(
    plan: BacktestPlan, report: Path, told: Callable[[int, str], None], config: Any, address: str | None
) -> dict[str, Any]:
    from cluster.backtest.job import submit_and_follow
    from cluster.ray_address import jobs_of, ray_of

    try:
        where = ray_of(config, address)
        client = jobs_of(config, where)
    except ConfigError as error:
        raise ConfigError(f"{error}; --local needs no Ray") from error
    return submit_and_follow(client, plan, report, told, None if "://" in where else where)


@contextmanager
def _progress(records: int) -> Iterator[Callable[[int, str], None]]:
    """Show a bar on stderr; where that is no terminal, a line whenever something else is done."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    console = Console(stderr=True)
    columns = (BarColumn(), MofNCompleteColumn(), TimeRemainingColumn(), TextColumn("{task.description}"))
    with Progress(*columns, console=console, disable=not console.is_terminal) as bar:
        task, said = bar.add_task("starts", total=records), ""

        def told(done: int, what: str) -> None:
            nonlocal said
            bar.update(task, completed=done, description=what)
            if not console.is_terminal and what != said:
                typer.echo(f"{done / max(1, records):4.0%}  {what}", err=True)
                said = what

        yield told


@contextmanager
def _stopped_by_signals() -> Iterator[None]:
    """Take SIGTERM for Ctrl-C: both end what was started."""

    def stop(_: int, __: FrameType | None) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, stop)
    try:
        yield
    except KeyboardInterrupt:
        typer.echo("chipquality: stopped; nothing is left of it", err=True)
        raise typer.Exit(STOPPED) from None
    finally:
        signal.signal(signal.SIGTERM, before)


@contextmanager
def _in_one_line() -> Iterator[None]:
    """Turn what goes wrong into one line and an exit code."""
    from cluster.backtest.running import BacktestFailed

    try:
        yield
    except (Refused, ConfigError) as error:
        _end(str(error), REFUSED)
    except (ReopenError, FencedError, RegistryUnavailable) as error:
        _end(str(error), FAILED)
    except BacktestFailed as error:  # with a traceback where a detector's code has one
        typer.echo(f"chipquality: {error}", err=True)
        raise typer.Exit(FAILED) from error


def _end(text: str, code: int) -> NoReturn:
    typer.echo(f"chipquality: {' '.join(text.split())}", err=True)
    raise typer.Exit(code)


def _lines(said: dict[str, Any], folder: Path) -> list[str]:
    """Return what a person reads first."""
    day = said["alerts_per_day"]
    lines = [*said["notes"]]
    lines.append(
        f"{said['judged']} of {said['rows']} rows of {said['series']} series judged, {said['days']:.3g} days of event time"
    )
    lines.append(f"{said['alerts']} alerts{'' if day is None else f', {day:.3g} a day'}")
    labels = said["labels"]
    if labels:
        lines.append(f"{labels['found']} of {labels['judged']} labels found (recall {_percent(labels['recall'])})")
        lines.append(
            f"{labels['true_alerts']} of {said['alerts']} alerts are true (precision {_percent(labels['precision'])})"
        )
        false = labels["false_alarms_per_day"]
        lines.append(f"{labels['false_alarms']} false alarms{'' if false is None else f', {false:.3g} a day'}")
        least, cost = labels["cost"]["least"], labels["cost"]
        lines.append(
            f"limits {least['width']:g} times as wide would cost least, at {cost['missed_cost']:g} a missed label"
        )
    return [*lines, f"{folder / 'report.html'}, report.json, verdicts, alerts"]


def _percent(x: float | None) -> str:
    return "–" if x is None else f"{100 * x:.1f} %"
