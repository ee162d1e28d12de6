"""`chipquality charts`: the series and how each does, and one of them with its newest points, as the page shows them."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from cluster.commands.carrying_out import AddressOption
from cluster.commands.telling import Output, OutputOption, refuse, table, tell
from cluster.commands.viewing import seeing

app = typer.Typer(help="Control charts: series, points, limits, signals.", no_args_is_help=True)

LIST, LIST_MAX = 50, 500
POINTS, POINTS_MAX = 20, 500
SHOWN = ("series", "status", "open_alerts", "last_value", "rows")


@app.command("list")
def list_series(
    search: Annotated[str, typer.Option(help="Words that the series' key contains.")] = "",
    limit: Annotated[int, typer.Option(min=1, max=LIST_MAX)] = LIST,
    output: OutputOption = Output.text,
    address: AddressOption = None,
) -> None:
    """Show series, those with most open alerts first."""
    with seeing(address) as seen:
        found = seen.view("series", limit, search)
    rows = [[item.get(name) for name in SHOWN] for item in found["items"]]
    tell(found, [*table(SHOWN, rows), f"{len(rows)} of {found['total']} series"], output)


@app.command()
def show(
    series: Annotated[str, typer.Argument(help="Series key: equipment|chamber|recipe|operation|characteristic.")],
    points: Annotated[int, typer.Option(min=1, max=POINTS_MAX, help="Newest points.")] = POINTS,
    output: OutputOption = Output.text,
    address: AddressOption = None,
) -> None:
    """Show the newest points of a series as every detector judged them: statistic, limits, signals."""
    with seeing(address) as seen:
        found = seen.view("chart", series, points)
    if not found["held"]:
        raise refuse(f"no points of the series {series} are held; `chipquality charts list` shows what is")
    tell(found, [line for said in found["detectors"] for line in _lines(said)], output)


def _lines(said: dict[str, Any]) -> list[str]:
    rows = []
    for number, statistic in enumerate(said["statistics"]):
        columns = (statistic[name] for name in ("value", "lcl", "centre", "ucl"))
        for offset, bits, *numbers in zip(said["offset"], said["signal"], *columns, strict=True):
            found = [rule["name"] for i, rule in enumerate(said["rules"]) if bits >> i & 1]
            rows.append([offset, statistic["name"], *numbers, "" if number else ", ".join(found)])
    return [said["detector"], *table(["offset", "statistic", "value", "lcl", "centre", "ucl", "signals"], rows)]
