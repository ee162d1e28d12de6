"""What owners and detectors need, loaded by importing this: `RAY_preload_python_modules=actors.preload` for Ray's processes."""

from __future__ import annotations

import actors.detector_actor
import actors.partition_owner  # noqa: F401
from models.builtin import FAMILIES, warm
from schemas.columnar.reader import warm as warm_decoder

PHASE_ONE_ROWS = 50  # of no consequence for which kernels there are

warm_decoder()
for _detectors_of in FAMILIES.values():
    warm(_detectors_of(PHASE_ONE_ROWS))
