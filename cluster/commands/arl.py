"""`chipquality arl`: average run lengths, and the chart that has the one wanted."""

from __future__ import annotations

import json
from typing import Annotated, Any

import typer

from cluster.commands.telling import Output, OutputOption

app = typer.Typer(help="Average run lengths: how long until a chart signals.", no_args_is_help=True)

WRONG_USAGE = 2  # exit code

CHART_NAMES = {"cusum": "CUSUM", "ewma": "EWMA", "shewhart": "Shewhart"}


ShiftOption = Annotated[float, typer.Option("--shift", help="Shift of the mean, in sigmas of a plotted point.")]
Arl0Option = Annotated[
    float | None, typer.Option("--arl0", help="Search the limit that gives this ARL without a shift.")
]


@app.command()
def shewhart(
    rules: Annotated[
        str,
        typer.Option(
            help="Numbers: Nelson's, 1,2,5,6. western-electric, or we1,we2,we3,we4: the handbook's. Mix freely."
        ),
    ] = "1",
    shift: ShiftOption = 0.0,
    any_side: Annotated[
        bool, typer.Option("--any-side", help="Nelson's rule 8 with all points on one side too.")
    ] = False,
    output: OutputOption = Output.text,
) -> None:
    """Shewhart chart with 3-sigma limits and run rules, by Markov chain."""
    from models.arl import arl_shewhart
    from models.arl_rules import rule_names

    try:
        names = rule_names(rules)
        arl = arl_shewhart(shift, names, any_side=any_side)
    except ValueError as error:
        _refuse(error)
    _say(output, {"chart": "shewhart", "rules": list(names), "any_side": any_side, "shift": shift}, arl)


@app.command()
def cusum(
    k: Annotated[float | None, typer.Option(help="Reference value, in sigmas; half the shift unless given.")] = None,
    h: Annotated[float | None, typer.Option(help="Decision interval, in sigmas; or give --arl0.")] = None,
    shift: ShiftOption = 0.0,
    headstart: Annotated[float, typer.Option(help="The part of h that the sums start with; 0.5 is usual.")] = 0.0,
    one_sided: Annotated[bool, typer.Option("--one-sided", help="The upper sum alone.")] = False,
    arl0: Arl0Option = None,
    output: OutputOption = Output.text,
) -> None:
    """Tabular CUSUM, by integral equation."""
    from models.arl import arl_cusum, design_cusum

    sides = 1 if one_sided else 2
    try:
        if arl0 is not None:
            _one_of("--h", h)
            k, h = design_cusum(arl0, shift, k=k, headstart=headstart, sides=sides)
        elif k is None or h is None:
            raise ValueError("give --k and --h, or --arl0 to search h")
        arl = arl_cusum(k, h, shift, headstart, sides)
    except ValueError as error:
        _refuse(error)
    found = {"chart": "cusum", "k": k, "h": h, "headstart": headstart, "sides": sides, "shift": shift}
    _say(output, found if arl0 is None else {**found, "arl0": arl0}, arl)


@app.command()
def ewma(
    weight: Annotated[
        float | None,
        typer.Option("--lambda", help="Weight of the newest point, above 0, at most 1; or give --arl0 and --shift."),
    ] = None,
    limit: Annotated[
        float | None, typer.Option("--limit", help="L, in standard deviations of the average; or give --arl0.")
    ] = None,
    shift: ShiftOption = 0.0,
    time_varying: Annotated[
        bool, typer.Option("--time-varying", help="Limits that widen from the first point on, as the chart draws them.")
    ] = False,
    arl0: Arl0Option = None,
    output: OutputOption = Output.text,
) -> None:
    """EWMA chart, by integral equation; limits at their final width unless --time-varying."""
    from models.arl import arl_ewma, best_ewma, design_ewma

    try:
        if arl0 is not None:
            _one_of("--limit", limit)
            weight = best_ewma(arl0, shift).weight if weight is None else weight
            limit = design_ewma(arl0, weight, steady=not time_varying)
        elif weight is None or limit is None:
            raise ValueError("give --lambda and --limit, or --arl0 to search them")
        arl = arl_ewma(weight, limit, shift, steady=not time_varying)
    except ValueError as error:
        _refuse(error)
    found = {"chart": "ewma", "lambda": weight, "limit": limit, "time_varying": time_varying, "shift": shift}
    _say(output, found if arl0 is None else {**found, "arl0": arl0}, arl)


def _one_of(option: str, value: float | None) -> None:
    if value is not None:
        raise ValueError(f"give {option} {value:g} or --arl0, not both")


def _say(output: Output, found: dict[str, Any], arl: float) -> None:
    if output is Output.json:
        typer.echo(json.dumps({**found, "arl": arl}))
        return
    shown = {name: value for name, value in found.items() if name not in {"chart", "shift"} and value is not False}
    said = ", ".join(f"{name} {_text(value)}" for name, value in shown.items())
    typer.echo(f"{CHART_NAMES[found['chart']]} ({said}): ARL {arl:.6g} at a shift of {found['shift']:g} sigma")


def _text(value: Any) -> str:
    if isinstance(value, list):
        return " ".join(value)
    return "yes" if value is True else f"{value:.6g}"


def _refuse(error: ValueError) -> None:
    typer.echo(f"chipquality arl: {error}", err=True)
    raise typer.Exit(WRONG_USAGE) from error
