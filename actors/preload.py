"""What owners and detectors need, loaded by importing this: `RAY_preload_python_modules=actors.preload` for Ray's processes."""

from __future__ import annotations

import actors.detector_actor
import actors.partition_owner  # noqa: F401
from actors.engine.family import FamilyFold
from models.builtin import FAMILIES
from schemas.columnar.reader import warm

PHASE_ONE_ROWS = 50  # of no consequence for which kernels there are


def load_kernels() -> None:
    """Load every kernel of the decoder and of the built-in detectors, as a live line calls them, or compile them."""
    warm()
    for family, detectors_of in FAMILIES.items():
        FamilyFold("preload", family, detectors_of(PHASE_ONE_ROWS)).warm()


load_kernels()
