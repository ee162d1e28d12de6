"""Become another program that the kernel kills when the process that started us dies.

Run as a script, by path and without site packages, so that it costs milliseconds: `die_with_parent.py PARENT PROGRAM …`
(PARENT is its pid). A `preexec_fn` would do the same between fork and exec, where a process with threads must not run
Python.

PR_SET_PDEATHSIG survives exec. It fires when the *thread* that forked us ends, hence the thread in processes.py that
never does. A parent that died before the call is noticed by its pid: we have been handed to another parent by then.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys

_PR_SET_PDEATHSIG = 1


def bind(parent: int, signal_number: int = signal.SIGKILL) -> None:
    """Ask the kernel to send us the signal when our parent dies; exit at once if it is dead already. Linux only."""
    if sys.platform == "linux":
        libc = ctypes.CDLL(None, use_errno=True)
        if libc.prctl(_PR_SET_PDEATHSIG, int(signal_number), 0, 0, 0) != 0:
            raise OSError(ctypes.get_errno(), "prctl(PR_SET_PDEATHSIG)")
    if os.getppid() != parent:
        raise SystemExit(f"{sys.argv[0]}: the process {parent} that started us is gone")


def main(argv: list[str]) -> None:
    """Bind to the parent argv[0] and become argv[1:]."""
    bind(int(argv[0]))
    os.execvp(argv[1], argv[1:])  # noqa: S606  # no shell: that is the point


if __name__ == "__main__":
    main(sys.argv[1:])
