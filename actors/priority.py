"""How far a process stands back from the processors, for others. Linux; both count for threads begun from then on.

Ray starts its workers with a niceness of 15 already, so being nicer is no more than a share of 15 to 36. To have what is left and
no more is another class of the scheduler's (SCHED_IDLE, sched(7)).
"""

from __future__ import annotations

import os


def be_nicer(by: int) -> None:
    """Be so much nicer than this process was started, up to 19."""
    os.nice(by)


def take_what_is_left() -> None:
    """Run where no other process wants the processor; others than Linux have nothing of the kind: as nice as can be."""
    if hasattr(os, "SCHED_IDLE"):
        os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))
    else:
        os.nice(19)
