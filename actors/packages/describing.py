"""The description of a detector as JSON and back: for records and answers; it comes from processes that nobody trusts."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import numpy as np

from actors.packages.errors import PackageRefused
from models.detector import Column, Description, Identity, Rule

COLUMNS_MAX = 200  # of state
STATISTICS_MAX = 64
RULES_MAX = 32
TEXT_CHARS_MAX = 400
DESCRIPTION_BYTES_MAX = 256 * 1024


def to_json(described: Description) -> dict[str, Any]:
    """Return a description as plain JSON; a parameter that has no JSON by its text, as the identity has it."""
    return {
        "identity": described.identity,
        "name": described.name,
        "version": described.version,
        "state": {
            name: {"dtype": column.dtype, "shape": list(column.shape), "fill": _number(column.fill)}
            for name, column in described.state.items()
        },
        "statistics": list(described.statistics),
        "rules": [rule._asdict() for rule in described.rules],
        "parameters": json.loads(json.dumps(dict(described.parameters), default=repr), parse_constant=str),
        "dimension": described.dimension,
        "cut_dependent": described.cut_dependent,
        "doc": described.doc[:TEXT_CHARS_MAX],
    }


def of_json(said: Mapping[str, Any]) -> Description:
    """Read a description. Raises PackageRefused for what no detector can be."""
    try:
        if len(json.dumps(said)) > DESCRIPTION_BYTES_MAX:
            raise ValueError(f"it has more than {DESCRIPTION_BYTES_MAX} bytes")
        found = Description(
            identity=_text(said["identity"]),
            name=_text(said["name"]),
            version=int(said["version"]),
            state={_text(name): _column(column) for name, column in said["state"].items()},
            statistics=tuple(map(_text, said["statistics"])),
            rules=tuple(
                Rule(_text(rule["name"]), _text(rule["doc"]), _text(rule["severity"]), int(rule["statistic"]))
                for rule in said["rules"]
            ),
            parameters=dict(said["parameters"]),
            dimension=None if said["dimension"] is None else int(said["dimension"]),
            cut_dependent=bool(said["cut_dependent"]),
            doc=_text(said.get("doc", "")),
        )
        if Identity.of(found.identity)[:2] != (found.name, found.version):
            raise ValueError(f"identity {found.identity!r} is not of {found.name} version {found.version}")
        for what, there, most in (
            ("state columns", found.state, COLUMNS_MAX),
            ("statistics", found.statistics, STATISTICS_MAX),
            ("rules", found.rules, RULES_MAX),
        ):
            if len(there) > most:
                raise ValueError(f"{len(there)} {what}; a detector has {most} at most")
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
        raise PackageRefused(f"not the description of a detector: {type(error).__name__}: {error}") from error
    return found


def _column(said: Mapping[str, Any]) -> Column:
    dtype = np.dtype(_text(said["dtype"]))
    if dtype.hasobject:
        raise ValueError("a state column holds plain numbers")
    fill = said["fill"]
    shape = tuple(int(size) for size in said["shape"])
    return Column(_text(said["dtype"]), shape, float(fill) if isinstance(fill, str) else fill)


def _number(fill: Any) -> float | int | str | bool:
    """Return a fill as JSON has it: what is no number there, as text."""
    plain = fill.item() if isinstance(fill, np.generic) else fill
    return str(plain) if isinstance(plain, float) and not np.isfinite(plain) else plain


def _text(said: Any) -> str:
    if not isinstance(said, str) or len(said) > TEXT_CHARS_MAX:
        raise ValueError(f"{said!r:.60} is no text of {TEXT_CHARS_MAX} characters at most")
    return said
