"""What commands that tell how things stand share: what they print, and their exit codes.

0: all is well. 1: something is not, or does not answer. 2: refused, or wrong usage.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from enum import StrEnum
from typing import Annotated, Any

import typer

from actors.errors import FencedError, ReopenError
from schemas.avro_types import NotASchema
from schemas.registry import RegistryUnavailable, SchemaRefused, UnknownSchema

NOT_WELL = 1
REFUSED = 2


class Output(StrEnum):
    """What a command prints."""

    text = "text"
    json = "json"


OutputOption = Annotated[Output, typer.Option("--output", "-o", help="text for a person, json for a program")]


@contextmanager
def one_line() -> Iterator[None]:
    """End with one line on stderr where something does not answer (1) or is refused (2)."""
    try:
        yield
    except (ReopenError, FencedError, RegistryUnavailable) as error:
        typer.echo(f"chipquality: {error}", err=True)
        raise typer.Exit(NOT_WELL) from error
    except (UnknownSchema, NotASchema, SchemaRefused) as error:
        typer.echo(f"chipquality: {error}", err=True)
        raise typer.Exit(REFUSED) from error


def refuse(why: str) -> typer.Exit:
    """Say why, and return what to raise."""
    typer.echo(f"chipquality: {why}", err=True)
    return typer.Exit(REFUSED)


def tell(said: Any, lines: Sequence[str], output: Output) -> None:
    """Print what is said, as JSON or as lines."""
    if output is Output.json:
        typer.echo(json.dumps(said))
        return
    for line in lines:
        typer.echo(line)


def table(head: Sequence[str], rows: Sequence[Sequence[object]]) -> list[str]:
    """Return lines with columns as wide as they must be; None is –.

    >>> table(["topic", "lag"], [["a", 3], ["bb", None]])
    ['topic  lag', 'a      3', 'bb     –']
    """
    cells = [list(head), *([("–" if cell is None else str(cell)) for cell in row] for row in rows)]
    widths = [max(len(row[at]) for row in cells) for at in range(len(head))]
    return ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in cells]
