"""`chipquality fit`: Phase I jobs that make the models of detectors, from a file or from the line's own history.

The result is an artefact: one file, named by its content, for `pipeline.detectors` or `vectors.detectors` in the configuration.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from fnmatch import fnmatchcase
from importlib.metadata import version
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer

from actors.errors import ConfigError
from cluster.commands.telling import Output, OutputOption
from models.artefact import Artefact

app = typer.Typer(help="Fit the models of detectors: loadings, covariances, trees, references.", no_args_is_help=True)

OutOption = Annotated[Path, typer.Argument(help="where to write the artefact, e.g. etch.npz")]
FromOption = Annotated[
    Path | None, typer.Option("--from", help="Parquet or CSV file: a column for each characteristic")
]
VectorOption = Annotated[
    str | None, typer.Option(help="name of a vector whose records in fab.vectors are read instead")
]
ColumnsOption = Annotated[str, typer.Option(help="which characteristics: patterns with * and ?, divided by commas")]
RowsOption = Annotated[str, typer.Option(help="which rows in order of time, as FIRST:END counted from 0, e.g. 0:400")]


@dataclass(frozen=True)
class Data:
    """Rows to fit to."""

    names: tuple[str, ...]
    value: np.ndarray  # (n, p)
    facts: dict[str, Any]  # where they are from

    @property
    def single(self) -> np.ndarray:
        """Return (n,) where there is one characteristic, else (n, p)."""
        return self.value[:, 0] if len(self.names) == 1 else self.value


@app.command()
def pca(
    out: OutOption,
    source: FromOption = None,
    vector: VectorOption = None,
    columns: ColumnsOption = "*",
    rows: RowsOption = ":",
    components: Annotated[int | None, typer.Option(help="how many; as few as `explained` needs unless given")] = None,
    explained: Annotated[float, typer.Option(help="share of the variance that the components carry")] = 0.9,
    limits: Annotated[
        str | None,
        typer.Option(help="theory, or held_out: from rows left out in turn; by the number of rows unless given"),
    ] = None,
    output: OutputOption = Output.text,
) -> None:
    """Fit loadings for multivariate.pca (T² and Q)."""
    from models.pca_fit import fit_pca

    data = _data(source, vector, columns, rows)

    def fit() -> Artefact:
        chosen: Any = limits  # fit_pca refuses others
        return fit_pca(data.value, components, explained, data.names, limits=chosen, facts=data.facts)

    _made(fit, out, output)


@app.command()
def covariance(
    out: OutOption,
    source: FromOption = None,
    vector: VectorOption = None,
    columns: ColumnsOption = "*",
    rows: RowsOption = ":",
    estimator: Annotated[str, typer.Option(help="sample, or successive: from the changes from row to row")] = "sample",
    output: OutputOption = Output.text,
) -> None:
    """Estimate mean and covariance for multivariate.hotelling_t2 and multivariate.mewma."""
    from models.covariance import fit_covariance

    data = _data(source, vector, columns, rows)

    def fit() -> Artefact:
        chosen: Any = estimator  # fit_covariance refuses others
        return _told(fit_covariance(data.value, estimator=chosen, names=data.names), data)

    _made(fit, out, output)


@app.command("isolation-forest")
def isolation_forest(
    out: OutOption,
    seed: Annotated[int, typer.Option(help="of the random trees")] = 1,
    contamination: Annotated[float, typer.Option(help="share of these rows beyond the level that signals")] = 0.001,
    source: FromOption = None,
    vector: VectorOption = None,
    columns: ColumnsOption = "*",
    rows: RowsOption = ":",
    output: OutputOption = Output.text,
) -> None:
    """Grow trees for anomaly.isolation_forest: of one characteristic for single values, of several for vectors."""
    from models.isolation_forest import fit_isolation_forest

    data = _data(source, vector, columns, rows)
    _made(lambda: _told(fit_isolation_forest(data.single, seed=seed, contamination=contamination), data), out, output)


class Reference(StrEnum):
    """What a reference is for."""

    sample = "sample"  # drift.ks
    mmd = "mmd"  # drift.mmd


@app.command()
def reference(
    out: OutOption,
    kind: Annotated[Reference, typer.Option(help="sample: for drift.ks, of one characteristic; mmd: for drift.mmd")],
    source: FromOption = None,
    vector: VectorOption = None,
    columns: ColumnsOption = "*",
    rows: RowsOption = ":",
    output: OutputOption = Output.text,
) -> None:
    """Keep known-good rows as the reference that drift is measured from."""
    from models.ks import sample_reference
    from models.mmd import mmd_reference

    data = _data(source, vector, columns, rows)
    make = sample_reference if kind is Reference.sample else mmd_reference
    _made(lambda: _told(make(data.single), data), out, output)


def _told(model: Artefact, data: Data) -> Artefact:
    """Return the artefact with what it was fitted to."""
    return Artefact(model.kind, model.arrays, {**model.facts, "names": list(data.names), **data.facts})


def _made(fit: Callable[[], Artefact], out: Path, output: Output) -> None:
    if not out.absolute().parent.is_dir():
        raise ConfigError(f"{out}: there is no folder {out.parent}")
    try:
        model = fit()
        path = model.save(out)
    except (ValueError, OSError) as error:
        raise ConfigError(str(error)) from error
    if output is Output.json:
        typer.echo(
            json.dumps({"path": str(path), "kind": model.kind, "digest": model.digest, "facts": dict(model.facts)})
        )
        return
    typer.echo(f"{path}: {model.kind} {model.digest}")
    for name, fact in model.facts.items():
        text = json.dumps(fact)
        typer.echo(f"  {name}: {text if len(text) <= 100 else text[:97] + '...'}")


def _data(source: Path | None, vector: str | None, columns: str, rows: str) -> Data:
    if (source is None) == (vector is None):
        raise ConfigError("say --from FILE or --vector NAME, one of them")
    found = _of_file(source) if source is not None else _of_topic(vector or "")
    patterns = columns.split(",")
    chosen = [j for j, name in enumerate(found.names) if any(fnmatchcase(name, pattern) for pattern in patterns)]
    if not chosen:
        raise ConfigError(f"--columns {columns}: none of {', '.join(found.names[:10])} …")
    span = _span(rows, len(found.value))
    facts = {**found.facts, "first_row": span.start, "end_row": span.stop, "code_version": version("chipquality")}
    return Data(tuple(found.names[j] for j in chosen), found.value[span][:, chosen], facts)


def _span(rows: str, n: int) -> slice:
    first, colon, end = rows.partition(":")
    try:
        span = slice(*slice(int(first) if first else None, int(end) if end else None).indices(n)[:2])
    except ValueError:
        colon = ""
    if not colon or span.start >= span.stop:
        raise ConfigError(f"--rows {rows}: FIRST:END within the {n} rows is wanted")
    return span


def _of_file(path: Path) -> Data:
    import pandas as pd

    if not path.is_file():
        raise ConfigError(f"{path}: no such file")
    try:
        frame = pd.read_csv(path) if path.suffix == ".csv" else pd.read_parquet(path)
    except (OSError, ValueError) as error:
        raise ConfigError(f"{path}: {error}") from error
    numbers = frame.select_dtypes("number")
    return Data(tuple(map(str, numbers.columns)), numbers.to_numpy(np.float64), {"source": path.name})


def _of_topic(vector: str) -> Data:
    from actors.kafka.vector_history import read_vectors
    from cluster.commands.where import cluster_of
    from cluster.config import load
    from schemas.registry import Registry
    from schemas.topics import VECTORS

    cluster = cluster_of(load())
    registry = Registry(cluster.registry_url, cluster.registry_client)
    read = read_vectors(cluster, "chipquality-fit", VECTORS, vector, registry.schema)
    times = read.event_time_ms
    facts = {"source": f"{VECTORS}/{vector}", "left_out": read.left_out}
    return Data(read.names, read.value, {**facts, "first_time_ms": int(times[0]), "last_time_ms": int(times[-1])})
