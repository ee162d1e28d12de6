"""Short runs: parts of different size share one chart, on which each is judged by its own target."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import numpy as np

from models.detector import Column, Detector, SeriesBatch
from models.individuals import IndividualsChart
from models.transformed import Transformed

SCALES = ("none", "target", "tolerance", "part")


class ShortRunChart(Transformed):
    """A chart of deviations from the target that each row carries: for tools that make few parts of each of many kinds.

    The series is the tool; what it makes changes from row to row, and with it the `target`. `chart` judges y, by default as
    a chart of individuals and moving range. What y is, `scale` says, by how the spread of parts differs:

    - "none": y = x − target, in the unit of the value; all parts spread alike (deviation from nominal, DNOM).
    - "target": y = (x − target)/|target|; the spread grows with the size.
    - "tolerance": y = (x − target)/((usl − lsl)/2); the spread is a share of the tolerance; ±1 is the specification.
    - "part": y = (x − target)/the part's sigma, from `parts`, pairs of (target, sigma); centre 0 and sigma 1 are known, and
      there is no Phase I. A target that is not in `parts` is not judged.

    target, lsl and usl are the row's; where it carries none, those given for the series. A given sigma is the standard deviation
    of y; else the chart learns it in its Phase I, from y of all parts together. The centre is 0, the target itself; with
    `centre="learned"` it is the mean of y in Phase I, so that a constant offset is no signal. A given mu is not looked at:
    over parts of different size it means nothing.

    - Missing or infinite value, excluded row, no target (or none that the scale can divide by): not judged, as if missing.
    - Sigma 0: as the chart has it: on target is in control, anything else is beyond.
    - Statistics, limits, rules, and state are the chart's. Give an `XbarChart` for subgroups (each of one part), a `Cusum` or an
      `Ewma` for small shifts.

    >>> from models import judge
    >>> v = judge(ShortRunChart(), [50.1, 25.2, 24.9, 51.3], target=[50.0, 25.0, 25.0, 50.0], sigma=0.4)
    >>> v.statistic[:, 0].round(1), v.ucl[0, 0].round(1), v.signal
    (array([ 0.1,  0.2, -0.1,  1.3]), np.float64(1.2), array([0, 0, 0, 1], dtype=uint32))
    >>> parts = ((50.0, 0.4), (25.0, 0.1))
    >>> judge(ShortRunChart(scale="part", parts=parts), [50.4, 25.4], target=[50.0, 25.0]).statistic[:, 0].round(1)
    array([1., 4.])

    Reference: Montgomery, Introduction to SQC, 7th ed., §10.1; Farnum, Control charts for short runs: nonconstant process and
    measurement error, Journal of Quality Technology 24 (1992) 138–144.
    """

    prefix = "spc.short_run"
    revision = 1
    label = "deviation"
    own_state: ClassVar[Mapping[str, Column]] = {}

    def __init__(
        self,
        chart: Detector | None = None,
        scale: str = "none",
        centre: str = "target",
        parts: tuple[tuple[float, float], ...] = (),
    ) -> None:
        super().__init__(IndividualsChart() if chart is None else chart)
        if scale not in SCALES:
            raise ValueError(f"scale = {scale!r}: of {SCALES}")
        if centre not in ("target", "learned"):
            raise ValueError(f"centre = {centre!r}: 'target' or 'learned'")
        if bool(parts) != (scale == "part") or (parts and centre == "learned"):
            raise ValueError(f"parts = {parts}: go with scale 'part' and centre 'target', and only there")
        targets = [target for target, _ in parts]
        if len(set(targets)) != len(targets) or not np.isfinite(targets).all():
            raise ValueError(f"parts = {parts}: every target once")
        if not all(0.0 < sigma < np.inf for _, sigma in parts):
            raise ValueError(f"parts = {parts}: every sigma above 0")
        self.scale = scale
        self.centre = centre
        self.parts = tuple(sorted((float(target), float(sigma)) for target, sigma in parts))

    def transform(
        self, state: Mapping[str, np.ndarray], batch: SeriesBatch
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return deviations in units of the scale, their centre and their sigma."""
        target = _given(batch, "target")
        with np.errstate(invalid="ignore", divide="ignore", over="ignore"):
            value = (batch.value - target) / self._unit(batch, target)
        value[~np.isfinite(value)] = np.nan
        series = len(batch.params)
        mu = np.full(series, 0.0 if self.centre == "target" else np.nan)
        return value, mu, np.ones(series) if self.scale == "part" else batch.params["sigma"]

    def _unit(self, batch: SeriesBatch, target: np.ndarray) -> np.ndarray:
        """Return (n,) what a row's deviation is divided by; NaN or 0 where there is nothing."""
        if self.scale == "target":
            return np.abs(target)  # type: ignore[no-any-return]
        if self.scale == "tolerance":
            half = (_given(batch, "usl") - _given(batch, "lsl")) / 2.0
            return np.where(half > 0.0, half, np.nan)
        if self.scale == "part":
            targets, sigmas = np.array(self.parts).T
            at = np.minimum(np.searchsorted(targets, target), len(targets) - 1)
            return np.where(targets[at] == target, sigmas[at], np.nan)
        return np.ones(len(batch))


def _given(batch: SeriesBatch, name: str) -> np.ndarray:
    """Return (n,) what the rows carry, and where they do not, what is given for the series; NaN: neither."""
    carried, given = batch.column(name), batch.params[name][batch.row]
    return np.where(np.isfinite(carried), carried, np.where(np.isfinite(given), given, np.nan))
