"""Waiting for somebody's code for so long and no longer, and saying where it was."""

from __future__ import annotations

import sys
import threading
import time
import traceback
from collections.abc import Callable
from typing import Generic, TypeVar

from actors.packages.compiling import COMPILE_S, CompileWatch
from actors.packages.errors import PackageRefused
from actors.packages.limits import Limits
from actors.packages.requirements import INSTALL_S

PREPARE_S = 30.0 + INSTALL_S  # to fetch a package, and for pip
LOOK_S = 0.5  # between two looks whether it is compiling
T = TypeVar("T")


def load_limit_s(limits: Limits) -> float:
    """Return how long a detector process may take to load a package and to take its first step."""
    return PREPARE_S + 2 * (limits.load_s + COMPILE_S)


class _Run(Generic[T]):
    """One call on a thread of its own."""

    def __init__(self, call: Callable[[], T]) -> None:
        self._call = call
        self.result: T | None = None
        self.error: BaseException | None = None
        self.thread = threading.Thread(target=self._run, daemon=True, name="somebody's code")

    def _run(self) -> None:
        try:
            self.result = self._call()
        except BaseException as error:  # noqa: BLE001 - whoever waits raises it
            self.error = error


def within(limit_s: float, what: str, call: Callable[[], T]) -> T:
    """Return what a call returns, if it does so in time. Raises what it raises, else PackageRefused that says where it was.

    Time in which kernels are compiled does not count, up to COMPILE_S. The thread cannot be ended: the process must be.
    """
    run = _Run(call)
    began = time.monotonic()
    with CompileWatch() as compiling:
        run.thread.start()
        while run.thread.is_alive():
            left_s = limit_s + min(compiling.seconds(), COMPILE_S) - (time.monotonic() - began)
            if left_s <= 0:
                break
            run.thread.join(min(left_s, LOOK_S))
    if run.thread.is_alive():
        frame = sys._current_frames().get(run.thread.ident or 0)
        where = "".join(traceback.format_stack(frame)) if frame is not None else ""
        raise PackageRefused(f"{what} was not done within {limit_s:g} s", where)
    if run.error is not None:
        raise run.error
    return run.result  # type: ignore[return-value]  # it has one: it has ended, and not by an error
