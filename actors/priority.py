"""How far a process stands back from the processors, for others. Linux; both count for threads begun from then on.

Ray starts its workers with a niceness of 15 already, so being nicer is no more than a share of 15 to 36. To have what is left and
no more is another class of the scheduler's (SCHED_IDLE, sched(7)). But Linux shares the processors out among sessions first
(autogroups, sched(7)): a class counts within its session only, and an idle process of Ray's takes from a broker, whose session is
another, as much as a busy one. So it becomes a session of its own, which is as nice as a session can be.
"""

from __future__ import annotations

import os
import time
from pathlib import Path

NICEST = 19
_AUTOGROUP = Path("/proc/self/autogroup")
_TRIES, _AGAIN_S = 20, 0.1  # Linux lets whoever is not root say it ten times a second, all processes together


def be_nicer(by: int) -> None:
    """Be so much nicer than this process was started, up to 19."""
    os.nice(by)


def take_what_is_left() -> None:
    """Run where no other process wants the processor; others than Linux have nothing of the kind: as nice as can be."""
    if hasattr(os, "SCHED_IDLE"):
        os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))
    else:
        os.nice(NICEST)
    if os.access(_AUTOGROUP, os.W_OK):
        _be_a_session()
        _be_a_nice_session()


def _be_a_session() -> None:
    me = os.getpid()
    if os.getsid(0) == me:
        return
    if os.getpgid(0) == me:  # whoever leads a group cannot begin a session: join that of our parent first
        os.setpgid(0, os.getpgid(os.getppid()))
    os.setsid()


def _be_a_nice_session() -> None:
    for _ in range(_TRIES):
        try:
            _AUTOGROUP.write_text(str(NICEST))
        except BlockingIOError:
            time.sleep(_AGAIN_S)
        else:
            return
