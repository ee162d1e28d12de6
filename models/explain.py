"""What a point of a multivariate chart is made of, by the chart's own decomposition of its statistics."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from models.artefact import Artefact
from models.multivariate import HotellingT2
from models.pca import PcaChart, contributions


class Part(NamedTuple):
    """One column's part of a statistic."""

    name: str
    value: float | None  # as it was measured; None: missing
    contribution: float  # in the unit of the statistic; may be below 0
    fraction: float | None  # of the statistic; None: that is 0


class NotExplainedError(ValueError):
    """The chart has no decomposition of this point; the message says why."""


def names_of(detector: Any) -> tuple[str, ...] | None:
    """Return the columns that a chart of vectors looks at; None for one that has no model with names."""
    model = getattr(detector, "model", None)
    names = model.facts.get("names") if isinstance(model, Artefact) else None
    return None if names is None else tuple(names)


def explained(detector: Any, names: Sequence[str], value: np.ndarray) -> Mapping[str, np.ndarray]:
    """Return statistic → contributions (p,) of the columns of one vector (p,), gaps NaN; they sum to the statistic.

    Raises NotExplainedError for a chart that has no decomposition, or a vector of other columns than its model.
    """
    wanted = names_of(detector)
    if wanted is not None and tuple(names) != wanted:
        raise NotExplainedError(f"the record has other characteristics than the model of {detector.name}")
    if isinstance(detector, PcaChart):
        parts = contributions(detector.model, value)
        return {"T2": parts.t2, "Q": parts.q}
    if isinstance(detector, HotellingT2):
        if detector.subgroup_size > 1:
            raise NotExplainedError(
                f"{detector.name} judges means of subgroups here: one vector alone has no statistic"
            )
        return {"T2": detector.contributions(np.asarray(value, np.float64))}
    raise NotExplainedError(f"{detector.name} has no decomposition into its columns")


def largest_parts(names: Sequence[str], value: np.ndarray, parts: np.ndarray, most: int) -> list[Part]:
    """Return the `most` largest contributions, the largest first; of equal ones the earlier column first.

    >>> largest_parts(["a", "b"], np.array([1.0, np.nan]), np.array([4.0, 0.0]), 1)
    [Part(name='a', value=1.0, contribution=4.0, fraction=1.0)]
    """
    whole = float(parts.sum())
    order = np.argsort(-parts, kind="stable")[:most].tolist()
    return [
        Part(
            names[j],
            float(value[j]) if np.isfinite(value[j]) else None,
            float(parts[j]),
            float(parts[j]) / whole if whole else None,
        )
        for j in order
    ]
