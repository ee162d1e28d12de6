"""`chipquality detectors`: which built-in detectors there are, and what parameters each has."""

from __future__ import annotations

import inspect
import json
from collections.abc import Sequence
from typing import Annotated, Any

import typer

from actors.errors import ConfigError
from cluster.commands.telling import Output, OutputOption
from models.catalogue import BUILTIN, Parameter, family_of, parameters_of

app = typer.Typer(help="The built-in detectors.", no_args_is_help=True)


@app.command("list")
def list_detectors(output: OutputOption = Output.text) -> None:
    """Show every detector with what it is for."""
    found = [{"name": name, "family": family_of(name), "doc": _doc(name)[0]} for name in BUILTIN]
    if output is Output.json:
        typer.echo(json.dumps(found))
        return
    width = max(len(name) for name in BUILTIN)
    for detector in found:
        typer.echo(f"{detector['name']:<{width}}  {detector['doc']}")


@app.command()
def show(name: Annotated[str, typer.Argument(help="e.g. spc.ewma")], output: OutputOption = Output.text) -> None:
    """Show one detector: what it does, its parameters with their defaults, an example for the configuration."""
    try:
        parameters = parameters_of(name)
    except ValueError as error:
        raise ConfigError(str(error)) from error
    if output is Output.json:
        listed = [{"name": p.name, "default": _json(p.default), "required": p.required} for p in parameters]
        typer.echo(
            json.dumps(
                {
                    "name": name,
                    "class": f"{BUILTIN[name].module}.{BUILTIN[name].class_name}",
                    "doc": "\n".join(_doc(name)),
                    "parameters": listed,
                }
            )
        )
        return
    where = f"{BUILTIN[name].module}.{BUILTIN[name].class_name}"
    typer.echo("\n".join([f"{name}: {where}", "", *_doc(name), "", "Parameters:"]))
    for p in parameters:
        typer.echo(f"  {p.name} " + ("(required)" if p.required else f"= {p.default!r}"))
    typer.echo("\n".join(["", "In chipquality.yaml:", *_example(name, parameters)]))


def _example(name: str, parameters: Sequence[Parameter]) -> list[str]:
    """Return the lines of a configuration with the detector: its required parameters, else the first one as it is."""
    shown = [p for p in parameters if p.required] or [p for p in parameters if p.default is not None][:1]
    said = ", ".join(
        f"{p.name}: {json.dumps('…' if p.required else _json(p.default), ensure_ascii=False)}" for p in shown
    )
    section = "vectors" if family_of(name) == "multivariate" else "pipeline"
    return [f"  {section}:", "    detectors:", f'      - {{detector: {name}, series: "*", parameters: {{{said}}}}}']


def _doc(name: str) -> list[str]:
    return inspect.cleandoc(BUILTIN[name].load().__doc__).splitlines()


def _json(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value
