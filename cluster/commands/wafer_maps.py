"""`chipquality wafer-maps`: the newest inspections, and where on a wafer their defects are."""

from __future__ import annotations

from typing import Annotated

import typer

from cluster.commands.carrying_out import AddressOption
from cluster.commands.telling import Output, OutputOption, refuse, table, tell
from cluster.commands.viewing import seeing

app = typer.Typer(help="Inspections, and the defects on a wafer.", no_args_is_help=True)

LIST, LIST_MAX = 50, 500
SHOWN = ("inspection_id", "lot", "wafer", "inspection_type", "status", "defects")
PLACED = ("inspection_id", "defect_type", "severity", "x", "y", "die_x", "die_y", "location")


@app.command("list")
def list_inspections(
    limit: Annotated[int, typer.Option(min=1, max=LIST_MAX)] = LIST,
    output: OutputOption = Output.text,
    address: AddressOption = None,
) -> None:
    """Show inspections, newest first."""
    with seeing(address) as seen:
        found = seen.view("inspections", limit)
    tell(found, table(SHOWN, [[item[name] for name in SHOWN] for item in found["items"]]), output)


@app.command()
def show(
    name: Annotated[str, typer.Argument(help="Id of an inspection; with --wafer, the lot.")],
    wafer: Annotated[str | None, typer.Option(help="Of all inspections of this wafer of the lot.")] = None,
    output: OutputOption = Output.text,
    address: AddressOption = None,
) -> None:
    """Show the defects of an inspection, or of a wafer."""
    with seeing(address) as seen:
        found = seen.view("wafer_map", name) if wafer is None else seen.view("wafer_map", "", name, wafer)
    if found is None:
        raise refuse(f"nothing of {name} is held; `chipquality wafer-maps list` shows what is")
    lines = table(PLACED, [[defect[column] for column in PLACED] for defect in found["defects"]])
    tell(found, [*lines, f"{found['without_place']} without a place, {found['untold']} not told"], output)
