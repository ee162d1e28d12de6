"""`chipquality openapi`, `chipquality asyncapi`: what the API takes and answers, and what travels through the topics.

Both are made from the code: nothing is connected to, nothing has to run.
"""

from __future__ import annotations

import json
from enum import StrEnum
from typing import Annotated, Any

import typer


class Form(StrEnum):
    """How a document is written."""

    json = "json"
    yaml = "yaml"


FormOption = Annotated[Form, typer.Option("--output", "-o", help="json or yaml")]


def openapi(output: FormOption = Form.json) -> None:
    """Print the OpenAPI 3.1 document of the API, which it serves as /openapi.json."""
    from cluster.api.app import build_api

    _print(build_api(None).openapi(), output)


def asyncapi(output: FormOption = Form.json) -> None:
    """Print the AsyncAPI 3.0 document of all topics, with partitions, replicas and servers as configured."""
    from cluster.asyncapi import document
    from cluster.config import load

    _print(document(load()), output)


def _print(document: dict[str, Any], form: Form) -> None:
    if form is Form.json:
        typer.echo(json.dumps(document, indent=2, ensure_ascii=False))
        return
    import yaml

    # aliases are for trees that refer to themselves: here a reader would stumble over them
    dumper = type("Plain", (yaml.SafeDumper,), {"ignore_aliases": lambda *_: True})
    typer.echo(yaml.dump(document, Dumper=dumper, sort_keys=False, allow_unicode=True, width=120), nl=False)
