"""Trying a detector on arrays, as in a notebook: the same `update` that the engine calls."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from models.detector import COLUMNS, GIVEN, Detector, Verdicts, dimension, new_params, new_state, series_batch

_ROWS = ("subgroup", "event_time_ms", *COLUMNS)


def judge(detector: Detector, values: Any, series: Any = None, **given: Any) -> Verdicts:
    """Run a detector over values in order, from a new state, and return its verdicts: what the pipeline would say.

    `values` is (n,), or (n, p) for a detector of vectors; NaN = missing. `series` labels the rows with anything that can be
    compared; without it, all rows are one series. `given` is of two kinds:

    - parameters mu, sigma, lsl, usl, target: one number for all series, or a mapping from a series' label to its number (mu and
      sigma also as a pandas Series). What is not given (or None) the detector learns in its Phase I;
    - columns, n long: `subgroup` (any labels; None, NaN and −1 are rows without one), `sample_size` (or one number for all),
      `excluded` (booleans), `event_time_ms`, and lsl, usl, target that change from row to row.

    Raises ValueError for lengths that do not fit, a label that no row has, a row whose series is NaN, or a sigma below 0;
    TypeError for a name that is neither, and for a detector that is a name or a class.

    >>> from models.individuals import IndividualsChart
    >>> v = judge(IndividualsChart(), [10.0, 3.0, 14.0, 3.1], series=["A", "B", "A", "B"], sigma=1.0, mu={"A": 10.0, "B": 3.0})
    >>> v.signal
    array([  0,   0, 257,   0], dtype=uint32)
    """
    if isinstance(detector, str | type):
        raise TypeError(
            f"detector = {detector!r}: an instance, as IndividualsChart() or models.catalogue.make(name, {{}})"
        )
    value = as_values(values)
    p = dimension(detector)
    shape = f"(n, {p})" if p is not None else "(n,)"
    if value.ndim != (1 if p is None else 2) or (p is not None and value.shape[1] != p):
        raise ValueError(f"values {value.shape}: {detector.name} judges {shape}")
    codes, labels = _coded("series", np.zeros(len(value), np.int64) if series is None else series, len(value))
    params = new_params(max(1, len(labels)))
    columns: dict[str, np.ndarray] = {}
    for name, said in given.items():
        if said is None:
            continue
        if name in GIVEN and name not in _ROWS and hasattr(said, "to_dict"):
            said = said.to_dict()  # noqa: PLW2901
        if name in GIVEN and isinstance(said, Mapping):
            _by_label(params[name], name, said, labels)
        elif name in GIVEN and np.ndim(said) == 0:
            params[name] = said
        elif name in _ROWS:
            columns[name] = _column(name, said, len(value))
        elif name in GIVEN:
            raise TypeError(
                f"{name} of shape {np.shape(said)}: one number, or a mapping from a series' label to its number"
            )
        else:
            raise TypeError(f"{name}: not a parameter ({', '.join(GIVEN)}) nor a column ({', '.join(_ROWS)})")
    if (params["sigma"] < 0.0).any():
        raise ValueError(f"sigma = {params['sigma'].min():g}: at least 0")
    batch = series_batch(
        value,
        series=codes,
        subgroup=columns.pop("subgroup", None),
        event_time_ms=columns.pop("event_time_ms", None),
        params=params,
        columns=columns,
    )
    return detector.update(new_state(detector, len(params)), batch)


def as_values(values: Any) -> np.ndarray:
    """Return values as float64, NaN where a masked array (or pandas, or None) says that there is none.

    >>> as_values(np.ma.masked_array([1, 999], mask=[False, True]))
    array([ 1., nan])
    """
    if isinstance(values, np.ma.MaskedArray):
        return np.asarray(np.ma.filled(values.astype(np.float64), np.nan))
    return np.asarray(values, dtype=np.float64)


def _coded(name: str, labels: Any, n: int) -> tuple[np.ndarray, dict[Any, int]]:
    """Return codes (n,) of labels in order of first appearance, and label → code."""
    listed: Sequence[Any] = labels.tolist() if hasattr(labels, "tolist") else list(labels)
    if len(listed) != n:
        raise ValueError(f"{name}: {len(listed)} labels for {n} rows")
    codes: dict[Any, int] = {}
    nameless = next((i for i, label in enumerate(listed) if _is_nan(label)), None)
    if nameless is not None:
        raise ValueError(f"{name}: the label of row {nameless} is NaN")
    return np.array([codes.setdefault(label, len(codes)) for label in listed], np.int64), codes


def _is_nan(label: Any) -> bool:
    return isinstance(label, float) and math.isnan(label)


def _by_label(column: np.ndarray, name: str, numbers: Mapping[Any, float], labels: Mapping[Any, int]) -> None:
    for label, number in numbers.items():
        if label not in labels:
            raise ValueError(f"{name}: no row has series {label!r}")
        column[labels[label]] = number


def _column(name: str, said: Any, n: int) -> np.ndarray:
    if name == "subgroup":
        listed = said.tolist() if hasattr(said, "tolist") else list(said)
        codes = _coded(name, [None if _is_nan(label) else label for label in listed], n)[0]
        return np.where([label is None or label == -1 or _is_nan(label) for label in listed], -1, codes)
    if name == "sample_size" and np.ndim(said) == 0:
        return np.full(n, said, np.float64)
    column = np.array(said, dtype=np.int64 if name == "event_time_ms" else np.asarray(COLUMNS[name]).dtype)
    if column.shape != (n,):
        raise ValueError(f"{name}: shape {column.shape} for {n} rows")
    return column
