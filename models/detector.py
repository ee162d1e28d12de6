"""The contract for detectors: the built-in ones and yours.

Theory of operation
-------------------
A detector is a small immutable object: parameters, and the declaration of its state columns. It owns no memory. The engine
keeps, for every partition and every detector, one array per state column with one row per series, and hands them to `update`
together with a batch of rows. `update` advances the columns **in place, in row order**, and returns one verdict per row.

Rules of the contract (`models/checks.py` enforces them):

1. Deterministic: no clock, no randomness, no I/O. The same rows give the same state and verdicts, bit for bit.
2. Batch cuts do not matter: one batch of n rows or n batches of one row give the same bits.
3. Series do not leak: a row of one series never changes the state or the verdict of another.
4. Only `state` is written. The batch is read-only.
5. A missing value (NaN) is a row that is not judged: `valid` is False, `signal` is 0, and the state stays as it was. A vector
   is missing if all of it is; what gaps in it mean, the detector documents. An excluded row comes as a missing one, with True in
   column `excluded`: a chart may end its window there, and does nothing else.
6. Never fit a model in `update`. A fitted model is an artefact made by a job and given as a parameter.
7. Zero sigma has documented behaviour. For the built-in charts: the limits fall on the centre line, a value equal to it is in
   control, any other value is beyond the limits.

Two attributes are optional. `dimension`: the p of a detector of vectors, whose `value` is (n, p). `cut_dependent = True`: the
detector scores with BLAS, whose last bits depend on the batch; rule 2 then holds to 1e-9. A method `explain(state, batch, i)`,
if there is one, says in a line what made row i signal; the engine puts it into the alert that the row opens. What stands for a
detector where its code must not run (actors/packages/packaged.py) has an attribute `described`, a `Description`.

A new version may take over the state of an older one. A method `migrate(from_version, columns)` is then given the old state
columns, rows of some series at a time, (k, *shape) each, and returns the new ones for the same rows, or None to begin in Phase I;
a column that it leaves out gets its fill. Each row must be migrated by itself. It is asked for state of the same name and
parameters; an attribute `formerly` may list identities of further detectors whose state it takes over, for a version that has
other parameters. Without `migrate`, a new version begins in Phase I and is reported. docs/state.md has an example.

Use `numba.njit` loops through `models.kernel.kernel` for anything sequential; no Python statement per row.
"""

from __future__ import annotations

import dataclasses
import hashlib
import inspect
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, NamedTuple, Protocol, runtime_checkable

import numpy as np

from models.artefact import Artefact

GIVEN = ("mu", "sigma", "lsl", "usl", "target")
COUNTERS = ("limits_version", "resets", "exclusions")

PARAMS = np.dtype([*((name, "f8") for name in GIVEN), *((name, "i8") for name in COUNTERS)])
"""One row per series. NaN = not given: mu and sigma then come from the detector's own Phase I.

The counters only grow: by one with every change of the limits, every reset, every exclusion of a past point. A chart ends
its windows when those change that it is told to look at (`models.phase_one.epoch`).
"""


COLUMNS: Mapping[str, Any] = MappingProxyType(
    {"lsl": np.nan, "usl": np.nan, "target": np.nan, "sample_size": np.nan, "excluded": False}
)
"""What a row may carry beside its value, and what stands for "not given". `sample_size`: the n of an attribute chart."""


class Column(NamedTuple):
    """A state column: dtype, shape per series, and the value a new series starts with."""

    dtype: str
    shape: tuple[int, ...] = ()
    fill: float = 0


class Rule(NamedTuple):
    """What one bit of `Verdicts.signal` means. Bit i is `detector.rules[i]`; at most 32."""

    name: str  # "nelson_2"
    doc: str  # "9 points in a row on one side of the centre line"
    severity: str = "warning"  # "warning" | "critical"
    statistic: int = 0  # which of `detector.statistics` it judges


@dataclass(frozen=True, slots=True)
class SeriesBatch:
    """What a detector sees: rows in log order. Arrays are read-only."""

    row: np.ndarray  # (n,) int32 into the state columns and into params
    offset: np.ndarray  # (n,) int64
    event_time_ms: np.ndarray  # (n,) int64
    value: np.ndarray  # (n,) float64, NaN = missing; of vectors (n, p)
    subgroup: np.ndarray  # (n,) int64, -1 = none given
    params: np.ndarray  # (S,) PARAMS, one per series
    columns: Mapping[str, np.ndarray] = field(default_factory=dict)  # (n,) each, of COLUMNS; those that there are

    def __len__(self) -> int:
        """Return the number of rows, n."""
        return len(self.row)

    def column(self, name: str) -> np.ndarray:
        """Return a column of `COLUMNS`, (n,); where the batch has none, filled with what means "not given"."""
        found = self.columns.get(name)
        if found is None:
            fill = COLUMNS[name]
            return np.full(len(self), fill, np.asarray(fill).dtype)
        return found


class Verdicts(NamedTuple):
    """One verdict per row of the batch. q = len(detector.statistics)."""

    statistic: np.ndarray  # (n, q) float64: what the chart plots; NaN where there is none
    centre: np.ndarray  # (n, q) float64; NaN where there is none (so for lcl and ucl)
    lcl: np.ndarray  # (n, q) float64
    ucl: np.ndarray  # (n, q) float64
    signal: np.ndarray  # (n,) uint32, a bit per rule fired; 0 = in control
    valid: np.ndarray  # (n,) bool: False where nothing was judged (missing, Phase I, subgroup still open)


@runtime_checkable
class Detector(Protocol):
    """What a data scientist writes. Make it a frozen dataclass: its fields are its parameters and part of its identity."""

    @property
    def name(self) -> str:
        """Say what it is, with its family: "spc.individuals"."""
        ...

    @property
    def version(self) -> int:
        """Return the version: a higher number for every change of behaviour or of the state's layout."""
        ...

    @property
    def state(self) -> Mapping[str, Column]:
        """Declare the state columns by name."""
        ...

    @property
    def statistics(self) -> tuple[str, ...]:
        """Name the q columns of `Verdicts.statistic`, e.g. ("x", "MR")."""
        ...

    @property
    def rules(self) -> tuple[Rule, ...]:
        """Name the bits of `Verdicts.signal`."""
        ...

    def update(self, state: Mapping[str, np.ndarray], batch: SeriesBatch) -> Verdicts:
        """Advance the state columns in place, in row order; judge every row."""
        ...


@dataclass(frozen=True)
class Description:
    """What a detector says of itself, without its code. `Description.of` makes one, of a detector or of what stands for it."""

    identity: str
    name: str
    version: int
    state: Mapping[str, Column]
    statistics: tuple[str, ...]
    rules: tuple[Rule, ...]
    parameters: Mapping[str, Any]
    dimension: int | None = None
    cut_dependent: bool = False
    doc: str = ""  # the first line of what its class says

    @classmethod
    def of(cls, detector: Detector) -> Description:
        """Describe a detector."""
        described: Description | None = getattr(detector, "described", None)
        if described is not None:
            return described
        doc = inspect.getdoc(type(detector)) or ""
        if doc.startswith(f"{type(detector).__name__}("):  # what a dataclass writes of itself
            doc = ""
        return cls(
            identity=identity(detector),
            name=detector.name,
            version=detector.version,
            state={name: Column(*column) for name, column in detector.state.items()},
            statistics=tuple(detector.statistics),
            rules=tuple(Rule(*rule) for rule in detector.rules),
            parameters=parameters(detector),
            dimension=dimension(detector),
            cut_dependent=bool(getattr(detector, "cut_dependent", False)),
            doc=doc.partition("\n")[0],
        )


def parameters(detector: Detector) -> dict[str, Any]:
    """Return the parameters that are part of the identity: a dataclass's fields, else the public attributes.

    An artefact stands there by its digest; name and version stand in the identity anyway.
    """
    if (described := getattr(detector, "described", None)) is not None:
        return dict(described.parameters)
    if dataclasses.is_dataclass(detector) and not isinstance(detector, type):
        named = {part.name: getattr(detector, part.name) for part in dataclasses.fields(detector)}
    else:
        named = {name: value for name, value in vars(detector).items() if not name.startswith("_")}
    return {
        name: value.digest if isinstance(value, Artefact) else value
        for name, value in named.items()
        if name not in ("name", "version")
    }


def identity(detector: Detector) -> str:
    """Return "name@version-hash": the key of the detector's state. Other parameters are another detector."""
    if (described := getattr(detector, "described", None)) is not None:
        return str(described.identity)
    canonical = json.dumps(parameters(detector), sort_keys=True, default=repr)
    digest = hashlib.blake2b(canonical.encode(), digest_size=5).hexdigest()
    return f"{detector.name}@{detector.version}-{digest}"


class Identity(NamedTuple):
    """The parts of an identity.

    >>> Identity.of("spc.cusum@2-0123456789")
    Identity(name='spc.cusum', version=2, parameters='0123456789')
    """

    name: str
    version: int
    parameters: str  # their hash

    @classmethod
    def of(cls, text: str) -> Identity:
        """Take an identity apart. Raises ValueError if it is none."""
        name, _, rest = text.partition("@")
        version, _, parameters = rest.partition("-")
        return cls(name, int(version), parameters)


def dimension(detector: Detector) -> int | None:
    """Return the p of a detector of vectors; None for a detector of single values."""
    found: int | None = getattr(detector, "dimension", None)
    return found


def new_state(detector: Detector, series: int) -> dict[str, np.ndarray]:
    """Return state columns for `series` new series: each (series, *column.shape), filled."""
    return {
        name: np.full((series, *column.shape), column.fill, dtype=column.dtype)
        for name, column in detector.state.items()
    }


def new_params(series: int, **given: float | np.ndarray) -> np.ndarray:
    """Return PARAMS for `series` series, all not given except those named: new_params(3, mu=10.0, sigma=1.0)."""
    params = np.zeros(series, PARAMS)
    for name in GIVEN:
        params[name] = given.pop(name, np.nan)
    if given:
        raise TypeError(f"unknown parameter {sorted(given)}: PARAMS has {PARAMS.names}")
    return params


def read_only(*arrays: np.ndarray) -> None:
    """Mark arrays read-only, as Ray hands them out."""
    for array in arrays:
        array.flags.writeable = False


def series_batch(
    value: np.ndarray,
    *,
    series: np.ndarray | None = None,
    subgroup: np.ndarray | None = None,
    event_time_ms: np.ndarray | None = None,
    params: np.ndarray | None = None,
    columns: Mapping[str, np.ndarray] | None = None,
    first_offset: int = 0,
) -> SeriesBatch:
    """Make a batch from plain arrays, `value` (n,) or (n, p): one series unless `series` says otherwise, one row a second."""
    value = np.array(value, dtype=np.float64)
    n = len(value)
    row = np.zeros(n, np.int32) if series is None else np.array(series, dtype=np.int32)
    offset = np.arange(first_offset, first_offset + n, dtype=np.int64)
    if params is None:
        params = new_params(int(row.max(initial=0)) + 1)
    if columns is not None and "excluded" in columns:
        value[columns["excluded"]] = np.nan
    batch = SeriesBatch(
        row=row,
        offset=offset,
        event_time_ms=offset * 1000 if event_time_ms is None else np.array(event_time_ms, dtype=np.int64),
        value=value,
        subgroup=np.full(n, -1, np.int64) if subgroup is None else np.array(subgroup, dtype=np.int64),
        params=params,
        columns=dict(columns or {}),
    )
    read_only(batch.row, batch.offset, batch.event_time_ms, batch.value, batch.subgroup, *batch.columns.values())
    return batch
