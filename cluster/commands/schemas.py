"""`chipquality schemas`: subjects of the registry, what differs between versions, and whether one may follow.

Exit codes: 0 all is well; 1 something breaks readers, or the registry does not answer; 2 refused.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from actors.errors import ConfigError
from cluster import schemas_told
from cluster.commands.recording import record
from cluster.commands.telling import NOT_WELL, Output, OutputOption, one_line, refuse, table, tell
from cluster.commands.where import cluster_of
from cluster.config import load
from schemas.differences import Change
from schemas.levels import LEVELS, Level, directions
from schemas.registry import Registry

app = typer.Typer(help="Schemas of the registry: versions, differences, compatibility.", no_args_is_help=True)

SubjectArgument = Annotated[str, typer.Argument(help="The subject, e.g. fab.measurements-value.")]


@app.command("list")
def list_subjects(output: OutputOption = Output.text) -> None:
    """Show every subject: its versions, the level that holds, and which of our records it is."""
    with one_line():
        registry = _registry()
        found = schemas_told.listed(registry, registry.subjects())
    rows = [
        (each["subject"], len(each["versions"]), each["latest"]["id"], each["compatibility"], each["record"])
        for each in found
    ]
    tell({"items": found, "total": len(found)}, table(["subject", "versions", "id", "level", "record"], rows), output)


@app.command()
def show(subject: SubjectArgument, output: OutputOption = Output.text) -> None:
    """Show a subject with the schema of every version."""
    with one_line():
        found = schemas_told.subject_told(_registry(), subject)
    lines = [f"{found['subject']}  {found['compatibility']}"]
    lines += [f"version {each['version']}  id {each['id']}  {each['schema']}" for each in found["versions"]]
    tell(found, lines, output)


@app.command()
def diff(
    subject: SubjectArgument,
    earlier: Annotated[int, typer.Argument(min=1, help="Version.")],
    later: Annotated[int, typer.Argument(min=1, help="Version.")],
    output: OutputOption = Output.text,
) -> None:
    """Show what differs between two versions. Exit code 1: something breaks what the subject's level keeps."""
    with one_line():
        registry = _registry()
        found = schemas_told.difference(registry, subject, earlier, later)
        kept = set(directions(schemas_told.level_of(registry.compatibility(subject))))
    lines = [_line(Change(**{**each, "breaks": tuple(each["breaks"])})) for each in found["changes"]]
    tell(found, lines or ["no difference"], output)
    raise typer.Exit(NOT_WELL if any(kept & set(each["breaks"]) for each in found["changes"]) else 0)


@app.command()
def check(
    subject: SubjectArgument,
    file: Annotated[Path, typer.Argument(help="A schema, an .avsc file.")],
    output: OutputOption = Output.text,
) -> None:
    """Test whether a schema may follow under the subject's level; nothing is registered. Exit code 1: it may not."""
    try:
        with file.open(encoding="utf-8") as opened:
            text = opened.read(schemas_told.SCHEMA_CHARS_MAX + 1)
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{file} cannot be read: {error}") from error
    if len(text) > schemas_told.SCHEMA_CHARS_MAX:
        raise refuse(f"{file} has more than {schemas_told.SCHEMA_CHARS_MAX} characters")
    with one_line():
        found = schemas_told.judged(_registry(), subject, text)
    against = ", ".join(map(str, found["against"])) or "none"
    verdict = f"{'may' if found['compatible'] else 'may not'} follow under {found['level']}; compared with versions: {against}"
    tell(found, [verdict, *(f"  {reason}" for reason in found["reasons"])], output)
    raise typer.Exit(0 if found["compatible"] else NOT_WELL)


@app.command()
def level(
    subject: SubjectArgument,
    wanted: Annotated[str, typer.Argument(help=f"One of {', '.join(LEVELS)}.")],
    write: Annotated[bool, typer.Option("--apply", help="Set it; without this it is only tested.")] = False,
    output: OutputOption = Output.text,
) -> None:
    """Test the versions that there are under another compatibility level, and set it. Exit code 2: they do not stand together."""
    chosen: Level | None = next((each for each in LEVELS if each == wanted.upper()), None)
    if chosen is None:
        raise refuse(f"no level {wanted!r}; there are {', '.join(LEVELS)}")
    with one_line():
        registry = _registry()
        plan = schemas_told.plan_level(registry, subject, chosen)
        lines = [f"{plan.before} → {plan.after}; versions tested: {', '.join(map(str, plan.tested)) or 'none'}"]
        lines += [
            f"  {each.direction}: {each.earlier} and {each.later}: {'; '.join(map(schemas_told.said, each.changes))}"
            for each in plan.conflicts
        ]
        tell({**plan.told(), "applied": write and not plan.conflicts}, lines, output)
        if plan.conflicts:
            raise refuse(f"{subject} stays {plan.before}")
        if write:
            schemas_told.apply_level(registry, plan)
    if write:
        record(cluster_of(load()), "schemas.compatibility", f"subject {subject}", plan.before, plan.after)


def _line(change: Change) -> str:
    breaks = f"  breaks {' and '.join(change.breaks)}" if change.breaks else ""
    return f"{schemas_told.said(change)}{breaks}"


def _registry() -> Registry:
    cluster = cluster_of(load())
    return Registry(cluster.registry_url, cluster.registry_client)
