"""What owners and detectors need, loaded by importing this: `RAY_preload_python_modules=actors.preload` for Ray's processes."""

from __future__ import annotations

import actors.detector_actor
import actors.partition_owner  # noqa: F401
from actors.engine.family import FamilyFold
from models.builtin import FAMILIES
from schemas.columnar.reader import warm as warm_decoder

PHASE_ONE_ROWS = 50  # of no consequence for which kernels there are

warm_decoder()
for _name, _detectors_of in FAMILIES.items():
    FamilyFold("preload", _name, _detectors_of(PHASE_ONE_ROWS)).warm()
