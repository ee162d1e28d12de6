"""A chart of something that is computed from the value first: residuals of a forecast, deviations from a target.

Theory of operation
-------------------
`Transformed` holds a chart of single values, any of them, and hands it batches whose `value`, mu and sigma are those of the
computed quantity. State columns of the chart and of the computation lie side by side; rules and limits are the chart's. The
class is no dataclass: the chart enters its parameters, and so its identity, by the chart's own identity.
"""

from __future__ import annotations

import dataclasses
from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import ClassVar

import numpy as np

from models.detector import Column, Detector, Rule, SeriesBatch, Verdicts, dimension, identity


class Transformed(ABC):
    """A chart of what `transform` makes of the value. Subclasses say how; see `models.residual` and `models.short_run`."""

    prefix: ClassVar[str]  # of the name
    revision: ClassVar[int]  # the version of what the subclass adds
    label: ClassVar[str]  # what a chart of individuals plots in place of "x"
    own_state: ClassVar[Mapping[str, Column]]

    def __init__(self, chart: Detector) -> None:
        if dimension(chart) is not None:
            raise ValueError(f"chart = {chart.name}: a chart of single values")
        if not self.own_state.keys().isdisjoint(chart.state):
            raise ValueError(f"chart = {chart.name}: it is a {self.prefix} already")
        self._chart = chart
        self.chart = identity(chart)

    @property
    def name(self) -> str:
        """Return the prefix, and what the chart is called in its family."""
        return f"{self.prefix}.{self._chart.name.rpartition('.')[2]}"

    @property
    def version(self) -> int:
        """Return a number that grows with the chart's version and with the transformation's."""
        return self._chart.version + self.revision - 1

    @property
    def state(self) -> Mapping[str, Column]:
        """Return the chart's state columns and the transformation's."""
        return {**self._chart.state, **self.own_state}

    @property
    def statistics(self) -> tuple[str, ...]:
        """Return the chart's statistics; what was "x" has its own name."""
        return tuple(self.label if name == "x" else name for name in self._chart.statistics)

    @property
    def rules(self) -> tuple[Rule, ...]:
        """Return the chart's rules."""
        return self._chart.rules

    @abstractmethod
    def transform(
        self, state: Mapping[str, np.ndarray], batch: SeriesBatch
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return value (n,), and mu (S,) and sigma (S,) of the value per series; NaN: not judged, or learned by the chart."""

    def update(self, state: Mapping[str, np.ndarray], batch: SeriesBatch) -> Verdicts:
        """Transform every row, and let the chart judge it."""
        if len(batch.params) <= len(batch):
            return self._judged(state, batch)
        series, row = np.unique(batch.row, return_inverse=True)  # few of many: what is done per series, for these only
        few = {name: column[series] for name, column in state.items()}
        verdicts = self._judged(few, dataclasses.replace(batch, row=row.astype(np.int32), params=batch.params[series]))
        for name, column in few.items():
            state[name][series] = column
        return verdicts

    def _judged(self, state: Mapping[str, np.ndarray], batch: SeriesBatch) -> Verdicts:
        value, mu, sigma = self.transform(state, batch)
        params = batch.params.copy()
        params["mu"], params["sigma"] = mu, sigma
        own = {name: state[name] for name in self._chart.state}
        return self._chart.update(own, dataclasses.replace(batch, value=value, params=params))
