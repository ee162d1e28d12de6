"""Compile the kernels of the decoder and of the built-in detectors into numba's cache: `python -m tests.compiled`.

In a fresh clone every process that judges would compile them for itself, all at the same time.
"""

from __future__ import annotations

from actors.engine.family import FamilyFold
from models.builtin import FAMILIES
from schemas.columnar.reader import warm


def main() -> None:
    """Warm everything once."""
    warm()
    for name, detectors_of in FAMILIES.items():
        FamilyFold("compiled", name, detectors_of(20), clean_rows=8).warm()


if __name__ == "__main__":
    main()
