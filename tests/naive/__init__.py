"""Slow, obvious oracles beside the fast kernels: one series, plain lists, definitions written down as they read."""

from __future__ import annotations

from tests.naive.accumulating import cusum as cusum
from tests.naive.accumulating import ewma as ewma
from tests.naive.anomaly import novelty as novelty
from tests.naive.anomaly import robust_z as robust_z
from tests.naive.shewhart import Subgroup as Subgroup
from tests.naive.shewhart import nelson as nelson
from tests.naive.shewhart import phase_one as phase_one
from tests.naive.shewhart import subgroups as subgroups
from tests.naive.shewhart import western_electric as western_electric
