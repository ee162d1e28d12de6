"""`chipquality pareto`: what there is most of: signals, or defects."""

from __future__ import annotations

import time
from typing import Annotated

import typer

from actors.view.alert_book import PARETO_BY
from actors.view.inspections import DEFECTS_BY
from cluster.commands.carrying_out import AddressOption
from cluster.commands.telling import Output, OutputOption, refuse, table, tell
from cluster.commands.viewing import seeing

ROWS, ROWS_MAX = 20, 500
BY = (*PARETO_BY, *DEFECTS_BY)
SHOWN = ("name", "count", "share", "cumulative")


def pareto(
    by: Annotated[str, typer.Argument(help=f"What is counted apart: {', '.join(BY)}.")],
    window_s: Annotated[
        int | None, typer.Option(min=1, help="Raised within this time; all that are held unless given.")
    ] = None,
    limit: Annotated[int, typer.Option(min=1, max=ROWS_MAX, help="Rows.")] = ROWS,
    output: OutputOption = Output.text,
    address: AddressOption = None,
) -> None:
    """Count alerts, or defects of inspections, largest first."""
    if by not in BY:
        raise refuse(f"no {by!r} to count by; there are {', '.join(BY)}")
    since_ms = 0 if window_s is None else time.time_ns() // 1_000_000 - 1000 * window_s
    with seeing(address) as seen:
        found = seen.view("pareto", by, since_ms, limit, {})
    told = {"by": by, "counts": "defects" if by in DEFECTS_BY else "alerts", "window_s": window_s, **found}
    tell(told, table(SHOWN, [[row[name] for name in SHOWN] for row in found["items"]]), output)
