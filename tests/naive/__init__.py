"""Slow, obvious oracles beside the fast kernels: one series, plain lists, definitions written down as they read."""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import stdev
from typing import NamedTuple

from tests.naive.accumulating import cusum as cusum
from tests.naive.accumulating import ewma as ewma
from tests.naive.anomaly import robust_z as robust_z
from tests.naive.shewhart import Subgroup as Subgroup
from tests.naive.shewhart import nelson as nelson
from tests.naive.shewhart import phase_one as phase_one
from tests.naive.shewhart import subgroups as subgroups
from tests.naive.shewhart import western_electric as western_electric


class Indices(NamedTuple):
    """Capability of some values; NaN where there is no index."""

    Cp: float
    Cpk: float
    Pp: float
    Ppk: float


def capability(values: Sequence[float], lsl: float, usl: float, d2: float) -> Indices:
    """Return the indices of at least two values by their definitions; a limit that is NaN is not there."""
    mean, within = phase_one(values, d2)

    def pair(sigma: float) -> tuple[float, float]:
        if sigma == 0:
            return math.nan, math.nan
        sides = [side for side in ((usl - mean) / (3 * sigma), (mean - lsl) / (3 * sigma)) if not math.isnan(side)]
        return (usl - lsl) / (6 * sigma), min(sides, default=math.nan)

    return Indices(*pair(within), *pair(stdev(values)))
