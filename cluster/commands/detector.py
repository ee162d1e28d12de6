"""`chipquality detector`: a detector of your own, from a new project to a package that can be deployed.

Exit codes of `check`: 0 it can be deployed; 1 it cannot, or something does not answer; 2 wrong usage.
"""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Annotated, Any

import typer

from actors.errors import ConfigError
from actors.packages.examined import Examined
from actors.packages.limits import Limits
from cluster.commands.detector_text import examined_lines
from cluster.commands.telling import NOT_WELL, Output, OutputOption, one_line, tell
from cluster.project import new_project

app = typer.Typer(help="A detector of your own: a project, its examination.", no_args_is_help=True)

ParametersOption = Annotated[
    str, typer.Option(metavar="JSON", help="What it is made with, e.g. '{\"limit\": 4}'; its defaults unless given.")
]
DetectorOption = Annotated[
    str | None,
    typer.Option(
        "--detector", metavar="NAME", help="An entry point's name, or module:Class; the only one unless given."
    ),
]
MemoryOption = Annotated[float, typer.Option(min=64, help="MiB that the detector's process may have beyond its start.")]
StepOption = Annotated[float, typer.Option(min=0.1, max=60, help="Seconds for a step; then the process is ended.")]
LoadOption = Annotated[float, typer.Option(min=0.5, max=600, help="Seconds to import and construct it.")]

_DEFAULT = Limits()


@app.command()
def new(
    name: Annotated[str, typer.Argument(help="Of the project, e.g. edge-roughness.")],
    directory: Annotated[Path, typer.Option("--dir", help="Where its folder is made.")] = Path(),
) -> None:
    """Write a small project: a detector, its tests, sample data, packaging."""
    written = new_project(name, directory)
    folder = directory / name
    for path in written:
        typer.echo(f"  {path}")
    typer.echo(f"next: cd {folder}; python -m pytest; chipquality detector check .")


@app.command()
def check(
    path: Annotated[Path, typer.Argument(help="A project's folder, a zip of it, or a wheel.")],
    detector: DetectorOption = None,
    parameters: ParametersOption = "{}",
    rows: Annotated[Path | None, typer.Option(help="Recorded rows to try it on: Parquet or CSV.")] = None,
    topic: Annotated[str | None, typer.Option(help="Instead: a topic of measurements to try it on.")] = None,
    since: Annotated[str, typer.Option("--from", help="Of the topic: earliest, an offset, or a time.")] = "earliest",
    until: Annotated[str, typer.Option("--to", help="Of the topic: latest, an offset, or a time.")] = "latest",
    step_s: StepOption = _DEFAULT.step_s,
    load_s: LoadOption = _DEFAULT.load_s,
    memory_mb: MemoryOption = _DEFAULT.memory_bytes / 2**20,
    output: OutputOption = Output.text,
) -> None:
    """Examine a detector as it would be before it is deployed: suite, cost, memory, what it says of recorded rows."""
    if rows is not None and topic is not None:
        raise ConfigError("--rows and --topic: one of them")
    given = parameters_of(parameters)
    limits = Limits(step_s=step_s, load_s=load_s, memory_bytes=int(memory_mb * 2**20))
    stretch = _read(rows) if rows is not None else _of_topic(topic, since, until) if topic is not None else None
    examined = _examined(path, detector, given, limits, stretch)
    tell(examined.to_json(), examined_lines(examined), output)
    if not examined.ok:
        raise typer.Exit(NOT_WELL)


def parameters_of(text: str) -> dict[str, Any]:
    """Return parameters that are given as JSON. Raises ConfigError."""
    try:
        said = json.loads(text)
    except ValueError as error:
        raise ConfigError(f"--parameters {text[:80]!r}: no JSON: {error}") from None
    if not isinstance(said, dict):
        raise ConfigError(f'--parameters {text[:80]!r}: names with values are wanted, e.g. {{"limit": 4}}')
    return said


def _examined(
    path: Path, detector: str | None, given: dict[str, Any], limits: Limits, stretch: bytes | None
) -> Examined:
    from actors.packages import PackageStore, read_package
    from actors.packages.examine import examine

    package = read_package(path)
    with tempfile.TemporaryDirectory(prefix="chipquality-check-") as folder:  # what is checked is not deployed
        store = PackageStore(folder)
        store.put(package.data)
        return examine(store, package.digest, detector, given, limits, stretch)


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise ConfigError(f"--rows {path}: {error.strerror}") from error


def _of_topic(topic: str, since: str, until: str) -> bytes:
    from cluster.commands.where import cluster_of
    from cluster.config import load
    from cluster.operations.bounds import bound_of
    from cluster.operations.errors import Refused
    from cluster.packages import read_stretch, spans_of

    with one_line():
        try:
            bounds = bound_of(since), bound_of(until)
        except Refused as error:
            raise ConfigError(str(error)) from error
        cluster = cluster_of(load())
        return read_stretch(cluster, topic, spans_of(cluster, topic, *bounds))
