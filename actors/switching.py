"""How long a thread of a process that answers requests waits for another one."""

from __future__ import annotations

import sys

SWITCH_S = 0.0005


def switch_soon() -> None:
    """Let who asks wait 0.5 ms for a thread that computes, and not 5 ms as Python has it; for the process that calls this."""
    sys.setswitchinterval(SWITCH_S)
