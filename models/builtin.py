"""The detectors that a pipeline runs when nobody says otherwise, by family, and their compilation ahead of time."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from types import MappingProxyType

import numpy as np

from models.anomaly import RobustZ
from models.capability import Capability
from models.detector import Detector, dimension
from models.drift import LearnedCusum
from models.individuals import IndividualsChart
from models.judging import judge
from models.xbar import XbarChart

SUBGROUP_SIZE = 5
ANOMALY_WINDOW_MAX = 200  # values; the cost of a row grows with the window


def _spc(phase_one_rows: int) -> tuple[Detector, ...]:
    # 20 subgroups (Montgomery: 20 to 25) go with the default of 50 rows, and fewer or more in proportion
    subgroups = max(2, 2 * phase_one_rows // SUBGROUP_SIZE)
    return IndividualsChart(phase_one_rows), XbarChart(SUBGROUP_SIZE, subgroups)


def _anomaly(phase_one_rows: int) -> tuple[Detector, ...]:
    window = min(max(phase_one_rows, 5), ANOMALY_WINDOW_MAX)
    return (RobustZ(window=window, min_rows=min(20, window)),)


FAMILIES: Mapping[str, Callable[[int], tuple[Detector, ...]]] = MappingProxyType(
    {
        "spc": _spc,
        "capability": lambda phase_one_rows: (Capability(min_rows=max(2, phase_one_rows), ppm=False),),
        "anomaly": _anomaly,
        "drift": lambda phase_one_rows: (LearnedCusum(phase_one_rows=phase_one_rows),),
    }
)
"""Family → its detectors, made from the rows of a series' Phase I: FAMILIES["spc"](50)."""


def warm(detectors: Iterable[Detector]) -> None:
    """Compile every kernel, or load it from disk, by judging two rows; call it before taking partitions."""
    for detector in detectors:
        p = dimension(detector)
        judge(detector, np.zeros(2 if p is None else (2, p)))
