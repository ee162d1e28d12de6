"""Garbage collection in a process that judges."""

from __future__ import annotations

import gc

COLLECT_OBJECTS = 200_000  # more than a step allocates


def collect_seldom() -> None:
    """Have the garbage collector run seldom in this process.

    Every record is an object until it is decoded, and none is part of a cycle; but by Python's own measure the collector would
    walk them, and all that is loaded, several times a step: a quarter of the processor time of a full stream.
    """
    gc.freeze()
    gc.set_threshold(COLLECT_OBJECTS)
